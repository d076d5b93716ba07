//! End to end on a real Kubernetes (`scripts/cluster`). Needs Go for its
//! programs; with real nodes also root.

use sluice_testlab as lab;

/// The control plane itself: what the other tests stand on.
mod control_plane;
/// Real nodes and their pods.
mod nodes;

/// Addresses of Services, given and written back.
mod load_balancers;

/// Objects that are wrong, too many, or never the same.
mod bad_objects;

/// The source against a real API server.
mod source;

/// What is deployed: chart, manifests, alerts, dashboard.
mod charts;

/// The API server's bad days, with traffic.
mod bad_days;
/// An ordinary Deployment and Service.
mod deployment;
/// Ingresses of a real API server, served by real pods.
mod ingresses;
/// Network policies, watched and enforced.
mod policy;
/// What Sluice may do.
mod rights;

/// Who announces which VIPs.
mod election;
/// A running gateway.
#[path = "../e2e/gateway.rs"]
mod gateway;
mod link;
mod takeover;

mod proxy;
mod stage;
mod watched;
