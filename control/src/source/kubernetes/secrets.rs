//! Which Secrets are asked for, and what is kept of them: no passwords.

use super::raw::Raw;
use crate::object::{TLS_SECRET, is_secret_of_use};
use kube::runtime::watcher::Event;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// Types of which none has a certificate (`pkg/apis/core/types.go`, and Helm's). Whose
/// certificates are to be trusted is said by Secrets of any other type.
const OTHERS: [&str; 7] = [
    "bootstrap.kubernetes.io/token",
    "helm.sh/release.v1",
    "kubernetes.io/basic-auth",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/service-account-token",
    "kubernetes.io/ssh-auth",
];

/// Which of them are asked for.
pub(super) fn selector() -> String {
    OTHERS.map(|other| format!("type!={other}")).join(",")
}

/// An event without what is of no use; `None`: nothing of it is.
pub(super) fn of_use(event: Event<Raw>) -> Option<Event<Raw>> {
    Some(match event {
        Event::InitApply(raw) => Event::InitApply(kept(&raw)?),
        Event::Apply(raw) => match kept(&raw) {
            Some(raw) => Event::Apply(raw),
            // It may have been of use.
            None => Event::Delete(with(&raw, &Value::Null, json!({}))?),
        },
        Event::Delete(raw) => Event::Delete(with(&raw, &Value::Null, json!({}))?),
        Event::Init | Event::InitDone => event,
    })
}

/// What is kept of a Secret: all of one with a key and its certificate, of others those who
/// are trusted alone.
fn kept(raw: &Raw) -> Option<Raw> {
    let secret: Value = serde_json::from_str(raw.text.get()).ok()?;
    if !is_secret_of_use(&secret) {
        return None;
    }
    if secret["type"] == TLS_SECRET {
        return Some(raw.clone());
    }
    with(raw, &secret["type"], json!({"ca.crt": secret["data"]["ca.crt"]}))
}

/// The same Secret with other content.
fn with(raw: &Raw, type_: &Value, data: Value) -> Option<Raw> {
    let secret = json!({"metadata": raw.metadata, "type": type_, "data": data});
    let text: Box<RawValue> = to_raw_value(&secret).ok()?;
    Some(Raw { metadata: raw.metadata.clone(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(secret: &Value) -> Raw {
        serde_json::from_str(&secret.to_string()).unwrap()
    }

    fn secret(type_: &str, data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "type": type_, "data": data,
               "metadata": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "7",
                            "annotations": {"note": "hidden"}}})
    }

    #[test]
    fn of_other_secrets_nothing_is_kept_but_who_is_trusted() {
        let data = json!({"ca.crt": "eA==", "password": "hidden"});
        let Some(Event::Apply(raw_of)) = of_use(Event::Apply(raw(&secret("Opaque", data.clone()))))
        else {
            panic!("it is of use")
        };
        let text: Value = serde_json::from_str(raw_of.text.get()).unwrap();
        assert!(!text.to_string().contains("hidden"), "{text}");
        assert_eq!((&text["type"], &text["data"]), (&json!("Opaque"), &json!({"ca.crt": "eA=="})));
        let again = raw(&text);
        assert_eq!(again.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(again.metadata.name, raw_of.metadata.name);
        let whole = secret(TLS_SECRET, json!({"tls.crt": "eA==", "tls.key": "eA=="}));
        let Some(Event::InitApply(kept)) = of_use(Event::InitApply(raw(&whole))) else {
            panic!("it is of use")
        };
        assert_eq!(serde_json::from_str::<Value>(kept.text.get()).unwrap(), whole);
    }

    #[test]
    fn one_that_is_of_no_use_any_more_is_gone() {
        let other = raw(&secret("Opaque", json!({"password": "hidden"})));
        assert!(of_use(Event::InitApply(other.clone())).is_none());
        for event in [Event::Apply(other.clone()), Event::Delete(other)] {
            let Some(Event::Delete(gone)) = of_use(event) else { panic!("it is gone") };
            assert!(!gone.text.get().contains("hidden"), "{}", gone.text);
            assert_eq!(gone.metadata.name.as_deref(), Some("a"));
        }
        assert!(matches!(of_use(Event::InitDone), Some(Event::InitDone)));
    }

    #[test]
    fn types_without_certificates_are_not_asked_for() {
        let selector = selector();
        assert!(selector.starts_with("type!=bootstrap.kubernetes.io/token,type!="), "{selector}");
        assert!(!selector.contains(TLS_SECRET) && !selector.contains("Opaque"));
    }
}
