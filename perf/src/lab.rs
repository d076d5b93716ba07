//! The load lab: any load that a profile describes, from clients to Services and from pods
//! back, between two ports: in memory around the shipped worker, or on devices in front of
//! a gateway that runs. What comes back is looked at, frame by frame.

/// What is offered, and what is refused.
pub mod profile;

/// Frames that carry a stamp.
pub mod packet;
/// Clients, Services and pods by number.
pub mod people;
/// Sequence numbers: lost, twice, out of order.
pub mod track;

/// UDP flows.
pub mod generator;
/// TCP connections that open and close.
pub mod handshakes;
/// Ports of the generator.
pub mod lines;
/// What a run came to.
pub mod outcome;

/// The highest rate without loss.
pub mod search;

/// Devices in front of a gateway that runs.
#[cfg(feature = "af-xdp")]
pub mod devices;
/// The shipped worker on another core.
pub mod memory;

/// Plots.
pub mod plot;
/// Tables and JSON.
pub mod report;
/// Many runs, one after the other.
pub mod sweep;

#[cfg(test)]
mod tests;
