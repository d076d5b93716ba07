use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Processor time that the calling thread has used.
pub fn thread_time() -> Duration {
    of(ClockId::ThreadCPUTime)
}

/// Processor time that the process has used.
pub fn process_time() -> Duration {
    of(ClockId::ProcessCPUTime)
}

fn of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Resident memory of the process in MiB: now, and at most so far.
///
/// # Errors
/// When the kernel does not tell.
pub fn resident_mib() -> Result<(f64, f64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |key: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).context("status")?;
        let kib: f64 = line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    };
    Ok((of("VmRSS")?, of("VmHWM")?))
}
