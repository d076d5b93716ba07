use crate::net::Stream;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at a time.
const READ_MAX: usize = 2048;

/// A connection whose first bytes can be looked at before they are read.
pub(super) struct Peeked<S> {
    stream: S,
    seen: Vec<u8>,
}

impl<S: Stream> Peeked<S> {
    pub(super) fn new(stream: S) -> Self {
        Peeked { stream, seen: Vec::new() }
    }

    /// What has come so far.
    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Waits for more. `false`: none will come.
    pub(super) async fn more(&mut self) -> io::Result<bool> {
        // The room for it is not to be the connection's for as long as it lasts.
        poll_fn(|context| {
            let mut bytes = [0; READ_MAX];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            self.seen.extend_from_slice(read.filled());
            Poll::Ready(Ok(!read.filled().is_empty()))
        })
        .await
    }

    /// The first bytes have been dealt with.
    pub(super) fn discard(&mut self, len: usize) {
        self.seen.drain(..len);
    }
}

impl<S: Stream> AsyncRead for Peeked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buf);
        }
        let len = self.seen.len().min(buf.remaining());
        buf.put_slice(&self.seen[..len]);
        match len == self.seen.len() {
            true => self.seen = Vec::new(),
            false => self.discard(len),
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Peeked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: Stream> Stream for Peeked<S> {
    fn local(&self) -> SocketAddr {
        self.stream.local()
    }

    fn remote(&self) -> SocketAddr {
        self.stream.remote()
    }

    fn abort(&mut self) {
        self.stream.abort();
    }
}
