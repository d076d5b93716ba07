use super::{MS, SECOND};

/// What is assumed before anything is measured (RFC 6298 section 2.1).
const INITIAL_NS: u64 = SECOND;
/// The least that four variances count for: RTTs that hardly vary leave room for an
/// ACK that is delayed.
const VARIANCE_MIN_NS: u64 = 200 * MS;
const MAX_NS: u64 = 60 * SECOND;
/// A shorter time than it was is believed for so long.
const MIN_LASTS_NS: u64 = 300 * SECOND;

/// The round trip time (RFC 6298), and the timeout that follows from it.
#[derive(Default)]
pub(super) struct Rtt {
    /// In microseconds, as all of them; 0 before the first measurement.
    smoothed_us: u32,
    variance_us: u32,
    min_us: u32,
    min_ns: u64,
    /// How often the timeout has doubled.
    backoff: u8,
}

impl Rtt {
    /// Takes a measurement, which is of no segment that was sent twice (Karn).
    pub fn measure(&mut self, rtt_ns: u64, now_ns: u64) {
        let rtt_us = micros(rtt_ns);
        if self.smoothed_us == 0 {
            self.smoothed_us = rtt_us;
            self.variance_us = rtt_us / 2;
        } else {
            let apart = self.smoothed_us.abs_diff(rtt_us);
            self.variance_us = self.variance_us - self.variance_us / 4 + apart / 4;
            self.smoothed_us = (self.smoothed_us - self.smoothed_us / 8 + rtt_us / 8).max(1);
        }
        self.backoff = 0;
        self.measure_min(rtt_ns, now_ns);
    }

    /// Takes a measurement for the least one alone.
    pub fn measure_min(&mut self, rtt_ns: u64, now_ns: u64) {
        let rtt_us = micros(rtt_ns);
        let is_old = now_ns.saturating_sub(self.min_ns) > MIN_LASTS_NS;
        if self.min_us == 0 || rtt_us <= self.min_us || is_old {
            (self.min_us, self.min_ns) = (rtt_us, now_ns);
        }
    }

    /// The smoothed time, where there is one.
    pub fn smoothed_ns(&self) -> Option<u64> {
        (self.smoothed_us > 0).then(|| u64::from(self.smoothed_us) * 1_000)
    }

    /// The least time, 0 where there is none.
    pub fn min_ns(&self) -> u64 {
        u64::from(self.min_us) * 1_000
    }

    /// How long to wait for an acknowledgment.
    pub fn timeout_ns(&self) -> u64 {
        let plain = self.smoothed_ns().map_or(INITIAL_NS, |smoothed| {
            smoothed + (4_000 * u64::from(self.variance_us)).max(VARIANCE_MIN_NS)
        });
        (plain.min(MAX_NS) << self.backoff).min(MAX_NS)
    }

    /// The timeout was over.
    pub fn back_off(&mut self) {
        // 200 ms become a minute after 9.
        self.backoff = (self.backoff + 1).min(10);
    }

    /// What was waited for has come, and says nothing of the time that it took.
    pub fn calm(&mut self) {
        self.backoff = 0;
    }
}

fn micros(ns: u64) -> u32 {
    u32::try_from(ns / 1_000).unwrap_or(u32::MAX).clamp(1, 60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_what_is_measured() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout_ns(), SECOND);
        rtt.measure(100 * MS, SECOND);
        assert_eq!(rtt.timeout_ns(), 300 * MS, "four times half of it");
        for n in 0..100 {
            rtt.measure(100 * MS, SECOND + n * MS);
        }
        let timeout = rtt.timeout_ns();
        assert!(timeout.abs_diff(300 * MS) < MS, "never less than 200 ms more: {timeout}");
        rtt.measure(500 * MS, 3 * SECOND);
        assert!(rtt.timeout_ns() > 500 * MS);
        assert_eq!(rtt.min_ns(), 100 * MS);
        rtt.measure(500 * MS, 400 * SECOND);
        assert_eq!(rtt.min_ns(), 500 * MS, "what was long ago is forgotten");
    }

    #[test]
    fn it_doubles_up_to_a_minute() {
        let mut rtt = Rtt::default();
        rtt.measure(0, SECOND);
        let mut timeouts = Vec::new();
        for _ in 0..20 {
            timeouts.push(rtt.timeout_ns() / MS);
            rtt.back_off();
        }
        assert_eq!(timeouts[..4], [200, 400, 800, 1_600]);
        assert_eq!(timeouts[19], 60_000);
        rtt.calm();
        assert_eq!(rtt.timeout_ns() / MS, 200);
    }
}
