//! ICMP (RFC 792, RFC 1191).

use super::super::build::{Context, build_quote};
use super::super::checksum;
use super::super::decode::{Next, Walk};
use super::super::error::Result;
use super::super::layer::Layer;
use super::super::schema::*;
use super::super::value::Value;
use super::{be16, be32};

pub(crate) static ECHO: Schema = echo(Kind::IcmpEcho, &["icmp", "echo"], "icmp");
pub(crate) static REPLY: Schema = echo(Kind::IcmpReply, &["icmp", "reply"], "icmp");

pub(crate) static UNREACHABLE: Schema = Schema {
    kind: Kind::IcmpUnreachable,
    words: &["icmp", "unreachable"],
    head: &[Part::Field(required("code", Syntax::Code(UNREACHABLE_CODES)))],
    keywords: &[Keyword { word: "mtu", fields: &[or("mtu", U16, 0)] }, FIRST],
    sum: Some("icmp"),
};

pub(crate) static TIME_EXCEEDED: Schema = Schema {
    kind: Kind::IcmpTimeExceeded,
    words: &["icmp", "time-exceeded"],
    head: &[Part::Field(required("code", Syntax::Code(TIME_EXCEEDED_CODES)))],
    keywords: &[FIRST],
    sum: Some("icmp"),
};

pub(crate) static OTHER: Schema = other(Kind::IcmpOther, &["icmp", "type"], "icmp");

/// Echo request and reply, alike in both families.
pub(crate) const fn echo(kind: Kind, words: &'static [&'static str], sum: &'static str) -> Schema {
    const KEYWORDS: &[Keyword] = &[
        Keyword { word: "id", fields: &[or("id", U16, 0)] },
        Keyword { word: "seq", fields: &[or("seq", U16, 0)] },
        Keyword { word: "code", fields: &[or("code", U8, 0)] },
    ];
    Schema { kind, words, head: &[], keywords: KEYWORDS, sum: Some(sum) }
}

/// A message by its numbers, alike in both families: `rest` is its second word.
pub(crate) const fn other(kind: Kind, words: &'static [&'static str], sum: &'static str) -> Schema {
    const HEAD: &[Part] = &[Part::Field(required("type", U8))];
    const KEYWORDS: &[Keyword] = &[
        Keyword { word: "code", fields: &[or("code", U8, 0)] },
        Keyword { word: "rest", fields: &[or("rest", HEX32, 0)] },
    ];
    Schema { kind, words, head: HEAD, keywords: KEYWORDS, sum: Some(sum) }
}

/// How many bytes of the quoted packet are there.
pub(crate) const FIRST: Keyword = Keyword { word: "first", fields: &[computed("first", U16)] };

const UNREACHABLE_CODES: &[(u64, &str)] = &[
    (0, "net"),
    (1, "host"),
    (2, "protocol"),
    (3, "port"),
    (4, "frag-needed"),
    (9, "net-admin"),
    (10, "host-admin"),
    (13, "admin"),
];

pub(crate) const TIME_EXCEEDED_CODES: &[(u64, &str)] = &[(0, "transit"), (1, "reassembly")];

pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let id_and_seq = (layer.num_or_zero("id") as u32) << 16 | layer.num_or_zero("seq") as u32;
    let (kind, word) = match layer.kind {
        Kind::IcmpReply => (0, id_and_seq),
        Kind::IcmpEcho => (8, id_and_seq),
        Kind::IcmpUnreachable => (3, layer.num_or_zero("mtu") as u32),
        Kind::IcmpTimeExceeded => (11, 0),
        _ => (layer.need_num("type")? as u8, layer.num_or_zero("rest") as u32),
    };
    let mut bytes = vec![kind, layer.need_num("code")? as u8, 0, 0];
    bytes.extend(word.to_be_bytes());
    bytes.extend(build_quote(layer, rest, context)?);
    let sum = layer.sum(checksum::internet(&bytes));
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    Ok(bytes)
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let bytes = walk.bytes;
    let Some((header, body)) = bytes.split_at_checked(8) else { return false };
    let (kind, code, word) = (header[0], header[1], be32(header, 4));
    let mut layer = match (kind, word) {
        (0, _) => decode_echo(Kind::IcmpReply, word),
        (8, _) => decode_echo(Kind::IcmpEcho, word),
        (3, 0..=0xffff) => {
            let mut layer = Layer::new(Kind::IcmpUnreachable);
            layer.push_num("mtu", word);
            layer
        }
        (11, 0) => Layer::new(Kind::IcmpTimeExceeded),
        _ => decode_other(Kind::IcmpOther, kind, word),
    };
    layer.push("code", Value::Num(code.into()), super::super::layer::Note::Plain);
    let mut zeroed = bytes.to_vec();
    zeroed[2..4].fill(0);
    layer.push_sum(be16(bytes, 2), checksum::internet(&zeroed), walk.complete);
    if layer.kind.quotes() {
        walk.step_into_quote(layer, body);
    } else {
        walk.step(layer, body, Next::Payload);
    }
    true
}

/// Identifier and sequence number.
pub(crate) fn decode_echo(kind: Kind, word: u32) -> Layer {
    let mut layer = Layer::new(kind);
    layer.push_num("id", word >> 16);
    layer.push_num("seq", word & 0xffff);
    layer
}

/// A message known by its numbers only.
pub(crate) fn decode_other(kind: Kind, number: u8, word: u32) -> Layer {
    let mut layer = Layer::new(kind);
    layer.push_num("type", number);
    layer.push_num("rest", word);
    layer
}
