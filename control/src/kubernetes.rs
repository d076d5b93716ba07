//! The API server of a Kubernetes cluster: how it is reached.

/// From a kubeconfig or a service account to a client.
pub mod access;
/// What an answer may not do.
mod answer;
/// A client whose credentials may change on disk.
pub mod client;
/// How long to wait before the next try.
pub(crate) mod pauses;

pub use access::{Access, AccessError};
pub use client::{Connection, Observer};
