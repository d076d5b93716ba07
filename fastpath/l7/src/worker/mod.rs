//! L7 in a worker: its TCP, its tasks and its timers behind one [`LocalService`].
//!
//! ```text
//!   frames --> TcpEngine --> wakes tasks --> executor --> read, write --> TcpEngine --> frames
//! ```
//!
//! Everything is done in turns of the worker's loop, and each turn is bounded: packets that
//! come are taken by connections at once, tasks run for a slice of time, then connections
//! send what fits the queue.
//!
//! [`LocalService`]: sluice_fastpath::local::LocalService

mod address;
mod executor;
mod frames;
mod net;
mod service;
mod stream;
mod timers;

pub use net::WorkerNet;
pub use service::{Application, L7Options, L7Service, L7Told, SLICE};
pub use stream::WorkerStream;
