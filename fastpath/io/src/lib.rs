//! Packet I/O: where frames live, and how they get in and out.
//!
//! One [`Umem`] holds the chunks of every port and every worker, so that a
//! frame received on one NIC is transmitted on another, or handed to another
//! worker, without a copy. A [`Frame`] owns one chunk. A [`FrameCache`] is a
//! worker's own stock of free frames. A [`Port`] is one queue of an interface
//! as one worker sees it.
//!
//! The feature `af-xdp` (on by default) adds `af_xdp`, the backend for real
//! NICs; without it the crate builds with no C compiler and no libraries. The feature
//! `dpdk` adds `dpdk`, the backend on DPDK's drivers.

/// A frame: one chunk of the UMEM and the window of it that holds a packet.
pub mod frame;
/// The list of free frames that threads share.
mod free_list;
/// The UMEM: the memory of all frames, and the lists of free ones.
pub mod umem;

/// The trait that every kind of port implements, with its statistics.
pub mod port;

/// Ports on AF_XDP sockets, behind an XDP program of ours.
#[cfg(feature = "af-xdp")]
pub mod af_xdp;
/// Ports on drivers of DPDK.
#[cfg(feature = "dpdk")]
pub mod dpdk;
/// A port made of two queues in memory, for tests and benchmarks.
pub mod memory;

/// Ports round ports: packet capture and injected faults.
pub mod decorate;

/// What the kernel says of a network device, read-only.
pub mod device;
/// Multicast frames past a NIC's filter.
pub mod multicast;

#[cfg(feature = "af-xdp")]
pub use af_xdp::{AfXdp, AfXdpError, AfXdpHandle, AfXdpOptions, AfXdpPortOptions};
pub use decorate::{FaultPort, Faults, PcapPort, SharedClock};
pub use device::{Device, DeviceError};
#[cfg(feature = "dpdk")]
pub use dpdk::{Dpdk, DpdkDevices, DpdkError, DpdkHandle, DpdkLink, DpdkOptions, DpdkPortOptions};
pub use frame::{CHUNK_LEN, Frame, HEADROOM, MTU_MAX};
pub use memory::{MemoryPort, MemoryPortPeer};
pub use multicast::{AllMulticast, MulticastError};
pub use port::{BURST, DriverName, Port, PortId, PortInfo, PortMode, PortStats, RxBurst};
pub use umem::{FrameCache, FramePool, Umem};
