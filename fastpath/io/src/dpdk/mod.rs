//! Ports on drivers of DPDK: the drivers run in this process, and NICs write into buffers
//! of one pool of DPDK's, which is the UMEM here. Of a port's frames the kernel gets those for
//! its own addresses there.

use crate::device::{Device, OperState};
use crate::port::Port;
use crate::umem::Umem;

/// EAL, DPDK's environment: its arguments, its start, its log.
mod eal;
/// Why it could not be opened.
mod error;
/// The kernel's addresses at a device.
mod kernel;
/// What to open.
mod options;
/// Buffers as frames.
mod pool;
/// `Port` on a queue pair.
mod port;
/// Devices that run.
mod started;

pub use eal::{LogLine, check_memory};
pub use error::DpdkError;
pub use kernel::{KernelCounts, Passed, Steering};
pub use options::{DpdkOptions, DpdkPortOptions};

use kernel::{KernelSide, TapOptions};
use port::DpdkPort;
use started::Started;
use std::sync::{Arc, Weak};

/// Most queues of a device: one for each worker.
const QUEUES_MAX: usize = 64;

/// Drivers whose queues all take frames from the start, those that nobody asks for, too.
const OPEN_FROM_THE_START: [&str; 3] = ["net_af_packet", "net_pcap", "net_vhost"];

/// The devices of all ports, found and not started.
#[derive(Debug)]
pub struct DpdkDevices {
    options: DpdkOptions,
    devices: Vec<DpdkDevice>,
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpdkDevice {
    /// DPDK's number of it.
    number: u16,
    /// The driver: `net_af_packet`, `net_ice`.
    pub driver: String,
    /// Its MAC.
    pub mac: [u8; 6],
    /// The MTU that it will have, in bytes of an IP packet.
    pub mtu: u16,
    /// It has another one now.
    sets_mtu: bool,
    /// It spreads flows over its queues by itself (RSS).
    pub has_rss: bool,
    /// The kernel's device below it, by name and number: a later one of the same name is
    /// another.
    kernel_device: Option<(String, u32)>,
}

/// The link of a device that runs.
#[derive(Clone, Debug)]
pub struct DpdkLink(Weak<Started>);

/// Every configured device, running: a port per (worker, device), all over one UMEM.
pub struct Dpdk {
    umem: Umem,
    /// The ports: `ports[worker][port]`, in the order of the options. Workers take theirs.
    pub ports: Vec<Vec<Box<dyn Port>>>,
    /// Keeps the devices running.
    pub handle: DpdkHandle,
}

/// Keeps the devices running, as each of their ports does: a device stops when the last of
/// those has gone.
pub struct DpdkHandle {
    devices: Vec<Arc<Started>>,
    /// Of each port that the kernel has addresses at, by its name.
    kernel: Vec<(String, kernel::Shared)>,
}

impl DpdkDevices {
    /// Starts EAL and finds the devices. Once in a process.
    ///
    /// # Errors
    /// When EAL does not start, or a device is not there or cannot do what is asked for.
    pub fn find(options: DpdkOptions, log: fn(LogLine<'_>)) -> Result<Self, DpdkError> {
        options.check()?;
        eal::start(&options, log)?;
        let devices = options.ports.iter().map(|port| find(&options, port));
        let devices = devices.collect::<Result<_, _>>()?;
        Ok(DpdkDevices { options, devices })
    }

    /// What was found, in the order of the options.
    pub fn devices(&self) -> &[DpdkDevice] {
        &self.devices
    }

    /// Makes the UMEM and starts the devices.
    ///
    /// # Errors
    /// When there is not enough memory, or a driver refuses; nothing runs then.
    pub fn open(self) -> Result<Dpdk, DpdkError> {
        let pool = pool::Pool::new(self.options.frames)?;
        let mut kernel = KernelSide::new().map_err(DpdkError::Thread)?;
        let mut devices = Vec::new();
        let workers = self.options.workers;
        let mut ports: Vec<Vec<Box<dyn Port>>> = (0..workers).map(|_| Vec::new()).collect();
        for (options, device) in self.options.ports.iter().zip(&self.devices) {
            let ring_len = self.options.ring_len;
            let started = Arc::new(pool.start(device, options, workers as u16, ring_len)?);
            let queues = (0..workers as u16).map(|queue| -> Box<dyn Port> {
                Box::new(DpdkPort::new(options, device, &started, queue))
            });
            let queues: Vec<_> = if options.kernel_addresses.is_empty() {
                queues.collect()
            } else {
                kernel.behind(&TapOptions { mac: device.mac, mtu: device.mtu, options }, queues)?
            };
            ports.iter_mut().zip(queues).for_each(|(ports, queue)| ports.push(queue));
            devices.push(started);
        }
        started::keep_reading(&devices).map_err(DpdkError::Thread)?;
        let umem = Umem::from_pool(Box::new(pool));
        let kernel = kernel.serve(&umem).map_err(DpdkError::Thread)?;
        Ok(Dpdk { umem, ports, handle: DpdkHandle { devices, kernel } })
    }
}

impl Dpdk {
    /// The memory of all frames.
    pub fn umem(&self) -> &Umem {
        &self.umem
    }
}

impl DpdkHandle {
    /// The link of each device, in the order of the options.
    pub fn links(&self) -> Vec<DpdkLink> {
        self.devices.iter().map(|device| DpdkLink(Arc::downgrade(device))).collect()
    }

    /// What passed between devices and the kernel, of each port that the kernel has addresses
    /// at, by its name.
    pub fn kernel_counts(&self) -> impl Iterator<Item = (&str, KernelCounts)> {
        self.kernel.iter().map(|(name, counters)| (name.as_str(), counters.read()))
    }
}

impl DpdkLink {
    /// Its state: not present once the device has gone, or does not run any more. Asks the
    /// driver.
    pub fn state(&self) -> OperState {
        self.0.upgrade().map_or(OperState::NotPresent, |device| device.link())
    }
}

/// Finds the device of a port, and asks it whether it can have a queue for each worker and
/// the MTU.
fn find(options: &DpdkOptions, port: &DpdkPortOptions) -> Result<DpdkDevice, DpdkError> {
    let name = port.device_name();
    let c_name = eal::c_string(name)?;
    let mut number = 0;
    let mut found = dpdk_sys::sluice_dpdk_device::default();
    // SAFETY: both get pointers to what lives until they return; the name ends with NUL.
    let error = unsafe {
        match dpdk_sys::sluice_dpdk_find(c_name.as_ptr(), &mut number) {
            0 => dpdk_sys::sluice_dpdk_inspect(number, &mut found),
            error => error,
        }
    };
    if error != 0 {
        return Err(DpdkError::Device {
            port: port.name.clone(),
            device: name.to_owned(),
            source: eal::errno(error),
            log: eal::take_errors(),
        });
    }
    let driver: Vec<u8> = found.driver.iter().map(|byte| *byte as u8).collect();
    let driver = String::from_utf8_lossy(&driver).trim_end_matches('\0').to_owned();
    let queues = found.rx_queues_max.min(found.tx_queues_max);
    if usize::from(queues) < options.workers {
        return Err(DpdkError::Queues {
            port: port.name.clone(),
            device: name.to_owned(),
            driver,
            queues,
            workers: options.workers,
        });
    }
    if usize::from(queues) > options.workers && OPEN_FROM_THE_START.contains(&&*driver) {
        return Err(DpdkError::QueuesUnread {
            port: port.name.clone(),
            device: name.to_owned(),
            driver,
            queues,
            workers: options.workers,
        });
    }
    let kernel_device = port.kernel_device.as_deref().map(Device::inspect).transpose();
    let kernel_device = kernel_device.map_err(|source| DpdkError::Below {
        port: port.name.clone(),
        device: name.to_owned(),
        source,
    })?;
    let kernel_device = kernel_device.map(|device| (device.name, device.ifindex));
    let mtu = port.mtu.unwrap_or(found.mtu);
    if mtu > found.mtu.max(found.mtu_max) || mtu < found.mtu_min {
        return Err(DpdkError::Mtu {
            port: port.name.clone(),
            device: name.to_owned(),
            mtu,
            min: found.mtu_min,
            max: found.mtu.max(found.mtu_max),
        });
    }
    let (sets_mtu, has_rss) = (mtu != found.mtu, found.has_rss != 0);
    Ok(DpdkDevice { number, driver, mac: found.mac, mtu, sets_mtu, has_rss, kernel_device })
}
