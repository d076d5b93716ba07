use super::DpdkDevice;
use crate::device::{OperState, link_of};
use crate::port::PortStats;
use dpdk_sys::sluice_dpdk_stats;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Between two looks at what a device counts: some drivers ask the NIC's firmware, and
/// wait for it.
const READ_INTERVAL: Duration = Duration::from_millis(500);

/// A device that runs: it is stopped and closed when this is dropped.
#[derive(Debug)]
pub(super) struct Started {
    number: u16,
    /// The kernel's device below it, by name and number.
    kernel_device: Option<(String, u32)>,
    /// Held by who asks the driver something: that is not done by two at once
    /// (`rte_ethdev.h`).
    asking: Mutex<()>,
    /// Frames that are refused, and stay Sluice's, are among its errors of transmission.
    counts_refused: bool,
    rx_missed: AtomicU64,
    rx_errors: AtomicU64,
    rx_no_buffer: AtomicU64,
    tx_errors: AtomicU64,
}

impl Started {
    /// A device that has been started.
    pub fn new(device: &DpdkDevice) -> Self {
        Started {
            number: device.number,
            kernel_device: device.kernel_device.clone(),
            asking: Mutex::new(()),
            counts_refused: device.driver == "net_af_xdp",
            rx_missed: AtomicU64::new(0),
            rx_errors: AtomicU64::new(0),
            rx_no_buffer: AtomicU64::new(0),
            tx_errors: AtomicU64::new(0),
        }
    }

    /// DPDK's number of it.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The state of its link. Drivers on a device of the kernel's do not learn what becomes of
    /// that one: the kernel does.
    pub fn link(&self) -> OperState {
        if let Some((name, ifindex)) = &self.kernel_device {
            let below = link_of(name, *ifindex);
            if !matches!(below, OperState::Up | OperState::Unknown) {
                return below;
            }
        }
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the device is open while this is there, and nobody else asks it now.
        match unsafe { dpdk_sys::sluice_dpdk_link(self.number) } {
            1 => OperState::Up,
            0 => OperState::Down,
            error if error == -rustix::io::Errno::NODEV.raw_os_error() => OperState::NotPresent,
            _ => OperState::Unknown,
        }
    }

    /// What it has counted when it was last asked.
    pub fn stats(&self) -> PortStats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PortStats {
            rx_dropped: of(&self.rx_errors),
            rx_ring_full: of(&self.rx_missed),
            rx_fill_ring_empty: of(&self.rx_no_buffer),
            tx_invalid_descs: of(&self.tx_errors),
            ..PortStats::default()
        }
    }

    fn read(&self) {
        let mut found = sluice_dpdk_stats::default();
        {
            let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: the device is open while this is there, `found` outlives the call, and
            // nobody else asks the device now.
            if unsafe { dpdk_sys::sluice_dpdk_read_stats(self.number, &mut found) } != 0 {
                return;
            }
        }
        let tx_errors = if self.counts_refused { 0 } else { found.tx_errors };
        self.rx_missed.store(found.rx_missed, Ordering::Relaxed);
        self.rx_errors.store(found.rx_errors, Ordering::Relaxed);
        self.rx_no_buffer.store(found.rx_no_buffer, Ordering::Relaxed);
        self.tx_errors.store(tx_errors, Ordering::Relaxed);
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: ports, links and readers of the device have a share of this: none is in
        // it any more.
        unsafe { dpdk_sys::sluice_dpdk_stop(self.number) };
    }
}

/// Reads what the devices count, on a thread of its own, until they have all stopped.
pub(super) fn keep_reading(devices: &[Arc<Started>]) -> io::Result<()> {
    let devices: Vec<Weak<Started>> = devices.iter().map(Arc::downgrade).collect();
    #[expect(clippy::disallowed_methods, reason = "no worker sleeps here")]
    let read = move || {
        while devices.iter().filter_map(Weak::upgrade).map(|device| device.read()).count() > 0 {
            std::thread::sleep(READ_INTERVAL);
        }
    };
    std::thread::Builder::new().name("dpdk-stats".to_owned()).spawn(read).map(drop)
}
