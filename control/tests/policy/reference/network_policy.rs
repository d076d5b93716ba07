use super::ports;
use super::selector::selects;
use super::world::{identity, is_audited, labels_of, namespace_of};
use super::{Decision, Direction, Flow, Why};
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use std::net::IpAddr;

/// "If any NetworkPolicy selects the pod and has [the direction] in its
/// policyTypes, the pod is isolated [and] the only allowed connections are those
/// allowed by the list of some NetworkPolicy that applies to the pod. [..] The
/// effects of those lists combine additively." `None` for a pod that no policy
/// selects.
/// <https://kubernetes.io/docs/concepts/services-networking/network-policies/#the-two-sorts-of-pod-isolation>
pub(super) fn decide(flow: &Flow<'_>) -> Option<Decision> {
    let policies = flow.world.network_policies.iter();
    let mut policies: Vec<_> = policies.filter(|policy| applies(flow, policy)).collect();
    policies.sort_by_key(|policy| identity(&policy.metadata));
    let first = policies.first()?;
    let matching: Vec<String> =
        policies.iter().flat_map(|policy| matching_rules(flow, policy)).collect();
    if !matching.is_empty() {
        return Some(Decision { allows: true, why: Why::any(matching) });
    }
    let (namespace, name) = identity(&first.metadata);
    let direction = flow.direction;
    let why = Why::one(format!("NetworkPolicy {namespace}/{name} default deny {direction}"));
    Some(Decision { allows: false, why })
}

/// "Each NetworkPolicy includes a podSelector which selects the grouping of pods
/// [of its namespace] to which the policy applies. [..] An empty podSelector
/// selects all pods in the namespace."
/// <https://kubernetes.io/docs/concepts/services-networking/network-policies/#networkpolicy-resource>
fn applies(flow: &Flow<'_>, policy: &NetworkPolicy) -> bool {
    let namespace = namespace_of(&flow.subject.metadata);
    if flow.only_enforced
        && (is_audited(&policy.metadata) || flow.world.is_namespace_audited(namespace))
    {
        return false;
    }
    let Some(spec) = &policy.spec else { return false };
    let selector = spec.pod_selector.clone().unwrap_or_default();
    namespace_of(&policy.metadata) == namespace
        && selects(&selector, &labels_of(&flow.subject.metadata))
        && has_type(spec, flow.direction)
}

/// "If no policyTypes are specified on a NetworkPolicy then by default Ingress
/// will always be set and Egress will be set if the NetworkPolicy has any egress
/// rules."
/// <https://kubernetes.io/docs/concepts/services-networking/network-policies/#networkpolicy-resource>
fn has_type(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    match direction {
        Direction::Ingress if types.is_empty() => true,
        Direction::Egress if types.is_empty() => {
            spec.egress.as_ref().is_some_and(|rules| !rules.is_empty())
        }
        Direction::Ingress => types.iter().any(|name| name == "Ingress"),
        Direction::Egress => types.iter().any(|name| name == "Egress"),
    }
}

/// "Each rule allows traffic which matches both the from and ports sections."
/// <https://kubernetes.io/docs/concepts/services-networking/network-policies/#networkpolicy-resource>
fn matching_rules(flow: &Flow<'_>, policy: &NetworkPolicy) -> Vec<String> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    let matches: Vec<bool> = match flow.direction {
        Direction::Ingress => {
            let rules = spec.ingress.iter().flatten();
            rules.map(|rule| rule_matches(flow, policy, &rule.from, &rule.ports)).collect()
        }
        Direction::Egress => {
            let rules = spec.egress.iter().flatten();
            rules.map(|rule| rule_matches(flow, policy, &rule.to, &rule.ports)).collect()
        }
    };
    let (namespace, name) = identity(&policy.metadata);
    let direction = flow.direction;
    let text = |i: usize| format!("NetworkPolicy {namespace}/{name} {direction}[{i}]");
    matches.iter().enumerate().filter(|(_, is_match)| **is_match).map(|(i, _)| text(i)).collect()
}

/// "Items in this list are combined using a logical OR operation. If this field
/// is empty or missing, this rule matches all sources" (`NetworkPolicyIngressRule`;
/// the same of destinations and of ports).
fn rule_matches(
    flow: &Flow<'_>,
    policy: &NetworkPolicy,
    peers: &Option<Vec<NetworkPolicyPeer>>,
    ports: &Option<Vec<NetworkPolicyPort>>,
) -> bool {
    let peers = peers.as_deref().unwrap_or_default();
    let ports = ports.as_deref().unwrap_or_default();
    (peers.is_empty() || peers.iter().any(|peer| peer_matches(flow, policy, peer)))
        && (ports.is_empty() || ports.iter().any(|port| ports::network_policy_port(flow, port)))
}

/// The four kinds of selectors of
/// <https://kubernetes.io/docs/concepts/services-networking/network-policies/#behavior-of-to-and-from-selectors>.
/// One that has no field we know selects nobody.
fn peer_matches(flow: &Flow<'_>, policy: &NetworkPolicy, peer: &NetworkPolicyPeer) -> bool {
    if let Some(block) = &peer.ip_block {
        return block_matches(block, flow.peer);
    }
    let Some(pod) = flow.peer_pod else { return false };
    let namespace = namespace_of(&pod.metadata);
    let is_namespace_selected = match &peer.namespace_selector {
        Some(selector) => selects(selector, &flow.world.namespace_labels(namespace)),
        // "in the same namespace as the NetworkPolicy".
        None => namespace == namespace_of(&policy.metadata),
    };
    let is_pod_selected = match &peer.pod_selector {
        Some(selector) => selects(selector, &labels_of(&pod.metadata)),
        // "particular namespaces for which all Pods should be allowed".
        None => peer.namespace_selector.is_some(),
    };
    is_namespace_selected && is_pod_selected
}

/// "The except entry describes CIDRs that should not be included within this
/// rule" (`IPBlock`).
fn block_matches(block: &IPBlock, addr: IpAddr) -> bool {
    let contains = |cidr: &String| {
        let net: IpNet = cidr.parse().unwrap_or_else(|e| panic!("{e}: {cidr:?}"));
        net.contains(&addr)
    };
    contains(&block.cidr) && !block.except.iter().flatten().any(contains)
}
