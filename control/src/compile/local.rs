use super::l7::{Identity, Setup};
use crate::object::Name;
use from_config::{half, node_ports, ports, subnets, vxlan};
use hashbrown::HashMap;
use ipnet::IpNet;
use sluice_config::{Config, MtuError, OverlayMode};
use sluice_tables::{
    Family, Local, LocalAddress, NatMode, PortId, RouteTarget, SnatPool, Tables, V4, V6, Vxlan,
};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

mod from_config;

pub(super) use from_config::prefix;

/// What an address is where Ingresses are served.
pub(super) const INGRESS: &str = "an address where Ingresses are served";

/// What only the device knows about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Its MAC.
    pub mac: [u8; 6],
    /// Its MTU in bytes; used where the configuration tells none.
    pub mtu: u16,
}

/// A configuration that does not fit the ports.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// Another number of ports than of devices.
    #[error(
        "the configuration has {configured} ports, but {found} are open; restart to change ports"
    )]
    PortCount {
        /// Ports in the configuration.
        configured: usize,
        /// Ports that are open.
        found: usize,
    },
    /// Something that is decided at the start.
    #[error("`{key}` cannot change while Sluice runs; restart it")]
    Restart {
        /// The key of the configuration.
        key: &'static str,
    },
    /// The underlay's MTU cannot hold the tunnel.
    #[error("overlay.vxlan: port {port} has an MTU of {mtu} bytes: {error}")]
    Mtu {
        /// The port's name.
        port: String,
        /// Its MTU in bytes.
        mtu: u16,
        /// Why.
        error: MtuError,
    },
}

/// What the tables have of the configuration alone.
#[derive(Debug)]
pub(super) struct Statics {
    local: Arc<Local>,
    v4: StaticHalf<V4>,
    v6: StaticHalf<V6>,
    /// Name of the gateway's own node, if it is told.
    pub(super) node_name: Option<String>,
    /// Whose overlay it is.
    pub(super) mode: OverlayMode,
    /// How many addresses of the gateway's own node are the SNAT pool, where they are.
    pub(super) from_node: Option<u32>,
    /// Ranges of pod addresses, as configured.
    pub(super) pod_cidrs: Vec<IpNet>,
    /// Ranges of ClusterIPs, as configured.
    pub(super) service_cidrs: Vec<IpNet>,
    /// The subnets of the ports.
    subnets: Vec<(IpNet, PortId)>,
    /// The next hops of `routes`.
    next_hops: BTreeSet<IpAddr>,
    /// The gateway's addresses that serve node ports, in order.
    pub(super) node_ports: Vec<IpAddr>,
    /// The gateway's zone, if it is told.
    pub(super) zone: Option<Arc<str>>,
    /// The Services whose endpoints' DNS answers are believed.
    pub(super) dns_services: BTreeSet<Name>,
    /// Others whose DNS answers are believed.
    pub(super) dns_servers: Vec<IpNet>,
    /// The domain of the cluster's own names.
    pub(super) cluster_domain: String,
    /// What policies take the gateway for, if it opens connections.
    pub(super) identity: Option<Identity>,
    /// Where Ingresses are served, if they are.
    pub(super) ingress: Option<Arc<Setup>>,
}

/// One family's half.
#[derive(Debug)]
pub(super) struct StaticHalf<F: Family> {
    own: Arc<HashMap<F::Addr, LocalAddress>>,
    snat: Arc<SnatPool<F>>,
    /// Addresses that nobody has, unless a longer prefix says who.
    pub(super) blackholes: Vec<(F::Addr, u8)>,
    /// Connected and static routes.
    pub(super) routes: Vec<(F::Addr, u8, RouteTarget<F>)>,
}

impl Statics {
    pub(super) fn new(config: &Config, facts: &[PortFacts]) -> Result<Self, SetupError> {
        if facts.len() != config.ports.len() {
            let (configured, found) = (config.ports.len(), facts.len());
            return Err(SetupError::PortCount { configured, found });
        }
        let local = Local { ports: ports(config, facts), vxlan: vxlan(config, facts)? };
        let v4 = half(config, config.snat.addresses_v4().map(|ip| ip.octets()));
        let v6 = half(config, config.snat.addresses_v6().map(|ip| ip.octets()));
        Ok(Statics {
            node_ports: node_ports(config, &v4, &v6),
            zone: config.services.zone.as_deref().map(Into::into),
            dns_services: config
                .policy
                .dns_services
                .iter()
                .map(|(ns, n)| Name::new(ns, n))
                .collect(),
            dns_servers: config.policy.dns_servers.clone(),
            cluster_domain: config.cluster.domain.clone(),
            identity: Identity::of(config),
            ingress: Setup::of(config),
            v4,
            v6,
            local: Arc::new(local),
            node_name: config.node_name.clone(),
            mode: config.overlay_mode(),
            from_node: config.snat.from_node,
            pod_cidrs: config.cluster.pod_cidrs.clone(),
            service_cidrs: config.cluster.service_cidrs.clone(),
            subnets: subnets(config),
            next_hops: config.routes.iter().filter_map(|route| route.via).collect(),
        })
    }

    /// Sets the SNAT pool.
    pub(super) fn set_pool(&mut self, pool: &[IpNet]) {
        let addresses = || pool.iter().flat_map(|net| sluice_config::addresses_of(*net));
        self.v4.set_pool(addresses().filter_map(V4::from_ip).collect());
        self.v6.set_pool(addresses().filter_map(V6::from_ip).collect());
    }

    /// Puts the static part into tables. Routes are left to the nodes.
    pub(super) fn put(&self, tables: &mut Tables) {
        tables.local = self.local.clone();
        tables.v4.local = self.v4.own.clone();
        tables.v6.local = self.v6.own.clone();
        tables.v4.snat = self.v4.snat.clone();
        tables.v6.snat = self.v6.snat.clone();
    }

    /// The overlay, if there is one.
    pub(super) fn vxlan(&self) -> Option<&Vxlan> {
        self.local.vxlan.as_ref()
    }

    pub(super) fn v4(&self) -> &StaticHalf<V4> {
        &self.v4
    }

    pub(super) fn v6(&self) -> &StaticHalf<V6> {
        &self.v6
    }

    /// Whether and how an address is our own.
    pub(super) fn own(&self, addr: IpAddr) -> Option<LocalAddress> {
        match addr {
            IpAddr::V4(addr) => self.v4.own.get(&addr.octets()).copied(),
            IpAddr::V6(addr) => self.v6.own.get(&addr.octets()).copied(),
        }
    }

    /// Who has an address by the configuration alone, so that no Service and no
    /// pod can have it; in words.
    pub(super) fn holder(&self, addr: IpAddr) -> Option<String> {
        let hop = || self.next_hops.contains(&addr).then(|| "a next hop of `routes`".to_owned());
        self.reserved(addr).or_else(hop)
    }

    /// What makes an address one that no node can have; in words.
    pub(super) fn reserved(&self, addr: IpAddr) -> Option<String> {
        if let Some(own) = self.own(addr) {
            return Some(self.describe(own));
        }
        if self.is_ingress(addr) {
            return Some(INGRESS.to_owned());
        }
        self.subnets.iter().find_map(|(net, _)| {
            let is_shared = net.max_prefix_len() - net.prefix_len() >= 2;
            let what = match addr {
                _ if !is_shared => return None,
                IpAddr::V4(_) if addr == net.network() => "network",
                IpAddr::V4(_) if addr == net.broadcast() => "broadcast",
                // RFC 4291 section 2.6.1
                IpAddr::V6(_) if addr == net.network() => "subnet-router anycast",
                _ => return None,
            };
            Some(format!("the {what} address of {net}"))
        })
    }

    /// Whether it is an address of our own where Ingresses are served.
    pub(super) fn is_ingress(&self, addr: IpAddr) -> bool {
        self.ingress.as_ref().is_some_and(|setup| setup.has_vip(addr))
    }

    /// The subnet of a port that an address is in; in words.
    pub(super) fn subnet_of(&self, addr: IpAddr) -> Option<String> {
        let (net, port) = self.subnets.iter().find(|(net, _)| net.contains(&addr))?;
        Some(format!("the subnet {net} of port {}", self.port_name(*port)))
    }

    /// Why a range is no range of pods: what it does that it must not.
    pub(super) fn reserved_in(&self, range: &IpNet) -> Option<String> {
        let overlaps = |net: &IpNet| net.contains(range) || range.contains(net);
        if let Some(own) = self.port_addresses().filter(|own| range.contains(own)).min() {
            return Some(format!("contains the gateway's own address {own}"));
        }
        let ingress = self.ingress.iter().filter(|setup| setup.are_vips);
        if let Some(addr) = ingress.flat_map(|s| &s.addresses).find(|addr| range.contains(*addr)) {
            return Some(format!("contains {addr}, where Ingresses are served"));
        }
        if let Some(hop) = self.next_hops.iter().find(|hop| range.contains(*hop)) {
            return Some(format!("contains {hop}, a next hop of `routes`"));
        }
        if let Some((net, port)) = self.subnets.iter().find(|(net, _)| overlaps(net)) {
            return Some(format!("overlaps the subnet {net} of port {}", self.port_name(*port)));
        }
        let services = self.service_cidrs.iter().find(|net| overlaps(net));
        services.map(|net| format!("overlaps {net} of `cluster.service_cidrs`"))
    }

    /// Whether the configuration tells the ranges of pods of this family, and a
    /// range is in none of them.
    pub(super) fn is_outside_of_pods(&self, range: &IpNet) -> bool {
        let is_ipv4 = range.addr().is_ipv4();
        let mut told = self.pod_cidrs.iter().filter(|pods| pods.addr().is_ipv4() == is_ipv4);
        told.clone().next().is_some() && !told.any(|pods| pods.contains(range))
    }

    /// Whether the ports' subnets or `routes` lead to an address.
    pub(super) fn is_reached(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(addr) => self.v4.is_reached(addr.octets()),
            IpAddr::V6(addr) => self.v6.is_reached(addr.octets()),
        }
    }

    /// Our own addresses other than those of the SNAT pool.
    pub(super) fn port_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let is_port = |(_, own): &(IpAddr, LocalAddress)| *own != LocalAddress::Snat;
        let v4 = self.v4.own.iter().map(|(addr, own)| (V4::to_ip(*addr), *own));
        let v6 = self.v6.own.iter().map(|(addr, own)| (V6::to_ip(*addr), *own));
        v4.chain(v6).filter(is_port).map(|(addr, _)| addr)
    }

    /// Whether the addresses of clients are kept.
    pub(super) fn preserves_clients(&self) -> bool {
        self.v4.snat.mode == NatMode::Preserve
    }

    /// The SNAT pool.
    pub(super) fn snat_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.snat.addresses.iter().map(|addr| V4::to_ip(*addr));
        v4.chain(self.v6.snat.addresses.iter().map(|addr| V6::to_ip(*addr)))
    }

    /// How an address is our own, in words.
    pub(super) fn describe(&self, own: LocalAddress) -> String {
        let port = |id| self.port_name(id);
        match own {
            LocalAddress::Port(id) => format!("the gateway's own address on port {}", port(id)),
            LocalAddress::Kernel(id) => format!("a kernel address on port {}", port(id)),
            LocalAddress::Snat => "an address of the SNAT pool".to_owned(),
        }
    }

    fn port_name(&self, id: PortId) -> &str {
        self.local.ports.get(usize::from(id.0)).map_or("", |port| port.name.as_str())
    }
}

impl<F: Family> StaticHalf<F> {
    fn set_pool(&mut self, addresses: Vec<F::Addr>) {
        let own = Arc::make_mut(&mut self.own);
        own.retain(|_, own| *own != LocalAddress::Snat);
        for addr in &addresses {
            own.entry(*addr).or_insert(LocalAddress::Snat);
        }
        Arc::make_mut(&mut self.snat).addresses = addresses;
    }

    /// Whether the static routes lead to an address, by the longest prefix.
    fn is_reached(&self, addr: F::Addr) -> bool {
        let nobody = self.blackholes.iter().map(|&(net, len)| (net, len, RouteTarget::Blackhole));
        let holds = |(net, len, _): &(F::Addr, u8, RouteTarget<F>)| {
            IpNet::new(F::to_ip(*net), *len).is_ok_and(|net| net.contains(&F::to_ip(addr)))
        };
        let all = nobody.chain(self.routes.iter().copied()).filter(holds);
        all.max_by_key(|(_, len, _)| *len).is_some_and(|route| route.2 != RouteTarget::Blackhole)
    }
}
