//! A large cluster that changes, as control sees it.

/// A gateway's configuration at the addresses of [`crate::site`].
pub mod config;
/// Kubernetes objects of a cluster of any size.
pub mod objects;

/// Distributions of what was measured.
pub mod samples;
/// The processor time of a thread, and the memory of the process.
pub mod usage;
