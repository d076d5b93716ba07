//! TCP (RFC 9293).

use super::super::build::{self, Context};
use super::super::checksum;
use super::super::decode::{Next, Walk};
use super::super::error::{ParseError, Result};
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::Value;
use super::{be16, be32, protocol};

pub(crate) static TCP: Schema = Schema {
    kind: Kind::Tcp,
    words: &["tcp"],
    head: &[
        Part::Field(required("sport", U16)),
        Part::Word(">"),
        Part::Field(required("dport", U16)),
        Part::Field(or("flags", Syntax::TcpFlags, FLAG_ACK)),
    ],
    keywords: &[
        Keyword { word: "seq", fields: &[or("seq", U32, 0)] },
        Keyword { word: "ack", fields: &[or("ack", U32, 0)] },
        Keyword { word: "win", fields: &[or("win", U16, 0xffff)] },
        Keyword { word: "urg", fields: &[or("urg", U16, 0)] },
        Keyword { word: "res", fields: &[or("res", U3, 0)] },
        Keyword { word: "mss", fields: &[computed("mss", U16)] },
        Keyword { word: "opts", fields: &[computed("opts", Syntax::Bytes)] },
        Keyword { word: "off", fields: &[computed("off", U4)] },
    ],
    sum: Some("tcp"),
};

const FLAG_ACK: u64 = 0x10;

/// Kind and length of the option Maximum Segment Size.
const OPTION_MSS: [u8; 2] = [2, 4];

pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let mut opts = Vec::new();
    if let Some(mss) = layer.num("mss") {
        opts.extend(OPTION_MSS);
        opts.extend((mss as u16).to_be_bytes());
    }
    opts.extend(layer.bytes("opts"));
    opts.resize(opts.len().next_multiple_of(4), 0);
    if opts.len() > 40 && layer.num("off").is_none() {
        return Err(ParseError::new(layer.column, "TCP options take 40 bytes at most"));
    }
    let off = layer.num("off").unwrap_or(5 + opts.len() as u64 / 4);
    let low = off << 12 | layer.num_or_zero("res") << 9 | layer.num_or_zero("flags");

    let mut bytes = Vec::new();
    bytes.extend((layer.need_num("sport")? as u16).to_be_bytes());
    bytes.extend((layer.need_num("dport")? as u16).to_be_bytes());
    bytes.extend((layer.num_or_zero("seq") as u32).to_be_bytes());
    bytes.extend((layer.num_or_zero("ack") as u32).to_be_bytes());
    bytes.extend((low as u16).to_be_bytes());
    bytes.extend((layer.num_or_zero("win") as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend((layer.num_or_zero("urg") as u16).to_be_bytes());
    bytes.extend(opts);
    bytes.extend(build::build(rest, context)?);
    let right = checksum::transport(context.ends, protocol::TCP, bytes.len(), &bytes);
    bytes[16..18].copy_from_slice(&layer.sum(right).to_be_bytes());
    Ok(bytes)
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let bytes = walk.bytes;
    let mut layer = Layer::new(Kind::Tcp);
    layer.push_num("sport", be16(bytes, 0));
    layer.push_num("dport", be16(bytes, 2));
    layer.push_num("seq", be32(bytes, 4));
    if bytes.len() < 20 {
        // An ICMP error need quote no more than the ports and the sequence number (RFC 792).
        if !walk.in_quote || bytes.len() < 8 {
            return false;
        }
        walk.step(layer, &[], Next::Payload);
        return true;
    }
    let low = u64::from(be16(bytes, 12));
    let off = (low >> 12) as usize;
    let sound = off >= 5 && off * 4 <= bytes.len();
    let header = &bytes[..if sound { off * 4 } else { 20 }];
    layer.push_num("ack", be32(bytes, 8));
    layer.push_num("flags", low & 0x1ff);
    layer.push_num("res", low >> 9 & 7);
    layer.push_num("win", be16(bytes, 14));
    layer.push_num("urg", be16(bytes, 18));
    let off_note = if sound { Note::Implied } else { Note::Wrong };
    layer.push("off", Value::Num(off as u64), off_note);
    push_options(&mut layer, &header[20..]);
    let mut zeroed = bytes.to_vec();
    zeroed[16..18].fill(0);
    let right = checksum::transport(walk.ends, protocol::TCP, bytes.len(), &zeroed);
    layer.push_sum(be16(bytes, 16), right, walk.complete);
    let next = if sound { Next::Payload } else { Next::Unknown };
    walk.step(layer, &bytes[header.len()..], next);
    true
}

/// MSS first, as everybody sends it, prints as `mss`; the others as `opts`. An MSS elsewhere can
/// be compared all the same.
fn push_options(layer: &mut Layer, opts: &[u8]) {
    let rest = match opts {
        [2, 4, high, low, rest @ ..] => {
            layer.push_num("mss", u16::from_be_bytes([*high, *low]));
            rest
        }
        _ => {
            if let Some(mss) = find_mss(opts) {
                layer.push("mss", Value::Num(mss.into()), Note::Implied);
            }
            opts
        }
    };
    let note = if rest.is_empty() { Note::Implied } else { Note::Plain };
    layer.push("opts", Value::Bytes(rest.to_vec()), note);
}

fn find_mss(mut opts: &[u8]) -> Option<u16> {
    loop {
        opts = match opts {
            [] | [0, ..] => return None,
            [1, rest @ ..] => rest,
            [2, 4, high, low, ..] => return Some(u16::from_be_bytes([*high, *low])),
            [_, len, ..] if *len >= 2 => opts.get(usize::from(*len)..)?,
            _ => return None,
        };
    }
}
