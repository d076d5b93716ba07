//! Pods outside of their node's ranges: each has a route of its own.

use super::nodes::is_gateway;
use super::taken::Stray;
use super::vips::InForce;
use super::{Compiler, Subject};
use crate::cluster::{Changes, Cluster, Pod};
use crate::diagnostic::Finding;
use crate::object::{Kind, Name};
use sluice_config::OverlayMode;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Pods that need routes of their own.
#[derive(Debug, Default)]
pub(super) struct Strays {
    by_pod: BTreeMap<Name, Vec<IpAddr>>,
    /// Who asks for an address, in the order in which they get it.
    by_addr: BTreeMap<IpAddr, BTreeMap<Asking, Wish>>,
}

/// Pods by age, then by name; those without a creation time come last.
type Asking = (i64, Name);

/// What a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    node: Arc<str>,
    /// Path of the address in the manifest.
    path: Arc<str>,
}

impl Strays {
    /// All addresses that are asked for.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_addr.keys().copied()
    }

    /// Whether a pod asks for an address, on the same node.
    pub(super) fn asks(&self, addr: IpAddr, stray: &Stray) -> bool {
        let asking = self.by_addr.get(&addr).into_iter().flatten();
        let mut same =
            asking.filter(|((_, pod), wish)| *pod == stray.pod && wish.node == stray.node);
        same.next().is_some()
    }

    /// Sets what a pod asks for; collects the addresses for which that is
    /// something new.
    fn set(
        &mut self,
        name: &Name,
        created: i64,
        wishes: Vec<(IpAddr, Wish)>,
        new: &mut BTreeSet<IpAddr>,
    ) {
        let mut old = BTreeMap::new();
        for addr in self.by_pod.remove(name).unwrap_or_default() {
            let Some(asking) = self.by_addr.get_mut(&addr) else { continue };
            old.extend(asking.extract_if(.., |(_, pod), _| pod == name).map(|w| (addr, w)));
            if asking.is_empty() {
                self.by_addr.remove(&addr);
            }
        }
        for (addr, wish) in wishes {
            let asking = (created, name.clone());
            if old.remove(&addr) != Some((asking.clone(), wish.clone())) {
                new.insert(addr);
            }
            self.by_addr.entry(addr).or_default().insert(asking, wish);
            self.by_pod.entry(name.clone()).or_default().push(addr);
        }
        new.extend(old.into_keys());
    }
}

impl Compiler {
    /// Looks for pods outside of their node's ranges; the addresses for which
    /// something is new.
    pub(super) fn find_strays(&mut self, cluster: &Cluster, changes: &Changes) -> BTreeSet<IpAddr> {
        let mut all = changes.pods.clone();
        for node in &changes.nodes {
            all.extend(cluster.pods_on(node).cloned());
        }
        let mut new = BTreeSet::new();
        for name in all {
            let pod = cluster.pod(&name);
            let wishes = pod.map_or_else(Vec::new, |pod| self.wishes(cluster, pod));
            let created = pod.and_then(|pod| pod.created).unwrap_or(i64::MAX);
            self.strays.set(&name, created, wishes, &mut new);
        }
        new
    }

    fn wishes(&self, cluster: &Cluster, pod: &Pod) -> Vec<(IpAddr, Wish)> {
        // Addresses of the host network are on the underlay.
        let has_route = self.statics.vxlan().is_some() && !pod.is_host_network;
        let Some(node_name) = pod.node.as_ref().filter(|_| has_route) else { return Vec::new() };
        let Some(node) = cluster.node(node_name) else { return Vec::new() };
        if is_gateway(node_name, node, &self.statics) {
            return Vec::new();
        }
        let outside = pod.ips.iter().filter(|(_, addr)| !node.has_pod(*addr));
        outside
            .map(|(path, addr)| (*addr, Wish { node: node_name.clone(), path: path.clone() }))
            .collect()
    }

    /// Decides which pod has an address; true if that is another one than
    /// before.
    pub(super) fn settle_stray(&mut self, cluster: &Cluster, addr: IpAddr) -> bool {
        let old = self.taken.pods.remove(&addr);
        let mut findings = Vec::new();
        let mut winner: Option<Stray> = None;
        let asking = self.strays.by_addr.get(&addr).into_iter().flatten();
        let mut asking: Vec<_> = asking
            // A node without a tunnel is a finding itself.
            .filter(|(_, wish)| self.nodes.vtep_of(&wish.node).is_some())
            .map(|((_, pod), wish)| (Stray { pod: pod.clone(), node: wish.node.clone() }, wish))
            .collect();
        asking.sort_by_key(|(stray, _)| old.as_ref() != Some(stray));
        let mut blocked_by = None;
        for (stray, wish) in asking {
            let is_held = old.as_ref() == Some(&stray);
            let refusal = self.refuse_stray(cluster, addr, &stray, is_held, &mut blocked_by);
            let refusal = refusal.or_else(|| {
                let other = winner.as_ref().filter(|other| other.node != stray.node)?;
                Some(format!("the address of pod {} on node {}", other.pod, other.node))
            });
            let node = &stray.node;
            let finding = match refusal {
                Some(what) => {
                    let message = format!("{addr} is {what}; the pod gets no route");
                    Finding::error(&*wish.path, message)
                }
                None => {
                    winner.get_or_insert_with(|| stray.clone());
                    if self.borrows() {
                        continue;
                    }
                    let message = format!(
                        "{addr} is outside of the ranges of node {node}; it gets a route of its own"
                    );
                    Finding::warning(&*wish.path, message)
                }
            };
            let finding = finding.expected(ranges_of(cluster, node));
            findings.push((stray.pod.key(Kind::Pod), finding));
        }
        self.blocked_by.extend(blocked_by.map(|service| (addr, service)));
        self.findings.set(Subject::Stray(addr), findings);
        let is_changed = winner != old;
        self.taken.pods.extend(winner.map(|winner| (addr, winner)));
        is_changed
    }

    /// Whether nodes give their pods addresses of others' ranges: Calico does when a node's
    /// blocks are full.
    fn borrows(&self) -> bool {
        self.statics.mode == OverlayMode::Calico
    }

    /// Whose an address is that a pod cannot have therefore; in words.
    fn refuse_stray(
        &self,
        cluster: &Cluster,
        addr: IpAddr,
        stray: &Stray,
        is_held: bool,
        blocked_by: &mut Option<Name>,
    ) -> Option<String> {
        if let Some(what) = self.statics.holder(addr) {
            return Some(what);
        }
        if let Some(subnet) = self.statics.subnet_of(addr) {
            return Some(format!("in {subnet}"));
        }
        if let Some(node) = self.taken.vteps.get(&addr) {
            return Some(format!("the tunnel address of node {node}"));
        }
        if is_held {
            return None;
        }
        let range = self.taken.range_of(addr).filter(|_| !self.borrows());
        if let Some(range) = range.filter(|range| range.is_served && range.node != stray.node) {
            return Some(format!("in {} of node {}", range.net, range.node));
        }
        let service = InForce::new(cluster, &self.statics, &self.vips).holder(addr)?;
        *blocked_by = Some(service.clone());
        Some(format!("an address of Service {service}"))
    }
}

/// The ranges of a node, as what was expected.
fn ranges_of(cluster: &Cluster, node: &str) -> String {
    let cidrs = cluster.node(node).into_iter().flat_map(|node| &node.pod_cidrs);
    let ranges: Vec<_> = cidrs.map(|(_, cidr)| cidr.to_string()).collect();
    match ranges.join(" or ") {
        ranges if ranges.is_empty() => format!("podCIDRs of node {node}"),
        ranges => format!("an address in {ranges}"),
    }
}
