//! What is denied where a document that may be a network policy is not
//! understood.

use super::list_kind;
use super::unknown::of_unknown_keys;
use crate::diagnostic::Severity;
use crate::object::{self, Key, Kind, Object};
use crate::source::manifests::yaml::Reading;
use crate::source::refused::rest_without;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// A network policy of which there may be no good version: then what it selects
/// is denied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Denial {
    /// Its name is empty where that is not told.
    pub(crate) key: Key,
    /// What of it can be understood.
    pub(crate) rest: Option<Box<Object>>,
}

/// The network policies that a document that cannot be read is about, as far as
/// that can be told. One of no known namespace selects nobody.
pub(super) fn of_reading(reading: &Reading) -> Vec<Denial> {
    let items = reading.value.get("items").and_then(Value::as_array);
    match items {
        Some(items) => {
            let kind = list_kind(&reading.value).flatten();
            let denial = |(i, item)| of_object(item, kind, &format!("items[{i}]"), reading);
            items.iter().enumerate().filter_map(denial).collect()
        }
        None => of_object(&reading.value, None, "", reading).into_iter().collect(),
    }
}

/// Whether a document is one network policy.
pub(super) fn is_policy(reading: &Reading) -> bool {
    kind_of(&reading.value, None).is_some()
}

/// The kind of a network policy.
fn kind_of(value: &Value, list_kind: Option<&str>) -> Option<Kind> {
    let name = value.get("kind").and_then(Value::as_str).or(list_kind)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name)?;
    let version = value.get("apiVersion").and_then(Value::as_str);
    let is_ours = version.is_none_or(|version| kind.is_of_group(version));
    Some(kind).filter(|kind| kind.is_network_policy() && is_ours)
}

/// What an object at a key path of the document denies.
fn of_object(
    value: &Value,
    list_kind: Option<&str>,
    at: &str,
    reading: &Reading,
) -> Option<Denial> {
    let kind = kind_of(value, list_kind)?;
    let path = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    let is_open = |path: &str| reading.open.iter().any(|open| open == path);
    let mut lost = Vec::new();
    if is_open(at) {
        // The keys that have not come may say more.
        lost.extend(["spec.policyTypes", "spec.ingress"].map(str::to_owned));
        let torn = reading.open.iter().chain(&reading.lost);
        let torn = torn.filter_map(|torn| torn.strip_prefix(&path("")));
        lost.extend(torn.filter(|torn| torn.starts_with("spec.")).map(str::to_owned));
    }
    // What is indented wrongly ends a mapping before its time.
    let has_ended = value.get("spec").is_some() && !is_open(&path("metadata"));
    let key = identity(kind, value, !is_open(at) || has_ended)?;
    Some(Denial { key, rest: rest_in(kind, value, lost).map(Box::new) })
}

/// The key of an object that may be broken elsewhere, without its name where that
/// is not told; `None` if its namespace is not. `is_read`: its metadata is whole.
pub(super) fn identity(kind: Kind, value: &Value, is_read: bool) -> Option<Key> {
    let metadata = value.get("metadata").unwrap_or(&Value::Null);
    let is_mapping = value.is_object() && (metadata.is_object() || metadata.is_null());
    // With a `}` missing, the next line belongs to a text; names are single words.
    let word = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    let namespace = match metadata.get("namespace") {
        Some(Value::String(namespace)) => Some(word(namespace)),
        Some(Value::Number(namespace)) => Some(namespace.to_string()),
        _ if !kind.is_namespaced() => None,
        // As with `kubectl apply`, that is `default`.
        Some(Value::Null) | None if is_read && is_mapping => None,
        _ => return None,
    };
    let name = metadata.get("name").and_then(Value::as_str).map(word);
    Some(Key::of(kind, &ObjectMeta { name, namespace, ..ObjectMeta::default() }))
}

/// What can be relied on of a network policy of any version, without the values
/// at the key paths `lost`; `None` for other kinds.
pub(super) fn rest_in(kind: Kind, value: &Value, mut lost: Vec<String>) -> Option<Object> {
    if !kind.is_network_policy() {
        return None;
    }
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        map.insert("apiVersion".to_owned(), kind.api_version().into());
    }
    let rest = match object::decode(kind, &value) {
        Ok(object) => Some(object),
        Err(broken) => {
            lost.extend(broken.errors.into_iter().map(|error| error.path));
            broken.rest
        }
    };
    for unknown in rest.iter().flat_map(|object| of_unknown_keys(object, &value)) {
        match unknown.path.strip_prefix("spec.") {
            _ if unknown.severity != Severity::Error => {}
            // One that tells the directions, or the pods, may have been meant.
            Some(key) if !key.contains('.') => {
                lost.extend(["spec.policyTypes", "spec.ingress"].map(str::to_owned));
            }
            Some(_) => {}
            None => lost.push("spec".to_owned()),
        }
    }
    rest_without(kind, &lost, rest)
}
