use super::body::Meter;
use super::connection::Connection;
use super::counters::HttpCounters;
use super::record::{Observer, Record};
use super::tunnel::Carried;
use crate::L7Reason;
use crate::clock::Clock;
use crate::names::first;
use http::{HeaderValue, Method, Uri, Version, header};
use sluice_tables::l7::{HttpRoute, Upstream};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

/// Where requests that are over go.
pub(super) struct Book {
    pub(super) clock: Rc<dyn Clock>,
    pub(super) counters: HttpCounters,
    pub(super) observer: Rc<dyn Observer>,
}

/// A request, as the log will have it. When it is dropped it is over.
pub(super) struct Entry {
    book: Rc<Book>,
    connection: Rc<Connection>,
    begun_ns: u64,
    unix_ms: u64,
    request: Option<Asked>,
    pub(super) real_client: IpAddr,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) status: u16,
    pub(super) reason: Option<L7Reason>,
    /// The answer has been sent to its end.
    pub(super) is_complete: bool,
    pub(super) meter: Option<Rc<Meter>>,
    /// What went through in another protocol.
    pub(super) carried: Option<Rc<Carried>>,
    pub(super) bytes_out: u64,
    pub(super) upstream_ns: Option<u64>,
    pub(super) upstream: Option<Arc<Upstream>>,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) attempts: u8,
    pub(super) route: Option<Arc<HttpRoute>>,
}

/// What was asked for.
struct Asked {
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
}

impl Entry {
    /// For a request that has begun.
    pub(super) fn new(book: &Rc<Book>, connection: &Rc<Connection>) -> Self {
        Entry {
            begun_ns: book.clock.now_ns(),
            unix_ms: book.clock.unix_ms(),
            request: None,
            real_client: connection.ends.get().client.ip(),
            request_id: None,
            status: 0,
            reason: None,
            is_complete: false,
            meter: None,
            carried: None,
            bytes_out: 0,
            upstream_ns: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            route: None,
            book: book.clone(),
            connection: connection.clone(),
        }
    }

    /// What is asked for is known.
    pub(super) fn asks(&mut self, head: &http::request::Parts, host: Option<&HeaderValue>) {
        self.request = Some(Asked {
            method: head.method.clone(),
            uri: head.uri.clone(),
            version: head.version,
            host: host.cloned(),
            user_agent: first(&head.headers, &header::USER_AGENT).cloned(),
            referer: first(&head.headers, &header::REFERER).cloned(),
        });
    }

    /// How long it has taken so far.
    pub(super) fn elapsed_ns(&self) -> u64 {
        self.book.clock.now_ns().saturating_sub(self.begun_ns)
    }

    /// The gateway itself answers it.
    pub(super) fn refuse(&mut self, reason: L7Reason) {
        self.book.counters.answered(reason);
        self.reason = Some(reason);
        self.status = reason.status();
    }

    fn record(&self) {
        let asked = self.request.as_ref();
        fn bytes(value: Option<&HeaderValue>) -> &[u8] {
            value.map_or(&[], HeaderValue::as_bytes)
        }
        let bytes_in = self.meter.as_ref().map_or(0, |meter| meter.bytes.get());
        let carried = self.carried.as_ref();
        let tls = self.connection.tls.borrow();
        self.book.observer.request(&Record {
            unix_ms: self.unix_ms,
            client: self.connection.ends.get().client,
            real_client: self.real_client,
            listener: &self.connection.listener_name,
            method: asked.map_or("", |asked| asked.method.as_str()),
            host: bytes(asked.and_then(|asked| asked.host.as_ref())),
            path: asked.map_or("", |asked| asked.uri.path()),
            query: asked.and_then(|asked| asked.uri.query()),
            protocol: match asked.map(|asked| asked.version) {
                Some(Version::HTTP_10) => "HTTP/1.0",
                Some(Version::HTTP_2) => "HTTP/2.0",
                _ => "HTTP/1.1",
            },
            status: self.status,
            reason: self.reason,
            is_aborted: !self.is_complete,
            bytes_in: bytes_in + carried.map_or(0, |carried| carried.from_client.get()),
            bytes_out: self.bytes_out + carried.map_or(0, |carried| carried.from_endpoint.get()),
            duration_ns: self.elapsed_ns(),
            upstream_ns: self.upstream_ns,
            upstream: self.upstream.as_ref().map(|upstream| &*upstream.name),
            endpoint: self.endpoint,
            attempts: self.attempts,
            route: self.route.as_deref(),
            request_id: bytes(self.request_id.as_ref()),
            user_agent: bytes(asked.and_then(|asked| asked.user_agent.as_ref())),
            referer: bytes(asked.and_then(|asked| asked.referer.as_ref())),
            tls: tls.as_deref(),
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.record();
        // One whose head was none has not been begun.
        if self.request.is_some() {
            self.connection.end_request(self.book.clock.now_ns());
        }
    }
}
