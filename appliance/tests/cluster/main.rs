//! Against a real Kubernetes control plane (`scripts/cluster`).

#[path = "../e2e/lab.rs"]
mod lab;

mod control_plane;
mod proxy;
mod source;
mod watched;
