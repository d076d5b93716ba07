//! What was lost and what follows: RACK-TLP (RFC 8985) where the peer tells what it has,
//! else three ACKs of the same (RFC 6582); and how much may be sent then (RFC 6937).

use super::cubic::{Acked, Before};
use super::scoreboard::{Delivered, Sent};
use super::timers::NEVER;
use super::{Env, Machine};
use crate::tcp::parse::before;

/// ACKs that say nothing new, until something is taken for lost.
const SAME_MAX: u32 = 3;
/// Recoveries in which nothing came twice, until reordering is thought to be less.
const TWICE_LASTS: u8 = 16;

/// What is being done about losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// What is missing is sent again, while the rest still arrives.
    Recovery,
    /// Nothing was heard: everything is sent again, from the start.
    TimedOut,
}

/// What is known about losses.
pub(super) struct Loss {
    phase: Phase,
    /// The phase is over when this is acknowledged.
    recover: u32,
    /// What was sent last of what has arrived, and how long that took.
    newest: Sent,
    rtt_ns: u64,
    /// The highest number that has arrived.
    highest: u32,
    /// The network does not keep the order; by how many quarters of an RTT.
    is_reordered: bool,
    quarters: u8,
    quarters_last: u8,
    /// Quarters are not added before this is acknowledged.
    quarters_round: u32,
    /// A probe of the tail is on its way that ends here, and whether it was data sent
    /// again.
    probe: Option<u32>,
    is_probe_again: bool,
    /// ACKs that said nothing new, from a peer that does not tell what it has.
    same: u32,
    segment: u32,
    /// RFC 6937: bytes that arrived and were sent since recovery has begun, and those
    /// on their way then; what there was room for then counts as both.
    delivered: u32,
    sent: u32,
    flight: u32,
    /// The window before, and the time of what was sent again first: if something that
    /// was sent earlier is acknowledged, nothing was lost (RFC 3522).
    before: Option<Before>,
    again_stamp: Option<u32>,
    /// The most that was on its way since this number was sent.
    flight_max: u32,
    flight_round: u32,
}

/// What an ACK was like.
pub(super) struct Heard {
    /// Bytes on their way before it.
    pub flight: u32,
    pub is_new: bool,
    /// It says nothing, and means that something else has arrived.
    pub is_same: bool,
    /// Something came twice.
    pub is_twice: bool,
    pub rtt_ns: Option<u64>,
    /// The timestamp that it echoes.
    pub echo: Option<u32>,
}

impl Loss {
    pub fn new(iss: u32) -> Self {
        Loss {
            phase: Phase::Open,
            recover: iss,
            newest: Sent::default(),
            rtt_ns: 0,
            highest: iss,
            is_reordered: false,
            quarters: 1,
            quarters_last: 0,
            quarters_round: iss,
            probe: None,
            is_probe_again: false,
            same: 0,
            segment: 0,
            delivered: 0,
            sent: 0,
            flight: 0,
            before: None,
            again_stamp: None,
            flight_max: 0,
            flight_round: iss,
        }
    }

    /// Begins, after a handshake.
    pub fn begin(&mut self, una: u32) {
        (self.highest, self.recover) = (una, una);
        (self.quarters_round, self.flight_round) = (una, una);
    }

    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// Bytes that seem to have arrived of those on their way.
    pub fn assumed(&self, flight: u32) -> u32 {
        self.same.saturating_mul(self.segment).min(flight)
    }

    /// Whether the tail may be probed: no more than once, and where nothing is missing.
    pub fn may_probe_tail(&self) -> bool {
        self.phase == Phase::Open && self.probe.is_none()
    }

    /// Notes a probe of the tail.
    pub fn note_probe(&mut self, end: u32, is_again: bool) {
        (self.probe, self.is_probe_again) = (Some(end), is_again);
    }

    /// Notes that so much was sent, so that so much is on its way.
    pub fn note_sent(&mut self, bytes: u32, flight: u32, una: u32, nxt: u32) {
        self.sent = self.sent.wrapping_add(bytes);
        if !before(una, self.flight_round) || flight > self.flight_max {
            (self.flight_max, self.flight_round) = (flight, nxt);
        }
    }

    /// Notes that something is sent again now.
    pub fn note_again(&mut self, stamp: u32) {
        if self.phase != Phase::Open {
            self.again_stamp.get_or_insert(stamp);
        }
    }
}

impl Machine {
    /// Looks at what an ACK means for what was lost, and for how much may be sent.
    pub(super) fn hear(&mut self, heard: &Heard, delivered: &Delivered, env: &mut Env<'_>) {
        let mss = self.segment();
        self.loss.segment = mss;
        self.note_delivered(heard, delivered, env.now_ns);
        self.note_tail(heard, env);
        if heard.is_new {
            self.loss.same = 0;
        } else if heard.is_same && !self.may_sack {
            self.loss.same += 1;
        }
        if self.is_undone(heard) {
            self.undo(env);
        }
        if self.loss.phase != Phase::Open && !before(self.una, self.loss.recover) {
            self.recovered();
        }
        if self.may_sack {
            if self.board.sacked() > 0 || self.loss.phase != Phase::Open {
                self.detect(env);
            }
        } else {
            self.detect_without_sack(heard, env);
        }
        match self.loss.phase {
            Phase::Recovery => self.pace(heard, delivered),
            _ if heard.is_new => self.grow(heard, delivered, env.now_ns),
            _ => {}
        }
    }

    /// RFC 8985 section 6.2, steps 2 to 4.
    fn note_delivered(&mut self, heard: &Heard, delivered: &Delivered, now_ns: u64) {
        let loss = &mut self.loss;
        loss.highest = delivered.highest;
        loss.is_reordered |= delivered.is_reordered;
        if let Some(last) = delivered.last {
            loss.rtt_ns = now_ns.saturating_sub(last.at_ns);
            if last.is_after(&loss.newest) {
                loss.newest = last;
            }
        }
        if heard.is_twice && !before(self.una, loss.quarters_round) {
            loss.quarters_round = self.nxt;
            loss.quarters = (loss.quarters + 1).min(16);
            loss.quarters_last = TWICE_LASTS;
        }
    }

    /// What has become of a probe of the tail (RFC 8985 section 7.4).
    fn note_tail(&mut self, heard: &Heard, env: &mut Env<'_>) {
        let Some(end) = self.loss.probe.filter(|end| !before(self.una, *end)) else { return };
        let is_repaired = self.loss.is_probe_again && !heard.is_twice && before(end, self.una);
        if is_repaired && self.loss.phase == Phase::Open {
            // The probe has come in place of what was lost: that is a loss like others.
            let mss = self.segment();
            self.cubic.reduce(mss);
            self.cubic.set_window(self.cubic.threshold());
            env.counters.recoveries += 1;
        }
        if is_repaired || heard.is_twice || heard.is_same || !self.loss.is_probe_again {
            self.loss.probe = None;
        }
    }

    /// RFC 8985 section 6.2, step 5.
    pub(super) fn detect(&mut self, env: &mut Env<'_>) {
        let known = self.board.lost();
        let wait_ns = self.loss.rtt_ns + self.reordering_ns();
        let late_ns = self.board.detect(&self.loss.newest, wait_ns, env.now_ns);
        self.timers.late_ns = late_ns.unwrap_or(NEVER);
        if self.board.lost() > known && self.loss.phase == Phase::Open {
            self.recover(env);
        }
    }

    /// By how much the network may change the order.
    fn reordering_ns(&self) -> u64 {
        let is_clear =
            self.loss.phase != Phase::Open || self.board.sacked() >= SAME_MAX * self.segment();
        if is_clear && !self.loss.is_reordered {
            return 0;
        }
        let quarters = u64::from(self.loss.quarters);
        let smoothed_ns = self.rtt.smoothed_ns().unwrap_or(u64::MAX);
        (self.rtt.min_ns() / 4 * quarters).min(smoothed_ns)
    }

    fn detect_without_sack(&mut self, heard: &Heard, env: &mut Env<'_>) {
        let is_partial = self.loss.phase == Phase::Recovery && heard.is_new;
        if is_partial || self.loss.phase == Phase::Open && self.loss.same == SAME_MAX {
            let mss = self.segment();
            self.board.lose_first(mss);
            if self.loss.phase == Phase::Open {
                self.recover(env);
            }
        }
    }

    /// Something was lost.
    fn recover(&mut self, env: &mut Env<'_>) {
        env.counters.recoveries += 1;
        let mss = self.segment();
        // What ACKs that came together with this one have made room for would have been
        // sent by now, had they come one by one.
        let on_its_way = self.nxt.wrapping_sub(self.una).saturating_sub(self.board.sacked());
        let room = self.cubic.window().saturating_sub(on_its_way).min(self.waiting());
        let loss = &mut self.loss;
        loss.phase = Phase::Recovery;
        loss.recover = self.nxt;
        loss.before = Some(self.cubic.reduce(mss));
        loss.again_stamp = None;
        (loss.delivered, loss.sent) = (room, 0);
        loss.flight = self.nxt.wrapping_sub(self.una).saturating_add(room).max(1);
        self.timers.tail_ns = NEVER;
        let pipe = self.pipe();
        self.cubic.set_window(pipe + mss);
    }

    /// How much may be sent in recovery (RFC 6937): in step with what arrives, until as
    /// much is on its way as is allowed.
    fn pace(&mut self, heard: &Heard, delivered: &Delivered) {
        let mss = self.segment();
        let arrived = delivered.bytes.max(if heard.is_same { mss } else { 0 });
        let (pipe, threshold) = (self.pipe(), self.cubic.threshold());
        let loss = &mut self.loss;
        loss.delivered = loss.delivered.saturating_add(arrived);
        let more = if pipe > threshold {
            let share = u64::from(loss.delivered) * u64::from(threshold);
            let share = share.div_ceil(loss.flight.into()).min(u32::MAX.into()) as u32;
            share.saturating_sub(loss.sent)
        } else {
            let owed = loss.delivered.saturating_sub(loss.sent).max(arrived);
            (threshold - pipe).min(owed + if heard.is_new { mss } else { 0 })
        };
        // What was lost first is sent again at once.
        let least = if loss.sent == 0 { mss } else { 0 };
        self.cubic.set_window(pipe + more.max(least));
    }

    fn recovered(&mut self) {
        let loss = &mut self.loss;
        if loss.phase == Phase::Recovery {
            self.cubic.set_window(self.cubic.threshold());
        }
        loss.phase = Phase::Open;
        loss.before = None;
        loss.quarters_last = loss.quarters_last.saturating_sub(1);
        if loss.quarters_last == 0 {
            loss.quarters = 1;
        }
    }

    /// Whether an ACK is of what was sent before it was sent again.
    fn is_undone(&self, heard: &Heard) -> bool {
        let again = self.loss.again_stamp.filter(|_| heard.is_new && self.loss.before.is_some());
        heard.echo.zip(again).is_some_and(|(echo, again)| before(echo, again))
    }

    /// Nothing was lost: what was sent last was only late.
    fn undo(&mut self, env: &mut Env<'_>) {
        if let Some(before) = self.loss.before.take() {
            env.counters.recoveries_undone += 1;
            self.cubic.restore(&before);
            self.board.lose_nothing();
            self.loss.phase = Phase::Open;
            self.loss.is_reordered = true;
            self.loss.same = 0;
        }
    }

    fn grow(&mut self, heard: &Heard, delivered: &Delivered, now_ns: u64) {
        let acked = Acked {
            bytes: delivered.bytes,
            una: self.una,
            nxt: self.nxt,
            rtt_ns: heard.rtt_ns,
            smoothed_ns: self.rtt.smoothed_ns().unwrap_or_default(),
            now_ns,
            mss: self.segment(),
        };
        self.cubic.round(&acked);
        let flight = self.loss.flight_max.max(heard.flight);
        // With half of it in use it would not be doubled for nothing.
        let is_used = if self.cubic.is_slow_start() {
            flight.saturating_mul(2) >= self.cubic.window()
        } else {
            flight + 2 * acked.mss >= self.cubic.window()
        };
        if is_used || self.loss.phase == Phase::TimedOut {
            self.cubic.grow(&acked);
        } else {
            self.cubic.pause();
        }
    }

    /// Nothing was heard for too long: everything is sent again, beginning with one
    /// segment (RFC 5681 section 3.1).
    pub(super) fn time_out(&mut self, env: &mut Env<'_>) {
        env.counters.timeouts += 1;
        if self.board.is_reneged() {
            self.board.forget_sacks();
        }
        let mss = self.segment();
        if self.loss.phase == Phase::Open {
            self.loss.before = Some(self.cubic.reduce(mss));
            self.loss.again_stamp = None;
        }
        self.loss.phase = Phase::TimedOut;
        self.loss.recover = self.nxt;
        self.loss.probe = None;
        self.loss.same = 0;
        self.timers.late_ns = NEVER;
        self.board.lose_all();
        self.cubic.set_window(mss);
    }

    /// The path takes no segments as large as before: what is on its way does not
    /// arrive, for another reason than congestion.
    pub fn set_mss(&mut self, mss: u16) {
        self.mss = mss;
        self.board.lose_all();
    }
}
