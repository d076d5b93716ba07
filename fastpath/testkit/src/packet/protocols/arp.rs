//! ARP for IPv4 over Ethernet (RFC 826). Other hardware or protocol types stay `raw`.

use super::super::build::Context;
use super::super::decode::{Next, Walk};
use super::super::error::Result;
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::{Mac, Value};
use std::net::Ipv4Addr;

pub(crate) static REQUEST: Schema = Schema {
    kind: Kind::ArpRequest,
    words: &["arp", "who-has"],
    head: &[
        Part::Field(required("tpa", Syntax::Ip4)),
        Part::Word("tell"),
        Part::Field(required("spa", Syntax::Ip4)),
    ],
    keywords: &[
        Keyword { word: "sha", fields: &[computed("sha", Syntax::Mac)] },
        Keyword { word: "tha", fields: &[computed("tha", Syntax::Mac)] },
    ],
    sum: None,
};

pub(crate) static REPLY: Schema = Schema {
    kind: Kind::ArpReply,
    words: &["arp"],
    head: &[
        Part::Field(required("spa", Syntax::Ip4)),
        Part::Word("is-at"),
        Part::Field(required("sha", Syntax::Mac)),
    ],
    keywords: &[Keyword {
        word: "to",
        fields: &[computed("tpa", Syntax::Ip4), computed("tha", Syntax::Mac)],
    }],
    sum: None,
};

/// Ethernet, IPv4, and their address lengths.
const TYPES: [u8; 6] = [0, 1, 8, 0, 6, 4];

pub(crate) fn build(layer: &Layer, context: &Context<'_>) -> Result<Vec<u8>> {
    let request = layer.kind == Kind::ArpRequest;
    let mut bytes = TYPES.to_vec();
    bytes.extend([0, if request { 1 } else { 2 }]);
    let (sha, tpa) = if request {
        (layer.mac("sha").unwrap_or(context.eth_src), layer.need_ip4("tpa")?)
    } else {
        (layer.need_mac("sha")?, layer.ip4("tpa").unwrap_or(Ipv4Addr::UNSPECIFIED))
    };
    bytes.extend(sha.0);
    bytes.extend(layer.need_ip4("spa")?.octets());
    bytes.extend(layer.mac("tha").unwrap_or_default().0);
    bytes.extend(tpa.octets());
    Ok(bytes)
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let Some((bytes, rest)) = walk.bytes.split_at_checked(28) else { return false };
    let request = match (&bytes[..6] == TYPES.as_slice(), bytes[6], bytes[7]) {
        (true, 0, 1) => true,
        (true, 0, 2) => false,
        _ => return false,
    };
    let mac = |at: usize| {
        let mut mac = [0; 6];
        mac.copy_from_slice(&bytes[at..at + 6]);
        Mac(mac)
    };
    let ip = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    let (sha, spa, tha, tpa) = (mac(8), ip(14), mac(18), ip(24));
    let note = |implied: bool| if implied { Note::Implied } else { Note::Plain };
    let mut layer = Layer::new(if request { Kind::ArpRequest } else { Kind::ArpReply });
    let no_target = tha == Mac::default() && (request || tpa.is_unspecified());
    let sha_implied = request && walk.eth_src() == Some(sha);
    layer.push("sha", Value::Mac(sha), note(sha_implied));
    layer.push("spa", Value::Ip4(spa), Note::Plain);
    layer.push("tha", Value::Mac(tha), note(no_target));
    layer.push("tpa", Value::Ip4(tpa), note(no_target && !request));
    walk.step(layer, &[], Next::Payload);
    walk.set_pad(rest);
    true
}
