//! TCP that ends in the worker: an engine that takes IP packets, gives IP packets
//! out and is told the time, so that the same code runs in a test, in a fuzzer and
//! on a NIC.
//!
//! [`TcpEngine`] holds the connections and everything an internet-facing host owes
//! them beside the state machine itself: keyed sequence numbers, SYN cookies,
//! bounds, timeouts, TIME-WAIT, answers to strangers, ICMP errors. The state machine
//! of one connection is in `machine/`: what comes, what is sent and when, and how much
//! the network takes.

mod config;
mod conn;
mod cookie;
mod counters;
mod emit;
mod engine;
mod icmp;
mod key;
mod machine;
mod options;
mod parse;
mod pressure;
mod secret;
mod sink;
mod tombs;

pub use config::{ConnOptions, TcpConfig};
pub use conn::{ConnId, Ended, TcpConn, TcpState};
pub use counters::TcpCounters;
pub use engine::{Conn, ConnectError, TcpEngine};
pub use pressure::{Pressure, Share};
pub use sink::{Listeners, PacketSink};
