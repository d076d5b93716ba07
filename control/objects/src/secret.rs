//! Secrets with certificates: `v1` Secrets of type `kubernetes.io/tls`, and those of any type
//! that say whose certificates are to be trusted. What they keep is neither shown nor told
//! in errors.

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;

/// The type of Secrets with a certificate and its key.
pub const TLS_SECRET: &str = "kubernetes.io/tls";

/// A Secret, of which a certificate, its key, and who is trusted are read.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Secret {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it is for.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    data: Entries,
    /// As people write it: it comes before `data`, and is not encoded.
    string_data: Entries,
}

/// Why an entry of a Secret cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// It is not there, or empty.
    Missing,
    /// It is no text.
    NotText,
    /// It is not base64.
    NotBase64,
}

impl Secret {
    /// `tls.crt`: the certificate and those that vouch for it, in PEM.
    ///
    /// # Errors
    /// If there is none.
    pub fn certificate(&self) -> Result<Vec<u8>, SecretError> {
        read(&self.string_data.certificate, &self.data.certificate)
    }

    /// `tls.key`: its key, in PEM.
    ///
    /// # Errors
    /// If there is none.
    pub fn key(&self) -> Result<Vec<u8>, SecretError> {
        read(&self.string_data.key, &self.data.key)
    }

    /// `ca.crt`: those whose certificates are to be trusted, in PEM.
    ///
    /// # Errors
    /// If there are none.
    pub fn authorities(&self) -> Result<Vec<u8>, SecretError> {
        read(&self.string_data.authorities, &self.data.authorities)
    }

    /// Whether there is something in it that is asked for here.
    pub fn is_of_use(&self) -> bool {
        let has = |entries: &Entries| entries.authorities != Entry::Missing;
        self.type_.as_deref() == Some(TLS_SECRET) || has(&self.string_data) || has(&self.data)
    }
}

/// Whether there is something in a Secret that is asked for here, which has not been decoded.
pub fn is_secret_of_use(secret: &Value) -> bool {
    let has = |entries: &str| {
        let entry = secret.get(entries).and_then(|entries| entries.get("ca.crt"));
        entry.is_some_and(|entry| !entry.is_null())
    };
    secret.get("type").and_then(Value::as_str) == Some(TLS_SECRET)
        || has("data")
        || has("stringData")
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An annotation of the metadata may have all of it (`last-applied-configuration`).
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        f.debug_struct("Secret")
            .field("namespace", namespace)
            .field("name", name)
            .field("type_", &self.type_)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Default, PartialEq)]
struct Entries {
    certificate: Entry,
    key: Entry,
    authorities: Entry,
}

#[derive(Clone, Default, PartialEq)]
enum Entry {
    #[default]
    Missing,
    NotText,
    Text(String),
}

/// An error of a derived reader would show what it has found.
impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let mut entry = |name: &str| match value.get_mut(name).map(Value::take) {
            None | Some(Value::Null) => Entry::Missing,
            Some(Value::String(text)) => Entry::Text(text),
            Some(_) => Entry::NotText,
        };
        Ok(Entries {
            certificate: entry("tls.crt"),
            key: entry("tls.key"),
            authorities: entry("ca.crt"),
        })
    }
}

fn read(written: &Entry, encoded: &Entry) -> Result<Vec<u8>, SecretError> {
    let bytes = match (written, encoded) {
        (Entry::Text(text), _) => text.clone().into_bytes(),
        (Entry::NotText, _) | (_, Entry::NotText) => return Err(SecretError::NotText),
        (Entry::Missing, Entry::Missing) => return Err(SecretError::Missing),
        (Entry::Missing, Entry::Text(text)) => {
            let decoded = serde_json::from_value::<ByteString>(Value::String(text.clone()));
            decoded.map_err(|_| SecretError::NotBase64)?.0
        }
    };
    if bytes.is_empty() { Err(SecretError::Missing) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Object, decode};
    use serde_json::json;

    fn secret(value: Value) -> Secret {
        match decode(Kind::Secret, &value) {
            Ok(Object::Secret(secret)) => *secret,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_read() {
        let of_server = secret(json!({"metadata": {"name": "a"}, "type": TLS_SECRET,
            "data": {"tls.crt": "Y2VydA==", "tls.key": "a2V5", "ca.crt": "eA=="}}));
        assert_eq!(of_server.certificate(), Ok(b"cert".to_vec()));
        assert_eq!(of_server.key(), Ok(b"key".to_vec()));
        assert_eq!(of_server.authorities(), Ok(b"x".to_vec()));
        let written = secret(json!({"metadata": {"name": "a"}, "data": {"tls.crt": "eA=="},
            "stringData": {"tls.crt": "cert"}}));
        assert_eq!(written.certificate(), Ok(b"cert".to_vec()));
        assert_eq!(written.key(), Err(SecretError::Missing));
    }

    #[test]
    fn of_other_types_those_are_of_use_that_say_who_is_trusted() {
        for (value, expected) in [
            (json!({"type": TLS_SECRET}), true),
            (json!({"type": "Opaque", "data": {"ca.crt": "eA=="}}), true),
            (json!({"stringData": {"ca.crt": "x"}}), true),
            // One that is wrong is said to be.
            (json!({"data": {"ca.crt": 7}}), true),
            (json!({"type": "Opaque", "data": {"password": "eA==", "ca.crt": null}}), false),
            (json!({}), false),
        ] {
            assert_eq!(is_secret_of_use(&value), expected, "{value}");
            assert_eq!(secret(value.clone()).is_of_use(), expected, "{value}");
        }
    }

    #[test]
    fn whatever_it_is_nothing_of_it_is_shown() {
        for data in [
            json!("hidden"),
            json!(["hidden"]),
            json!({"tls.crt": {"hidden": 1}, "tls.key": ["hidden"]}),
            json!({"tls.crt": "hidden!", "tls.key": "hidden!"}),
            json!({"tls.crt": "aGlkZGVu", "tls.key": ""}),
        ] {
            let metadata = json!({"name": "a", "annotations": {"x": "hidden"}});
            let secret = secret(json!({"metadata": metadata, "data": data, "stringData": 7}));
            let shown = format!("{secret:?} {:?}", secret.key());
            assert!(!shown.contains("hidden") && shown.contains("\"a\""), "{shown}");
            assert!(secret.key().is_err());
        }
    }
}
