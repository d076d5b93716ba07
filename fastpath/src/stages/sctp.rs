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
use crate::wire::sctp::{self, Chunk};

/// True for a packet that arrived corrupt and would leave with a checksum that is
/// right.
pub fn is_corrupt<F: Ip>(entry: &Entry<F>, packet: &Packet<F>) -> bool {
    matches!(packet.ip.l4.kind, Kind::Sctp(_))
        && entry.changes_ports()
        && !crc32c::is_right(packet.l4())
}

/// Follows an association, by the chunk that says most of it. The flow has ended
/// when the packet begins a new one on the tuple of one that is over.
///
/// What has another tag than its direction's is believed as little as its
/// receiver does (RFC 9260 section 8.5). An association that its client begins
/// anew while it is there keeps its old tags here: it goes on, and its end is not
/// noticed.
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
    if !is_believed(table, packet.l4(), chunk, number) {
        core.counters.resets_ignored.add(1);
        return Revalidated::Keeps;
    }
    let state = table.entry(number).state;
    let next = next_sctp(state, chunk, from_client);
    if next != state {
        table.set_state(number, next, 0, core.now_ms);
    }
    Revalidated::Keeps
}

/// What the INIT that begins a flow says of the tag of its answers.
pub fn begin<F: Ip>(packet: &Packet<F>, original: &mut Entry<F>, reply: &mut Entry<F>) {
    let Kind::Sctp(chunk) = packet.ip.l4.kind else { return };
    match chunk {
        Chunk::Init => reply.note_tag(sctp::initiate_tag(packet.l4())),
        chunk if ends(chunk) => {}
        _ => original.note_tag(sctp::tag(packet.l4())),
    }
}

/// True for a chunk that ends something: nobody's tag is learned from it.
fn ends(chunk: Chunk) -> bool {
    use Chunk::{Abort, Shutdown, ShutdownAck, ShutdownComplete};
    matches!(chunk, Abort | Shutdown | ShutdownAck | ShutdownComplete)
}

/// Whether a packet has its direction's tag, as far as that is known; what it
/// says of tags is noted. ABORT and SHUTDOWN COMPLETE may have the other one's,
/// turned round (RFC 9260 section 8.5.1).
fn is_believed<F: Ip>(table: &mut FlowTable<F>, packet: &[u8], chunk: Chunk, number: u32) -> bool {
    let side = FlowTable::<F>::direction(number);
    let [own, other] = [number, number ^ 1].map(|number| table.entry(number).tag());
    let begins = table.entry(number).state == State::SctpInit;
    match chunk {
        Chunk::Init => {
            let tag = sctp::initiate_tag(packet);
            match side {
                Direction::Original if begins => table.entry_mut(number ^ 1).note_tag(tag),
                // Of a client that no longer knows the association. A server that
                // does not either refuses it by this tag.
                Direction::Original => {
                    table.handshake_mut(number).begin(tag.wrapping_sub(1), None);
                }
                Direction::Reply => {}
            }
            return true;
        }
        Chunk::InitAck => {
            if begins && side == Direction::Reply && own == Some(sctp::tag(packet)) {
                table.entry_mut(number ^ 1).note_tag(sctp::initiate_tag(packet));
            }
            return true;
        }
        _ => {}
    }
    let tag = sctp::tag(packet);
    let refuses = side == Direction::Reply && chunk == Chunk::Abort;
    if refuses && table.handshake(number).is_answer(tag) {
        return true;
    }
    let may_be_turned = matches!(chunk, Chunk::Abort | Chunk::ShutdownComplete);
    match own {
        Some(own) => own == tag || may_be_turned && other == Some(tag),
        None => {
            if !ends(chunk) {
                table.entry_mut(number).note_tag(tag);
            }
            true
        }
    }
}
