//! From the text of a file to objects: documents, Lists, kinds.

use super::yaml::{self, Document};
use crate::diagnostic::{Diagnostic, Finding, Severity};
use crate::object::{self, Broken, DecodeError, Key, Kind, Object, Origin, Places, UnknownKey};
use crate::source::refused::rest_of;
use crate::validate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use sluice_config::closest;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

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
    OtherKind(String),
    /// Broken. With a key, the object of that key stays as it was; without one,
    /// so does everything that the file had before.
    Refused {
        key: Option<Key>,
        /// What of a network policy can be understood.
        rest: Option<Box<Object>>,
        /// Lines are relative to the document.
        diagnostics: Vec<Diagnostic>,
    },
}

/// Decodes one document of a file.
pub(crate) fn decode(text: &str, file: &Arc<str>) -> Vec<Item> {
    let document = match yaml::parse(text) {
        Ok(Some(document)) => document,
        Ok(None) => return Vec::new(),
        Err(error) => {
            let diagnostic = Diagnostic {
                severity: Severity::Error,
                file: Some(file.to_string()),
                line: Some(error.place.line),
                column: Some(error.place.column),
                object: None,
                path: error.path,
                message: error.message,
                expected: error.expected.map(str::to_owned),
            };
            return vec![Item::Refused { key: None, rest: None, diagnostics: vec![diagnostic] }];
        }
    };
    if document.value.is_null() {
        return Vec::new();
    }
    let Some(kind) = list_kind(&document.value) else {
        return vec![decode_item(&document, None, &document.value, None, file)];
    };
    let kind = kind.map(str::to_owned);
    let items = document.value.get("items").and_then(Value::as_array);
    let items = items.map(Vec::as_slice).unwrap_or_default();
    let decode = |(index, item)| decode_item(&document, Some(index), item, kind.as_deref(), file);
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
    file: &Arc<str>,
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
    let refuse = |key: Option<&Key>, rest: Option<Object>, findings: Vec<Finding>| Item::Refused {
        key: key.cloned(),
        rest: rest.map(Box::new),
        diagnostics: locate(key, findings),
    };
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let Some(kind_name) = text("kind").or(list_kind) else {
        let finding = Finding::error("", "this is no Kubernetes object")
            .expected("a mapping with `apiVersion`, `kind` and `metadata`");
        return refuse(None, None, vec![finding]);
    };
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == kind_name) else {
        return Item::OtherKind(kind_name.to_owned());
    };
    let key = key_of(kind, value);
    let version = text("apiVersion");
    let is_understood = version.is_some_and(|version| kind.api_versions().contains(&version));
    if !is_understood && (version.is_some() || list_kind.is_none()) {
        // Kinds of the same name in other groups are other kinds, such as
        // `serving.knative.dev/v1` Service; those of another version are not.
        let is_of_kind = |group: &str| kind.api_versions().iter().any(|v| group_of(v) == group);
        if let Some(version) = version.filter(|v| v.contains('.') && !is_of_kind(group_of(v))) {
            return Item::OtherKind(format!("{version} {kind_name}"));
        }
        let found = version.map_or("is missing".to_owned(), |v| format!("{v:?} is not understood"));
        let finding = Finding::error("apiVersion", found).expected(kind.api_version());
        // Another version says much the same.
        let mut known = value.clone();
        known["apiVersion"] = kind.api_version().into();
        let rest = match object::decode(kind, &known) {
            Ok(object) => Some(object).filter(|_| kind.is_network_policy()),
            Err(broken) => rest_of(kind, broken),
        };
        return refuse(key.as_ref(), rest, vec![finding]);
    }
    let object = match object::decode(kind, value) {
        Ok(object) => object,
        Err(broken) => {
            let findings = of_broken(&broken, value);
            return refuse(key.as_ref(), rest_of(kind, broken), findings);
        }
    };
    let refusals = validate::refusals(&object);
    let unknown = of_unknown_keys(&object, value);
    if !refusals.is_empty() {
        let rest = Some(object).filter(|_| kind.is_network_policy());
        return refuse(key.as_ref(), rest, refusals.into_iter().chain(unknown).collect());
    }
    let key = object.key();
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    Item::Object {
        warnings: locate(Some(&key), unknown),
        key,
        object,
        hash: hasher.finish(),
        places: Arc::new(document.places(index, false)),
    }
}

/// The group of an `apiVersion`.
fn group_of(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}

/// Everything that is wrong with an object that does not decode.
fn of_broken(broken: &Broken, value: &Value) -> Vec<Finding> {
    let of_error = |error: &DecodeError| Finding {
        expected: error.expected.clone(),
        ..Finding::error(&error.path, &error.message)
    };
    let mut findings: Vec<Finding> = broken.errors.iter().map(of_error).collect();
    if let Some(rest) = &broken.rest {
        let wrong: Vec<String> = findings.iter().map(|finding| finding.path.clone()).collect();
        let more = validate::refusals(rest).into_iter().chain(of_unknown_keys(rest, value));
        // Of what is wrong already, nothing can be said.
        let is_new = |more: &Finding| {
            !wrong.iter().any(|wrong| is_within(wrong, &more.path) || is_within(&more.path, wrong))
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

/// Warnings about keys that Kubernetes does not know. What has been through an
/// API server has only keys that a later Kubernetes knows, unless somebody has
/// touched it since; then it looks like a known one.
fn of_unknown_keys(object: &Object, value: &Value) -> Vec<Finding> {
    let is_of_server = object.metadata().uid.is_some();
    let unknown = object::unknown_keys(object, value).into_iter();
    let meant = |unknown: &UnknownKey| {
        let is_near = |known: &str| closest(&unknown.key, [known]).is_some();
        closest(&unknown.key, unknown.known(is_near))
    };
    let finding = |unknown: UnknownKey| match meant(&unknown) {
        Some(known) => {
            let message = format!("unknown key, which is ignored; did you mean `{known}`?");
            Some(Finding::warning(unknown.path, message))
        }
        None if is_of_server => None,
        None => Some(Finding::warning(unknown.path, "unknown key, which is ignored")),
    };
    unknown.filter_map(finding).collect()
}

/// The key of an object that may be broken elsewhere.
fn key_of(kind: Kind, value: &Value) -> Option<Key> {
    let metadata = value.get("metadata")?;
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
    let metadata =
        ObjectMeta { name: text("name"), namespace: text("namespace"), ..ObjectMeta::default() };
    metadata.name.as_deref().filter(|name| !name.is_empty())?;
    Some(Key::of(kind, &metadata))
}

#[cfg(test)]
mod tests;
