use crate::clock::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// When control last turned its loop, which it does ten times a second at
/// least. Clones share.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    clock: Arc<dyn Clock>,
    at_ns: Arc<AtomicU64>,
}

impl Heartbeat {
    /// The first beat is now.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let beat = Heartbeat { at_ns: Arc::default(), clock };
        beat.beat(beat.clock.now());
        beat
    }

    pub(super) fn beat(&self, now: Duration) {
        self.at_ns.store(nanos(now), Ordering::Relaxed);
    }

    /// Time since the last beat.
    pub fn age(&self) -> Duration {
        let now = nanos(self.clock.now());
        Duration::from_nanos(now.saturating_sub(self.at_ns.load(Ordering::Relaxed)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
