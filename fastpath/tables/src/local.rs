use crate::family::{Family, V4, V6};
use crate::ids::PortId;
use crate::route::Vtep;
use std::net::IpAddr;

/// What belongs to the gateway itself, from its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// The ports, by [`PortId`].
    pub ports: Vec<PortLocal>,
    /// The overlay, if there is one.
    pub vxlan: Option<Vxlan>,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortLocal {
    /// Its number: its index in [`Local::ports`].
    pub id: PortId,
    /// Its name in the configuration.
    pub name: String,
    /// Its MAC.
    pub mac: [u8; 6],
    /// Largest IP packet it carries, in bytes.
    pub mtu: u16,
    /// The IEEE 802.1Q tag of all its frames.
    pub vlan: Option<u16>,
    /// Whether VIPs are answered for (ARP, ND) on it.
    pub announce_vips: bool,
    /// Sluice's IPv4 addresses on it, with prefix lengths.
    pub v4: Vec<(<V4 as Family>::Addr, u8)>,
    /// Sluice's IPv6 addresses on it, with prefix lengths.
    pub v6: Vec<(<V6 as Family>::Addr, u8)>,
}

/// The VXLAN overlay (RFC 7348) as this gateway takes part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The port that the underlay is on: tunnel packets are taken from no other.
    pub port: PortId,
    /// The network's number, 24 bits.
    pub vni: u32,
    /// UDP destination port, both ways.
    pub udp_port: u16,
    /// The gateway's inner MAC: source of what it encapsulates, and the only
    /// inner destination that it accepts.
    pub mac: [u8; 6],
    /// Largest inner IP packet, in bytes.
    pub mtu: u16,
    /// Which underlay carries which packets.
    pub carriage: Carriage,
    /// The gateway's VTEP address over IPv4.
    pub v4: Option<[u8; 4]>,
    /// The gateway's VTEP address over IPv6.
    pub v6: Option<[u8; 16]>,
}

/// Which underlay of a VXLAN overlay carries which inner packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carriage {
    /// Any: IPv4 if both ends have it, else IPv6. Nodes have one device for all.
    #[default]
    Any,
    /// Each family its own: nodes have a device for IPv4 over IPv4 and another one
    /// for IPv6 over IPv6, as flannel and Calico make them.
    SameFamily,
}

impl Vxlan {
    /// The ends of the tunnel that carries inner packets of IPv4 (`inner_v4`) or
    /// IPv6 to a node: ours and the node's, over IPv4 or IPv6.
    pub fn ends(&self, node: &Vtep, inner_v4: bool) -> Option<Ends> {
        let v4 = || Some(Ends::V4(self.v4?, node.v4?));
        let v6 = || Some(Ends::V6(self.v6?, node.v6?));
        match (self.carriage, inner_v4) {
            (Carriage::Any, _) => v4().or_else(v6),
            (Carriage::SameFamily, true) => v4(),
            (Carriage::SameFamily, false) => v6(),
        }
    }
}

/// The underlay addresses of a tunnel: the gateway's and the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Over IPv4.
    V4([u8; 4], [u8; 4]),
    /// Over IPv6.
    V6([u8; 16], [u8; 16]),
}

impl Ends {
    /// The node's.
    pub fn node(self) -> IpAddr {
        match self {
            Ends::V4(_, node) => V4::to_ip(node),
            Ends::V6(_, node) => V6::to_ip(node),
        }
    }
}

/// How an address is the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// Sluice's own address on a port: answered for, pinged.
    Port(PortId),
    /// An address of the SNAT pool: replies to it belong to flows.
    Snat,
    /// A kernel address on a port: never Sluice's to answer, never a valid
    /// source of what it receives.
    Kernel(PortId),
}

/// A Service's virtual IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vip {
    /// Answered for by ARP and ND on the ports that announce VIPs. ClusterIPs
    /// are not: they are routed to the gateway.
    pub announce: bool,
}

/// What happens to the client's address on the way to a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatMode {
    /// Replaced by an address of the pool, so that replies return here.
    #[default]
    Snat,
    /// Kept, for clusters whose nodes route replies to the gateway. Pods that
    /// reach a Service through the gateway are still translated.
    Preserve,
}

/// The addresses and ports that stand in for clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnatPool<F: Family> {
    /// Whether client addresses are replaced.
    pub mode: NatMode,
    /// The addresses, in order.
    pub addresses: Vec<F::Addr>,
    /// First port used.
    pub port_min: u16,
    /// Last port used; at least 255 above the first, since the low byte of a
    /// port names the worker that owns it.
    pub port_max: u16,
}
