//! The data plane: what happens to a packet between the queue it came from and
//! the queue it leaves by.
//!
//! A [`Worker`] is pinned to a core and owns one queue of every port, its own
//! flows and its own copy of the neighbors. It runs every packet to completion
//! through the [`journey`]: no allocation, lock, system call or clock read per
//! packet. It knows neither YAML nor Kubernetes; control publishes
//! [`sluice_tables::Tables`] to it.
#![deny(unsafe_code)]

/// The order of the stages, in one function.
pub mod journey;
/// The stages, in the order of the journey.
pub mod stages;

/// Counters of a worker, read by metrics.
pub mod counters;
/// What is told of single packets, if anybody asks.
pub mod events;
/// A packet on its journey, and what can become of it.
pub mod packet;
/// Why packets are dropped: the one list.
pub mod reason;

/// Where packets go next: rows of header templates.
pub mod adjacency;
/// Where clients went: session affinity.
pub mod affinity;
/// DNS answers that wait until control has learned from them.
pub mod answers;
/// Flows: the table, the entries, their states and expiry.
pub mod flow;
/// Datagrams of which not everything has come.
pub mod fragments;
/// What ends at the gateway itself.
pub mod local;
/// Nodes that hide their pods behind themselves.
pub mod masquerade;
/// Neighbors on the ports' links, by ARP and ND.
pub mod neighbor;
/// Paths to nodes that carry less than configured.
pub mod path_mtu;
/// The gate against floods of SYNs.
pub mod syn_gate;
/// Headers on the wire: offsets, checks, checksums.
pub mod wire;

/// State that all stages share.
pub mod core;
/// Memory that wants huge pages.
mod hugepage;
/// What a worker does when nothing comes.
pub mod idle;
/// The rings between workers.
pub mod mesh;
/// Random numbers for SNAT ports and identifiers.
mod random;
/// Time, passed in.
pub mod time;
/// The loop that a core runs.
pub mod worker;

pub use counters::WorkerCounters;
pub use fragments::FragmentOptions;
pub use mesh::{MeshEnd, mesh};
pub use reason::DropReason;
pub use time::Nanos;
pub use worker::{NeighborOptions, Worker, WorkerOptions};
