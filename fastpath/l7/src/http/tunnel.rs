use super::entry::Entry;
use super::options::ns;
use crate::clock::Clock;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Another protocol between a client and an endpoint, until it is over.
pub(super) type Tunnel = Pin<Box<dyn Future<Output = Over>>>;

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

/// Joins two connections. What one sends waits in a few KiB until the other takes it.
pub(super) fn tunnel(
    client: OnUpgrade,
    endpoint: OnUpgrade,
    entry: Rc<RefCell<Entry>>,
    clock: Rc<dyn Clock>,
    idle: Duration,
) -> Tunnel {
    Box::pin(async move {
        let (Ok(client), Ok(endpoint)) = (client.await, endpoint.await) else {
            return Over::Ended;
        };
        let last = Cell::new(clock.now_ns());
        let carried: Rc<Carried> = Rc::default();
        {
            let mut entry = entry.borrow_mut();
            (entry.is_complete, entry.carried) = (false, Some(carried.clone()));
        }
        let side =
            |upgraded, sent| Side { io: TokioIo::new(upgraded), sent, last: &last, clock: &*clock };
        let mut client = side(client, &carried.from_client);
        let mut endpoint = side(endpoint, &carried.from_endpoint);
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
    })
}

/// One end, which tells when it has said something, and how much.
struct Side<'a> {
    io: TokioIo<Upgraded>,
    sent: &'a Cell<u64>,
    last: &'a Cell<u64>,
    clock: &'a dyn Clock,
}

impl AsyncRead for Side<'_> {
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

impl AsyncWrite for Side<'_> {
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
