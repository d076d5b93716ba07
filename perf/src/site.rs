//! Everything has an address that follows from its number, so that a flow is
//! a few small numbers and a frame can be built and checked from them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, over an IPv4 underlay.
    V4,
    /// IPv6, over an IPv6 underlay.
    V6,
}

impl Family {
    /// Its name in results.
    pub fn label(self) -> &'static str {
        match self {
            Family::V4 => "v4",
            Family::V6 => "v6",
        }
    }

    /// Bytes of an IP header.
    pub fn header_len(self) -> usize {
        match self {
            Family::V4 => 20,
            Family::V6 => 40,
        }
    }

    /// The EtherType.
    pub fn ethertype(self) -> u16 {
        match self {
            Family::V4 => 0x0800,
            Family::V6 => 0x86dd,
        }
    }

    /// Bytes of UDP payload of the smallest frame: 18 bring an IPv4 frame to
    /// the 64 bytes of Ethernet's minimum (60 in memory, the check sequence is
    /// the NIC's); IPv6 headers alone exceed it.
    pub fn payload_len(self) -> usize {
        match self {
            Family::V4 => 18,
            Family::V6 => 0,
        }
    }
}

/// The overlay's network number.
pub const VNI: u32 = 42;
/// The overlay's UDP port.
pub const VXLAN_PORT: u16 = 4789;
/// The UDP port of every Service.
pub const SERVICE_PORT: u16 = 53;
/// The UDP port of every pod.
pub const TARGET_PORT: u16 = 5353;
/// Time to live of what arrives.
pub const TTL: u8 = 64;
/// First and last SNAT port.
pub const SNAT_PORTS: (u16, u16) = (1024, 29_999);
/// Addresses of the SNAT pool.
pub const SNAT_ADDRESSES: u32 = 256;

/// Number of the port towards the cluster.
pub const CLUSTER: usize = 0;
/// Number of the port towards the clients.
pub const UPLINK: usize = 1;
/// The gateway's MACs, by port.
pub const PORT_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// The gateway's MAC in the overlay.
pub const OVERLAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
/// The MAC of the router behind which all clients are.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 4];

/// The MAC of DPDK's first `net_pcap` device in a process.
pub const DEVICE_MAC: [u8; 6] = [0x02, b'p', b'c', b'a', b'p', 0];

/// A MAC as text.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The MAC of a node on the underlay.
pub fn node_mac(node: u32) -> [u8; 6] {
    let [a, b, c, d] = node.to_be_bytes();
    [0x02, 0x10, a, b, c, d]
}

/// The MAC of a node in the overlay.
pub fn vtep_mac(node: u32) -> [u8; 6] {
    let [a, b, c, d] = node.to_be_bytes();
    [0x02, 0x20, a, b, c, d]
}

/// Who has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The gateway on the cluster's underlay, also its tunnel endpoint.
    GatewayCluster,
    /// The gateway on the uplink.
    GatewayUplink,
    /// The router on the uplink.
    Router,
    /// A node, on the underlay.
    Node(u32),
    /// A pod of a node.
    Pod(u32, u32),
    /// A Service.
    Vip(u32),
    /// An address of the SNAT pool.
    Snat(u32),
    /// A client.
    Client(u32),
}

/// Bits of a node's pod range in IPv4: 4,096 pods a node.
const POD_BITS_V4: u32 = 12;

impl Who {
    /// The address.
    pub fn addr(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4().into(),
            Family::V6 => self.v6().into(),
        }
    }

    fn v4(self) -> Ipv4Addr {
        let bits = |a: u8, b: u8| u32::from_be_bytes([a, b, 0, 0]);
        Ipv4Addr::from(match self {
            Who::GatewayCluster => bits(172, 16) + 1,
            Who::Node(node) => bits(172, 16) + 0x100 + node,
            Who::GatewayUplink => bits(198, 18) + 1,
            Who::Router => bits(198, 18) + 0x100,
            Who::Pod(node, pod) => bits(10, 0) + (node << POD_BITS_V4) + pod,
            Who::Vip(service) => bits(172, 20) + 1 + service,
            Who::Snat(n) => bits(10, 200) + n,
            Who::Client(client) => bits(100, 64) + 1 + client,
        })
    }

    fn v6(self) -> Ipv6Addr {
        let (net, n) = match self {
            Who::GatewayCluster => (1, 1),
            Who::Node(node) => (1, 0x100 + node),
            Who::GatewayUplink => (2, 1),
            Who::Router => (2, 0x100),
            Who::Pod(node, pod) => (0x8000 + node as u16, pod),
            Who::Vip(service) => (3, 1 + service),
            Who::Snat(n) => (4, 1 + n),
            // Each in a network of its own: a /64 is one source.
            Who::Client(client) => {
                return Ipv6Addr::new(0x2001, 0xdb8, 5, client as u16, 0, 0, 0, 1);
            }
        };
        Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, (n >> 16) as u16, n as u16)
    }

    /// Bits of the prefix around it: of the link for those on a link, of the
    /// node's pods for a pod.
    pub fn prefix_len(self, family: Family) -> u8 {
        match (family, self) {
            (Family::V4, Who::Pod(..)) => 32 - POD_BITS_V4 as u8,
            (Family::V4, _) => 16,
            (Family::V6, _) => 48,
        }
    }
}

/// The number in the pool of a SNAT address.
pub fn snat_number(family: Family, addr: IpAddr) -> Option<u32> {
    let low_bits = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => addr.to_bits(),
        IpAddr::V6(addr) => addr.to_bits() as u32,
    };
    let number = low_bits(addr).wrapping_sub(low_bits(Who::Snat(0).addr(family)));
    (number < SNAT_ADDRESSES && Who::Snat(number).addr(family) == addr).then_some(number)
}
