//! The routes to nodes' ranges and to pods.

use crate::compile::Compiler;
use crate::compile::epochs::Epochs;
use crate::compile::local::StaticHalf;
use ipnet::IpNet;
use sluice_tables::{Family, FamilyTables, RouteTarget, Routes, Tables, V4, V6, VtepId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Ranges and where they lead; `None`: nowhere.
type Ranges = Vec<(IpNet, Option<VtepId>)>;

/// Single addresses; `None`: without a route of their own.
type Hosts = Vec<(IpAddr, Option<Option<VtepId>>)>;

impl Compiler {
    /// Makes the routes: of ranges and pods, or of these pods' addresses alone.
    pub(super) fn put_routes(
        &self,
        pods: Option<&BTreeSet<IpAddr>>,
        rerouted: &mut BTreeSet<IpAddr>,
        next: &mut Tables,
        epochs: &mut Epochs,
    ) {
        let ranges = pods.is_none().then(|| -> Ranges {
            let ranges = self.taken.ranges().map(|range| {
                let vtep = self.nodes.vtep_of(&range.node).filter(|_| range.is_served);
                (range.net, vtep)
            });
            ranges.collect()
        });
        let mut addresses: BTreeSet<IpAddr> = pods.cloned().unwrap_or_default();
        if ranges.is_some() {
            addresses.extend(self.taken.pods.keys());
            addresses.extend(next.v4.hosts.iter().map(|(addr, _)| V4::to_ip(*addr)));
            addresses.extend(next.v6.hosts.iter().map(|(addr, _)| V6::to_ip(*addr)));
        }
        let way = |addr: &IpAddr| {
            let pod = self.taken.pods.get(addr);
            (*addr, pod.map(|pod| self.nodes.vtep_of(&pod.node)))
        };
        let hosts: Hosts = addresses.iter().map(way).collect();
        let ranges = ranges.as_ref();
        put_routes_of::<V4>(self.statics.v4(), ranges, &hosts, rerouted, next, epochs);
        put_routes_of::<V6>(self.statics.v6(), ranges, &hosts, rerouted, next, epochs);
    }
}

/// Of equal prefixes the last one counts: what is configured comes last.
fn put_routes_of<F: Family>(
    statics: &StaticHalf<F>,
    ranges: Option<&Ranges>,
    hosts: &Hosts,
    rerouted: &mut BTreeSet<IpAddr>,
    next: &mut Tables,
    epochs: &mut Epochs,
) {
    let old = F::of(next).clone();
    let tables = F::of_mut(next);
    let to = |vtep: Option<VtepId>| vtep.map_or(RouteTarget::Blackhole, RouteTarget::Tunnel);
    let mut is_new = false;
    if let Some(ranges) = ranges {
        let nobody = statics.blackholes.iter();
        let nobody = nobody.map(|&(addr, len)| (addr, len, RouteTarget::Blackhole));
        let pods = ranges.iter().filter_map(|(net, vtep)| {
            Some((F::from_ip(net.network())?, net.prefix_len(), to(*vtep)))
        });
        let list: Vec<_> = nobody.chain(pods).chain(statics.routes.iter().copied()).collect();
        if !tables.routes.iter().eq(list.iter()) {
            tables.routes = Arc::new(Routes::build(list));
            is_new = true;
        }
    }
    let host_len = (size_of::<F::Addr>() * 8) as u8;
    for (ip, way) in hosts {
        let Some(addr) = F::from_ip(*ip) else { continue };
        let mut configured = statics.routes.iter();
        let is_configured = configured.any(|(to, len, _)| *to == addr && *len == host_len);
        let target = way.filter(|_| !is_configured).map(to);
        if tables.hosts.get(&addr).copied() == target {
            continue;
        }
        match target {
            Some(target) => drop(tables.hosts.insert(addr, target)),
            None => drop(tables.hosts.remove(&addr)),
        }
        rerouted.insert(*ip);
        is_new = true;
    }
    if !is_new {
        return;
    }
    let is_moved = match ranges {
        None => is_moved(&old, tables, hosts.iter().map(|(addr, _)| *addr)),
        Some(_) => is_moved(&old, tables, bounds(&old).chain(bounds(tables))),
    };
    if is_moved {
        epochs.route();
    } else {
        epochs.changed();
    }
}

/// Whether packets go another way than before. Where nothing went, no flow has
/// to look again: none was made, and what is dropped is not remembered. Unless
/// the address is a pod's now: whoever spoke from it until then is no pod.
fn is_moved<F: Family>(
    old: &FamilyTables<F>,
    new: &FamilyTables<F>,
    mut addresses: impl Iterator<Item = IpAddr>,
) -> bool {
    addresses.any(|addr| {
        let Some(addr) = F::from_ip(addr) else { return false };
        match old.route(&addr) {
            None | Some(RouteTarget::Blackhole) => {
                matches!(new.route(&addr), Some(RouteTarget::Tunnel(_)))
            }
            before => before != new.route(&addr),
        }
    })
}

/// The addresses at which routes may change: where each prefix begins, and
/// what follows on it.
fn bounds<F: Family>(tables: &FamilyTables<F>) -> impl Iterator<Item = IpAddr> {
    let nets = tables.all_routes();
    let nets = nets.filter_map(|(addr, len, _)| IpNet::new(F::to_ip(addr), len).ok());
    nets.flat_map(|net| {
        let after = match net.broadcast() {
            IpAddr::V4(last) => u32::from(last).checked_add(1).map(|ip| IpAddr::V4(ip.into())),
            IpAddr::V6(last) => u128::from(last).checked_add(1).map(|ip| IpAddr::V6(ip.into())),
        };
        [Some(net.network()), after].into_iter().flatten()
    })
}
