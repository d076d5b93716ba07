//! Label selectors, as `pkg/apis/meta/v1/validation` of Kubernetes' apimachinery
//! checks them.

use super::is_dns_subdomain;
use crate::cluster::network_policy::Selector;
use crate::diagnostic::Finding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Most values of one requirement.
const VALUES_MAX: usize = 1000;

const EXPECTED_KEY: &str = "1 to 63 of letters, digits, `-`, `_` and `.`, a letter or digit at \
                            both ends; before it perhaps a DNS name and `/`";
const EXPECTED_VALUE: &str = "nothing, or 1 to 63 of letters, digits, `-`, `_` and `.`, a letter \
                              or digit at both ends";

/// Adds why Kubernetes would refuse a selector.
pub(super) fn check(path: &str, selector: &LabelSelector, findings: &mut Vec<Finding>) {
    for (key, value) in selector.match_labels.iter().flatten() {
        let path = format!("{path}.matchLabels.{key}");
        check_key(&path, key, findings);
        check_value(&path, value, findings);
    }
    for (i, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{i}]");
        check_key(&format!("{path}.key"), &expression.key, findings);
        let values = expression.values.as_deref().unwrap_or_default();
        if values.len() > VALUES_MAX {
            let message = format!("{} values are too many", values.len());
            let finding = Finding::error(format!("{path}.values"), message);
            findings.push(finding.expected(format!("at most {VALUES_MAX}")));
            continue;
        }
        for (j, value) in values.iter().enumerate() {
            check_value(&format!("{path}.values[{j}]"), value, findings);
        }
    }
    if let Err(bad) = Selector::of(selector) {
        let finding = Finding::error(format!("{path}.{}", bad.path), bad.message);
        findings.push(finding.expected(bad.expected));
    }
}

/// Whether Kubernetes would accept a selector.
pub(crate) fn is_valid(selector: &LabelSelector) -> bool {
    let mut findings = Vec::new();
    check("", selector, &mut findings);
    findings.is_empty()
}

fn check_key(path: &str, key: &str, findings: &mut Vec<Finding>) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if !is_qualified(name) || !prefix.is_none_or(is_dns_subdomain) {
        let message = format!("{key:?} is no valid label key");
        findings.push(Finding::error(path, message).expected(EXPECTED_KEY));
    }
}

fn check_value(path: &str, value: &str, findings: &mut Vec<Finding>) {
    if !value.is_empty() && !is_qualified(value) {
        let message = format!("{value:?} is no valid label value");
        findings.push(Finding::error(path, message).expected(EXPECTED_VALUE));
    }
}

fn is_qualified(text: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.starts_with(is_alphanumeric)
        && text.ends_with(is_alphanumeric)
        && text.chars().all(|c| is_alphanumeric(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(selector: serde_json::Value) -> Vec<String> {
        let mut findings = Vec::new();
        check("spec.podSelector", &serde_json::from_value(selector).unwrap(), &mut findings);
        assert!(findings.iter().all(|finding| finding.expected.is_some()));
        let paths = findings.into_iter().map(|finding| finding.path);
        paths.map(|path| path.trim_start_matches("spec.podSelector.").to_owned()).collect()
    }

    #[test]
    fn keys_values_and_operators() {
        let long = "x".repeat(64);
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let many: Vec<String> = (0..=VALUES_MAX).map(|i| i.to_string()).collect();
        let cases = [
            (json!({}), None),
            (json!({"matchLabels": {"app": "", "a.b/C_d.e-f": "X.y_z-1"}}), None),
            (json!({"matchLabels": {"-a": "b"}}), Some("matchLabels.-a")),
            (json!({"matchLabels": {"A.B/c": "b"}}), Some("matchLabels.A.B/c")),
            (json!({"matchLabels": {"a/b/c": "b"}}), Some("matchLabels.a/b/c")),
            (json!({"matchLabels": {"a": "b c"}}), Some("matchLabels.a")),
            (json!({"matchLabels": {"a": long}}), Some("matchLabels.a")),
            (expression("a", "In", &["x", ""]), None),
            (expression("a", "Exists", &[]), None),
            (expression("", "Exists", &[]), Some("matchExpressions[0].key")),
            (expression("a", "in", &["x"]), Some("matchExpressions[0].operator")),
            (expression("a", "Gt", &["1"]), Some("matchExpressions[0].operator")),
            (expression("a", "", &[]), Some("matchExpressions[0].operator")),
            (expression("a", "NotIn", &[]), Some("matchExpressions[0].values")),
            (expression("a", "DoesNotExist", &["x"]), Some("matchExpressions[0].values")),
            (expression("a", "In", &["x", "y "]), Some("matchExpressions[0].values[1]")),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": many}]}),
                Some("matchExpressions[0].values"),
            ),
        ];
        for (selector, expected) in cases {
            let found = paths(selector.clone());
            assert_eq!(
                found.iter().map(String::as_str).collect::<Vec<_>>(),
                Vec::from_iter(expected),
                "{selector}"
            );
        }
    }
}
