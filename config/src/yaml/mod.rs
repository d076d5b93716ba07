//! A YAML document as a tree whose nodes know their place.

mod build;

mod scalar;

use std::rc::Rc;

pub(crate) use self::build::build;
pub(crate) use self::scalar::{Kind, Scalar, quote};

/// A place in the text. Byte offsets lie on character boundaries of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Byte offset of the first character.
    pub start: usize,
    /// Byte offset behind the last character.
    pub end: usize,
    /// Line, from 1.
    pub line: usize,
}

impl Span {
    /// The first character of the text.
    pub(crate) const START: Self = Self { start: 0, end: 0, line: 1 };
}

/// A value and its place. Cheap to clone: aliases share what they refer to.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub span: Span,
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Rc<[Node]>),
    Map(Rc<[Entry]>),
}

/// A key and its value. The keys of a map are distinct.
#[derive(Debug)]
pub(crate) struct Entry {
    pub key: Rc<str>,
    pub key_span: Span,
    pub value: Node,
}

impl Node {
    /// Whether there is no value: `key:` or `key: null`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.kind() == Kind::Null)
    }

    /// What this is, for "found ...".
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Scalar(scalar) => scalar.describe(),
            Value::List(items) if items.is_empty() => "an empty list".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}
