use super::world::Labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

/// "The result of matchLabels and matchExpressions are ANDed. An empty label
/// selector matches all objects."
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements>
pub(super) fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    equal.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && expressions.all(|expression| {
            let value = labels.get(&expression.key);
            let is_listed = |value| expression.values.iter().flatten().any(|v| v == value);
            match expression.operator.as_str() {
                "In" => value.is_some_and(is_listed),
                // "and all resources with no labels with the key".
                "NotIn" => !value.is_some_and(is_listed),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                other => panic!("the API knows no operator {other:?}"),
            }
        })
}

/// The same of a selector in an object without types.
pub(super) fn selects_untyped(selector: &Value, labels: &Labels) -> bool {
    let selector: LabelSelector = serde_json::from_value(selector.clone())
        .unwrap_or_else(|e| panic!("{e} in the selector {selector}"));
    selects(&selector, labels)
}
