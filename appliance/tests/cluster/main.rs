//! End to end on a real Kubernetes (`scripts/cluster`). Needs Go for its
//! programs; with real nodes also root.

use sluice_testlab as lab;

/// The control plane itself: what the other tests stand on.
mod control_plane;
/// What is deployed: chart, manifests, alerts, dashboard.
mod deployment;
