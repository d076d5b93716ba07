//! Segments to be sent, one at a time.

use super::timers::NEVER;
use super::{Env, Machine, Probe};
use crate::tcp::PacketSink;
use crate::tcp::conn::TcpState;
use crate::tcp::emit::Bare;
use crate::tcp::key::Key;
use crate::tcp::options::{Options, Stamps};
use crate::tcp::parse::{ACK, FIN, PSH, RST, SYN, before};

impl Machine {
    /// Does what time asks for, and sends the next segment; false if there is none. The
    /// sink has room.
    pub fn send(&mut self, key: &Key, env: &mut Env<'_>, sink: &mut dyn PacketSink) -> bool {
        self.on_time(env);
        if self.state == TcpState::Closed {
            return self.send_reset(key, env, sink);
        }
        if self.state.is_opening() {
            return if self.owes_syn {
                self.send_syn(key, env, sink);
                true
            } else {
                self.send_ack(key, env, sink)
            };
        }
        let probe = std::mem::replace(&mut self.owes_probe, Probe::None);
        let probed = match probe {
            Probe::None => None,
            Probe::Tail => self.tail_probe(env),
            Probe::Window => self.window_probe(env),
        };
        let next = probed.or_else(|| self.lost_segment(env)).or_else(|| self.new_segment(env));
        if let Some((start, end)) = next {
            self.transmit(start, end, key, env, sink);
            return true;
        }
        if !self.is_acknowledged() {
            self.wait_for_window(env.now_ns);
        }
        self.send_ack(key, env, sink)
    }

    /// Whether there may be something else to be sent after a segment.
    pub fn may_have_more(&self) -> bool {
        let is_quiet = !self.state.is_opening()
            && self.state != TcpState::Closed
            && self.owes_probe == Probe::None
            && !self.owes_ack
            && !self.owes_fin()
            && self.unsent() == 0
            && self.board.lost() == 0;
        !is_quiet
    }

    /// Sends an ACK, if one is owed; whether it was.
    pub fn send_ack(&mut self, key: &Key, env: &mut Env<'_>, sink: &mut dyn PacketSink) -> bool {
        let is_owed = self.owes_ack;
        if is_owed {
            self.acknowledge(key, env, sink);
        }
        is_owed
    }

    /// Whether an ACK is to be sent at once.
    pub fn owes_ack(&self) -> bool {
        self.owes_ack
    }

    /// Sends an ACK of what has come.
    pub fn acknowledge(&mut self, key: &Key, env: &mut Env<'_>, sink: &mut dyn PacketSink) {
        let mut options = self.options(env.now_ns);
        if self.may_sack {
            options.sacks = self.receive.sacks();
        }
        // A peer whose window has become smaller takes no number beyond it.
        let edge = self.una.wrapping_add(self.window);
        let is_beyond = before(edge, self.nxt) && !self.state.is_opening();
        let seq = if is_beyond { edge } else { self.nxt };
        self.emit(seq, ACK, &options, 0, key, env, sink);
    }

    fn send_reset(&mut self, key: &Key, env: &mut Env<'_>, sink: &mut dyn PacketSink) -> bool {
        let owes_reset = std::mem::take(&mut self.owes_reset);
        if owes_reset {
            env.counters.aborts_sent += 1;
            let options = self.options(env.now_ns);
            self.emit(self.nxt, RST | ACK, &options, 0, key, env, sink);
        }
        owes_reset
    }

    fn send_syn(&mut self, key: &Key, env: &mut Env<'_>, sink: &mut dyn PacketSink) {
        let is_answer = self.state == TcpState::SynReceived;
        // All is offered, or what the peer has offered as well.
        let is_scaled = !is_answer || self.scale > 0 || self.peer_scale > 0;
        let options = Options {
            mss: Some(self.mss),
            scale: is_scaled.then_some(self.scale),
            may_sack: self.may_sack,
            ..self.options(env.now_ns)
        };
        let flags = if is_answer { SYN | ACK } else { SYN };
        env.counters.retransmissions += u64::from(self.syns > 0);
        self.syns = self.syns.saturating_add(1);
        self.owes_syn = false;
        self.timers.again_ns = env.now_ns + self.rtt.timeout_ns();
        self.nxt = self.iss.wrapping_add(1);
        self.sent_ns = env.now_ns;
        self.emit(self.iss, flags, &options, 0, key, env, sink);
    }

    /// RFC 8985 section 7.3: something new, or the last segment again.
    fn tail_probe(&mut self, env: &mut Env<'_>) -> Option<(u32, u32)> {
        let new = self.sendable();
        let (start, end) = match new {
            Some(new) => new,
            None => self.board.last_sent(self.segment())?,
        };
        env.counters.tail_probes += 1;
        self.loss.note_probe(end, new.is_none());
        Some((start, end))
    }

    /// The first byte, or a FIN, whatever the window is.
    fn window_probe(&mut self, env: &mut Env<'_>) -> Option<(u32, u32)> {
        let is_new = self.una == self.nxt;
        let has_new = before(self.nxt, self.send.end()) || self.owes_fin();
        if is_new && !has_new {
            return None;
        }
        if let Some(small) = self.window_left() {
            // A window that is too small for what is sent at once is used after a while.
            let end = self.nxt.wrapping_add(small.min(self.segment()));
            let data_end = self.send.end();
            let end = if before(data_end, end) { data_end } else { end };
            if is_new && before(self.nxt, end) {
                return Some((self.nxt, end));
            }
        }
        env.counters.window_probes += 1;
        Some((self.una, self.una.wrapping_add(1)))
    }

    /// What of the window is not in use, if it is not closed.
    fn window_left(&self) -> Option<u32> {
        let left = self.window.checked_sub(self.nxt.wrapping_sub(self.una))?;
        (left > 0).then_some(left)
    }

    fn owes_fin(&self) -> bool {
        self.is_shut && !self.is_fin_sent
    }

    /// The first of what was lost.
    fn lost_segment(&mut self, env: &mut Env<'_>) -> Option<(u32, u32)> {
        let (start, end) = self.board.first_lost()?;
        let end = if end.wrapping_sub(start) > self.segment() {
            start.wrapping_add(self.segment())
        } else {
            end
        };
        let edge = self.una.wrapping_add(self.window);
        let end = if before(edge, end) { edge } else { end };
        let is_possible = before(start, end) && self.is_allowed(end.wrapping_sub(start));
        is_possible.then(|| {
            self.loss.note_again(self.stamp(env.now_ns));
            (start, end)
        })
    }

    /// What was not sent yet, as far as the windows let it.
    fn new_segment(&mut self, env: &mut Env<'_>) -> Option<(u32, u32)> {
        let is_idle = self.board.is_empty()
            && env.now_ns.saturating_sub(self.sent_ns) > self.rtt.timeout_ns();
        let (start, end) = self.sendable()?;
        if is_idle {
            self.cubic.restart(self.segment());
        }
        self.is_allowed(end.wrapping_sub(start)).then_some((start, end))
    }

    /// Whether the congestion window lets so much be sent.
    fn is_allowed(&self, bytes: u32) -> bool {
        let pipe = self.pipe();
        pipe == 0 || pipe + bytes <= self.cubic.window()
    }

    /// Bytes that were written and never sent.
    fn unsent(&self) -> u32 {
        // A FIN that was sent is behind all data.
        if self.is_fin_sent { 0 } else { self.send.end().wrapping_sub(self.nxt) }
    }

    /// Those of them that the peer's window lets be sent.
    pub(super) fn waiting(&self) -> u32 {
        self.unsent().min(self.window_left().unwrap_or_default())
    }

    /// What comes next of what was never sent, as far as the peer's window lets it.
    fn sendable(&self) -> Option<(u32, u32)> {
        let waiting = self.unsent();
        let left = self.window_left().unwrap_or_default();
        let len = waiting.min(left).min(self.segment());
        // Not in small pieces because the window is small (RFC 9293 section 3.8.6.2.1).
        let is_silly = len < waiting && len < self.segment() && len < self.window_max / 2;
        if is_silly || len == 0 && waiting > 0 {
            return None;
        }
        let has_fin = self.owes_fin() && len == waiting && left > len;
        let bytes = len + u32::from(has_fin);
        (bytes > 0).then(|| (self.nxt, self.nxt.wrapping_add(bytes)))
    }

    /// Sends what lies between two numbers: data, and a FIN if it reaches beyond that.
    fn transmit(
        &mut self,
        start: u32,
        end: u32,
        key: &Key,
        env: &mut Env<'_>,
        sink: &mut dyn PacketSink,
    ) {
        let data_end = self.send.end();
        let has_fin = before(data_end, end);
        let len = if has_fin { data_end } else { end }.wrapping_sub(start);
        let mut flags = ACK;
        if has_fin {
            flags |= FIN;
        }
        // There is nothing more to wait for.
        if len > 0 && !before(end, data_end) {
            flags |= PSH;
        }
        let now_ns = env.now_ns;
        let is_again = before(start, self.nxt);
        if is_again {
            env.counters.retransmissions += 1;
            self.board.resend(start, end, now_ns);
        } else {
            self.board.push(start, end, now_ns);
            self.nxt = end;
            self.is_fin_sent |= has_fin;
        }
        self.sent_ns = now_ns;
        self.loss.note_sent(end.wrapping_sub(start), self.pipe(), self.una, self.nxt);
        if is_again {
            if self.timers.again_ns == NEVER {
                self.timers.again_ns = now_ns + self.rtt.timeout_ns();
            }
        } else {
            self.wait_for_tail(now_ns);
        }
        let options = self.options(now_ns);
        self.emit(start, flags, &options, len, key, env, sink);
    }

    fn options(&self, now_ns: u64) -> Options {
        let stamps = Stamps { value: self.stamp(now_ns), echo: self.stamp_recent };
        Options { stamps: self.may_stamp.then_some(stamps), ..Options::default() }
    }

    pub(super) fn stamp(&self, now_ns: u64) -> u32 {
        Stamps::at(now_ns, self.stamp_offset)
    }

    /// What is sent in answer to what comes late: the timestamps of now.
    pub fn stamps(&self, now_ns: u64) -> Option<Stamps> {
        self.options(now_ns).stamps
    }

    #[allow(clippy::too_many_arguments)] // They are a segment.
    fn emit(
        &mut self,
        seq: u32,
        flags: u8,
        options: &Options,
        len: u32,
        key: &Key,
        env: &mut Env<'_>,
        sink: &mut dyn PacketSink,
    ) {
        let (mut ack, mut window) = (0, self.receive.first_window());
        if flags & ACK != 0 {
            ack = self.receive.next();
            let window_max = env.pool.window_max(self.receive.share());
            env.counters.windows_held += u64::from(self.receive.is_held(window_max));
            let open = self.receive.open(self.segment_seen.into(), window_max);
            // Of a SYN it is never scaled.
            window = if flags & SYN == 0 { open >> self.scale } else { open };
        }
        if len > 0 {
            self.ack_delay.data_goes();
        }
        (self.acked, self.owes_ack, self.timers.ack_ns) = (ack, false, NEVER);
        self.segment_since_ack = 0;
        let bare = Bare {
            seq,
            ack,
            flags,
            window: u16::try_from(window).unwrap_or(u16::MAX),
            ..Bare::default()
        };
        let send = &self.send;
        let fill = |data: &mut [u8]| send.read(seq, data);
        bare.send_with(key, &options.write(), len as usize, &fill, sink);
    }
}
