const SECOND_NS: u64 = 1_000_000_000;

/// Allows so many things a second, and a burst of as many.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_s: u64,
    /// In things x nanoseconds of their share: exact for any rate.
    credit: u64,
    filled_ns: u64,
}

impl Bucket {
    pub fn new(per_s: u32) -> Self {
        Bucket { per_s: per_s.into(), credit: u64::from(per_s) * SECOND_NS, filled_ns: 0 }
    }

    pub fn take(&mut self, now_ns: u64) -> bool {
        let since = now_ns.saturating_sub(self.filled_ns).min(SECOND_NS);
        self.filled_ns = self.filled_ns.max(now_ns);
        self.credit = (self.credit + since * self.per_s).min(self.per_s * SECOND_NS);
        let is_allowed = self.credit >= SECOND_NS;
        if is_allowed {
            self.credit -= SECOND_NS;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::new(10);
        let take = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(take(&mut bucket, 5), 10);
        assert_eq!(take(&mut bucket, 5 + SECOND_NS / 2), 5);
        assert_eq!(take(&mut bucket, 100 * SECOND_NS), 10);
        assert_eq!(take(&mut bucket, 7), 0, "time does not run back");
    }
}
