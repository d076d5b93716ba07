//! From the [`World`] to the subject's tables, by hand.

use super::parse::Tuple;
use super::world::{self, Backend, Health, Own, Rules, Target, World, ZONES, home, octets};
use sluice_tables::policy::Verdict;
use sluice_tables::{
    BackendId, BackendRef, BackendSet, BackendState, Balance, Carriage, Family, FamilyTables,
    Frontend, FrontendKey, FrontendRules, Local, LocalAddress, Locality, NatMode, OwnerMap, PortId,
    PortLocal, RouteTarget, Routes, ServiceId, SnatPool, SourceRanges, Tables, V4, V6, Vip, Vtep,
    VtepId, Vxlan, ZoneId, hash,
};
use sluice_testkit::gateway::policy::{self, Direction, Places, Policies, Policy, Rule};
use sluice_testkit::gateway::topology::Prefix;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Tables that say what the world says.
pub fn compile(world: &World) -> Arc<Tables> {
    let mut tables = Tables::empty(world.workers);
    tables.version = world.version;
    tables.has_policies = !world.policies.is_empty();
    tables.policy_epoch = world.policy_epoch;
    tables.policy_epochs = Box::new(world.policy_epochs);
    tables.route_epoch = world.route_epoch;
    tables.service_epochs = Box::new(world.service_epochs);
    tables.owners = owners(world);
    tables.local = Arc::new(local(world));
    let vteps = world.nodes.iter().map(|node| {
        node.present.then(|| Vtep {
            name: "node".into(),
            v4: node.v4.and_then(V4::from_ip),
            v6: node.v6.and_then(V6::from_ip),
            mac_v4: node.mac,
            mac_v6: node.mac,
        })
    });
    tables.vteps = Arc::new(vteps.collect());
    // Nodes beyond the end have no zone.
    let zoned = world.nodes.iter().rposition(|node| node.zone != 0).map_or(0, |last| last + 1);
    tables.zones = Arc::new(world.nodes[..zoned].iter().map(|node| zone(node.zone)).collect());
    tables.zone = zone(world.zone);
    for (id, health) in world.health.iter().enumerate() {
        let state = match health {
            Health::Gone => BackendState::Gone,
            Health::NotReady => BackendState::NotReady,
            Health::Draining => BackendState::Draining,
            Health::Ready => BackendState::Ready,
        };
        tables.backends.set(id as u32, state);
    }
    tables.v4 = family_tables::<V4>(world);
    tables.v6 = family_tables::<V6>(world);
    policy::compile(&policies(world), world, &mut tables);
    Arc::new(tables)
}

impl Places for World {
    fn nodes(&self) -> Vec<(IpAddr, u32)> {
        let present = self.nodes.iter().zip(0..).filter(|(node, _)| node.present);
        let own = present.map(|(node, id)| (node.v4.into_iter().chain(node.v6), id));
        own.flat_map(|(own, id)| own.map(move |address| (address, id))).collect()
    }

    fn node_of(&self, pod: IpAddr) -> Option<u32> {
        home(&pod).map(|node| node as u32)
    }

    fn first_rule(&self, (pod, direction): &(IpAddr, Direction)) -> Option<u32> {
        Some(super::policy::first_rule(pod, *direction == Direction::Egress))
    }
}

/// The policies, as cases have them.
fn policies(world: &World) -> Policies {
    let verdict = |verdict| match verdict {
        super::policy::Verdict::Allow => Verdict::Allow,
        super::policy::Verdict::Audit => Verdict::Audit,
        super::policy::Verdict::Deny => Verdict::Deny,
    };
    let all = world.policies.iter().map(|((pod, egress), policy)| {
        let direction = if *egress { Direction::Egress } else { Direction::Ingress };
        let rules = policy.rules.iter().map(|rule| Rule {
            verdict: verdict(rule.verdict),
            peer: rule.peer.map(|(addr, len)| Prefix { addr, len }),
            ports: rule.ports.clone(),
        });
        let otherwise = verdict(policy.otherwise);
        ((*pod, direction), Policy { rules: rules.collect(), otherwise })
    });
    all.collect()
}

fn local(world: &World) -> Local {
    fn addresses<F: Family>(list: &[(IpAddr, u8)]) -> Vec<(F::Addr, u8)> {
        list.iter().filter_map(|(ip, len)| Some((F::from_ip(*ip)?, *len))).collect()
    }
    let ports = world.interfaces.iter().enumerate().map(|(id, interface)| PortLocal {
        id: PortId(id as u8),
        name: format!("p{id}"),
        mac: interface.mac,
        mtu: interface.mtu,
        vlan: interface.vlan,
        announce_vips: interface.announce,
        v4: addresses::<V4>(&interface.addresses),
        v6: addresses::<V6>(&interface.addresses),
    });
    let overlay = &world.overlay;
    Local {
        ports: ports.collect(),
        vxlan: Some(Vxlan {
            port: PortId(1),
            vni: overlay.vni,
            udp_port: overlay.udp_port,
            mac: overlay.mac,
            mtu: overlay.mtu,
            carriage: Carriage::Any,
            v4: overlay.v4.and_then(V4::from_ip),
            v6: overlay.v6.and_then(V6::from_ip),
        }),
    }
}

fn family_tables<F: Family>(world: &World) -> FamilyTables<F> {
    let mut tables = FamilyTables::<F>::default();
    for (address, announce) in &world.vips {
        if let Some(address) = F::from_ip(*address) {
            tables.vips.insert(address, Vip { announce: *announce });
        }
    }
    for ((vip, port, protocol), frontend) in &world.frontends {
        let Some(addr) = F::from_ip(*vip) else { continue };
        let rotation = world.rotation(frontend);
        let rules = rules(world, &frontend.rules, &rotation);
        let frontend = Frontend {
            service: ServiceId(frontend.service),
            backends: set(&rotation),
            rules: rules.map(Arc::new),
        };
        let key = FrontendKey { addr, l4_port: *port, protocol: *protocol };
        tables.frontends.insert(key, frontend);
    }
    let own = world.own.iter().filter_map(|(address, own)| {
        let own = match own {
            Own::Port(port) => LocalAddress::Port(PortId(*port)),
            Own::Snat => LocalAddress::Snat,
            Own::Kernel(port) => LocalAddress::Kernel(PortId(*port)),
        };
        Some((F::from_ip(*address)?, own))
    });
    tables.local = Arc::new(own.collect());
    let routes = world.routes.iter().filter_map(|(prefix, len, target)| {
        let target = match target {
            Target::Connected(port) => RouteTarget::Connected(PortId(*port)),
            Target::Via(port, hop) => RouteTarget::Via(PortId(*port), F::from_ip(*hop)?),
            Target::Tunnel(node) => RouteTarget::Tunnel(VtepId(*node as u32)),
            Target::Blackhole => RouteTarget::Blackhole,
        };
        Some((F::from_ip(*prefix)?, *len, target))
    });
    tables.routes = Arc::new(Routes::build(routes.collect()));
    let pool = &world.pools[usize::from(!F::IS_V4)];
    tables.snat = Arc::new(SnatPool {
        mode: if pool.preserve { NatMode::Preserve } else { NatMode::Snat },
        addresses: pool.addresses.iter().copied().filter_map(F::from_ip).collect(),
        port_min: pool.port_min,
        port_max: pool.port_max,
    });
    let underlay = world.nodes.iter().enumerate().filter(|(_, node)| node.present);
    let by_addr = underlay.filter_map(|(id, node)| {
        let address = if F::IS_V4 { node.v4 } else { node.v6 };
        Some((F::from_ip(address?)?, VtepId(id as u32)))
    });
    tables.vteps_by_addr = Arc::new(by_addr.collect());
    tables.nodes_by_addr = tables.vteps_by_addr.clone();
    tables
}

thread_local! {
    /// Sets that were made, by their endpoints: some of them cost a table.
    static SETS: RefCell<HashMap<Vec<Backend>, Rc<dyn Any>>> = RefCell::default();
}

fn set<F: Family>(backends: &[Backend]) -> Arc<BackendSet<F>> {
    SETS.with_borrow_mut(|sets| {
        if sets.len() > 200 {
            sets.clear();
        }
        let made = sets.entry(backends.to_vec()).or_insert_with(|| Rc::new(new_set::<F>(backends)));
        let made = made.downcast_ref::<Arc<BackendSet<F>>>().cloned();
        // Of the other family if it is empty.
        made.unwrap_or_else(|| new_set(backends))
    })
}

fn new_set<F: Family>(backends: &[Backend]) -> Arc<BackendSet<F>> {
    let refs = backends.iter().filter_map(|backend| {
        let Backend { id, address, port: l4_port, weight } = *backend;
        Some(BackendRef { id: BackendId(id), addr: F::from_ip(address)?, l4_port, weight })
    });
    Arc::new(BackendSet::new(refs.collect()))
}

fn zone(zone: u16) -> ZoneId {
    if zone == 0 { ZoneId::NONE } else { ZoneId(zone) }
}

/// What a port asks for, if it is anything.
fn rules<F: Family>(world: &World, rules: &Rules, all: &[Backend]) -> Option<FrontendRules<F>> {
    let Rules { sources, affinity_ms, balance, locality } = rules;
    let any = sources.is_some() || rules.vary() || *locality != world::Locality::default();
    let ranges = |prefixes: &Vec<(IpAddr, u8)>| {
        let of_family = prefixes.iter().filter_map(|(ip, len)| Some((F::from_ip(*ip)?, *len)));
        Arc::new(SourceRanges::new(of_family))
    };
    let filled = |near: Vec<Backend>| (!near.is_empty()).then(|| set(&near));
    let nodes = (0..world.nodes.len()).filter(|_| locality.by_node);
    let zones = (1..=ZONES).filter(|_| locality.by_zone);
    any.then(|| FrontendRules {
        sources: sources.as_ref().map(ranges),
        affinity_ms: *affinity_ms,
        balance: match balance {
            world::Balance::Consistent => Balance::Consistent,
            world::Balance::LeastConnections => Balance::LeastConnections,
            world::Balance::RandomOfTwo => Balance::RandomOfTwo,
        },
        locality: Locality {
            by_node: nodes
                .filter_map(|node| Some((VtepId(node as u32), filled(world.on_node(all, node))?)))
                .collect(),
            by_zone: zones
                .filter_map(|number| Some((zone(number), filled(world.in_zone(all, number))?)))
                .collect(),
            node_only: locality.node_only,
        },
    })
}

/// The worker that owns the flow of a tuple: which one has a slot is part of the
/// tables.
pub fn owner(world: &World, tuple: &Tuple) -> usize {
    let owners = owners(world);
    let (src, dst) = (octets(&tuple.src), octets(&tuple.dst));
    if world.own.get(&tuple.dst) == Some(&Own::Snat) {
        return owners.of_l4_port(tuple.dst_port);
    }
    let is_pod = |address| world.pod_node(address).is_some();
    let (from_pod, to_pod) = (is_pod(&tuple.src), is_pod(&tuple.dst));
    let is_ours = world.vips.contains_key(&tuple.dst) || world.own.contains_key(&tuple.dst);
    if is_ours || (to_pod && !from_pod) {
        owners.of_endpoint(&src, tuple.src_port)
    } else if from_pod && !to_pod {
        owners.of_endpoint(&dst, tuple.dst_port)
    } else {
        owners.of_pair((&src, tuple.src_port), (&dst, tuple.dst_port))
    }
}

fn owners(world: &World) -> OwnerMap {
    OwnerMap::even(world.workers).with_seed(99)
}

/// What an endpoint is chosen by.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// A connection.
    Connection(&'a Tuple),
    /// Its client's address alone.
    Client(&'a Tuple),
}

/// The endpoint that a connection gets, of some: the choice is part of the
/// tables, and the same on every gateway.
pub fn choose(backends: &[Backend], by: By<'_>) -> Backend {
    let hash = match by {
        By::Connection(tuple) => {
            let (src, dst) = (octets(&tuple.src), octets(&tuple.dst));
            hash::connection(&src, tuple.src_port, &dst, tuple.dst_port, tuple.protocol)
        }
        By::Client(tuple) => hash::connection(&octets(&tuple.src), 0, &[], 0, 0),
    };
    let v4 = backends.first().is_some_and(|backend| backend.address.is_ipv4());
    let chosen = if v4 {
        set::<V4>(backends).choose(hash).map(|chosen| chosen.id.0)
    } else {
        set::<V6>(backends).choose(hash).map(|chosen| chosen.id.0)
    };
    let is_it = |backend: &&Backend| Some(backend.id) == chosen;
    *backends.iter().find(is_it).expect("an endpoint is in rotation")
}
