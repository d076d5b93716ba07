//! Network policies, reduced: `networking.k8s.io/v1` NetworkPolicy
//! (kubernetes.io/docs/concepts/services-networking/network-policies) and
//! `policy.networking.k8s.io` ClusterNetworkPolicy
//! (network-policy-api.sigs.k8s.io), both as tiers of rules.

use super::Protocol;
use ipnet::IpNet;
use std::sync::Arc;

/// Label selectors.
pub mod selector;

mod cluster;
mod refused;
mod v1;

pub use selector::{NamespaceSelector, Operator, PodSelector, Requirement, Selector};

pub(super) use cluster::reduce as reduce_cluster;
pub(super) use refused::refused;
pub(super) use v1::reduce;

/// A policy of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// When it is asked.
    pub tier: Tier,
    /// The pods that it is about. Pods in their node's network are never among
    /// them.
    pub subject: PodSelector,
    /// What it says to traffic towards these pods; `None`: nothing.
    pub ingress: Option<Vec<Rule>>,
    /// What it says to traffic from these pods; `None`: nothing.
    pub egress: Option<Vec<Rule>>,
    /// What only it would deny is told of, and passes
    /// (annotation `sluice.dev/policy-audit: "true"`).
    pub is_audited: bool,
    /// It cannot be understood, and there is no earlier version of it: it stands
    /// for a denial of everything to the pods that it selects, as far as is known.
    pub is_refused: bool,
}

/// When a policy is asked. The order is that of the tiers, and of the priorities
/// inside: lower ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Before all others, by priority (0 to 1000).
    Admin(u16),
    /// NetworkPolicies: whom one selects is open only to what one allows.
    Namespaced,
    /// For pods that no NetworkPolicy selects, by priority (0 to 1000).
    Baseline(u16),
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, where it has one.
    pub name: Option<Arc<str>>,
    /// What becomes of traffic that it matches. Rules of NetworkPolicies accept.
    pub action: Action,
    /// The other ends that it matches.
    pub peers: Peers,
    /// The protocols and destination ports that it matches; `None`: all, ICMP
    /// included. An empty list matches nothing.
    pub ports: Option<Vec<PortMatch>>,
}

/// What becomes of traffic that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It passes: no later rule is asked.
    Accept,
    /// It is dropped.
    Deny,
    /// The next tier decides.
    Pass,
}

/// The other ends of traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Everybody, inside of the cluster and outside.
    Any,
    /// Those that one of these matches; nobody, if there are none.
    Of(Vec<Peer>),
}

/// A kind of other ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Pods, those in their node's network left out.
    Pods(PodSelector),
    /// Addresses.
    Block(Block),
    /// The addresses of nodes (`status.addresses`) that these labels select.
    Nodes(Selector),
    /// The addresses that a domain name has been seen to have.
    Domain(DomainName),
}

/// A range of addresses, without some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The range, its host bits 0.
    pub net: IpNet,
    /// Ranges inside of it that are not matched, in order, host bits 0.
    pub except: Vec<IpNet>,
}

/// One domain name or all names below one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName {
    /// The name in lower case, without `*.` in front and without the final dot.
    pub name: Arc<str>,
    /// It stands for all names below `name`, which itself is not among them.
    pub is_wildcard: bool,
}

/// Destination ports of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortMatch {
    /// The protocol; `None`: that of the container port that is named.
    pub protocol: Option<Protocol>,
    /// The ports.
    pub ports: Ports,
}

/// Destination ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// All of the protocol.
    Any,
    /// From the first to the last.
    Range(u16, u16),
    /// The container ports of this name, as the destination pod has them; a
    /// destination that has none is not matched.
    Named(Arc<str>),
}

#[cfg(test)]
mod tests;
