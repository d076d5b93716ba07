//! Acknowledgments: what they say has arrived, and the window.

use super::loss::Heard;
use super::scoreboard::Delivered;
use super::{Env, MS, Machine};
use crate::tcp::conn::TcpState;
use crate::tcp::options::Options;
use crate::tcp::parse::{FIN, Segment, before};

/// An echo that is older is none.
const ECHO_MAX_MS: u32 = 60_000;

impl Machine {
    /// Takes the acknowledgment of a segment; false if it is of what was never sent, or
    /// too old (RFC 5961 section 5).
    pub(super) fn take_ack(
        &mut self,
        seq: u32,
        segment: &Segment<'_>,
        options: &Options,
        env: &mut Env<'_>,
    ) -> bool {
        let ack = segment.ack;
        let is_old = before(ack, self.una.wrapping_sub(self.window_max));
        if before(self.nxt, ack) || is_old {
            return false;
        }
        let flight = self.nxt.wrapping_sub(self.una);
        let had_window = self.window;
        if self.is_window_news(seq, segment) {
            self.set_window(segment);
        }
        let is_new = before(self.una, ack);
        let is_plain = segment.payload_len == 0 && !segment.has(FIN);
        let is_same = ack == self.una && is_plain && self.window == had_window && flight > 0;
        let rtt_min_ns = self.rtt.min_ns();
        let mut delivered = Delivered::new(env.now_ns, rtt_min_ns, self.loss.highest());
        let is_twice = self.take_sacks(ack, options, &mut delivered);
        if is_new {
            self.advance(ack, &mut delivered, env);
        }
        let rtt_ns = delivered.last.map(|last| env.now_ns.saturating_sub(last.at_ns));
        let rtt_ns = rtt_ns.filter(|_| delivered.is_last_once);
        let echo = options.stamps.filter(|_| self.may_stamp).map(|stamps| stamps.echo);
        self.measure(&delivered, echo.filter(|_| is_new), env.now_ns);
        if let Some(rtt_ns) = rtt_ns {
            self.rtt.measure_min(rtt_ns, env.now_ns);
        }
        let heard = Heard { flight, is_new, is_same, is_twice, rtt_ns, echo };
        self.hear(&heard, &delivered, env);
        if had_window == 0 && self.window > 0 {
            // What was sent into a closed window was not taken.
            self.board.lose_all();
            self.rtt.calm();
            self.restart_timer(env.now_ns);
        } else if is_new || self.window == 0 && had_window > 0 {
            self.restart_timer(env.now_ns);
        } else if delivered.bytes > 0 && !self.board.is_empty() {
            // Tails are probed where nothing is known to be missing.
            self.timers.tail_ns = super::timers::NEVER;
        }
        true
    }

    /// Measures the round trip time by what was sent once, or by the timestamp that is
    /// echoed, which tells when what was sent again was sent (RFC 7323 section 4).
    fn measure(&mut self, delivered: &Delivered, echo: Option<u32>, now_ns: u64) {
        let first_ns = delivered.first_ns.filter(|_| !delivered.has_again);
        let by_echo = || {
            let since = self.stamp(now_ns).wrapping_sub(echo?);
            (since < ECHO_MAX_MS).then(|| (u64::from(since) + 1) * MS)
        };
        let rtt_ns = first_ns.map(|first_ns| now_ns.saturating_sub(first_ns)).or_else(by_echo);
        if let Some(rtt_ns) = rtt_ns {
            self.rtt.measure(rtt_ns, now_ns);
        }
    }

    /// Whether a segment knows more of the window than what was heard last. What is sent
    /// again has an old number and a new ACK: RFC 9293 section 3.10.7.4 would move the
    /// window with that, and leave its size.
    fn is_window_news(&self, seq: u32, segment: &Segment<'_>) -> bool {
        let window = u32::from(segment.window) << self.peer_scale;
        before(self.una, segment.ack)
            || segment.ack == self.una
                && (before(self.window_seq, seq)
                    || self.window_seq == seq && (window > self.window || window == 0))
    }

    /// The peer's window, as a segment has it.
    pub(super) fn set_window(&mut self, segment: &Segment<'_>) {
        self.window = u32::from(segment.window) << self.peer_scale;
        self.window_max = self.window_max.max(self.window);
        self.window_seq = segment.seq;
    }

    /// Notes selective acknowledgments; whether the first one tells of what came twice
    /// (RFC 2883).
    fn take_sacks(&mut self, ack: u32, options: &Options, delivered: &mut Delivered) -> bool {
        if !self.may_sack {
            return false;
        }
        let mut is_twice = false;
        for (n, (start, end)) in options.sacks.iter().copied().enumerate() {
            let within = |outer: &(u32, u32)| !before(start, outer.0) && !before(outer.1, end);
            let is_second = options.sacks.get(1).is_some_and(within);
            if n == 0 && (!before(ack, end) || is_second) {
                // Lies about what was never sent, or long ago, are not heard.
                let is_sane = before(start, end) && !before(self.nxt, end);
                is_twice = is_sane && self.una.wrapping_sub(start) <= self.window_max;
                continue;
            }
            let is_known = before(start, end)
                && !before(start, self.una)
                && before(ack, end)
                && !before(self.nxt, end);
            if is_known {
                self.board.sack(start, end, delivered);
            }
        }
        is_twice
    }

    /// Something new is acknowledged.
    fn advance(&mut self, ack: u32, delivered: &mut Delivered, env: &mut Env<'_>) {
        self.una = ack;
        self.board.acknowledge(ack, delivered);
        self.send.acknowledge(ack, env.pool);
        self.is_writable = true;
        self.is_active(env.now_ns);
        if self.is_fin_sent && ack == self.nxt {
            match self.state {
                TcpState::FinWait1 => self.state = TcpState::FinWait2,
                TcpState::Closing => self.state = TcpState::TimeWait,
                TcpState::LastAck => {
                    self.close(env);
                    self.owes_reset = false;
                }
                _ => {}
            }
        }
    }
}
