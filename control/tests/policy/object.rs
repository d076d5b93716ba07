//! Objects as they are written in manifests.

use serde_json::Value;
use std::fmt;

/// Which object it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: String,
    /// Empty for what is in no namespace.
    pub namespace: String,
    pub name: String,
}

impl Key {
    /// The key of an object.
    pub fn of(object: &Value) -> Key {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        Key {
            kind: text(&object["kind"]),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// The documents of a manifest.
pub fn parse(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|e| panic!("{e}"))
}

/// An object as a document of a manifest.
pub fn to_yaml(object: &Value) -> String {
    let text = serde_saphyr::to_string(object).unwrap_or_else(|e| panic!("{e}"));
    format!("---\n{}\n", text.trim_end())
}
