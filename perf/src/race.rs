//! What `perf/race` needs beside the programs that it runs: rules of the same Services,
//! packets by devices and in captures, one check of what comes out, and the report.

/// Captures: frames in a file or a pipe.
pub mod capture;
/// What should come out.
pub mod expect;
/// The parts, their rows and aims.
pub mod parts;
/// The same Services as rules that kube-proxy writes.
pub mod rules;
