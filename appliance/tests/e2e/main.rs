//! End to end: the built binary in a lab of network namespaces, with the
//! kernels of clients, nodes and pods on all sides. Needs root; without, each
//! test says that it is skipped.

use sluice_testlab as lab;

/// A running gateway.
mod gateway;
/// What kernels have counted.
mod kernel;

/// The command line without a gateway.
mod command_line;

/// Services of the tests' own.
mod balancers;

/// Privileges, no more than are needed.
mod capabilities;
/// Pods and manifests that come and go.
mod changes;
/// Peers that policies name by domain names.
mod domain_names;
/// Another backend, where it cannot run.
#[cfg(feature = "dpdk")]
mod dpdk;
/// The way out while traffic goes on.
mod draining;
/// ICMP errors and fragments of translated flows.
mod errors;
/// What is told of single packets.
mod events;
/// Explanations, and what the data plane does.
mod explain;
/// `externalTrafficPolicy: Local`, where clients are kept.
mod external_local;
/// Fragments and ICMP errors, through kernels.
mod fragments;
/// Ports where somebody asks about a Service.
mod health_checks;
/// Requests that end at the gateway.
mod l7;
/// Starts, stops and kills.
mod lifecycle;
/// Endpoints on the client's node.
mod near;
/// Neighbors that Linux speaks for.
mod neighbors;
/// Order within a flow.
mod order;
/// What Services ask for: addresses, affinity, policies.
mod parity;
/// MTUs, hops, large transfers.
mod path;
/// Network policies: who may reach whom.
mod policy;
/// SCTP between stacks that speak it.
mod sctp;
/// Services, reached and refused.
mod services;
/// SNAT ports that run out.
mod snat_ports;
/// What is shown, and what doctor finds.
mod views;
/// Two workers on two queues.
mod workers;
