use super::UpstreamConfig;
use std::cell::Cell;

/// What a retry costs.
const RETRY: u64 = 1_000_000_000;

/// How many requests may be sent once more: so that endpoints which fail under their load
/// are not given more of it.
pub(super) struct Budget {
    left: Cell<u64>,
    filled_at_ns: Cell<u64>,
}

impl Budget {
    pub(super) fn new(config: &UpstreamConfig, now_ns: u64) -> Self {
        let left = Cell::new(RETRY * u64::from(config.retries_burst));
        Budget { left, filled_at_ns: Cell::new(now_ns) }
    }

    /// A request came.
    pub(super) fn earn(&self, config: &UpstreamConfig, now_ns: u64) {
        let passed_ns = now_ns.saturating_sub(self.filled_at_ns.replace(now_ns));
        // A retry costs as much as a second has nanoseconds.
        let by_time = passed_ns.saturating_mul(u64::from(config.retries_per_s));
        let by_request = RETRY / 100 * u64::from(config.retries_per_cent);
        let left = self.left.get().saturating_add(by_time).saturating_add(by_request);
        self.left.set(left.min(RETRY * u64::from(config.retries_burst)));
    }

    /// Whether a request may be sent once more.
    pub(super) fn spend(&self) -> bool {
        let left = self.left.get().checked_sub(RETRY);
        left.inspect(|left| self.left.set(*left)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_requests_and_three_in_a_second_are_sent_once_more() {
        let config = UpstreamConfig { retries_burst: 2, ..UpstreamConfig::default() };
        let budget = Budget::new(&config, 0);
        let spent = |times: usize| (0..times).filter(|_| budget.spend()).count();
        assert_eq!(spent(5), 2);
        (0..10).for_each(|_| budget.earn(&config, 0));
        assert_eq!(spent(5), 2, "20% of 10");
        (0..1000).for_each(|_| budget.earn(&config, 0));
        assert_eq!(spent(5), 2, "not more than the burst");
        let a_third_s = 333_333_334;
        (1..=3).for_each(|third| {
            budget.earn(&UpstreamConfig { retries_per_cent: 0, ..config }, third * a_third_s);
            assert_eq!(spent(5), 1, "3 in a second");
        });
    }
}
