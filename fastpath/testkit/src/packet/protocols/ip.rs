//! IPv4 (RFC 791).

use std::net::{IpAddr, Ipv4Addr};

use super::super::build::{self, Context, too_long};
use super::super::checksum;
use super::super::decode::{Next, Walk};
use super::super::error::{ParseError, Result};
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::Value;
use super::be16;

pub(crate) static IP: Schema = Schema {
    kind: Kind::Ip,
    words: &["ip"],
    head: &[
        Part::Field(required("src", Syntax::Ip4)),
        Part::Word(">"),
        Part::Field(required("dst", Syntax::Ip4)),
    ],
    keywords: &[
        Keyword { word: "ttl", fields: &[or("ttl", U8, 64)] },
        Keyword { word: "tos", fields: &[computed("tos", HEX8)] },
        Keyword { word: "dscp", fields: &[or("dscp", DSCP, 0)] },
        Keyword { word: "ecn", fields: &[or("ecn", ECN, 0)] },
        Keyword { word: "id", fields: &[or("id", U16, 0)] },
        Keyword { word: "rb", fields: &[flag("rb")] },
        Keyword { word: "df", fields: &[flag("df")] },
        Keyword { word: "mf", fields: &[flag("mf")] },
        Keyword { word: "frag", fields: &[or("frag", FRAGMENT_OFFSET, 0)] },
        Keyword { word: "proto", fields: &[computed("proto", U8)] },
        Keyword { word: "opts", fields: &[computed("opts", Syntax::Bytes)] },
        Keyword { word: "len", fields: &[computed("len", U16)] },
        Keyword { word: "ihl", fields: &[computed("ihl", U4)] },
    ],
    sum: Some("ip"),
};

/// Upper six bits of the TOS byte or traffic class (RFC 2474).
pub(crate) const DSCP: Syntax = Syntax::Num { max: 63, hex: false };
/// Lower two bits of the TOS byte or traffic class (RFC 3168).
pub(crate) const ECN: Syntax = Syntax::Num { max: 3, hex: false };
/// Fragment offset in bytes; 13 bits of units of 8.
pub(crate) const FRAGMENT_OFFSET: Syntax = Syntax::Num { max: 0x1fff * 8, hex: false };

/// The TOS byte or traffic class, which is `whole` unless it is written by its parts.
pub(crate) fn traffic_class(layer: &Layer, whole: &str) -> u8 {
    let parts = layer.num_or_zero("dscp") << 2 | layer.num_or_zero("ecn");
    layer.num(whole).unwrap_or(parts) as u8
}

/// A fragment offset in units of 8 bytes; the line gives bytes.
pub(crate) fn fragment_units(layer: &Layer, name: &str) -> Result<u16> {
    let bytes = layer.num_or_zero(name);
    if bytes.is_multiple_of(8) {
        return Ok((bytes / 8) as u16);
    }
    let column = layer.field(name).map_or(layer.column, |field| field.column);
    let message = format!("a fragment offset is a multiple of 8 bytes, found {bytes}");
    Err(ParseError::new(column, message))
}

pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let (src, dst) = (layer.need_ip4("src")?, layer.need_ip4("dst")?);
    let ends = Some((IpAddr::V4(src), IpAddr::V4(dst)));
    let payload = build::build(rest, &Context { ends, ..*context })?;
    let mut opts = layer.bytes("opts").to_vec();
    opts.resize(opts.len().next_multiple_of(4), 0);
    let header_len = 20 + opts.len();
    if opts.len() > 40 && layer.num("ihl").is_none() {
        return Err(ParseError::new(layer.column, "IPv4 options take 40 bytes at most"));
    }
    let ihl = layer.num("ihl").unwrap_or(header_len as u64 / 4) as u8;
    let len = match layer.num("len") {
        Some(written) => written as u16,
        None => u16::try_from(header_len + payload.len()).map_err(|_| too_long(layer))?,
    };
    let proto = layer
        .num("proto")
        .unwrap_or_else(|| super::protocol_of(rest.first().map(|next| next.kind)).into());
    let flags = layer.num_or_zero("rb") << 15
        | layer.num_or_zero("df") << 14
        | layer.num_or_zero("mf") << 13;
    let mut bytes = vec![0x40 | ihl, traffic_class(layer, "tos")];
    bytes.extend(len.to_be_bytes());
    bytes.extend((layer.num_or_zero("id") as u16).to_be_bytes());
    bytes.extend((flags as u16 | fragment_units(layer, "frag")?).to_be_bytes());
    bytes.extend([layer.num_or_zero("ttl") as u8, proto as u8, 0, 0]);
    bytes.extend(src.octets());
    bytes.extend(dst.octets());
    bytes.extend(opts);
    let sum = layer.sum(checksum::internet(&bytes));
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(payload);
    Ok(bytes)
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let bytes = walk.bytes;
    if bytes.len() < 20 || bytes[0] >> 4 != 4 {
        return false;
    }
    let ihl = usize::from(bytes[0] & 15);
    let sound = ihl >= 5 && ihl * 4 <= bytes.len();
    let header_len = if sound { ihl * 4 } else { 20 };
    let header = &bytes[..header_len];
    let (len, fragment) = (usize::from(be16(header, 2)), be16(header, 6));
    let address = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    let (src, dst) = (address(12), address(16));
    let offset = fragment & 0x1fff;

    let mut layer = Layer::new(Kind::Ip);
    layer.push("src", Value::Ip4(src), Note::Plain);
    layer.push("dst", Value::Ip4(dst), Note::Plain);
    layer.push_num("ttl", header[8]);
    layer.push("tos", Value::Num(header[1].into()), Note::Implied);
    layer.push_num("dscp", header[1] >> 2);
    layer.push_num("ecn", header[1] & 3);
    layer.push_num("id", be16(header, 4));
    layer.push_num("rb", fragment >> 15);
    layer.push_num("df", fragment >> 14 & 1);
    layer.push_num("mf", fragment >> 13 & 1);
    layer.push_num("frag", u64::from(offset) * 8);
    layer.push_num("proto", header[9]);
    let opts = &header[20..];
    let opts_note = if opts.is_empty() { Note::Implied } else { Note::Plain };
    layer.push("opts", Value::Bytes(opts.to_vec()), opts_note);
    let ihl_note = if sound { Note::Implied } else { Note::Wrong };
    layer.push("ihl", Value::Num(ihl as u64), ihl_note);
    let payload = walk.push_length(&mut layer, header_len, len, 0);
    let mut zeroed = header.to_vec();
    zeroed[10..12].fill(0);
    layer.push_sum(be16(header, 10), checksum::internet(&zeroed), true);

    walk.ends = Some((IpAddr::V4(src), IpAddr::V4(dst)));
    let next = match (sound, offset) {
        (false, _) => Next::Unknown,
        (true, 0) => Next::Protocol(header[9]),
        (true, _) => Next::Payload,
    };
    walk.complete &= fragment & 0x3fff == 0;
    walk.step(layer, payload, next);
    true
}
