//! SCTP's part of connection tracking (RFC 9260, and Linux's
//! `nf_conntrack_proto_sctp`, simplified).

use crate::core::Core;
use crate::flow::state::next_sctp;
use crate::flow::{Direction, Entry, FlowTable, State};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::conntrack::Revalidated;
use crate::wire::crc32c;
use crate::wire::ip::Ip;
use crate::wire::l4::Kind;
use crate::wire::sctp::Chunk;

/// True for a packet that arrived corrupt and would leave with a checksum that is
/// right.
pub fn is_corrupt<F: Ip>(entry: &Entry<F>, packet: &Packet<F>) -> bool {
    matches!(packet.ip.l4.kind, Kind::Sctp(_))
        && entry.changes_ports()
        && !crc32c::is_right(packet.l4())
}

/// Follows an association, by the chunk that says most of it. The flow has ended
/// when the packet begins a new one on the tuple of one that is over.
#[cold]
pub fn follow<F: Ip>(
    core: &Core,
    table: &mut FlowTable<F>,
    packet: &Packet<F>,
    chunk: Chunk,
    number: u32,
) -> Revalidated {
    let entry = table.entry(number);
    let from_client = FlowTable::<F>::direction(number) == Direction::Original;
    if is_corrupt(entry, packet) {
        return Revalidated::Drop(DropReason::BadSctpChecksum);
    }
    let is_over = matches!(entry.state, State::SctpClosed | State::SctpShutdown);
    if is_over && from_client && chunk == Chunk::Init {
        return Revalidated::Ended;
    }
    let next = next_sctp(entry.state, chunk, from_client);
    if next != entry.state {
        table.set_state(number, next, 0, core.now_ms);
    }
    Revalidated::Keeps
}
