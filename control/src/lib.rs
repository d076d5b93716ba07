//! From the objects of a Kubernetes cluster to the tables of the workers.
//!
//! ```text
//! source (manifests) -> cluster (ordered maps, indexes) -> compile (pure) -> publish (mailboxes)
//! ```
//!
//! [`Control`] runs the chain on one thread: a [`Source`] feeds it with
//! changes, requests come in through a channel, and each change touches only
//! the shards of [`sluice_tables::Tables`] that it concerns. [`check()`] runs the
//! same chain once, over a folder, and returns everything that is wrong.
#![forbid(unsafe_code)]

/// What is wrong with an object, where, and what was expected.
pub mod diagnostic;
/// Kubernetes objects, their names, and where they were read.
pub use sluice_objects as object;

/// What Kubernetes itself would refuse.
pub mod validate;

/// The API server of a cluster.
pub mod kubernetes;

/// Where objects come from.
pub mod source;

/// The objects reduced to what is needed, with indexes.
pub mod cluster;

/// From the cluster to tables.
pub mod compile;

/// Which VIPs this gateway announces, and how it tells of them.
pub mod announce;

/// Who announces which VIPs, when there are several gateways.
pub mod election;

/// What domain names stand for, from answers of DNS servers.
pub mod domain_names;

/// From tables to workers, and back.
pub mod publish;

/// What is written back into the cluster.
pub mod status;

/// Answers to requests, as plain data.
pub mod view;

/// The thread that runs everything.
pub mod driver;

mod check;
mod clock;
mod offline;

pub use check::check;
pub use clock::{Clock, SystemClock};
pub use compile::{HealthCheck, PortFacts, SetupError};
pub use diagnostic::{Diagnostic, Severity};
pub use driver::{
    Control, HealthChecks, Heartbeat, NodeNames, PodNames, Request, RuleNames, ServiceLabel,
    ServiceNames,
};
pub use offline::Offline;
pub use source::Source;
