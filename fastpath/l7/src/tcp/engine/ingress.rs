//! Packets that come.

use super::connection::{Connection, Stage};
use super::{TcpEngine, after};
use crate::tcp::config::clamp_mtu;
use crate::tcp::conn::{Ended, TcpState};
use crate::tcp::emit::{Bare, emit_ip, ip_len};
use crate::tcp::icmp::{IcmpError, Says};
use crate::tcp::parse::{ACK, FIN, RST, SYN, Segment, before};
use crate::tcp::{Listeners, PacketSink};
use std::time::Duration;

/// Challenge ACKs of one connection are as far apart.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(500);

impl TcpEngine {
    /// Takes a packet that is for the gateway: IPv4 or IPv6 from the header on, TCP, no
    /// fragment. Two packets at most go to the sink at once; what else there is to
    /// send comes from [`TcpEngine::poll`].
    pub fn deliver(
        &mut self,
        packet: &[u8],
        now_ns: u64,
        listeners: &mut dyn Listeners,
        sink: &mut dyn PacketSink,
    ) {
        let Ok(segment) = Segment::parse(packet) else {
            self.counters.malformed += 1;
            return;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let packet = if segment.is_plain { packet } else { plain(&segment, &mut scratch) };
        match self.table.get(&segment.key) {
            Some(slot) => self.for_connection(*slot, &segment, packet, now_ns, sink),
            None => self.for_stranger(&segment, packet, now_ns, listeners, sink),
        }
        self.scratch = scratch;
    }

    pub(super) fn for_connection(
        &mut self,
        slot: u32,
        segment: &Segment<'_>,
        packet: &[u8],
        now_ns: u64,
        sink: &mut dyn PacketSink,
    ) {
        let Some(connection) = self.slots[slot as usize].connection.as_deref_mut() else {
            return;
        };
        let before = connection.state();
        if connection.is_fin_told_again(segment, before) {
            connection.heard_ns = now_ns;
            return;
        }
        if !connection.takes(segment, before) {
            if connection.is_challenged_by(segment) {
                self.challenge(slot, now_ns, sink);
            }
            return;
        }
        let snd_nxt = connection.snd_nxt;
        let outcome = self.stack.feed(&mut connection.machine, packet, snd_nxt, now_ns, sink);
        connection.peer_window = segment.window;
        connection.heard_ns = now_ns;
        self.counters.answers_lost += u64::from(outcome.lost);
        if let Some(sent) = outcome.sent {
            // An RST of the machine's is for the segment, not for the connection.
            if sent.flags & RST != 0 {
                self.counters.resets_sent += 1;
            } else {
                connection.note_sent(&sent);
            }
        }
        let state = connection.state();
        if before == TcpState::SynSent && state != before && state != TcpState::Closed {
            connection.irs = Some(segment.seq);
        }
        if state == TcpState::Closed && segment.has(RST) && before != state {
            self.counters.resets_received += 1;
            let refused = before == TcpState::SynSent;
            let why = if refused { Ended::Refused } else { Ended::Reset };
            connection.ended.get_or_insert(why);
        }
        if before.is_opening() && !state.is_opening() {
            self.opened(slot, state, now_ns, sink);
        } else if connection.stage == Stage::Released && connection.machine.unread() > 0 {
            connection.end(Ended::Aborted);
        } else if segment.payload_len > 0 && connection.owes_ack() {
            self.send(slot, now_ns, sink);
        }
        self.make_ready(slot);
    }

    /// A handshake is over, one way or the other.
    fn opened(&mut self, slot: u32, state: TcpState, now_ns: u64, sink: &mut dyn PacketSink) {
        let connections = self.connections();
        let Some(connection) = self.slots[slot as usize].connection.as_deref_mut() else {
            return;
        };
        if state == TcpState::Closed {
            return;
        }
        if connection.stage != Stage::Released {
            connection.until_ns = u64::MAX;
        }
        if connection.stage != Stage::HalfOpen {
            self.counters.connected += 1;
            return;
        }
        if connections >= self.config.connections_max {
            self.counters.refused_connections += 1;
            let bare = Bare { flags: RST | ACK, window: 0, ..connection.bare_ack() };
            let key = connection.key;
            self.remove(slot);
            self.reset(&key, bare, now_ns, sink);
            return;
        }
        connection.stage = Stage::Queued;
        self.half_open -= 1;
        self.counters.accepted += 1;
        self.accepted.push_back(self.id(slot));
    }

    /// Tells a peer what is expected (RFC 5961), not too often.
    fn challenge(&mut self, slot: u32, now_ns: u64, sink: &mut dyn PacketSink) {
        let Some(connection) = self.slots[slot as usize].connection.as_deref_mut() else {
            return;
        };
        if now_ns < connection.challenge_ns || !self.answers.take(now_ns) {
            self.counters.answers_limited += 1;
            return;
        }
        connection.challenge_ns = after(now_ns, CHALLENGE_INTERVAL);
        let is_sent = connection.bare_ack().send(&connection.key, sink);
        self.counters.challenges_sent += u64::from(is_sent);
        self.counters.answers_lost += u64::from(!is_sent);
    }

    /// Takes an ICMP or ICMPv6 error, a whole packet from the IP header on. It counts
    /// only if it quotes a segment that is on its way (RFC 5927 section 4.1); what would
    /// end a connection does so only in answer to its SYN (section 5.2).
    pub fn deliver_icmp(&mut self, packet: &[u8]) {
        let is_taken = IcmpError::parse(packet).is_ok_and(|error| self.take_icmp(&error));
        self.counters.icmp_taken += u64::from(is_taken);
        self.counters.icmp_ignored += u64::from(!is_taken);
    }

    fn take_icmp(&mut self, error: &IcmpError) -> bool {
        let Some(slot) = self.table.get(&error.key).copied() else { return false };
        let Some(connection) = self.slots[slot as usize].connection.as_deref_mut() else {
            return false;
        };
        let is_on_its_way =
            !before(error.seq, connection.snd_una()) && before(error.seq, connection.snd_nxt);
        if !is_on_its_way {
            return false;
        }
        match error.says {
            Says::TooBig(bytes) => {
                let bytes = clamp_mtu(bytes, &connection.key.remote);
                let is_less = bytes < connection.mtu;
                if is_less {
                    connection.mtu = bytes;
                    self.stack.set_mtu(&mut connection.machine, bytes);
                    self.make_ready(slot);
                }
                is_less
            }
            Says::Unreachable if connection.state() == TcpState::SynSent => {
                connection.end(Ended::Unreachable);
                self.detach(slot);
                true
            }
            Says::Unreachable | Says::Transient => false,
        }
    }
}

impl Connection {
    /// Whether a segment is for the machine. It takes any RST in its window; only the
    /// one that is expected next may end a connection (RFC 5961 section 3.2), and no SYN
    /// changes one (section 4.2).
    fn takes(&self, segment: &Segment<'_>, state: TcpState) -> bool {
        match state {
            TcpState::SynSent => true,
            TcpState::Closed => false,
            _ if segment.has(RST) => segment.seq == self.rcv_nxt(),
            TcpState::SynReceived => !segment.has(SYN) || segment.has(ACK),
            _ => !segment.has(SYN),
        }
    }

    /// Whether a segment says only that our FIN, and nothing else, has not arrived yet.
    /// Three of these would make smoltcp end its timer and send nothing.
    fn is_fin_told_again(&self, segment: &Segment<'_>, state: TcpState) -> bool {
        use TcpState::{Closing, FinWait1, LastAck};
        matches!(state, FinWait1 | Closing | LastAck)
            && self.machine.unacknowledged() == 0
            && segment.flags & (ACK | RST | SYN | FIN) == ACK
            && segment.payload_len == 0
            && segment.ack == self.snd_una()
    }

    /// Whether a segment that is not taken is answered.
    fn is_challenged_by(&self, segment: &Segment<'_>) -> bool {
        match self.state() {
            TcpState::Closed => false,
            // The SYN-ACK will be sent again by itself.
            TcpState::SynReceived if self.irs == Some(segment.seq) => false,
            _ if segment.has(RST) => segment.seq.wrapping_sub(self.rcv_nxt()) < self.receive_buffer,
            _ => true,
        }
    }
}

/// The packet without IP options or extension headers.
fn plain<'a>(segment: &Segment<'_>, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let key = segment.key.turned();
    scratch.clear();
    scratch.resize(ip_len(&key), 0);
    emit_ip(&key, scratch, segment.tcp.len());
    scratch.extend_from_slice(segment.tcp);
    scratch
}
