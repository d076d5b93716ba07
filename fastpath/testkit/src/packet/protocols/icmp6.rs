//! ICMPv6 (RFC 4443), but for neighbor discovery.

use super::super::build::{Context, build_quote};
use super::super::checksum;
use super::super::decode::{Next, Walk};
use super::super::error::Result;
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::Value;
use super::icmp::{FIRST, TIME_EXCEEDED_CODES, decode_echo, decode_other, echo, other};
use super::{be16, be32, nd, protocol};

pub(crate) static ECHO: Schema = echo(Kind::Icmp6Echo, &["icmp6", "echo"], "icmp6");
pub(crate) static REPLY: Schema = echo(Kind::Icmp6Reply, &["icmp6", "reply"], "icmp6");

pub(crate) static UNREACHABLE: Schema = Schema {
    kind: Kind::Icmp6Unreachable,
    words: &["icmp6", "unreachable"],
    head: &[Part::Field(required("code", Syntax::Code(UNREACHABLE_CODES)))],
    keywords: &[FIRST],
    sum: Some("icmp6"),
};

pub(crate) static PACKET_TOO_BIG: Schema = Schema {
    kind: Kind::Icmp6PacketTooBig,
    words: &["icmp6", "packet-too-big"],
    head: &[],
    keywords: &[
        Keyword { word: "mtu", fields: &[required("mtu", U32)] },
        Keyword { word: "code", fields: &[or("code", U8, 0)] },
        FIRST,
    ],
    sum: Some("icmp6"),
};

pub(crate) static TIME_EXCEEDED: Schema = Schema {
    kind: Kind::Icmp6TimeExceeded,
    words: &["icmp6", "time-exceeded"],
    head: &[Part::Field(required("code", Syntax::Code(TIME_EXCEEDED_CODES)))],
    keywords: &[FIRST],
    sum: Some("icmp6"),
};

pub(crate) static OTHER: Schema = other(Kind::Icmp6Other, &["icmp6", "type"], "icmp6");

const UNREACHABLE_CODES: &[(u64, &str)] = &[
    (0, "no-route"),
    (1, "admin"),
    (2, "beyond-scope"),
    (3, "address"),
    (4, "port"),
    (5, "policy"),
    (6, "reject-route"),
];

pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let id_and_seq = (layer.num_or_zero("id") as u32) << 16 | layer.num_or_zero("seq") as u32;
    let (kind, word) = match layer.kind {
        Kind::Icmp6Unreachable => (1, 0),
        Kind::Icmp6PacketTooBig => (2, layer.need_num("mtu")? as u32),
        Kind::Icmp6TimeExceeded => (3, 0),
        Kind::Icmp6Echo => (128, id_and_seq),
        Kind::Icmp6Reply => (129, id_and_seq),
        _ => (layer.need_num("type")? as u8, layer.num_or_zero("rest") as u32),
    };
    let mut bytes = vec![kind, layer.need_num("code")? as u8, 0, 0];
    bytes.extend(word.to_be_bytes());
    bytes.extend(build_quote(layer, rest, context)?);
    put_sum(layer, context, &mut bytes);
    Ok(bytes)
}

/// Puts the checksum into a message that holds zero in its place.
pub(crate) fn put_sum(layer: &Layer, context: &Context<'_>, message: &mut [u8]) {
    let right = checksum::transport(context.ends, protocol::ICMP6, message.len(), message);
    message[2..4].copy_from_slice(&layer.sum(right).to_be_bytes());
}

/// Judges the checksum of `walk`'s message.
pub(crate) fn take_sum(layer: &mut Layer, walk: &Walk<'_>) {
    let bytes = walk.bytes;
    let mut zeroed = bytes.to_vec();
    zeroed[2..4].fill(0);
    let right = checksum::transport(walk.ends, protocol::ICMP6, bytes.len(), &zeroed);
    layer.push_sum(be16(bytes, 2), right, walk.complete);
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let Some((header, body)) = walk.bytes.split_at_checked(8) else { return false };
    if nd::decode(walk) {
        return true;
    }
    let (kind, code, word) = (header[0], header[1], be32(header, 4));
    let mut layer = match (kind, word) {
        (1, 0) => Layer::new(Kind::Icmp6Unreachable),
        (2, _) => {
            let mut layer = Layer::new(Kind::Icmp6PacketTooBig);
            layer.push_num("mtu", word);
            layer
        }
        (3, 0) => Layer::new(Kind::Icmp6TimeExceeded),
        (128, _) => decode_echo(Kind::Icmp6Echo, word),
        (129, _) => decode_echo(Kind::Icmp6Reply, word),
        _ => decode_other(Kind::Icmp6Other, kind, word),
    };
    layer.push("code", Value::Num(code.into()), Note::Plain);
    take_sum(&mut layer, walk);
    if layer.kind.quotes() {
        walk.step_into_quote(layer, body);
    } else {
        walk.step(layer, body, Next::Payload);
    }
    true
}
