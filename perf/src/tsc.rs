use std::time::{Duration, Instant};

/// How long the counter is compared with the clock.
const CALIBRATION: Duration = Duration::from_millis(200);

/// The time stamp counter now. Everything before it has finished, nothing after
/// it has begun.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
pub fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: both instructions exist on every x86-64 processor and touch no
    // memory.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}

/// Nanoseconds of the monotonic clock, where there is no counter to read.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Ticks per nanosecond, measured against the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Rate(f64);

impl Rate {
    /// Compares the counter with the clock for a fifth of a second.
    pub fn calibrate() -> Self {
        let (clock, from) = (Instant::now(), ticks());
        while clock.elapsed() < CALIBRATION {
            std::hint::spin_loop();
        }
        let (to, elapsed) = (ticks(), clock.elapsed());
        Rate((to - from) as f64 / elapsed.as_nanos() as f64)
    }

    /// Ticks per nanosecond.
    pub fn ghz(self) -> f64 {
        self.0
    }

    /// Ticks in nanoseconds.
    pub fn nanos(self, ticks: u64) -> f64 {
        ticks as f64 / self.0
    }

    /// Nanoseconds in ticks.
    pub fn ticks(self, nanos: f64) -> u64 {
        (nanos * self.0) as u64
    }
}
