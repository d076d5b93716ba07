use super::net::Shared;
use crate::net::Stream;
use crate::tcp::{ConnId, Ended, TcpConn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection of the worker's own TCP.
pub struct WorkerStream {
    shared: Rc<Shared>,
    id: ConnId,
    local: SocketAddr,
    remote: SocketAddr,
}

impl WorkerStream {
    /// Takes over a connection of the engine's; `None` if there is none.
    pub(super) fn new(shared: &Rc<Shared>, id: ConnId) -> Option<Self> {
        let mut engine = shared.engine.borrow_mut();
        let conn = engine.conn(id)?;
        let (local, remote) = (conn.local(), conn.remote());
        Some(WorkerStream { shared: shared.clone(), id, local, remote })
    }

    /// Ready when the connection is established.
    pub(super) fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|conn| conn.poll_open(context))
    }

    fn with<T>(
        &mut self,
        poll: impl FnOnce(&mut dyn TcpConn) -> Poll<Result<T, Ended>>,
    ) -> Poll<io::Result<T>> {
        let mut engine = self.shared.engine.borrow_mut();
        // It is there until it is released.
        let Some(mut conn) = engine.conn(self.id) else {
            return Poll::Ready(Err(error(Ended::Closed)));
        };
        poll(&mut conn).map_err(error)
    }
}

fn error(ended: Ended) -> io::Error {
    let kind = match ended {
        Ended::Reset => io::ErrorKind::ConnectionReset,
        Ended::Refused => io::ErrorKind::ConnectionRefused,
        Ended::TimedOut => io::ErrorKind::TimedOut,
        Ended::Unreachable => io::ErrorKind::HostUnreachable,
        Ended::Aborted => io::ErrorKind::ConnectionAborted,
        Ended::Closed => io::ErrorKind::NotConnected,
    };
    kind.into()
}

impl AsyncRead for WorkerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.with(|conn| {
            // What is not known to be initialized is cleared first: no more than is read.
            let len = conn.readable().max(1).min(buffer.remaining());
            conn.poll_read(context, buffer.initialize_unfilled_to(len))
        });
        read.map_ok(|read| buffer.advance(read))
    }
}

impl AsyncWrite for WorkerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|conn| conn.poll_write(context, data))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut engine = self.shared.engine.borrow_mut();
        if let Some(mut conn) = engine.conn(self.id) {
            conn.shutdown();
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for WorkerStream {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn abort(&mut self) {
        if let Some(mut conn) = self.shared.engine.borrow_mut().conn(self.id) {
            conn.abort();
        }
    }
}

impl Drop for WorkerStream {
    fn drop(&mut self) {
        let now_ns = self.shared.timers.now_ns();
        self.shared.engine.borrow_mut().release(self.id, now_ns);
    }
}
