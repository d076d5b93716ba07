use super::counters::Limit;
use super::listing::Spoken;
use super::seams::Negotiated;
use super::tunnel::Tunnel;
use crate::L7Reason;
use http::HeaderValue;
use sluice_tables::l7::ListenerId;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// A client's connection, as its requests and whoever attends to it see it.
pub(super) struct Connection {
    /// The number of its listener, whose name it had when the connection began.
    pub(super) listener: ListenerId,
    pub(super) listener_name: Arc<str>,
    /// The other end.
    pub(super) peer: SocketAddr,
    pub(super) ends: Cell<Ends>,
    pub(super) begun_ns: u64,
    pub(super) tls: RefCell<Option<Rc<Negotiated>>>,
    pub(super) spoken: Cell<Spoken>,
    /// Bytes that were read and written, as they are without TLS.
    pub(super) bytes: [Cell<u64>; 2],
    /// Requests whose heads have come and that are not over.
    pub(super) in_flight: Cell<u32>,
    /// All that were begun.
    pub(super) requests: Cell<u32>,
    /// Since when there is none in flight.
    pub(super) idle_since: Cell<u64>,
    /// Since when a head is not whole.
    pub(super) head_since: Cell<Option<u64>>,
    /// Since when nothing can be written.
    pub(super) blocked_since: Cell<Option<u64>>,
    /// What was wrong with what came.
    pub(super) violation: Rc<Cell<Option<L7Reason>>>,
    /// No request begins any more.
    pub(super) is_ending: Cell<bool>,
    /// When everything is over, and what counts it.
    pub(super) ends_at: Cell<Option<(u64, Limit)>>,
    /// The client has been told that no other answer follows.
    pub(super) has_said_close: Cell<bool>,
    /// Who attends to it is at it, and looks at everything when that is done.
    pub(super) is_attended: Cell<bool>,
    /// The task that attends to it.
    pub(super) waker: RefCell<Option<Waker>>,
    /// What it goes on with.
    pub(super) tunnel: RefCell<Option<Tunnel>>,
    pub(super) names: RefCell<Names>,
}

/// Between whom requests are, as far as the connection tells: a proxy in front may have
/// spoken for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Values of headers, which are the same for all requests of a connection.
#[derive(Default)]
pub(super) struct Names {
    pub(super) client: Option<HeaderValue>,
    pub(super) port: Option<HeaderValue>,
    /// For the host that was asked for last.
    pub(super) forwarded: Option<(HeaderValue, HeaderValue)>,
}

impl Connection {
    pub(super) fn new(
        listener: ListenerId,
        listener_name: Arc<str>,
        (peer, local): (SocketAddr, SocketAddr),
        now_ns: u64,
    ) -> Self {
        Connection {
            listener,
            listener_name,
            peer,
            ends: Cell::new(Ends { client: peer, local }),
            begun_ns: now_ns,
            tls: RefCell::default(),
            spoken: Cell::default(),
            bytes: Default::default(),
            in_flight: Cell::new(0),
            requests: Cell::new(0),
            idle_since: Cell::new(now_ns),
            head_since: Cell::new(None),
            blocked_since: Cell::new(None),
            violation: Rc::default(),
            is_ending: Cell::new(false),
            ends_at: Cell::new(None),
            has_said_close: Cell::new(false),
            is_attended: Cell::new(false),
            waker: RefCell::default(),
            tunnel: RefCell::default(),
            names: RefCell::default(),
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.tls.borrow().is_some()
    }

    /// So many bytes were read.
    pub(super) fn has_read(&self, bytes: usize) {
        self.bytes[0].set(self.bytes[0].get().wrapping_add(bytes as u64));
    }

    /// So many bytes were written.
    pub(super) fn has_written(&self, bytes: usize) {
        self.bytes[1].set(self.bytes[1].get().wrapping_add(bytes as u64));
    }

    /// A head has come.
    pub(super) fn begin_request(&self) {
        self.in_flight.set(self.in_flight.get().saturating_add(1));
    }

    /// A request is over.
    pub(super) fn end_request(&self, now_ns: u64) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        if self.in_flight.get() == 0 {
            self.idle_since.set(now_ns);
            // Whoever attends to it has another time to look at.
            self.wake();
        }
    }

    /// No request begins any more, and everything is over at a time.
    pub(super) fn end(&self, at_ns: u64, limit: Limit) {
        self.is_ending.set(true);
        self.over_at(at_ns, limit);
    }

    /// Everything is over at a time. Where something is under way nothing follows it; where
    /// nothing is, one more request may: it may be on its way.
    pub(super) fn leave(&self, at_ns: u64) {
        if self.in_flight.get() > 0 || self.spoken.get() == Spoken::Http2 {
            self.is_ending.set(true);
        }
        self.over_at(at_ns, Limit::DrainTime);
    }

    fn over_at(&self, at_ns: u64, limit: Limit) {
        if self.ends_at.get().is_none_or(|(before, _)| at_ns < before) {
            self.ends_at.set(Some((at_ns, limit)));
        }
        self.wake();
    }

    /// Nothing is under way, and nobody has ended it.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.get() == 0 && self.head_since.get().is_none() && !self.is_ending.get()
    }

    /// What counts that something has not come in time: its own limit, unless it is
    /// everything that has to be over.
    pub(super) fn limit(&self, now_ns: u64, own: Limit) -> Limit {
        self.ends_at.get().filter(|(end, _)| now_ns >= *end).map_or(own, |(_, limit)| limit)
    }

    /// Who is woken when there is something to attend to.
    pub(super) fn is_attended_by(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    pub(super) fn wake(&self) {
        if self.is_attended.get() {
            return;
        }
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
