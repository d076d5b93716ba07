use super::json;
use crate::observe::view::{LeftOut, Line};
use std::time::{Duration, Instant};

/// How often it is said that something is left out.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// What was left out, and how much of it was said.
pub(super) struct Tally {
    /// Counts of the workers when it was said last: beyond the limit, ring full.
    workers: [u64; 2],
    pub(super) slow: u64,
    said: Instant,
}

impl Tally {
    pub(super) fn new(workers: [u64; 2]) -> Self {
        Tally { workers, slow: 0, said: Instant::now() }
    }

    /// What there is to say, by the workers' counts of now.
    pub(super) fn left_out(&self, workers: [u64; 2]) -> [u64; 3] {
        let [limit, ring] = [0, 1].map(|i| workers[i].saturating_sub(self.workers[i]));
        [limit, ring, self.slow]
    }

    pub(super) fn was_said(&mut self, workers: [u64; 2]) {
        self.workers = workers;
        self.slow = 0;
    }
}

/// The line that says what is left out, when it is time for one.
pub(super) fn say(tally: &mut Tally, counts: [u64; 2]) -> Option<Vec<u8>> {
    let [beyond_limit, ring_full, slow_reader] = tally.left_out(counts);
    let left_out = beyond_limit + ring_full + slow_reader;
    if left_out == 0 || tally.said.elapsed() < SAY_EVERY {
        return None;
    }
    tally.said = Instant::now();
    let time = jiff::Timestamp::now();
    let line = LeftOut { time, left_out, beyond_limit, ring_full, slow_reader };
    Some(json(&Line::LeftOut(line)))
}
