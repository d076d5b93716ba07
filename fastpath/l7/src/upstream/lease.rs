use super::host::{Host, Owner};
use super::link::Link;
use super::sent::SentBody;
use crate::clock::Alarm;
use futures_util::future::Either;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::rc::Rc;

/// A connection for HTTP/1.1 without a request.
pub(super) struct Idle<B> {
    sender: http1::SendRequest<SentBody<B>>,
    link: Rc<Link<B>>,
    alarm: Alarm,
    pub(super) since_ns: u64,
}

impl<B> Idle<B> {
    pub(super) fn is_of(&self, link: &Rc<Link<B>>) -> bool {
        Rc::ptr_eq(&self.link, link)
    }

    /// It carries requests of this one.
    pub(super) fn is_for(&self, owner: Owner) -> bool {
        self.link.owner == owner
    }

    /// The last request has left it altogether.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready() && !self.link.is_closed()
    }

    pub(super) fn lease(self, host: Rc<Host<B>>) -> Lease<B> {
        Lease::new(host, self.link, self.alarm, Kind::One(self.sender))
    }
}

/// A connection for HTTP/2.
pub(super) struct Multi<B> {
    sender: RefCell<http2::SendRequest<SentBody<B>>>,
    link: Rc<Link<B>>,
    streams: Cell<usize>,
    /// How many the endpoint lets.
    streams_max: Box<dyn Fn() -> usize>,
    unused_since_ns: Cell<u64>,
}

impl<B> Multi<B> {
    pub(super) fn new(
        sender: http2::SendRequest<SentBody<B>>,
        link: Rc<Link<B>>,
        streams_max: Box<dyn Fn() -> usize>,
    ) -> Rc<Self> {
        Rc::new(Multi {
            sender: RefCell::new(sender),
            link,
            streams: Cell::default(),
            streams_max,
            unused_since_ns: Cell::default(),
        })
    }

    pub(super) fn is_of(&self, link: &Rc<Link<B>>) -> bool {
        Rc::ptr_eq(&self.link, link)
    }

    /// It carries requests of this one.
    pub(super) fn is_for(&self, owner: Owner) -> bool {
        self.link.owner == owner
    }

    pub(super) fn is_closed(&self) -> bool {
        self.link.is_closed() || self.sender.borrow().is_closed()
    }

    pub(super) fn has_stream(&self, streams_max: usize) -> bool {
        self.streams.get() < streams_max.min((self.streams_max)())
    }

    pub(super) fn is_unused(&self) -> bool {
        self.streams.get() == 0
    }

    pub(super) fn unused_since_ns(&self) -> Option<u64> {
        self.is_unused().then(|| self.unused_since_ns.get())
    }
}

/// A connection, or a stream of one, for one request. If it is dropped before the request
/// is over, a connection for HTTP/1.1 ends.
pub(super) struct Lease<B> {
    pub(super) host: Rc<Host<B>>,
    pub(super) link: Rc<Link<B>>,
    pub(super) alarm: Alarm,
    kind: Kind<B>,
    /// It has carried a request before.
    pub(super) is_reused: bool,
    /// What had come before the request.
    read_before: u64,
}

pub(super) enum Kind<B> {
    One(http1::SendRequest<SentBody<B>>),
    Many(Rc<Multi<B>>),
    Over,
}

type Answered<B> = Result<Response<Incoming>, TrySendError<Request<SentBody<B>>>>;

impl<B> Lease<B> {
    pub(super) fn new(host: Rc<Host<B>>, link: Rc<Link<B>>, alarm: Alarm, kind: Kind<B>) -> Self {
        let requests = link.requests.get();
        link.requests.set(requests.saturating_add(1));
        link.set_request(matches!(kind, Kind::One(_)));
        let read_before = link.read();
        Lease { host, link, alarm, kind, is_reused: requests > 0, read_before }
    }

    pub(super) fn stream(host: Rc<Host<B>>, multi: Rc<Multi<B>>) -> Self {
        multi.streams.set(multi.streams.get() + 1);
        Lease::new(host, multi.link.clone(), Alarm::default(), Kind::Many(multi))
    }

    /// Nothing has come since it was leased.
    pub(super) fn is_silent(&self) -> bool {
        self.link.read() == self.read_before
    }

    /// The request is over. The connection is kept if it has left it altogether.
    pub(super) fn finish(mut self, is_sent: bool) {
        if !is_sent || self.link.is_closed() {
            return;
        }
        match std::mem::replace(&mut self.kind, Kind::Over) {
            Kind::One(sender) => {
                let (link, alarm) = (self.link.clone(), std::mem::take(&mut self.alarm));
                let since_ns = self.host.shared.now_ns();
                link.set_request(false);
                self.host.keep(Idle { sender, link, alarm, since_ns });
            }
            kind => self.kind = kind,
        }
    }

    /// The connection goes on with another protocol.
    pub(super) fn leave(mut self) {
        self.link.set_request(false);
        self.kind = Kind::Over;
    }
}

impl<B: 'static> Lease<B>
where
    SentBody<B>: Body,
{
    pub(super) fn send(
        &mut self,
        request: Request<SentBody<B>>,
    ) -> impl Future<Output = Answered<B>> + use<B> {
        match &mut self.kind {
            Kind::One(sender) => Either::Left(Either::Left(sender.try_send_request(request))),
            Kind::Many(multi) => {
                let sent = multi.sender.borrow_mut().try_send_request(request);
                Either::Left(Either::Right(sent))
            }
            // Who makes it so has consumed the lease.
            Kind::Over => Either::Right(pending()),
        }
    }
}

impl<B> Drop for Lease<B> {
    fn drop(&mut self) {
        match &mut self.kind {
            Kind::Over => {}
            Kind::One(_) => self.link.doom(),
            Kind::Many(multi) => {
                multi.streams.set(multi.streams.get() - 1);
                multi.unused_since_ns.set(self.host.shared.now_ns());
                self.host.serve_waiting();
                self.host.close_unused();
            }
        }
    }
}
