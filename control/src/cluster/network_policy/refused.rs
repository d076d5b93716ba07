//! What stands for policies that cannot be understood.

use super::v1::Directions;
use super::{
    Action, NamespaceSelector, NetworkPolicy, Peers, PodSelector, Rule, Selector, Tier, cluster,
};
use crate::cluster::annotations;
use crate::object::{ClusterNetworkPolicy, Key, Object};
use crate::validate::cluster_network_policy::PRIORITY_MAX;
use crate::validate::label_selector::is_valid;
use k8s_openapi::api::networking::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// A denial of everything to the pods that a policy selects, in the directions
/// that it is about; both, and to all pods that it can be about, where that is
/// not clear. One of the Baseline tier denies only what that tier decides; what is
/// of no known tier is of the Admin tier. `rest` is what of it has been decoded.
pub(in crate::cluster) fn refused(key: &Key, rest: Option<&Object>) -> NetworkPolicy {
    let mut policy = match rest {
        Some(Object::NetworkPolicy(policy)) => namespaced(key, policy),
        Some(Object::ClusterNetworkPolicy(policy)) => of_cluster(policy),
        _ if key.kind.is_namespaced() => namespaced(key, &v1::NetworkPolicy::default()),
        _ => of_cluster(&ClusterNetworkPolicy::default()),
    };
    if rest.is_none() {
        let other = policy.ingress.clone();
        policy.egress = other;
    }
    // A value that is none is said to be so by whoever reads a good version.
    let audited = rest.map(|rest| annotations::is_audited(rest.metadata(), &mut Vec::new()));
    policy.is_audited = audited.unwrap_or(false);
    policy
}

fn namespaced(key: &Key, policy: &v1::NetworkPolicy) -> NetworkPolicy {
    let none = v1::NetworkPolicySpec::default();
    let spec = policy.spec.as_ref().unwrap_or(&none);
    let types = spec.policy_types.as_deref().unwrap_or_default();
    let is_clear = types.iter().all(|one| matches!(one.as_str(), "Ingress" | "Egress"));
    let directions = match is_clear {
        true => Directions::of(spec),
        false => Directions { ingress: true, egress: true },
    };
    let pods = spec.pod_selector.as_ref().map(valid).unwrap_or_default();
    NetworkPolicy {
        tier: Tier::Namespaced,
        subject: PodSelector {
            namespaces: NamespaceSelector::Named(key.namespace.clone()),
            pods: pods.unwrap_or_default(),
        },
        // In this tier, what nobody accepts is denied.
        ingress: directions.ingress.then(Vec::new),
        egress: directions.egress.then(Vec::new),
        is_audited: false,
        is_refused: true,
    }
}

fn of_cluster(policy: &ClusterNetworkPolicy) -> NetworkPolicy {
    let spec = &policy.spec;
    let priority = spec.priority.filter(|priority| (0..=PRIORITY_MAX).contains(priority));
    let selectors = spec.subject.as_ref().map(|subject| {
        let pods = subject.pods.iter();
        let pods = pods.flat_map(|pods| pods.pod_selector.iter().chain([&pods.namespace_selector]));
        subject.namespaces.iter().chain(pods).all(is_valid)
    });
    let subject = spec.subject.as_ref().filter(|_| selectors == Some(true));
    let priority = priority.and_then(|priority| u16::try_from(priority).ok()).unwrap_or(0);
    let everybody = || PodSelector {
        namespaces: NamespaceSelector::Labels(Selector::default()),
        pods: Selector::default(),
    };
    let denial = || vec![Rule { name: None, action: Action::Deny, peers: Peers::Any, ports: None }];
    let is_neither = spec.ingress.is_empty() && spec.egress.is_empty();
    NetworkPolicy {
        tier: match spec.tier.as_str() {
            "Baseline" => Tier::Baseline(priority),
            _ => Tier::Admin(priority),
        },
        subject: subject.and_then(cluster::subject).unwrap_or_else(everybody),
        ingress: (is_neither || !spec.ingress.is_empty()).then(denial),
        egress: (is_neither || !spec.egress.is_empty()).then(denial),
        is_audited: false,
        is_refused: true,
    }
}

fn valid(selector: &LabelSelector) -> Option<Selector> {
    Selector::of(selector).ok().filter(|_| is_valid(selector))
}
