//! Payload, bytes that nothing here understands, Ethernet padding, and the layers that only
//! instruct: `cut` and `*`.

use super::super::build::{self, Context};
use super::super::error::{ParseError, Result};
use super::super::layer::{Layer, Note};
use super::super::schema::*;
use super::super::value::Value;

pub(crate) static DATA: Schema = Schema {
    kind: Kind::Data,
    words: &["data"],
    head: &[Part::Field(required("bytes", Syntax::Payload))],
    keywords: &[],
    sum: None,
};

pub(crate) static RAW: Schema = Schema {
    kind: Kind::Raw,
    words: &["raw"],
    head: &[Part::Field(required("bytes", Syntax::Bytes))],
    keywords: &[],
    sum: None,
};

pub(crate) static PAD: Schema = Schema {
    kind: Kind::Pad,
    words: &["pad"],
    head: &[Part::Field(required("bytes", Syntax::Bytes))],
    keywords: &[],
    sum: None,
};

pub(crate) static CUT: Schema = Schema {
    kind: Kind::Cut,
    words: &["cut"],
    head: &[Part::Field(required("len", U32))],
    keywords: &[],
    sum: None,
};

pub(crate) static FURTHER: Schema =
    Schema { kind: Kind::Further, words: &["*"], head: &[], keywords: &[], sum: None };

/// A decoded layer of nothing but bytes.
pub(crate) fn decoded(kind: Kind, bytes: &[u8]) -> Layer {
    let mut layer = Layer::new(kind);
    layer.push("bytes", Value::Bytes(bytes.to_vec()), Note::Plain);
    layer
}

/// The bytes, then those of any layers after them.
pub(crate) fn build(layer: &Layer, rest: &[Layer], context: &Context<'_>) -> Result<Vec<u8>> {
    if layer.value("bytes").is_none() {
        return Err(ParseError::new(layer.column, "this layer needs its bytes here"));
    }
    let mut bytes = layer.bytes("bytes").to_vec();
    bytes.extend(build::build(rest, context)?);
    Ok(bytes)
}
