//! Secrets of type `kubernetes.io/tls` (`ValidateSecret` of `pkg/apis/core/validation`), and
//! those that say who is trusted. Beyond that: a certificate and its key must be there, and
//! readable.

use crate::diagnostic::Finding;
use crate::object::{Secret, SecretError, TLS_SECRET};

/// Why Kubernetes would refuse a Secret, or it has nothing. What it has is not told.
pub(super) fn refusals(secret: &Secret, findings: &mut Vec<Finding>) {
    if secret.type_.as_deref() != Some(TLS_SECRET) {
        // What is wrong with whom it trusts is told where it is used: no version of before
        // is to be trusted instead.
        if secret.is_of_use() {
            return;
        }
        let finding = Finding::error("type", "is another one than that of certificates");
        findings.push(finding.expected(TLS_SECRET));
        return;
    }
    for (name, bytes) in [("tls.crt", secret.certificate()), ("tls.key", secret.key())] {
        let Err(error) = bytes else { continue };
        let message = match error {
            SecretError::Missing => "is missing",
            SecretError::NotText => "is no text",
            SecretError::NotBase64 => "is not base64",
        };
        findings.push(Finding::error(format!("data.{name}"), message).expected("PEM in base64"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Kind, Object, decode};
    use serde_json::{Value, json};

    fn said(value: Value) -> Vec<String> {
        let Ok(Object::Secret(secret)) = decode(Kind::Secret, &value) else { panic!("a Secret") };
        let mut findings = Vec::new();
        refusals(&secret, &mut findings);
        findings.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
    }

    #[test]
    fn a_certificate_and_its_key_must_be_there() {
        let data = json!({"tls.crt": "eA==", "tls.key": "eA=="});
        assert!(said(json!({"type": TLS_SECRET, "data": data})).is_empty());
        let type_ = "type: is another one than that of certificates";
        assert_eq!(said(json!({"type": "Opaque", "data": data})), [type_]);
        assert_eq!(said(json!({})), [type_]);
        assert!(said(json!({"type": "Opaque", "data": {"ca.crt": "?"}})).is_empty());
        let data = json!({"tls.crt": "?", "tls.key": 1});
        let expected = ["data.tls.crt: is not base64", "data.tls.key: is no text"];
        assert_eq!(said(json!({"type": TLS_SECRET, "data": data})), expected);
        let expected = ["data.tls.crt: is missing", "data.tls.key: is missing"];
        assert_eq!(said(json!({"type": TLS_SECRET, "data": {"tls.key": ""}})), expected);
    }
}
