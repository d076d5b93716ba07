//! The operations, as data: a failing run is a list of them that can be
//! shortened and read.

use super::parse::Tuple;
use super::wire::{ACK, FIN, RST, SYN};
use super::world::Network;

mod change;
mod draw;
mod shape;

pub use change::{Change, HostChange};
pub use draw::draw;
pub use shape::{Mutation, MutationKind, Shape, Twist, WayIn};

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

#[derive(Clone, Copy, Debug)]
pub enum LinkKind {
    Request,
    Probe,
    Reply,
    FalseReply,
    Broken,
}

/// An address that is somebody's at times and a VIP at others; nobody there
/// begins anything.
pub const SOMETIMES_VIP: (Network, u8) = (Network::Internet, 9);

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
