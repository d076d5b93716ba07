//! Who has which address, and what policies make of it.

use super::names::Names;
use super::peers::PeerKey;
use super::{Epochs, Name, PodNumber, Policies};
use hashbrown::HashMap;
use sluice_tables::policy::{Host, KnownAddress, PeerId, Subject};
use sluice_tables::{Family, Tables, V4, V6, policy_group};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The addresses of pods and nodes.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    by_addr: HashMap<IpAddr, Holders>,
}

/// Who has an address.
#[derive(Debug, Default)]
struct Holders {
    /// The youngest comes last, and is the one that counts.
    pods: BTreeSet<(Option<i64>, Name, PodNumber)>,
    nodes: BTreeSet<u32>,
    /// The domain names that have been seen to have it.
    names: BTreeSet<Arc<str>>,
    /// Those that have lost it.
    lapsed: BTreeSet<Arc<str>>,
    /// What is in the tables; its peers are in use.
    known: Option<KnownAddress>,
    /// The same, for flows that run: its peer as if it had the names still that have
    /// lost it.
    running: Option<PeerId>,
}

impl Addresses {
    pub(super) fn add_pod(
        &mut self,
        addr: IpAddr,
        created: Option<i64>,
        name: &Name,
        number: PodNumber,
    ) {
        let pods = &mut self.by_addr.entry(addr).or_default().pods;
        pods.insert((created, name.clone(), number));
    }

    pub(super) fn remove_pod(&mut self, addr: IpAddr, created: Option<i64>, name: &Name) {
        if let Some(holders) = self.by_addr.get_mut(&addr) {
            holders.pods.retain(|(when, who, _)| (*when, who) != (created, name));
        }
    }

    pub(super) fn add_node(&mut self, addr: IpAddr, number: u32) {
        self.by_addr.entry(addr).or_default().nodes.insert(number);
    }

    pub(super) fn remove_node(&mut self, addr: IpAddr, number: u32) {
        if let Some(holders) = self.by_addr.get_mut(&addr) {
            holders.nodes.remove(&number);
        }
    }

    pub(super) fn add_name(&mut self, addr: IpAddr, name: &Arc<str>) {
        self.by_addr.entry(addr).or_default().names.insert(name.clone());
    }

    pub(super) fn remove_name(&mut self, addr: IpAddr, name: &Arc<str>) {
        if let Some(holders) = self.by_addr.get_mut(&addr) {
            holders.names.remove(name);
            holders.lapsed.remove(name);
        }
    }

    pub(super) fn add_lapsed(&mut self, addr: IpAddr, name: &Arc<str>) {
        self.by_addr.entry(addr).or_default().lapsed.insert(name.clone());
    }

    /// Whether a name may have an address: nodes' and the API server's no name has,
    /// pods' those of the cluster have.
    pub(super) fn may_be_named(&self, names: &Names, name: &str, addr: IpAddr) -> bool {
        let holders = self.by_addr.get(&addr);
        let is_node = holders.is_some_and(|holders| !holders.nodes.is_empty());
        let is_pod = holders.is_some_and(|holders| !holders.pods.is_empty());
        !is_node && !names.is_api_server(addr) && (!is_pod || names.is_of_cluster(name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.by_addr.keys().copied()
    }
}

impl Policies {
    /// Writes the addresses that have changed into the tables. What is said to a
    /// subject about a peer never changes: whoever is told something else has
    /// become another subject or peer. So the flows of these addresses are asked
    /// about again, and no others.
    pub(super) fn write_addresses(&mut self, next: &mut Tables, epochs: &mut Epochs) {
        for addr in std::mem::take(&mut self.stale.addresses) {
            let Some(holders) = self.addresses.by_addr.get(&addr) else { continue };
            let old = (holders.known, holders.running);
            let is_lapsed = !holders.lapsed.is_empty();
            let is_held =
                !holders.pods.is_empty() || !holders.nodes.is_empty() || !holders.names.is_empty();
            let new = (is_held.then(|| self.known(addr)), is_lapsed.then(|| self.peer(addr, true)));
            old.0.into_iter().for_each(|known| self.peers.release(known.peer));
            old.1.into_iter().for_each(|peer| self.peers.release(peer));
            if is_held || is_lapsed {
                if let Some(holders) = self.addresses.by_addr.get_mut(&addr) {
                    (holders.known, holders.running) = new;
                }
            } else {
                self.addresses.by_addr.remove(&addr);
            }
            if old != new {
                let (group, tunnel) = match addr {
                    IpAddr::V4(_) => put::<V4>(next, addr, new),
                    IpAddr::V6(_) => put::<V6>(next, addr, new),
                };
                epochs.policy_group(group);
                tunnel.into_iter().for_each(|group| epochs.policy_group(group));
            }
        }
    }

    /// What policies make of an address that somebody has. Its peer is in use
    /// once more.
    fn known(&mut self, addr: IpAddr) -> KnownAddress {
        let holders = self.addresses.by_addr.get(&addr);
        let pod = holders.and_then(|holders| holders.pods.last()).map(|(.., number)| *number);
        let pod = pod.and_then(|number| self.pods.get(number));
        let node = holders.and_then(|holders| holders.nodes.first().copied());
        let of_pod = |node: &Arc<str>| self.nodes.number(node).map(Host::of_pod);
        let host = match (pod, node) {
            (Some(pod), _) => pod.pod.node.as_ref().and_then(of_pod).unwrap_or(Host::UNKNOWN),
            (None, Some(node)) => Host::of_node(node),
            (None, None) => Host::UNKNOWN,
        };
        let (ingress, egress) =
            pod.map_or((Subject::NONE, Subject::NONE), |pod| (pod.ingress, pod.egress));
        KnownAddress { ingress, egress, peer: self.peer(addr, false), host }
    }

    /// What an address is to others; to flows that run, what its names were counts as
    /// well. It is in use once more.
    fn peer(&mut self, addr: IpAddr, is_running: bool) -> PeerId {
        let holders = self.addresses.by_addr.get(&addr);
        let pod = holders.and_then(|holders| holders.pods.last()).map(|(.., number)| *number);
        let pod = pod.and_then(|number| self.pods.get(number));
        let nodes = holders.into_iter().flat_map(|holders| holders.nodes.iter().copied());
        let mut attributes = self.blocks.of(addr).to_vec();
        attributes.extend(nodes.flat_map(|node| self.nodes.attributes(node)));
        let names = holders.into_iter().flat_map(|holders| &holders.names);
        let lapsed = holders.filter(|_| is_running).into_iter().flat_map(|holders| &holders.lapsed);
        let named = names.chain(lapsed).filter(|name| self.may_be_named(name, addr));
        attributes.extend(named.flat_map(|name| self.attributes.of_name(name)));
        let selected = pod.iter().flat_map(|pod| &pod.attributes);
        attributes.extend(selected.copied().filter(|id| self.attributes.is_peer(*id)));
        attributes.sort_unstable();
        attributes.dedup();
        let ports = pod.and_then(|pod| self.named_ports(&pod.pod));
        self.peers.acquire(PeerKey { attributes, ports }, &mut self.attributes)
    }
}

/// Writes an address, and returns the groups of its flows: those of packets that come
/// from it. A node's come by its tunnel, or by a port.
fn put<F: Family>(
    tables: &mut Tables,
    addr: IpAddr,
    (known, running): (Option<KnownAddress>, Option<PeerId>),
) -> (u8, Option<u8>) {
    let Some(addr) = F::from_ip(addr) else { return (policy_group(None), None) };
    let family = F::of_mut(tables);
    match known {
        Some(known) => drop(family.known.insert(addr, known)),
        None => drop(family.known.remove(&addr)),
    }
    match running {
        Some(peer) => drop(family.lapsed.insert(addr, peer)),
        None if family.lapsed.is_empty() => {}
        None => drop(family.lapsed.remove(&addr)),
    }
    let node = family.nodes_by_addr.get(&addr).copied();
    (policy_group(family.pod_node(&addr)), node.map(|node| policy_group(Some(node))))
}
