use serde::Serialize;

/// Parts of each power of two: what is told is at most 1/32 too large.
const PARTS: u64 = 32;
const PART_BITS: u32 = PARTS.trailing_zeros();
/// Up to 2^40 ns, which is 18 minutes.
const BUCKETS: usize = (40 - PART_BITS as usize + 1) * PARTS as usize;

/// How often what took how long, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { buckets: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

/// What they came to, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: u64,
    /// The middle one.
    pub p50_us: f64,
    /// 99 of 100 are not above it.
    pub p99_us: f64,
    /// 999 of 1,000 are not above it.
    pub p999_us: f64,
    /// The largest.
    pub max_us: f64,
}

impl Latencies {
    /// Counts one.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.buckets[bucket(ns).min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.max = self.max.max(ns);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.buckets.fill(0);
        (self.count, self.max) = (0, 0);
    }

    /// Nanoseconds that a share of them does not exceed.
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(bucket).min(self.max);
            }
        }
        self.max
    }

    /// What they came to.
    pub fn spread(&self) -> Spread {
        let us = |share| self.quantile(share) as f64 / 1e3;
        Spread {
            count: self.count,
            p50_us: us(0.5),
            p99_us: us(0.99),
            p999_us: us(0.999),
            max_us: self.max as f64 / 1e3,
        }
    }
}

fn bucket(ns: u64) -> usize {
    if ns < PARTS {
        return ns as usize;
    }
    let shift = ns.ilog2() - PART_BITS;
    ((u64::from(shift) << PART_BITS) + (ns >> shift)) as usize
}

/// The largest that comes into a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * PARTS {
        return bucket;
    }
    let shift = (bucket >> PART_BITS) - 1;
    let first = (bucket & (PARTS - 1)) + PARTS;
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_at_most_a_part_above_what_was() {
        for ns in (0..100_000).chain((17..39).map(|bits| (1 << bits) + 12_345)) {
            let told = upper(bucket(ns));
            assert!(ns <= told && told <= ns + ns / PARTS, "{ns} {told}");
            assert!(bucket(ns) < BUCKETS && bucket(told) == bucket(ns), "{ns}");
        }
    }

    #[test]
    fn ranks_are_those_of_the_sorted_list() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ns| latencies.record(ns * 1000));
        let spread = latencies.spread();
        let near = |told: f64, is: f64| is <= told && told <= is * 1.04;
        assert!(near(spread.p50_us, 500.0) && near(spread.p99_us, 990.0), "{spread:?}");
        assert!(near(spread.p999_us, 999.0), "{spread:?}");
        assert_eq!((spread.count, spread.max_us), (1000, 1000.0));
        latencies.clear();
        assert_eq!(latencies.spread().count, 0);
    }
}
