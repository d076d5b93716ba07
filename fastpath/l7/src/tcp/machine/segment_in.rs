//! Segments that arrive, in the order of checks of RFC 9293 section 3.10.7.

use super::{Env, MSS_DEFAULT, Machine};
use crate::tcp::conn::TcpState;
use crate::tcp::emit::Bare;
use crate::tcp::options::Options;
use crate::tcp::parse::{ACK, FIN, RST, SYN, Segment, before};

/// A timestamp that is older says nothing about the order of segments (RFC 7323
/// section 5.5): 24 days.
const STAMP_LASTS_NS: u64 = 24 * 86_400 * super::SECOND;

/// A segment that is shorter is no full one: 536 bytes (RFC 9293 section 3.7.1), less options.
const FULL_MIN: u16 = 500;

/// What a segment led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) enum Verdict {
    Taken,
    /// It is not of this connection, or too old; nothing is to be done.
    Dropped,
    /// It is answered with what is expected (RFC 5961), if that is not too often.
    Challenged,
    /// It is answered with an RST of its own.
    Refused(Bare),
    /// It has ended the connection.
    Reset,
}

impl Machine {
    /// Takes a segment.
    pub fn take(&mut self, segment: &Segment<'_>, env: &mut Env<'_>) -> Verdict {
        let options = Options::parse(segment.options);
        match self.state {
            TcpState::Closed => Verdict::Dropped,
            TcpState::SynSent => self.take_answer(segment, &options, env),
            _ => self.take_synchronized(segment, &options, env),
        }
    }

    /// Section 3.10.7.3.
    fn take_answer(
        &mut self,
        segment: &Segment<'_>,
        options: &Options,
        env: &mut Env<'_>,
    ) -> Verdict {
        let is_answer = segment.has(ACK) && self.nxt != self.iss && segment.ack == self.nxt;
        match (segment.has(RST), segment.has(SYN)) {
            (true, _) if is_answer => {
                self.close(env);
                return Verdict::Reset;
            }
            (true, _) => return Verdict::Dropped,
            _ if segment.has(ACK) && !is_answer => {
                let bare = Bare { seq: segment.ack, flags: RST, ..Bare::default() };
                return Verdict::Refused(bare);
            }
            (_, false) => return Verdict::Dropped,
            _ => {}
        }
        self.take_syn(segment.seq, segment.window, options, env.now_ns);
        if is_answer {
            self.establish(segment.ack, env);
            self.owes_ack = true;
        } else {
            self.state = TcpState::SynReceived;
            self.owes_syn = true;
        }
        Verdict::Taken
    }

    /// What a SYN says.
    pub(super) fn take_syn(&mut self, seq: u32, window: u16, options: &Options, now_ns: u64) {
        self.irs = seq;
        self.receive.begin(seq.wrapping_add(1));
        self.peer_mss = options.mss.filter(|mss| *mss > 0).unwrap_or(MSS_DEFAULT);
        match options.scale {
            Some(scale) => self.peer_scale = scale,
            None => self.scale = 0,
        }
        self.may_sack &= options.may_sack;
        self.may_stamp &= options.stamps.is_some();
        if let Some(stamps) = options.stamps {
            (self.stamp_recent, self.stamp_ns) = (stamps.value, now_ns);
        }
        // The window of a SYN is never scaled.
        self.window = window.into();
        self.window_max = self.window;
        self.window_seq = seq;
    }

    /// Our SYN is acknowledged.
    fn establish(&mut self, ack: u32, env: &mut Env<'_>) {
        if self.syns == 1 {
            self.rtt.measure(env.now_ns.saturating_sub(self.sent_ns), env.now_ns);
        }
        self.rtt.calm();
        self.una = ack;
        self.owes_syn = false;
        self.cubic.begin(self.segment(), ack, self.syns > 2);
        self.loss.begin(ack);
        self.restart_timer(env.now_ns);
        self.is_writable = true;
        self.state = if self.is_shut { TcpState::FinWait1 } else { TcpState::Established };
    }

    /// Section 3.10.7.4.
    fn take_synchronized(
        &mut self,
        segment: &Segment<'_>,
        options: &Options,
        env: &mut Env<'_>,
    ) -> Verdict {
        let mut seq = segment.seq;
        let mut has_syn = segment.has(SYN);
        if self.state == TcpState::SynReceived && has_syn && seq == self.irs {
            // Both have opened at once; or it is the SYN again, and so is its answer soon.
            if !segment.has(ACK) {
                return Verdict::Dropped;
            }
            (seq, has_syn) = (seq.wrapping_add(1), false);
        }
        if !segment.has(RST) && self.is_stamp_old(options, env.now_ns) {
            env.counters.stamps_refused += 1;
            return self.take_strayed(seq, segment);
        }
        if segment.has(RST) {
            return self.take_reset(segment, env);
        }
        // RFC 5961 section 4: whatever its number is.
        if has_syn {
            return Verdict::Challenged;
        }
        if self.may_stamp && options.stamps.is_none() {
            return Verdict::Dropped;
        }
        let data = segment.payload();
        if !self.is_in_window(seq, data.len() as u32 + u32::from(segment.has(FIN))) {
            return self.take_strayed(seq, segment);
        }
        if !segment.has(ACK) {
            return Verdict::Dropped;
        }
        if self.state == TcpState::SynReceived {
            if segment.ack != self.nxt || self.nxt == self.iss {
                let bare = Bare { seq: segment.ack, flags: RST, ..Bare::default() };
                return Verdict::Refused(bare);
            }
            self.establish(segment.ack, env);
            // What the SYN said of the window was not scaled.
            self.set_window(segment);
        }
        if !self.take_ack(seq, segment, options, env) {
            return Verdict::Challenged;
        }
        self.note_stamp(seq, options, env.now_ns);
        if self.state != TcpState::Closed {
            self.take_data(seq, data, segment.has(FIN), env);
        }
        Verdict::Taken
    }

    /// RFC 5961 section 3.2: only the one that is expected ends a connection.
    fn take_reset(&mut self, segment: &Segment<'_>, env: &mut Env<'_>) -> Verdict {
        let next = self.receive.next();
        if segment.seq == next {
            self.close(env);
            return Verdict::Reset;
        }
        let is_inside = !before(segment.seq, next) && before(segment.seq, self.receive.edge());
        if is_inside { Verdict::Challenged } else { Verdict::Dropped }
    }

    /// Whether a part of a segment lies in the window. Where that is closed, what comes
    /// in turn is looked at for its ACK.
    fn is_in_window(&self, seq: u32, len: u32) -> bool {
        let next = self.receive.next();
        let window = self.receive.edge().wrapping_sub(next);
        let ahead = seq.wrapping_sub(next);
        ahead == 0 || ahead < window && window < 1 << 31 || next.wrapping_sub(seq) < len
    }

    /// A segment that is not in the window. What has come already is acknowledged again,
    /// since its ACK may be lost; the rest as often as challenges are.
    fn take_strayed(&mut self, seq: u32, segment: &Segment<'_>) -> Verdict {
        let ago = self.receive.next().wrapping_sub(seq);
        if segment.len() == 0 || ago < segment.len() || ago > self.receive.size_max() {
            return Verdict::Challenged;
        }
        self.receive.came_twice(seq, seq.wrapping_add(segment.len()));
        self.owes_ack = true;
        Verdict::Taken
    }

    /// Data and a FIN, in the window or reaching into it.
    fn take_data(&mut self, seq: u32, data: &[u8], has_fin: bool, env: &mut Env<'_>) {
        if data.is_empty() && !has_fin {
            return;
        }
        self.ack_delay.data_comes();
        let had_fin = self.receive.has_fin();
        let segment = data.len().min(self.mss.into()) as u16;
        self.segment_seen = self.segment_seen.max(segment);
        self.segment_since_ack = self.segment_since_ack.max(segment);
        let taken = self.receive.take(seq, data, has_fin, env.pool);
        env.counters.scattered += u64::from(taken.is_scattered);
        env.counters.refused_memory += u64::from(taken.is_out_of_memory);
        self.is_readable |= taken.is_more;
        let window_max = env.pool.window_max(self.receive.share());
        self.receive.measure(self.rtt.smoothed_ns(), window_max, env.now_ns);
        // Two full segments (RFC 9293 section 3.8.6.3), of the size that they have now: a
        // path may have got narrower.
        let full = self.segment_since_ack.max(FULL_MIN);
        if taken.is_urgent || self.unacknowledged() >= 2 * u32::from(full) {
            self.owes_ack = true;
        } else {
            let delay_ns = self.ack_delay.ns(self.owes_for_more());
            self.timers.ack_ns = self.timers.ack_ns.min(env.now_ns + delay_ns);
        }
        self.is_active(env.now_ns);
        if self.receive.has_fin() && !had_fin {
            self.state = match self.state {
                TcpState::Established => TcpState::CloseWait,
                TcpState::FinWait1 => TcpState::Closing,
                TcpState::FinWait2 => TcpState::TimeWait,
                state => state,
            };
        }
    }

    /// Bytes that have come in order since the last ACK.
    fn unacknowledged(&self) -> u32 {
        self.receive.next().wrapping_sub(self.acked)
    }

    /// Whether more than a full segment is to be acknowledged.
    pub(super) fn owes_for_more(&self) -> bool {
        self.unacknowledged() > self.segment_seen.into()
    }

    /// PAWS (RFC 7323 section 5): a segment that was sent before one that has come.
    fn is_stamp_old(&self, options: &Options, now_ns: u64) -> bool {
        let is_fresh = now_ns.saturating_sub(self.stamp_ns) < STAMP_LASTS_NS;
        self.may_stamp
            && is_fresh
            && options.stamps.is_some_and(|stamps| before(stamps.value, self.stamp_recent))
    }

    /// Which timestamp is echoed (RFC 7323 section 4.3): that of the first segment that is
    /// not acknowledged.
    fn note_stamp(&mut self, seq: u32, options: &Options, now_ns: u64) {
        if let Some(stamps) = options.stamps.filter(|_| self.may_stamp)
            && !before(self.acked, seq)
        {
            (self.stamp_recent, self.stamp_ns) = (stamps.value, now_ns);
        }
    }
}
