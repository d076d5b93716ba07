//! End to end on a real Kubernetes (`scripts/cluster`). Needs Go for its
//! programs; with real nodes also root.

use sluice_testlab as lab;

/// The control plane itself: what the other tests stand on.
mod control_plane;

/// Addresses of Services, given and written back.
mod load_balancers;

/// The source against a real API server.
mod source;

/// The API server's bad days, with traffic.
mod bad_days;
/// An ordinary Deployment and Service.
mod deployment;

/// A running gateway.
#[path = "../e2e/gateway.rs"]
mod gateway;

mod proxy;
mod stage;
mod watched;
