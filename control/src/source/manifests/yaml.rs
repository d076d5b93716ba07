//! One YAML (or JSON) document as a JSON value that knows where its parts stand.
//!
//! Scalars are resolved by the core schema (YAML 1.2.2 section 10.3), anchors
//! and merge keys (`<<`) as `kubectl` does it.

use crate::object::{Place, Places};
use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// Most values that anchors may add to a document, against documents that
/// multiply themselves.
const ALIASED_VALUES_MAX: usize = 100_000;

/// Deepest nesting.
const DEPTH_MAX: usize = 100;

/// Most keys that stand twice that are named.
const TWICE_MAX: usize = 32;

/// Why a document is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) expected: Option<&'static str>,
}

/// A value, and where its parts stand.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    places: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// 0, or the index in a List's `items`, plus one; then the path is relative
    /// to the item.
    item: u32,
    hash: u64,
    place: Place,
    /// Whether findings after decoding may name it.
    keep: bool,
}

impl Document {
    /// The places of the document, or of one item of a List. `all`: also those
    /// that are needed only while decoding.
    pub(crate) fn places(&self, item: Option<usize>, all: bool) -> Places {
        let item = item.map_or(0, |item| item as u32 + 1);
        let start = self.places.partition_point(|entry| entry.item < item);
        let end = self.places.partition_point(|entry| entry.item <= item);
        let kept = self.places[start..end].iter().filter(|entry| all || entry.keep);
        Places::new(kept.map(|entry| (entry.hash, entry.place)).collect())
    }
}

/// A document that cannot be read, or not in one way only.
#[derive(Debug)]
pub(crate) struct Unread {
    /// What is wrong, at least one thing, in order.
    pub(crate) errors: Vec<YamlError>,
    /// What it may say. Where keys stand twice, one reading has the first value
    /// of each and another one the last.
    pub(crate) readings: Vec<Reading>,
}

/// What was read of a document.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Up to where it could be read.
    pub(crate) value: Value,
    /// Key paths of the lists and mappings that go on after that; empty if all
    /// was read.
    pub(crate) open: Vec<String>,
    /// Key path of the value that was begun there, if one was.
    pub(crate) lost: Option<String>,
}

/// Reads a document. `None`: it is empty.
pub(crate) fn parse(text: &str) -> Result<Option<Document>, Unread> {
    let (mut builder, error) = Builder::default().read(text);
    if error.is_none() && builder.twice.is_empty() {
        // Items of a List come after their parent in the text, but a List may
        // have keys after its items.
        builder.places.sort_by_key(|entry| entry.item);
        return Ok(builder.root.map(|value| Document { value, places: builder.places }));
    }
    let is_ambiguous = !builder.twice.is_empty();
    let errors = builder.twice.drain(..).chain(error).collect();
    let mut readings = vec![builder.into_reading()];
    if is_ambiguous {
        let last = Builder { is_last_kept: true, ..Builder::default() };
        readings.push(last.read(text).0.into_reading());
    }
    Err(Unread { errors, readings })
}

fn place(line: usize, column: usize) -> Place {
    Place { line: line as u32, column: column as u32 + 1 }
}

#[derive(Default)]
struct Builder {
    root: Option<Value>,
    stack: Vec<Frame>,
    /// Key path of the value that comes next.
    path: String,
    places: Vec<Entry>,
    anchors: HashMap<usize, (Value, usize)>,
    aliased: usize,
    /// Of a key that stands twice, the last value counts, not the first.
    is_last_kept: bool,
    twice: Vec<YamlError>,
}

struct Frame {
    anchor: usize,
    /// Length of the path of the collection itself.
    path_len: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Value>),
    Mapping { map: Map<String, Value>, key: Option<String>, merges: Vec<Value> },
}

impl Builder {
    /// Reads as far as it goes; why no further.
    fn read(mut self, text: &str) -> (Self, Option<YamlError>) {
        for event in Parser::new_from_str(text) {
            let taken = match event {
                Ok((event, span)) => self.event(event, place(span.start.line(), span.start.col())),
                Err(error) => {
                    let at = place(error.marker().line(), error.marker().col());
                    Err(self.error(at, error.info(), None))
                }
            };
            if let Err(error) = taken {
                return (self, Some(error));
            }
        }
        (self, None)
    }

    fn into_reading(mut self) -> Reading {
        let is_begun = !self.stack.is_empty() && !self.wants_key();
        let lost = is_begun.then(|| self.path.clone());
        let open = self.stack.iter().map(|frame| self.path[..frame.path_len].to_owned()).collect();
        let nowhere = place(1, 0);
        while !self.stack.is_empty() {
            // What cannot be merged is not read.
            if self.close(nowhere).is_err() {
                break;
            }
        }
        Reading { value: self.root.unwrap_or_default(), open, lost }
    }

    fn event(&mut self, event: Event<'_>, at: Place) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.wants_key() {
                    return self.key(text.into_owned(), at);
                }
                let is_text = tag.as_ref().and_then(|tag| tag.core_suffix()) == Some("str");
                let value = if style == ScalarStyle::Plain && !is_text {
                    resolve(&text)
                } else {
                    Value::String(text.into_owned())
                };
                self.note(at);
                self.value(value, anchor, at)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(anchor, at, Content::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Mapping { map: Map::new(), key: None, merges: Vec::new() };
                self.open(anchor, at, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Alias(id) => {
                if self.wants_key() {
                    return Err(self.error(at, "an alias as a key", Some("a text")));
                }
                let Some((value, size)) = self.anchors.get(&id).cloned() else {
                    return Err(self.error(at, "an alias of a value that contains it", None));
                };
                self.spend(size, at)?;
                self.note(at);
                self.value(value, 0, at)
            }
            _ => Ok(()),
        }
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Mapping { key: None, .. }, .. }))
    }

    fn key(&mut self, text: String, at: Place) -> Result<(), YamlError> {
        let Some(Frame { content: Content::Mapping { map, key, .. }, .. }) = self.stack.last_mut()
        else {
            return Ok(());
        };
        if map.contains_key(&text) && self.twice.len() < TWICE_MAX {
            let message = format!("the key {text:?} stands here twice");
            let path = self.path.clone();
            let expected = Some("each key once");
            self.twice.push(YamlError { place: at, path, message, expected });
        }
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(&text);
        *key = Some(text);
        Ok(())
    }

    fn open(&mut self, anchor: usize, at: Place, content: Content) -> Result<(), YamlError> {
        if self.wants_key() {
            return Err(self.error(at, "a list or mapping as a key", Some("a text")));
        }
        if self.stack.len() >= DEPTH_MAX {
            let message = format!("nested more than {DEPTH_MAX} levels deep");
            return Err(self.error(at, message, None));
        }
        self.note(at);
        let is_sequence = matches!(content, Content::Sequence(_));
        self.stack.push(Frame { anchor, path_len: self.path.len(), content });
        if is_sequence {
            self.path.push_str("[0]");
        }
        Ok(())
    }

    fn close(&mut self, at: Place) -> Result<(), YamlError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        self.path.truncate(frame.path_len);
        let value = match frame.content {
            Content::Sequence(values) => Value::Array(values),
            Content::Mapping { mut map, merges, .. } => {
                for merge in merges {
                    self.merge(&mut map, merge, at)?;
                }
                Value::Object(map)
            }
        };
        self.value(value, frame.anchor, at)
    }

    /// Adds what the merged mappings have and the mapping lacks.
    fn merge(&self, map: &mut Map<String, Value>, from: Value, at: Place) -> Result<(), YamlError> {
        let sources = match from {
            Value::Array(sources) => sources,
            other => vec![other],
        };
        for source in sources {
            let Value::Object(source) = source else {
                return Err(self.error(at, "`<<` merges what is no mapping", Some("a mapping")));
            };
            for (key, value) in source {
                map.entry(key).or_insert(value);
            }
        }
        Ok(())
    }

    fn value(&mut self, value: Value, anchor: usize, at: Place) -> Result<(), YamlError> {
        if anchor != 0 {
            let size = size_of_value(&value);
            self.spend(size, at)?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        self.path.truncate(frame.path_len);
        match &mut frame.content {
            Content::Sequence(values) => {
                values.push(value);
                self.path.push_str(&format!("[{}]", values.len()));
            }
            Content::Mapping { map, key, merges } => match key.take() {
                Some(key) if key == "<<" => merges.push(value),
                Some(key) if self.is_last_kept => drop(map.insert(key, value)),
                Some(key) => drop(map.entry(key).or_insert(value)),
                None => {}
            },
        }
        Ok(())
    }

    fn spend(&mut self, size: usize, at: Place) -> Result<(), YamlError> {
        self.aliased += size;
        if self.aliased > ALIASED_VALUES_MAX {
            let message = format!("anchors add more than {ALIASED_VALUES_MAX} values");
            return Err(self.error(at, message, None));
        }
        Ok(())
    }

    fn note(&mut self, place: Place) {
        let (item, path) = split_item(&self.path);
        let keep = is_named_by_findings(path);
        self.places.push(Entry { item, hash: Places::hash(path), place, keep });
    }

    fn error(
        &self,
        place: Place,
        message: impl Into<String>,
        expected: Option<&'static str>,
    ) -> YamlError {
        YamlError { place, path: self.path.clone(), message: message.into(), expected }
    }
}

/// Splits `items[3].spec` into 4 and `spec`; other paths into 0 and themselves.
fn split_item(path: &str) -> (u32, &str) {
    let item = path.strip_prefix("items[").and_then(|rest| {
        let (index, rest) = rest.split_once(']')?;
        let index: u32 = index.parse().ok()?;
        Some((index + 1, rest.strip_prefix('.').unwrap_or(rest)))
    });
    item.unwrap_or((0, path))
}

/// Whether a finding about a decoded object may name this path. Pods are many
/// and long; of their parts only few are looked at.
fn is_named_by_findings(path: &str) -> bool {
    const BULK: [&str; 5] = [
        "metadata.managedFields",
        "spec.containers",
        "spec.initContainers",
        "spec.volumes",
        "spec.tolerations",
    ];
    const STATUS: [&str; 3] = ["status.podIP", "status.loadBalancer", "status.addresses"];
    if path.starts_with("status.") {
        return STATUS.iter().any(|prefix| path.starts_with(prefix));
    }
    !BULK.iter().any(|prefix| path.starts_with(prefix))
}

fn size_of_value(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(size_of_value).sum(),
        Value::Object(map) => map.values().map(size_of_value).sum(),
        _ => 0,
    }
}

/// Resolves a plain scalar by the core schema.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return Some(u64::from_str_radix(digits, 16).ok()?.into());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return Some(u64::from_str_radix(digits, 8).ok()?.into());
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
        || !unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'))
    {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests;
