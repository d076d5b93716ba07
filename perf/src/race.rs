//! What `perf/race` needs beside the programs that it runs: objects and rules of the
//! same Services for each side, packets in captures, one check of what comes out, and
//! the report.

/// Who has which address, for a shell.
pub mod addresses;
/// Captures: frames in a file or a pipe.
pub mod capture;
/// What should come out.
pub mod expect;
/// The same Services as objects of Kubernetes.
pub mod manifests;
/// The parts, their rows and aims.
pub mod parts;
/// The same Services as rules that kube-proxy writes.
pub mod rules;
