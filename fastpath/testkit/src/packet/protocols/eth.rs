//! Ethernet II frames and 802.1Q tags.

use super::super::build::{self, Context};
use super::super::decode::{Next, Walk};
use super::super::error::Result;
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::{Mac, Value};
use super::be16;

pub(crate) static ETH: Schema = Schema {
    kind: Kind::Eth,
    words: &["eth"],
    head: &[
        Part::Field(computed("src", Syntax::Mac)),
        Part::Word(">"),
        Part::Field(computed("dst", Syntax::Mac)),
    ],
    keywords: &[Keyword { word: "type", fields: &[computed("type", HEX16)] }],
    sum: None,
};

pub(crate) static VLAN: Schema = Schema {
    kind: Kind::Vlan,
    words: &["vlan"],
    head: &[Part::Field(required("vid", U12))],
    keywords: &[
        Keyword { word: "pcp", fields: &[or("pcp", U3, 0)] },
        Keyword { word: "dei", fields: &[flag("dei")] },
        Keyword { word: "type", fields: &[computed("type", HEX16)] },
    ],
    sum: None,
};

/// The destination that a frame around `rest` has if the line does not say: broadcast for ARP
/// requests, the group's address for multicast, else `unicast`.
pub(crate) fn default_dst(rest: &[Layer], unicast: Mac) -> Mac {
    let Some(packet) = rest.iter().find(|layer| layer.kind != Kind::Vlan) else { return unicast };
    if packet.kind == Kind::ArpRequest {
        return Mac::BROADCAST;
    }
    match (packet.ip4("dst"), packet.ip6("dst")) {
        (Some(dst), _) if packet.kind == Kind::Ip && dst.is_broadcast() => Mac::BROADCAST,
        (Some(dst), _) if packet.kind == Kind::Ip && dst.is_multicast() => Mac::of_ip4_group(dst),
        (_, Some(dst)) if packet.kind == Kind::Ip6 && dst.is_multicast() => Mac::of_ip6_group(dst),
        _ => unicast,
    }
}

pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let (src, dst) = context.addresses();
    let src = layer.mac("src").unwrap_or(src);
    let dst = layer.mac("dst").unwrap_or_else(|| default_dst(rest, dst));
    let innermost = rest.iter().all(|layer| layer.kind != Kind::Eth);
    let mut frame = [dst.0, src.0].concat();
    frame.extend(type_of(layer, rest).to_be_bytes());
    frame.extend(build::build(rest, &Context { eth_src: src, ends: None, ..*context })?);
    if innermost {
        frame.extend(context.pad);
    }
    Ok(frame)
}

pub(crate) fn build_vlan(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let tag =
        layer.num_or_zero("pcp") << 13 | layer.num_or_zero("dei") << 12 | layer.need_num("vid")?;
    let mut bytes = (tag as u16).to_be_bytes().to_vec();
    bytes.extend(type_of(layer, rest).to_be_bytes());
    bytes.extend(build::build(rest, context)?);
    Ok(bytes)
}

fn type_of(layer: &Layer, rest: &[Layer]) -> u16 {
    match layer.num("type") {
        Some(written) => written as u16,
        None => super::ether_type_of(rest.first().map(|next| next.kind)),
    }
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let Some((header, rest)) = walk.bytes.split_at_checked(14) else { return false };
    let mut layer = Layer::new(Kind::Eth);
    let mac = |at: usize| {
        let mut mac = [0; 6];
        mac.copy_from_slice(&header[at..at + 6]);
        Value::Mac(Mac(mac))
    };
    layer.push("src", mac(6), Note::Plain);
    layer.push("dst", mac(0), Note::Plain);
    layer.push_num("type", be16(header, 12));
    walk.ends = None;
    walk.step(layer, rest, Next::EtherType(be16(header, 12)));
    true
}

pub(crate) fn decode_vlan(walk: &mut Walk<'_>) -> bool {
    let Some((header, rest)) = walk.bytes.split_at_checked(4) else { return false };
    let mut layer = Layer::new(Kind::Vlan);
    let tag = be16(header, 0);
    layer.push_num("vid", tag & 0xfff);
    layer.push_num("pcp", tag >> 13);
    layer.push_num("dei", tag >> 12 & 1);
    layer.push_num("type", be16(header, 2));
    walk.step(layer, rest, Next::EtherType(be16(header, 2)));
    true
}
