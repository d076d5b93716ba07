use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::time::Duration;

/// Pins the calling thread to one core.
///
/// # Errors
/// When there is no such core, or it may not be used.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on core {cpu}"))
}

/// Has the calling thread run before all ordinary ones of its core, or not any more.
///
/// # Errors
/// When the kernel does not let it.
#[allow(unsafe_code)]
pub fn run_first(first: bool) -> Result<()> {
    let (policy, priority) = if first { (libc::SCHED_FIFO, 1) } else { (libc::SCHED_OTHER, 0) };
    let param = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter is valid for the call, which keeps nothing of it.
    let set = unsafe { libc::sched_setscheduler(0, policy, &param) };
    ensure!(set == 0, "cannot run first: {}", std::io::Error::last_os_error());
    Ok(())
}

/// For how long a core has done anything since the machine was started, interrupts included,
/// by the kernel's account. What the host took of it is not in it.
///
/// # Errors
/// When there is no such core.
pub fn busy(cpu: usize) -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let ticks = busy_ticks(&text, cpu).with_context(|| format!("no core {cpu} in /proc/stat"))?;
    // What the kernel calls USER_HZ: the same on every x86 and ARM machine.
    Ok(Duration::from_millis(ticks * 10))
}

/// User, nice, system, interrupts and soft interrupts of a core; between them stand idle and
/// waiting for I/O (proc_stat(5)).
fn busy_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu}");
    let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
    let mut ticks = line.split_ascii_whitespace().skip(1);
    let mut sum = 0;
    for is_busy in [true, true, true, false, false, true, true] {
        let ticks: u64 = ticks.next()?.parse().ok()?;
        sum += if is_busy { ticks } else { 0 };
    }
    Some(sum)
}

/// The processor's name.
pub fn model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    line.and_then(|line| line.split_once(':'))
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_busy_when_it_is_neither_idle_nor_taken_away() {
        let stat = "cpu  30 2 3 4 5 6 7 8 0 0\ncpu1 10 1 2 1000 200 3 4 500 0 0\n\
                    cpu10 1 0 0 0 0 0 0 0 0 0\nintr 12\n";
        assert_eq!(busy_ticks(stat, 1), Some(10 + 1 + 2 + 3 + 4));
        assert_eq!(busy_ticks(stat, 10), Some(1));
        assert_eq!(busy_ticks(stat, 0), None);
    }
}
