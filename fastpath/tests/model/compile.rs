//! From the [`World`] to the subject's tables, by hand.

use super::parse::Tuple;
use super::world::{Backend, Health, Own, Target, World, octets};
use sluice_tables::{
    BackendId, BackendRef, BackendSet, BackendState, Family, FamilyTables, Frontend, FrontendKey,
    Local, LocalAddress, NatMode, OwnerMap, PortId, PortLocal, RouteTarget, Routes, ServiceId,
    SnatPool, Tables, V4, V6, Vip, Vtep, VtepId, Vxlan, hash,
};
use std::net::IpAddr;
use std::sync::Arc;

/// Tables that say what the world says.
pub fn compile(world: &World) -> Arc<Tables> {
    let mut tables = Tables::empty(world.workers);
    tables.version = world.version;
    tables.policy_epoch = world.policy_epoch;
    tables.route_epoch = world.route_epoch;
    tables.service_epochs = Box::new(world.service_epochs);
    tables.owners = owners(world);
    tables.local = Arc::new(local(world));
    let vteps = world.nodes.iter().map(|node| {
        node.present.then(|| Vtep {
            name: "node".into(),
            v4: node.v4.and_then(V4::from_ip),
            v6: node.v6.and_then(V6::from_ip),
            mac: node.mac,
        })
    });
    tables.vteps = Arc::new(vteps.collect());
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
    Arc::new(tables)
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
        let backends = world.rotation(frontend).into_iter().filter_map(|backend| {
            let addr = F::from_ip(backend.address)?;
            Some(BackendRef { id: BackendId(backend.id), addr, l4_port: backend.port, weight: 1 })
        });
        let backends = Arc::new(BackendSet::new(backends.collect()));
        let key = FrontendKey { addr, l4_port: *port, protocol: *protocol };
        tables
            .frontends
            .insert(key, Frontend { service: ServiceId(frontend.service), backends, rules: None });
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
    if world.vips.contains_key(&tuple.dst) || (to_pod && !from_pod) {
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

/// The endpoint that a connection gets: the choice is part of the tables, and
/// the same on every gateway.
pub fn choose(rotation: &[Backend], tuple: &Tuple) -> Backend {
    match tuple.dst {
        IpAddr::V4(_) => choose_of::<V4>(rotation, tuple),
        IpAddr::V6(_) => choose_of::<V6>(rotation, tuple),
    }
}

fn choose_of<F: Family>(rotation: &[Backend], tuple: &Tuple) -> Backend {
    let refs = rotation.iter().filter_map(|backend| {
        let addr = F::from_ip(backend.address)?;
        Some(BackendRef::<F> { id: BackendId(backend.id), addr, l4_port: backend.port, weight: 1 })
    });
    let (src, dst) = (octets(&tuple.src), octets(&tuple.dst));
    let hash = hash::connection(&src, tuple.src_port, &dst, tuple.dst_port, tuple.protocol);
    let set = BackendSet::new(refs.collect());
    let chosen = set.choose(hash).expect("an endpoint is in rotation").id.0;
    *rotation.iter().find(|backend| backend.id == chosen).expect("it is one of them")
}
