//! The frame of a probe, as it would come to the gateway.

use super::tuple::{FlowTuple, Protocol, SOURCE_PORT};
use etherparse::{
    EtherType, Ethernet2Header, IpHeaders, IpNumber, PacketBuilder, PacketBuilderStep,
    SingleVlanHeader, VlanId,
};
use sluice_fastpath::wire::crc32c;
use sluice_tables::{Ends, Family, PortLocal, RouteTarget, Tables, V4, V6, VtepId, Vxlan};
use std::net::IpAddr;

/// Hops that a sender gives a packet.
const TTL: u8 = 64;

/// Who sends it on the link: an address that is administered locally.
const SENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The identifier of an echo request.
const ECHO_ID: u16 = 1;

/// By what way a packet comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// By a port, by its index.
    Port(usize),
    /// By a node's tunnel.
    Tunnel(VtepId),
}

/// A probe's frame, and where to send it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The way that it takes.
    pub entrance: Entrance,
    /// Nothing routes to the source: any port would do.
    pub is_guess: bool,
    /// The port that receives it, by its index.
    pub port: usize,
    /// The frame.
    pub frame: Vec<u8>,
}

/// The frame of a packet, as it would come: through the tunnel of the node that has
/// its source, else by the port that leads to its source. `None` without ports.
pub fn arrival(tables: &Tables, tuple: &FlowTuple) -> Option<Arrival> {
    let packet = packet(tuple);
    let is_v4 = tuple.source.is_ipv4();
    let way = way(tables, tuple.source);
    if let Way::Tunnel(vtep) = way
        && let Some((port, vxlan)) = underlay(tables)
        && let Some(ends) = tables.vtep(vtep).and_then(|node| vxlan.ends(node, is_v4))
    {
        let outer = encapsulate(vxlan, ends, ethernet(vxlan.mac, None, is_v4, &packet));
        let is_v4 = matches!(ends, Ends::V4(..));
        let frame = ethernet(port.mac, port.vlan, is_v4, &outer);
        let (entrance, port) = (Entrance::Tunnel(vtep), usize::from(vxlan.port.0));
        return Some(Arrival { entrance, is_guess: false, port, frame });
    }
    let (index, is_guess) = match way {
        Way::Port(index) => (index, false),
        // The node of a source without a tunnel is on the underlay.
        Way::Tunnel(_) => (usize::from(tables.local.vxlan.as_ref()?.port.0), true),
        Way::None => (outer_port(tables), true),
    };
    let port = tables.local.ports.get(index)?;
    let frame = ethernet(port.mac, port.vlan, is_v4, &packet);
    Some(Arrival { entrance: Entrance::Port(index), is_guess, port: index, frame })
}

/// How packets of a source come.
enum Way {
    Port(usize),
    Tunnel(VtepId),
    None,
}

fn way(tables: &Tables, source: IpAddr) -> Way {
    fn of<F: Family>(tables: &Tables, source: IpAddr) -> Option<Way> {
        let source = F::from_ip(source)?;
        let family = F::of(tables);
        if let Some(vtep) = family.tunnel_devices.get(&source) {
            return Some(Way::Tunnel(*vtep));
        }
        Some(match family.route(&source)? {
            RouteTarget::Connected(port) | RouteTarget::Via(port, _) => {
                Way::Port(usize::from(port.0))
            }
            RouteTarget::Tunnel(vtep) => Way::Tunnel(vtep),
            RouteTarget::Blackhole => Way::None,
        })
    }
    of::<V4>(tables, source).or_else(|| of::<V6>(tables, source)).unwrap_or(Way::None)
}

/// The first port that is not the underlay's, if there is one.
fn outer_port(tables: &Tables) -> usize {
    let underlay = tables.local.vxlan.as_ref().map(|vxlan| vxlan.port);
    let ports = &tables.local.ports;
    ports.iter().position(|port| Some(port.id) != underlay).unwrap_or(0)
}

fn underlay(tables: &Tables) -> Option<(&PortLocal, &Vxlan)> {
    let vxlan = tables.local.vxlan.as_ref()?;
    Some((tables.port(vxlan.port)?, vxlan))
}

/// The IP packet that opens a flow.
pub fn packet(tuple: &FlowTuple) -> Vec<u8> {
    let source_port = tuple.source_port.unwrap_or(SOURCE_PORT);
    let step = ip(tuple.source, tuple.destination);
    match tuple.protocol {
        Protocol::Tcp => {
            let step = step.tcp(source_port, tuple.port, 1, u16::MAX).syn();
            written(|out| step.write(out, &[]))
        }
        Protocol::Udp => {
            let step = step.udp(source_port, tuple.port);
            written(|out| step.write(out, &[0; 4]))
        }
        Protocol::Sctp => {
            let init = sctp_init(source_port, tuple.port);
            written(|out| step.write(out, IpNumber::SCTP, &init))
        }
        Protocol::Icmp if tuple.source.is_ipv4() => {
            written(|out| step.icmpv4_echo_request(ECHO_ID, 1).write(out, &[]))
        }
        Protocol::Icmp => written(|out| step.icmpv6_echo_request(ECHO_ID, 1).write(out, &[])),
    }
}

/// The IP header of a packet. Both addresses are of one family.
fn ip(source: IpAddr, destination: IpAddr) -> PacketBuilderStep<IpHeaders> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), TTL)
        }
        (source, destination) => {
            let octets = |addr: IpAddr| match addr {
                IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
                IpAddr::V6(addr) => addr.octets(),
            };
            PacketBuilder::ipv6(octets(source), octets(destination), TTL)
        }
    }
}

/// What is written into memory, which takes everything of a probe's length.
fn written<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Vec<u8> {
    let mut out = Vec::new();
    if write(&mut out).is_err() {
        out.clear();
    }
    out
}

/// An SCTP packet with an INIT chunk (RFC 9260 section 3.3.2).
fn sctp_init(source_port: u16, port: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(source_port.to_be_bytes());
    packet.extend(port.to_be_bytes());
    // Verification tag 0, checksum.
    packet.extend([0; 8]);
    packet.extend([1, 0, 0, 20]);
    // Initiate tag, window, one stream each way, initial TSN.
    packet.extend(1u32.to_be_bytes());
    packet.extend(65_536u32.to_be_bytes());
    packet.extend([0, 1, 0, 1]);
    packet.extend(1u32.to_be_bytes());
    crc32c::fill(&mut packet);
    packet
}

/// A VXLAN packet (RFC 7348) from a node to the gateway.
fn encapsulate(vxlan: &Vxlan, ends: Ends, inner: Vec<u8>) -> Vec<u8> {
    let (own, node) = match ends {
        Ends::V4(own, node) => (V4::to_ip(own), V4::to_ip(node)),
        Ends::V6(own, node) => (V6::to_ip(own), V6::to_ip(node)),
    };
    let mut payload = vec![8, 0, 0, 0];
    payload.extend((vxlan.vni << 8).to_be_bytes());
    payload.extend(inner);
    let step = ip(node, own).udp(SOURCE_PORT, vxlan.udp_port);
    written(|out| step.write(out, &payload))
}

fn ethernet(to: [u8; 6], vlan: Option<u16>, is_v4: bool, packet: &[u8]) -> Vec<u8> {
    let ip = if is_v4 { EtherType::IPV4 } else { EtherType::IPV6 };
    let tag = vlan.and_then(|id| VlanId::try_new(id).ok()).map(|vlan_id| SingleVlanHeader {
        vlan_id,
        ether_type: ip,
        ..SingleVlanHeader::default()
    });
    let ether_type = if tag.is_some() { EtherType::VLAN_TAGGED_FRAME } else { ip };
    let header = Ethernet2Header { source: SENDER_MAC, destination: to, ether_type };
    let mut frame = header.to_bytes().to_vec();
    frame.extend(tag.iter().flat_map(SingleVlanHeader::to_bytes));
    frame.extend(packet);
    frame
}
