//! What the gateway is told, as plain collections: the oracle reads it as it
//! is, [`super::compile`] makes the subject's tables of it.

use super::policy::Policy;
use sluice_tables::{POLICY_EPOCHS, SERVICE_EPOCHS};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// A MAC.
pub type Mac = [u8; 6];

/// One interface of the gateway.
#[derive(Clone, Debug)]
pub struct Interface {
    pub mac: Mac,
    pub mtu: u16,
    pub vlan: Option<u16>,
    pub announce: bool,
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    pub present: bool,
    pub v4: Option<IpAddr>,
    pub v6: Option<IpAddr>,
    pub mac: Mac,
    /// 0 for none.
    pub zone: u16,
}

/// The overlay.
#[derive(Clone, Debug)]
pub struct Overlay {
    pub vni: u32,
    pub udp_port: u16,
    pub mac: Mac,
    pub mtu: u16,
    pub v4: Option<IpAddr>,
    pub v6: Option<IpAddr>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Connected(u8),
    Via(u8, IpAddr),
    Tunnel(usize),
    Blackhole,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Gone,
    NotReady,
    Draining,
    Ready,
}

/// An endpoint of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    pub id: u32,
    pub address: IpAddr,
    pub port: u16,
    pub weight: u16,
}

/// One port of one VIP, or a node port.
#[derive(Clone, Debug)]
pub struct Frontend {
    pub service: u32,
    /// All endpoints; those in rotation are picked by their health.
    pub backends: Vec<Backend>,
    pub rules: Rules,
}

/// What a Service port asks for beyond its endpoints.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Who may connect, by address and length of prefixes; `None`: everyone.
    pub sources: Option<Vec<(IpAddr, u8)>>,
    /// How long a client goes where it went.
    pub affinity_ms: Option<u32>,
    pub balance: Balance,
    pub locality: Locality,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    #[default]
    Consistent,
    LeastConnections,
    RandomOfTwo,
}

/// Who is nearer to some endpoints than to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// Clients on a node have its endpoints, if it has any.
    pub by_node: bool,
    /// Others have those of their zone, if it has any.
    pub by_zone: bool,
    /// Others have none.
    pub node_only: bool,
}

impl Rules {
    /// Whether a client may connect.
    pub fn allow(&self, client: &IpAddr) -> bool {
        let in_any = |ranges: &Vec<(IpAddr, u8)>| {
            ranges.iter().any(|(prefix, len)| contains(prefix, *len, client))
        };
        self.sources.as_ref().is_none_or(in_any)
    }

    /// Whether an endpoint is chosen by more than the addresses and ports of a
    /// connection.
    pub fn vary(&self) -> bool {
        self.affinity_ms.is_some() || self.balance != Balance::Consistent
    }
}

/// The addresses that stand in for clients, of one family.
#[derive(Clone, Debug)]
pub struct Pool {
    pub preserve: bool,
    pub addresses: Vec<IpAddr>,
    pub port_min: u16,
    pub port_max: u16,
}

/// How an address is the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    Port(u8),
    Snat,
    Kernel(u8),
}

/// Everything that control publishes.
#[derive(Clone, Debug)]
pub struct World {
    pub limits: Option<Limits>,
    pub workers: usize,
    pub interfaces: Vec<Interface>,
    pub overlay: Overlay,
    pub nodes: Vec<Node>,
    /// The gateway's own; 0 for none.
    pub zone: u16,
    pub routes: Vec<(IpAddr, u8, Target)>,
    pub own: BTreeMap<IpAddr, Own>,
    /// By [`family`].
    pub pools: [Pool; 2],
    /// VIPs, and whether they are announced.
    pub vips: BTreeMap<IpAddr, bool>,
    /// By address (a VIP or one of the gateway's ports), port and protocol.
    pub frontends: BTreeMap<(IpAddr, u16, u8), Frontend>,
    /// Service ports ever made: the next one's id.
    pub services: u32,
    /// By pod, and whether they are of what it sends.
    pub policies: BTreeMap<(IpAddr, bool), Policy>,
    /// By backend id.
    pub health: Vec<Health>,
    pub version: u64,
    pub policy_epoch: u32,
    /// By group of addresses: 128 and the number of a node, or 0 for those on none.
    pub policy_epochs: [u32; POLICY_EPOCHS],
    pub route_epoch: u32,
    /// By group of Services; the last is for flows without one.
    pub service_epochs: [u32; SERVICE_EPOCHS + 1],
}

/// The underlay that the overlay runs over, and how clients are translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    pub underlay_v4: bool,
    pub underlay_v6: bool,
    pub preserve: bool,
    /// A pool so small that it runs out.
    pub few_ports: bool,
    /// So few flows for a source and a Service that they are too few.
    pub limits: Option<Limits>,
    pub workers: usize,
}

/// Most flows, and half-open ones, of a source and of a port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub source: [usize; 2],
    pub service: [usize; 2],
}

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SCTP: u8 = 132;

pub const UPLINK: u8 = 0;
pub const CLUSTER: u8 = 1;
pub const TAGGED: u8 = 2;

/// Pods and other backends that a Service may have, by family.
pub const BACKENDS: usize = 24;

/// Zones are numbered from 1 up to this.
pub const ZONES: u16 = 2;

/// Node ports that there may be: address, protocol, port.
pub const NODE_PORTS: &[((Network, u8), u8, u16)] = &[
    ((Network::Uplink, 254), TCP, 30_080),
    ((Network::Uplink, 254), UDP, 30_053),
    ((Network::Cluster, 254), TCP, 30_080),
    ((Network::Tagged, 254), UDP, 30_053),
    ((Network::Tagged, 254), SCTP, 30_080),
];

/// The node whose pod has an address, whatever routes say.
pub fn home(address: &IpAddr) -> Option<usize> {
    let v6 = address.is_ipv6();
    (0..4)
        .find(|node| contains(&host(v6, Network::Pods(*node), 0), prefix_len(v6), address))
        .map(usize::from)
}

/// 0 for IPv4, 1 for IPv6.
pub fn family(address: &IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// The `host`th address of one of the gateway's networks, in either family.
pub fn host(v6: bool, network: Network, host: u8) -> IpAddr {
    const SPECIAL: [[&str; 5]; 2] = [
        ["127.0.0.1", "169.254.1.1", "224.0.0.5", "0.0.0.0", "255.255.255.255"],
        ["::1", "fe80::1", "ff02::5", "::", "::ffff:10.0.0.1"],
    ];
    if network == Network::Special {
        return SPECIAL[usize::from(v6)][usize::from(host) % 5].parse().expect("an address");
    }
    let (v4, prefix) = match network {
        Network::Uplink => ([192, 0, 2], "2001:db8:1::"),
        Network::Cluster => ([10, 0, 0], "fd00:0:0:10::"),
        Network::Tagged => ([198, 51, 100], "2001:db8:7::"),
        Network::Internet => ([203, 0, 113], "2001:db8:ffff::"),
        Network::Pods(node) => (
            [10, 1, node],
            ["fd01:0:0:0::", "fd01:0:0:1::", "fd01:0:0:2::", "fd01:0:0:3::"][usize::from(node % 4)],
        ),
        Network::Pool => ([10, 1, 255], "fd01:0:0:ff::"),
        Network::Services => ([10, 96, 0], "fd96::"),
        Network::Hole => ([10, 66, 0], "fd66::"),
        Network::Behind => ([10, 77, 0], "fd77::"),
        Network::Nowhere => ([100, 64, 0], "2002::"),
        Network::Special => unreachable!("they are listed"),
    };
    if v6 {
        let base: Ipv6Addr = prefix.parse().expect("a prefix");
        Ipv6Addr::from(u128::from(base) + u128::from(host)).into()
    } else {
        [v4[0], v4[1], v4[2], host].into()
    }
}

/// The networks around the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Uplink,
    Cluster,
    Tagged,
    /// Behind the uplink's router.
    Internet,
    Pods(u8),
    Pool,
    Services,
    /// Blackholed.
    Hole,
    /// Behind a router of the cluster's network.
    Behind,
    /// Without a route.
    Nowhere,
    /// Addresses that no packet may have: loopback, link-local, multicast,
    /// unspecified, reserved.
    Special,
}

/// Prefix length of the networks.
pub fn prefix_len(v6: bool) -> u8 {
    if v6 { 64 } else { 24 }
}

/// The address of the uplink's router.
pub fn router(v6: bool) -> IpAddr {
    host(v6, Network::Uplink, 1)
}

impl World {
    /// The world that a run begins with.
    pub fn new(variant: Variant) -> Self {
        let mut own = BTreeMap::new();
        let mut interface = |id: u8, network, vlan, mtu, announce| {
            let addresses: Vec<_> =
                [false, true].map(|v6| (host(v6, network, 254), prefix_len(v6))).into();
            for (address, _) in &addresses {
                own.insert(*address, Own::Port(id));
            }
            Interface { mac: [2, 0, 0, 0, 0, id], mtu, vlan, announce, addresses }
        };
        let interfaces = vec![
            interface(UPLINK, Network::Uplink, None, 1500, true),
            interface(CLUSTER, Network::Cluster, None, 1500, false),
            interface(TAGGED, Network::Tagged, Some(7), 1400, true),
        ];
        for v6 in [false, true] {
            own.insert(host(v6, Network::Uplink, 253), Own::Kernel(UPLINK));
        }
        let pools = [false, true].map(|v6| {
            let count = if variant.few_ports { 1 } else { 2 };
            let addresses: Vec<_> = (1..=count).map(|n| host(v6, Network::Pool, n)).collect();
            for address in &addresses {
                own.insert(*address, Own::Snat);
            }
            let port_max = if variant.few_ports { 40_001 } else { 40_600 };
            Pool { preserve: variant.preserve, addresses, port_min: 40_000, port_max }
        });
        let underlay = |v6: bool, n| {
            let used = if v6 { variant.underlay_v6 } else { variant.underlay_v4 };
            used.then(|| host(v6, Network::Cluster, n))
        };
        let node = |n: u8| Node {
            present: true,
            v4: underlay(false, n),
            v6: underlay(true, n),
            mac: [2, 0, 0, 1, 0, n],
            // 1, 2, none, 1
            zone: u16::from(n % 3),
        };
        let mut world = World {
            limits: variant.limits,
            workers: variant.workers,
            interfaces,
            overlay: Overlay {
                vni: 4242,
                udp_port: 8472,
                mac: [2, 0, 0, 2, 0, 0],
                mtu: 1440,
                v4: underlay(false, 254),
                v6: underlay(true, 254),
            },
            nodes: (0..4).map(|n| node(n + 10)).collect(),
            zone: 1,
            routes: Vec::new(),
            own,
            pools,
            vips: BTreeMap::new(),
            frontends: BTreeMap::new(),
            services: 0,
            policies: BTreeMap::new(),
            health: Vec::new(),
            version: 0,
            policy_epoch: 1,
            policy_epochs: [0; POLICY_EPOCHS],
            route_epoch: 1,
            service_epochs: [1; SERVICE_EPOCHS + 1],
        };
        world.first_routes();
        world.first_services();
        world
    }

    fn first_routes(&mut self) {
        for v6 in [false, true] {
            let len = prefix_len(v6);
            let mut add = |network, len, target| {
                self.routes.push((host(v6, network, 0), len, target));
            };
            add(Network::Uplink, len, Target::Connected(UPLINK));
            add(Network::Cluster, len, Target::Connected(CLUSTER));
            add(Network::Tagged, len, Target::Connected(TAGGED));
            add(Network::Hole, len, Target::Blackhole);
            add(Network::Internet, len, Target::Via(UPLINK, router(v6)));
            add(Network::Behind, len, Target::Via(CLUSTER, host(v6, Network::Cluster, 20)));
            for node in 0..4 {
                add(Network::Pods(node), len, Target::Tunnel(usize::from(node)));
            }
        }
    }

    fn first_services(&mut self) {
        for v6 in [false, true] {
            for (network, last, announce) in [
                (Network::Services, 10, false),
                (Network::Uplink, 100, true),
                (Network::Services, 11, false),
            ] {
                self.add_vip(host(v6, network, last), announce);
            }
            // The three kinds of choice: few, many (a table), none; and one
            // endpoint that is no pod.
            self.add_frontend(host(v6, Network::Services, 10), 80, TCP, &[0, 1, 2]);
            self.add_frontend(host(v6, Network::Services, 10), 53, UDP, &[7]);
            self.add_frontend(host(v6, Network::Uplink, 100), 80, TCP, &[0, 1, 5, 6]);
            self.add_frontend(host(v6, Network::Uplink, 100), 53, UDP, &[7]);
            self.add_frontend(host(v6, Network::Services, 10), 80, SCTP, &[0, 1]);
            self.add_frontend(host(v6, Network::Uplink, 100), 80, SCTP, &[0, 1]);
            let many: Vec<u8> = (0..18).collect();
            self.add_frontend(host(v6, Network::Uplink, 100), 443, TCP, &many);
            self.add_frontend(host(v6, Network::Services, 11), 80, TCP, &[]);
            self.add_frontend(host(v6, Network::Services, 11), 81, TCP, &[23]);
            // A busy one asks for more.
            let busy = self.frontends.get_mut(&(host(v6, Network::Uplink, 100), 80, TCP));
            if let Some(Frontend { rules, .. }) = busy {
                rules.affinity_ms = Some(60_000);
                rules.balance = Balance::LeastConnections;
            }
            for (place, _) in NODE_PORTS.iter().enumerate() {
                self.add_node_port(v6, place as u8);
            }
        }
    }

    /// Adds a VIP without ports.
    pub fn add_vip(&mut self, address: IpAddr, announce: bool) {
        self.vips.insert(address, announce);
        self.service_epochs[SERVICE_EPOCHS] += 1;
    }

    /// Adds a port of a VIP, with endpoints by their numbers.
    pub fn add_frontend(&mut self, vip: IpAddr, port: u16, protocol: u8, endpoints: &[u8]) {
        let service = self.services;
        self.services += 1;
        let frontend = Frontend { service, backends: Vec::new(), rules: Rules::default() };
        self.frontends.insert((vip, port, protocol), frontend);
        for &endpoint in endpoints {
            self.add_backend((vip, port, protocol), endpoint);
        }
    }

    /// Adds one of [`NODE_PORTS`], unless it is there.
    pub fn add_node_port(&mut self, v6: bool, place: u8) {
        let ((network, last), protocol, port) = NODE_PORTS[usize::from(place) % NODE_PORTS.len()];
        let address = host(v6, network, last);
        if !self.frontends.contains_key(&(address, port, protocol)) {
            self.add_frontend(address, port, protocol, &[0, 1, 6, place % 20]);
        }
    }

    /// The node ports that there are.
    pub fn node_ports(&self) -> Vec<(IpAddr, u16, u8)> {
        let keys = self.frontends.keys().filter(|key| self.is_port_address(&key.0));
        keys.copied().collect()
    }

    /// Adds an endpoint to a port of a VIP, ready; its number is new.
    pub fn add_backend(&mut self, key: (IpAddr, u16, u8), endpoint: u8) {
        let id = self.health.len() as u32;
        self.health.push(Health::Ready);
        let address = Self::endpoint(key.0.is_ipv6(), endpoint);
        let Some(frontend) = self.frontends.get_mut(&key) else { return };
        // The target port differs from the Service's.
        let old = frontend.backends.extract_if(.., |backend| backend.address == address);
        for backend in old {
            self.health[backend.id as usize] = Health::Gone;
        }
        let port = 8000 + key.1 % 1000;
        frontend.backends.push(Backend { id, address, port, weight: 1 });
        let group = frontend.service as usize % SERVICE_EPOCHS;
        self.service_epochs[group] += 1;
    }

    /// Gives an endpoint another weight.
    pub fn set_weight(&mut self, key: (IpAddr, u16, u8), index: usize, weight: u16) {
        let Some(frontend) = self.frontends.get_mut(&key) else { return };
        let count = frontend.backends.len().max(1);
        if let Some(backend) = frontend.backends.get_mut(index % count) {
            backend.weight = weight;
        }
    }

    /// Says who may connect; flows of others end.
    pub fn set_sources(&mut self, key: (IpAddr, u16, u8), sources: Option<Vec<(IpAddr, u8)>>) {
        let Some(frontend) = self.frontends.get_mut(&key) else { return };
        frontend.rules.sources = sources;
        self.service_epochs[frontend.service as usize % SERVICE_EPOCHS] += 1;
    }

    /// The address of an endpoint by number: a pod, but for the last.
    pub fn endpoint(v6: bool, endpoint: u8) -> IpAddr {
        if usize::from(endpoint) == BACKENDS - 1 {
            return host(v6, Network::Cluster, 30);
        }
        host(v6, Network::Pods(endpoint % 4), 5 + endpoint / 4)
    }

    /// Sets what is known of an endpoint.
    pub fn set_health(&mut self, key: (IpAddr, u16, u8), index: usize, health: Health) {
        let Some(frontend) = self.frontends.get_mut(&key) else { return };
        if frontend.backends.is_empty() {
            return;
        }
        let index = index % frontend.backends.len();
        let id = frontend.backends[index].id as usize;
        let group = frontend.service as usize % SERVICE_EPOCHS;
        if health == Health::Gone {
            frontend.backends.remove(index);
        }
        self.health[id] = health;
        self.service_epochs[group] += 1;
    }

    /// Removes a VIP and its ports. Endpoints stay where their Service has
    /// another address.
    pub fn remove_vip(&mut self, address: IpAddr, endpoints_stay: bool) {
        self.vips.remove(&address);
        let gone: Vec<_> = self.frontends.keys().filter(|key| key.0 == address).copied().collect();
        for key in gone {
            self.remove_frontend(key, endpoints_stay);
        }
    }

    /// Removes a port, with its endpoints or without.
    pub fn remove_frontend(&mut self, key: (IpAddr, u16, u8), endpoints_stay: bool) {
        let Some(frontend) = self.frontends.remove(&key) else { return };
        for backend in frontend.backends.iter().filter(|_| !endpoints_stay) {
            self.health[backend.id as usize] = Health::Gone;
        }
        self.service_epochs[frontend.service as usize % SERVICE_EPOCHS] += 1;
    }

    /// Sets all policies: of flows that there are those look again whose ends are on
    /// the nodes of pods with other ones; all, when there are none any more, since
    /// groups do not count then.
    pub fn set_policies(&mut self, policies: BTreeMap<(IpAddr, bool), Policy>) {
        let before = std::mem::replace(&mut self.policies, policies);
        if self.policies.is_empty() && !before.is_empty() {
            self.policy_epoch += 1 + self.policy_epochs.iter().sum::<u32>();
            return;
        }
        let all = before.keys().chain(self.policies.keys());
        let changed = all.filter(|of| before.get(of) != self.policies.get(of));
        let groups: BTreeSet<usize> =
            changed.map(|(pod, _)| self.pod_node(pod).map_or(0, |node| 128 + node)).collect();
        groups.into_iter().for_each(|group| self.policy_epochs[group] += 1);
    }

    /// A node has its pods' range, or not.
    pub fn set_pod_range(&mut self, node: u8, present: bool) {
        for v6 in [false, true] {
            let target = Target::Tunnel(usize::from(node));
            self.routes.retain(|route| route.2 != target || route.0.is_ipv6() != v6);
            if present {
                self.routes.push((host(v6, Network::Pods(node), 0), prefix_len(v6), target));
            }
        }
        self.route_epoch += 1;
    }

    /// The endpoints that new flows of a frontend may get.
    pub fn rotation(&self, frontend: &Frontend) -> Vec<Backend> {
        let with = |health| {
            let backends = frontend.backends.iter().copied();
            backends.filter(|b| self.health[b.id as usize] == health).collect::<Vec<_>>()
        };
        let ready = with(Health::Ready);
        if ready.is_empty() { with(Health::Draining) } else { ready }
    }

    /// Those of some endpoints that are on a node.
    pub fn on_node(&self, backends: &[Backend], node: usize) -> Vec<Backend> {
        let backends = backends.iter().copied();
        backends.filter(|backend| home(&backend.address) == Some(node)).collect()
    }

    /// Those of some endpoints that are on nodes of a zone.
    pub fn in_zone(&self, backends: &[Backend], zone: u16) -> Vec<Backend> {
        let zone_of = |backend: &Backend| home(&backend.address).map(|node| self.nodes[node].zone);
        let backends = backends.iter().copied();
        backends.filter(|backend| zone != 0 && zone_of(backend) == Some(zone)).collect()
    }

    /// Whether an address is that of one of the gateway's ports.
    pub fn is_port_address(&self, address: &IpAddr) -> bool {
        matches!(self.own.get(address), Some(Own::Port(_)))
    }

    /// Whether Services are reached at an address.
    pub fn is_service_address(&self, address: &IpAddr) -> bool {
        self.vips.contains_key(address) || self.is_port_address(address)
    }

    /// The target of the longest prefix that contains an address.
    pub fn lookup(&self, address: &IpAddr) -> Option<Target> {
        let mut best: Option<(u8, Target)> = None;
        for (prefix, len, target) in &self.routes {
            if contains(prefix, *len, address) && best.is_none_or(|(longest, _)| *len >= longest) {
                best = Some((*len, *target));
            }
        }
        best.map(|(_, target)| target)
    }

    /// The node whose tunnel leads to an address.
    pub fn pod_node(&self, address: &IpAddr) -> Option<usize> {
        match self.lookup(address) {
            Some(Target::Tunnel(node)) => Some(node),
            _ => None,
        }
    }

    /// Whether an address is the network's or the broadcast address of a subnet.
    pub fn is_subnet_edge(&self, address: &IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        let edges = |(own, len): &(IpAddr, u8)| match own {
            IpAddr::V4(own) if *len < 31 => {
                let host = (1u64 << (32 - len)) as u32 - 1;
                let first = u32::from(*own) & !host;
                [first, first | host].contains(&u32::from(*address))
            }
            _ => false,
        };
        self.interfaces.iter().flat_map(|interface| &interface.addresses).any(edges)
    }

    /// The node with an underlay address.
    pub fn node_by_underlay(&self, address: &IpAddr) -> Option<usize> {
        let has =
            |node: &Node| node.present && (node.v4 == Some(*address) || node.v6 == Some(*address));
        self.nodes.iter().position(has)
    }

    /// The gateway's address on a port: of the subnet of `other`, else the
    /// first of its family.
    pub fn port_address(&self, port: u8, other: &IpAddr) -> Option<IpAddr> {
        let addresses = &self.interfaces[usize::from(port)].addresses;
        let same = addresses.iter().find(|(own, len)| contains(own, *len, other));
        let first = addresses.iter().find(|(own, _)| own.is_ipv4() == other.is_ipv4());
        same.or(first).map(|(own, _)| *own)
    }

    /// Whether an address lies in a subnet of a port.
    pub fn in_subnet(&self, port: u8, address: &IpAddr) -> bool {
        let addresses = &self.interfaces[usize::from(port)].addresses;
        addresses.iter().any(|(own, len)| contains(own, *len, address))
    }
}

/// The bytes of an address.
pub fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Whether a prefix contains an address, bit by bit.
pub fn contains(prefix: &IpAddr, len: u8, address: &IpAddr) -> bool {
    let (prefix, address) = (octets(prefix), octets(address));
    let bit = |bytes: &[u8], n: usize| bytes[n / 8] >> (7 - n % 8) & 1;
    prefix.len() == address.len()
        && (0..usize::from(len)).all(|n| bit(&prefix, n) == bit(&address, n))
}
