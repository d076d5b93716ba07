use super::annotations;
use crate::diagnostic::Finding;
use k8s_openapi::api::core::v1;
use std::collections::BTreeMap;

/// The label that the API server gives each Namespace: its name.
const NAME: &str = "kubernetes.io/metadata.name";

/// A Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels, `kubernetes.io/metadata.name` included.
    pub labels: BTreeMap<String, String>,
    /// What NetworkPolicies and the Baseline tier would deny to its pods is told
    /// of, and passes (annotation `sluice.dev/policy-audit: "true"`).
    pub is_audited: bool,
}

impl Namespace {
    /// Reduces a Namespace; what is left out becomes a finding.
    pub fn reduce(namespace: &v1::Namespace, findings: &mut Vec<Finding>) -> Self {
        let metadata = &namespace.metadata;
        let mut labels = metadata.labels.clone().unwrap_or_default();
        labels.insert(NAME.to_owned(), metadata.name.clone().unwrap_or_default());
        Namespace { labels, is_audited: annotations::is_audited(metadata, findings) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn namespaces_have_their_name_as_a_label_and_perhaps_an_annotation() {
        let reduce = |metadata: serde_json::Value| {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
            let mut findings = Vec::new();
            let namespace =
                Namespace::reduce(&serde_json::from_value(namespace).unwrap(), &mut findings);
            (namespace, findings)
        };
        let (namespace, findings) = reduce(json!({"name": "a"}));
        assert_eq!(namespace.labels, [(NAME.to_owned(), "a".to_owned())].into());
        assert!(!namespace.is_audited && findings.is_empty());
        let labels = json!({"x": "y", NAME: "other"});
        let (namespace, _) = reduce(json!({"name": "a", "labels": labels}));
        assert_eq!((&*namespace.labels["x"], &*namespace.labels[NAME]), ("y", "a"));
        for (text, is_audited, len) in [
            ("true", true, 0),
            ("false", false, 0),
            ("yes", false, 1),
            ("True", false, 1),
            ("", false, 1),
        ] {
            let annotations = json!({"sluice.dev/policy-audit": text});
            let (namespace, findings) = reduce(json!({"name": "a", "annotations": annotations}));
            assert_eq!((namespace.is_audited, findings.len()), (is_audited, len), "{text}");
        }
    }
}
