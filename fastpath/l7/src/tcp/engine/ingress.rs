//! Packets that come.

use super::connection::Stage;
use super::{Env, TcpEngine, after, headers_len};
use crate::tcp::config::clamp_mtu;
use crate::tcp::conn::{Ended, TcpState};
use crate::tcp::emit::Bare;
use crate::tcp::icmp::{IcmpError, Says};
use crate::tcp::machine::Verdict;
use crate::tcp::parse::{ACK, RST, Segment, before};
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
        self.now_ns = now_ns;
        let Ok(segment) = Segment::parse(packet) else {
            self.counters.malformed += 1;
            return;
        };
        match self.table.get(&segment.key) {
            Some(slot) => self.for_connection(*slot, &segment, now_ns, sink),
            None => self.for_stranger(&segment, now_ns, listeners, sink),
        }
    }

    pub(super) fn for_connection(
        &mut self,
        slot: u32,
        segment: &Segment<'_>,
        now_ns: u64,
        sink: &mut dyn PacketSink,
    ) {
        let Some(connection) = self.slots[slot as usize].connection.as_deref_mut() else {
            return;
        };
        let mut env = Env { now_ns, pool: &mut self.pool, counters: &mut self.counters };
        let before = connection.state();
        match connection.machine.take(segment, &mut env) {
            Verdict::Taken => {
                // Who only says that nothing is to be sent is not there for ever.
                if segment.payload_len > 0 || !connection.machine.is_shut_out() {
                    connection.heard_ns = now_ns;
                }
            }
            Verdict::Dropped => return,
            Verdict::Challenged => {
                self.challenge(slot, now_ns, sink);
                return;
            }
            Verdict::Refused(bare) => {
                self.reset(&segment.key, bare, now_ns, sink);
                return;
            }
            Verdict::Reset => {
                let refused = before == TcpState::SynSent;
                let why = if refused { Ended::Refused } else { Ended::Reset };
                connection.ended.get_or_insert(why);
                env.counters.resets_received += 1;
            }
        }
        let state = connection.state();
        if before.is_opening() && !state.is_opening() {
            self.opened(slot, state, now_ns, sink);
        } else if connection.stage == Stage::Released && connection.machine.unread() > 0 {
            connection.end(Ended::Aborted, &mut env);
        } else if connection.machine.owes_ack() && sink.has_room() {
            connection.machine.send_ack(&segment.key, &mut env, sink);
        }
        let until_ns = after(now_ns, self.config.fin_timeout);
        if let Some(connection) = self.connection(slot) {
            if connection.stage == Stage::Released {
                connection.prolong(until_ns);
            }
            connection.wake();
            self.make_ready(slot);
        }
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
            let (seq, ack) = (connection.machine.nxt(), connection.machine.expected());
            let bare = Bare { seq, ack, flags: RST | ACK, ..Bare::default() };
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
        if !sink.has_room() {
            self.counters.answers_lost += 1;
            return;
        }
        self.counters.challenges_sent += 1;
        let mut env = Env { now_ns, pool: &mut self.pool, counters: &mut self.counters };
        connection.machine.acknowledge(&connection.key, &mut env, sink);
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
        let is_on_its_way = !before(error.seq, connection.machine.una())
            && before(error.seq, connection.machine.nxt());
        if !is_on_its_way {
            return false;
        }
        match error.says {
            Says::TooBig(bytes) => {
                let bytes = clamp_mtu(bytes, &connection.key.remote);
                let is_less = bytes < connection.mtu;
                if is_less {
                    connection.mtu = bytes;
                    connection.machine.set_mss(bytes - headers_len(&connection.key));
                    self.make_ready(slot);
                }
                is_less
            }
            Says::Unreachable if connection.state() == TcpState::SynSent => {
                let now_ns = self.now_ns;
                let mut env = Env { now_ns, pool: &mut self.pool, counters: &mut self.counters };
                connection.end(Ended::Unreachable, &mut env);
                self.detach(slot);
                true
            }
            Says::Unreachable | Says::Transient => false,
        }
    }
}
