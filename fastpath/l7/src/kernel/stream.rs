use crate::net::Stream;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection of the kernel's.
#[derive(Debug)]
pub struct KernelStream {
    /// `None`: it was aborted.
    tcp: Option<TcpStream>,
    /// Why writing failed, unless the other end had sent its FIN before (`BrokenPipe`).
    failed: Option<io::ErrorKind>,
    local: SocketAddr,
    remote: SocketAddr,
}

impl KernelStream {
    pub(super) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        let (local, remote) = (canonical(tcp.local_addr()?), canonical(tcp.peer_addr()?));
        Ok(KernelStream { tcp: Some(tcp), failed: None, local, remote })
    }

    fn with<T>(
        &mut self,
        what: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.tcp {
            Some(tcp) => what(Pin::new(tcp)),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    /// Writes, and keeps why that failed: the kernel says so once.
    fn write<T>(
        &mut self,
        write: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = self.with(write);
        if let Poll::Ready(Err(error)) = &written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            self.failed.get_or_insert(error.kind());
        }
        written
    }
}

/// An IPv4 address is one, whatever the socket is.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

impl AsyncRead for KernelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        ready!(self.with(|tcp| tcp.poll_read(context, buf)))?;
        match self.failed {
            // There was no FIN: to whoever reads after what had come, a reset that was told to
            // whoever wrote looks like one.
            Some(kind) if room > 0 && buf.remaining() == room => Poll::Ready(Err(kind.into())),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for KernelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(|tcp| tcp.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|tcp| tcp.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|tcp| tcp.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|tcp| tcp.poll_shutdown(context))
    }
}

impl Stream for KernelStream {
    fn local(&self) -> SocketAddr {
        self.local
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn abort(&mut self) {
        if let Some(tcp) = self.tcp.take() {
            // If that fails the connection is gone anyway.
            let _ = tcp.set_zero_linger();
        }
    }
}
