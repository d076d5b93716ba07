/// Everything a port receives and sends, written to a pcap file.
mod pcap;

/// Loss, delay, reordering, duplication and corruption, repeatable.
mod fault;

/// The time that decorators go by.
mod clock;

pub use clock::SharedClock;
pub use fault::{FaultCounts, FaultPort, FaultTotals, Faults};
pub use pcap::PcapPort;
