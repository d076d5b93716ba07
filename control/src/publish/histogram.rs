use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds; a last bucket has the rest.
pub const BOUNDS_US: [u64; 17] = [
    20, 50, 100, 200, 350, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000, 5_000_000,
];

/// How long something took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Observations up to each of [`BOUNDS_US`] and above the one before (not
    /// cumulative); the last one has all above.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// Sum of all observations, in microseconds.
    pub sum_us: u64,
    /// Number of observations.
    pub count: u64,
}

impl Histogram {
    /// Adds an observation.
    pub fn record(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|&bound| bound < us);
        self.counts[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_bucket_below() {
        let mut histogram = Histogram::default();
        for us in [0, 20, 21, 5_000_000, 5_000_001] {
            histogram.record(Duration::from_micros(us));
        }
        assert_eq!((histogram.counts[0], histogram.counts[1]), (2, 1));
        assert_eq!((histogram.counts[16], histogram.counts[17]), (1, 1));
        assert_eq!((histogram.count, histogram.sum_us), (5, 10_000_042));
    }
}
