use crate::net::Stream;
use rustls::Connection;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that wait to be sent, at most, but for a record's own: one record's worth.
const BUFFER_MAX: usize = 16 << 10;

/// A connection whose handshake is over. Records are encrypted and decrypted by whoever
/// reads and writes it.
///
/// Reading 0 bytes is the peer's `close_notify`; a FIN without one is an
/// `UnexpectedEof`, as what was cut off may matter (RFC 8446 section 6.1). Shutting down
/// sends ours, then the FIN.
#[derive(Debug)]
pub struct TlsStream<S> {
    stream: S,
    tls: Connection,
    is_closing: bool,
}

impl<S: Stream> TlsStream<S> {
    /// Takes a connection whose handshake is over. What of it is still to be sent and does
    /// not go now goes before what is written next.
    pub(super) async fn new(stream: S, mut tls: Connection) -> Self {
        tls.set_buffer_limit(Some(BUFFER_MAX));
        let mut new = TlsStream { stream, tls, is_closing: false };
        // If the connection has ended, whoever reads or writes it will see.
        let _ = poll_fn(|cx| Poll::Ready(new.poll_send(cx))).await;
        new
    }

    /// Sends what is encrypted already.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Sync { stream: &mut self.stream, cx }) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts what `write` gives and sends as much as the connection takes now. What it
    /// does not take is never more than one buffer: nothing is taken before it is sent.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        let taken = write(&mut self.tls.writer())?;
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }
}

impl<S: Stream> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.tls.reader().read(buf.initialize_unfilled()) {
                Ok(len) => {
                    buf.advance(len);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            match this.tls.read_tls(&mut Sync { stream: &mut this.stream, cx }) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Err(error) = this.tls.process_new_packets() {
                // The alert, as far as there is room: the connection is at its end.
                let _ = this.poll_send(cx);
                return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, error)));
            }
        }
    }
}

impl<S: Stream> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_with(cx, |writer| writer.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_with(cx, |writer| writer.write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.is_closing, true) {
            this.tls.send_close_notify();
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for TlsStream<S> {
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

/// Lets rustls read and write a connection: what would wait is `WouldBlock`.
struct Sync<'a, 'b, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'b>,
}

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl<S: Stream> Read for Sync<'_, '_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        now(Pin::new(&mut *self.stream).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<S: Stream> Write for Sync<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.stream).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        now(Pin::new(&mut *self.stream).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(Pin::new(&mut *self.stream).poll_flush(self.cx))
    }
}
