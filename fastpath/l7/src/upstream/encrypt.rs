use crate::Alpn;
use crate::net::Stream;
use sluice_tables::l7::Upstream;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Begins TLS with endpoints.
pub trait Encrypt<S: Stream>: 'static {
    /// A connection in TLS.
    type Stream: Stream;

    /// Makes the handshake with an endpoint of an upstream, offering what the upstream
    /// speaks; says what was agreed on. It is given up by dropping the future.
    ///
    /// # Errors
    /// The handshake failed.
    fn connect(
        &self,
        stream: S,
        upstream: &Arc<Upstream>,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<Alpn>)>> + 'static;
}

/// A connection to an endpoint, in TLS or not.
pub(super) enum Wire<S, T> {
    Plain(S),
    Tls(T),
}

/// Does the same with either of them.
macro_rules! either {
    ($wire:expr, $stream:ident => $done:expr) => {
        match $wire {
            Wire::Plain($stream) => $done,
            Wire::Tls($stream) => $done,
        }
    };
}

impl<S: Stream, T: Stream> AsyncRead for Wire<S, T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl<S: Stream, T: Stream> AsyncWrite for Wire<S, T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
    }
}
