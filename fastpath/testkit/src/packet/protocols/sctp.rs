//! SCTP (RFC 9260): the common header, and chunks as layers behind it.

use super::super::build::{self, Context};
use super::super::crc32c;
use super::super::decode::{Next, Walk};
use super::super::error::{ParseError, Result};
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::Value;
use super::{be16, be32};

pub(crate) static SCTP: Schema = Schema {
    kind: Kind::Sctp,
    words: &["sctp"],
    head: &[
        Part::Field(required("sport", U16)),
        Part::Word(">"),
        Part::Field(required("dport", U16)),
    ],
    keywords: &[Keyword { word: "vtag", fields: &[or("vtag", U32, 0)] }],
    sum: Some("sctp"),
};

pub(crate) static CHUNK: Schema = Schema {
    kind: Kind::Chunk,
    words: &["chunk"],
    head: &[Part::Field(required("type", Syntax::Code(TYPES)))],
    keywords: &[
        Keyword { word: "t", fields: &[flag("t")] },
        Keyword { word: "flags", fields: &[or("flags", HEX8, 0)] },
        Keyword { word: "tag", fields: &[computed("tag", U32)] },
        Keyword { word: "value", fields: &[computed("value", Syntax::Payload)] },
        Keyword { word: "len", fields: &[computed("len", U16)] },
    ],
    sum: None,
};

/// Chunk types (RFC 9260 section 3.2).
const TYPES: &[(u64, &str)] = &[
    (0, "data"),
    (1, "init"),
    (2, "init-ack"),
    (3, "sack"),
    (4, "heartbeat"),
    (5, "heartbeat-ack"),
    (6, "abort"),
    (7, "shutdown"),
    (8, "shutdown-ack"),
    (9, "error"),
    (10, "cookie-echo"),
    (11, "cookie-ack"),
    (14, "shutdown-complete"),
];

/// The bit that ABORT and SHUTDOWN COMPLETE have a keyword for.
const T_BIT: u64 = 1;

/// What a chunk has between its header and its variable parts: zeros unless the line says.
fn fixed_len(chunk_type: u64) -> usize {
    match chunk_type {
        // The tag is a field of its own.
        1 | 2 => 12,
        0 | 3 => 12,
        7 => 4,
        _ => 0,
    }
}

fn has_tag(chunk_type: u64) -> bool {
    matches!(chunk_type, 1 | 2)
}

pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.extend((layer.need_num("sport")? as u16).to_be_bytes());
    bytes.extend((layer.need_num("dport")? as u16).to_be_bytes());
    bytes.extend((layer.num_or_zero("vtag") as u32).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(build::build(rest, context)?);
    let sum = layer.sum32(crc32c::sctp(&bytes));
    bytes[8..12].copy_from_slice(&sum.to_be_bytes());
    Ok(bytes)
}

/// A chunk, padded, and what follows it.
pub(crate) fn build_chunk(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let chunk_type = layer.need_num("type")?;
    let mut value = Vec::new();
    if has_tag(chunk_type) {
        value.extend((layer.num_or_zero("tag") as u32).to_be_bytes());
    } else if layer.field("tag").is_some() {
        return Err(ParseError::new(layer.column, "only `init` and `init-ack` have a tag"));
    }
    match layer.value("value") {
        Some(_) => value.extend(layer.bytes("value")),
        None => value.resize(value.len() + fixed_len(chunk_type), 0),
    }
    let too_long = |_| ParseError::new(layer.column, "a chunk is 65535 bytes long at most");
    let len = match layer.num("len") {
        Some(written) => written as u16,
        None => u16::try_from(4 + value.len()).map_err(too_long)?,
    };
    let t = layer.num_or_zero("t") * T_BIT;
    let flags = layer.num_or_zero("flags") | t;
    let mut bytes = vec![chunk_type as u8, flags as u8];
    bytes.extend(len.to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(build::build(rest, context)?);
    Ok(bytes)
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let bytes = walk.bytes;
    // An ICMP error need quote no more than the ports and the tag (RFC 792).
    let is_cut = bytes.len() < 12;
    if is_cut && (!walk.in_quote || bytes.len() < 8) {
        return false;
    }
    let mut layer = Layer::new(Kind::Sctp);
    layer.push_num("sport", be16(bytes, 0));
    layer.push_num("dport", be16(bytes, 2));
    layer.push_num("vtag", be32(bytes, 4));
    if is_cut {
        walk.step(layer, &[], Next::Payload);
        return true;
    }
    let mut zeroed = bytes.to_vec();
    zeroed[8..12].fill(0);
    layer.push_sum32(be32(bytes, 8), crc32c::sctp(&zeroed), walk.complete);
    walk.step(layer, &bytes[12..], Next::Chunk);
    true
}

/// Decodes a chunk that is all there, its padding included; others are left as bytes.
pub(crate) fn decode_chunk(walk: &mut Walk<'_>) -> bool {
    let bytes = walk.bytes;
    let len = usize::from(be16(bytes, 2));
    let padded = len.next_multiple_of(4);
    if len < 4 || padded > bytes.len() || bytes[len..padded].iter().any(|byte| *byte != 0) {
        return false;
    }
    let (chunk_type, flags) = (u64::from(bytes[0]), u64::from(bytes[1]));
    let mut layer = Layer::new(Kind::Chunk);
    let mut value = &bytes[4..len];
    layer.push_num("type", chunk_type);
    let is_t = matches!(chunk_type, 6 | 14) && flags == T_BIT;
    layer.push_num("t", u64::from(is_t));
    layer.push("flags", Value::Num(flags), if is_t { Note::Implied } else { Note::Plain });
    if has_tag(chunk_type) {
        if value.len() < 4 {
            return false;
        }
        layer.push_num("tag", be32(value, 0));
        value = &value[4..];
    }
    let is_usual = value.len() == fixed_len(chunk_type) && value.iter().all(|byte| *byte == 0);
    let note = if is_usual { Note::Implied } else { Note::Plain };
    layer.push("value", Value::Bytes(value.to_vec()), note);
    layer.push("len", Value::Num(len as u64), Note::Implied);
    walk.step(layer, &bytes[padded..], Next::Chunk);
    true
}
