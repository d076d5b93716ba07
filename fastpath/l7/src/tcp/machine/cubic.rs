//! Congestion control: CUBIC (RFC 9438) behind a slow start that ends before it hurts
//! (HyStart++, RFC 9406).

use super::{MS, SECOND};
use crate::tcp::parse::before;

const BETA: f32 = 0.7;
/// Segments a cubic second.
const C: f32 = 0.4;
/// What a window grows by in segments an RTT to be as Reno's, after a loss by BETA.
const ALPHA: f32 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// What an ACK may count for in slow start, in segments.
const LIMIT: u32 = 8;
const SAMPLES: u8 = 8;
const CSS_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;

/// The window, in bytes, and how it came to be.
pub(super) struct Cubic {
    window: u32,
    threshold: u32,
    /// The window before it was last reduced, in segments.
    highest: f32,
    /// Seconds from the start of an epoch to when `highest` is reached again.
    k: f32,
    /// What Reno would have by now, in segments.
    reno: f32,
    /// When the window was last begun to be raised from; 0 where it was not.
    epoch_ns: u64,
    rounds: Rounds,
}

/// Rounds of slow start.
struct Rounds {
    /// It is over when this is acknowledged.
    end: u32,
    /// The least RTT of the round before, and of this one.
    last_us: u32,
    least_us: u32,
    samples: u8,
    /// The RTT from which on growth is slower, and rounds of that.
    base_us: u32,
    slower: u8,
}

/// What an ACK tells.
pub(super) struct Acked {
    pub bytes: u32,
    pub una: u32,
    pub nxt: u32,
    pub rtt_ns: Option<u64>,
    pub smoothed_ns: u64,
    pub now_ns: u64,
    pub mss: u32,
}

/// What a window was before it was reduced.
#[derive(Clone, Copy)]
pub(super) struct Before {
    window: u32,
    threshold: u32,
    highest: f32,
}

impl Cubic {
    pub fn new(mss: u32) -> Self {
        Cubic {
            window: initial(mss),
            threshold: u32::MAX,
            highest: 0.0,
            k: 0.0,
            reno: 0.0,
            epoch_ns: 0,
            rounds: Rounds {
                end: 0,
                last_us: u32::MAX,
                least_us: u32::MAX,
                samples: 0,
                base_us: u32::MAX,
                slower: 0,
            },
        }
    }

    /// Begins, after a handshake.
    pub fn begin(&mut self, mss: u32, next: u32, was_syn_lost: bool) {
        self.window = if was_syn_lost { mss } else { initial(mss) };
        self.rounds.end = next;
    }

    /// Bytes that may be on their way.
    pub fn window(&self) -> u32 {
        self.window
    }

    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    pub fn set_window(&mut self, bytes: u32) {
        self.window = bytes;
    }

    pub fn is_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// Something new was acknowledged while the window was what limits.
    pub fn grow(&mut self, acked: &Acked) {
        // More than half of the space of sequence numbers is never used.
        const WINDOW_MAX: u32 = 1 << 30;
        if self.window >= WINDOW_MAX {
            return;
        }
        if self.is_slow_start() {
            let counted = acked.bytes.min(LIMIT * acked.mss);
            let is_slower = self.rounds.base_us != u32::MAX;
            let growth = if is_slower { counted / CSS_DIVISOR } else { counted };
            self.window = self.window.saturating_add(growth).min(self.threshold);
        } else {
            self.avoid(acked);
        }
    }

    /// Congestion avoidance (RFC 9438 section 4).
    fn avoid(&mut self, acked: &Acked) {
        let mss = acked.mss as f32;
        let window = self.window as f32 / mss;
        if self.epoch_ns == 0 {
            self.epoch_ns = acked.now_ns;
            self.highest = self.highest.max(window);
            self.k = ((self.highest - window) / C).cbrt();
            self.reno = window;
        }
        let since_ns = acked.now_ns.saturating_sub(self.epoch_ns) + acked.smoothed_ns;
        let since = since_ns as f32 / SECOND as f32 - self.k;
        let target = (C * since * since * since + self.highest).clamp(window, 1.5 * window);
        let segments = acked.bytes as f32 / mss;
        let alpha = if self.reno < self.highest { ALPHA } else { 1.0 };
        self.reno += alpha * segments / window;
        let next = (window + (target - window) / window * segments).max(self.reno);
        // As slow start at most.
        self.window = (next.min(window + segments) * mss) as u32;
    }

    /// Looks after the rounds of slow start (RFC 9406 section 4.2).
    pub fn round(&mut self, acked: &Acked) {
        if self.threshold != u32::MAX {
            return;
        }
        let rounds = &mut self.rounds;
        if !before(acked.una, rounds.end) {
            rounds.end = acked.nxt;
            rounds.last_us = std::mem::replace(&mut rounds.least_us, u32::MAX);
            rounds.samples = 0;
            if rounds.base_us != u32::MAX {
                rounds.slower += 1;
                if rounds.slower >= CSS_ROUNDS {
                    self.threshold = self.window;
                    return;
                }
            }
        }
        let Some(rtt_ns) = acked.rtt_ns else { return };
        let rtt_us = u32::try_from(rtt_ns / 1_000).unwrap_or(u32::MAX - 1);
        rounds.least_us = rounds.least_us.min(rtt_us);
        rounds.samples = rounds.samples.saturating_add(1);
        if rounds.samples < SAMPLES || rounds.last_us == u32::MAX {
            return;
        }
        let more_us = (rounds.last_us / 8).clamp((4 * MS / 1_000) as u32, (16 * MS / 1_000) as u32);
        if rounds.base_us == u32::MAX {
            if rounds.least_us >= rounds.last_us.saturating_add(more_us) {
                (rounds.base_us, rounds.slower) = (rounds.least_us, 0);
            }
        } else if rounds.least_us < rounds.base_us {
            // It only looked like a queue.
            rounds.base_us = u32::MAX;
        }
    }

    /// Something was lost.
    pub fn reduce(&mut self, mss: u32) -> Before {
        let before =
            Before { window: self.window, threshold: self.threshold, highest: self.highest };
        let window = self.window as f32 / mss as f32;
        // Who sees less than before leaves room to others.
        let is_less = window < self.highest;
        self.highest = if is_less { window * (1.0 + BETA) / 2.0 } else { window };
        self.threshold = ((self.window as f32 * BETA) as u32).max(2 * mss);
        self.epoch_ns = 0;
        before
    }

    /// It was not.
    pub fn restore(&mut self, before: &Before) {
        self.window = self.window.max(before.window);
        self.threshold = before.threshold;
        self.highest = before.highest;
        self.epoch_ns = 0;
    }

    /// Nothing was sent for a while (RFC 5681 section 4.1, RFC 2861 section 3.1).
    pub fn restart(&mut self, mss: u32) {
        if self.threshold != u32::MAX {
            self.threshold = self.threshold.max(self.window / 4 * 3);
        }
        self.window = self.window.min(initial(mss));
        self.epoch_ns = 0;
    }

    /// The window was not what limits: time does not count.
    pub fn pause(&mut self) {
        self.epoch_ns = 0;
    }
}

/// RFC 6928.
fn initial(mss: u32) -> u32 {
    (10 * mss).min((2 * mss).max(14_600))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    /// A window's worth of ACKs, of two segments each, within a round trip.
    fn round(cubic: &mut Cubic, una: &mut u32, now_ns: u64, rtt_ns: u64) {
        let (window, start) = (cubic.window(), *una);
        while una.wrapping_sub(start) < window {
            *una = una.wrapping_add(2 * MSS);
            let acked = Acked {
                bytes: 2 * MSS,
                una: *una,
                nxt: una.wrapping_add(window),
                rtt_ns: Some(rtt_ns),
                smoothed_ns: rtt_ns,
                now_ns,
                mss: MSS,
            };
            cubic.round(&acked);
            cubic.grow(&acked);
        }
    }

    #[test]
    fn slow_start_doubles_until_the_queue_grows() {
        let (mut cubic, mut una) = (Cubic::new(MSS), u32::MAX - 5_000);
        cubic.begin(MSS, una, false);
        let mut windows = Vec::new();
        for n in 0..5 {
            windows.push(cubic.window() / MSS);
            round(&mut cubic, &mut una, n * 50 * MS, 50 * MS);
        }
        assert_eq!(windows, [10, 20, 40, 80, 160]);
        // From here on packets wait. It goes on for a few rounds, slower, and ends.
        for n in 5..12 {
            round(&mut cubic, &mut una, n * 60 * MS, 60 * MS);
        }
        assert!(!cubic.is_slow_start());
        assert!((320 * MSS..1_500 * MSS).contains(&cubic.window()), "{}", cubic.window());
    }

    #[test]
    fn what_only_looked_like_a_queue_does_not_end_it() {
        let (mut cubic, mut una) = (Cubic::new(MSS), 0);
        cubic.begin(MSS, una, false);
        for (n, rtt_ms) in [50, 50, 60, 50, 50, 50, 50, 50, 50].into_iter().enumerate() {
            round(&mut cubic, &mut una, n as u64 * 60 * MS, rtt_ms * MS);
        }
        assert!(cubic.is_slow_start());
    }

    #[test]
    fn a_window_comes_back_to_where_it_was_and_goes_on_from_there() {
        let (mut cubic, mut una) = (Cubic::new(MSS), 0);
        cubic.set_window(100 * MSS);
        cubic.reduce(MSS);
        assert_eq!(cubic.threshold(), 70 * MSS);
        cubic.set_window(cubic.threshold());
        // K = cbrt(30 / 0.4) = 4.2 s.
        let mut windows = Vec::new();
        for n in 0..90 {
            round(&mut cubic, &mut una, SECOND + n * 100 * MS, 100 * MS);
            windows.push(cubic.window() / MSS);
        }
        assert!(windows.is_sorted());
        let [early, back, later] = [20, 43, 88].map(|n: usize| windows[n]);
        assert!((90..99).contains(&early), "fast at first: {early}");
        assert!((99..102).contains(&back), "carefully then: {back}");
        assert!(later > 120, "and fast again: {later}");
        // A second loss before that leaves room to others.
        cubic.set_window(80 * MSS);
        let before = cubic.reduce(MSS);
        assert_eq!((cubic.threshold(), cubic.highest), (56 * MSS, 68.0));
        cubic.restore(&before);
        assert_eq!((cubic.window(), cubic.threshold()), (80 * MSS, 70 * MSS));
    }

    #[test]
    fn a_window_is_not_kept_while_nothing_is_sent() {
        let mut cubic = Cubic::new(MSS);
        cubic.set_window(100 * MSS);
        cubic.reduce(MSS);
        cubic.restart(MSS);
        assert_eq!((cubic.window(), cubic.threshold()), (10 * MSS, 75 * MSS));
        assert!(cubic.is_slow_start());
    }
}
