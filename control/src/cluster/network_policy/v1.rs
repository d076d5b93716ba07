//! `networking.k8s.io/v1` NetworkPolicy.

use super::{
    Action, Block, NamespaceSelector, NetworkPolicy, Peer, Peers, PodSelector, PortMatch, Ports,
    Protocol, Rule, Selector, Tier,
};
use crate::cluster::annotations;
use crate::diagnostic::Finding;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::sync::Arc;

/// Reduces a policy of a namespace; what is left out becomes a finding. `None`:
/// it is none that Kubernetes would accept.
pub(in crate::cluster) fn reduce(
    namespace: &Arc<str>,
    policy: &v1::NetworkPolicy,
    findings: &mut Vec<Finding>,
) -> Option<NetworkPolicy> {
    let none = v1::NetworkPolicySpec::default();
    let spec = policy.spec.as_ref().unwrap_or(&none);
    let pods = spec.pod_selector.as_ref().map_or(Ok(Selector::default()), Selector::of).ok()?;
    let directions = Directions::of(spec);
    let ingress = spec.ingress.as_deref().unwrap_or_default();
    let egress = spec.egress.as_deref().unwrap_or_default();
    let unheard = [
        ("spec.ingress", "Ingress", !directions.ingress && !ingress.is_empty()),
        ("spec.egress", "Egress", !directions.egress && !egress.is_empty()),
    ];
    for (path, kind, _) in unheard.into_iter().filter(|(_, _, is)| *is) {
        let message = format!("does nothing: spec.policyTypes has no {kind}");
        findings.push(Finding::warning(path, message).expected(format!("{kind} among the types")));
    }
    let ingress: Option<Vec<Rule>> =
        ingress.iter().map(|r| rule(namespace, r.from.as_ref(), r.ports.as_ref())).collect();
    let egress: Option<Vec<Rule>> =
        egress.iter().map(|r| rule(namespace, r.to.as_ref(), r.ports.as_ref())).collect();
    let (ingress, egress) = (ingress?, egress?);
    Some(NetworkPolicy {
        tier: Tier::Namespaced,
        subject: PodSelector { namespaces: NamespaceSelector::Named(namespace.clone()), pods },
        ingress: directions.ingress.then_some(ingress),
        egress: directions.egress.then_some(egress),
        is_audited: annotations::is_audited(&policy.metadata, findings),
        is_refused: false,
    })
}

/// What a policy is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directions {
    /// Traffic towards its pods.
    pub(super) ingress: bool,
    /// Traffic from its pods.
    pub(super) egress: bool,
}

impl Directions {
    /// As `policyTypes` says; without any, a policy is about ingress, and about
    /// egress if it has rules for it.
    pub(super) fn of(spec: &v1::NetworkPolicySpec) -> Self {
        match spec.policy_types.as_deref() {
            None | Some([]) => {
                let egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
                Directions { ingress: true, egress }
            }
            Some(types) => {
                let has = |kind: &str| types.iter().any(|one| one == kind);
                Directions { ingress: has("Ingress"), egress: has("Egress") }
            }
        }
    }
}

fn rule(
    namespace: &Arc<str>,
    peers: Option<&Vec<v1::NetworkPolicyPeer>>,
    ports: Option<&Vec<v1::NetworkPolicyPort>>,
) -> Option<Rule> {
    let peers = match peers.map(Vec::as_slice) {
        None | Some([]) => Peers::Any,
        Some(peers) => {
            Peers::Of(peers.iter().map(|one| peer(namespace, one)).collect::<Option<_>>()?)
        }
    };
    let ports = match ports.map(Vec::as_slice) {
        None | Some([]) => None,
        Some(ports) => Some(ports.iter().map(port).collect::<Option<_>>()?),
    };
    Some(Rule { name: None, action: Action::Accept, peers, ports })
}

fn peer(namespace: &Arc<str>, peer: &v1::NetworkPolicyPeer) -> Option<Peer> {
    if let Some(block) = &peer.ip_block {
        return Some(Peer::Block(self::block(block)?));
    }
    if peer.pod_selector.is_none() && peer.namespace_selector.is_none() {
        return None;
    }
    let namespaces = match &peer.namespace_selector {
        Some(selector) => NamespaceSelector::Labels(Selector::of(selector).ok()?),
        None => NamespaceSelector::Named(namespace.clone()),
    };
    let pods = match &peer.pod_selector {
        Some(selector) => Selector::of(selector).ok()?,
        None => Selector::default(),
    };
    Some(Peer::Pods(PodSelector { namespaces, pods }))
}

fn block(block: &v1::IPBlock) -> Option<Block> {
    let excepts = block.except.iter().flatten();
    let mut except: Vec<IpNet> = excepts.map(|text| net(text)).collect::<Option<_>>()?;
    except.sort_unstable();
    Some(Block { net: net(&block.cidr)?, except })
}

/// A range without host bits.
pub(super) fn net(text: &str) -> Option<IpNet> {
    Some(text.parse::<IpNet>().ok()?.trunc())
}

fn port(port: &v1::NetworkPolicyPort) -> Option<PortMatch> {
    let ports = match &port.port {
        None => Ports::Any,
        Some(IntOrString::String(name)) => Ports::Named(name.as_str().into()),
        Some(IntOrString::Int(first)) => {
            let number = |port: i32| u16::try_from(port).ok();
            Ports::Range(number(*first)?, number(port.end_port.unwrap_or(*first))?)
        }
    };
    Some(PortMatch { protocol: Some(Protocol::of(port.protocol.as_deref())?), ports })
}
