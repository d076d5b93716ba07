//! What is done as time goes by.

use super::connection::Stage;
use super::strangers::Nowhere;
use super::{TcpEngine, after};
use crate::tcp::PacketSink;
use crate::tcp::conn::{Ended, TcpState};
use crate::tcp::emit::{BARE_MAX, Bare};
use crate::tcp::parse::{ACK, RST};
use crate::tcp::tombs::Tomb;

/// A machine that wants to be asked at once, and then has nothing, is asked again
/// after so many nanoseconds.
const AGAIN_NS: u64 = 1_000_000;

impl TcpEngine {
    /// Sends what there is to be sent and ends what is over: looks at `budget`
    /// connections at most, each of which sends one packet at most. Says when it wants
    /// to be called next: `now_ns` if there is more to be done; `None` if nothing is
    /// to be done until a packet comes or an application acts.
    pub fn poll(&mut self, now_ns: u64, budget: usize, sink: &mut dyn PacketSink) -> Option<u64> {
        self.tombs.sweep(now_ns);
        for _ in 0..budget {
            let Some(slot) = self.wheel.pop(now_ns) else { break };
            self.make_ready(slot);
        }
        for _ in 0..budget {
            if !sink.has_room() {
                break;
            }
            let Some(slot) = self.ready.pop_front() else { break };
            self.slots[slot as usize].is_ready = false;
            self.visit(slot, now_ns, sink);
        }
        if self.ready.is_empty() {
            self.wheel.next_ns().map(|next_ns| next_ns.max(now_ns))
        } else {
            Some(now_ns)
        }
    }

    /// Looks after one connection. The sink has room.
    fn visit(&mut self, slot: u32, now_ns: u64, sink: &mut dyn PacketSink) {
        if self.is_over(slot, now_ns) {
            return;
        }
        if self.send(slot, now_ns, sink) {
            self.make_ready(slot);
            return;
        }
        let place = self.slots[slot as usize].connection.as_deref_mut();
        let Some(connection) = place.filter(|connection| connection.is_open) else { return };
        match connection.state() {
            TcpState::Closed => self.detach(slot),
            // Its FIN may have come with data, whose ACK is delayed.
            TcpState::TimeWait if connection.acked == connection.rcv_nxt() => {
                let tomb = Tomb {
                    snd_nxt: connection.snd_nxt,
                    rcv_nxt: connection.rcv_nxt(),
                    until_ns: after(now_ns, self.config.time_wait),
                };
                let key = connection.key;
                self.counters.time_wait_evicted += self.tombs.add(key, tomb);
                self.detach(slot);
            }
            _ => {
                let at_ns = self.next_ns(slot, now_ns);
                let Some(connection) = self.connection(slot) else { return };
                let heard_ns = connection.heard_ns;
                let own_ns = connection.until_ns.min(after(heard_ns, self.config.idle_timeout));
                self.wheel.set(slot, at_ns.min(own_ns));
            }
        }
    }

    /// When a machine, which has nothing to send now, is to be asked again.
    fn next_ns(&mut self, slot: u32, now_ns: u64) -> u64 {
        let Some(connection) = self.slots[slot as usize].connection.as_deref_mut() else {
            return u64::MAX;
        };
        let mut at_ns = self.stack.next_ns(&connection.machine, now_ns);
        if at_ns.is_none() && connection.machine.unacknowledged() > 0 {
            // Where the window closes while a segment is on its way, smoltcp ends its timer
            // with that segment and starts none to probe the window. An ACK that says it
            // again makes it.
            let mut buffer = [0; BARE_MAX];
            let bare = Bare {
                seq: connection.rcv_nxt(),
                ack: connection.snd_una(),
                flags: ACK,
                window: 0,
                mss: None,
            };
            let packet = &mut buffer[..bare.len(&connection.key)];
            bare.emit(&connection.key.turned(), packet);
            let snd_nxt = connection.snd_nxt;
            self.stack.feed(&mut connection.machine, packet, snd_nxt, now_ns, &mut Nowhere);
            at_ns = self.stack.next_ns(&connection.machine, now_ns);
        }
        at_ns.map_or(u64::MAX, |at_ns| if at_ns > now_ns { at_ns } else { now_ns + AGAIN_NS })
    }

    /// Sends a connection's next packet; false if there is none.
    pub(super) fn send(&mut self, slot: u32, now_ns: u64, sink: &mut dyn PacketSink) -> bool {
        let place = self.slots[slot as usize].connection.as_deref_mut();
        let Some(connection) = place.filter(|connection| connection.is_open) else {
            return false;
        };
        let Some(sent) = self.stack.send(&mut connection.machine, connection.snd_nxt, now_ns, sink)
        else {
            return false;
        };
        let was_sent = connection.note_sent(&sent);
        self.counters.retransmissions += u64::from(was_sent);
        self.counters.aborts_sent += u64::from(sent.flags & RST != 0);
        true
    }

    /// Ends a connection whose time is over; true if it has nothing more to send.
    fn is_over(&mut self, slot: u32, now_ns: u64) -> bool {
        let idle_timeout = self.config.idle_timeout;
        let place = self.slots[slot as usize].connection.as_deref_mut();
        let Some(connection) = place.filter(|connection| connection.is_open) else {
            return true;
        };
        let state = connection.state();
        if state == TcpState::Closed {
            // To a SYN that nobody has answered nothing is added.
            let is_unanswered = connection.irs.is_none();
            if is_unanswered {
                self.detach(slot);
            }
            return is_unanswered;
        }
        if now_ns >= connection.until_ns {
            *match (connection.stage, state.is_opening()) {
                (Stage::HalfOpen, _) => &mut self.counters.half_open_timeouts,
                (_, true) => &mut self.counters.connect_timeouts,
                _ => &mut self.counters.fin_timeouts,
            } += 1;
            // Without RST: who does not answer a SYN or a FIN would not hear it.
            connection.end(Ended::TimedOut);
            self.detach(slot);
            return true;
        }
        if now_ns >= after(connection.heard_ns, idle_timeout) {
            self.counters.idle_timeouts += 1;
            connection.end(Ended::TimedOut);
        }
        false
    }
}
