use crate::family::{Family, V4, V6};
use crate::ids::PortId;

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
    /// The gateway's VTEP address over IPv4.
    pub v4: Option<[u8; 4]>,
    /// The gateway's VTEP address over IPv6.
    pub v6: Option<[u8; 16]>,
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
