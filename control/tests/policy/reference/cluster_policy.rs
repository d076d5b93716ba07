use super::ports;
use super::selector::selects_untyped;
use super::world::{labels_of, namespace_of};
use super::{Direction, Flow};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

/// The tiers of ClusterNetworkPolicies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    Admin,
    Baseline,
}

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Accept,
    Deny,
    Pass,
}

/// The rule of a tier that counts: "policies with lower priority values have
/// higher precedence"; "a rule that appears at the top [..] would take the
/// highest precedence". It comes with the name that explanations give it.
/// <https://network-policy-api.sigs.k8s.io/api-overview/#priorities>
pub(super) fn first_match(flow: &Flow<'_>, tier: Tier) -> Option<(Action, String)> {
    let policies = flow.world.cluster_policies.iter();
    let mut policies: Vec<_> = policies.filter(|policy| applies(flow, policy, tier)).collect();
    policies.sort_by_key(|policy| (policy["spec"]["priority"].as_i64(), name_of(policy)));
    policies.into_iter().find_map(|policy| first_rule(flow, policy))
}

fn name_of(policy: &Value) -> &str {
    policy["metadata"]["name"].as_str().unwrap_or_default()
}

/// True for a policy of the tier whose subject contains the flow's.
fn applies(flow: &Flow<'_>, policy: &Value, tier: Tier) -> bool {
    let is_of_tier = match policy["spec"]["tier"].as_str() {
        Some("Admin") => tier == Tier::Admin,
        Some("Baseline") => tier == Tier::Baseline,
        other => panic!("the API knows no tier {other:?}"),
    };
    let is_audited = policy["metadata"]["annotations"]["sluice.dev/policy-audit"] == "true"
        || tier == Tier::Baseline
            && flow.world.is_namespace_audited(namespace_of(&flow.subject.metadata));
    let is_asked = !(flow.only_enforced && is_audited);
    // "Note that host-networked pods are not included in subject selection": the
    // flow's subject is none.
    let subject = &policy["spec"]["subject"];
    is_of_tier && is_asked && pods_selected(flow, subject, Some(flow.subject)) == Some(true)
}

fn first_rule(flow: &Flow<'_>, policy: &Value) -> Option<(Action, String)> {
    let direction = flow.direction;
    let rules = policy["spec"][direction.to_string()].as_array()?;
    let mut matches = rules.iter().map(|rule| action_of(flow, rule)).enumerate();
    let (i, action) = matches.find_map(|(i, action)| Some((i, action?)))?;
    let mut text = format!("ClusterNetworkPolicy {} {direction}[{i}]", name_of(policy));
    if let Some(name) = rules[i]["name"].as_str().filter(|name| !name.is_empty()) {
        text = format!("{text} \"{name}\"");
    }
    Some((action, text))
}

/// What a rule does with the flow, `None` if it does not match it.
///
/// "If an implementation sees no fields are set then [..] it should fail closed.
/// For Accept rules, fail closed means: treat the rule as matching no traffic.
/// For Deny and Pass rules, fail closed means: treat the rule as a Deny all
/// rule" (`ClusterNetworkPolicyIngressPeer`).
fn action_of(flow: &Flow<'_>, rule: &Value) -> Option<Action> {
    let action = match rule["action"].as_str() {
        Some("Accept") => Action::Accept,
        Some("Deny") => Action::Deny,
        Some("Pass") => Action::Pass,
        other => panic!("the API knows no action {other:?}"),
    };
    let peers = match flow.direction {
        Direction::Egress => &rule["to"],
        Direction::Ingress => &rule["from"],
    };
    let peers = peers.as_array().map(Vec::as_slice).unwrap_or_default();
    let protocols = rule["protocols"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Known, and matching?
    let peers: Option<Vec<bool>> = peers.iter().map(|peer| peer_matches(flow, peer)).collect();
    let protocols: Option<Vec<bool>> =
        protocols.iter().map(|entry| ports::cluster_policy_protocol(flow, entry)).collect();
    let (Some(peers), Some(protocols)) = (peers, protocols) else {
        return (action != Action::Accept).then_some(Action::Deny);
    };
    // "If any element matches the source of incoming traffic then the specified
    // action is applied." "If [protocols are] unspecified, protocol-specific
    // attributes will not be used to match traffic."
    let is_match = peers.contains(&true) && (protocols.is_empty() || protocols.contains(&true));
    is_match.then_some(action)
}

/// True when the other end is in a peer; `None` for a peer that has no field
/// known in this direction.
fn peer_matches(flow: &Flow<'_>, peer: &Value) -> Option<bool> {
    let is_selected = pods_selected(flow, peer, flow.peer_pod);
    if is_selected.is_some() || flow.direction == Direction::Ingress {
        return is_selected;
    }
    if peer["nodes"].is_object() {
        // "It selects the nodeIPs as the peer type by matching on the IPs
        // present in the node.Status.Addresses field of the node."
        let is_wanted = |labels: &_| selects_untyped(&peer["nodes"], labels);
        return Some(flow.world.addresses_of_nodes(is_wanted).any(|addr| addr == flow.peer));
    }
    if let Some(networks) = peer["networks"].as_array() {
        // "cluster-internal traffic will be checked against the rule as well".
        return Some(networks.iter().any(|network| network_of(network).contains(&flow.peer)));
    }
    if let Some(patterns) = peer["domainNames"].as_array() {
        let patterns: Vec<&str> = patterns.iter().filter_map(Value::as_str).collect();
        let is_wanted = |name: &str| patterns.iter().any(|pattern| is_domain(pattern, name));
        let is_node = flow.world.addresses_of_nodes(|_| true).any(|addr| addr == flow.peer);
        let may_have =
            |name: &&str| !is_node && (flow.peer_pod.is_none() || name.ends_with(".cluster.local"));
        return Some(flow.world.names_of(flow.peer).filter(may_have).any(is_wanted));
    }
    None
}

/// The two ways to select pods, which subjects and peers have in common; `None`
/// if there is neither. Host-networked pods are in neither.
fn pods_selected(flow: &Flow<'_>, entry: &Value, pod: Option<&Pod>) -> Option<bool> {
    let by_namespace = &entry["namespaces"];
    let by_both = &entry["pods"];
    if !by_namespace.is_object() && !by_both.is_object() {
        return None;
    }
    let Some(pod) = pod else { return Some(false) };
    let namespace = flow.world.namespace_labels(namespace_of(&pod.metadata));
    if by_namespace.is_object() {
        // "a way to select all pods within a set of Namespaces".
        return Some(selects_untyped(by_namespace, &namespace));
    }
    let (namespaces, pods) = (&by_both["namespaceSelector"], &by_both["podSelector"]);
    let labels = labels_of(&pod.metadata);
    Some(selects_untyped(namespaces, &namespace) && selects_untyped(pods, &labels))
}

fn network_of(network: &Value) -> IpNet {
    let text = network.as_str().unwrap_or_default();
    text.parse().unwrap_or_else(|e| panic!("{e}: {text:?}"))
}

/// "`kubernetes.io` matches only `kubernetes.io`. [..] `*.kubernetes.io` matches
/// subdomains of kubernetes.io": `*` is one or more whole labels (`DomainName`).
fn is_domain(pattern: &str, name: &str) -> bool {
    let pattern = pattern.trim_end_matches('.').to_ascii_lowercase();
    let name = name.trim_end_matches('.');
    match pattern.strip_prefix('*') {
        Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
        None => name == pattern,
    }
}
