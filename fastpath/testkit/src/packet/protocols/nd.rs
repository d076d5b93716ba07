//! Neighbor solicitation and advertisement (RFC 4861 sections 4.3 and 4.4). Options besides the
//! first link-layer address stand in `opts`.

use std::net::Ipv6Addr;

use super::super::build::Context;
use super::super::decode::{Next, Walk};
use super::super::error::Result;
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::{Mac, Value};
use super::be32;
use super::icmp6::{put_sum, take_sum};

pub(crate) static SOLICIT: Schema = Schema {
    kind: Kind::NdSolicit,
    words: &["nd", "ns"],
    head: TARGET,
    keywords: &[Keyword { word: "sll", fields: &[computed("sll", Syntax::Mac)] }, OPTS],
    sum: Some("nd"),
};

pub(crate) static ADVERT: Schema = Schema {
    kind: Kind::NdAdvert,
    words: &["nd", "na"],
    head: TARGET,
    keywords: &[
        Keyword { word: "tll", fields: &[computed("tll", Syntax::Mac)] },
        Keyword { word: "flags", fields: &[or("flags", Syntax::NdFlags, 0)] },
        OPTS,
    ],
    sum: Some("nd"),
};

const TARGET: &[Part] = &[Part::Field(required("target", Syntax::Ip6))];
const OPTS: Keyword = Keyword { word: "opts", fields: &[computed("opts", Syntax::Bytes)] };

/// What differs between the two: message type, option type and its field.
const fn traits(kind: Kind) -> (u8, u8, &'static str) {
    match kind {
        Kind::NdSolicit => (135, 1, "sll"),
        _ => (136, 2, "tll"),
    }
}

pub(crate) fn build(layer: &Layer, context: &Context<'_>) -> Result<Vec<u8>> {
    let (message, option, name) = traits(layer.kind);
    let mut bytes = vec![message, 0, 0, 0];
    bytes.extend(((layer.num_or_zero("flags") as u32) << 29).to_be_bytes());
    bytes.extend(layer.need_ip6("target")?.octets());
    if let Some(mac) = layer.mac(name) {
        bytes.extend([option, 1]);
        bytes.extend(mac.0);
    }
    bytes.extend(layer.bytes("opts"));
    put_sum(layer, context, &mut bytes);
    Ok(bytes)
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let Some((header, options)) = walk.bytes.split_at_checked(24) else { return false };
    let kind = match (header[0], header[1], be32(header, 4)) {
        (135, 0, 0) => Kind::NdSolicit,
        (136, 0, flags) if flags & 0x1fff_ffff == 0 => Kind::NdAdvert,
        _ => return false,
    };
    let (_, option, name) = traits(kind);
    let mut target = [0; 16];
    target.copy_from_slice(&header[8..24]);
    let mut layer = Layer::new(kind);
    layer.push("target", Value::Ip6(Ipv6Addr::from(target)), Note::Plain);
    if kind == Kind::NdAdvert {
        layer.push_num("flags", be32(header, 4) >> 29);
    }
    let opts = match options {
        [first, 1, a, b, c, d, e, f, others @ ..] if *first == option => {
            layer.push(name, Value::Mac(Mac([*a, *b, *c, *d, *e, *f])), Note::Plain);
            others
        }
        _ => options,
    };
    let note = if opts.is_empty() { Note::Implied } else { Note::Plain };
    layer.push("opts", Value::Bytes(opts.to_vec()), note);
    take_sum(&mut layer, walk);
    walk.step(layer, &[], Next::Payload);
    true
}
