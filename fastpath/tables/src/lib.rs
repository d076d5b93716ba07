//! What control compiles and workers read.
//!
//! [`Tables`] is one immutable view of the cluster. It is made of shards behind
//! `Arc`s, so that a change clones the shard that it touches and shares the
//! rest. Control publishes a new `Tables` through each worker's [`mailbox`];
//! the worker swaps it in between two bursts and sends the old one back to be
//! freed. Nothing here knows YAML or Kubernetes, and nothing here reads a clock.
#![forbid(unsafe_code)]

/// IPv4 and IPv6 as one trait, so that every table and stage is written once.
pub mod family;
/// The hash that spreads flows over backends, the same on every gateway.
pub mod hash;
/// Small numbers that name things on both sides.
pub mod ids;

/// A table by dense number whose values are shared between versions.
pub mod chunked;
/// Longest-prefix match.
pub mod lpm;
/// A table by dense number, in pages that are shared between versions.
pub mod paged;
/// A map in 1,024 shards that is cheap to clone and to change in one place.
pub mod shards;

/// Which route a request takes.
pub mod http_routes;
/// Listeners, routes and upstreams of requests.
pub mod l7;
/// Addresses, ports and tunnels of the gateway itself.
pub mod local;
/// Network policy: who may speak with whom.
pub mod policy;
/// Routes and tunnel endpoints.
pub mod route;
/// Services as the fast path sees them: frontends, backends, the choice.
pub mod service;
/// One immutable view of everything.
pub mod tables;

/// DNS answers that workers hold until control has learned from them.
pub mod answer;
/// The channel between control and one worker.
pub mod mailbox;
/// What workers are asked to tell of single packets.
pub mod observe;
/// What a worker reports of its flows and neighbors.
pub mod record;

pub use answer::{Answer, AnswerBuffers};
pub use family::{Family, V4, V6};
pub use ids::{BackendId, PortId, RuleId, ServiceId, VtepId, ZoneId};
pub use local::{Carriage, Ends, Local, LocalAddress, NatMode, PortLocal, SnatPool, Vip, Vxlan};
pub use observe::{Capture, FlowTelling, Observe, PacketFilter, Tuple};
pub use route::{RouteTarget, Routes, Vtep};
pub use service::{
    BackendRef, BackendSet, BackendState, Balance, Frontend, FrontendKey, FrontendRules, Locality,
    SourceRanges,
};
pub use tables::{FamilyTables, OwnerMap, POLICY_EPOCHS, SERVICE_EPOCHS, Tables, policy_group};
