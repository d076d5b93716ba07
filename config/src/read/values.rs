//! Readers of single values. Each returns a closure, to be handed to
//! [`Fields`](super::Fields).

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{Field, Located, Reader, Reported, closest};
use crate::yaml::{Kind, Node, Scalar, Value, quote};

/// Reads `true` or `false`.
pub(crate) fn boolean(reader: &mut Reader<'_>, field: Field<'_>) -> Result<bool, Reported> {
    match scalar(field.node).map(Scalar::kind) {
        Some(Kind::Boolean(value)) => Ok(value),
        _ => {
            let boolean = |kind| matches!(kind, Kind::Boolean(_));
            Err(refuse(reader, &field, "`true` or `false`", boolean))
        }
    }
}

/// Reads an integer of a range.
pub(crate) fn integer<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&mut Reader<'_>, Field<'_>) -> Result<T, Reported>
where
    T: Copy + Display + PartialOrd + TryFrom<i128>,
{
    integer_because(range, "")
}

/// Reads an integer of a range that needs an explanation, which begins with its punctuation.
pub(crate) fn integer_because<T>(
    range: RangeInclusive<T>,
    why: &'static str,
) -> impl Fn(&mut Reader<'_>, Field<'_>) -> Result<T, Reported>
where
    T: Copy + Display + PartialOrd + TryFrom<i128>,
{
    move |reader, field| {
        if let Some(Kind::Integer(value)) = scalar(field.node).map(Scalar::kind)
            && let Ok(value) = T::try_from(value)
            && range.contains(&value)
        {
            return Ok(value);
        }
        let expected = format!("an integer from {} to {}{why}", range.start(), range.end());
        let integer = |kind| matches!(kind, Kind::Integer(_));
        Err(refuse(reader, &field, &expected, integer))
    }
}

/// Reports a value of the wrong type, or out of range, and the quotes that make it a string.
fn refuse(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    expected: &str,
    is_right: impl Fn(Kind) -> bool,
) -> Reported {
    let quoted = scalar(field.node)
        .filter(|scalar| !scalar.plain)
        .is_some_and(|scalar| is_right(Scalar { text: scalar.text.clone(), plain: true }.kind()));
    let help = quoted.then(|| "leave the quotes out".to_owned());
    let message = format!("found {}", field.node.describe());
    reader.error_with_help(&field.spot, message, expected, help)
}

/// Reads a power of two of a range whose ends are powers of two.
pub(crate) fn power_of_two(
    range: RangeInclusive<u32>,
) -> impl Fn(&mut Reader<'_>, Field<'_>) -> Result<u32, Reported> {
    move |reader, field| {
        let (spot, found) = (field.spot.clone(), field.node.describe());
        let value = integer(range.clone())(reader, field)?;
        if value.is_power_of_two() {
            return Ok(value);
        }
        let above = value.next_power_of_two();
        let expected = format!("a power of two, such as {} or {above}", above / 2);
        Err(reader.error(&spot, format!("found {found}"), &*expected))
    }
}

/// Reads a number of seconds.
pub(crate) fn seconds(
    range: RangeInclusive<u32>,
) -> impl Fn(&mut Reader<'_>, Field<'_>) -> Result<Duration, Reported> {
    let read = integer(range);
    move |reader, field| read(reader, field).map(|seconds| Duration::from_secs(seconds.into()))
}

/// Reads one of a few words.
pub(crate) fn choice<T: Copy>(
    choices: &'static [(&'static str, T)],
) -> impl Fn(&mut Reader<'_>, Field<'_>) -> Result<T, Reported> {
    move |reader, field| {
        let found = scalar(field.node).map_or("", |scalar| &*scalar.text);
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == found) {
            return Ok(*value);
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        let expected = match &names[..] {
            [one] => one.clone(),
            names => format!("one of {}", names.join(", ")),
        };
        let help = closest(found, choices.iter().map(|(name, _)| *name))
            .map(|name| format!("did you mean `{name}`?"));
        let message = format!("found {}", field.node.describe());
        Err(reader.error_with_help(&field.spot, message, &*expected, help))
    }
}

/// Reads an RFC 1123 label, which namespaces and pools have as names.
pub(crate) fn label(reader: &mut Reader<'_>, field: Field<'_>) -> Result<String, Reported> {
    let expected = "1 to 63 of `a-z`, `0-9` and `-`, a letter or digit at both ends";
    let read = text(expected, |text| {
        let is_good = text.len() <= 63 && is_label(text);
        if is_good { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    read(reader, field)
}

/// Whether it is an RFC 1123 subdomain as Kubernetes has it: labels of any length, 253 bytes in
/// all.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether it is an RFC 1123 label, of any length.
pub(crate) fn is_label(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || c == '-')
}

/// Reads a string and hands it to `parse`, which returns the value or what is wrong with it
/// (empty where that is plain to see).
pub(crate) fn text<T>(
    expected: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> impl Fn(&mut Reader<'_>, Field<'_>) -> Result<T, Reported> {
    move |reader, field| {
        let found = field.node.describe();
        let Some(scalar) = scalar(field.node) else {
            return Err(reader.error(&field.spot, format!("found {found}"), expected));
        };
        let parsed = parse(&scalar.text);
        match (scalar.kind(), parsed) {
            (Kind::String, Ok(value)) => Ok(value),
            (Kind::String, Err(reason)) => {
                let separator = if reason.is_empty() { "" } else { ", " };
                let message = format!("found {}{separator}{reason}", quote(&scalar.text));
                Err(reader.error(&field.spot, message, expected))
            }
            (_, parsed) => {
                let help = parsed
                    .is_ok()
                    .then(|| format!("put it in quotes to make it a string: \"{}\"", scalar.text));
                let message = format!("found {found}");
                Err(reader.error_with_help(&field.spot, message, expected, help))
            }
        }
    }
}

/// Reads a path; a relative one is taken from the file's folder.
pub(crate) fn path(reader: &mut Reader<'_>, field: Field<'_>) -> Result<PathBuf, Reported> {
    let read = text("a path", |text| match text {
        "" => Err("an empty path".to_owned()),
        text if text.contains('\0') => Err("a path with a NUL character".to_owned()),
        text => Ok(text.to_owned()),
    });
    let path = read(reader, field)?;
    Ok(reader.resolve(&path))
}

/// Reads a list of a bounded length. Elements that cannot be read are reported and left out.
pub(crate) fn list<'n, T>(
    lengths: RangeInclusive<usize>,
    read: impl Fn(&mut Reader<'_>, Field<'n>) -> Result<T, Reported>,
) -> impl Fn(&mut Reader<'_>, Field<'n>) -> Result<Vec<Located<T>>, Reported> {
    move |reader, field| {
        let Field { node, spot } = field;
        let expected = match (lengths.start(), lengths.end()) {
            (0, max) => format!("a list of at most {max} elements"),
            (min, max) => format!("a list of {min} to {max} elements"),
        };
        let Value::List(items) = &node.value else {
            return Err(reader.error(&spot, format!("found {}", node.describe()), &*expected));
        };
        if !lengths.contains(&items.len()) {
            let message = match items.len() {
                0 => node.describe(),
                length => format!("a list of {length}"),
            };
            return Err(reader.error(&spot, format!("found {message}"), &*expected));
        }
        let mut values = Vec::with_capacity(items.len());
        for (index, node) in items.iter().enumerate() {
            let spot = spot.element(index, node.span);
            if let Ok(value) = read(reader, Field { node, spot: spot.clone() }) {
                values.push(Located { value, spot });
            }
        }
        Ok(values)
    }
}

fn scalar(node: &Node) -> Option<&Scalar> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar),
        Value::List(_) | Value::Map(_) => None,
    }
}
