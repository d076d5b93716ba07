//! What a gateway should do with a frame, said as naively as can be: no cache,
//! no epochs, no incremental checksums; every packet is judged by the world as
//! it is now.

use super::flows::{Flow, Flows, ServiceCount, Translation};
use super::fragments::Datagrams;
use super::parse::{self, Packet, Part, Tuple};
use super::services::Visits;
use super::wire::{self, Tunnel};
use super::world::{Mac, Target, UDP, World, family};
use sluice_fastpath::DropReason;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Where a packet came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    Port(u8),
    Node(usize),
}

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub port: u8,
    pub next_hop: IpAddr,
    pub tunnel: Option<usize>,
    /// Largest (inner) IP packet.
    pub mtu: usize,
}

/// A frame that should leave, but for its next hop's MAC.
#[derive(Clone, Debug)]
pub struct Emit {
    pub port: u8,
    pub next_hop: IpAddr,
    pub content: Content,
    /// The flow and direction, for order and for the tunnel's source port.
    pub flow: Option<(u64, usize)>,
}

/// What a frame carries.
#[derive(Clone)]
pub enum Content {
    /// A complete frame, its destination MAC included: ARP, ND.
    Frame(Vec<u8>),
    /// An IP packet, plain or in a tunnel.
    Ip {
        packet: Vec<u8>,
        tunnel: Option<Tunnel>,
        /// The transport checksum was right when the packet came.
        is_sound: bool,
        /// Its identification is the subject's choice.
        renumbered: bool,
    },
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::Frame(frame) => write!(f, "frame {}", hex(frame)),
            Content::Ip { packet, tunnel, .. } => {
                let to = tunnel.as_ref().map(|tunnel| tunnel.dst);
                write!(
                    f,
                    "ip {} ({} bytes) tunnel {to:?}",
                    hex(&packet[..packet.len().min(80)]),
                    packet.len()
                )
            }
        }
    }
}

/// Bytes as text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What should come of the frames of a step.
#[derive(Debug, Default)]
pub struct Outcome {
    pub drops: Vec<DropReason>,
    pub consumed: u64,
    pub originated: u64,
    /// Resets that are passed on and not believed.
    pub resets_ignored: u64,
    /// Handshakes that began again on the tuple of a connection.
    pub restarts: u64,
    /// Flows with another port of the client's own address.
    pub other_ports: u64,
    /// Half-open flows that gave way to new ones.
    pub gave_way: u64,
    pub emits: Vec<Emit>,
    /// Tuples whose flow was created or used.
    pub touched: BTreeSet<u64>,
    pub events: BTreeSet<Event>,
}

/// Something that a long run must meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A flow to a node port.
    NodePort,
    /// Another port of an address that has node ports is asked for.
    PortBesideNodePort,
    /// A later fragment of such a flow, an ICMP error about one.
    NodePortFragment,
    NodePortError,
    /// A packet of such a flow goes on, or ends it, when the node port is gone.
    NodePortOutlived,
    NodePortEnded,
    /// A flow ends since its client is no longer allowed.
    SourceEnded,
    /// A client gets endpoints of its own node, of its node's zone, of the
    /// gateway's zone, and not all.
    NearNode,
    NearZoneOfNode,
    NearZoneOfGateway,
    /// A client goes where it went, which it would not by itself; as this worker
    /// knows, as another has told it.
    AffinityKept,
    AffinityOfOtherWorker,
    /// A client goes elsewhere, since the endpoint has gone or the time is over.
    AffinityMoved,
    AffinityOver,
    /// Weights change what is chosen.
    Weighted,
    /// A packet of a flow that policies cut; a fragment of one; an ICMP error about
    /// one.
    Cut,
    CutFragment,
    CutError,
    /// A flow that was cut goes on.
    Resumed,
    /// A pod's own node speaks with it, or it with the node.
    OwnNode,
    /// An ICMP error goes with its flow, which would be denied.
    Related,
    /// Not all have the fewest flows.
    LeastConnections,
    RandomOfTwo,
}

/// What the oracle must ask the subject: its random choices, and which
/// neighbors are of interest to it.
pub trait Choices {
    /// What the flow with this original tuple becomes that a worker has: its
    /// owner has looked at it by now.
    fn translation(&self, tuple: &Tuple, owner: usize) -> Option<Translation>;

    /// Whether a worker still has a flow with this tuple that ended, and has not
    /// looked at it since.
    fn lingers(&self, tuple: &Tuple, worker: usize) -> bool;

    /// The same, of a flow that is translated.
    fn lingers_translated(&self, tuple: &Tuple, worker: usize) -> bool;

    /// How many flows of an endpoint have ended that a worker still has.
    fn lingering(&self, backend: u32, worker: usize) -> u64;

    /// How many packets the subject dropped for a reason just now.
    fn dropped(&self, reason: DropReason) -> u64;

    /// Whether the subject has a flow.
    fn has(&self, flow: &Flow) -> bool;

    /// Whether the worker that a frame came to knew a neighbor before.
    fn knew(&self, port: u8, address: &IpAddr) -> bool;
}

/// Endpoints of flows that ended, by the flows' tuples and workers.
pub type Ended = BTreeMap<([Tuple; 2], usize), Option<u32>>;

/// The oracle.
pub struct Oracle {
    pub world: World,
    pub flows: Flows,
    pub now_ms: u64,
    pub services: BTreeMap<u32, ServiceCount>,
    pub out: Outcome,
    /// Flows that ended because the world changed.
    pub ended: Ended,
    /// Fragments that wait, and what is known of their datagrams.
    pub datagrams: Datagrams,
    pub visits: Visits,
    /// Something that no oracle expects of the subject's choices.
    pub complaint: Option<String>,
}

impl Oracle {
    pub fn new(world: World) -> Self {
        Oracle {
            world,
            flows: Flows::default(),
            now_ms: 0,
            services: BTreeMap::new(),
            out: Outcome::default(),
            ended: Ended::new(),
            datagrams: Datagrams::default(),
            visits: Visits::new(),
            complaint: None,
        }
    }

    pub(super) fn drop(&mut self, reason: DropReason) {
        self.out.drops.push(reason);
    }

    pub(super) fn met(&mut self, event: Event) {
        self.out.events.insert(event);
    }

    pub(super) fn complain(&mut self, complaint: String) {
        self.complaint.get_or_insert(complaint);
    }

    /// A frame arrives by a port.
    pub fn receive(&mut self, port: u8, frame: &[u8], choices: &dyn Choices) {
        if let Err(reason) = self.try_receive(port, frame, choices) {
            self.drop(reason);
        }
    }

    fn try_receive(
        &mut self,
        port: u8,
        frame: &[u8],
        choices: &dyn Choices,
    ) -> Result<(), DropReason> {
        let link = parse::link(frame)?;
        let interface = &self.world.interfaces[usize::from(port)];
        if link.vlan != interface.vlan {
            return Err(DropReason::WrongVlan);
        }
        let group = link.dst[0] & 1 == 1;
        if !group && link.dst != interface.mac {
            return Err(DropReason::NotOurMac);
        }
        let data = &frame[link.len..];
        let packet = match link.ethertype {
            0x0800 => parse::v4(data)?,
            0x86dd => parse::v6(data)?,
            0x0806 => return self.arp(port, data, choices),
            _ => return Err(DropReason::UnknownEthertype),
        };
        let data = &data[..packet.len];
        let overlay = &self.world.overlay;
        let vtep = if packet.tuple.dst.is_ipv4() { overlay.v4 } else { overlay.v6 };
        // Tunnel packets come by the underlay's port alone.
        if vtep == Some(packet.tuple.dst)
            && port == 1
            && !group
            && packet.tuple.protocol == UDP
            && (packet.part != Part::Whole || packet.tuple.dst_port == overlay.udp_port)
        {
            return self.decap(data, &packet, choices);
        }
        if packet.part == Part::Whole
            && packet.tuple.protocol == wire::ICMPV6
            && !packet.tuple.dst.is_ipv4()
            && self.nd(port, data, &packet, choices)?
        {
            return Ok(());
        }
        if group || is_multicast(&packet.tuple.dst) {
            return Err(DropReason::Multicast);
        }
        self.judge(data.to_vec(), packet, Ingress::Port(port), choices);
        Ok(())
    }

    fn decap(
        &mut self,
        data: &[u8],
        outer: &Packet,
        choices: &dyn Choices,
    ) -> Result<(), DropReason> {
        if outer.part != Part::Whole {
            return Err(DropReason::TunnelFragment);
        }
        let udp_len = usize::from(wire::be16(data, outer.l4 + 4));
        let data = &data[outer.l4 + 8..outer.l4 + udp_len];
        if data.len() < 8 {
            return Err(DropReason::Truncated);
        }
        if data[0] & 8 == 0 {
            return Err(DropReason::BadVxlan);
        }
        let vni = u32::from_be_bytes([0, data[4], data[5], data[6]]);
        if vni != self.world.overlay.vni {
            return Err(DropReason::WrongVni);
        }
        let node = self.world.node_by_underlay(&outer.tuple.src).ok_or(DropReason::UnknownVtep)?;
        let link = parse::link(&data[8..])?;
        if link.dst != self.world.overlay.mac || link.vlan.is_some() {
            return Err(DropReason::BadInnerFrame);
        }
        let data = &data[8 + link.len..];
        let mut packet = match link.ethertype {
            0x0800 => parse::v4(data)?,
            0x86dd => parse::v6(data)?,
            _ => return Err(DropReason::BadInnerFrame),
        };
        let mut data = data[..packet.len].to_vec();
        // RFC 6040 section 4.2: not-ECT 0, ECT(1) 1, ECT(0) 2, CE 3.
        let ecn = match (packet.tos & 3, outer.tos & 3) {
            (0, 3) => return Err(DropReason::EcnNotCapable),
            (0, _) => 0,
            (_, 3) => 3,
            (2, 1) => 1,
            (inner, _) => inner,
        };
        packet.tos = packet.tos & 0xfc | ecn;
        set_tos(&mut data, packet.tos);
        if is_multicast(&packet.tuple.dst) {
            return Err(DropReason::Multicast);
        }
        self.judge(data, packet, Ingress::Node(node), choices);
        Ok(())
    }

    /// The way to a destination.
    pub fn way(&self, dst: &IpAddr) -> Result<Way, DropReason> {
        let mtu = |port: u8| usize::from(self.world.interfaces[usize::from(port)].mtu);
        let plain = |port, next_hop| Way { port, next_hop, tunnel: None, mtu: mtu(port) };
        match self.world.lookup(dst) {
            None => Err(DropReason::NoRoute),
            Some(Target::Blackhole) => Err(DropReason::Blackhole),
            Some(Target::Connected(port)) => Ok(plain(port, *dst)),
            Some(Target::Via(port, next_hop)) => Ok(plain(port, next_hop)),
            Some(Target::Tunnel(node)) => self.tunnel_way(node),
        }
    }

    /// The way through a node's tunnel.
    pub(super) fn tunnel_way(&self, node: usize) -> Result<Way, DropReason> {
        let (_, to) = self.tunnel_ends(node).ok_or(DropReason::TunnelUnreachable)?;
        let (port, next_hop) = match self.world.lookup(&to) {
            Some(Target::Connected(port)) => (port, to),
            Some(Target::Via(port, next_hop)) => (port, next_hop),
            _ => return Err(DropReason::TunnelUnreachable),
        };
        // Outer IP, UDP, VXLAN, inner Ethernet.
        let overhead = if to.is_ipv4() { 20 } else { 40 } + 8 + 8 + 14;
        let port_mtu = usize::from(self.world.interfaces[usize::from(port)].mtu);
        let mtu = usize::from(self.world.overlay.mtu).min(port_mtu - overhead);
        Ok(Way { port, next_hop, tunnel: Some(node), mtu })
    }

    /// Both ends of a node's tunnel: IPv4 if both have it, else IPv6.
    pub fn tunnel_ends(&self, node: usize) -> Option<(IpAddr, IpAddr)> {
        let peer = self.world.nodes.get(node).filter(|node| node.present)?;
        let own = &self.world.overlay;
        own.v4.zip(peer.v4).or(own.v6.zip(peer.v6))
    }

    /// A packet leaves, as it is.
    pub(super) fn emit(
        &mut self,
        packet: Vec<u8>,
        way: Way,
        is_sound: bool,
        flow: Option<(u64, usize)>,
    ) {
        let emit = self.emit_of(packet, way, is_sound, flow);
        self.out.emits.push(emit);
    }

    /// A packet that leaves by a way.
    pub(super) fn emit_of(
        &self,
        packet: Vec<u8>,
        way: Way,
        is_sound: bool,
        flow: Option<(u64, usize)>,
    ) -> Emit {
        let tunnel = way.tunnel.and_then(|node| {
            let (src, dst) = self.tunnel_ends(node)?;
            Some(Tunnel {
                src,
                dst,
                src_port: 0,
                dst_port: self.world.overlay.udp_port,
                vni: self.world.overlay.vni,
                flags: 8,
                inner_vlan: None,
                inner_ethertype: None,
                inner_dst: self.world.nodes[node].mac,
                inner_src: self.world.overlay.mac,
                tos: tos(&packet),
                fragment: None,
            })
        });
        let content = Content::Ip { packet, tunnel, is_sound, renumbered: false };
        Emit { port: way.port, next_hop: way.next_hop, content, flow }
    }

    /// A frame of ARP or ND leaves.
    pub(super) fn emit_frame(&mut self, port: u8, to: Mac, ethertype: u16, payload: &[u8]) {
        let interface = &self.world.interfaces[usize::from(port)];
        let frame = wire::ethernet(to, interface.mac, interface.vlan, ethertype, payload);
        self.out.originated += 1;
        // Frames without a next hop all wait in one queue, in order.
        let next_hop = IpAddr::from([0; 4]);
        self.out.emits.push(Emit { port, next_hop, content: Content::Frame(frame), flow: None });
    }

    /// A packet that is too big for its way and may be cut is, each piece with
    /// its own header (RFC 791 section 3.2).
    pub(super) fn emit_in_pieces(
        &mut self,
        packet: Vec<u8>,
        way: Way,
        is_sound: bool,
        flow: Option<(u64, usize)>,
    ) {
        if packet.len() <= way.mtu {
            return self.emit(packet, way, is_sound, flow);
        }
        let header_len = usize::from(packet[0] & 0xf) * 4;
        let first_offset = wire::be16(&packet, 6) & 0x1fff;
        let last_more = wire::be16(&packet, 6) & 0x2000;
        let payload = &packet[header_len..];
        let mut at = 0;
        let mut pieces = Vec::new();
        while at < payload.len() {
            let mut header = packet[..20].to_vec();
            match at {
                0 => header.extend_from_slice(&packet[20..header_len]),
                _ => header.extend(copied_options(&packet[20..header_len])),
            }
            let room = (way.mtu - header_len) / 8 * 8;
            let piece = &payload[at..payload.len().min(at + room)];
            let more = if at + piece.len() < payload.len() { 0x2000 } else { last_more };
            let word = more | (first_offset + (at / 8) as u16);
            header[0] = 0x40 | (header.len() / 4) as u8;
            let len = header.len() + piece.len();
            header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            header[6..8].copy_from_slice(&word.to_be_bytes());
            wire::fix_v4_header(&mut header);
            pieces.push([header, piece.to_vec()].concat());
            at += piece.len();
        }
        self.out.originated += pieces.len() as u64 - 1;
        for piece in pieces {
            self.emit(piece, way, is_sound, flow);
        }
    }

    /// The first address of a family's pool.
    pub(super) fn pool_address(&self, like: &IpAddr) -> Option<IpAddr> {
        self.world.pools[family(like)].addresses.first().copied()
    }
}

/// Options that go into later fragments: those with the copied flag (RFC 791
/// section 3.1), padded to whole words.
fn copied_options(options: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < options.len() && options[at] != 0 {
        let len = if options[at] == 1 { 1 } else { usize::from(options[at + 1]) };
        if options[at] & 0x80 != 0 {
            out.extend_from_slice(&options[at..at + len]);
        }
        at += len;
    }
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

pub(super) fn is_multicast(address: &IpAddr) -> bool {
    address.is_multicast()
}

/// The type of service or traffic class of a packet.
pub(super) fn tos(packet: &[u8]) -> u8 {
    if packet[0] >> 4 == 4 { packet[1] } else { packet[0] << 4 | packet[1] >> 4 }
}

fn set_tos(packet: &mut [u8], tos: u8) {
    if packet[0] >> 4 == 4 {
        packet[1] = tos;
        wire::fix_v4_header(packet);
    } else {
        packet[0] = 0x60 | tos >> 4;
        packet[1] = packet[1] & 0xf | tos << 4;
    }
}
