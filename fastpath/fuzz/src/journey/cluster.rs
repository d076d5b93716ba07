use sluice_tables::policy::{
    Classifier, Excuse, Host, KnownAddress, Outcome, PeerId, PortKey, Programs, Row, Rows, Span,
    Subject, Verdict,
};
use sluice_tables::{
    BackendId, BackendRef, BackendSet, BackendState, Carriage, Family, FamilyTables, Frontend,
    FrontendKey, Local, LocalAddress, NatMode, OwnerMap, PortId, PortLocal, RouteTarget, Routes,
    RuleId, ServiceId, SnatPool, SourceRanges, Tables, V4, V6, Vip, Vtep, VtepId, Vxlan,
};
use std::net::IpAddr;
use std::sync::Arc;

/// Ports of the gateway: uplink, cluster, and one that is tagged.
pub const PORTS: usize = 3;
/// VLAN of the tagged port.
pub const VLAN: u16 = 7;
/// The overlay's UDP port.
pub const VXLAN_PORT: u16 = 8472;
/// The overlay's network.
pub const VNI: u32 = 4242;
/// The gateway's inner MAC.
pub const INNER_MAC: [u8; 6] = [2, 0, 0, 2, 0, 0];

const NODES: u8 = 3;
const BACKENDS: u8 = 16;
/// Pods that policies may select: node, and the last number of the address.
const PODS: [(u8, u8); 4] = [(0, 5), (1, 6), (2, 7), (0, 8)];

/// The state of the cluster that a script changes: small numbers, of which the
/// tables are made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Workers of the gateway.
    pub workers: usize,
    /// Bits: backends in rotation.
    pub ready: u32,
    /// Bits: nodes that exist.
    pub nodes: u8,
    /// VIPs exist.
    pub vips: bool,
    /// Clients keep their addresses.
    pub preserve: bool,
    /// The underlay is IPv6 only.
    pub underlay_v6: bool,
    /// MTU of the cluster's port.
    pub mtu: u16,
    /// There is a default route.
    pub default_route: bool,
    /// Bits: pods of which policies are asked, as destinations, then as sources.
    pub policies: u8,
    /// Policies name peers by domain names: DNS answers wait.
    pub names_wanted: bool,
    /// Counts changes.
    pub version: u32,
}

impl Cluster {
    /// The state that a script begins with.
    pub fn new(flags: u8) -> Self {
        Cluster {
            workers: 1 + usize::from(flags & 1),
            ready: u32::MAX,
            nodes: u8::MAX,
            vips: true,
            preserve: flags & 2 != 0,
            underlay_v6: flags & 4 != 0,
            mtu: 1500,
            default_route: flags & 8 != 0,
            policies: 0,
            names_wanted: false,
            version: 1,
        }
    }

    /// Changes something, chosen by a word.
    pub fn change(&mut self, what: u16) {
        let value = (what >> 3) as u8;
        match what & 7 {
            0 => self.ready ^= 1 << (value & 31),
            1 => self.nodes ^= 1 << (value & 7),
            2 => self.vips = !self.vips,
            3 => self.preserve = !self.preserve,
            4 => self.mtu = [1280, 1400, 1500, 9000][usize::from(value & 3)],
            5 if value & 1 == 1 => self.names_wanted = !self.names_wanted,
            5 => self.default_route = !self.default_route,
            6 => self.ready = u32::from(value),
            _ => self.policies = value,
        }
        self.version += 1;
    }

    /// The tables of this state. Every epoch moves with every change: what is
    /// looked for here is no stale verdict.
    pub fn tables(&self) -> Arc<Tables> {
        let mut tables = Tables::empty(self.workers);
        tables.version = self.version.into();
        tables.route_epoch = self.version;
        tables.has_policies = self.policies != 0;
        tables.policy_epoch = self.version;
        tables.policy_epochs.fill(self.version);
        tables.names_wanted = self.names_wanted;
        tables.service_epochs.fill(self.version);
        tables.owners = OwnerMap::even(self.workers).with_seed(5);
        tables.local = Arc::new(self.local());
        let vteps = (0..NODES).map(|node| {
            (self.nodes >> node & 1 == 1).then(|| Vtep {
                name: "node".into(),
                v4: V4::from_ip(address(false, Net::Cluster, 10 + node)),
                v6: V6::from_ip(address(true, Net::Cluster, 10 + node)),
                mac_v4: [2, 0, 0, 1, 0, node],
                mac_v6: [2, 0, 0, 1, 6, node],
            })
        });
        tables.vteps = Arc::new(vteps.collect());
        for id in 0..2 * BACKENDS {
            let ready = self.ready >> (id % BACKENDS) & 1 == 1;
            let state = match (ready, id % 3) {
                (true, _) => BackendState::Ready,
                (false, 0) => BackendState::Gone,
                (false, 1) => BackendState::NotReady,
                (false, _) => BackendState::Draining,
            };
            tables.backends.set(id.into(), state);
        }
        tables.v4 = self.family::<V4>();
        tables.v6 = self.family::<V6>();
        if self.policies != 0 {
            self.select(&mut tables.v4);
            self.select(&mut tables.v6);
            tables.policy = rows();
        }
        Arc::new(tables)
    }

    /// Pods are selected by the one subject that there is.
    fn select<F: Family>(&self, tables: &mut FamilyTables<F>) {
        for (bit, (node, last)) in PODS.into_iter().enumerate() {
            let subject = |bit: usize| match self.policies >> bit & 1 {
                0 => Subject::NONE,
                _ => Subject { row: 0, classifiers: [0; 2] },
            };
            let (ingress, egress) = (subject(bit), subject(bit + PODS.len()));
            let (peer, host) = (PeerId::OUTSIDE, Host::of_pod(node.into()));
            let pod = F::from_ip(address(!F::IS_V4, Net::Pods(node), last)).unwrap_or_default();
            tables.known.insert(pod, KnownAddress { ingress, egress, peer, host });
        }
    }

    fn local(&self) -> Local {
        let ports = [Net::Uplink, Net::Cluster, Net::Tagged].into_iter().enumerate();
        let port = |(id, net): (usize, Net)| PortLocal {
            id: PortId(id as u8),
            name: format!("p{id}"),
            mac: port_mac(id as u8),
            mtu: if id == 1 { self.mtu } else { 1500 },
            vlan: (id == 2).then_some(VLAN),
            announce_vips: id == 0,
            v4: V4::from_ip(address(false, net, 254)).map(|own| (own, 24)).into_iter().collect(),
            v6: V6::from_ip(address(true, net, 254)).map(|own| (own, 64)).into_iter().collect(),
        };
        let own = |v6| address(v6, Net::Cluster, 254);
        Local {
            ports: ports.map(port).collect(),
            vxlan: Some(Vxlan {
                port: PortId(1),
                vni: VNI,
                udp_port: VXLAN_PORT,
                mac: INNER_MAC,
                mtu: 1430,
                carriage: Carriage::Any,
                v4: V4::from_ip(own(false)).filter(|_| !self.underlay_v6),
                v6: V6::from_ip(own(true)),
            }),
        }
    }

    fn family<F: Family>(&self) -> FamilyTables<F> {
        let at = |net, last| F::from_ip(address(!F::IS_V4, net, last)).unwrap_or_default();
        let len = if F::IS_V4 { 24 } else { 64 };
        // Everybody's answers are believed.
        let dns_servers = Arc::new(SourceRanges::new([(F::Addr::default(), 0)]));
        let mut tables = FamilyTables::<F> { dns_servers, ..FamilyTables::default() };
        let mut own = vec![(at(Net::Uplink, 253), LocalAddress::Kernel(PortId(0)))];
        let mut routes = Vec::new();
        for (id, net) in [Net::Uplink, Net::Cluster, Net::Tagged].into_iter().enumerate() {
            own.push((at(net, 254), LocalAddress::Port(PortId(id as u8))));
            routes.push((at(net, 0), len, RouteTarget::Connected(PortId(id as u8))));
        }
        for last in [1, 2] {
            own.push((at(Net::Pool, last), LocalAddress::Snat));
        }
        for node in (0..NODES).filter(|node| self.nodes >> node & 1 == 1) {
            let target = RouteTarget::Tunnel(VtepId(node.into()));
            routes.push((at(Net::Pods(node), 0), len, target));
        }
        routes.push((at(Net::Hole, 0), len, RouteTarget::Blackhole));
        if self.default_route {
            routes.push((F::Addr::default(), 0, RouteTarget::Via(PortId(0), at(Net::Uplink, 1))));
        }
        tables.routes = Arc::new(Routes::build(routes));
        tables.local = Arc::new(own.into_iter().collect());
        tables.snat = Arc::new(SnatPool {
            mode: if self.preserve { NatMode::Preserve } else { NatMode::Snat },
            addresses: vec![at(Net::Pool, 1), at(Net::Pool, 2)],
            port_min: 40_000,
            port_max: 40_300,
        });
        let underlay = (0..NODES).filter(|node| self.nodes >> node & 1 == 1);
        tables.vteps_by_addr = Arc::new(
            underlay.map(|node| (at(Net::Cluster, 10 + node), VtepId(node.into()))).collect(),
        );
        tables.nodes_by_addr = tables.vteps_by_addr.clone();
        if self.vips {
            self.services(&mut tables, at);
        }
        tables
    }

    fn services<F: Family>(&self, tables: &mut FamilyTables<F>, at: impl Fn(Net, u8) -> F::Addr) {
        // The second family's endpoints have numbers of their own.
        let first = if F::IS_V4 { 0 } else { BACKENDS };
        let backend = |n: u8| BackendRef {
            id: BackendId((first + n).into()),
            addr: at(Net::Pods(n % NODES), 5 + n),
            l4_port: 8080,
            weight: 1,
        };
        let ready = |from: u8, to: u8| {
            let ready = (from..to).filter(|n| self.ready >> n & 1 == 1);
            Arc::new(BackendSet::new(ready.map(backend).collect()))
        };
        let sets = [ready(0, 3), ready(0, BACKENDS), ready(3, 4), ready(0, 0), ready(0, 4)];
        for (last, announce) in [(100, true), (101, false)] {
            let addr = at(Net::Uplink, last);
            tables.vips.insert(addr, Vip { announce });
            for (n, (l4_port, protocol)) in
                [(80, 6), (443, 6), (53, 17), (81, 6), (80, 132)].into_iter().enumerate()
            {
                let service = ServiceId(n as u32 + u32::from(last));
                let backends = sets[n].clone();
                let key = FrontendKey { addr, l4_port, protocol };
                tables.frontends.insert(key, Frontend { service, backends, rules: None });
            }
        }
    }
}

/// What policies say of whomever they select: some ports are allowed, some are
/// only audited.
fn rows() -> Rows {
    let span = |protocol, last, verdict| {
        let outcome = Outcome::new(verdict, RuleId(RuleId::FIRST), Excuse::Allow);
        Span { last: PortKey::of(protocol, last), outcome }
    };
    let spans = [
        span(6, 80, Verdict::Allow),
        span(6, 8079, Verdict::Deny),
        span(6, 9000, Verdict::Allow),
        span(17, 52, Verdict::Deny),
        span(17, 8079, Verdict::Audit),
        span(132, 80, Verdict::Allow),
        Span { last: PortKey::LAST, ..span(0, 0, Verdict::Deny) },
    ];
    let mut rows = Rows::default();
    rows.set_classifier(0, Classifier::default());
    rows.programs.set(0, Programs::new(1, std::iter::once(&spans[..])));
    rows.rows.set(0, Row { programs: 0, first_rule: 0 });
    rows
}

/// The networks of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// Of port 0.
    Uplink,
    /// Of port 1: the underlay.
    Cluster,
    /// Of port 2.
    Tagged,
    /// Of a node.
    Pods(u8),
    /// The SNAT pool.
    Pool,
    /// Blackholed.
    Hole,
    /// Anywhere else.
    Elsewhere,
}

/// An address of a network.
pub fn address(v6: bool, net: Net, last: u8) -> IpAddr {
    let (a, b, c) = match net {
        Net::Uplink => (192, 0, 2),
        Net::Cluster => (10, 0, 0),
        Net::Tagged => (198, 51, 100),
        Net::Pods(node) => (10, 1, node),
        Net::Pool => (10, 1, 255),
        Net::Hole => (10, 66, 0),
        Net::Elsewhere => (203, 0, 113),
    };
    if v6 {
        IpAddr::from([0x2001, 0xdb8, a, b << 8 | u16::from(c), 0, 0, 0, u16::from(last)])
    } else {
        IpAddr::from([a as u8, b as u8, c, last])
    }
}

/// The MAC of a port of the gateway.
pub fn port_mac(port: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, port]
}
