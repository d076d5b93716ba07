//! What must be true of all tables, and between two versions.

use super::world::{World, config, facts};
use super::*;
use crate::cluster::{AddressKind, Cluster, Service};
use crate::diagnostic::Severity;
use crate::driver::{ServiceLabel, ServiceNames};
use ipnet::IpNet;
use sluice_tables::{BackendSet, Family, Frontend, V6, ZoneId};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that tables say, without the numbers.
pub(super) fn say(compiler: &Compiler, tables: &Tables) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    say_family::<V4>(compiler, tables, &mut said);
    say_family::<V6>(compiler, tables, &mut said);
    for (id, vtep) in (0..).zip(tables.vteps.iter()) {
        let Some(vtep) = vtep else { continue };
        let zone = zone(compiler, tables.zone_of(Some(sluice_tables::VtepId(id))));
        said.insert(format!("{vtep:?} in {zone}"));
    }
    said.insert(format!("the gateway in {}", zone(compiler, tables.zone)));
    said.insert(format!("{:?}", compiler.health_checks()));
    for id in 0..200 {
        let state = tables.backends.get(id);
        if state != BackendState::Gone {
            let key = compiler.backend_of(BackendId(id)).unwrap();
            let port = compiler.port_of(key.service).unwrap();
            said.insert(format!("{port:?} {} {}: {state:?}", key.addr, key.l4_port));
        }
    }
    said.extend(compiler.findings().map(|finding| format!("{finding:?}")));
    said
}

fn zone(compiler: &Compiler, id: ZoneId) -> String {
    let mut zones = compiler.zones.ids.iter();
    zones.find(|(_, other)| **other == id).map_or("-".to_owned(), |(name, _)| name.to_string())
}

fn say_set<F: Family>(compiler: &Compiler, service: ServiceId, set: &BackendSet<F>) -> String {
    let backends = set.backends().iter().map(|b| {
        let key = compiler.backend_of(b.id).unwrap();
        assert_eq!((key.addr, key.l4_port), (F::to_ip(b.addr), b.l4_port));
        assert_eq!(key.service, service);
        (b.addr, b.l4_port, b.weight)
    });
    format!("{:?}", backends.collect::<Vec<_>>())
}

fn say_family<F: Family>(compiler: &Compiler, tables: &Tables, said: &mut BTreeSet<String>) {
    let half = F::of(tables);
    for (key, frontend) in half.frontends.iter() {
        let port = compiler.port_of(frontend.service).unwrap();
        let set = |set| say_set(compiler, frontend.service, set);
        let rules = frontend.rules.as_ref().map(|rules| {
            let locality = &rules.locality;
            let nodes = locality.by_node.iter().map(|(id, of)| {
                let node = tables.vtep(*id).expect("a node with a tunnel").name.to_string();
                (node, set(of))
            });
            let zones = locality.by_zone.iter().map(|(id, of)| (zone(compiler, *id), set(of)));
            let places = (nodes.collect::<BTreeMap<_, _>>(), zones.collect::<BTreeMap<_, _>>());
            (&rules.sources, rules.affinity_ms, rules.balance, locality.node_only, places)
        });
        let backends = set(&frontend.backends);
        said.insert(format!("{key:?} {port:?} {backends} {rules:?}"));
    }
    said.extend(half.vips.iter().map(|vip| format!("{vip:?}")));
    let vtep = |id: sluice_tables::VtepId| tables.vtep(id).unwrap().name.clone();
    for (addr, len, target) in half.all_routes() {
        let target = match target {
            RouteTarget::Tunnel(id) => vtep(id).to_string(),
            other => format!("{other:?}"),
        };
        said.insert(format!("{addr:?}/{len} {target}"));
    }
    for (addr, id) in half.vteps_by_addr.iter() {
        said.insert(format!("vtep {addr:?} {}", vtep(*id)));
        assert_eq!(half.nodes_by_addr.get(addr), Some(id), "a tunnel endpoint is a node's");
    }
    for (addr, id) in half.nodes_by_addr.iter() {
        said.insert(format!("node {addr:?} {}", vtep(*id)));
    }
}

/// Groups of Services that have lost an address that is a VIP still.
pub(super) type Former = BTreeMap<IpAddr, BTreeSet<usize>>;

/// What must have changed between two versions, and whether it has.
pub(super) fn check_epochs(
    compiler: &Compiler,
    old: &Tables,
    new: &Tables,
    former: &mut Former,
    is_reset: bool,
) {
    let mut groups = BTreeSet::new();
    keep_former::<V4>(old, new, former);
    keep_former::<V6>(old, new, former);
    former.retain(|addr, lost| {
        let is_vip = match addr {
            IpAddr::V4(addr) => new.v4.vips.get(&addr.octets()).is_some(),
            IpAddr::V6(addr) => new.v6.vips.get(&addr.octets()).is_some(),
        };
        if !is_vip {
            groups.append(lost);
        }
        is_vip
    });
    groups.extend(tightened::<V4>(old, new));
    groups.extend(tightened::<V6>(old, new));
    groups.extend(removed::<V4>(old, new));
    groups.extend(removed::<V6>(old, new));
    for id in 0..200 {
        let rank = |tables: &Tables| match tables.backends.get(id) {
            BackendState::Gone => 0,
            BackendState::NotReady => 1,
            BackendState::Draining => 2,
            BackendState::Ready => 3,
        };
        if rank(new) < rank(old) {
            let service = compiler.backend_of(BackendId(id)).unwrap().service;
            groups.insert(Tables::service_group(service));
        }
    }
    if has_new_vip::<V4>(old, new) || has_new_vip::<V6>(old, new) {
        groups.insert(SERVICE_EPOCHS);
    }
    for group in 0..=SERVICE_EPOCHS {
        let is_changed = old.service_epochs[group] != new.service_epochs[group];
        assert_eq!(is_changed, groups.contains(&group), "group {group}");
    }
    let is_moved = is_moved::<V4>(old, new) || is_moved::<V6>(old, new);
    let is_node_moved = has_moved_node::<V4>(old, new) || has_moved_node::<V6>(old, new);
    let is_changed = is_moved || is_node_moved || old.vteps != new.vteps || is_reset;
    assert_eq!(old.route_epoch != new.route_epoch, is_changed, "routes");
}

/// Whether there is an address to which packets went, and now go another way,
/// or that has become a pod's.
fn is_moved<F: Family>(old: &Tables, new: &Tables) -> bool {
    let lists: [Vec<(IpNet, RouteTarget<F>)>; 2] = [old, new].map(|tables| {
        let routes = F::of(tables).all_routes();
        routes.map(|(addr, len, to)| (IpNet::new(F::to_ip(addr), len).unwrap(), to)).collect()
    });
    let lookup = |list: &[(IpNet, RouteTarget<F>)], addr: &IpAddr| {
        let to = list.iter().filter(|(net, _)| net.contains(addr));
        let to = to.max_by_key(|(net, _)| net.prefix_len()).map(|(_, to)| *to);
        to.filter(|to| *to != RouteTarget::Blackhole)
    };
    // Both ends of all prefixes, and what is beside them.
    let ends = lists.iter().flatten().flat_map(|(net, _)| [net.network(), net.broadcast()]);
    let beside = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => {
            [1, 0, u32::MAX].map(|by| u32::from(ip).wrapping_add(by).to_be_bytes().into())
        }
        IpAddr::V6(ip) => {
            [1, 0, u128::MAX].map(|by| u128::from(ip).wrapping_add(by).to_be_bytes().into())
        }
    };
    ends.flat_map(beside).any(|addr| {
        let before = lookup(&lists[0], &addr);
        let after = lookup(&lists[1], &addr);
        before != after && (before.is_some() || matches!(after, Some(RouteTarget::Tunnel(_))))
    })
}

/// Whether a node has an address no longer.
fn has_moved_node<F: Family>(old: &Tables, new: &Tables) -> bool {
    let now = &F::of(new).nodes_by_addr;
    F::of(old).nodes_by_addr.iter().any(|(addr, id)| now.get(addr) != Some(id))
}

/// Keeps who has lost which address.
fn keep_former<F: Family>(old: &Tables, new: &Tables, former: &mut Former) {
    for (key, frontend) in F::of(old).frontends.iter() {
        let now = F::of(new).frontends.get(key);
        if now.is_none_or(|now| now.service != frontend.service) {
            let group = Tables::service_group(frontend.service);
            former.entry(F::to_ip(key.addr)).or_default().insert(group);
        }
    }
}

/// Groups of Services that have lost a frontend.
fn removed<F: Family>(old: &Tables, new: &Tables) -> BTreeSet<usize> {
    let gone = F::of(old).frontends.iter().filter(|(key, frontend)| {
        let now = F::of(new).frontends.get(key);
        now.is_none_or(|now| now.service != frontend.service)
    });
    gone.map(|(_, frontend)| Tables::service_group(frontend.service)).collect()
}

/// Groups of Services of which not everybody may be a client any more.
fn tightened<F: Family>(old: &Tables, new: &Tables) -> BTreeSet<usize> {
    let sources = |frontend: &Frontend<F>| frontend.rules.as_ref()?.sources.clone();
    let tight = F::of(new).frontends.iter().filter(|(key, frontend)| {
        let before = F::of(old).frontends.get(key);
        before.is_some_and(|before| {
            before.service == frontend.service
                && sources(frontend).is_some()
                && sources(frontend) != sources(before)
        })
    });
    tight.map(|(_, frontend)| Tables::service_group(frontend.service)).collect()
}

fn has_new_vip<F: Family>(old: &Tables, new: &Tables) -> bool {
    F::of(new).vips.iter().any(|(addr, _)| F::of(old).vips.get(addr).is_none())
}

/// What a new compiler makes of the cluster, if it knows who has what (`old`):
/// who had an address keeps it, and that is all that may be left of the past.
pub(super) fn from_nothing(cluster: &Cluster, old: Option<&Compiler>) -> BTreeSet<String> {
    let mut compiler = Compiler::new(&config(), &facts(), 0).unwrap();
    if let Some(old) = old {
        compiler.taken = old.taken.clone();
        compiler.vips = old.vips.clone();
    }
    let tables =
        compiler.compile(cluster, &cluster.everything(), Duration::ZERO, 0).expect("tables");
    say(&compiler, &tables)
}

/// Whether all that is asked for is given, so that no past matters.
pub(super) fn is_without_conflict(compiler: &Compiler) -> bool {
    let mut findings = compiler.findings();
    compiler.taken.pods.is_empty() && !findings.any(|(_, f)| f.severity == Severity::Error)
}

/// The addresses in the tables are claimed by a Service, and nobody has what is
/// another's.
pub(super) fn check_addresses(world: &World) {
    let tables = world.compiler.tables();
    let v4 = tables.v4.vips.iter().map(|(addr, _)| V4::to_ip(*addr));
    let vips: BTreeSet<_> =
        v4.chain(tables.v6.vips.iter().map(|(addr, _)| V6::to_ip(*addr))).collect();
    assert_eq!(vips, world.compiler.vips);
    for addr in &vips {
        assert!(world.cluster.share(*addr).is_some(), "nobody claims {addr}");
    }
    let half = &tables.v4;
    for (addr, len, target) in half.all_routes() {
        let RouteTarget::Tunnel(_) = target else { continue };
        let net = IpNet::new(V4::to_ip(addr), len).unwrap();
        assert!(!vips.iter().any(|vip| net.contains(vip)), "a VIP in {net}");
        let mut vteps = half.vteps_by_addr.keys();
        assert!(!vteps.any(|vtep| net.contains(&V4::to_ip(*vtep))), "a tunnel endpoint in {net}");
    }
    assert!(!half.vteps_by_addr.keys().any(|vtep| vips.contains(&V4::to_ip(*vtep))));
}

/// Who has what, and by what claim.
pub(super) struct Held {
    taken: Taken,
    services: BTreeMap<Name, Arc<Service>>,
    owners: BTreeMap<(IpAddr, u16, u8), Name>,
}

impl Held {
    pub(super) fn of(world: &World) -> Self {
        let tables = world.compiler.tables();
        let name = |id| world.compiler.port_of(id).unwrap().service.clone();
        let v4 = tables.v4.frontends.iter().map(|(key, frontend)| {
            ((V4::to_ip(key.addr), key.l4_port, key.protocol), name(frontend.service))
        });
        let v6 = tables.v6.frontends.iter().map(|(key, frontend)| {
            ((V6::to_ip(key.addr), key.l4_port, key.protocol), name(frontend.service))
        });
        Held {
            taken: world.compiler.taken.clone(),
            services: world.cluster.services().map(|(n, s)| (n.clone(), s.clone())).collect(),
            owners: v4.chain(v6).collect(),
        }
    }

    /// Who had something and claims it as before has it still, but for ranges
    /// outside of the configured ones.
    pub(super) fn check_kept(&self, world: &World) {
        let new = Held::of(world);
        for (addr, name) in &self.taken.vteps {
            let tunnel = world.cluster.node(name).map(|node| &node.tunnel);
            let tunnel = tunnel.filter(|tunnel| tunnel.macs.over(*addr).is_some());
            if tunnel.is_some_and(|tunnel| tunnel.vteps.iter().any(|(_, vtep)| vtep == addr)) {
                assert_eq!(new.taken.vteps.get(addr), Some(name), "tunnel endpoint {addr}");
            }
        }
        for range in self.taken.ranges().filter(|range| range.is_served) {
            let node = world.cluster.node(&range.node);
            let is_claimed =
                node.is_some_and(|node| node.pod_cidrs.iter().any(|(_, net)| *net == range.net));
            let is_outbid = world.compiler.statics.is_outside_of_pods(&range.net)
                && world.cluster.claims_in(&range.net).next().is_some();
            // A tunnel endpoint that its node moves into it is no pod's.
            let has_vtep = node.is_some_and(|node| {
                node.tunnel.vteps.iter().any(|(_, vtep)| range.net.contains(vtep))
            });
            let is_outbid = is_outbid || has_vtep;
            if is_claimed && !is_outbid && new.taken.vteps.values().any(|node| *node == range.node)
            {
                assert!(new.taken.has_range(&range.net, &range.node), "range {}", range.net);
            }
        }
        for (key, name) in &self.owners {
            let claims = |held: &Held| {
                let service = held.services.get(name)?;
                let has_port =
                    service.ports.iter().any(|p| (p.port, p.protocol.number()) == (key.1, key.2));
                let mut nodes = service.node_ports();
                let is_node_port =
                    nodes.any(|(port, number)| (number, port.protocol.number()) == (key.1, key.2));
                let [v4, v6] = service.families;
                let has_family = if key.0.is_ipv4() { v4 } else { v6 };
                if is_node_port && has_family && world.compiler.statics.node_ports.contains(&key.0)
                {
                    return Some(AddressKind::NodePort);
                }
                let mut vips = service.addresses.iter().filter(|a| has_port && a.addr == key.0);
                vips.next().map(|address| address.kind)
            };
            if claims(self) == claims(&new) {
                assert_eq!(new.owners.get(key), Some(name), "{key:?}");
            }
        }
    }
}

/// The names, kept up to date change by change, are those of the numbers.
pub(super) fn check_names(world: &World, names: &ServiceNames) {
    let mut expected = Vec::new();
    for (id, key) in world.compiler.service_ports() {
        expected.resize(id.0 as usize, None);
        expected.push(Some(ServiceLabel::of(key)));
    }
    assert_eq!(*names.snapshot(), expected);
}
