//! Whoever attends to a connection while it is served: to what takes too long, and to
//! when it has to end.

use super::connection::Connection;
use super::counters::{HttpCounters, Limit};
use super::options::{ProxyOptions, ns};
use super::tunnel::{Over, Tunnel};
use super::wire::{End, Wire};
use crate::L7Reason;
use crate::clock::{Alarm, Clock};
use crate::net::Stream;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that are read at a time of what nobody asks for any more.
const LINGER_READ_MAX: usize = 2 << 10;

/// Bytes that are read of it at most.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Waits for something, but not longer than it may take, or than the connection has.
pub(super) async fn within<T>(
    clock: &Rc<dyn Clock>,
    connection: &Connection,
    timeout: Duration,
    what: impl Future<Output = T>,
) -> Option<T> {
    let mut what = pin!(what);
    let mut alarm = Alarm::default();
    let until = clock.now_ns().saturating_add(ns(timeout));
    poll_fn(|context| {
        connection.is_attended_by(context.waker());
        if let Poll::Ready(done) = what.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        let end = connection.ends_at.get().map_or(until, |(end, _)| end.min(until));
        alarm.poll(&**clock, end, context).map(|()| None)
    })
    .await
}

/// What it takes to attend to a connection.
pub(super) struct Attendance<'a, S> {
    pub(super) connection: &'a Rc<Connection>,
    pub(super) wire: &'a Rc<RefCell<Wire<S>>>,
    pub(super) clock: &'a Rc<dyn Clock>,
    pub(super) options: &'a ProxyOptions,
    pub(super) counters: &'a HttpCounters,
    pub(super) is_http2: bool,
}

/// What is done when a time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The connection is cut.
    Cut(Limit),
    /// It ends in order.
    End(Limit),
    /// It ends in order, as all of them do.
    Leave,
    /// It ends with an answer.
    Refuse(Limit),
    /// It rests.
    Rest,
}

/// How attending to something has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attended<T> {
    /// It is over.
    Over(T),
    /// The connection is to be cut.
    Cut,
    /// Nothing has been asked for a while.
    Rests,
}

impl<S: Stream> Attendance<'_, S> {
    /// Serves requests until there are no more.
    pub(super) async fn serve<C: Future>(
        &self,
        mut served: Pin<&mut C>,
        shut: impl Fn(Pin<&mut C>),
        may_rest: bool,
    ) -> Attended<C::Output> {
        let mut alarm = Alarm::default();
        let mut is_shut = false;
        poll_fn(|context| {
            self.connection.is_attended_by(context.waker());
            loop {
                if self.connection.is_ending.get() && !is_shut {
                    is_shut = true;
                    shut(served.as_mut());
                }
                self.connection.is_attended.set(true);
                let polled = served.as_mut().poll(context);
                self.connection.is_attended.set(false);
                if let Poll::Ready(over) = polled {
                    return Poll::Ready(Attended::Over(over));
                }
                if self.connection.is_ending.get() && !is_shut {
                    continue;
                }
                if self.connection.in_flight.get() > 0 && self.wire.borrow_mut().is_reset(context) {
                    return Poll::Ready(Attended::Cut);
                }
                let Some((at_ns, then)) = self.next(is_shut, may_rest) else {
                    return Poll::Pending;
                };
                if alarm.poll(&**self.clock, at_ns, context).is_pending() {
                    return Poll::Pending;
                }
                match then {
                    Then::Rest => return Poll::Ready(Attended::Rests),
                    Then::Cut(limit) => {
                        self.counters.limited(limit);
                        return Poll::Ready(Attended::Cut);
                    }
                    Then::Refuse(limit) => {
                        self.counters.limited(limit);
                        self.wire.borrow_mut().violate(L7Reason::RequestTimeout);
                    }
                    Then::Leave => self.connection.is_ending.set(true),
                    Then::End(limit) => {
                        self.counters.limited(limit);
                        let at_ns = self.clock.now_ns();
                        let patience = ns(self.options.linger_timeout);
                        self.connection.end(at_ns.saturating_add(patience), limit);
                    }
                }
            }
        })
        .await
    }

    /// Waits for the next request, or for the end.
    pub(super) async fn rest(&self) -> Attended<io::Result<()>> {
        let arrival = poll_fn(|context| match self.connection.is_ending.get() {
            true => Poll::Ready(Ok(())),
            false => self.wire.borrow_mut().poll_arrival(context),
        });
        self.serve(pin!(arrival), |_| {}, false).await
    }

    /// Lets two ends speak another protocol. `false`: the connection is to be cut.
    pub(super) async fn tunnel(&self, tunnel: Tunnel) -> bool {
        let mut tunnel = Box::pin(tunnel.join(End(self.wire.clone())));
        let mut alarm = Alarm::default();
        poll_fn(|context| {
            self.connection.is_attended_by(context.waker());
            if let Poll::Ready(over) = tunnel.as_mut().poll(context) {
                if over == Over::Idle {
                    self.counters.limited(Limit::TunnelTime);
                }
                return Poll::Ready(over == Over::Ended);
            }
            let Some((at_ns, limit)) = self.connection.ends_at.get() else {
                return Poll::Pending;
            };
            alarm.poll(&**self.clock, at_ns, context).map(|()| {
                self.counters.limited(limit);
                false
            })
        })
        .await
    }

    /// The next time that something is to be done.
    fn next(&self, is_shut: bool, may_rest: bool) -> Option<(u64, Then)> {
        let (connection, options) = (self.connection, self.options);
        let after = |since: u64, timeout| since.saturating_add(ns(timeout));
        let end = connection.ends_at.get().map(|(at_ns, limit)| match connection.is_idle() {
            true => (at_ns, Then::Leave),
            false => (at_ns, Then::Cut(limit)),
        });
        let blocked = connection.blocked_since.get();
        let rests = may_rest && blocked.is_none();
        let blocked =
            blocked.map(|since| (after(since, options.send_timeout), Then::Cut(Limit::SendTime)));
        let idle_since = connection.idle_since.get();
        let is_first = connection.requests.get() == 0 && !self.is_http2;
        let idle = match connection.head_since.get() {
            _ if connection.in_flight.get() > 0 => None,
            Some(since) => {
                let since = if is_first { idle_since } else { since };
                Some((after(since, options.head_timeout), Then::Refuse(Limit::HeadTime)))
            }
            None if is_shut => None,
            None if is_first => {
                Some((after(idle_since, options.head_timeout), Then::End(Limit::HeadTime)))
            }
            None if rests && self.wire.borrow().is_empty() => {
                Some((after(idle_since, options.rest_after), Then::Rest))
            }
            None => Some((after(idle_since, options.idle_timeout), Then::End(Limit::IdleTime))),
        };
        [end, blocked, idle].into_iter().flatten().min_by_key(|(at_ns, ..)| *at_ns)
    }
}

/// Writes what is left to be said and ends a connection. If the client has not ended it,
/// what it goes on to send is read for a while: if it came and was not read, that would
/// reset the connection, and what was said may be lost by it.
pub(super) async fn finish<S>(stream: &mut S, answer: &[u8], lingers: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if stream.write_all(answer).await.is_err() || stream.shutdown().await.is_err() || !lingers {
        return;
    }
    let (mut bytes, mut left) = ([0; LINGER_READ_MAX], LINGER_BYTES_MAX);
    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}
