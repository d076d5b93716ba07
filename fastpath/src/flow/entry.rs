use super::{Key, State};
use crate::packet::Ingress;
use crate::wire::ip::Ip;
use sluice_tables::{ServiceId, V4, V6};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// As the first packet of the flow.
    Original,
    /// The other way.
    Reply,
}

impl Direction {
    /// The other one.
    pub fn opposite(self) -> Self {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }
}

/// One direction of a flow: what identifies it, and the whole decision about
/// it, compiled. Plain data in one cache line (IPv4) or two (IPv6), so that an
/// established packet touches nothing else of its flow.
///
/// ```text
///  IPv4   0 key 14 | state 1 | bits 1 | 16 new addresses 8
///        24 new ports 4 | 28 checksum differences 4 | 32 adjacency 4
///        36 service 4 | 40 ingress 4 | 44 epochs 8 | 52 acknowledgment 4
///        56 last seen 4 | 60 packets 4 | 64
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Entry<F: Ip> {
    /// The tuple of packets that take this direction.
    pub key: Key<F>,
    /// Where the connection is; the same in both directions.
    pub state: State,
    /// [`Entry::TRANSLATED`] and the like, and TCP's FINs
    /// ([`super::state::fin`]); the same in both directions, but for
    /// [`Entry::ACKED`] and [`Entry::HALF_OPEN`].
    pub bits: u8,
    /// Source address from here on.
    pub new_src: F::Addr,
    /// Destination address from here on.
    pub new_dst: F::Addr,
    /// Source port from here on.
    pub new_src_port: u16,
    /// Destination port from here on.
    pub new_dst_port: u16,
    /// What the IP header's checksum gains, the hop included.
    pub ip_delta: u16,
    /// What the transport checksum gains.
    pub l4_delta: u16,
    /// Where it goes ([`crate::adjacency::AdjacencyId`]).
    pub adjacency: u32,
    /// The Service, for counters and epochs.
    pub service: ServiceId,
    /// Where it came from last.
    pub ingress: Ingress,
    /// Epoch of routes and policy that it was judged in ([`crate::core::Core::epoch`]).
    pub epoch: u32,
    /// Service epoch that its backend was looked at in.
    pub service_epoch: u32,
    /// TCP: the latest acknowledgment number that this direction has sent, if
    /// [`Entry::ACKED`].
    pub ack: u32,
    /// Time of the last packet, in milliseconds (wraps).
    pub last_seen_ms: u32,
    /// Packets; saturates.
    pub packets: u32,
}

impl<F: Ip> Entry<F> {
    /// Bits of [`super::state::fin`].
    pub const FINS: u8 = 0x0f;
    /// Bit: addresses or ports change.
    pub const TRANSLATED: u8 = 0x10;
    /// Bit: the flow holds a SNAT port.
    pub const SNAT: u8 = 0x20;
    /// Bit: this direction has acknowledged.
    pub const ACKED: u8 = 0x40;
    /// Bit of the original direction: nobody has answered, or the handshake is
    /// not over.
    pub const HALF_OPEN: u8 = 0x80;

    /// Longest step of an acknowledgment that is believed: a forged one may not
    /// lead the window of resets far away. No more is on its way at once
    /// unless both ends have buffers of 32 MiB.
    const ACK_STEP_MAX: u32 = 1 << 25;

    /// A free entry.
    pub fn free() -> Self {
        Entry {
            key: Key::default(),
            state: State::Free,
            bits: 0,
            new_src: F::Addr::default(),
            new_dst: F::Addr::default(),
            new_src_port: 0,
            new_dst_port: 0,
            ip_delta: 0,
            l4_delta: 0,
            adjacency: 0,
            service: ServiceId::NONE,
            ingress: Ingress::UNSEEN,
            epoch: 0,
            service_epoch: 0,
            ack: 0,
            last_seen_ms: 0,
            packets: 0,
        }
    }

    /// True when addresses or ports change.
    #[inline]
    pub fn is_translated(&self) -> bool {
        self.bits & Self::TRANSLATED != 0
    }

    /// True when ports change. SCTP needs its packets whole then: its checksum
    /// covers the ports, and no fragment holds all that it covers.
    #[inline]
    pub fn changes_ports(&self) -> bool {
        (self.new_src_port, self.new_dst_port) != (self.key.src_port, self.key.dst_port)
    }

    /// The verification tag of SCTP packets of this direction, if it is known.
    pub fn tag(&self) -> Option<u32> {
        (self.bits & Self::ACKED != 0).then_some(self.ack)
    }

    /// Notes the verification tag of SCTP packets of this direction.
    pub fn note_tag(&mut self, tag: u32) {
        self.ack = tag;
        self.bits |= Self::ACKED;
    }

    /// Notes what a TCP segment of this direction acknowledges.
    #[inline]
    pub fn note_ack(&mut self, ack: u32) {
        if ack.wrapping_sub(self.ack) < Self::ACK_STEP_MAX || self.bits & Self::ACKED == 0 {
            self.ack = ack;
            self.bits |= Self::ACKED;
        }
    }
}

const _: () = assert!(size_of::<Entry<V4>>() == 64);
const _: () = assert!(size_of::<Entry<V6>>() == 128);
