//! `policy.networking.k8s.io` ClusterNetworkPolicy.

use super::{
    Action, Block, DomainName, NamespaceSelector, NetworkPolicy, Peer, Peers, PodSelector,
    PortMatch, Ports, Protocol, Rule, Selector, Tier, v1,
};
use crate::cluster::annotations;
use crate::diagnostic::Finding;
use crate::object::{
    ClusterNetworkPolicy, ClusterPorts, ClusterProtocol, EgressPeer, NamespacedPod, PodsPeer,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Reduces a policy; what is left out becomes a finding. `None`: it is none that
/// Kubernetes would accept.
pub(in crate::cluster) fn reduce(
    policy: &ClusterNetworkPolicy,
    findings: &mut Vec<Finding>,
) -> Option<NetworkPolicy> {
    let spec = &policy.spec;
    let priority = u16::try_from(spec.priority?).ok()?;
    let ingress: Option<Vec<Rule>> = spec
        .ingress
        .iter()
        .enumerate()
        .map(|(i, rule)| {
            let draft = Draft {
                path: format!("spec.ingress[{i}]"),
                name: rule.name.as_deref(),
                action: &rule.action,
                protocols: rule.protocols.as_deref(),
            };
            draft.finish("from", rule.from.iter().map(ingress_peers), findings)
        })
        .collect();
    let egress: Option<Vec<Rule>> = spec
        .egress
        .iter()
        .enumerate()
        .map(|(i, rule)| {
            let draft = Draft {
                path: format!("spec.egress[{i}]"),
                name: rule.name.as_deref(),
                action: &rule.action,
                protocols: rule.protocols.as_deref(),
            };
            draft.finish("to", rule.to.iter().map(egress_peers), findings)
        })
        .collect();
    // Without rules for a direction, it says nothing about that.
    let some = |rules: Vec<Rule>| (!rules.is_empty()).then_some(rules);
    Some(NetworkPolicy {
        tier: match spec.tier.as_str() {
            "Admin" => Tier::Admin(priority),
            "Baseline" => Tier::Baseline(priority),
            _ => return None,
        },
        subject: subject(spec.subject.as_ref()?)?,
        ingress: some(ingress?),
        egress: some(egress?),
        is_audited: annotations::is_audited(&policy.metadata, findings),
        is_refused: false,
    })
}

/// The pods that a policy is about.
pub(super) fn subject(subject: &PodsPeer) -> Option<PodSelector> {
    match (&subject.namespaces, &subject.pods) {
        (Some(namespaces), None) => all_pods(namespaces),
        (None, Some(pods)) => some_pods(pods),
        _ => None,
    }
}

/// What a value stands for, if it is of a kind that is known.
#[derive(Debug)]
enum Known<T> {
    Is(T),
    /// No field of it is known.
    Not,
}

/// What is common to rules of both directions.
struct Draft<'a> {
    path: String,
    name: Option<&'a str>,
    action: &'a str,
    protocols: Option<&'a [ClusterProtocol]>,
}

impl Draft<'_> {
    /// The rule. One with a peer or a protocol of a kind that is not known fails
    /// closed: one that accepts matches nothing, one that denies or passes denies
    /// everything (`ClusterNetworkPolicyIngressPeer` in network-policy-api).
    fn finish(
        self,
        peers_key: &str,
        peers: impl Iterator<Item = Option<Known<Vec<Peer>>>>,
        findings: &mut Vec<Finding>,
    ) -> Option<Rule> {
        let action = match self.action {
            "Accept" => Action::Accept,
            "Deny" => Action::Deny,
            "Pass" => Action::Pass,
            _ => return None,
        };
        let mut unknown = Vec::new();
        let mut known = Vec::new();
        for (i, peers) in peers.enumerate() {
            match peers? {
                Known::Is(peers) => known.extend(peers),
                Known::Not => unknown.push(format!("{}.{peers_key}[{i}]", self.path)),
            }
        }
        let mut ports = self.protocols.map(|_| Vec::new());
        for (i, protocol) in self.protocols.iter().copied().flatten().enumerate() {
            match ports_of(protocol)? {
                Known::Is(port) => ports.iter_mut().for_each(|ports| ports.push(port.clone())),
                Known::Not => unknown.push(format!("{}.protocols[{i}]", self.path)),
            }
        }
        let name = self.name.filter(|name| !name.is_empty()).map(Into::into);
        if unknown.is_empty() {
            return Some(Rule { name, action, peers: Peers::Of(known), ports });
        }
        let consequence = match action {
            Action::Accept => "the rule matches nothing",
            Action::Deny | Action::Pass => "the rule denies everything",
        };
        for path in unknown {
            let message = format!("is of a kind that is not known; {consequence}");
            findings.push(Finding::error(path, message).expected("a kind of v1beta1"));
        }
        Some(match action {
            Action::Accept => Rule { name, action, peers: Peers::Of(Vec::new()), ports },
            Action::Deny | Action::Pass => {
                Rule { name, action: Action::Deny, peers: Peers::Any, ports: None }
            }
        })
    }
}

/// `None` outside: it has what it must not have.
fn ingress_peers(peer: &PodsPeer) -> Option<Known<Vec<Peer>>> {
    match (&peer.namespaces, &peer.pods) {
        (None, None) => Some(Known::Not),
        _ => Some(Known::Is(vec![Peer::Pods(subject(peer)?)])),
    }
}

fn egress_peers(peer: &EgressPeer) -> Option<Known<Vec<Peer>>> {
    Some(Known::Is(match peer {
        EgressPeer { namespaces: Some(selector), .. } => vec![Peer::Pods(all_pods(selector)?)],
        EgressPeer { pods: Some(pods), .. } => vec![Peer::Pods(some_pods(pods)?)],
        EgressPeer { nodes: Some(selector), .. } => vec![Peer::Nodes(Selector::of(selector).ok()?)],
        EgressPeer { networks: Some(networks), .. } => {
            let block = |text: &String| {
                Some(Peer::Block(Block { net: v1::net(text)?, except: Vec::new() }))
            };
            networks.iter().map(block).collect::<Option<_>>()?
        }
        EgressPeer { domain_names: Some(names), .. } => {
            names.iter().map(|name| Peer::Domain(domain(name))).collect()
        }
        _ => return Some(Known::Not),
    }))
}

fn all_pods(namespaces: &LabelSelector) -> Option<PodSelector> {
    let namespaces = NamespaceSelector::Labels(Selector::of(namespaces).ok()?);
    Some(PodSelector { namespaces, pods: Selector::default() })
}

fn some_pods(pods: &NamespacedPod) -> Option<PodSelector> {
    let namespaces = NamespaceSelector::Labels(Selector::of(&pods.namespace_selector).ok()?);
    Some(PodSelector { namespaces, pods: Selector::of(pods.pod_selector.as_ref()?).ok()? })
}

fn domain(name: &str) -> DomainName {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    match name.strip_prefix("*.") {
        Some(parent) => DomainName { name: parent.into(), is_wildcard: true },
        None => DomainName { name: name.into(), is_wildcard: false },
    }
}

fn ports_of(protocol: &ClusterProtocol) -> Option<Known<PortMatch>> {
    let of = |protocol: Protocol, ports: &ClusterPorts| {
        let Some(port) = &ports.destination_port else { return Some(Known::Not) };
        let number = |port: i32| u16::try_from(port).ok();
        let ports = match (port.number, port.range) {
            (Some(one), None) => Ports::Range(number(one)?, number(one)?),
            (None, Some(range)) => Ports::Range(number(range.start?)?, number(range.end?)?),
            (None, None) => return Some(Known::Not),
            (Some(_), Some(_)) => return None,
        };
        Some(Known::Is(PortMatch { protocol: Some(protocol), ports }))
    };
    match protocol {
        ClusterProtocol { tcp: Some(ports), .. } => of(Protocol::Tcp, ports),
        ClusterProtocol { udp: Some(ports), .. } => of(Protocol::Udp, ports),
        ClusterProtocol { sctp: Some(ports), .. } => of(Protocol::Sctp, ports),
        ClusterProtocol { destination_named_port: Some(name), .. } => {
            let ports = Ports::Named(name.as_str().into());
            Some(Known::Is(PortMatch { protocol: None, ports }))
        }
        _ => Some(Known::Not),
    }
}
