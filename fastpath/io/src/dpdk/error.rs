use std::io;

/// Why DPDK could not be opened. Each message names the device and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DpdkError {
    /// No ports, no workers, or too many of them.
    #[error("DPDK needs at least one port, and 1 to {max} workers")]
    Nothing {
        /// Most workers.
        max: usize,
    },
    /// One device for two ports.
    #[error("device `{device}` is configured for port `{first}` and for port `{second}`")]
    DeviceTwice {
        /// The device.
        device: String,
        /// The name of a port.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// An argument or a device's name with a NUL.
    #[error("`{0}` cannot be said to DPDK: there is a NUL in it")]
    Nul(String),
    /// Not enough huge pages.
    #[error(
        "DPDK needs {needed} MiB in huge pages, of which {free} MiB are free: reserve them \
         (`sysctl vm.nr_hugepages={pages}` for pages of 2 MiB), ask for fewer frames, or do \
         without (`io.dpdk.huge_pages: false`: slower, and no NIC can)"
    )]
    HugePages {
        /// MiB that are needed.
        needed: u64,
        /// MiB that are free.
        free: u64,
        /// Pages of 2 MiB that would do, those in use included.
        pages: u64,
    },
    /// EAL does not start.
    #[error("DPDK does not start: {source}{}", said(log))]
    Eal {
        /// The port whose device its log names.
        port: Option<String>,
        /// Its errno.
        source: io::Error,
        /// What it has logged as errors.
        log: Vec<String>,
    },
    /// EAL was started before.
    #[error("DPDK runs in this process already")]
    Again,
    /// A device is not there.
    #[error(
        "port `{port}`: DPDK has no device `{device}`: {source} (a NIC is to be bound to a \
         driver for user space: `dpdk-devbind.py --status` lists them){}",
        said(log)
    )]
    Device {
        /// The port's name.
        port: String,
        /// The device.
        device: String,
        /// DPDK's errno.
        source: io::Error,
        /// What it has logged as errors.
        log: Vec<String>,
    },
    /// Fewer queues than workers.
    #[error(
        "port `{port}`: device `{device}` ({driver}) has {queues} queues, and each of {workers} \
         workers needs one: give it more, or set `workers.count: {queues}`"
    )]
    Queues {
        /// The port's name.
        port: String,
        /// The device.
        device: String,
        /// Its driver.
        driver: String,
        /// Its queues, at most.
        queues: u16,
        /// Workers.
        workers: usize,
    },
    /// The kernel's device below it is not there.
    #[error("port `{port}`: device `{device}` is on a device of the kernel's: {source}")]
    Below {
        /// The port's name.
        port: String,
        /// The device.
        device: String,
        /// What is wrong with the one below.
        source: crate::device::DeviceError,
    },
    /// More queues than workers, and all of them take frames.
    #[error(
        "port `{port}`: device `{device}` ({driver}) has {queues} queues, and {workers} workers \
         read one each: what comes to the others would be lost; {}, or set \
         `workers.count: {queues}`",
        fewer_queues(driver, *workers)
    )]
    QueuesUnread {
        /// The port's name.
        port: String,
        /// The device.
        device: String,
        /// Its driver.
        driver: String,
        /// Its queues.
        queues: u16,
        /// Workers.
        workers: usize,
    },
    /// An MTU that the device cannot have.
    #[error(
        "port `{port}`: device `{device}` has an MTU of {min} to {max} bytes, and not of {mtu}"
    )]
    Mtu {
        /// The port's name.
        port: String,
        /// The device.
        device: String,
        /// The MTU asked for, in bytes.
        mtu: u16,
        /// Smallest, in bytes.
        min: u16,
        /// Largest, in bytes.
        max: u16,
    },
    /// No pool for the UMEM.
    #[error("DPDK makes no pool of {frames} frames: {source}{}{}", lower(source), said(log))]
    Pool {
        /// Frames asked for.
        frames: u32,
        /// DPDK's errno.
        source: io::Error,
        /// What it has logged as errors.
        log: Vec<String>,
    },
    /// No TAP device for the kernel's addresses.
    #[error(
        "port `{port}`: cannot make the TAP device `{port}` for the kernel's addresses: {source} \
         (it needs CAP_NET_ADMIN, /dev/net/tun, a name that no \
         other device has, and IPv6 for IPv6 addresses)"
    )]
    Tap {
        /// The port's name.
        port: String,
        /// What went wrong.
        source: io::Error,
    },
    /// No thread for what devices count.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// A driver refuses.
    #[error("port `{port}`: cannot {step} of device `{device}`: {source}{}", said(log))]
    Start {
        /// The port's name.
        port: String,
        /// The device.
        device: String,
        /// What it refused.
        step: String,
        /// DPDK's errno.
        source: io::Error,
        /// What it has logged as errors.
        log: Vec<String>,
    },
}

/// How a device of a driver gets as many queues as there are workers.
fn fewer_queues(driver: &str, workers: usize) -> String {
    match driver {
        "net_af_packet" => format!("say `qpairs={workers}`"),
        "net_vhost" => format!("say `queues={workers}`"),
        _ => "give it fewer".to_owned(),
    }
}

fn lower(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::OutOfMemory => " (fewer `io.frames` take less)",
        _ => "",
    }
}

fn said(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  {line}")).collect()
}

impl DpdkError {
    /// The port that it is about, if it is about one.
    pub fn port(&self) -> Option<&str> {
        match self {
            DpdkError::Device { port, .. }
            | DpdkError::Below { port, .. }
            | DpdkError::Queues { port, .. }
            | DpdkError::QueuesUnread { port, .. }
            | DpdkError::Mtu { port, .. }
            | DpdkError::Tap { port, .. }
            | DpdkError::Start { port, .. } => Some(port),
            DpdkError::DeviceTwice { second, .. } => Some(second),
            DpdkError::Eal { port, .. } => port.as_deref(),
            _ => None,
        }
    }
}
