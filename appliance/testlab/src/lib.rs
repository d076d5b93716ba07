//! What end-to-end tests run in: labs of network namespaces (`scripts/lab`) and
//! real Kubernetes control planes (`scripts/cluster`). Each goes when its value
//! does, on failure too.

/// A network of namespaces, and commands in it.
mod lab;
pub use lab::{FAMILIES, Family, Lab, V4, V6, io, is_by_kernel};

/// A real Kubernetes.
mod control_plane;
pub use control_plane::ControlPlane;

/// Commands and their results, and what takes a while.
mod run;
pub use run::{eventually, succeeded};
