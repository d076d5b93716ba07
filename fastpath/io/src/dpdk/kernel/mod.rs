//! What the kernel has of a device that it does not see: its addresses, on a TAP device that
//! is named as the port. Frames for them, and the control protocols that only daemons of the
//! kernel's speak, are handed over; what the kernel sends leaves by the device.

/// `Port` with the kernel behind it.
mod port;
/// Whose a frame is.
mod steering;
/// A port's tag, which the kernel does not see.
mod tag;
/// The TAP devices, and the thread that serves them.
mod tap;

pub use steering::{Passed, Steering};

pub(super) use tap::{KernelSide, TapOptions};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Frames that wait for the kernel, or for the device, in one ring.
const RING_LEN: usize = 512;

/// What became of the frames between a device and the kernel. All monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// To the kernel: for one of its addresses.
    pub passed_kernel_address: u64,
    /// To the kernel: ARP about one of its addresses.
    pub passed_arp: u64,
    /// To the kernel: neighbor solicitations and advertisements of its own.
    pub passed_nd: u64,
    /// To the kernel: router discovery, redirects, LLDP, LACP, EAPOL.
    pub passed_control: u64,
    /// From the kernel, sent.
    pub sent: u64,
    /// Of either direction: the kernel, or the device, is behind, or there is no frame.
    pub dropped: u64,
}

/// Counts that several threads have.
pub(super) type Shared = Arc<Counters>;

/// The same, counted by several threads.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// By [`Passed`].
    passed: [AtomicU64; 4],
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// As they are now.
    pub fn read(&self) -> KernelCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let [address, arp, nd, control] = &self.passed;
        KernelCounts {
            passed_kernel_address: of(address),
            passed_arp: of(arp),
            passed_nd: of(nd),
            passed_control: of(control),
            sent: of(&self.sent),
            dropped: of(&self.dropped),
        }
    }
}
