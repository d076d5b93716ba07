use crate::time::Nanos;

/// Lets so many events a second pass, and as many at once.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_second: u32,
    /// Tokens, in billionths.
    tokens: u64,
    filled: Nanos,
}

/// What one event costs.
const TOKEN: u64 = Nanos::SECOND;

impl Bucket {
    /// A full one.
    pub fn new(per_second: u32, now: Nanos) -> Self {
        Bucket { per_second, tokens: u64::from(per_second) * TOKEN, filled: now }
    }

    /// Takes a token; false when there is none.
    pub fn take(&mut self, now: Nanos) -> bool {
        let gained = now.since(self.filled).saturating_mul(u64::from(self.per_second));
        let full = u64::from(self.per_second) * TOKEN;
        self.tokens = self.tokens.saturating_add(gained).min(full);
        self.filled = now;
        let has = self.tokens >= TOKEN;
        if has {
            self.tokens -= TOKEN;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_as_many_as_it_may_and_a_burst_no_more() {
        let at = |ms: u64| Nanos(7 * Nanos::SECOND + ms * 1_000_000);
        let mut bucket = Bucket::new(10, at(0));
        let mut taken = |from: u64, to: u64| (from..to).filter(|&ms| bucket.take(at(ms))).count();
        assert_eq!(taken(0, 1), 1);
        assert_eq!(taken(1, 50), 9, "the rest of the burst");
        assert_eq!(taken(50, 1050), 10);
        assert_eq!(taken(1050, 11_050), 100);
        assert_eq!(taken(600_000, 600_001), 1);
        let mut none = Bucket::new(0, at(0));
        assert!(!none.take(at(0)) && !none.take(at(1_000_000)));
    }
}
