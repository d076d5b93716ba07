//! UDP (RFC 768).

use super::super::build::{self, Context, too_long};
use super::super::checksum::{self, Ends};
use super::super::decode::{Next, Walk};
use super::super::error::Result;
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::{Sum, Value};
use super::{be16, protocol};

pub(crate) static UDP: Schema = Schema {
    kind: Kind::Udp,
    words: &["udp"],
    head: &[
        Part::Field(required("sport", U16)),
        Part::Word(">"),
        Part::Field(required("dport", U16)),
    ],
    keywords: &[Keyword { word: "len", fields: &[computed("len", U16)] }],
    sum: Some("udp"),
};

/// The right checksum of a datagram, over as many bytes as its length field says. A result of
/// zero is sent as ones.
fn right_sum(ends: Ends, datagram: &[u8]) -> u16 {
    let len = usize::from(be16(datagram, 4));
    let mut covered = datagram[..len.clamp(8, datagram.len().max(8)).min(datagram.len())].to_vec();
    if let Some(sum) = covered.get_mut(6..8) {
        sum.fill(0);
    }
    match checksum::transport(ends, protocol::UDP, len, &covered) {
        0 => 0xffff,
        sum => sum,
    }
}

pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let payload = build::build(rest, context)?;
    let len = match layer.num("len") {
        Some(written) => written as u16,
        None => u16::try_from(8 + payload.len()).map_err(|_| too_long(layer))?,
    };
    let mut bytes = Vec::new();
    bytes.extend((layer.need_num("sport")? as u16).to_be_bytes());
    bytes.extend((layer.need_num("dport")? as u16).to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    let sum = layer.sum(right_sum(context.ends, &bytes));
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    Ok(bytes)
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let bytes = walk.bytes;
    if bytes.len() < 8 {
        return false;
    }
    let (dport, len) = (be16(bytes, 2), usize::from(be16(bytes, 4)));
    let mut layer = Layer::new(Kind::Udp);
    layer.push_num("sport", be16(bytes, 0));
    layer.push_num("dport", dport);
    let note = match len == bytes.len() {
        true => Note::Implied,
        // The rest of the datagram is in other fragments, or the quote leaves it out.
        false if !walk.complete && len > bytes.len() => Note::Plain,
        false => Note::Wrong,
    };
    layer.push("len", Value::Num(len as u64), note);
    match be16(bytes, 6) {
        0 => layer.push("sum", Value::Sum(Sum::Absent), Note::Plain),
        sum => layer.push_sum(sum, right_sum(walk.ends, bytes), walk.complete),
    }
    let vxlan = walk.defaults.vxlan_ports.contains(&dport);
    walk.step(layer, &bytes[8..], if vxlan { Next::Vxlan } else { Next::Payload });
    true
}
