use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A label selector (`metav1.LabelSelector`), in an order of its own, so that
/// equal ones are equal. Without requirements it selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    requirements: Arc<[Requirement]>,
}

/// One requirement of a [`Selector`]: all of them are to be met.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: Arc<str>,
    /// What is required of its value.
    pub operator: Operator,
}

/// What is required of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// It is there and has one of these values, in order.
    In(Vec<Arc<str>>),
    /// It is not there, or has none of these values, in order.
    NotIn(Vec<Arc<str>>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// A requirement of a label selector that Kubernetes does not have: the path of
/// what is wrong under the selector, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSelector {
    /// Where it is, such as `matchExpressions[0].operator`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What was expected.
    pub expected: &'static str,
}

impl Selector {
    /// The selector of an object.
    ///
    /// # Errors
    /// The first requirement that cannot be understood.
    pub fn of(selector: &LabelSelector) -> Result<Self, BadSelector> {
        let labels = selector.match_labels.iter().flatten();
        let mut requirements: Vec<Requirement> = labels
            .map(|(key, value)| Requirement {
                key: key.as_str().into(),
                operator: Operator::In(vec![value.as_str().into()]),
            })
            .collect();
        for (i, expression) in selector.match_expressions.iter().flatten().enumerate() {
            let mut values: Vec<Arc<str>> =
                expression.values.iter().flatten().map(|value| value.as_str().into()).collect();
            values.sort_unstable();
            values.dedup();
            let at = |field: &str| format!("matchExpressions[{i}].{field}");
            let operator = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Operator::In(values),
                ("NotIn", false) => Operator::NotIn(values),
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                ("In" | "NotIn", true) => {
                    let message = format!("is empty for {}", expression.operator);
                    return Err(BadSelector {
                        path: at("values"),
                        message,
                        expected: "at least one value",
                    });
                }
                ("Exists" | "DoesNotExist", false) => {
                    let message = format!("is not empty for {}", expression.operator);
                    return Err(BadSelector { path: at("values"), message, expected: "no values" });
                }
                (other, _) => {
                    return Err(BadSelector {
                        path: at("operator"),
                        message: format!("{other:?} is no operator"),
                        expected: "In, NotIn, Exists or DoesNotExist",
                    });
                }
            };
            requirements.push(Requirement { key: expression.key.as_str().into(), operator });
        }
        requirements.sort_unstable();
        requirements.dedup();
        Ok(Selector { requirements: requirements.into() })
    }

    /// What is required, in order.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether it selects these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&*requirement.key);
            let is_one_of = |values: &[Arc<str>]| {
                value.is_some_and(|value| values.iter().any(|one| **one == **value))
            };
            match &requirement.operator {
                Operator::In(values) => is_one_of(values),
                Operator::NotIn(values) => !is_one_of(values),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

/// Pods by namespace and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodSelector {
    /// Their namespaces.
    pub namespaces: NamespaceSelector,
    /// Their labels.
    pub pods: Selector,
}

/// Namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceSelector {
    /// One.
    Named(Arc<str>),
    /// Those with these labels.
    Labels(Selector),
}

impl NamespaceSelector {
    /// Whether a namespace with these labels is among them.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        match self {
            NamespaceSelector::Named(one) => **one == *name,
            NamespaceSelector::Labels(selector) => selector.matches(labels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selector(value: serde_json::Value) -> Result<Selector, BadSelector> {
        Selector::of(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn requirements_are_all_to_be_met() {
        let labels: BTreeMap<_, _> =
            [("app", "web"), ("tier", "front")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let cases = [
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "web", "tier": "back"}}), false),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "web"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "x", "operator": "In", "values": ["web"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["web"]}]}),
                true,
            ),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}),
                false,
            ),
            (json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), false),
            (json!({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}), true),
        ];
        for (value, expected) in cases {
            assert_eq!(selector(value.clone()).unwrap().matches(&labels), expected, "{value}");
        }
    }

    #[test]
    fn equal_selectors_are_equal_and_bad_ones_are_named() {
        let one = selector(json!({"matchLabels": {"a": "1"}})).unwrap();
        let two =
            json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "1"]}]});
        assert_eq!(one, selector(two).unwrap());
        for (operator, values, path) in [
            ("in", json!(["1"]), "matchExpressions[0].operator"),
            ("In", json!([]), "matchExpressions[0].values"),
            ("Exists", json!(["1"]), "matchExpressions[0].values"),
        ] {
            let bad =
                json!({"matchExpressions": [{"key": "a", "operator": operator, "values": values}]});
            assert_eq!(selector(bad).unwrap_err().path, path);
        }
    }
}
