//! IPv6 and its extension headers (RFC 8200).

use std::net::{IpAddr, Ipv6Addr};

use super::super::build::{self, Context, too_long};
use super::super::decode::{Next, Walk};
use super::super::error::{ParseError, Result};
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::Value;
use super::ip::{DSCP, ECN, FRAGMENT_OFFSET, fragment_units, traffic_class};
use super::{be16, be32, protocol};

pub(crate) static IP6: Schema = Schema {
    kind: Kind::Ip6,
    words: &["ip6"],
    head: &[
        Part::Field(required("src", Syntax::Ip6)),
        Part::Word(">"),
        Part::Field(required("dst", Syntax::Ip6)),
    ],
    keywords: &[
        Keyword { word: "hop", fields: &[computed("hop", U8)] },
        Keyword { word: "tc", fields: &[computed("tc", HEX8)] },
        Keyword { word: "dscp", fields: &[or("dscp", DSCP, 0)] },
        Keyword { word: "ecn", fields: &[or("ecn", ECN, 0)] },
        Keyword { word: "flow", fields: &[or("flow", FLOW, 0)] },
        Keyword { word: "nh", fields: &[computed("nh", U8)] },
        Keyword { word: "len", fields: &[computed("len", U16)] },
    ],
    sum: None,
};

/// The 20-bit flow label.
const FLOW: Syntax = Syntax::Num { max: 0xf_ffff, hex: true };

/// What an options header and a routing header have besides their contents.
const EXTENSION: &[Keyword] = &[
    Keyword { word: "nh", fields: &[computed("nh", U8)] },
    Keyword { word: "hlen", fields: &[computed("hlen", U8)] },
];

const CONTENTS: &[Part] = &[Part::Field(computed("contents", Syntax::Bytes))];

pub(crate) static HOP_BY_HOP: Schema = Schema {
    kind: Kind::HopByHop,
    words: &["hbh"],
    head: CONTENTS,
    keywords: EXTENSION,
    sum: None,
};

pub(crate) static DST_OPTIONS: Schema = Schema {
    kind: Kind::DstOptions,
    words: &["dst"],
    head: CONTENTS,
    keywords: EXTENSION,
    sum: None,
};

pub(crate) static ROUTING: Schema = Schema {
    kind: Kind::Routing,
    words: &["route"],
    head: CONTENTS,
    keywords: EXTENSION,
    sum: None,
};

pub(crate) static FRAGMENT: Schema = Schema {
    kind: Kind::Frag6,
    words: &["frag6"],
    head: &[Part::Field(or("offset", FRAGMENT_OFFSET, 0))],
    keywords: &[
        Keyword { word: "mf", fields: &[flag("mf")] },
        Keyword { word: "id", fields: &[or("id", U32, 0)] },
        Keyword { word: "nh", fields: &[computed("nh", U8)] },
        Keyword { word: "res", fields: &[or("res", HEX16, 0)] },
    ],
    sum: None,
};

/// The hop limit of a packet around `next`: neighbor discovery requires 255 (RFC 4861).
pub(crate) fn default_hop(next: Option<Kind>) -> u8 {
    match next {
        Some(Kind::NdSolicit | Kind::NdAdvert) => 255,
        _ => 64,
    }
}

fn next_header(layer: &Layer, rest: &[Layer]) -> u8 {
    let next = rest.first().map(|next| next.kind);
    layer.num("nh").map_or_else(|| super::protocol_of(next), |written| written as u8)
}

pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let (src, dst) = (layer.need_ip6("src")?, layer.need_ip6("dst")?);
    let ends = Some((IpAddr::V6(src), IpAddr::V6(dst)));
    let payload = build::build(rest, &Context { ends, ..*context })?;
    let len = match layer.num("len") {
        Some(written) => written as u16,
        None => u16::try_from(payload.len()).map_err(|_| too_long(layer))?,
    };
    let hop = layer
        .num("hop")
        .map_or_else(|| default_hop(rest.first().map(|next| next.kind)), |written| written as u8);
    let first =
        6 << 28 | u32::from(traffic_class(layer, "tc")) << 20 | layer.num_or_zero("flow") as u32;
    let mut bytes = first.to_be_bytes().to_vec();
    bytes.extend(len.to_be_bytes());
    bytes.extend([next_header(layer, rest), hop]);
    bytes.extend(src.octets());
    bytes.extend(dst.octets());
    bytes.extend(payload);
    Ok(bytes)
}

/// Hop-by-hop options, destination options, routing: next header, length, contents. Contents
/// are filled up with zero bytes, which are Pad1 options.
pub(crate) fn build_extension(
    layer: &Layer,
    rest: &[Layer],
    context: &Context<'_>,
) -> Result<Vec<u8>> {
    let mut bytes = vec![next_header(layer, rest), 0];
    bytes.extend(layer.bytes("contents"));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes[1] = match layer.num("hlen") {
        Some(written) => written as u8,
        None => u8::try_from(bytes.len() / 8 - 1).map_err(|_| {
            ParseError::new(layer.column, "an extension header takes 2048 bytes at most")
        })?,
    };
    bytes.extend(build::build(rest, context)?);
    Ok(bytes)
}

pub(crate) fn build_fragment(
    layer: &Layer,
    rest: &[Layer],
    context: &Context<'_>,
) -> Result<Vec<u8>> {
    let reserved = layer.num_or_zero("res") as u16;
    let mut bytes = vec![next_header(layer, rest), (reserved >> 8) as u8];
    let units = fragment_units(layer, "offset")?;
    let low = units << 3 | (reserved & 3) << 1 | layer.num_or_zero("mf") as u16;
    bytes.extend(low.to_be_bytes());
    bytes.extend((layer.num_or_zero("id") as u32).to_be_bytes());
    bytes.extend(build::build(rest, context)?);
    Ok(bytes)
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let bytes = walk.bytes;
    if bytes.len() < 40 || bytes[0] >> 4 != 6 {
        return false;
    }
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&bytes[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let (src, dst) = (address(8), address(24));
    let first = be32(bytes, 0);
    let class = first >> 20 & 0xff;
    let mut layer = Layer::new(Kind::Ip6);
    layer.push("src", Value::Ip6(src), Note::Plain);
    layer.push("dst", Value::Ip6(dst), Note::Plain);
    layer.push_num("hop", bytes[7]);
    layer.push("tc", Value::Num(class.into()), Note::Implied);
    layer.push_num("dscp", class >> 2);
    layer.push_num("ecn", class & 3);
    layer.push_num("flow", first & 0xf_ffff);
    layer.push_num("nh", bytes[6]);
    let payload = walk.push_length(&mut layer, 40, usize::from(be16(bytes, 4)) + 40, 40);
    walk.ends = Some((IpAddr::V6(src), IpAddr::V6(dst)));
    walk.step(layer, payload, Next::Protocol(bytes[6]));
    true
}

pub(crate) fn decode_extension(walk: &mut Walk<'_>, kind: Kind) -> bool {
    let bytes = walk.bytes;
    let Some(len) = bytes.get(1).map(|units| (usize::from(*units) + 1) * 8) else { return false };
    let Some((header, rest)) = bytes.split_at_checked(len) else { return false };
    let mut layer = Layer::new(kind);
    layer.push("contents", Value::Bytes(header[2..].to_vec()), Note::Plain);
    layer.push_num("nh", header[0]);
    layer.push("hlen", Value::Num(header[1].into()), Note::Implied);
    walk.step(layer, rest, Next::Protocol(header[0]));
    true
}

pub(crate) fn decode_fragment(walk: &mut Walk<'_>) -> bool {
    let Some((header, rest)) = walk.bytes.split_at_checked(8) else { return false };
    let low = be16(header, 2);
    let mut layer = Layer::new(Kind::Frag6);
    layer.push_num("offset", low & !7);
    layer.push_num("mf", low & 1);
    layer.push_num("id", be32(header, 4));
    layer.push_num("nh", header[0]);
    layer.push_num("res", u16::from(header[1]) << 8 | (low >> 1 & 3));
    let next = if low & !7 == 0 { Next::Protocol(header[0]) } else { Next::Payload };
    walk.complete &= low & !6 == 0;
    walk.step(layer, rest, next);
    true
}

/// Which extension header `number` announces, if any that is understood here.
pub(crate) fn extension_kind(number: u8) -> Option<Kind> {
    match number {
        protocol::HOP_BY_HOP => Some(Kind::HopByHop),
        protocol::DST_OPTIONS => Some(Kind::DstOptions),
        protocol::ROUTING => Some(Kind::Routing),
        _ => None,
    }
}
