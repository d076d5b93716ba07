use std::time::Duration;

/// So many at once, then one in each period (a token bucket). Time is passed
/// in.
#[derive(Clone, Debug)]
pub struct Bucket {
    burst: u32,
    every: Duration,
    /// When it will be full.
    full_at: Duration,
}

impl Bucket {
    /// Full.
    pub fn new(burst: u32, every: Duration) -> Self {
        Bucket { burst, every, full_at: Duration::ZERO }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: Duration) -> bool {
        let is_there = self.wait(now).is_zero();
        if is_there {
            self.full_at = self.full_at.max(now) + self.every;
        }
        is_there
    }

    /// How long until there is one.
    pub fn wait(&self, now: Duration) -> Duration {
        let lacking = self.full_at.saturating_sub(now) + self.every;
        lacking.saturating_sub(self.every * self.burst)
    }

    /// Whether none is taken.
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_in_each_period() {
        let mut bucket = Bucket::new(3, Duration::from_secs(10));
        let mut taken = Vec::new();
        for second in 100..140 {
            while bucket.take(Duration::from_secs(second)) {
                taken.push(second);
            }
        }
        assert_eq!(taken, [100, 100, 100, 110, 120, 130]);
        assert_eq!(bucket.wait(Duration::from_secs(139)), Duration::from_secs(1));
        assert!(!bucket.is_full(Duration::from_secs(159)));
        assert!(bucket.is_full(Duration::from_secs(160)));
    }
}
