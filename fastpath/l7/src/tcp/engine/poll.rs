//! What is done as time goes by.

use super::connection::Stage;
use super::{Env, TcpEngine, after};
use crate::tcp::PacketSink;
use crate::tcp::conn::{Ended, TcpState};
use crate::tcp::tombs::Tomb;

impl TcpEngine {
    /// Sends what there is to be sent and ends what is over: looks at `budget`
    /// connections at most, each of which sends one packet at most. Says when it wants
    /// to be called next: `now_ns` if there is more to be done; `None` if nothing is
    /// to be done until a packet comes or an application acts.
    pub fn poll(&mut self, now_ns: u64, budget: usize, sink: &mut dyn PacketSink) -> Option<u64> {
        self.now_ns = now_ns;
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
        let has_sent = self.send(slot, now_ns, sink);
        let place = self.slots[slot as usize].connection.as_deref_mut();
        let Some(connection) = place.filter(|connection| connection.is_open) else { return };
        if has_sent && connection.machine.may_have_more() {
            self.make_ready(slot);
            return;
        }
        if connection.state() == TcpState::TimeWait && connection.machine.has_acknowledged() {
            let tomb = Tomb {
                snd_nxt: connection.machine.nxt(),
                rcv_nxt: connection.machine.expected(),
                stamps: connection.machine.stamps(now_ns),
                until_ns: after(now_ns, self.config.time_wait),
            };
            let key = connection.key;
            self.counters.time_wait_evicted += self.tombs.add(key, tomb);
            self.detach(slot);
            return;
        }
        let idle_ns = after(connection.heard_ns, self.config.idle_timeout);
        let at_ns = connection.machine.next_ns().min(connection.until_ns).min(idle_ns);
        self.wheel.set(slot, at_ns);
    }

    /// Sends a connection's next packet; false if there is none.
    fn send(&mut self, slot: u32, now_ns: u64, sink: &mut dyn PacketSink) -> bool {
        let place = self.slots[slot as usize].connection.as_deref_mut();
        let Some(connection) = place else { return false };
        let mut env = Env { now_ns, pool: &mut self.pool, counters: &mut self.counters };
        connection.machine.send(&connection.key, &mut env, sink)
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
            let is_over = !connection.machine.owes_reset();
            if is_over {
                self.detach(slot);
            }
            return is_over;
        }
        let mut env = Env { now_ns, pool: &mut self.pool, counters: &mut self.counters };
        if now_ns >= connection.until_ns {
            *match (connection.stage, state.is_opening()) {
                (Stage::HalfOpen, _) => &mut env.counters.half_open_timeouts,
                (_, true) => &mut env.counters.connect_timeouts,
                _ => &mut env.counters.fin_timeouts,
            } += 1;
            // Without RST: who does not answer a SYN or a FIN would not hear it.
            connection.end(Ended::TimedOut, &mut env);
            self.detach(slot);
            return true;
        }
        if now_ns >= after(connection.heard_ns, idle_timeout) {
            env.counters.idle_timeouts += 1;
            connection.end(Ended::TimedOut, &mut env);
        }
        false
    }
}
