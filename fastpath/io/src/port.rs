use crate::frame::Frame;
use crate::umem::FrameCache;
use arrayvec::{ArrayString, ArrayVec};
pub use sluice_tables::PortId;
use std::fmt;
use std::os::fd::BorrowedFd;

/// Packets that a worker takes from one queue at a time.
pub const BURST: usize = 64;

/// A burst of received frames.
pub type RxBurst = ArrayVec<Frame, BURST>;

/// How a port got attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortMode {
    /// Queues in memory.
    Memory,
    /// AF_XDP.
    AfXdp {
        /// The XDP program runs in the driver (DRV), not on socket buffers (SKB).
        native: bool,
        /// The NIC reads and writes the UMEM itself; otherwise the kernel copies.
        zero_copy: bool,
        /// Descriptors at any address of a chunk; otherwise the payload moves
        /// on encapsulation and decapsulation (kernels before 6.4).
        in_place: bool,
    },
    /// A driver of DPDK's.
    Dpdk {
        /// Its name: `net_af_packet`, `net_ice`.
        driver: DriverName,
    },
}

/// The name of a driver.
pub type DriverName = ArrayString<32>;

impl fmt::Display for PortMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortMode::Memory => f.write_str("memory"),
            PortMode::AfXdp { native, zero_copy, in_place } => write!(
                f,
                "af_xdp {}/{}{}",
                if *native { "drv" } else { "skb" },
                if *zero_copy { "zero-copy" } else { "copy" },
                if *in_place { "" } else { "/move-payload" },
            ),
            PortMode::Dpdk { driver } => write!(f, "dpdk {driver}"),
        }
    }
}

/// What a worker and an operator need to know of one queue of an interface.
#[derive(Clone, Debug)]
pub struct PortInfo {
    /// Which interface.
    pub id: PortId,
    /// The interface's name in the configuration.
    pub name: String,
    /// The queue on the interface.
    pub queue: u32,
    /// How it is attached.
    pub mode: PortMode,
    /// Largest Ethernet frame that can be received or sent, in bytes.
    pub frame_len_max: usize,
}

/// Counts kept below the worker, by the kernel or the port. All monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Dropped on receive for other reasons (AF_XDP: too long for a chunk).
    pub rx_dropped: u64,
    /// Invalid descriptors seen on the fill or RX side.
    pub rx_invalid_descs: u64,
    /// Dropped on receive because the RX ring was full.
    pub rx_ring_full: u64,
    /// Dropped or delayed because the fill ring was empty.
    pub rx_fill_ring_empty: u64,
    /// Invalid descriptors seen on the TX ring.
    pub tx_invalid_descs: u64,
    /// The kernel looked for packets to send and found none.
    pub tx_ring_empty: u64,
    /// System calls made to start transmission.
    pub tx_kicks: u64,
    /// System calls made to start reception.
    pub rx_kicks: u64,
    /// System calls of either kind that failed for a reason that the next one
    /// does not mend (the device has gone, say).
    pub kick_errors: u64,
    /// Frames that had to be copied or moved to be sent.
    pub tx_copies: u64,
}

/// One queue of an interface, as the worker that owns it sees it.
///
/// Methods move bursts: no virtual call, lock or system call per packet.
/// A port holds frames (in the kernel's rings, in its queues); those it does
/// not hold belong to the caller.
pub trait Port: Send {
    /// What it is.
    fn info(&self) -> &PortInfo;

    /// Receives as many frames as `burst` has room for and `cache` can
    /// replace. Returns the number received.
    fn rx(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize;

    /// Queues frames from the front of `frames`, in order, while the TX ring
    /// has room, and removes those from the vector; what is left was refused
    /// and stays the caller's. Nothing may leave before [`Port::flush`].
    fn tx(&mut self, cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>);

    /// Starts what was queued, if that needs a call, and takes back the frames
    /// that have been sent. Called once per loop of the worker.
    fn flush(&mut self, cache: &mut FrameCache);

    /// A descriptor that becomes readable when frames can be received, for a
    /// worker that sleeps; `None` when the port has none and must be polled.
    fn wait_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Counts kept below the worker. May make a system call: not per packet.
    fn stats(&self) -> PortStats;

    /// Gives every frame it can back to `cache`, before the port is dropped.
    /// Frames in the kernel's hands stay there.
    fn close(&mut self, cache: &mut FrameCache);
}
