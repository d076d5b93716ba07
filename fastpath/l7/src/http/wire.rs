use super::connection::Connection;
use crate::L7Reason;
use crate::clock::Clock;
use crate::guard::{Guard, Step};
use crate::net::Stream;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at a time behind a head that is not whole.
const READ_MAX: usize = 4096;

/// Bytes that are read of what comes first after a rest.
const ARRIVAL_MAX: usize = 1024;

/// Bytes that are read while nobody wants any.
const PEEK_MAX: usize = 256;

/// What the server's library reads from and writes to: of what a client sends it gets
/// what has been checked, and then nothing more. The connection stays when the library
/// is done with it.
pub(super) struct Wire<S> {
    pub(super) stream: S,
    /// Checks HTTP/1.1.
    guard: Option<Guard>,
    /// What has come and has not gone on: first what may, then what is not checked.
    waiting: Vec<u8>,
    checked: usize,
    /// Nothing more goes on: the client has ended its side, or has done wrong.
    pub(super) is_over: bool,
    /// The client has ended its side.
    pub(super) has_ended: bool,
    /// A request is not whole.
    pub(super) is_within: bool,
    /// What is read and written is not the library's any more.
    may_shut: bool,
    /// Who waits for the answer to a request for one.
    reader: Option<Waker>,
    /// Who reads waits for more, and hears of the connection's end by itself.
    is_awaited: bool,
    connection: Rc<Connection>,
    clock: Rc<dyn Clock>,
}

impl<S: Stream> Wire<S> {
    pub(super) fn new(
        stream: S,
        guard: Option<Guard>,
        connection: Rc<Connection>,
        clock: Rc<dyn Clock>,
    ) -> Self {
        Wire {
            stream,
            guard,
            waiting: Vec::new(),
            checked: 0,
            is_over: false,
            has_ended: false,
            is_within: false,
            may_shut: false,
            reader: None,
            is_awaited: false,
            connection,
            clock,
        }
    }

    /// The answer to a request for another protocol is known.
    pub(super) fn answered_upgrade(&mut self, is_switched: bool) {
        if let Some(guard) = &mut self.guard {
            guard.answered_upgrade(is_switched);
            self.is_within = !guard.is_between();
        }
        self.may_shut |= is_switched;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The library is done with it: it is read and ended as it is.
    pub(super) fn release(&mut self) {
        self.guard = None;
        self.waiting = Vec::new();
        self.checked = 0;
        self.is_over = self.has_ended;
        self.may_shut = true;
    }

    /// Something is wrong with what has come, or with how slowly it comes.
    pub(super) fn violate(&mut self, reason: L7Reason) {
        self.connection.violation.set(Some(reason));
        self.connection.head_since.set(None);
        self.is_over = true;
    }

    /// How much of what has come may go on. `None`: it is not known yet whether more may.
    fn check(&mut self, bytes: &[u8]) -> Option<usize> {
        let Some(guard) = &mut self.guard else { return Some(bytes.len()) };
        let mut len = 0;
        while len < bytes.len() {
            match guard.step(&bytes[len..]) {
                Ok(Step::Head(head)) => {
                    len += head.len;
                    self.connection.begin_request();
                    self.connection.head_since.set(None);
                }
                Ok(Step::Bytes(more)) => len += more,
                Ok(Step::More) => {
                    if !self.is_within {
                        let since = &self.connection.head_since;
                        since.set(since.get().or_else(|| Some(self.clock.now_ns())));
                    }
                    break;
                }
                Ok(Step::Wait) => return (len > 0).then_some(len),
                Ok(Step::End) => {
                    self.is_over = true;
                    break;
                }
                Err(reason) => {
                    self.violate(reason);
                    break;
                }
            }
            self.is_within = !guard.is_between();
        }
        Some(len)
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.checked > 0 {
                let len = self.checked.min(buf.remaining());
                buf.put_slice(&self.waiting[..len]);
                self.waiting.drain(..len);
                self.checked -= len;
                if self.waiting.is_empty() {
                    self.waiting = Vec::new();
                }
                return Poll::Ready(Ok(()));
            }
            if self.is_over {
                return Poll::Ready(Ok(()));
            }
            let before = self.waiting.len();
            if before > 0 {
                let waiting = std::mem::take(&mut self.waiting);
                let checked = self.check(&waiting);
                self.waiting = waiting;
                match checked {
                    Some(0) if !self.is_over => {}
                    Some(len) => {
                        self.checked = len;
                        continue;
                    }
                    None => {
                        self.reader = Some(context.waker().clone());
                        return Poll::Pending;
                    }
                }
                let more = self.poll_more(context, READ_MAX);
                self.is_awaited = more.is_pending();
                ready!(more)?;
                continue;
            }
            let start = buf.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(context, buf);
            self.is_awaited = read.is_pending();
            ready!(read)?;
            self.note_end(buf.filled().len() - start);
            let checked = self.check(&buf.filled()[start..]).unwrap_or(0);
            self.waiting.extend_from_slice(&buf.filled()[start + checked..]);
            buf.set_filled(start + checked);
            if checked > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads behind what waits.
    fn poll_more(&mut self, context: &mut Context<'_>, max: usize) -> Poll<io::Result<()>> {
        let before = self.waiting.len();
        self.waiting.resize(before + max, 0);
        let mut more = ReadBuf::new(&mut self.waiting[before..]);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut more);
        let len = more.filled().len();
        self.waiting.truncate(before + len);
        ready!(read)?;
        self.note_end(len);
        Poll::Ready(Ok(()))
    }

    /// Nothing is held of what has come, and nothing is begun.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.is_over && !self.is_within
    }

    /// Something has come that is to be read.
    pub(super) fn has_come(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits for something to come, which then waits to be read.
    ///
    /// # Errors
    /// The connection was reset.
    pub(super) fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; ARRIVAL_MAX];
        let mut came = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut came))?;
        self.waiting.extend_from_slice(came.filled());
        self.note_end(came.filled().len());
        Poll::Ready(Ok(()))
    }

    /// What was read and not used, to be read again.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.waiting.splice(..0, bytes.iter().copied());
        self.checked += bytes.len();
    }

    /// Looks whether the client is still there while nobody reads: what it asked for is
    /// given up if it is not. What comes meanwhile waits.
    pub(super) fn is_reset(&mut self, context: &mut Context<'_>) -> bool {
        if self.guard.is_none() || self.is_awaited || self.is_over || !self.waiting.is_empty() {
            return false;
        }
        matches!(self.poll_more(context, PEEK_MAX), Poll::Ready(Err(_)))
    }

    fn note_end(&mut self, read: usize) {
        self.connection.has_read(read);
        self.has_ended |= read == 0;
        self.is_over |= read == 0;
    }

    fn count_written(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.connection.has_written(*bytes);
        }
    }

    fn note_written<T>(&self, polled: Poll<T>) -> Poll<T> {
        let since = &self.connection.blocked_since;
        match polled {
            Poll::Pending => since.set(since.get().or_else(|| Some(self.clock.now_ns()))),
            Poll::Ready(_) => since.set(None),
        }
        polled
    }
}

/// One of those who share a [`Wire`].
pub(super) struct End<S>(pub(super) Rc<RefCell<Wire<S>>>);

impl<S: Stream> AsyncRead for End<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_read(context, buf)
    }
}

impl<S: Stream> AsyncWrite for End<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wire = &mut *self.0.borrow_mut();
        let written = Pin::new(&mut wire.stream).poll_write(context, bytes);
        wire.count_written(&written);
        wire.note_written(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &mut *self.0.borrow_mut();
        let written = Pin::new(&mut wire.stream).poll_write_vectored(context, parts);
        wire.count_written(&written);
        wire.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self.0.borrow_mut();
        let flushed = Pin::new(&mut wire.stream).poll_flush(context);
        wire.note_written(flushed)
    }

    /// An answer of the gateway's own may have to follow: who shares it ends it.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self.0.borrow_mut();
        match wire.may_shut {
            true => Pin::new(&mut wire.stream).poll_shutdown(context),
            false => Pin::new(&mut wire.stream).poll_flush(context),
        }
    }
}
