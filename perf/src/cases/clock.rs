use super::{Case, Check};
use crate::tsc::ticks;
use anyhow::Result;
use std::hint::black_box;

/// Steps of a chain in which each waits for the one before it.
const STEPS: usize = 64_000;
/// Cycles of a step: one of `or`, three of a multiplication, on the x86-64 and ARM cores of
/// the last ten years.
const STEP_CYCLES: usize = 4;

/// How fast the core itself runs: nothing of it is in memory. The time stamp counter does
/// not tell, and a core's clock goes up and down with heat and neighbors.
pub struct Clock;

impl Case for Clock {
    fn round(&mut self, _check: Check) -> Result<u64> {
        let begin = ticks();
        let mut x = black_box(3u64);
        for _ in 0..STEPS {
            x = x.wrapping_mul(x | 1);
        }
        black_box(x);
        Ok(ticks() - begin)
    }

    /// Thousands of cycles.
    fn units(&self) -> usize {
        STEPS * STEP_CYCLES / 1_000
    }
}
