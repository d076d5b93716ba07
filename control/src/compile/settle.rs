//! Which node has which tunnel address and which range.

use super::local::Statics;
use super::nodes::is_gateway;
use super::taken::{Range, Taken};
use super::vips::InForce;
use crate::cluster::node::Tunnel;
use crate::cluster::{Cluster, Node};
use crate::diagnostic::Finding;
use crate::object::{Key, Kind, Name};
use ipnet::IpNet;
use sluice_config::OverlayMode;
use sluice_tables::{Carriage, Vxlan};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Decides anew what nodes have. Tunnels come before ranges, nodes that can be
/// reached before the others, what is in force before what is new, and then the
/// older node, by name at last. A range outside of the configured ones comes
/// after every Service.
pub(super) struct Settling<'a> {
    cluster: &'a Cluster,
    statics: &'a Statics,
    vips: InForce<'a>,
    /// Nodes, in the order in which they get what is free.
    nodes: Vec<(&'a Arc<str>, &'a Node)>,
    /// What is in force, and still asked for.
    old: Taken,
    pub(super) next: Taken,
    pub(super) findings: Vec<(Key, Finding)>,
    /// Services' addresses for whose sake something is left out.
    pub(super) blocked_by: BTreeMap<IpAddr, Name>,
    /// Pods' addresses, likewise.
    pub(super) blocked_by_pods: BTreeSet<IpAddr>,
}

impl<'a> Settling<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        statics: &'a Statics,
        vips: InForce<'a>,
        old: &Taken,
    ) -> Self {
        let mut nodes: Vec<_> = cluster.nodes().map(|(name, node)| (name, &**node)).collect();
        nodes.sort_by_key(|(name, node)| (node.created.unwrap_or(i64::MAX), *name));
        let mut old = old.clone();
        let wants = |node: &str| {
            cluster.node(node).filter(|n| !is_gateway(node, n, statics)).map(|node| &node.tunnel)
        };
        old.vteps.retain(|addr, node| {
            wants(node).is_some_and(|tunnel| {
                tunnel.vteps.iter().any(|(_, vtep)| vtep == addr)
                    && is_usable(statics, tunnel, *addr)
            })
        });
        old.retain_ranges(|range| {
            let node = cluster.node(&range.node);
            node.is_some_and(|node| node.pod_cidrs.iter().any(|(_, net)| *net == range.net))
        });
        Settling {
            cluster,
            statics,
            vips,
            nodes,
            next: old.without_nodes(),
            old,
            findings: Vec::new(),
            blocked_by: BTreeMap::new(),
            blocked_by_pods: BTreeSet::new(),
        }
    }

    /// Settles tunnel addresses, then ranges.
    pub(super) fn settle(&mut self, vxlan: &Vxlan) {
        for is_held in [true, false] {
            for (name, node) in self.nodes.clone() {
                if !is_gateway(name, node, self.statics) {
                    self.vteps(name, node, vxlan, is_held);
                }
            }
        }
        for (name, node) in self.nodes.clone() {
            if !is_gateway(name, node, self.statics) {
                self.warn_of_no_tunnel(name, node, vxlan);
            }
        }
        let mut claims = Vec::new();
        for &(name, node) in &self.nodes {
            let is_own = self.statics.node_name.as_deref() == Some(name);
            for (path, net) in &node.pod_cidrs {
                let is_served = is_own || self.has_tunnel(name, node, Some(net));
                let is_held = self.old.has_range(net, name);
                claims.push((!is_served, !is_held, name, path, net));
            }
        }
        // The address of a device alone keeps nobody from a whole range.
        let is_host = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
        claims.sort_by_key(|(is_unserved, is_new, .., net)| (*is_unserved, *is_new, is_host(net)));
        for (is_unserved, is_new, name, path, net) in claims {
            self.range(name, path, *net, !is_unserved, !is_new);
        }
    }

    fn find(&mut self, node: &Arc<str>, finding: Finding) {
        let key = Key { kind: Kind::Node, namespace: "".into(), name: node.clone() };
        self.findings.push((key, finding));
    }

    fn vteps(&mut self, name: &Arc<str>, node: &Node, vxlan: &Vxlan, is_held: bool) {
        for (path, addr) in &node.tunnel.vteps {
            if !is_used(vxlan, *addr) || (self.old.vteps.get(addr) == Some(name)) != is_held {
                continue;
            }
            // A node that cannot be reached takes nothing from those that can.
            let is_usable = is_usable(self.statics, &node.tunnel, *addr);
            let refusal = self.misplaced_vtep(*addr);
            let refusal = match refusal {
                None if is_usable => self.taken_vtep(*addr, is_held),
                refusal => refusal,
            };
            match refusal {
                Some(message) => {
                    let finding = Finding::error(path, message);
                    self.find(name, finding.expected("an address of the node's own"));
                }
                None if is_usable => drop(self.next.vteps.insert(*addr, name.clone())),
                None => {}
            }
        }
    }

    /// Why an address can be no node's tunnel endpoint.
    fn misplaced_vtep(&self, addr: IpAddr) -> Option<String> {
        if let Some(what) = self.statics.reserved(addr) {
            let gateway = self.statics.node_name.iter();
            let gateway = gateway.filter(|_| self.statics.own(addr).is_some());
            let gateway: String = gateway.map(|name| format!(", which is node {name}")).collect();
            return Some(format!("{addr} is {what}{gateway}; the tunnel is left out"));
        }
        if !self.statics.is_reached(addr) {
            return Some(format!("no subnet of a port and none of `routes` leads to {addr}"));
        }
        None
    }

    /// Who has a tunnel endpoint's address already.
    fn taken_vtep(&mut self, addr: IpAddr, is_held: bool) -> Option<String> {
        if let Some(other) = self.next.vteps.get(&addr) {
            return Some(format!("node {other} has the tunnel address {addr} already"));
        }
        if is_held {
            return None;
        }
        if let Some(range) = self.old.range_of(addr).filter(|range| range.is_served) {
            return Some(format!("{addr} is in {} of node {}", range.net, range.node));
        }
        if let Some(stray) = self.old.pods.get(&addr) {
            self.blocked_by_pods.insert(addr);
            return Some(format!("{addr} is the address of pod {}", stray.pod));
        }
        let service = self.vips.holder(addr)?;
        self.blocked_by.insert(addr, service.clone());
        Some(format!("{addr} is an address of Service {service}"))
    }

    /// Whether a node has a tunnel that carries packets to `net`, or any.
    fn has_tunnel(&self, name: &Arc<str>, node: &Node, net: Option<&IpNet>) -> bool {
        let is_of_family = |addr: &IpAddr| match (net, self.statics.vxlan()) {
            (Some(net), Some(vxlan)) if vxlan.carriage == Carriage::SameFamily => {
                net.addr().is_ipv4() == addr.is_ipv4()
            }
            _ => true,
        };
        let mut held = node.tunnel.vteps.iter().map(|(_, addr)| addr);
        held.any(|addr| self.next.vteps.get(addr) == Some(name) && is_of_family(addr))
    }

    fn warn_of_no_tunnel(&mut self, name: &Arc<str>, node: &Node, vxlan: &Vxlan) {
        let tunnel = &node.tunnel;
        if tunnel.is_told {
            return;
        }
        let mut others = tunnel.vnis.iter().filter(|(_, vni)| *vni != vxlan.vni);
        if let Some((path, vni)) = others.next() {
            let message = format!("network {vni} is another one; the node's pods are unreachable");
            let expected = format!("{}, which is `overlay.vxlan.vni`", vxlan.vni);
            self.find(name, Finding::error(path, message).expected(expected));
            return;
        }
        let used = || tunnel.vteps.iter().filter(|(_, addr)| is_used(vxlan, *addr));
        let mut lacking = used().filter(|(_, addr)| tunnel.macs.over(*addr).is_none());
        let lacks_mac = lacking.any(|(_, addr)| self.misplaced_vtep(*addr).is_none());
        let has_any = self.has_tunnel(name, node, None);
        if !has_any && lacks_mac {
            let message = "has no tunnel MAC; its pods are unreachable";
            let expected = match self.statics.mode {
                OverlayMode::Plain => {
                    "annotation `sluice.dev/vtep-mac`, or flannel's `backend-data`"
                }
                OverlayMode::Flannel => "flannel's `backend-data` or `backend-v6-data`",
                OverlayMode::Calico => "Calico's `VXLANTunnelMACAddr`, or none of it",
            };
            self.find(name, Finding::warning("metadata.annotations", message).expected(expected));
        } else if has_any {
            let cidrs = node.pod_cidrs.iter();
            let unserved = cidrs.filter(|(_, net)| !self.has_tunnel(name, node, Some(net)));
            let unserved: Vec<_> = unserved.cloned().collect();
            for (path, net) in unserved {
                let family = if net.addr().is_ipv4() { "IPv4" } else { "IPv6" };
                let message =
                    format!("the node has no tunnel over {family}; pods in {net} are unreachable");
                self.find(
                    name,
                    Finding::warning(path, message).expected(source(self.statics.mode)),
                );
            }
        } else {
            let families = match (vxlan.v4.is_some(), vxlan.v6.is_some()) {
                (true, true) => "IPv4 or IPv6",
                (true, false) => "IPv4",
                _ => "IPv6",
            };
            let message = "has no usable tunnel address; its pods are unreachable";
            let expected = format!("an {families} address: {}", source(self.statics.mode));
            self.find(name, Finding::warning("metadata.annotations", message).expected(expected));
        }
    }

    fn range(&mut self, name: &Arc<str>, path: &str, net: IpNet, is_served: bool, is_held: bool) {
        if let Some(reason) = self.refuse_range(&net, is_held) {
            let finding = Finding::error(path, format!("{net} {reason}; it is left out"));
            self.find(name, finding.expected("a range of the node's pods only"));
            return;
        }
        let is_gateway =
            self.cluster.node(name).is_some_and(|node| is_gateway(name, node, self.statics));
        let mut pool = self.statics.snat_addresses();
        if let Some(own) = pool.find(|own| !is_gateway && net.contains(own)) {
            let message = format!(
                "{net} contains {own} of the gateway's SNAT pool; the node does not send replies \
                 to it back"
            );
            self.find(name, Finding::warning(path, message).expected("a range without it"));
        }
        if self.statics.is_outside_of_pods(&net) {
            let message = format!("{net} is outside of the pod ranges of the configuration");
            let expected = "a range inside `cluster.pod_cidrs`";
            self.find(name, Finding::warning(path, message).expected(expected));
        }
        self.next.add_range(Range { net, node: name.clone(), is_served });
    }

    /// Why a range cannot be a node's: what it does.
    fn refuse_range(&mut self, net: &IpNet, is_held: bool) -> Option<String> {
        if let Some(reason) = self.statics.reserved_in(net) {
            return Some(reason);
        }
        if let Some((addr, node)) = self.next.vtep_in(net) {
            return Some(format!("contains {addr}, the tunnel address of node {node}"));
        }
        if let Some(other) = self.next.overlap(net) {
            return Some(format!("overlaps {} of node {}", other.net, other.node));
        }
        let (addr, service) = if self.statics.is_outside_of_pods(net) {
            // The configuration says that no pods are there: no mistake in a
            // node takes a Service down, whatever was first.
            self.vips.first_claim_in(net)?
        } else if is_held {
            return None;
        } else {
            self.vips.first_in(net)?
        };
        self.blocked_by.insert(addr, service.clone());
        Some(format!("contains {addr}, an address of Service {service}"))
    }
}

/// Where nodes' tunnel addresses are read.
fn source(mode: OverlayMode) -> &'static str {
    match mode {
        OverlayMode::Plain => {
            "annotation `sluice.dev/vtep-address`, flannel's `public-ip`, or an InternalIP"
        }
        OverlayMode::Flannel => {
            "flannel's annotations `public-ip` and `backend-data`, for IPv6 `public-ipv6` and \
             `backend-v6-data`"
        }
        OverlayMode::Calico => {
            "Calico's annotations `IPv4Address` and `IPv4VXLANTunnelAddr`, for IPv6 `IPv6Address` \
             and `IPv6VXLANTunnelAddr`"
        }
    }
}

/// Whether packets can be sent to an address: it is known to which MAC, and the network is ours.
fn is_usable(statics: &Statics, tunnel: &Tunnel, addr: IpAddr) -> bool {
    let vni = statics.vxlan().map(|vxlan| vxlan.vni);
    tunnel.macs.over(addr).is_some() && tunnel.vnis.iter().all(|(_, other)| Some(*other) == vni)
}

/// Whether the overlay goes over an address's family.
fn is_used(vxlan: &Vxlan, addr: IpAddr) -> bool {
    if addr.is_ipv4() { vxlan.v4.is_some() } else { vxlan.v6.is_some() }
}
