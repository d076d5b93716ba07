/// The hash table over the entries of one family.
mod buckets;
/// One direction of a flow: a cache line.
pub mod entry;
/// What a TCP connection's SYNs have said.
pub mod handshake;
/// What identifies a flow in one direction.
pub mod key;
/// How many flows may begin.
pub mod limits;
/// How many flows a Service and an endpoint have.
pub mod load;
/// States of connections and their timeouts.
pub mod state;
/// The flows of one family: create, find, expire, give up.
pub mod table;
/// The timer wheel.
mod wheel;

/// What the state of a flow that policies cut is called, wherever its connection is.
pub const CUT: &str = "cut";

pub use entry::{Direction, Entry};
pub use handshake::Handshake;
pub use key::Key;
pub use limits::FlowLimits;
pub use load::Loads;
pub use state::{State, Timeouts};
pub use table::{Aside, FlowTable, Flows};
