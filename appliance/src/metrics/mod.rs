//! Metrics and health over HTTP.

/// What is exported, gathered anew for every scrape.
mod gather;
/// What control knows.
mod of_control;
/// What is told of single packets.
mod of_events;
/// Requests that end here.
mod of_l7;
/// Ports, XDP programs and memory.
mod of_ports;
/// Services.
pub mod of_services;
/// Workers and their flows.
mod of_workers;

/// Counters of numbers that change hands.
pub mod baselines;
/// Metrics by name, with their series.
mod family;
/// Answers about Services, for load balancers that ask.
pub mod health_checks;
/// The HTTP server.
pub mod http;
