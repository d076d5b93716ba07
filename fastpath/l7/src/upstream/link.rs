use super::host::{Outstanding, Owner, Slot};
use super::sent::Underway;
use super::shared::Shared;
use super::stir::{Hold, Stir};
use crate::http::{Duplex, Upgrade};
use arrayvec::ArrayVec;
use bytes::Bytes;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Bytes of the head of a frame of HTTP/2.
const FRAME_HEAD: u64 = 9;

/// What is known of a connection by those who use it and the task that drives it.
pub(super) struct Link<B> {
    shared: Rc<Shared>,
    /// Whose requests it carries alone.
    pub(super) owner: Owner,
    /// Bytes that came.
    read: Cell<u64>,
    /// When it last took some.
    wrote_at_ns: Cell<u64>,
    /// Requests that it has carried.
    pub(super) requests: Cell<u32>,
    is_closed: Cell<bool>,
    is_doomed: Cell<bool>,
    is_retired: Cell<bool>,
    /// It is HTTP/1.1's, and has a request that is not over.
    has_request: Cell<bool>,
    /// When nothing could be written any more, though a request was on it.
    broke_at_ns: Cell<Option<u64>>,
    reader: RefCell<Option<Waker>>,
    /// The endpoint has said how many streams it lets.
    is_settled: Cell<bool>,
    driver: RefCell<Option<Waker>>,
    /// Who wakes its task, as the library has it.
    stir: OnceCell<(Arc<Stir>, Waker)>,
    /// Who gets it when it goes on with another protocol.
    switched: Cell<Option<oneshot::Sender<Box<dyn Duplex>>>>,
    /// The request that it went on with another protocol for: it lasts as long.
    tunnel: RefCell<Option<(Outstanding<B>, Underway)>>,
}

impl<B> Link<B> {
    pub(super) fn new(shared: Rc<Shared>, owner: Owner) -> Rc<Self> {
        Rc::new(Link {
            shared,
            owner,
            read: Cell::default(),
            wrote_at_ns: Cell::default(),
            requests: Cell::default(),
            is_closed: Cell::default(),
            is_doomed: Cell::default(),
            is_retired: Cell::default(),
            has_request: Cell::default(),
            broke_at_ns: Cell::default(),
            reader: RefCell::default(),
            is_settled: Cell::default(),
            driver: RefCell::default(),
            stir: OnceCell::new(),
            switched: Cell::default(),
            tunnel: RefCell::default(),
        })
    }

    pub(super) fn read(&self) -> u64 {
        self.read.get()
    }

    pub(super) fn wrote_at_ns(&self) -> u64 {
        self.wrote_at_ns.get()
    }

    /// Whether a request of HTTP/1.1 is on it.
    pub(super) fn set_request(&self, has_request: bool) {
        self.has_request.set(has_request);
    }

    /// Since when it takes nothing, though an answer may still come.
    pub(super) fn broke_at_ns(&self) -> Option<u64> {
        self.broke_at_ns.get()
    }

    /// Writing has failed: an answer to its request is all that may come of it.
    fn breaks(&self) {
        self.broke_at_ns.set(Some(self.shared.now_ns()));
        self.retire();
    }

    /// It takes no request any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.get() || self.is_doomed.get() || self.is_retired.get()
    }

    /// Requests on it go on, but no more come to it.
    pub(super) fn retire(&self) {
        self.is_retired.set(true);
    }

    /// Ends it with all that is on it.
    pub(super) fn doom(&self) {
        self.is_doomed.set(true);
        let reader = self.reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Its request asks for another protocol: what the connection becomes then.
    pub(super) fn switches(&self) -> Upgrade {
        let (to, from) = oneshot::channel();
        self.switched.set(Some(to));
        Upgrade::new(async move { from.await.ok() })
    }

    /// HTTP is over on it: it goes to whoever has asked for another protocol.
    pub(super) fn go_on(&self, connection: impl FnOnce() -> Box<dyn Duplex>) {
        if let Some(switched) = self.switched.take().filter(|_| !self.is_doomed.get()) {
            // Nobody may want it any more: then it ends.
            let _ = switched.send(connection());
        }
    }

    pub(super) fn keep_for_tunnel(&self, outstanding: Outstanding<B>, track: Underway) {
        *self.tunnel.borrow_mut() = Some((outstanding, track));
    }

    /// An error if network policies do not let it carry another protocol any more.
    fn check_tunnel(&self) -> io::Result<()> {
        match &*self.tunnel.borrow() {
            Some((_, track)) if !track.is_let() => Err(io::ErrorKind::ConnectionReset.into()),
            _ => Ok(()),
        }
    }

    /// What drives it: polls the connection until it ends or is doomed.
    pub(super) fn poll(
        &self,
        context: &Context<'_>,
        connection: impl FnOnce(&mut Context<'_>) -> Poll<()>,
    ) -> Poll<()> {
        let (stir, waker) = self.stir.get_or_init(|| {
            let stir = Stir::new(context.waker());
            (stir.clone(), stir.into())
        });
        // It is always the same task.
        let waker = if stir.is_of(context.waker()) { waker } else { context.waker() };
        let mut context = Context::from_waker(waker);
        if self.is_doomed.get() || connection(&mut context).is_ready() {
            self.is_closed.set(true);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Holds back whoever wakes its task.
    pub(super) fn hold(&self) -> Option<Hold<'_>> {
        self.stir.get().map(|(stir, _)| stir.hold())
    }

    /// Whether the endpoint has said how many streams it lets; if not, the task is woken
    /// when it has.
    pub(super) fn is_settled(&self, context: &Context<'_>) -> bool {
        note(&self.driver, context);
        self.is_settled.get()
    }

    fn settle(&self) {
        self.is_settled.set(true);
        let driver = self.driver.take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// Notes a task that is to be woken.
pub(super) fn note(task: &RefCell<Option<Waker>>, context: &Context<'_>) {
    let mut task = task.borrow_mut();
    if task.as_ref().is_none_or(|task| !task.will_wake(context.waker())) {
        *task = Some(context.waker().clone());
    }
}

/// A connection as hyper has it. Its slot is free when it is dropped, also if it went on
/// with another protocol.
pub(super) struct Io<W, B> {
    wire: W,
    link: Rc<Link<B>>,
    /// The first bytes that came: for HTTP/2, how long its first frame is.
    begins_with: ArrayVec<u8, 3>,
    /// What has come of the protocol after this one.
    rest: Bytes,
    _slot: Slot<B>,
}

impl<W, B> Io<W, B> {
    pub(super) fn new(wire: W, link: Rc<Link<B>>, slot: Slot<B>) -> Self {
        Io { wire, link, begins_with: ArrayVec::new(), rest: Bytes::new(), _slot: slot }
    }

    /// To be read first.
    pub(super) fn put_back(mut self, rest: Bytes) -> Self {
        self.rest = rest;
        self
    }

    /// The first frame of HTTP/2 are the settings. When more is read, it has been taken.
    fn look_for_settings(&self) {
        if let [a, b, c] = self.begins_with[..]
            && !self.link.is_settled.get()
            && self.link.read.get() >= FRAME_HEAD + u64::from(u32::from_be_bytes([0, a, b, c]))
        {
            self.link.settle();
        }
    }

    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.link.wrote_at_ns.set(self.link.shared.now_ns());
        }
    }

    /// Writes, if that goes. An endpoint that does not want the rest of a request answers and
    /// hangs up: where writing fails, its answer may have come, or be on its way. So nothing
    /// goes on from then on but reading, and how that ends is how the request does. It is the
    /// same task that reads: it is woken when something comes.
    fn write<T>(
        &mut self,
        write: impl FnOnce(Pin<&mut W>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>>
    where
        W: Unpin,
    {
        if !self.link.has_request.get() {
            return write(Pin::new(&mut self.wire));
        }
        if self.link.broke_at_ns.get().is_none() {
            let written = write(Pin::new(&mut self.wire));
            if !matches!(written, Poll::Ready(Err(_))) {
                return written;
            }
            self.link.breaks();
        }
        Poll::Pending
    }
}

impl<W, B> Drop for Io<W, B> {
    fn drop(&mut self) {
        self.link.is_closed.set(true);
        let tunnel = self.link.tunnel.take();
        drop(tunnel);
    }
}

impl<W: AsyncRead + Unpin, B> AsyncRead for Io<W, B> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (inner, before) = (&mut *self, buffer.filled().len());
        // Who reads of it is woken when it is doomed.
        note(&inner.link.reader, context);
        inner.link.check_tunnel()?;
        if !inner.rest.is_empty() {
            let len = inner.rest.len().min(buffer.remaining());
            buffer.put_slice(&inner.rest.split_to(len));
            return Poll::Ready(Ok(()));
        }
        inner.look_for_settings();
        let read = Pin::new(&mut inner.wire).poll_read(context, buffer);
        let came = &buffer.filled()[before..];
        let missing = inner.begins_with.remaining_capacity();
        inner.begins_with.extend(came.iter().copied().take(missing));
        inner.link.read.set(inner.link.read.get() + came.len() as u64);
        read
    }
}

impl<W: AsyncWrite + Unpin, B> AsyncWrite for Io<W, B> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.link.check_tunnel()?;
        let written = self.write(|wire| wire.poll_write(context, bytes));
        self.note_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.check_tunnel()?;
        let written = self.write(|wire| wire.poll_write_vectored(context, slices));
        self.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|wire| wire.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}
