use super::{MS, Machine, SECOND};
use crate::tcp::conn::TcpState;

pub(super) const NEVER: u64 = u64::MAX;
/// What is unused for so long is let go of.
const QUIET_NS: u64 = SECOND;

/// When something is to be done, if nothing comes.
pub(super) struct Timers {
    /// What was sent is sent again, a closed window is probed.
    pub again_ns: u64,
    /// The tail of what was sent is probed.
    pub tail_ns: u64,
    /// What may only be late is taken for lost.
    pub late_ns: u64,
    pub ack_ns: u64,
    /// Memory that is not used is let go of.
    pub quiet_ns: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { again_ns: NEVER, tail_ns: NEVER, late_ns: NEVER, ack_ns: NEVER, quiet_ns: NEVER }
    }
}

impl Timers {
    pub fn next_ns(&self) -> u64 {
        let [again, tail] = [self.again_ns, self.tail_ns];
        again.min(tail).min(self.late_ns).min(self.ack_ns).min(self.quiet_ns)
    }
}

impl Machine {
    /// When the connection will have something to do, if nothing comes; `u64::MAX` for
    /// never.
    pub fn next_ns(&self) -> u64 {
        self.timers.next_ns()
    }

    /// Does what is due.
    pub(super) fn on_time(&mut self, env: &mut super::Env<'_>) {
        let now_ns = env.now_ns;
        let is_due = |timer: &mut u64| {
            let is_due = *timer <= now_ns;
            if is_due {
                *timer = NEVER;
            }
            is_due
        };
        if is_due(&mut self.timers.late_ns) {
            self.detect(env);
        }
        if is_due(&mut self.timers.tail_ns) {
            self.owes_probe = super::Probe::Tail;
            self.timers.again_ns = env.now_ns + self.rtt.timeout_ns();
        }
        if is_due(&mut self.timers.again_ns) {
            self.on_timeout(env);
        }
        if is_due(&mut self.timers.ack_ns) {
            self.owes_ack = true;
            if !self.owes_for_more() {
                self.ack_delay.is_over();
            }
        }
        if is_due(&mut self.timers.quiet_ns) {
            self.board.shrink();
            self.send.shrink();
            self.receive.shrink();
        }
    }

    /// Nothing was acknowledged for too long (RFC 6298 section 5), or the window is
    /// closed.
    fn on_timeout(&mut self, env: &mut super::Env<'_>) {
        if self.state.is_opening() {
            self.owes_syn = true;
            self.rtt.back_off();
        } else if self.window == 0 || self.board.is_empty() {
            self.owes_probe = super::Probe::Window;
            self.rtt.back_off();
            self.timers.again_ns = env.now_ns + self.rtt.timeout_ns();
        } else {
            self.time_out(env);
            self.rtt.back_off();
            self.timers.again_ns = env.now_ns + self.rtt.timeout_ns();
        }
        self.timers.tail_ns = NEVER;
    }

    /// Begins to wait for an acknowledgment anew, or for the window to open.
    pub(super) fn restart_timer(&mut self, now_ns: u64) {
        let is_waiting = !self.board.is_empty();
        self.timers.again_ns = if is_waiting { now_ns + self.rtt.timeout_ns() } else { NEVER };
        self.timers.tail_ns = NEVER;
        if is_waiting {
            self.wait_for_tail(now_ns);
        }
    }

    /// After a segment with new data: what is sent last is probed for before all is sent
    /// again (RFC 8985 section 7.2).
    pub(super) fn wait_for_tail(&mut self, now_ns: u64) {
        if self.timers.again_ns == NEVER {
            self.timers.again_ns = now_ns + self.rtt.timeout_ns();
        }
        let may_probe = self.may_sack
            && !self.state.is_opening()
            && self.loss.may_probe_tail()
            && self.board.sacked() + self.board.lost() == 0
            && self.window > 0;
        self.timers.tail_ns = NEVER;
        if let Some(smoothed_ns) = self.rtt.smoothed_ns().filter(|_| may_probe) {
            // A peer may delay the ACK of a single segment.
            let is_single = self.nxt.wrapping_sub(self.una) <= self.segment();
            let delay_ns = if is_single { 200 * MS } else { 2 * MS };
            let tail_ns = now_ns + 2 * smoothed_ns + delay_ns;
            if tail_ns < self.timers.again_ns {
                self.timers.tail_ns = tail_ns;
            }
        }
    }

    /// Begins to probe a window that lets nothing through, if nothing else is waited for.
    pub(super) fn wait_for_window(&mut self, now_ns: u64) {
        let is_idle = self.board.is_empty() && self.timers.again_ns == NEVER;
        let is_synchronized = !self.state.is_opening() && self.state != TcpState::Closed;
        if is_idle && is_synchronized {
            self.timers.again_ns = now_ns + self.rtt.timeout_ns();
        }
    }

    /// Memory is used.
    pub(super) fn is_active(&mut self, now_ns: u64) {
        // The time is put off as it comes up, not with each segment.
        self.timers.quiet_ns = now_ns + QUIET_NS;
    }
}
