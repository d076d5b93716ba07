//! What is written back into the cluster: addresses of Services of type
//! LoadBalancer and of Ingresses, and Events.
//!
//! ```text
//! control -> Board -> thread: Allocator -> Desired -> Writer -> status of Services
//!                             Notice -> Ledger -> Recorder -> Events
//! ```
//!
//! [`Board`] is where control leaves what has changed; it never waits for the
//! API server. [`start`] runs the rest on a thread of its own, which writes
//! while this gateway is told that it leads.

/// Who gets which address.
pub mod allocator;
/// The gateway's own Node.
pub mod node;

/// From a Service to what it asks for.
pub mod facts;

/// Where control leaves what is to be written back.
pub mod board;

/// Numbers for metrics.
pub mod metrics;

/// How long a request may take.
mod deadline;
/// What a Service's status should say.
mod desired;
/// What an Ingress's status should say.
mod ingress;
/// What may be written back of a kind of objects.
mod statement;

/// Writes of statuses: when, how often, what after a failure.
mod writer;

mod events;

/// From what is found to Events.
pub mod notices;

/// The thread that allocates and writes.
mod thread;

pub use allocator::{Allocator, Family, PoolUse};
pub use board::{Board, Notice, NoticeKind, StatusConfig};
pub use facts::Facts;
pub use ingress::IngressFacts;
pub use metrics::{StatusMetrics, WriteResult};
pub use thread::start;
