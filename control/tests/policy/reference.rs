//! Network policy said plainly: what the APIs' texts say, sentence by sentence,
//! in linear scans over the objects themselves. Nothing here is shared with the
//! compiler, so that the two can be held against each other.
//!
//! The texts:
//! - NetworkPolicy: <https://kubernetes.io/docs/concepts/services-networking/network-policies/>
//!   and the comments of `k8s_openapi::api::networking::v1`.
//! - ClusterNetworkPolicy: <https://network-policy-api.sigs.k8s.io/reference/spec/>
//!   and <https://network-policy-api.sigs.k8s.io/api-overview/>.
//!
//! Where they leave room, Sluice does this:
//! - Of ClusterNetworkPolicies of one tier and priority, the first by name is
//!   asked first. (The API lets an implementation choose.)
//! - "A pod cannot block access to itself" and "traffic to and from the node
//!   where a Pod is running is always allowed" hold against NetworkPolicies and
//!   the Baseline tier. An Admin tier Deny stops that traffic too, as nothing
//!   may override it. What reaches the gateway from a pod to itself went to a
//!   Service, for which the API prefers that ClusterNetworkPolicies are asked.
//! - A pod with `hostNetwork` is its node's address, and no pod.
//! - A pod that has ended (phase Failed or Succeeded) has no address. Of two pods
//!   with one address the younger has it; of two of one age, the one that is
//!   last by namespace and name.
//! - A block or network matches every address in it, a pod's too. The source is
//!   the client's own address, the destination the real endpoint.
//! - Rules without ports match every protocol. Rules with ports match only the
//!   protocols they name; what has no ports (ICMP) is matched by none of them.
//! - No domain name has the address of a node, and only names below `cluster.local`
//!   have those of pods: NPEP-133 supports the "generated DNS record" of pods, and
//!   who owns another name may answer with any address.
//! - An Accept rule of a ClusterNetworkPolicy with a peer or protocol entry that
//!   has no known field matches nothing, a Deny or Pass rule with one denies
//!   everything. `tcp: {}` is such an entry.
//! - A policy annotated `sluice.dev/policy-audit: "true"` is tried out: what only
//!   it would deny passes, and is told of. In a Namespace with the annotation, so
//!   are all NetworkPolicies and the Baseline tier, as they select its pods; the
//!   Admin tier is not.

mod cluster_policy;
mod network_policy;
mod ports;
mod selector;
mod world;

#[cfg(test)]
mod tests;

pub use world::World;

use cluster_policy::{Action, Tier};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// What carries a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
    /// Everything that has no ports, ICMP among it.
    Other,
}

/// May `src` open a flow to `dst`? The port is of no meaning for
/// [`Protocol::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Question { src, dst, protocol, port } = self;
        match protocol {
            Protocol::Other => write!(f, "{src} -> {dst} icmp"),
            _ => write!(f, "{src} -> {dst} {} {port}", format!("{protocol:?}").to_lowercase()),
        }
    }
}

/// What becomes of a flow; of two, the greater counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Allow,
    /// It would be denied, but for a policy that is only tried out: it passes.
    Audit,
    Deny,
}

/// The rules of which any may be named as the one that decided. There are
/// several where the API says "at least one rule".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why(BTreeSet<String>);

impl Why {
    /// One reason.
    pub fn one(reason: impl Into<String>) -> Self {
        Why([reason.into()].into())
    }

    /// One of several reasons.
    pub fn any(reasons: impl IntoIterator<Item = String>) -> Self {
        Why(reasons.into_iter().collect())
    }

    /// Nobody was asked, or nothing that was asked decided.
    pub fn no_policy() -> Self {
        Why::one("no policy")
    }

    /// The reasons of both.
    fn or(mut self, other: Why) -> Self {
        self.0.extend(other.0);
        self
    }

    /// True for an explanation that names one of the rules.
    pub fn accepts(&self, said: &str) -> bool {
        self.0.contains(said)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons: Vec<&str> = self.0.iter().map(String::as_str).collect();
        f.write_str(&reasons.join(" | "))
    }
}

/// What becomes of a flow, and what decided at each end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub verdict: Verdict,
    /// At the source. A flow may be denied by two rules: one of all policies, and
    /// another when those that are only tried out are left aside.
    pub egress: Why,
    /// At the destination.
    pub ingress: Why,
}

/// "For a connection from a source pod to a destination pod to be allowed, both
/// the egress policy on the source pod and the ingress policy on the destination
/// pod need to allow the connection."
/// <https://kubernetes.io/docs/concepts/services-networking/network-policies/#the-two-sorts-of-pod-isolation>
pub fn judge(world: &World, question: Question) -> Answer {
    let (at_source, egress) = judge_at(world, question, Direction::Egress);
    let (at_destination, ingress) = judge_at(world, question, Direction::Ingress);
    Answer { verdict: at_source.max(at_destination), egress, ingress }
}

/// A flow can be denied where it leaves and where it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Egress,
    Ingress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Egress => "egress",
            Direction::Ingress => "ingress",
        })
    }
}

/// A question seen from one of its ends, a pod.
struct Flow<'w> {
    world: &'w World,
    direction: Direction,
    /// The pod whose policies are asked.
    subject: &'w Pod,
    /// The other end.
    peer: IpAddr,
    peer_pod: Option<&'w Pod>,
    question: Question,
    /// Policies that are only tried out are left out.
    only_enforced: bool,
}

/// What all policies of one end say together.
struct Decision {
    allows: bool,
    why: Why,
}

/// Denied is what is denied with and without the policies that are tried out.
fn judge_at(world: &World, question: Question, direction: Direction) -> (Verdict, Why) {
    let (here, peer) = match direction {
        Direction::Egress => (question.src, question.dst),
        Direction::Ingress => (question.dst, question.src),
    };
    let Some(subject) = world.pod_at(here) else { return (Verdict::Allow, Why::no_policy()) };
    let peer_pod = world.pod_at(peer);
    let flow =
        |only_enforced| Flow { world, direction, subject, peer, peer_pod, question, only_enforced };
    let all = decide(&flow(false));
    if all.allows {
        return (Verdict::Allow, all.why);
    }
    let enforced = decide(&flow(true));
    if enforced.allows {
        return (Verdict::Audit, all.why);
    }
    // Each of them denies it.
    (Verdict::Deny, all.why.or(enforced.why))
}

/// The tiers in their order: Admin, NetworkPolicy, Baseline; "if a given
/// connection wasn't allowed or denied by any of the tiers, [..] all pods can
/// communicate with each other".
/// <https://network-policy-api.sigs.k8s.io/api-overview/#tiers>
fn decide(flow: &Flow<'_>) -> Decision {
    match cluster_policy::first_match(flow, Tier::Admin) {
        Some((Action::Accept, rule)) => return Decision { allows: true, why: Why::one(rule) },
        Some((Action::Deny, rule)) => return Decision { allows: false, why: Why::one(rule) },
        Some((Action::Pass, _)) | None => {}
    }
    let decision = network_policy::decide(flow).unwrap_or_else(|| decide_by_baseline(flow));
    match own_traffic(flow) {
        Some(reason) if !decision.allows => Decision { allows: true, why: Why::one(reason) },
        _ => decision,
    }
}

fn decide_by_baseline(flow: &Flow<'_>) -> Decision {
    match cluster_policy::first_match(flow, Tier::Baseline) {
        Some((Action::Accept, rule)) => Decision { allows: true, why: Why::one(rule) },
        Some((Action::Deny, rule)) => Decision { allows: false, why: Why::one(rule) },
        Some((Action::Pass, _)) | None => Decision { allows: true, why: Why::no_policy() },
    }
}

/// "A pod cannot block access to itself"; "traffic to and from the node where a
/// Pod is running is always allowed, regardless of the IP address of the Pod or
/// the node".
/// <https://kubernetes.io/docs/concepts/services-networking/network-policies/>
fn own_traffic(flow: &Flow<'_>) -> Option<&'static str> {
    if flow.peer_pod.is_some_and(|peer| World::is_same(peer, flow.subject)) {
        return Some("a pod may speak with itself");
    }
    let node = flow.subject.spec.as_ref()?.node_name.as_deref()?;
    let is_own = flow.world.node_addresses(node).any(|addr| addr == flow.peer);
    is_own.then_some("a pod may speak with its own node")
}
