//! Nodes: tunnel endpoints, and the routes to their pods.

use super::Compiler;
use super::Subject;
use super::epochs::Epochs;
use super::ids::Moment;
use super::local::Statics;
use super::settle::Settling;
use super::vips::InForce;
use crate::cluster::{Changes, Cluster, Node};
use hashbrown::HashMap;
use sluice_tables::{Family, Tables, V4, V6, Vtep, VtepId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

mod routes;

/// The tunnel endpoints in the tables, by node.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    vteps: BTreeMap<Arc<str>, VtepId>,
    /// They, or zones, are others than before [`Nodes::take_moved`].
    is_moved: bool,
}

impl Nodes {
    pub(super) fn vtep_of(&self, node: &str) -> Option<VtepId> {
        self.vteps.get(node).copied()
    }

    pub(super) fn vteps(&self) -> &BTreeMap<Arc<str>, VtepId> {
        &self.vteps
    }

    /// Whether nodes are elsewhere than when this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.is_moved)
    }
}

/// What may lead to other routes.
pub(super) struct Rerouting<'a> {
    /// The static part is new.
    pub(super) is_reset: bool,
    pub(super) changes: &'a Changes,
    /// Where single addresses are collected that have other routes.
    pub(super) rerouted: &'a mut BTreeSet<IpAddr>,
}

impl Compiler {
    /// Compiles tunnels and routes; true if nodes or pods have other addresses
    /// than before.
    pub(super) fn compile_nodes(
        &mut self,
        cluster: &Cluster,
        Rerouting { is_reset, changes, rerouted }: Rerouting<'_>,
        next: &mut Tables,
        epochs: &mut Epochs,
        at: Moment,
    ) -> bool {
        let new = self.find_strays(cluster, changes);
        let in_force = InForce::new(cluster, &self.statics, &self.vips);
        let mut blocked_by = self.blocked_by.iter();
        let mut is_all = is_reset
            || !changes.nodes.is_empty()
            || blocked_by.any(|(vip, name)| in_force.claimant(*vip) != Some(name));
        is_all |= self.is_outbid(cluster, changes, in_force);
        let mut is_changed = false;
        if !is_all {
            for addr in &new {
                let is_other = self.settle_stray(cluster, *addr);
                is_changed |= is_other;
                is_all |= is_other && self.blocked_by_pods.contains(addr);
            }
        }
        if is_all {
            let before = self.taken.clone();
            self.settle(cluster, new, next, epochs, at);
            self.put_routes(None, rerouted, next, epochs);
            is_changed |= before != self.taken;
        } else if is_changed {
            self.put_routes(Some(&new), rerouted, next, epochs);
        }
        is_changed
    }

    /// Whether a Service claims an address in a range that comes after it.
    fn is_outbid(&self, cluster: &Cluster, changes: &Changes, vips: InForce<'_>) -> bool {
        let services = changes.services.iter().filter_map(|name| cluster.service(name));
        let mut claimed = services.flat_map(|service| service.vips());
        claimed.any(|(addr, _)| {
            let range = self.taken.range_of(addr);
            range.is_some_and(|range| self.statics.is_outside_of_pods(&range.net))
                && vips.claimant(addr).is_some()
        })
    }

    /// Decides what all nodes and pods have, and numbers the tunnels. `pods` are
    /// addresses for which pods ask anew, or no longer.
    fn settle(
        &mut self,
        cluster: &Cluster,
        mut pods: BTreeSet<IpAddr>,
        next: &mut Tables,
        epochs: &mut Epochs,
        at: Moment,
    ) {
        self.blocked_by.clear();
        let vteps_before = self.nodes.vteps.clone();
        pods.extend(self.strays.addresses().chain(self.taken.pods.keys().copied()));
        let mut findings = Vec::new();
        // What one loses may be free for another: until nothing changes. What
        // is in force only grows from the second time on, so that comes.
        loop {
            let before = self.taken.clone();
            self.taken.pods.retain(|addr, stray| self.strays.asks(*addr, stray));
            if let Some(vxlan) = self.statics.vxlan() {
                let vips = InForce::new(cluster, &self.statics, &self.vips);
                let mut settling = Settling::new(cluster, &self.statics, vips, &self.taken);
                settling.settle(vxlan);
                self.taken = settling.next;
                self.blocked_by.extend(settling.blocked_by);
                self.blocked_by_pods = settling.blocked_by_pods;
                findings = settling.findings;
            }
            let vteps = vteps(cluster, &self.taken.vteps);
            let gone = self.nodes.vteps.extract_if(.., |node, _| !vteps.contains_key(node));
            for (_, id) in gone {
                self.vtep_ids.free(id.0, at);
            }
            for node in vteps.keys() {
                let id = VtepId(self.vtep_ids.give(node, at));
                self.nodes.vteps.insert(node.clone(), id);
            }
            for addr in &pods {
                self.settle_stray(cluster, *addr);
            }
            if before == self.taken {
                put_vteps(&vteps, &self.nodes.vteps, next, epochs);
                let own = node_addresses(cluster, &vteps, &self.nodes.vteps);
                put_nodes_of::<V4>(&own, next, epochs);
                put_nodes_of::<V6>(&own, next, epochs);
                let devices = tunnel_devices(cluster, &self.nodes.vteps);
                put_devices_of::<V4>(&devices, next, epochs);
                put_devices_of::<V6>(&devices, next, epochs);
                break;
            }
        }
        self.findings.set(Subject::Nodes, findings);
        let ids = self.nodes.vteps.clone();
        let is_new = self.put_zones(cluster, &ids, next, epochs);
        self.nodes.is_moved |= is_new || ids != vteps_before;
    }
}

/// Whether a node is the gateway itself: the one of its name; where that is not
/// told, one that has its addresses.
pub(super) fn is_gateway(name: &str, node: &Node, statics: &Statics) -> bool {
    if let Some(gateway) = &statics.node_name {
        return gateway == name;
    }
    let vteps = node.tunnel.vteps.iter().map(|(_, addr)| addr);
    vteps.chain(&node.addresses).any(|addr| statics.own(*addr).is_some())
}

/// The tunnel endpoints by node.
fn vteps(cluster: &Cluster, by_addr: &BTreeMap<IpAddr, Arc<str>>) -> BTreeMap<Arc<str>, Vtep> {
    let mut vteps: BTreeMap<Arc<str>, Vtep> = BTreeMap::new();
    for (addr, name) in by_addr {
        let Some(macs) = cluster.node(name).map(|node| node.tunnel.macs) else { continue };
        let vtep = vteps.entry(name.clone()).or_insert_with(|| Vtep {
            name: name.clone(),
            v4: None,
            v6: None,
            mac_v4: macs.v4.unwrap_or_default(),
            mac_v6: macs.v6.unwrap_or_default(),
        });
        match addr {
            IpAddr::V4(addr) => vtep.v4 = Some(addr.octets()),
            IpAddr::V6(addr) => vtep.v6 = Some(addr.octets()),
        }
    }
    vteps
}

fn put_vteps(
    vteps: &BTreeMap<Arc<str>, Vtep>,
    ids: &BTreeMap<Arc<str>, VtepId>,
    next: &mut Tables,
    epochs: &mut Epochs,
) {
    let len = ids.values().map(|id| id.0 as usize + 1).max().unwrap_or(0);
    let mut by_id: Vec<Option<Vtep>> = vec![None; len];
    let mut v4 = HashMap::new();
    let mut v6 = HashMap::new();
    for (name, vtep) in vteps {
        let Some(&id) = ids.get(name) else { continue };
        v4.extend(vtep.v4.map(|addr| (addr, id)));
        v6.extend(vtep.v6.map(|addr| (addr, id)));
        by_id[id.0 as usize] = Some(vtep.clone());
    }
    if *next.vteps != by_id {
        next.vteps = Arc::new(by_id);
        next.v4.vteps_by_addr = Arc::new(v4);
        next.v6.vteps_by_addr = Arc::new(v6);
        epochs.route();
    }
}

/// The addresses of the nodes that have tunnels, each with the numbers of those
/// that name it: the one whose tunnel endpoint it is first, then the older node,
/// then by name.
fn node_addresses(
    cluster: &Cluster,
    vteps: &BTreeMap<Arc<str>, Vtep>,
    ids: &BTreeMap<Arc<str>, VtepId>,
) -> BTreeMap<IpAddr, Vec<VtepId>> {
    let mut nodes: Vec<_> = vteps
        .iter()
        .filter_map(|(name, vtep)| Some((vtep, *ids.get(name)?, cluster.node(name)?)))
        .collect();
    nodes.sort_by_key(|(_, _, node)| node.created.unwrap_or(i64::MAX));
    let mut own: BTreeMap<IpAddr, Vec<VtepId>> = BTreeMap::new();
    for (vtep, id, _) in &nodes {
        let ends = [vtep.v4.map(IpAddr::from), vtep.v6.map(IpAddr::from)];
        own.extend(ends.into_iter().flatten().map(|addr| (addr, vec![*id])));
    }
    // Nobody else has the address of a tunnel endpoint.
    let ends: BTreeSet<IpAddr> = own.keys().copied().collect();
    for (_, id, node) in nodes {
        for addr in node.addresses.iter().filter(|addr| !ends.contains(*addr)) {
            own.entry(*addr).or_default().push(id);
        }
    }
    own
}

/// Who has an address keeps it while it names it. Where a node is new, no flow
/// has to look again: what it sent before was dropped.
fn put_nodes_of<F: Family>(
    own: &BTreeMap<IpAddr, Vec<VtepId>>,
    next: &mut Tables,
    epochs: &mut Epochs,
) {
    let old = F::of(next).nodes_by_addr.clone();
    let new: HashMap<F::Addr, VtepId> = own
        .iter()
        .filter_map(|(addr, ids)| {
            let addr = F::from_ip(*addr)?;
            let holder = old.get(&addr).filter(|holder| ids.contains(holder));
            Some((addr, *holder.or(ids.first())?))
        })
        .collect();
    if *old == new {
        return;
    }
    if old.iter().any(|(addr, id)| new.get(addr) != Some(id)) {
        epochs.route();
    } else {
        epochs.changed();
    }
    F::of_mut(next).nodes_by_addr = Arc::new(new);
}

/// The nodes by the inner addresses of their VXLAN devices; of several that name the same, the
/// last one by name has it.
fn tunnel_devices(cluster: &Cluster, ids: &BTreeMap<Arc<str>, VtepId>) -> BTreeMap<IpAddr, VtepId> {
    let nodes = ids.iter().filter_map(|(name, id)| Some((cluster.node(name)?, *id)));
    nodes.flat_map(|(node, id)| node.tunnel.devices.iter().map(move |addr| (*addr, id))).collect()
}

fn put_devices_of<F: Family>(
    devices: &BTreeMap<IpAddr, VtepId>,
    next: &mut Tables,
    epochs: &mut Epochs,
) {
    let devices = devices.iter().filter_map(|(addr, id)| Some((F::from_ip(*addr)?, *id)));
    let devices: HashMap<F::Addr, VtepId> = devices.collect();
    if *F::of(next).tunnel_devices != devices {
        F::of_mut(next).tunnel_devices = Arc::new(devices);
        epochs.changed();
    }
}
