//! TCP's part of connection tracking: what SYN, FIN and RST do to a flow (RFC
//! 9293 section 3.10.7, RFC 5961, and Linux's `nf_conntrack_proto_tcp`).

use crate::core::Core;
use crate::flow::state::{fin, next_tcp};
use crate::flow::{Direction, Entry, FlowTable, Handshake, State};
use crate::packet::Packet;
use crate::wire::ip::Ip;
use crate::wire::l4::{Kind, flags};
use crate::wire::tcp;

/// Follows a connection. False when the packet begins a new one on the tuple of
/// one that is over (RFC 9293 section 3.6.1).
#[cold]
pub fn follow<F: Ip>(
    core: &Core,
    table: &mut FlowTable<F>,
    packet: &Packet<F>,
    number: u32,
) -> bool {
    let side = FlowTable::<F>::direction(number);
    let is_client = side == Direction::Original;
    let bits = packet.ip.l4.tcp_flags;
    let entry = table.entry(number);
    let (state, fins) = (entry.state, entry.bits & Entry::<F>::FINS);
    let is_syn = bits & (flags::SYN | flags::ACK) == flags::SYN;
    // Nobody can connect to what stands in for a client.
    let may_begin = is_client || !entry.is_translated();
    if is_syn && may_begin && state.is_over() {
        return false;
    }
    let segment = &packet.frame.data()[usize::from(packet.ip.l4_offset)..];
    if bits & flags::RST != 0 {
        if !counts(table, segment, bits, number) {
            core.counters.resets_ignored.add(1);
            return true;
        }
        table.handshake_mut(number).reset(side);
    } else if state == State::Close && !table.handshake(number).is_reset_by(side) {
        // What was on its way to the side that has reset. That side alone can
        // show that it has not.
        return true;
    }
    let own_fin = if is_client { fin::CLIENT } else { fin::SERVER };
    if bits & (flags::FIN | flags::RST) == flags::FIN
        && fins & own_fin == 0
        && !is_in_window(table, tcp::end(segment), number)
    {
        // Nobody ends a connection whose numbers he does not know.
        core.counters.resets_ignored.add(1);
        return true;
    }
    if is_syn && is_client {
        table.handshake_mut(number).begin(tcp::sequence(segment), tcp::window_scale(segment));
    }
    let (next, next_fins) = if is_answer(table, segment, bits, number) {
        table.handshake_mut(number).answered(tcp::window_scale(segment));
        // Both sides acknowledge other numbers from here on, also where the
        // server has taken the SYN of a client that no longer knew the
        // connection.
        table.forget_acks(number);
        (State::SynRecv, 0)
    } else {
        next_tcp(state, fins, bits, is_client)
    };
    if (next, next_fins) != (state, fins) {
        table.set_state(number, next, next_fins, core.now_ms);
    }
    true
}

/// True for the server's SYN-ACK to the client's last SYN.
fn is_answer<F: Ip>(table: &FlowTable<F>, segment: &[u8], bits: u8, number: u32) -> bool {
    FlowTable::<F>::direction(number) == Direction::Reply
        && bits & (flags::SYN | flags::ACK) == flags::SYN | flags::ACK
        && table.handshake(number).is_answer(tcp::acknowledgment(segment))
}

/// True for a reset that its receiver may believe: one that lies in its window
/// (RFC 9293 section 3.10.7.4), or acknowledges its SYN (section 3.10.7.3). A
/// side that has acknowledged nothing has no window to judge by.
fn counts<F: Ip>(table: &FlowTable<F>, segment: &[u8], bits: u8, number: u32) -> bool {
    let side = FlowTable::<F>::direction(number);
    let handshake = table.handshake(number);
    if side == Direction::Reply {
        let refuses = bits & flags::ACK != 0 && handshake.is_answer(tcp::acknowledgment(segment));
        if refuses || table.entry(number).state == State::SynSent {
            return refuses;
        }
    }
    is_in_window(table, tcp::sequence(segment), number)
}

/// True for a sequence number in its receiver's window, as far as that is known.
fn is_in_window<F: Ip>(table: &FlowTable<F>, sequence: u32, number: u32) -> bool {
    let other = FlowTable::<F>::direction(number).opposite();
    let receiver = &table.both(number)[other as usize];
    let ahead = sequence.wrapping_sub(receiver.ack);
    let window_max = table.handshake(number).window_max(other);
    receiver.bits & Entry::<F>::ACKED == 0 || ahead <= window_max
}

/// What the packet that begins a flow says of its handshake.
pub fn begin<F: Ip>(packet: &Packet<F>) -> Handshake {
    let mut handshake = Handshake::UNSEEN;
    let bits = packet.ip.l4.tcp_flags;
    if packet.ip.l4.kind != Kind::Tcp {
        return handshake;
    }
    let segment = &packet.frame.data()[usize::from(packet.ip.l4_offset)..];
    if bits & (flags::SYN | flags::ACK) == flags::SYN {
        handshake.begin(tcp::sequence(segment), tcp::window_scale(segment));
    }
    if bits & flags::RST != 0 {
        handshake.reset(Direction::Original);
    }
    handshake
}
