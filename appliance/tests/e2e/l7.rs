//! Requests that end at the gateway: real clients outside, servers in pods.

/// Servers in pods.
mod backend;
/// The lab's cluster.
mod shop;

/// What suites of others find: HTTP/2, gRPC, request smuggling.
mod conformance;
/// Ingresses: hosts, paths, certificates, what annotations say.
mod ingress;
/// Requests on sockets of the kernel.
mod kernel_sockets;
/// What is told of requests.
mod seen;
