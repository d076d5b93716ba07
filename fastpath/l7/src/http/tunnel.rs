use super::entry::Entry;
use super::options::ns;
use super::seams::{Duplex, Upgrade};
use crate::clock::Clock;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The two ends have ended it, or one has gone.
    Ended,
    /// Nobody has said anything for too long.
    Idle,
}

/// Bytes that have gone through a tunnel.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) from_client: Cell<u64>,
    pub(super) from_endpoint: Cell<u64>,
}

/// What it takes to let a client and an endpoint speak another protocol.
pub(super) struct Tunnel {
    pub(super) endpoint: Upgrade,
    pub(super) entry: Rc<RefCell<Entry>>,
    pub(super) clock: Rc<dyn Clock>,
    /// How long nobody may say anything.
    pub(super) idle: Duration,
}

impl Tunnel {
    /// Joins two connections. What one sends waits in a few KiB until the other takes it.
    pub(super) async fn join(self, client: impl Duplex) -> Over {
        let Tunnel { endpoint, entry, clock, idle } = self;
        let Some(endpoint) = endpoint.await else { return Over::Ended };
        let last = Cell::new(clock.now_ns());
        let carried: Rc<Carried> = Rc::default();
        {
            let mut entry = entry.borrow_mut();
            (entry.is_complete, entry.carried) = (false, Some(carried.clone()));
        }
        let (last, clock) = (&last, &*clock);
        let mut client = Side { io: client, sent: &carried.from_client, last, clock };
        let mut endpoint = Side { io: endpoint, sent: &carried.from_endpoint, last, clock };
        let over = {
            let mut joined = pin!(tokio::io::copy_bidirectional(&mut client, &mut endpoint));
            loop {
                let until = last.get().saturating_add(ns(idle));
                let sleep = clock.sleep_until(until);
                tokio::select! {
                    ended = &mut joined => break ended.map(|_| Over::Ended),
                    () = sleep => {
                        if clock.now_ns() >= last.get().saturating_add(ns(idle)) {
                            break Ok(Over::Idle);
                        }
                    }
                }
            }
        };
        entry.borrow_mut().is_complete = matches!(over, Ok(Over::Ended));
        over.unwrap_or(Over::Ended)
    }
}

/// One end, which tells when it has said something, and how much.
struct Side<'a, S> {
    io: S,
    sent: &'a Cell<u64>,
    last: &'a Cell<u64>,
    clock: &'a dyn Clock,
}

impl<S: Duplex> AsyncRead for Side<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            self.sent.set(self.sent.get() + read as u64);
            self.last.set(self.clock.now_ns());
        }
        polled
    }
}

impl<S: Duplex> AsyncWrite for Side<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
