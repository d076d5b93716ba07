use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A time that somebody else sets: ports read no clock, so that a run can be
/// repeated exactly. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct SharedClock {
    now_ns: Arc<AtomicU64>,
}

impl SharedClock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time, in nanoseconds; since 1970 where it ends up in a capture.
    pub fn set_now_ns(&self, now_ns: u64) {
        self.now_ns.store(now_ns, Ordering::Relaxed);
    }

    /// The time, in nanoseconds.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }
}
