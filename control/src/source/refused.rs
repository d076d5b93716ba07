//! What of a network policy that does not decode can be relied on.

use crate::object::{Broken, ClusterEgressRule, ClusterIngressRule, Kind, Object};

/// What follows from a network policy of which there is no good version.
pub(super) const DENIED: &str =
    "no good version of it is known: the pods that it selects are denied everything";

/// What is left of a network policy when values that did not decode are taken
/// out, such that it is about no fewer pods and directions than was meant; `None`
/// for other kinds.
pub(super) fn rest_of(kind: Kind, broken: Broken) -> Option<Object> {
    let lost: Vec<String> = broken.errors.into_iter().map(|error| error.path).collect();
    rest_without(kind, &lost, broken.rest)
}

/// The same of a policy whose values at some key paths are lost.
pub(super) fn rest_without(kind: Kind, lost: &[String], rest: Option<Object>) -> Option<Object> {
    if !kind.is_network_policy() {
        return None;
    }
    let is_in = |parent: &str| {
        lost.iter().any(|path| {
            path.strip_prefix(parent)
                .is_some_and(|end| end.is_empty() || end.starts_with(['.', '[']))
        })
    };
    let is_at = |path: &str| lost.iter().any(|lost| lost == path);
    if is_at("") {
        return None;
    }
    let is_spec_lost = is_at("spec");
    let mut rest = rest?;
    match &mut rest {
        Object::NetworkPolicy(policy) => {
            let spec = policy.spec.get_or_insert_default();
            if is_spec_lost || is_in("spec.podSelector") {
                spec.pod_selector = None;
            }
            if is_spec_lost || is_in("spec.policyTypes") || is_at("spec.egress") {
                spec.policy_types = Some(vec!["Ingress".to_owned(), "Egress".to_owned()]);
            }
        }
        Object::ClusterNetworkPolicy(policy) => {
            let spec = &mut policy.spec;
            if is_spec_lost {
                *spec = Default::default();
            }
            if is_in("spec.subject") {
                spec.subject = None;
            }
            if is_at("spec.ingress") || is_at("spec.egress") {
                spec.ingress.push(ClusterIngressRule::default());
                spec.egress.push(ClusterEgressRule::default());
            }
        }
        _ => {}
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::decode;
    use serde_json::{Value, json};

    fn rest(kind: Kind, spec: Value) -> Object {
        let policy = json!({"metadata": {"name": "p"}, "spec": spec});
        rest_of(kind, decode(kind, &policy).unwrap_err()).unwrap()
    }

    #[test]
    fn a_selector_that_has_lost_something_selects_everything() {
        let of = |spec: Value| match rest(Kind::NetworkPolicy, spec) {
            Object::NetworkPolicy(policy) => policy.spec.unwrap(),
            other => panic!("{other:?}"),
        };
        let spec = of(json!({"podSelector": {"matchExpressions": [
            {"key": "a", "operator": "In", "values": [1]}]}, "policyTypes": ["Egress"]}));
        assert_eq!((spec.pod_selector, spec.policy_types), (None, Some(vec!["Egress".to_owned()])));
        let spec = of(json!({"podSelector": {"matchLabels": {"a": "b"}}, "egress": 5}));
        assert_eq!((spec.pod_selector.is_some(), spec.policy_types.unwrap().len()), (true, 2));
        let spec = of(json!({"podSelector": {}, "ingress": [{"from": 1}], "policyTypes": [1]}));
        assert_eq!(spec.policy_types.unwrap().len(), 2);
        assert_eq!(of(json!(1)).policy_types.unwrap().len(), 2);
        let spec = of(json!({"podSelector": {}, "ingress": [{"from": 1}]}));
        assert_eq!(spec.policy_types, None, "as it is without types");
    }

    #[test]
    fn the_same_for_the_cluster() {
        let of = |spec: Value| match rest(Kind::ClusterNetworkPolicy, spec) {
            Object::ClusterNetworkPolicy(policy) => policy.spec,
            other => panic!("{other:?}"),
        };
        let spec = of(json!({"priority": 7, "subject": {"namespaces": {"matchLabels": {"a": 1}}}}));
        assert_eq!((spec.subject, spec.priority), (None, Some(7)));
        let spec = of(json!({"subject": {"namespaces": {}}, "egress": 1}));
        assert_eq!((spec.subject.is_some(), spec.ingress.len(), spec.egress.len()), (true, 1, 1));
        let broken = decode(Kind::ClusterNetworkPolicy, &json!(1)).unwrap_err();
        assert_eq!(rest_of(Kind::ClusterNetworkPolicy, broken), None);
        let broken = decode(Kind::Pod, &json!({"spec": 1})).unwrap_err();
        assert_eq!(rest_of(Kind::Pod, broken), None);
    }
}
