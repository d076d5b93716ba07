use super::error::DpdkError;
use super::options::{DpdkOptions, DpdkPortOptions};
use crate::frame::CHUNK_LEN;
use std::ffi::{CString, c_char};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A line of DPDK's log.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// 1 (the most severe) to 8, as in `rte_log.h`: 4 is an error, 5 a warning, 7 a word
    /// of information.
    pub level: u32,
    /// The line.
    pub text: &'a str,
}

/// Errors in the log, and what is more severe.
const LEVEL_ERROR: u32 = 4;

/// Lines of errors that are kept for a message.
const LINES_MAX: usize = 8;

/// Bytes of a frame in a pool: its room, the headroom, DPDK's own descriptions of it.
const FRAME_LEN: u64 = CHUNK_LEN as u64 + 512;

/// The same in usual pages: none lies in two of them, whose places in memory are not side by
/// side.
const FRAME_LEN_IN_PAGES: u64 = 4096;

/// MiB that DPDK needs besides: rings, drivers' tables, caches.
const BESIDES_MIB: u64 = 96;

static LOG: OnceLock<fn(LogLine<'_>)> = OnceLock::new();
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts EAL.
pub(super) fn start(options: &DpdkOptions, log: fn(LogLine<'_>)) -> Result<(), DpdkError> {
    static STARTED: AtomicBool = AtomicBool::new(false);
    if options.huge_pages {
        check_memory(options.frames)?;
    }
    if STARTED.swap(true, Ordering::Relaxed) {
        return Err(DpdkError::Again);
    }
    let _ = LOG.set(log);
    let arguments = arguments(options, &cores().unwrap_or_else(|| "0".to_owned()));
    let arguments: Vec<CString> =
        arguments.iter().map(|argument| c_string(argument)).collect::<Result<_, _>>()?;
    // EAL reorders its arguments, and keeps pointers into them.
    let pointers: Vec<*mut c_char> =
        arguments.into_iter().map(CString::into_raw).chain([std::ptr::null_mut()]).collect();
    let count = pointers.len() as i32 - 1;
    let pointers = pointers.leak().as_mut_ptr();
    // SAFETY: `count` strings that end with NUL, and a null; they are never freed.
    match unsafe { dpdk_sys::sluice_dpdk_init(count, pointers, Some(take_line)) } {
        0 => Ok(()),
        error => {
            let log = take_errors();
            let is_named =
                |port: &&DpdkPortOptions| log.iter().any(|line| names(line, port.device_name()));
            let port = options.ports.iter().find(is_named).map(|port| port.name.clone());
            Err(DpdkError::Eal { port, source: errno(error), log })
        }
    }
}

/// Whether a line names a device, and not one whose name is longer.
fn names(line: &str, device: &str) -> bool {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.')))
        .any(|word| word.trim_end_matches([':', '.']) == device)
}

/// Writes a warning of ours to where DPDK's log goes.
pub(super) fn warn(text: &str) {
    if let Some(log) = LOG.get() {
        log(LogLine { level: LEVEL_ERROR + 1, text });
    }
}

/// What has been logged as errors since the last look: it says more than an errno.
pub(super) fn take_errors() -> Vec<String> {
    std::mem::take(&mut *ERRORS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A line of the log, from any thread.
unsafe extern "C" fn take_line(level: u32, line: *const c_char, len: usize) {
    // SAFETY: the shim gives `len` bytes that stay until this returns.
    let bytes = unsafe { std::slice::from_raw_parts(line.cast::<u8>(), len) };
    let text = String::from_utf8_lossy(bytes);
    if level <= LEVEL_ERROR {
        let mut errors = ERRORS.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() == LINES_MAX {
            errors.remove(0);
        }
        errors.push(text.to_string());
    }
    if let Some(log) = LOG.get() {
        log(LogLine { level, text: &text });
    }
}

/// What EAL is told. Its main thread may run wherever this one may.
fn arguments(options: &DpdkOptions, cores: &str) -> Vec<String> {
    let mut arguments = vec!["sluice".to_owned()];
    // No files that others would find, nothing that listens. What goes by usual pages
    // does not go by `--in-memory`.
    match options.huge_pages {
        true => arguments.push("--in-memory".to_owned()),
        false => {
            arguments.extend(["--no-huge", "--no-shconf"].map(str::to_owned));
            arguments.push(format!("-m{}", memory_mib(options.frames, FRAME_LEN_IN_PAGES)));
        }
    }
    arguments.push("--no-telemetry".to_owned());
    arguments.push(format!("--lcores=0@({cores})"));
    if !options.ports.iter().any(|port| port.is_pci()) {
        arguments.push("--no-pci".to_owned());
    }
    for port in &options.ports {
        let name = if port.is_pci() { "--allow" } else { "--vdev" };
        arguments.push(format!("{name}={}", port.device));
    }
    arguments.extend(options.arguments.iter().cloned());
    arguments
}

/// Whether there are huge pages for so many frames and all that goes with them.
///
/// # Errors
/// How many are missing.
pub fn check_memory(frames: u32) -> Result<(), DpdkError> {
    check_huge_pages(memory_mib(frames, FRAME_LEN), &free_huge_pages())
}

/// MiB that DPDK needs for so many frames of so many bytes.
fn memory_mib(frames: u32, frame_len: u64) -> u64 {
    u64::from(frames) * frame_len / (1 << 20) + BESIDES_MIB
}

/// Huge pages of a size: bytes of one, and how many are free and there.
#[derive(Clone, Copy, Debug)]
struct HugePages {
    bytes: u64,
    free: u64,
    all: u64,
}

fn free_huge_pages() -> Vec<HugePages> {
    let Ok(folder) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let number = |file: &str| -> Option<u64> {
            std::fs::read_to_string(entry.path().join(file)).ok()?.trim().parse().ok()
        };
        let (free, all) = (number("free_hugepages")?, number("nr_hugepages")?);
        Some(HugePages { bytes: kib << 10, free, all })
    };
    folder.flatten().filter_map(read).collect()
}

fn check_huge_pages(needed: u64, pages: &[HugePages]) -> Result<(), DpdkError> {
    let free = pages.iter().map(|size| size.bytes * size.free).sum::<u64>() >> 20;
    if free >= needed {
        return Ok(());
    }
    let small = pages.iter().find(|size| size.bytes == 2 << 20);
    let in_use = small.map_or(0, |size| size.all.saturating_sub(size.free));
    Err(DpdkError::HugePages { needed, free, pages: in_use + needed.div_ceil(2) })
}

/// The cores that this thread may run on, as EAL takes them: `0,1,5`.
fn cores() -> Option<String> {
    let set = rustix::thread::sched_getaffinity(None).ok()?;
    let cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    let cores: Vec<String> = cores.map(|core| core.to_string()).collect();
    (!cores.is_empty()).then(|| cores.join(","))
}

pub(super) fn c_string(text: &str) -> Result<CString, DpdkError> {
    CString::new(text).map_err(|_| DpdkError::Nul(text.to_owned()))
}

/// DPDK's negative error numbers.
pub(super) fn errno(error: i32) -> io::Error {
    io::Error::from_raw_os_error(error.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(devices: &[&str]) -> DpdkOptions {
        DpdkOptions {
            huge_pages: true,
            arguments: vec!["--log-level=8".to_owned()],
            ..DpdkOptions::new(devices, 1 << 15)
        }
    }

    #[test]
    fn devices_of_the_bus_are_allowed_and_others_made() {
        let mut options = options(&["0000:3b:00.0,dv_flow_en=1", "net_tap0,iface=tap0"]);
        let told = arguments(&options, "0,1").join(" ");
        assert_eq!(
            told,
            "sluice --in-memory --no-telemetry --lcores=0@(0,1) \
             --allow=0000:3b:00.0,dv_flow_en=1 --vdev=net_tap0,iface=tap0 --log-level=8"
        );
        options.ports.remove(0);
        options.huge_pages = false;
        let told = arguments(&options, "0").join(" ");
        assert!(
            told.contains("--no-huge --no-shconf -m224 ")
                && told.contains("--no-pci --vdev=net_tap0"),
            "{told}"
        );
    }

    #[test]
    fn a_device_is_named_by_its_whole_name() {
        assert!(names("EAL: Unable to parse device 'net_ring1'", "net_ring1"));
        assert!(names("net_ring1: ioctl failed", "net_ring1"));
        assert!(names("EAL: 0000:3b:00.0 cannot be used", "0000:3b:00.0"));
        assert!(!names("failed to initialize net_ring10 device", "net_ring1"));
    }

    #[test]
    fn huge_pages_that_are_missing_are_counted() {
        let size = |bytes, free, all| HugePages { bytes, free, all };
        assert!(check_huge_pages(176, &[size(2 << 20, 88, 100)]).is_ok());
        assert!(check_huge_pages(176, &[size(1 << 30, 1, 1)]).is_ok());
        let error = check_huge_pages(176, &[size(2 << 20, 20, 100)]).unwrap_err().to_string();
        assert!(error.contains("176 MiB") && error.contains("40 MiB are free"), "{error}");
        assert!(error.contains("vm.nr_hugepages=168"), "{error}");
        assert!(check_huge_pages(1, &[]).is_err());
    }
}
