//! What the gateway is told: ports, nodes, routes, Services. Begins as the standard topology.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_tables::{BackendState, Balance, Carriage, NatMode, PortId, PortLocal, Vxlan};

use super::policy::Policies;
use crate::packet::Mac;

/// A host on the link of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The port.
    pub port: usize,
    /// Its address.
    pub addr: IpAddr,
    /// Its MAC.
    pub mac: Mac,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its underlay addresses.
    pub v4: Option<Ipv4Addr>,
    /// As above.
    pub v6: Option<Ipv6Addr>,
    /// The MAC of its VXLAN device over IPv4.
    pub overlay_mac: Mac,
    /// The MAC of its VXLAN device over IPv6.
    pub overlay_mac_v6: Mac,
    /// Its pods' prefixes.
    pub pods: Vec<Prefix>,
}

/// An address and a prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// The address; the bits behind the prefix do not matter.
    pub addr: IpAddr,
    /// Bits.
    pub len: u8,
}

impl Prefix {
    /// Whether an address is in it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let bits = |addr: IpAddr| match addr {
            IpAddr::V4(addr) => u128::from(addr.to_bits()) << 96,
            IpAddr::V6(addr) => addr.to_bits(),
        };
        let differ = bits(self.addr) ^ bits(addr);
        self.addr.is_ipv4() == addr.is_ipv4() && differ.leading_zeros() >= u32::from(self.len)
    }
}

impl std::str::FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a prefix such as 10.0.0.0/24, found `{text}`");
        let (addr, len) = text.split_once('/').ok_or_else(wrong)?;
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        let len: u8 = len.parse().map_err(|_| wrong())?;
        let bits = if addr.is_ipv4() { 32 } else { 128 };
        if len > bits { Err(wrong()) } else { Ok(Prefix { addr, len }) }
    }
}

/// Where a route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The port's link.
    Connected(usize),
    /// A neighbor on the port.
    Via(usize, IpAddr),
    /// Nowhere.
    Blackhole,
}

/// One port of one VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The VIP.
    pub addr: IpAddr,
    /// The port.
    pub l4_port: u16,
    /// TCP or UDP, as IP numbers them.
    pub protocol: u8,
}

/// Address and port of an endpoint.
pub type Endpoint = (IpAddr, u16);

/// What a Service asks for beyond its endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Who may connect; `None`: everyone.
    pub sources: Option<Vec<Prefix>>,
    /// How long a client stays with an endpoint.
    pub affinity_ms: Option<u32>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// A client has the endpoints of its own node, or none.
    pub is_local: bool,
    /// A client has the endpoints of its own node while there are any.
    pub prefers_node: bool,
    /// Endpoints for the clients of a zone.
    pub zones: BTreeMap<String, Vec<Endpoint>>,
}

/// Addresses that stand in for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snat {
    /// Whether they do.
    pub mode: NatMode,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// First and last port.
    pub ports: (u16, u16),
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Ports, in order.
    pub ports: Vec<PortLocal>,
    /// Addresses of the kernel's.
    pub kernel_addresses: Vec<(usize, IpAddr)>,
    /// Hosts on the ports' links; the first of a port and family is its router.
    pub hosts: Vec<Host>,
    /// The overlay.
    pub vxlan: Vxlan,
    /// Nodes; `None` where one has gone, since numbers stay.
    pub nodes: Vec<Option<Node>>,
    /// The inner addresses of nodes' VXLAN devices, and the names of the nodes.
    pub tunnel_devices: BTreeMap<IpAddr, String>,
    /// Routes besides those of the ports' subnets and of pods.
    pub routes: BTreeMap<Prefix, Way>,
    /// SNAT.
    pub snat: Snat,
    /// VIPs, and whether they are announced.
    pub vips: BTreeMap<IpAddr, bool>,
    /// Services and their endpoints.
    pub services: BTreeMap<ServiceKey, Vec<Endpoint>>,
    /// What Services ask for beyond that.
    pub rules: BTreeMap<ServiceKey, Rules>,
    /// Network policies.
    pub policies: Policies,
    /// Policies name peers by domain names.
    pub names_wanted: bool,
    /// Addresses that are to running flows what other addresses are.
    pub lapsed: BTreeMap<IpAddr, IpAddr>,
    /// Whose DNS answers are believed.
    pub dns_servers: Vec<Prefix>,
    /// Endpoints that are not simply ready.
    pub states: BTreeMap<Endpoint, BackendState>,
    /// Weights of endpoints that are not 1.
    pub weights: BTreeMap<Endpoint, u16>,
    /// Zones of nodes by name, and of the gateway, which is `gateway`.
    pub zones: BTreeMap<String, String>,
}

/// MAC of a port: 02:..:a0 for p0, 02:..:b0 for p1.
pub const PORT_MACS: [Mac; 2] = [mac(0xa0), mac(0xb0)];
/// The gateway's MAC in the overlay.
pub const OVERLAY_MAC: Mac = mac(0xc0);

const fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// The uplink's subnet, `2001:db8:1::host`.
const fn uplink6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, host)
}

/// The cluster's underlay, `fd00:10:10::host`.
const fn underlay6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x10, 0x10, 0, 0, 0, 0, host)
}

impl Topology {
    /// The standard dual-stack topology:
    ///
    /// ```text
    /// p0  uplink   192.0.2.1/24, 2001:db8:1::1/64    router .254 / ::254, client .10 / ::10
    /// p1  cluster  10.10.0.1/24, fd00:10:10::1/64    node1 .11 / ::11, node2 .12 / ::12
    /// VXLAN 4096 on p1, UDP 4789, inner MTU 1450; pods 10.244.1.0/24, fd00:10:244:1::/64 on node1,
    /// 10.244.2.0/24, fd00:10:244:2::/64 on node2; SNAT to 10.244.255.1, fd00:10:244:ff::1
    /// ```
    pub fn standard() -> Topology {
        let v4 = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(10, 10, 0, 1)];
        let v6 = [uplink6(1), underlay6(1)];
        let ports = (0..2)
            .map(|i| PortLocal {
                id: PortId(i as u8),
                name: format!("p{i}"),
                mac: PORT_MACS[i].0,
                mtu: 1500,
                vlan: None,
                announce_vips: i == 0,
                v4: vec![(v4[i].octets(), 24)],
                v6: vec![(v6[i].octets(), 64)],
            })
            .collect();
        let hosts = [
            (0, Ipv4Addr::new(192, 0, 2, 254), uplink6(0x254), 0xfe),
            (0, Ipv4Addr::new(192, 0, 2, 10), uplink6(0x10), 0x10),
            (1, Ipv4Addr::new(10, 10, 0, 11), underlay6(0x11), 0x11),
            (1, Ipv4Addr::new(10, 10, 0, 12), underlay6(0x12), 0x12),
        ];
        let hosts = hosts.into_iter().flat_map(|(port, v4, v6, last)| {
            [v4.into(), v6.into()].map(|addr| Host { port, addr, mac: mac(last) })
        });
        let node = |i: u8| Node {
            name: format!("node{i}"),
            v4: Some(Ipv4Addr::new(10, 10, 0, 10 + i)),
            v6: Some(underlay6(0x10 + u16::from(i))),
            overlay_mac: mac(0x20 + i),
            overlay_mac_v6: mac(0x20 + i),
            pods: vec![
                Prefix { addr: Ipv4Addr::new(10, 244, i, 0).into(), len: 24 },
                Prefix {
                    addr: Ipv6Addr::new(0xfd00, 0x10, 0x244, i.into(), 0, 0, 0, 0).into(),
                    len: 64,
                },
            ],
        };
        let anywhere = |addr: IpAddr| Prefix { addr, len: 0 };
        Topology {
            ports,
            kernel_addresses: Vec::new(),
            hosts: hosts.collect(),
            vxlan: Vxlan {
                port: PortId(1),
                vni: 4096,
                udp_port: 4789,
                mac: OVERLAY_MAC.0,
                mtu: 1450,
                carriage: Carriage::Any,
                v4: Some(v4[1].octets()),
                v6: Some(v6[1].octets()),
            },
            nodes: vec![Some(node(1)), Some(node(2))],
            tunnel_devices: BTreeMap::new(),
            routes: BTreeMap::from([
                (
                    anywhere(Ipv4Addr::UNSPECIFIED.into()),
                    Way::Via(0, Ipv4Addr::new(192, 0, 2, 254).into()),
                ),
                (anywhere(Ipv6Addr::UNSPECIFIED.into()), Way::Via(0, uplink6(0x254).into())),
            ]),
            snat: Snat {
                mode: NatMode::Snat,
                addresses: vec![
                    Ipv4Addr::new(10, 244, 255, 1).into(),
                    Ipv6Addr::new(0xfd00, 0x10, 0x244, 0xff, 0, 0, 0, 1).into(),
                ],
                ports: (1024, 29_999),
            },
            vips: BTreeMap::new(),
            services: BTreeMap::new(),
            rules: BTreeMap::new(),
            policies: Policies::new(),
            names_wanted: false,
            lapsed: BTreeMap::new(),
            dns_servers: Vec::new(),
            states: BTreeMap::new(),
            weights: BTreeMap::new(),
            zones: BTreeMap::new(),
        }
    }

    /// Whether an address is a port's own.
    pub fn is_own(&self, addr: IpAddr) -> bool {
        self.ports.iter().any(|port| match addr {
            IpAddr::V4(addr) => port.v4.iter().any(|(own, _)| *own == addr.octets()),
            IpAddr::V6(addr) => port.v6.iter().any(|(own, _)| *own == addr.octets()),
        })
    }

    /// The MAC that a host on a port's link has; that of the port's router for an address that is
    /// not on the link.
    pub fn mac_of(&self, port: usize, addr: IpAddr) -> Option<Mac> {
        let mut family = self
            .hosts
            .iter()
            .filter(|host| host.port == port && host.addr.is_ipv4() == addr.is_ipv4());
        let router = family.clone().next();
        family.find(|host| host.addr == addr).or(router).map(|host| host.mac)
    }

    /// The MAC of the VXLAN device behind an underlay address.
    pub fn overlay_mac_of(&self, addr: IpAddr) -> Option<Mac> {
        let has = |node: &&Node| match addr {
            IpAddr::V4(addr) => node.v4 == Some(addr),
            IpAddr::V6(addr) => node.v6 == Some(addr),
        };
        let node = self.nodes.iter().flatten().find(has)?;
        Some(if addr.is_ipv4() { node.overlay_mac } else { node.overlay_mac_v6 })
    }
}
