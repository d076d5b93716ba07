//! Network policy as the fast path sees it. The question is always: may `src`
//! open a flow to `dst`, at this protocol and port?
//!
//! Who is selected by the same policies is one **subject** (per direction); who
//! is matched by the same peers of rules, of all policies, is one **peer**. A
//! subject has a [`Row`]: [`Programs`], shared with all who are told the same, say what
//! becomes of each port, for each class of peers; and [`Classifier`]s, shared with
//! those whose rules name the same, say which class a peer is of. A question
//! costs two lookups of addresses, and one of classes and a port for each
//! direction in which the pod is selected, however many policies there are.

use crate::family::{Family, V4, V6};
use crate::ids::RuleId;
use crate::tables::Tables;
use std::net::{IpAddr, SocketAddr};

mod classifier;
mod outcome;
mod ranges;
mod row;

pub use classifier::{Classifier, LANES, Page, PageClasses};
pub use outcome::{Excuse, Outcome, PortKey, Verdict};
pub use ranges::AddressRanges;
pub use row::{Programs, Row, Rows, Span};

/// The number of TCP.
const TCP: u8 = 6;

/// The policies that select a pod in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The number of its [`Row`].
    pub row: u32,
    /// The numbers of the [`Classifier`]s that tell its peers apart.
    pub classifiers: [u32; 2],
}

impl Subject {
    /// No policy selects it: everything passes.
    pub const NONE: Subject = Subject { row: u32::MAX, classifiers: [0; 2] };

    /// True when any policy does.
    #[inline]
    pub fn is_selected(&self) -> bool {
        self.row != u32::MAX
    }
}

/// What peers of rules match an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

impl PeerId {
    /// Only rules for everybody match it.
    pub const OUTSIDE: PeerId = PeerId(0);
}

/// What policies make of the address of a pod or node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownAddress {
    /// Whom traffic towards it is asked for.
    pub ingress: Subject,
    /// Whom traffic from it is asked for.
    pub egress: Subject,
    /// What it is to others. The blocks that contain the address are in this.
    pub peer: PeerId,
    /// The node that it is of, or on.
    pub host: Host,
}

/// A node, and whether an address is its own or that of a pod on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host(u32);

impl Host {
    const OWN: u32 = 1 << 31;

    /// A pod whose node is not known.
    pub const UNKNOWN: Host = Host(u32::MAX >> 1);

    /// A pod on a node.
    pub fn of_pod(node: u32) -> Self {
        Host(node & !Self::OWN)
    }

    /// A node's own address.
    pub fn of_node(node: u32) -> Self {
        Host(node | Self::OWN)
    }

    /// True for the own address of the node that a pod is on.
    fn is_node_of(self, pod: Host) -> bool {
        pod != Host::UNKNOWN && self.0 == pod.0 | Self::OWN && self.0 != pod.0
    }
}

/// What policies say to a flow: at its source, and at its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgment {
    /// Of the policies that select the source.
    pub egress: Outcome,
    /// Of the policies that select the destination.
    pub ingress: Outcome,
}

impl Judgment {
    /// Nobody was asked.
    pub const UNASKED: Judgment = Judgment { egress: Outcome::UNASKED, ingress: Outcome::UNASKED };

    /// What becomes of the flow.
    pub fn verdict(&self) -> Verdict {
        self.egress.verdict().max(self.ingress.verdict())
    }

    /// The rules that decided, at the source and at the destination.
    pub fn rules(&self) -> [RuleId; 2] {
        [self.egress.rule(), self.ingress.rule()]
    }
}

/// What policies say to a flow from `src` to `dst`: the addresses of the real
/// ends, before the source and after the destination is translated.
#[inline]
pub fn judge<F: Family>(tables: &Tables, src: &F::Addr, dst: &F::Addr, port: PortKey) -> Judgment {
    if tables.policy.is_empty() {
        return Judgment::UNASKED;
    }
    let family = F::of(tables);
    let (source, destination) = (family.known.get(src), family.known.get(dst));
    let mut judgment = Judgment::UNASKED;
    if let Some(source) = source
        && source.egress.is_selected()
    {
        let peer = destination.map_or_else(|| family.blocks.lookup(dst), |known| known.peer);
        judgment.egress = tables.policy.outcome(&source.egress, peer, port);
        if !judgment.egress.is_allowed() {
            judgment.egress = excuse(judgment.egress, src == dst, source.host, destination);
        }
    }
    if let Some(destination) = destination
        && destination.ingress.is_selected()
    {
        let peer = source.map_or_else(|| family.blocks.lookup(src), |known| known.peer);
        judgment.ingress = tables.policy.outcome(&destination.ingress, peer, port);
        if !judgment.ingress.is_allowed() {
            judgment.ingress = excuse(judgment.ingress, src == dst, destination.host, source);
        }
    }
    judgment
}

/// [`judge`] for a flow that runs: an address that its peer's domain name has lost
/// by the time that its DNS records say is that peer to it still (NPEP-133, "Expected
/// Behavior": when a TTL expires, existing connections go on).
pub fn judge_running<F: Family>(
    tables: &Tables,
    src: &F::Addr,
    dst: &F::Addr,
    port: PortKey,
) -> Judgment {
    let mut judgment = judge::<F>(tables, src, dst, port);
    let family = F::of(tables);
    if !judgment.egress.is_allowed()
        && let Some(peer) = family.lapsed.get(dst)
        && let Some(source) = family.known.get(src)
    {
        let egress = tables.policy.outcome(&source.egress, *peer, port);
        if egress.is_allowed() {
            judgment.egress = egress;
        }
    }
    judgment
}

/// What policies say to a request that the gateway, where the connection of `client` has
/// ended, sends on to `dst`. Blocks of addresses that rules name match the client's address;
/// whatever else they name matches the gateway, as the pod that it is taken for.
pub fn judge_request(tables: &Tables, client: IpAddr, dst: SocketAddr) -> Judgment {
    if tables.policy.is_empty() {
        return Judgment::UNASKED;
    }
    let peer = match client.to_canonical() {
        IpAddr::V4(client) => tables.v4.clients.lookup(&client.octets()),
        IpAddr::V6(client) => tables.v6.clients.lookup(&client.octets()),
    };
    let port = PortKey::of(TCP, dst.port());
    match dst.ip() {
        IpAddr::V4(dst) => of_request::<V4>(tables, peer, &dst.octets(), port),
        IpAddr::V6(dst) => of_request::<V6>(tables, peer, &dst.octets(), port),
    }
}

fn of_request<F: Family>(
    tables: &Tables,
    client: PeerId,
    dst: &F::Addr,
    port: PortKey,
) -> Judgment {
    let family = F::of(tables);
    let destination = family.known.get(dst);
    let mut judgment = Judgment::UNASKED;
    // All addresses of the pool are of the one pod.
    let gateway = family.snat.addresses.first().and_then(|addr| family.known.get(addr));
    if let Some(gateway) = gateway.filter(|gateway| gateway.egress.is_selected()) {
        let peer = destination.map_or_else(|| family.blocks.lookup(dst), |known| known.peer);
        judgment.egress = tables.policy.outcome(&gateway.egress, peer, port);
    }
    if let Some(destination) = destination.filter(|known| known.ingress.is_selected()) {
        judgment.ingress = tables.policy.outcome(&destination.ingress, client, port);
    }
    judgment
}

/// What no NetworkPolicy can deny: a pod speaks with itself, and with its own
/// node (kubernetes.io/docs/concepts/services-networking/network-policies). A
/// node's tunnel device is no address of the node's own here: a node that
/// masquerades hides its pods behind it.
#[cold]
fn excuse(denied: Outcome, is_itself: bool, pod: Host, other: Option<&KnownAddress>) -> Outcome {
    let rule = if is_itself {
        RuleId::ITSELF
    } else if other.is_some_and(|other| other.host.is_node_of(pod)) {
        RuleId::OWN_NODE
    } else {
        return denied;
    };
    match denied.excuse() {
        Excuse::None => denied,
        Excuse::Allow => Outcome::new(Verdict::Allow, rule, Excuse::None),
        Excuse::Audit => Outcome::new(Verdict::Audit, denied.rule(), Excuse::None),
    }
}

#[cfg(test)]
mod tests;
