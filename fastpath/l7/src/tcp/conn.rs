use std::net::SocketAddr;
use std::task::{Context, Poll};

/// Names a connection of an engine. It is never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// The states of RFC 9293 section 3.3.2, without LISTEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // They are the RFC's.
pub enum TcpState {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

impl TcpState {
    /// The handshake is not over.
    pub fn is_opening(self) -> bool {
        matches!(self, TcpState::SynSent | TcpState::SynReceived)
    }

    /// The peer has sent its FIN, and all before it has arrived.
    pub fn has_fin(self) -> bool {
        use TcpState::*;
        matches!(self, CloseWait | Closing | LastAck | TimeWait)
    }
}

/// Why a connection is no more, or takes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer reset it.
    Reset,
    /// The peer answered the SYN with RST.
    Refused,
    /// The peer was not heard for too long.
    TimedOut,
    /// An ICMP error says that there is no way to the peer, in answer to the SYN.
    Unreachable,
    /// It was aborted from here.
    Aborted,
    /// It was closed, or its sending half was, from here.
    Closed,
}

/// One TCP connection, as those see it who read and write.
///
/// What is [`Poll::Pending`] wakes the context's waker when it may have changed; one
/// waker is kept for reading and one for everything else.
pub trait TcpConn {
    /// The gateway's end.
    fn local(&self) -> SocketAddr;

    /// The other end.
    fn remote(&self) -> SocketAddr;

    /// The state of the connection.
    fn state(&self) -> TcpState;

    /// Ready when the handshake is over.
    ///
    /// # Errors
    /// Why there will be no connection.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>>;

    /// Bytes that have come and are not read.
    fn readable(&self) -> usize;

    /// Reads what has come into `into`; 0 bytes are the peer's FIN.
    ///
    /// # Errors
    /// Why nothing comes any more, when everything that came before is read.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<Result<usize, Ended>>;

    /// Takes as much of `data` as there is room for, and says how much that is.
    ///
    /// # Errors
    /// Why nothing can be sent any more.
    fn poll_write(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Ended>>;

    /// Ready when the peer has acknowledged everything, the FIN included where
    /// [`TcpConn::shutdown`] was called.
    ///
    /// # Errors
    /// Why it will not.
    fn poll_acknowledged(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>>;

    /// Ends the sending half: a FIN follows what was written.
    fn shutdown(&mut self);

    /// Ends both halves with RST; what was written may be lost.
    fn abort(&mut self);
}
