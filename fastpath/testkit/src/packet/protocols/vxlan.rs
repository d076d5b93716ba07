//! VXLAN (RFC 7348).

use super::super::build::{self, Context};
use super::super::decode::{Next, Walk};
use super::super::error::Result;
use super::super::layer::Layer;
use super::super::schema::*;
use super::be32;

pub(crate) static VXLAN: Schema = Schema {
    kind: Kind::Vxlan,
    words: &["vxlan"],
    head: &[],
    keywords: &[
        Keyword { word: "vni", fields: &[required("vni", U24)] },
        Keyword { word: "flags", fields: &[or("flags", HEX8, FLAG_VNI)] },
        Keyword { word: "res", fields: &[or("res", HEX32, 0)] },
    ],
    sum: None,
};

/// The I flag: the VNI is valid.
const FLAG_VNI: u64 = 0x08;

pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    let reserved = layer.num_or_zero("res") as u32;
    let first = (layer.num_or_zero("flags") as u32) << 24 | reserved >> 8;
    let second = (layer.need_num("vni")? as u32) << 8 | reserved & 0xff;
    let mut bytes = first.to_be_bytes().to_vec();
    bytes.extend(second.to_be_bytes());
    bytes.extend(build::build(rest, &Context { inner: true, ..*context })?);
    Ok(bytes)
}

pub(crate) fn decode(walk: &mut Walk<'_>) -> bool {
    let Some((header, rest)) = walk.bytes.split_at_checked(8) else { return false };
    let (first, second) = (be32(header, 0), be32(header, 4));
    let mut layer = Layer::new(Kind::Vxlan);
    layer.push_num("vni", second >> 8);
    layer.push_num("flags", first >> 24);
    layer.push_num("res", (first & 0xff_ffff) << 8 | second & 0xff);
    walk.step(layer, rest, Next::Eth);
    true
}
