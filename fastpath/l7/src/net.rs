//! What HTTP is served on: connections, time and tasks. There are two kinds: the worker's
//! own TCP, and sockets of the kernel. What is above is the same for both.
//!
//! Everything runs on one thread: nothing has to be [`Send`].

use crate::tcp::Pressure;
use sluice_tables::l7::ListenerId;
use sluice_tables::policy::Verdict;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};

/// Makes connections, tells the time and runs tasks, all on the thread that it is used on.
pub trait Net: Clone + 'static {
    /// A connection.
    type Stream: Stream;

    /// Opens a connection to an endpoint. To give up, drop the future: nothing of the
    /// connection stays.
    ///
    /// # Errors
    /// `ConnectionRefused`, `HostUnreachable`, `TimedOut` (nobody has answered for long),
    /// `AddrNotAvailable` (no port is left), `OutOfMemory` (too many connections).
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + 'static;

    /// Runs a task beside the others.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Nanoseconds since any start. Cheap: it is the time at which the task was begun to
    /// be run, and no clock is read.
    fn now_ns(&self) -> u64;

    /// Milliseconds since 1970, as cheap.
    fn unix_ms(&self) -> u64;

    /// What network policies say to a client's request to an endpoint.
    fn judge(&self, _client: IpAddr, _endpoint: SocketAddr) -> Verdict {
        Verdict::Allow
    }

    /// Another one whenever [`Net::judge`] may say something else.
    fn policy_version(&self) -> u64 {
        0
    }

    /// How much of the memory for connections is used, in all and by those of a listener.
    fn pressure(&self, _listener: ListenerId) -> Pressure {
        Pressure::None
    }

    /// Waits until [`Net::now_ns`] has reached a time, within about a millisecond.
    fn sleep_until(&self, at_ns: u64) -> impl Future<Output = ()> + 'static;
}

/// A TCP connection.
///
/// Reading 0 bytes is the peer's FIN; shutting down sends ours behind what was written.
/// Dropping it closes it: what was written is still sent, unless something that came was
/// not read, which resets it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// The gateway's end.
    fn local(&self) -> SocketAddr;

    /// The other end.
    fn remote(&self) -> SocketAddr;

    /// Ends it with RST; what was written may be lost.
    fn abort(&mut self);
}
