use std::ops::Add;
use std::time::Duration;

/// Nanoseconds since a start that all workers of a process share. The fast
/// path is told the time, it never reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Nanoseconds in a second.
    pub const SECOND: u64 = 1_000_000_000;

    /// Whole milliseconds, modulo 2^32 (49 days): what flow entries store.
    #[inline]
    pub fn millis(self) -> u32 {
        (self.0 / 1_000_000) as u32
    }

    /// Nanoseconds since `earlier`; 0 if that lies ahead.
    #[inline]
    pub fn since(self, earlier: Nanos) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Nanos {
    type Output = Nanos;

    fn add(self, duration: Duration) -> Nanos {
        Nanos(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}
