//! The program in its place: what it is told there, the objects that it finds, and who has
//! which address around it. Whoever runs it here, on veth pairs or on devices, takes it from
//! here.

/// Who has which address, for a shell.
pub mod addresses;
/// The configuration of a gateway.
pub mod config;
/// A cluster as objects of Kubernetes.
pub mod manifests;
