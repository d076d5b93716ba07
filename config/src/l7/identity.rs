//! `l7.identity`: what network policies know the gateway's own connections as.

use std::collections::BTreeMap;

use crate::read::{Field, Fields, Reader, Reported, is_subdomain, label, text};
use crate::schema::{Default, Key, Section};
use crate::yaml::Value;

/// What network policies know the gateway's own connections as: those of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
}

/// Most labels.
const LABELS_MAX: usize = 64;

pub(crate) static SECTION: Section = Section {
    path: "l7.identity",
    keys: &[
        Key {
            name: "namespace",
            kind: "name of a Namespace",
            default: Default::Value("sluice-system"),
            meaning: "namespace of the pod that policies take the gateway for; its labels are \
                      those of the Namespace",
        },
        Key {
            name: "labels",
            kind: "mapping of at most 64 labels",
            default: Default::Words("`{app.kubernetes.io/name: sluice}`"),
            meaning: "labels of that pod",
        },
    ],
};

impl Identity {
    /// Reads `l7.identity`.
    pub(super) fn read(reader: &mut Reader<'_>, l7: &Fields<'_>) -> Result<Self, Reported> {
        let fields = l7.section(reader, "identity", &SECTION)?;
        let namespace = fields.defaulted(reader, "namespace", label);
        let labels = fields.optional(reader, "labels", labels);
        let own = || BTreeMap::from([("app.kubernetes.io/name".to_owned(), "sluice".to_owned())]);
        Ok(Self {
            namespace: namespace?.value,
            labels: labels?.map_or_else(own, |labels| labels.value),
        })
    }
}

fn labels(reader: &mut Reader<'_>, field: Field<'_>) -> Result<BTreeMap<String, String>, Reported> {
    let Field { node, spot } = field;
    let entries = match &node.value {
        Value::Map(entries) if entries.len() <= LABELS_MAX => entries,
        Value::Map(entries) => {
            let message = format!("found a mapping of {} keys", entries.len());
            return Err(reader.error(&spot, message, "at most 64 labels"));
        }
        _ => {
            let message = format!("found {}", node.describe());
            return Err(reader.error(&spot, message, "a mapping of labels"));
        }
    };
    let mut labels = BTreeMap::new();
    for entry in entries.iter() {
        if !is_key(&entry.key) {
            let expected = "the key of a label, such as `app.kubernetes.io/name`";
            let spot = spot.key(&entry.key, entry.key_span);
            reader.error(&spot, "is no key of a label", expected);
            continue;
        }
        let at = spot.key(&entry.key, entry.value.span);
        if let Ok(value) = value(reader, Field { node: &entry.value, spot: at }) {
            labels.insert(entry.key.to_string(), value);
        }
    }
    Ok(labels)
}

fn value(reader: &mut Reader<'_>, field: Field<'_>) -> Result<String, Reported> {
    let expected = "at most 63 of a-z, A-Z, 0-9, `-`, `_` and `.`, a letter or digit at both ends";
    let read = text(expected, |text| match text.is_empty() || is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(String::new()),
    });
    read(reader, field)
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

fn is_name(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'))
}
