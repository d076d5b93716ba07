//! A large cluster that changes, as control sees it.

/// The same objects at an API server.
pub mod api;
/// A gateway's configuration at the addresses of [`crate::site`].
pub mod config;
/// Kubernetes objects of a cluster of any size.
pub mod objects;
/// Namespaces, pods and network policies.
pub mod policies;

/// Ingresses.
pub mod routes;

/// A source that is fed by hand.
pub mod feed;
/// Control and a worker with traffic.
pub mod rig;
/// Ports that make traffic.
pub mod traffic;

/// Distributions of what was measured.
pub mod samples;
/// The processor time of a thread, and the memory of the process.
pub mod usage;
