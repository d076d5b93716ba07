//! Requests that end at the gateway: real clients outside, servers in pods.

/// Servers in pods.
mod backend;
/// Sockets of the kernel in the place of workers.
mod kernel;
/// The official scenarios of Ingress, as control's tests have them.
#[path = "../../../control/tests/ingress/official.rs"]
mod official;
/// How ports are attached, and what workers have had.
mod report;
/// The lab's cluster.
mod shop;
/// WebSockets.
mod sockets;
/// Bytes to the gateway and back.
mod wire;

/// Workers and the kernel, side by side.
mod alike;
/// What goes on while everything changes.
mod churn;
/// Certificates that clients show.
mod client_certificates;
/// What suites of others find: HTTP/2, gRPC, request smuggling.
mod conformance;
/// TLS on both sides, and HTTP/2 alone.
mod encrypted;
/// The official scenarios of Ingress.
mod features;
/// Ingresses: hosts, paths, certificates, what annotations say.
mod ingress;
/// Requests on sockets of the kernel.
mod kernel_sockets;
/// What is left when a gateway ends.
mod leaving;
/// Proxies in front, trusted or not.
mod proxies;
/// What is told of requests.
mod seen;
/// Clients that are slow, or say too much.
mod slow;
