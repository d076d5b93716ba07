//! What the gateway is told, as plain collections: the oracle reads it as it
//! is, [`super::compile`] makes the subject's tables of it.

use super::policy::Policy;
use sluice_tables::{POLICY_EPOCHS, SERVICE_EPOCHS};
use std::collections::BTreeMap;
use std::net::IpAddr;

mod changes;
mod first;
mod lookups;
mod places;

pub use places::{Network, contains, family, home, host, octets, prefix_len, router};

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
