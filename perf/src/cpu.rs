use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

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

/// The processor's name.
pub fn model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    line.and_then(|line| line.split_once(':'))
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}
