//! From the text of a file to objects: documents, Lists, kinds.

use super::yaml::{self, Document, YamlError};
use crate::diagnostic::{Diagnostic, Finding, Severity};
use crate::object::{self, DecodeError, Key, Kind, Object, Origin, Places};
use crate::validate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

mod denial;
mod unknown;

pub(crate) use denial::Denial;
use denial::{identity, of_reading, rest_in};
use unknown::of_unknown_keys;

/// Splits a file at its `---` and `...` lines, so that a document that does not
/// parse takes no other one with it. Returns the lines before each, and its
/// text. Directives stay with the document that follows.
pub(crate) fn split(text: &str) -> Vec<(u32, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let mut has_content = false;
    let mut offset = 0;
    for (line_number, line) in text.split_inclusive('\n').enumerate() {
        let end = offset + line.len();
        if is_marker(line, "---") {
            if has_content {
                documents.push((start_line, &text[start..offset]));
                (start, start_line) = (offset, line_number as u32);
            }
            has_content = true;
        } else if is_marker(line, "...") {
            documents.push((start_line, &text[start..end]));
            (start, start_line) = (end, line_number as u32 + 1);
            has_content = false;
        } else if !line.trim().is_empty() && !line.starts_with(['#', '%']) {
            has_content = true;
        }
        offset = end;
    }
    if has_content {
        documents.push((start_line, &text[start..]));
    }
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// What one document (or one item of a List) turned out to be.
#[derive(Debug)]
pub(crate) enum Item {
    /// An object that Kubernetes would accept.
    Object {
        key: Key,
        object: Object,
        /// Hash of the object's content.
        hash: u64,
        places: Arc<Places>,
        /// Lines are relative to the document.
        warnings: Vec<Diagnostic>,
    },
    /// An object of another kind.
    OtherKind {
        /// Its `kind`, and its group where that tells it from another one.
        kind: String,
        /// If it is one of a kind that is read, or its predecessor.
        warning: Option<Diagnostic>,
    },
    /// Broken. With a key, the object of that key stays as it was; without one,
    /// so does everything that the file had before.
    Refused {
        key: Option<Key>,
        /// What it denies where nothing stays as it was.
        denials: Vec<Denial>,
        /// Lines are relative to the document.
        diagnostics: Vec<Diagnostic>,
    },
}

/// Decodes one document of a file. Without `has_ingresses`, Ingresses and what belongs to them
/// are of no use.
pub(crate) fn decode(text: &str, file: &Arc<str>, has_ingresses: bool) -> Vec<Item> {
    let document = match yaml::parse(text) {
        Ok(Some(document)) => document,
        Ok(None) => return Vec::new(),
        Err(unread) => {
            let mut denials = Vec::new();
            for denial in unread.readings.iter().flat_map(of_reading) {
                if !denials.contains(&denial) {
                    denials.push(denial);
                }
            }
            let diagnostic = |error: YamlError| Diagnostic {
                severity: Severity::Error,
                file: Some(file.to_string()),
                line: Some(error.place.line),
                column: Some(error.place.column),
                object: None,
                path: error.path,
                message: error.message,
                expected: error.expected.map(str::to_owned),
            };
            let mut diagnostics: Vec<_> = unread.errors.into_iter().map(diagnostic).collect();
            let is_policy = unread.readings.iter().any(denial::is_policy);
            if let Some(last) = diagnostics.last_mut().filter(|_| is_policy && denials.is_empty()) {
                last.message.push_str("; it is not told which pods this policy selects");
            }
            return vec![Item::Refused { key: None, denials, diagnostics }];
        }
    };
    if document.value.is_null() {
        return Vec::new();
    }
    let Some(kind) = list_kind(&document.value) else {
        return vec![decode_item(&document, None, &document.value, None, (file, has_ingresses))];
    };
    let kind = kind.map(str::to_owned);
    let items = document.value.get("items").and_then(Value::as_array);
    let items = items.map(Vec::as_slice).unwrap_or_default();
    let decode = |(index, item)| {
        decode_item(&document, Some(index), item, kind.as_deref(), (file, has_ingresses))
    };
    items.iter().enumerate().map(decode).collect()
}

/// `Some` for a List; inside, the kind of its items if the List tells it
/// (`kind: ServiceList`), since such items may leave theirs out.
fn list_kind(value: &Value) -> Option<Option<&str>> {
    match value.get("kind")?.as_str()? {
        "List" => Some(None),
        kind => {
            let of = kind.strip_suffix("List").filter(|_| value.get("items").is_some())?;
            Some(Some(of))
        }
    }
}

fn decode_item(
    document: &Document,
    index: Option<usize>,
    value: &Value,
    list_kind: Option<&str>,
    (file, has_ingresses): (&Arc<str>, bool),
) -> Item {
    let locate = |key: Option<&Key>, findings: Vec<Finding>| -> Vec<Diagnostic> {
        if findings.is_empty() {
            return Vec::new();
        }
        let places = Arc::new(document.places(index, true));
        let origin = Origin { file: file.clone(), lines_before: 0, places };
        let nobody = Key::of(Kind::Service, &ObjectMeta::default());
        let diagnostic = |finding: &Finding| Diagnostic {
            object: key.map(Key::to_string),
            ..finding.at(key.unwrap_or(&nobody), Some(&origin))
        };
        findings.iter().map(diagnostic).collect()
    };
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let Some(kind_name) = text("kind").or(list_kind) else {
        let finding = Finding::error("", "this is no Kubernetes object")
            .expected("a mapping with `apiVersion`, `kind` and `metadata`");
        let diagnostics = locate(None, vec![finding]);
        return Item::Refused { key: None, denials: Vec::new(), diagnostics };
    };
    let version = text("apiVersion");
    let other = |kind: String| {
        let finding = unknown::of_kind(version, kind_name);
        let warning = locate(None, finding.into_iter().collect()).pop();
        Item::OtherKind { kind, warning }
    };
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == kind_name) else {
        return other(kind_name.to_owned());
    };
    // Secrets are for many things.
    let is_used = match kind {
        Kind::Secret => has_ingresses && object::is_secret_of_use(value),
        kind => has_ingresses || !kind.is_of_ingresses(),
    };
    if !is_used {
        return other(kind_name.to_owned());
    }
    let refuse = |findings: Vec<Finding>| {
        let identity = identity(kind, value, true);
        let key = identity.clone().filter(|key| !key.name.is_empty());
        let of_key = identity.filter(|_| kind.is_network_policy());
        let denial = |key| Denial { key, rest: rest_in(kind, value, Vec::new()).map(Box::new) };
        let denials = of_key.map(denial).into_iter().collect();
        Item::Refused { denials, diagnostics: locate(key.as_ref(), findings), key }
    };
    let is_understood = version.is_some_and(|version| kind.api_versions().contains(&version));
    if !is_understood && (version.is_some() || list_kind.is_none()) {
        if let Some(version) = version.filter(|version| !kind.is_of_group(version)) {
            return other(format!("{version} {kind_name}"));
        }
        let found = version.map_or("is missing".to_owned(), |v| format!("{v:?} is not understood"));
        let finding = Finding::error("apiVersion", found).expected(kind.api_version());
        return refuse(vec![finding]);
    }
    let (object, errors) = match object::decode(kind, value) {
        Ok(object) => (Some(object), Vec::new()),
        Err(broken) => (broken.rest, broken.errors),
    };
    let findings = findings(object.as_ref(), &errors, value);
    let is_wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
    let Some(object) = object.filter(|_| !is_wrong) else { return refuse(findings) };
    let key = object.key();
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    Item::Object {
        warnings: locate(Some(&key), findings),
        key,
        object,
        hash: hasher.finish(),
        places: Arc::new(document.places(index, false)),
    }
}

/// Everything that is wrong with an object. `errors`: what does not decode, which
/// the object lacks.
fn findings(object: Option<&Object>, errors: &[DecodeError], value: &Value) -> Vec<Finding> {
    let of_error = |error: &DecodeError| Finding {
        expected: error.expected.clone(),
        ..Finding::error(&error.path, &error.message)
    };
    let mut findings: Vec<Finding> = errors.iter().map(of_error).collect();
    if let Some(object) = object {
        let more = validate::refusals(object).into_iter().chain(of_unknown_keys(object, value));
        // Of what is wrong already, nothing can be said.
        let is_new = |more: &Finding| {
            !errors.iter().any(|wrong| {
                is_within(&wrong.path, &more.path) || is_within(&more.path, &wrong.path)
            })
        };
        findings.extend(more.filter(is_new));
    }
    findings
}

/// Whether a key path is another one or a part of it.
fn is_within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent)
        .is_some_and(|rest| parent.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests;
