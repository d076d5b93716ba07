//! Nodes: tunnel endpoints, and the routes to their pods.

use super::epochs::Epochs;
use super::ids::Moment;
use super::local::{StaticHalf, Statics};
use super::{Compiler, Subject};
use crate::cluster::{Changes, Cluster, Node, Pod};
use crate::diagnostic::Finding;
use crate::object::{Key, Kind, Name};
use hashbrown::HashMap;
use ipnet::IpNet;
use sluice_tables::{Family, RouteTarget, Routes, Tables, V4, V6, Vtep, VtepId, Vxlan};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of nodes and their pods.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// The tunnel endpoints in the tables, by node.
    vteps: BTreeMap<Arc<str>, VtepId>,
    /// Pods whose addresses are outside of their node's ranges.
    strays: BTreeMap<Name, Vec<Stray>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stray {
    addr: IpAddr,
    node: Arc<str>,
}

impl Nodes {
    pub(super) fn vtep_of(&self, node: &str) -> Option<VtepId> {
        self.vteps.get(node).copied()
    }
}

/// Ranges and where they lead; `None`: nowhere.
type Ranges = Vec<(IpNet, Option<VtepId>)>;

impl Compiler {
    pub(super) fn compile_nodes(
        &mut self,
        cluster: &Cluster,
        changes: &Changes,
        next: &mut Tables,
        epochs: &mut Epochs,
        at: Moment,
    ) {
        let strays_changed = self.find_strays(cluster, changes);
        if !changes.nodes && !strays_changed {
            return;
        }
        let mut findings = Vec::new();
        let vteps = self.statics.vxlan().map_or_else(BTreeMap::new, |vxlan| {
            usable_vteps(cluster, &self.statics, vxlan, &mut findings)
        });
        let gone: Vec<_> =
            self.nodes.vteps.keys().filter(|node| !vteps.contains_key(*node)).cloned().collect();
        for node in gone {
            if let Some(id) = self.nodes.vteps.remove(&node) {
                self.vtep_ids.free(id.0, at);
            }
        }
        for node in vteps.keys() {
            let id = VtepId(self.vtep_ids.give(node, at));
            self.nodes.vteps.insert(node.clone(), id);
        }
        put_vteps(&vteps, &self.nodes.vteps, next, epochs);
        let ranges = self.ranges(cluster, &mut findings);
        put_routes::<V4>(self.statics.v4(), &ranges, next, epochs);
        put_routes::<V6>(self.statics.v6(), &ranges, next, epochs);
        self.findings.set(Subject::Nodes, findings);
    }

    /// Looks for pods outside of their node's ranges; true if they are others
    /// than before.
    fn find_strays(&mut self, cluster: &Cluster, changes: &Changes) -> bool {
        let all: Vec<&Name> = if changes.nodes {
            let strays = self.nodes.strays.keys().filter(|name| cluster.pod(name).is_none());
            cluster.pods().map(|(name, _)| name).chain(strays).collect()
        } else {
            changes.pods.iter().collect()
        };
        let mut found = Vec::new();
        for name in all {
            let mut findings = Vec::new();
            let pod = cluster.pod(name).filter(|_| self.statics.vxlan().is_some());
            let strays =
                pod.map_or_else(Vec::new, |pod| self.strays_of(cluster, name, pod, &mut findings));
            found.push((name.clone(), strays, findings));
        }
        let mut is_changed = false;
        for (name, strays, findings) in found {
            let old = self.nodes.strays.get(&name).map(Vec::as_slice).unwrap_or_default();
            is_changed |= old != strays;
            if strays.is_empty() {
                self.nodes.strays.remove(&name);
            } else {
                self.nodes.strays.insert(name.clone(), strays);
            }
            self.findings.set(Subject::Pod(name), findings);
        }
        is_changed
    }

    fn strays_of(
        &self,
        cluster: &Cluster,
        name: &Name,
        pod: &Pod,
        findings: &mut Vec<(Key, Finding)>,
    ) -> Vec<Stray> {
        // Addresses of the host network are on the underlay.
        let Some(node_name) = pod.node.as_ref().filter(|_| !pod.is_host_network) else {
            return Vec::new();
        };
        let Some(node) = cluster.node(node_name) else { return Vec::new() };
        if is_gateway(node_name, node, &self.statics) {
            return Vec::new();
        }
        let mut strays = Vec::new();
        for &(index, addr) in &pod.ips {
            if node.has_pod(addr) || self.statics.own(addr).is_some() {
                continue;
            }
            let message = format!(
                "{addr} is outside of the ranges of node {node_name}; it gets a route of its own"
            );
            let ranges: Vec<_> = node.pod_cidrs.iter().map(|(_, cidr)| cidr.to_string()).collect();
            let expected = match ranges.join(" or ") {
                ranges if ranges.is_empty() => format!("podCIDRs of node {node_name}"),
                ranges => format!("an address in {ranges}"),
            };
            let finding = Finding::warning(Pod::ip_path(index), message).expected(expected);
            findings.push((name.key(Kind::Pod), finding));
            strays.push(Stray { addr, node: node_name.clone() });
        }
        strays
    }

    /// The ranges of all nodes, without overlaps, and the stray pods.
    fn ranges(&self, cluster: &Cluster, findings: &mut Vec<(Key, Finding)>) -> Ranges {
        if self.statics.vxlan().is_none() {
            return Vec::new();
        }
        let mut ranges = Ranges::new();
        let mut taken = Taken::default();
        for (name, node) in cluster.nodes() {
            let key = Key { kind: Kind::Node, namespace: "".into(), name: name.clone() };
            let is_gateway = is_gateway(name, node, &self.statics);
            for (path, cidr) in &node.pod_cidrs {
                let mut findings_of_range = Vec::new();
                let good = self.check_range(path, *cidr, is_gateway, &mut findings_of_range)
                    && taken.take(*cidr, name, path, &mut findings_of_range);
                findings.extend(findings_of_range.into_iter().map(|f| (key.clone(), f)));
                if good {
                    ranges.push((*cidr, self.nodes.vtep_of(name)));
                }
            }
        }
        let mut strays = BTreeMap::new();
        for stray in self.nodes.strays.values().flatten() {
            if let Some(vtep) = self.nodes.vtep_of(&stray.node) {
                strays.entry(stray.addr).or_insert(vtep);
            }
        }
        ranges.extend(strays.into_iter().map(|(addr, vtep)| (IpNet::from(addr), Some(vtep))));
        ranges
    }

    fn check_range(
        &self,
        path: &str,
        cidr: IpNet,
        is_gateway: bool,
        findings: &mut Vec<Finding>,
    ) -> bool {
        if let Some(own) = self.statics.port_addresses().filter(|own| cidr.contains(own)).min() {
            let message =
                format!("{cidr} contains the gateway's own address {own}; it is left out");
            let expected = "a range of pod addresses only";
            findings.push(Finding::error(path, message).expected(expected));
            return false;
        }
        if let Some(own) =
            self.statics.snat_addresses().find(|own| !is_gateway && cidr.contains(own))
        {
            let message = format!(
                "{cidr} contains {own} of the gateway's SNAT pool; the node does not send replies \
                 to it back"
            );
            findings.push(Finding::warning(path, message).expected("a range without it"));
        }
        let configured = &self.statics.pod_cidrs;
        let same_family = |net: &&IpNet| net.addr().is_ipv4() == cidr.addr().is_ipv4();
        if configured.iter().any(|net| same_family(&net))
            && !configured.iter().any(|net| net.contains(&cidr))
        {
            let message = format!("{cidr} is outside of the pod ranges of the configuration");
            let expected = "a range inside `cluster.pod_cidrs`";
            findings.push(Finding::warning(path, message).expected(expected));
        }
        true
    }
}

/// Ranges that have a node already. They do not overlap.
#[derive(Default)]
struct Taken {
    by_start: BTreeMap<IpAddr, (IpNet, Arc<str>)>,
}

impl Taken {
    fn take(
        &mut self,
        cidr: IpNet,
        node: &Arc<str>,
        path: &str,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let before = self.by_start.range(..=cidr.network()).next_back();
        let inside = self.by_start.range(cidr.network()..=cidr.broadcast()).next();
        let other = before.filter(|(_, (net, _))| net.contains(&cidr)).or(inside);
        if let Some((_, (net, other))) = other {
            let message = format!("{cidr} overlaps {net} of node {other}; it is left out");
            findings.push(Finding::error(path, message).expected("ranges that do not overlap"));
            return false;
        }
        self.by_start.insert(cidr.network(), (cidr, node.clone()));
        true
    }
}

/// The gateway may be a node of the cluster: the one of its name, or one that
/// has its addresses.
fn is_gateway(name: &str, node: &Node, statics: &Statics) -> bool {
    if statics.node_name.as_deref() == Some(name) {
        return true;
    }
    let v4 = node.vtep_v4.map(IpAddr::V4);
    let vteps = v4.into_iter().chain(node.vtep_v6.map(IpAddr::V6));
    vteps.chain(node.addresses.iter().copied()).any(|addr| statics.own(addr).is_some())
}

/// The tunnel endpoints that can be used, by node.
fn usable_vteps(
    cluster: &Cluster,
    statics: &Statics,
    vxlan: &Vxlan,
    findings: &mut Vec<(Key, Finding)>,
) -> BTreeMap<Arc<str>, Vtep> {
    let mut vteps = BTreeMap::new();
    let mut taken: BTreeMap<IpAddr, Arc<str>> = BTreeMap::new();
    for (name, node) in cluster.nodes().filter(|(name, node)| !is_gateway(name, node, statics)) {
        let mut find = |finding| {
            let key = Key { kind: Kind::Node, namespace: "".into(), name: name.clone() };
            findings.push((key, finding));
        };
        let mut free = |addr: IpAddr| match taken.get(&addr) {
            Some(other) => {
                let message = format!("node {other} has the tunnel address {addr} already");
                let path = "metadata.annotations.sluice.dev/vtep-address";
                find(Finding::error(path, message).expected("an address of its own"));
                false
            }
            None => {
                taken.insert(addr, name.clone());
                true
            }
        };
        let v4 = node.vtep_v4.filter(|_| vxlan.v4.is_some()).filter(|ip| free((*ip).into()));
        let v6 = node.vtep_v6.filter(|_| vxlan.v6.is_some()).filter(|ip| free((*ip).into()));
        if v4.is_none() && v6.is_none() {
            let families = match (vxlan.v4.is_some(), vxlan.v6.is_some()) {
                (true, true) => "IPv4 or IPv6",
                (true, false) => "IPv4",
                _ => "IPv6",
            };
            let message = "has no usable tunnel address; its pods are unreachable";
            let expected = format!(
                "an {families} address: annotation `sluice.dev/vtep-address`, flannel's \
                 `public-ip`, or an InternalIP"
            );
            find(Finding::warning("metadata.annotations", message).expected(expected));
            continue;
        }
        let Some(mac) = node.vtep_mac else {
            let message = "has no tunnel MAC; its pods are unreachable";
            let expected = "annotation `sluice.dev/vtep-mac`, or flannel's `backend-data`";
            find(Finding::warning("metadata.annotations", message).expected(expected));
            continue;
        };
        let (v4, v6) = (v4.map(|ip| ip.octets()), v6.map(|ip| ip.octets()));
        vteps.insert(name.clone(), Vtep { name: name.clone(), v4, v6, mac });
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

/// Of equal prefixes the last one counts: what is configured comes last.
fn put_routes<F: Family>(
    statics: &StaticHalf<F>,
    ranges: &Ranges,
    next: &mut Tables,
    epochs: &mut Epochs,
) {
    let nobody = statics.blackholes.iter().map(|&(addr, len)| (addr, len, RouteTarget::Blackhole));
    let pods = ranges.iter().filter_map(|(net, vtep)| {
        let target = vtep.map_or(RouteTarget::Blackhole, RouteTarget::Tunnel);
        Some((F::from_ip(net.network())?, net.prefix_len(), target))
    });
    let list: Vec<_> = nobody.chain(pods).chain(statics.routes.iter().copied()).collect();
    let tables = F::of_mut(next);
    if !tables.routes.iter().eq(list.iter()) {
        tables.routes = Arc::new(Routes::build(list));
        epochs.route();
    }
}
