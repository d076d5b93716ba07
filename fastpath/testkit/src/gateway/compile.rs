//! From a topology to tables, as control compiles them: numbers stay, epochs change with what they
//! stand for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use sluice_tables::{
    BackendId, BackendRef, BackendSet, BackendState, Family, FamilyTables, Frontend, FrontendKey,
    FrontendRules, Local, LocalAddress, Locality, OwnerMap, PortId, RouteTarget, Routes,
    SERVICE_EPOCHS, ServiceId, SnatPool, SourceRanges, Tables, V4, V6, Vip, Vtep, VtepId, ZoneId,
    policy_group,
};

use super::policy::{self, Places};
use super::topology::{Endpoint, Node, Prefix, Rules, ServiceKey, Topology, Way};

/// Compiles topologies; remembers the numbers that it has given.
#[derive(Debug)]
pub struct Compiler {
    last: Tables,
    topology: Option<Topology>,
    services: Vec<ServiceKey>,
    backends: Vec<(ServiceKey, Endpoint)>,
}

impl Compiler {
    /// A compiler for so many workers.
    pub fn new(workers: usize) -> Compiler {
        let mut last = Tables::empty(workers);
        last.owners = OwnerMap::even(workers);
        Compiler { last, topology: None, services: Vec::new(), backends: Vec::new() }
    }

    /// The tables for `topology`, next in version after the last ones.
    pub fn compile(&mut self, topology: &Topology) -> Tables {
        let mut tables = self.last.clone();
        tables.version += 1;
        for key in topology.services.keys() {
            if !self.services.contains(key) {
                self.services.push(*key);
            }
        }
        for (key, endpoints) in &topology.services {
            for endpoint in endpoints {
                if !self.backends.contains(&(*key, *endpoint)) {
                    self.backends.push((*key, *endpoint));
                }
            }
        }
        tables.local =
            Arc::new(Local { ports: topology.ports.clone(), vxlan: Some(topology.vxlan.clone()) });
        tables.vteps = Arc::new(
            topology
                .nodes
                .iter()
                .map(|node| {
                    node.as_ref().map(|node| Vtep {
                        name: node.name.as_str().into(),
                        v4: node.v4.map(|addr| addr.octets()),
                        v6: node.v6.map(|addr| addr.octets()),
                        mac_v4: node.overlay_mac.0,
                        mac_v6: node.overlay_mac_v6.0,
                    })
                })
                .collect(),
        );
        tables.zone = zone_of(topology, "gateway");
        let names = topology.nodes.iter().map(|n| n.as_ref().map_or("", |node| &node.name));
        tables.zones = Arc::new(names.map(|name| zone_of(topology, name)).collect());
        self.set_backends(topology, &mut tables);
        tables.v4 = self.family::<V4>(topology);
        tables.v6 = self.family::<V6>(topology);
        policy::compile(&topology.policies, topology, &mut tables);
        tables.names_wanted = topology.names_wanted;
        tables.has_policies = !topology.policies.is_empty();
        if let Some(before) = &self.topology {
            self.bump_epochs(before, topology, &mut tables);
        }
        self.topology = Some(topology.clone());
        self.last = tables.clone();
        tables
    }

    /// States of all endpoints ever known; a changed one changes its Service's epoch.
    fn set_backends(&self, topology: &Topology, tables: &mut Tables) {
        for (id, (key, endpoint)) in self.backends.iter().enumerate() {
            let listed = topology.services.get(key).is_some_and(|list| list.contains(endpoint));
            let state = if listed { state_of(topology, endpoint) } else { BackendState::Gone };
            let id = id as u32;
            if tables.backends.get(id) != state {
                tables.backends.set(id, state);
                let group = Tables::service_group(self.service_id(key));
                tables.service_epochs[group] = tables.service_epochs[group].wrapping_add(1);
            }
        }
    }

    fn service_id(&self, key: &ServiceKey) -> ServiceId {
        let id = self.services.iter().position(|known| known == key);
        id.map_or(ServiceId::NONE, |id| ServiceId(id as u32))
    }

    fn family<F: Family>(&self, topology: &Topology) -> FamilyTables<F> {
        let mut family = FamilyTables::<F>::default();
        let addresses: Vec<_> =
            topology.snat.addresses.iter().filter_map(|a| F::from_ip(*a)).collect();
        let mut local = hashbrown::HashMap::new();
        let mut routes: Vec<(F::Addr, u8, RouteTarget<F>)> = Vec::new();
        for (i, port) in topology.ports.iter().enumerate() {
            let id = PortId(i as u8);
            let v4 = port.v4.iter().map(|(addr, len)| (IpAddr::from(*addr), *len));
            let v6 = port.v6.iter().map(|(addr, len)| (IpAddr::from(*addr), *len));
            for (addr, len) in v4.chain(v6) {
                let Some(addr) = F::from_ip(addr) else { continue };
                local.insert(addr, LocalAddress::Port(id));
                routes.push((addr, len, RouteTarget::Connected(id)));
            }
        }
        for (port, addr) in &topology.kernel_addresses {
            if let Some(addr) = F::from_ip(*addr) {
                local.insert(addr, LocalAddress::Kernel(PortId(*port as u8)));
            }
        }
        local.extend(addresses.iter().map(|addr| (*addr, LocalAddress::Snat)));
        let is_underlay = match F::IS_V4 {
            true => topology.vxlan.v4.is_some(),
            false => topology.vxlan.v6.is_some(),
        };
        let mut nodes = hashbrown::HashMap::new();
        for (i, node) in topology.nodes.iter().enumerate() {
            let (Some(node), id) = (node, VtepId(i as u32)) else { continue };
            let own = [node.v4.map(IpAddr::from), node.v6.map(IpAddr::from)];
            nodes.extend(own.into_iter().flatten().filter_map(F::from_ip).map(|a| (a, id)));
            for Prefix { addr, len } in &node.pods {
                if let Some(addr) = F::from_ip(*addr) {
                    routes.push((addr, *len, RouteTarget::Tunnel(id)));
                }
            }
        }
        for (prefix, way) in &topology.routes {
            let Some(addr) = F::from_ip(prefix.addr) else { continue };
            let target = match *way {
                Way::Connected(port) => RouteTarget::Connected(PortId(port as u8)),
                Way::Via(port, next_hop) => match F::from_ip(next_hop) {
                    Some(next_hop) => RouteTarget::Via(PortId(port as u8), next_hop),
                    None => continue,
                },
                Way::Blackhole => RouteTarget::Blackhole,
            };
            routes.push((addr, prefix.len, target));
        }
        for (addr, announce) in &topology.vips {
            if let Some(addr) = F::from_ip(*addr) {
                family.vips.insert(addr, Vip { announce: *announce });
            }
        }
        for (key, endpoints) in &topology.services {
            // At the gateway's own addresses it is a node port.
            let is_vip = topology.vips.contains_key(&key.addr) || topology.is_own(key.addr);
            let Some(addr) = F::from_ip(key.addr).filter(|_| is_vip) else { continue };
            let frontend = FrontendKey { addr, l4_port: key.l4_port, protocol: key.protocol };
            let backends = Arc::new(self.rotation::<F>(topology, key, endpoints));
            let rules = topology
                .rules
                .get(key)
                .map(|rules| Arc::new(self.rules::<F>(topology, key, rules, endpoints)));
            family
                .frontends
                .insert(frontend, Frontend { service: self.service_id(key), backends, rules });
        }
        family.local = Arc::new(local);
        family.routes = Arc::new(Routes::build(routes));
        family.snat = Arc::new(SnatPool {
            mode: topology.snat.mode,
            addresses,
            port_min: topology.snat.ports.0,
            port_max: topology.snat.ports.1,
        });
        let device = |(addr, name): (&IpAddr, &String)| {
            let is_it = |node: &Option<Node>| node.as_ref().is_some_and(|n| n.name == *name);
            let id = topology.nodes.iter().position(is_it)?;
            Some((F::from_ip(*addr)?, VtepId(id as u32)))
        };
        family.tunnel_devices =
            Arc::new(topology.tunnel_devices.iter().filter_map(device).collect());
        family.nodes_by_addr = Arc::new(nodes);
        let servers = topology.dns_servers.iter();
        let servers = servers.filter_map(|p| Some((F::from_ip(p.addr)?, p.len)));
        family.dns_servers = Arc::new(SourceRanges::new(servers));
        if is_underlay {
            family.vteps_by_addr = family.nodes_by_addr.clone();
        }
        family
    }

    /// What a Service asks for beyond its endpoints.
    fn rules<F: Family>(
        &self,
        topology: &Topology,
        key: &ServiceKey,
        rules: &Rules,
        endpoints: &[Endpoint],
    ) -> FrontendRules<F> {
        let mut locality = Locality { node_only: rules.is_local, ..Locality::default() };
        let by_node = rules.is_local || rules.prefers_node;
        for (id, node) in topology.nodes.iter().enumerate().filter(|_| by_node) {
            let is_there = |endpoint: &&Endpoint| {
                node.iter().flat_map(|node| &node.pods).any(|net| net.contains(endpoint.0))
            };
            let near: Vec<Endpoint> = endpoints.iter().filter(is_there).copied().collect();
            let near = self.rotation(topology, key, &near);
            if !near.backends().is_empty() {
                locality.by_node.insert(VtepId(id as u32), Arc::new(near));
            }
        }
        for (name, near) in &rules.zones {
            let near = Arc::new(self.rotation(topology, key, near));
            locality.by_zone.insert(zone_id(topology, name), near);
        }
        let sources = rules.sources.as_ref().map(|prefixes| {
            let of_family = |prefix: &Prefix| Some((F::from_ip(prefix.addr)?, prefix.len));
            Arc::new(SourceRanges::new(prefixes.iter().filter_map(of_family)))
        });
        FrontendRules { sources, affinity_ms: rules.affinity_ms, balance: rules.balance, locality }
    }

    /// The endpoints in rotation: those that are ready, else those that drain.
    fn rotation<F: Family>(
        &self,
        topology: &Topology,
        key: &ServiceKey,
        endpoints: &[Endpoint],
    ) -> BackendSet<F> {
        let of_state = |wanted: BackendState| {
            let fits = move |e: &&Endpoint| state_of(topology, e) == wanted;
            endpoints
                .iter()
                .filter(fits)
                .filter_map(|endpoint| {
                    let id = self.backends.iter().position(|known| known == &(*key, *endpoint))?;
                    let addr = F::from_ip(endpoint.0)?;
                    Some(BackendRef {
                        id: BackendId(id as u32),
                        addr,
                        l4_port: endpoint.1,
                        weight: topology.weights.get(endpoint).copied().unwrap_or(1),
                    })
                })
                .collect::<Vec<_>>()
        };
        let ready = of_state(BackendState::Ready);
        BackendSet::new(if ready.is_empty() { of_state(BackendState::Draining) } else { ready })
    }

    /// Flows without a Service must look again when an address becomes a VIP, those of a Service
    /// when its address is none any more, every flow when a route may have changed.
    fn bump_epochs(&self, before: &Topology, now: &Topology, tables: &mut Tables) {
        let routed = |t: &Topology| {
            (t.ports.clone(), t.vxlan.clone(), t.nodes.clone(), t.routes.clone(), t.snat.clone())
        };
        if routed(before) != routed(now) || before.kernel_addresses != now.kernel_addresses {
            tables.route_epoch = tables.route_epoch.wrapping_add(1);
        }
        self.bump_policy_epochs(before, now, tables);
        let mut bump = |group: usize| {
            tables.service_epochs[group] = tables.service_epochs[group].wrapping_add(1);
        };
        if now.vips.keys().any(|addr| !before.vips.contains_key(addr)) {
            bump(SERVICE_EPOCHS);
        }
        let is_withdrawn =
            |addr: &IpAddr| before.vips.contains_key(addr) && !now.vips.contains_key(addr);
        for key in now.services.keys().filter(|key| is_withdrawn(&key.addr)) {
            bump(Tables::service_group(self.service_id(key)));
        }
        let sources = |t: &Topology, key| t.rules.get(key).and_then(|r| r.sources.clone());
        for key in now.services.keys().filter(|key| sources(before, key) != sources(now, key)) {
            bump(Tables::service_group(self.service_id(key)));
        }
    }
}

impl Compiler {
    /// Flows of a pod must look again when its policies change, those to an address when it lapses
    /// or is forgotten: by the groups that their packets come from. Without policies groups do not
    /// count, and their sum must not come back.
    fn bump_policy_epochs(&self, before: &Topology, now: &Topology, tables: &mut Tables) {
        let pods = before.policies.keys().chain(now.policies.keys());
        let pods = pods.filter(|of| before.policies.get(of) != now.policies.get(of));
        let lapsed = before.lapsed.keys().chain(now.lapsed.keys());
        let lapsed = lapsed.filter(|addr| before.lapsed.get(addr) != now.lapsed.get(addr));
        let changed: BTreeSet<IpAddr> = pods.map(|(pod, _)| pod).chain(lapsed).copied().collect();
        if !tables.has_policies && !before.policies.is_empty() {
            let groups = tables.policy_epochs.iter().fold(1u32, |sum, one| sum.wrapping_add(*one));
            tables.policy_epoch = tables.policy_epoch.wrapping_add(groups);
            return;
        }
        let groups = changed.into_iter().flat_map(|addr| match addr {
            IpAddr::V4(addr) => groups(&tables.v4, &addr.octets()),
            IpAddr::V6(addr) => groups(&tables.v6, &addr.octets()),
        });
        for group in groups.collect::<BTreeSet<u8>>() {
            let epoch = &mut tables.policy_epochs[usize::from(group)];
            *epoch = epoch.wrapping_add(1);
        }
    }
}

/// The groups of packets from an address: a node's come by its tunnel, or by a port.
fn groups<F: Family>(family: &FamilyTables<F>, addr: &F::Addr) -> [u8; 2] {
    let tunnel = family.pod_node(addr);
    let node = family.nodes_by_addr.get(addr).copied();
    [policy_group(tunnel), policy_group(node.or(tunnel))]
}

impl Places for Topology {
    fn nodes(&self) -> Vec<(IpAddr, u32)> {
        let numbered = self.nodes.iter().zip(0..);
        let own = numbered.filter_map(|(node, id)| Some((node.as_ref()?, id)));
        own.flat_map(|(node, id)| {
            let own = [node.v4.map(IpAddr::from), node.v6.map(IpAddr::from)];
            own.into_iter().flatten().map(move |addr| (addr, id))
        })
        .collect()
    }

    fn node_of(&self, pod: IpAddr) -> Option<u32> {
        let has = |node: &Node| node.pods.iter().any(|net| net.contains(pod));
        let at = self.nodes.iter().position(|node| node.as_ref().is_some_and(has));
        at.map(|at| at as u32)
    }

    fn lapsed(&self) -> Vec<(IpAddr, IpAddr)> {
        self.lapsed.iter().map(|(lapsed, other)| (*lapsed, *other)).collect()
    }
}

/// The zone of a node by name, or of `gateway`.
fn zone_of(topology: &Topology, name: &str) -> ZoneId {
    topology.zones.get(name).map_or(ZoneId::NONE, |zone| zone_id(topology, zone))
}

/// Zones are numbered by their names' order.
fn zone_id(topology: &Topology, name: &str) -> ZoneId {
    let names: BTreeSet<&String> = topology.zones.values().collect();
    names.iter().position(|known| *known == name).map_or(ZoneId::NONE, |at| ZoneId(at as u16))
}

fn state_of(topology: &Topology, endpoint: &Endpoint) -> BackendState {
    topology.states.get(endpoint).copied().unwrap_or(BackendState::Ready)
}
