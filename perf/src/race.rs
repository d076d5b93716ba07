//! What `perf/race` needs beside the programs that it runs: rules of the same Services,
//! packets by devices and in captures, one check of what comes out, and the report.

#[cfg(test)]
use crate::cluster::Cluster;
#[cfg(test)]
use crate::site::Family;

/// Flows that begin, and are answered.
pub mod answers;
/// Captures: frames in a file or a pipe.
pub mod capture;
/// What should come out.
pub mod expect;
/// Requests as fast as they go, and what comes of them.
#[cfg(feature = "af-xdp")]
pub mod flood;
/// The parts, their rows and aims.
pub mod parts;
/// The same Services as rules that kube-proxy writes.
pub mod rules;

/// One Service on one node, for tests.
#[cfg(test)]
const CLUSTER_OF_ONE: Cluster = Cluster { nodes: 1, ..Cluster::new(Family::V4, 1) };
