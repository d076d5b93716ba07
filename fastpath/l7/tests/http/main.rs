//! Whole connections through the proxy: in memory, by a clock that goes on when everybody
//! waits, and over the kernel's loopback.

mod aid;
mod bodies;
mod client_auth;
mod corpus;
mod drain;
mod foreseen;
mod forwarded;
mod headers;
mod http2;
mod kernel;
mod limits;
mod panics;
mod pipelines;
mod prologue;
mod rests;
mod routing;
mod tables;
mod upgrades;
