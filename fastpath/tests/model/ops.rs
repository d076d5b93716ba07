//! The operations, as data: a failing run is a list of them that can be
//! shortened and read.

use super::parse::Tuple;
use super::random::Random;
use super::wire::{ACK, FIN, RST, SYN};
use super::world::{Network, SCTP, TCP, UDP};
use std::fmt;
use std::net::IpAddr;

/// Where both sides' sequence numbers begin: they wrap soon.
const FIRST_NUMBER: u32 = 0xffff_ff00;

/// One operation. Numbers that choose among things that exist are taken modulo
/// their count, so that an operation means something in any state.
#[derive(Clone, Debug)]
pub enum Op {
    /// A packet between two places.
    Packet { queue: u8, v6: bool, from: (Network, u8), to: (Network, u8), l4: L4, shape: Shape },
    /// A packet of a flow that exists.
    Follow { queue: u8, flow: u16, side: u8, flags: u8, shape: Shape },
    /// The client of a flow sends a SYN, and its server a SYN-ACK, which
    /// acknowledges it or, by so much, another.
    Reopen { queue: u8, flow: u16, number: u32, off: u32, scales: [Option<u8>; 2] },
    /// The client of a flow, from the same port, to a port of a VIP.
    Again { queue: u8, flow: u16, frontend: u8 },
    /// The client of a Service's flow, from another port, to the same Service.
    Return { queue: u8, flow: u16, src_port: u16 },
    /// An ICMP error about a flow, on the way of one of its sides.
    Error { queue: u8, flow: u16, side: u8, form: u8, shape: Shape },
    /// A packet of a flow in fragments, each by another queue: `form` says in which
    /// order, whether some are missing, come twice or overlap.
    Datagram { queue: u8, flow: u16, side: u8, id: u8, form: u16 },
    /// Policies deny everything to the pod at an end of a flow: to its server, or
    /// from its client. A packet follows: `form` says whether of the flow, of some
    /// fragments of it, of an ICMP error about it, or of the pod's node; or an error
    /// about a flow that goes on, which would not pass by itself. Then policies are as
    /// before, and another packet follows.
    Cut { queue: u8, flow: u16, side: u8, egress: bool, form: u8 },
    /// Several packets of a flow at once.
    Burst { queue: u8, flow: u16, side: u8, count: u8 },
    /// ARP or ND.
    Link { queue: u8, port: u8, v6: bool, kind: LinkKind, sender: u8, target: (Network, u8) },
    /// Time passes, in so many steps.
    Wait { ms: u64, steps: u8 },
    /// The tables change.
    Change(Change),
    /// A neighbor changes.
    Host { host: u16, change: HostChange },
}

/// A transport header.
#[derive(Clone, Copy, Debug)]
pub enum L4 {
    Tcp {
        src_port: u16,
        dst_port: u16,
        flags: u8,
    },
    Udp {
        src_port: u16,
        dst_port: u16,
        checksum: bool,
    },
    Sctp {
        src_port: u16,
        dst_port: u16,
        /// Type of the chunk that matters.
        chunk: u8,
        /// Whether the checksum is right.
        checksum: bool,
    },
    /// `zero`: identifier, sequence number and payload are all 0.
    Echo {
        request: bool,
        id: u16,
        zero: bool,
    },
    /// ICMP of a type, of the family at hand, about some packet.
    Icmp {
        error: bool,
    },
    /// An ICMP error about a packet of the other side of these: `form` says of
    /// which type it is, whether its checksum is right, and how much it quotes.
    Error {
        about: Tuple,
        form: u8,
    },
    Other {
        protocol: u8,
    },
}

/// Everything else about a packet.
#[derive(Clone, Copy)]
pub struct Shape {
    pub ttl: u8,
    pub tos: u8,
    pub outer_tos: u8,
    pub payload: u16,
    pub dont_fragment: bool,
    pub fragment: Option<(u16, bool)>,
    pub mss: Option<(u16, bool)>,
    /// TCP's sequence and acknowledgment numbers.
    pub numbers: (u32, u32),
    /// TCP's window scale option.
    pub scale: Option<u8>,
    /// Which of some options or extension headers it has.
    pub options: u8,
    pub way_in: WayIn,
    pub twist: Option<Twist>,
    pub mutation: Option<Mutation>,
}

impl Shape {
    /// A packet with nothing special about it.
    pub const PLAIN: Shape = Shape {
        ttl: 64,
        tos: 0,
        outer_tos: 0,
        payload: 10,
        dont_fragment: true,
        fragment: None,
        mss: None,
        numbers: (FIRST_NUMBER, FIRST_NUMBER),
        scale: None,
        options: 0,
        way_in: WayIn::Natural,
        twist: None,
        mutation: None,
    };
}

/// What is special about it.
impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Shape::PLAIN;
        let mut out = f.debug_struct("Shape");
        let mut field = |name, is_plain: bool, value: &dyn fmt::Debug| {
            if !is_plain {
                out.field(name, value);
            }
        };
        field("ttl", self.ttl > 2, &self.ttl);
        field("tos", self.tos == plain.tos, &self.tos);
        field("outer_tos", self.outer_tos == plain.outer_tos, &self.outer_tos);
        field("payload", self.payload < 100, &self.payload);
        field("dont_fragment", self.dont_fragment, &self.dont_fragment);
        field("fragment", self.fragment.is_none(), &self.fragment);
        field("mss", self.mss.is_none(), &self.mss);
        field("numbers", self.numbers == plain.numbers, &self.numbers);
        field("scale", self.scale.is_none(), &self.scale);
        field("options", self.options == plain.options, &self.options);
        field("way_in", self.way_in == plain.way_in, &self.way_in);
        field("twist", self.twist.is_none(), &self.twist);
        field("mutation", self.mutation.is_none(), &self.mutation);
        out.finish_non_exhaustive()
    }
}

/// Where a packet enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayIn {
    /// Where its source is.
    Natural,
    /// Through the tunnel of a node, whatever its source is.
    Tunnel(u8),
    /// By a port.
    Port(u8),
    /// Through the tunnel of nobody.
    Stranger,
}

/// Something about a frame or its tunnel that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    OtherVlan,
    OtherEthertype,
    PriorityTag,
    OtherMac,
    GroupMac,
    Vni,
    VxlanFlags,
    InnerMac,
    InnerTag,
    InnerArp,
    OuterFragment,
}

/// A frame spoilt, or the packet in its tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    pub inner: bool,
    pub kind: MutationKind,
    pub at: u16,
    pub value: u8,
}

#[derive(Clone, Copy, Debug)]
pub enum MutationKind {
    Set,
    Truncate,
    Pad,
    /// An IPv4 header byte changes, and its checksum with it.
    Header,
}

#[derive(Clone, Copy, Debug)]
pub enum LinkKind {
    Request,
    Probe,
    Reply,
    FalseReply,
    Broken,
}

#[derive(Clone, Copy, Debug)]
pub enum Change {
    Health {
        frontend: u8,
        backend: u8,
        health: u8,
    },
    AddBackend {
        frontend: u8,
        endpoint: u8,
    },
    /// Its Services' endpoints stay where they have other addresses.
    RemoveVip {
        number: u8,
        endpoints_stay: bool,
    },
    /// A VIP with two ports; some of these are addresses that were somebody's.
    AddVip {
        v6: bool,
        place: u8,
    },
    DefaultRoute(bool),
    /// Where "behind" is.
    Behind(u8),
    Node {
        node: u8,
        present: bool,
    },
    NodeMac {
        node: u8,
        value: u8,
    },
    Mtu {
        port: u8,
        mtu: u16,
    },
    OverlayMtu(u16),
    Preserve(bool),
    /// A node has its pods' range, or not.
    PodRange {
        node: u8,
        present: bool,
    },
    /// A pod's policies for one direction select it and allow nothing; or they say
    /// what they said before that.
    Deny {
        pod: IpAddr,
        egress: bool,
    },
    Restore,
    /// What policies say of a pod's traffic in one direction.
    Policy {
        v6: bool,
        pod: u8,
        egress: bool,
        form: u32,
    },
    PolicyEpoch,
    RouteEpoch,
    AddNodePort {
        v6: bool,
        place: u8,
    },
    /// Its Service's endpoints stay where it has a VIP.
    RemoveNodePort {
        number: u8,
        endpoints_stay: bool,
    },
    /// Who may connect to a port: one of some lists.
    Sources {
        frontend: u8,
        list: u8,
    },
    /// For how long a client goes where it went; 0 for no affinity.
    Affinity {
        frontend: u8,
        ms: u32,
    },
    /// By hash, least connections, random of two.
    Balance {
        frontend: u8,
        how: u8,
    },
    /// By bits: nodes, zones, nodes only.
    Locality {
        frontend: u8,
        bits: u8,
    },
    /// The zone of a node or, behind those, of the gateway.
    Zone {
        node: u8,
        zone: u16,
    },
    Weight {
        frontend: u8,
        backend: u8,
        weight: u16,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum HostChange {
    Dies,
    Returns,
    NewMac,
}

const PLACES: &[(Network, u8)] = &[
    (Network::Uplink, 10),
    (Network::Uplink, 11),
    (Network::Uplink, 66),
    (Network::Internet, 5),
    (Network::Internet, 6),
    (Network::Tagged, 10),
    (Network::Tagged, 11),
    (Network::Cluster, 30),
    (Network::Cluster, 10),
    (Network::Behind, 7),
    (Network::Pods(0), 5),
    (Network::Pods(1), 5),
    (Network::Pods(2), 6),
    (Network::Pods(3), 7),
    (Network::Hole, 1),
    (Network::Nowhere, 1),
    SOMETIMES_VIP,
    (Network::Special, 0),
    (Network::Special, 1),
    (Network::Special, 2),
    (Network::Special, 3),
    (Network::Special, 4),
];

/// An address that is somebody's at times and a VIP at others; nobody there
/// begins anything.
pub const SOMETIMES_VIP: (Network, u8) = (Network::Internet, 9);

const CLIENTS: &[(Network, u8)] = &[
    (Network::Uplink, 10),
    (Network::Uplink, 11),
    (Network::Internet, 5),
    (Network::Internet, 6),
    (Network::Tagged, 10),
    (Network::Pods(0), 5),
    (Network::Pods(1), 5),
];

const FRONTENDS: &[(Network, u8, u8, u16)] = &[
    // Two of them are busy.
    (Network::Services, 10, TCP, 80),
    (Network::Services, 10, TCP, 80),
    (Network::Services, 10, TCP, 80),
    (Network::Uplink, 100, TCP, 80),
    (Network::Uplink, 100, TCP, 80),
    (Network::Services, 10, UDP, 53),
    (Network::Services, 10, SCTP, 80),
    (Network::Uplink, 100, TCP, 80),
    (Network::Uplink, 100, UDP, 53),
    (Network::Uplink, 100, SCTP, 80),
    (Network::Uplink, 100, TCP, 443),
    (Network::Services, 11, TCP, 80),
    (Network::Services, 11, TCP, 81),
    (SOMETIMES_VIP.0, SOMETIMES_VIP.1, TCP, 80),
    (SOMETIMES_VIP.0, SOMETIMES_VIP.1, UDP, 53),
    (Network::Uplink, 254, TCP, 30_080),
    (Network::Uplink, 254, UDP, 30_053),
    (Network::Cluster, 254, TCP, 30_080),
    (Network::Tagged, 254, UDP, 30_053),
    (Network::Tagged, 254, SCTP, 30_080),
];

/// Addresses of the gateway itself.
const OWN: &[(Network, u8)] = &[
    (Network::Uplink, 254),
    (Network::Uplink, 253),
    (Network::Cluster, 254),
    (Network::Tagged, 254),
    (Network::Pool, 1),
    (Network::Pool, 2),
    (Network::Services, 10),
    (Network::Uplink, 100),
];

/// Draws the next operation.
pub fn draw(random: &mut Random) -> Op {
    let queue = random.below(8) as u8;
    let v6 = random.one_in(2);
    match random.below(100) {
        0..18 => to_service(random, queue, v6),
        18..26 => Op::Again { queue, flow: random.next() as u16, frontend: random.next() as u8 },
        26..57 => follow(random, queue),
        57..60 => Op::Reopen {
            queue,
            flow: random.below(16) as u16,
            number: number(random),
            off: random.of(&[0, 0, 0, 1, u32::MAX]),
            scales: [(); 2].map(|()| random.one_in(2).then(|| random.of(&[0, 3, 7]))),
        },
        60..62 => Op::Error {
            queue,
            flow: random.next() as u16,
            side: random.below(2) as u8,
            form: random.next() as u8,
            shape: shape(random),
        },
        62..65 => Op::Datagram {
            queue,
            flow: random.next() as u16,
            side: random.below(2) as u8,
            id: random.below(6) as u8,
            form: random.next() as u16,
        },
        65..69 => Op::Return {
            queue,
            flow: random.next() as u16,
            src_port: 1024 + random.below(16) as u16,
        },
        69..71 => Op::Cut {
            queue,
            flow: random.below(64) as u16,
            side: random.below(2) as u8,
            egress: random.one_in(3),
            form: random.next() as u8,
        },
        71..76 => anything(random, queue, v6),
        76..79 => Op::Burst {
            queue,
            flow: random.next() as u16,
            side: random.below(2) as u8,
            count: 2 + random.below(12) as u8,
        },
        79..87 => link(random, queue, v6),
        87..91 => wait(random),
        91..97 => Op::Change(change(random, v6)),
        _ => Op::Host {
            host: random.next() as u16,
            change: random.of(&[
                HostChange::Dies,
                HostChange::Returns,
                HostChange::Returns,
                HostChange::NewMac,
            ]),
        },
    }
}

fn to_service(random: &mut Random, queue: u8, v6: bool) -> Op {
    let (network, host, protocol, port) = random.of(FRONTENDS);
    let dst_port = if random.one_in(12) { 9 } else { port };
    let src_port = 1024 + random.below(8) as u16;
    let l4 = match protocol {
        TCP => {
            let flags = if random.one_in(8) { tcp_flags(random) } else { SYN };
            L4::Tcp { src_port, dst_port, flags }
        }
        SCTP => {
            let chunk = if random.one_in(6) { random.below(16) as u8 } else { 1 };
            L4::Sctp { src_port, dst_port, chunk, checksum: !random.one_in(10) }
        }
        _ => L4::Udp { src_port, dst_port, checksum: !random.one_in(4) },
    };
    let from = random.of(CLIENTS);
    Op::Packet { queue, v6, from, to: (network, host), l4, shape: shape(random) }
}

fn follow(random: &mut Random, queue: u8) -> Op {
    let flags = if random.one_in(3) { tcp_flags(random) } else { ACK };
    Op::Follow {
        queue,
        flow: random.next() as u16,
        side: random.below(2) as u8,
        flags,
        shape: shape(random),
    }
}

fn anything(random: &mut Random, queue: u8, v6: bool) -> Op {
    let from = if random.one_in(15) { random.of(OWN) } else { random.of(PLACES) };
    let to = if random.one_in(4) { random.of(OWN) } else { random.of(PLACES) };
    let src_port = 2000 + random.below(6) as u16;
    let dst_port = random.of(&[80, 53, 443, 8080, 40_001, 40_100]);
    let l4 = match random.below(10) {
        0..2 => L4::Tcp { src_port, dst_port, flags: tcp_flags(random) },
        2 => L4::Sctp {
            src_port,
            dst_port,
            chunk: random.below(16) as u8,
            checksum: !random.one_in(4),
        },
        3..5 => L4::Udp { src_port, dst_port, checksum: random.one_in(2) },
        5..7 => L4::Echo {
            request: !random.one_in(4),
            id: random.below(5) as u16,
            zero: random.one_in(8),
        },
        7 => L4::Icmp { error: true },
        8 => L4::Icmp { error: false },
        _ => L4::Other { protocol: random.of(&[47, 50, 132, 1, 58]) },
    };
    Op::Packet { queue, v6, from, to, l4, shape: shape(random) }
}

fn tcp_flags(random: &mut Random) -> u8 {
    match random.below(12) {
        0..2 => SYN,
        2..4 => SYN | ACK,
        4..7 => ACK,
        7..9 => FIN | ACK,
        9 => RST,
        10 => RST | ACK,
        _ => random.next() as u8,
    }
}

/// The chunk type that stands for TCP flags in a packet of an association.
pub fn chunk_of(flags: u8, side: u8) -> u8 {
    match (flags, side % 2) {
        (SYN, _) => 1,
        // The cookie goes there and back.
        (SYN_ACK, 0) => 10,
        (SYN_ACK, _) => 11,
        (ACK, _) => 0,
        (FIN_ACK, 0) => 7,
        (FIN_ACK, _) => 8,
        (RST, _) => 6,
        (RST_ACK, _) => 14,
        _ => flags % 16,
    }
}

const SYN_ACK: u8 = SYN | ACK;
const FIN_ACK: u8 = FIN | ACK;
const RST_ACK: u8 = RST | ACK;

/// A sequence or acknowledgment number: often that of another segment, or the
/// one behind it, or where a window ends.
fn number(random: &mut Random) -> u32 {
    const WINDOW: u32 = 65_535;
    let ahead = random.of(&[
        0,
        0,
        0,
        1,
        1,
        1,
        2,
        u32::MAX,
        WINDOW,
        WINDOW + 1,
        WINDOW + 2,
        WINDOW << 3,
        (WINDOW << 3) + 1,
        WINDOW << 14,
        (WINDOW << 14) + 1,
        (1 << 25) - 1,
        1 << 25,
        1 << 31,
    ]);
    FIRST_NUMBER.wrapping_add(ahead)
}

fn shape(random: &mut Random) -> Shape {
    let payload = match random.below(12) {
        0 => random.of(&[1300, 1340, 1352, 1360, 1366, 1372, 1380, 1394, 1400, 1412, 1420, 1432]),
        1 => 1200 + random.below(460) as u16,
        2 => 0,
        _ => random.below(64) as u16,
    };
    let way_in = match random.below(24) {
        0 => WayIn::Tunnel(random.below(4) as u8),
        1 => WayIn::Port(random.below(3) as u8),
        2 => WayIn::Stranger,
        _ => WayIn::Natural,
    };
    let mutation = random.one_in(9).then(|| Mutation {
        inner: random.one_in(2),
        kind: random.of(&[
            MutationKind::Set,
            MutationKind::Set,
            MutationKind::Header,
            MutationKind::Truncate,
            MutationKind::Pad,
        ]),
        at: random.next() as u16,
        value: random.next() as u8,
    });
    Shape {
        ttl: if random.one_in(20) { random.below(3) as u8 } else { 40 + random.below(30) as u8 },
        tos: if random.one_in(3) { random.next() as u8 } else { 0 },
        outer_tos: if random.one_in(3) { random.next() as u8 } else { 0 },
        payload,
        dont_fragment: !random.one_in(4),
        fragment: random.one_in(25).then(|| (random.of(&[0, 0, 40, 80, 1]), random.one_in(2))),
        mss: random
            .one_in(2)
            .then(|| (random.of(&[500, 1370, 1400, 1410, 1460, 9000]), random.one_in(3))),
        numbers: (number(random), number(random)),
        scale: random.one_in(2).then(|| random.of(&[0, 3, 3, 7, 200])),
        options: if random.one_in(12) { 1 + random.below(7) as u8 } else { 0 },
        way_in,
        twist: random.one_in(15).then(|| {
            random.of(&[
                Twist::OtherVlan,
                Twist::OtherEthertype,
                Twist::PriorityTag,
                Twist::OtherMac,
                Twist::GroupMac,
                Twist::Vni,
                Twist::VxlanFlags,
                Twist::InnerMac,
                Twist::InnerTag,
                Twist::InnerArp,
                Twist::OuterFragment,
            ])
        }),
        mutation,
    }
}

fn link(random: &mut Random, queue: u8, v6: bool) -> Op {
    use LinkKind::{Broken, FalseReply, Probe, Reply, Request};
    let kind = random.of(&[Request, Request, Request, Probe, Reply, FalseReply, Broken]);
    // A false claim is one of an address of the gateway's: others are believed.
    let target = if random.one_in(4) && !matches!(kind, FalseReply) {
        random.of(&[(Network::Uplink, 66), (Network::Tagged, 11)])
    } else {
        random.of(OWN)
    };
    Op::Link {
        queue,
        port: random.below(3) as u8,
        v6,
        kind,
        sender: random.of(&[10, 11, 12, 20, 66]),
        target,
    }
}

fn wait(random: &mut Random) -> Op {
    if !random.one_in(7) {
        let (ms, steps) = random.of(&[(1, 1), (200, 1), (900, 2), (2_000, 2)]);
        return Op::Wait { ms, steps };
    }
    let (ms, steps) = random.of(&[
        (1_000, 5),
        (4_000, 4),
        (11_000, 1),
        (31_000, 1),
        (62_000, 1),
        (125_000, 1),
        (303_000, 1),
        (610_000, 1),
        (3_700_000, 1),
        (90_000_000, 1),
    ]);
    Op::Wait { ms, steps }
}

fn change(random: &mut Random, v6: bool) -> Change {
    let (a, b) = (random.next() as u8, random.next() as u8);
    match random.below(58) {
        0..8 => Change::Health { frontend: a, backend: b, health: random.below(4) as u8 },
        8..13 => Change::AddBackend { frontend: a, endpoint: b },
        13..15 => Change::RemoveVip { number: a, endpoints_stay: random.one_in(2) },
        15..18 => Change::AddVip { v6, place: a },
        18 => Change::DefaultRoute(random.one_in(2)),
        19 => Change::Behind(a),
        20 => Change::Node { node: a, present: random.one_in(2) },
        21 => Change::NodeMac { node: a, value: b },
        22 => Change::Mtu { port: a, mtu: random.of(&[1400, 1420, 1500]) },
        23 => random.of(&[
            Change::OverlayMtu(1440),
            Change::OverlayMtu(1300),
            Change::OverlayMtu(1400),
        ]),
        24 => Change::Preserve(!random.one_in(5)),
        25 => Change::PodRange { node: a % 4, present: !random.one_in(4) },
        26 => random.of(&[Change::PolicyEpoch, Change::RouteEpoch]),
        27..29 => Change::AddNodePort { v6, place: a },
        29 => Change::RemoveNodePort { number: a, endpoints_stay: !random.one_in(3) },
        // No list, mostly.
        30..34 => Change::Sources { frontend: a, list: if random.one_in(2) { b } else { 0 } },
        34..39 => {
            let ms = random.of(&[0, 2_000, 60_000, 60_000, 10_800_000]);
            Change::Affinity { frontend: a, ms }
        }
        39..42 => Change::Balance { frontend: a, how: b },
        42..45 => Change::Locality { frontend: a, bits: random.of(&[0, 0, 1, 2, 2, 3, 5]) },
        45..55 => {
            let form = random.next() as u32;
            Change::Policy { v6, pod: a, egress: random.one_in(2), form }
        }
        55 => Change::Zone { node: a, zone: random.below(3) as u16 },
        _ => Change::Weight { frontend: a, backend: b, weight: random.of(&[1, 2, 7, 100]) },
    }
}
