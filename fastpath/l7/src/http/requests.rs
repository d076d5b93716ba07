//! A request's journey.

use super::body::{RequestBody, Terms as BodyTerms};
use super::connection::Connection;
use super::counters::{Limit, count};
use super::entry::Entry;
use super::forwarded;
use super::outgoing;
use super::proxy::Proxy;
use super::response::ResponseBody;
use super::seams::{Accept, Forward, Refusal, Sent, Terms};
use super::told::{self, Told};
use super::tunnel::Tunnel;
use super::way::{self, Asked, Seen, Way};
use super::{hops, options};
use crate::names::Names;
use crate::net::Net;
use crate::tcp::Pressure;
use crate::{L7Reason, head};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::{Body, Incoming};
use sluice_tables::l7::HttpRoute;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// Headers that a request has at most.
pub(super) const HEADERS_MAX: usize = 128;

/// Bytes that a target has at most: the library takes no longer ones.
pub(super) const TARGET_BYTES_MAX: usize = 60 << 10;

/// The client has gone before it was answered.
#[derive(Debug)]
pub(super) struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the client has gone")
    }
}

impl std::error::Error for Gone {}

/// Why a request does not come to its end.
enum Stop {
    Refused(L7Reason),
    Gone,
}

impl From<L7Reason> for Stop {
    fn from(reason: L7Reason) -> Self {
        Stop::Refused(reason)
    }
}

type Answer<F> = Response<ResponseBody<<F as Forward>::Body>>;

/// The requests of a connection.
pub(super) struct Requests<N: Net, F: Forward, A: Accept> {
    pub(super) proxy: Proxy<N, F, A>,
    pub(super) connection: Rc<Connection>,
    /// Whoever wants to know whether another protocol is spoken from now on.
    pub(super) answered_upgrade: Rc<dyn Fn(bool)>,
}

impl<N: Net, F: Forward, A: Accept> Clone for Requests<N, F, A> {
    fn clone(&self) -> Self {
        Requests {
            proxy: self.proxy.clone(),
            connection: self.connection.clone(),
            answered_upgrade: self.answered_upgrade.clone(),
        }
    }
}

/// A request, and what is asked of it on its way.
struct Incident {
    head: Parts,
    /// Headers that came with it.
    has: Names,
    body: Incoming,
    host: Option<HeaderValue>,
    /// It may go on with another protocol.
    asks_upgrade: bool,
    entry: Rc<RefCell<Entry>>,
}

impl<N: Net, F: Forward, A: Accept> Requests<N, F, A> {
    /// Answers a request. Whatever happens in it ends it alone.
    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Answer<F>, Gone>> + use<N, F, A> + 'static {
        let this = self.clone();
        let shared = &this.proxy.0;
        count(&shared.book.counters.requests);
        this.count_request();
        let is_http1 = request.version() != Version::HTTP_2;
        let is_http1_0 = request.version() == Version::HTTP_10;
        if !is_http1 {
            this.connection.begin_request();
        }
        let has = Names::of(request.headers());
        // HTTP/1.0 knows of none (RFC 9110 section 7.8).
        let asks_upgrade = request.version() == Version::HTTP_11 && has.has(Names::UPGRADE);
        let (head, body) = request.into_parts();
        let host = way::host(&head);
        let mut entry = Entry::new(&shared.book, &this.connection);
        entry.asks(&head, host.as_ref());
        let entry = Rc::new(RefCell::new(entry));
        let is_head = head.method == Method::HEAD;
        let may_leave_body = is_http1 && !body.is_end_stream();
        let incident = Incident { head, has, body, host, asks_upgrade, entry: entry.clone() };
        async move {
            let mut answer = {
                let mut journey = pin!(this.journey(incident));
                let caught = poll_fn(|context| {
                    let polled = AssertUnwindSafe(|| journey.as_mut().poll(context));
                    catch_unwind(polled)
                        .unwrap_or(Poll::Ready(Err(Stop::Refused(L7Reason::Internal))))
                });
                match caught.await {
                    Ok(answer) => answer,
                    Err(Stop::Refused(reason)) => {
                        this.refuse(reason, entry, is_head, may_leave_body)
                    }
                    Err(Stop::Gone) => return Err(Gone),
                }
            };
            let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
            if asks_upgrade {
                (this.answered_upgrade)(switches);
            }
            // HTTP/1.0 knows of no chunks: what is of unknown length ends with its connection
            // (RFC 9112 section 6.3).
            let is_end_of_body = is_http1_0 && answer.body().size_hint().exact().is_none();
            let is_last = is_end_of_body || this.connection.is_ending.get();
            if is_http1 && !switches && is_last {
                this.say_close(&mut answer);
            }
            *answer.version_mut() = match is_http1 {
                false => Version::HTTP_2,
                // Else the library says beside it that the connection stays.
                true if is_http1_0 && this.connection.has_said_close.get() => Version::HTTP_10,
                true => Version::HTTP_11,
            };
            Ok(answer)
        }
    }

    /// One that is the last ends its connection.
    fn count_request(&self) {
        let requests = self.connection.requests.get().saturating_add(1);
        self.connection.requests.set(requests);
        let shared = &self.proxy.0;
        if requests == shared.options.requests_max {
            shared.book.counters.limited(Limit::Requests);
            self.connection.is_ending.set(true);
            self.connection.wake();
        }
        if self.proxy.is_leaving() && !self.connection.is_ending.replace(true) {
            self.connection.wake();
        }
    }

    /// Where too much memory is used, a request is not served, and is its connection's last.
    fn mind_memory(&self) -> Result<(), L7Reason> {
        let shared = &self.proxy.0;
        let pressure = shared.net.pressure(self.connection.listener);
        if pressure >= Pressure::Ends && !self.connection.is_ending.replace(true) {
            shared.book.counters.limited(Limit::Memory);
            self.connection.wake();
        }
        if pressure >= Pressure::Requests { Err(L7Reason::OutOfMemory) } else { Ok(()) }
    }

    fn refuse(
        &self,
        reason: L7Reason,
        entry: Rc<RefCell<Entry>>,
        is_head: bool,
        closes: bool,
    ) -> Answer<F> {
        entry.borrow_mut().refuse(reason);
        let (status, headers, body) = self.proxy.0.answers.of(reason);
        let len = body.len();
        let body = (!is_head).then_some(body);
        let mut answer = Response::new(ResponseBody::own(body, entry));
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        if is_head {
            answer.headers_mut().insert(header::CONTENT_LENGTH, len.into());
        }
        if closes {
            self.say_close(&mut answer);
        }
        answer
    }

    fn say_close(&self, answer: &mut Answer<F>) {
        answer.headers_mut().insert(header::CONNECTION, outgoing::CLOSE);
        self.connection.has_said_close.set(true);
    }

    async fn journey(&self, incident: Incident) -> Result<Answer<F>, Stop> {
        let Incident { mut head, has, body, host, asks_upgrade, entry } = incident;
        self.mind_memory()?;
        let (way, told) = self.way(&head, host.as_ref(), &entry)?;
        let leaves_body = head.version != Version::HTTP_2 && !body.is_end_stream();
        let (route, upstream, target) = match way {
            Way::Redirect(location) => {
                let mut answer =
                    self.own_answer(StatusCode::PERMANENT_REDIRECT, leaves_body, entry);
                answer.headers_mut().insert(header::LOCATION, location);
                return Ok(answer);
            }
            Way::Upstream { route, upstream, target } => (route, upstream, target),
        };
        if let Some(status) = hops::count_hop(&head.method, &mut head.headers)? {
            return Ok(self.own_answer(status, leaves_body, entry));
        }
        let body = self.body(body, &route, &entry)?;
        let switches_to = hops::strip_request(&mut head.headers, has)
            .filter(|_| asks_upgrade && body.is_empty() && !upstream.protocol.is_http2());
        if route.client_auth.is_some() {
            forwarded::strip_certificate(&mut head.headers);
        }
        forwarded::strip_claims(&mut head.headers, has, told);
        forwarded::tell(&mut head.headers, &self.connection, told, host.as_ref());
        entry.borrow_mut().request_id =
            outgoing::set_request_id(&mut head.headers, told.is_trusted);
        outgoing::set_body(&mut head.headers, &body, &upstream);
        if let Some(protocol) = &switches_to {
            hops::set_upgrade(&mut head.headers, protocol.clone());
        }
        let request = outgoing::request((head, has), target, host, &upstream, body)?;
        // It is moved no more than it has to be.
        let sending = self.proxy.0.forward.send(&upstream, request, self.terms(&route, told));
        let sent = self.sent(sending.await, &entry)?;
        self.pass_back(sent, switches_to.is_some(), &route, entry)
    }

    /// Finds out where a request goes, in the tables of this moment.
    fn way(
        &self,
        head: &Parts,
        host: Option<&HeaderValue>,
        entry: &RefCell<Entry>,
    ) -> Result<(Way, Told), L7Reason> {
        let shared = &self.proxy.0;
        if head.version == Version::HTTP_2 {
            head::check_parts(head, &shared.options.head)?;
        }
        let tables = shared.tables.borrow();
        let listener = tables.listener(self.connection.listener).ok_or(L7Reason::Stopping)?;
        let told = told::told(
            &head.headers,
            self.connection.ends.get().client.ip(),
            self.connection.is_encrypted(),
            &listener.trusted,
        );
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (tls, mut seen) = (self.connection.tls.borrow(), Seen::default());
        let peer = self.connection.peer.ip();
        let asked = Asked { head, host, tls: tls.as_deref(), told, peer };
        let way = way::find(&tables, listener, &asked, &mut seen);
        let entry = &mut *entry.borrow_mut();
        entry.real_client = told.client;
        (entry.route, entry.upstream) = (seen.route, seen.upstream);
        Ok((way?, told))
    }

    /// What the gateway says itself without a refusal, and without a body.
    fn own_answer(
        &self,
        status: StatusCode,
        leaves_body: bool,
        entry: Rc<RefCell<Entry>>,
    ) -> Answer<F> {
        entry.borrow_mut().status = status.as_u16();
        let mut answer = Response::new(ResponseBody::own(None, entry));
        *answer.status_mut() = status;
        answer.headers_mut().insert(header::DATE, self.proxy.0.answers.date());
        if leaves_body {
            self.say_close(&mut answer);
        }
        answer
    }

    fn body(
        &self,
        body: Incoming,
        route: &HttpRoute,
        entry: &RefCell<Entry>,
    ) -> Result<RequestBody, L7Reason> {
        let shared = &self.proxy.0;
        let bytes_max = way::body_bytes_max(route, &shared.options);
        if body.size_hint().lower() > bytes_max {
            return Err(L7Reason::BodyTooLarge);
        }
        let (body, meter) = RequestBody::new(
            body,
            BodyTerms {
                bytes_max,
                trailers_max: shared.options.head.headers,
                idle_ns: options::ns(shared.options.body_timeout),
                clock: shared.book.clock.clone(),
                violation: self.connection.violation.clone(),
            },
        );
        entry.borrow_mut().meter = meter;
        Ok(body)
    }

    /// On what terms a request is sent.
    fn terms(&self, route: &HttpRoute, told: Told) -> Terms {
        let ends = self.connection.ends.get();
        Terms {
            ends: (ends.client, ends.local),
            connect_timeout: route.connect_timeout,
            read_timeout: route.read_timeout,
            send_timeout: route.send_timeout,
            client: told.client,
        }
    }

    /// Notes what became of a request.
    fn sent(
        &self,
        sent: Result<Sent<F::Body>, Refusal>,
        entry: &RefCell<Entry>,
    ) -> Result<Sent<F::Body>, Stop> {
        let entry = &mut *entry.borrow_mut();
        match sent {
            Ok(sent) => {
                entry.upstream_ns = Some(entry.elapsed_ns());
                (entry.endpoint, entry.attempts) = (Some(sent.endpoint), sent.attempts);
                Ok(sent)
            }
            Err(refusal) => {
                (entry.endpoint, entry.attempts) = (refusal.endpoint, refusal.attempts);
                // What was wrong with the body is why it was not sent.
                Err(match entry.meter.as_ref().and_then(|meter| meter.failed.get()) {
                    Some(failed) => failed.0.map_or(Stop::Gone, Stop::Refused),
                    None => Stop::Refused(refusal.reason),
                })
            }
        }
    }

    fn pass_back(
        &self,
        sent: Sent<F::Body>,
        asks_upgrade: bool,
        route: &HttpRoute,
        entry: Rc<RefCell<Entry>>,
    ) -> Result<Answer<F>, Stop> {
        let mut response = sent.response;
        let has = Names::of(response.headers());
        let protocol = hops::strip_response(response.headers_mut(), has);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let endpoint = sent.upgrade.filter(|_| asks_upgrade);
            let (Some(endpoint), Some(protocol)) = (endpoint, protocol) else {
                return Err(L7Reason::UpstreamProtocol.into());
            };
            entry.borrow_mut().status = response.status().as_u16();
            let clock = self.proxy.0.book.clock.clone();
            let (entry_of, idle) = (entry.clone(), route.read_timeout);
            let joined = Tunnel { endpoint, entry: entry_of, clock, idle };
            *self.connection.tunnel.borrow_mut() = Some(joined);
            hops::set_upgrade(response.headers_mut(), protocol);
            return Ok(response.map(|_| ResponseBody::own(None, entry)));
        }
        if response.status().is_informational() {
            return Err(L7Reason::UpstreamProtocol.into());
        }
        entry.borrow_mut().status = response.status().as_u16();
        // Connection may have named it.
        if !has.has(Names::DATE) || has.has(Names::CONNECTION) {
            let date = || self.proxy.0.answers.date();
            response.headers_mut().entry(header::DATE).or_insert_with(date);
        }
        Ok(response.map(|body| ResponseBody::endpoint(body, entry)))
    }
}
