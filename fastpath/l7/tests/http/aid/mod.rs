//! Clients, endpoints and tables for tests.

mod client;
mod net;
mod tables;
mod upstreams;

pub use client::{Answer, Client, Client2, PREFACE, answers_of, get_of_stream, h2_request};
pub use net::{FakeTls, Pipe, TestNet, client_hello, client_hello_of};
pub use tables::{ListenerSpec, listener, route, tables};
pub use upstreams::{Reply, Seen, Upstreams, served_by};

use sluice_l7::L7Reason;
use sluice_l7::http::{ConnectionRecord, Observer, Proxy, ProxyOptions, Record};
use sluice_l7::kernel::KernelNet;
use sluice_l7::net::Net;
use sluice_tables::l7::ListenerId;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Where clients come from, unless something else is said.
pub const CLIENT: &str = "192.0.2.1:40000";

/// Where they go to.
pub const GATEWAY: &str = "10.0.0.1:80";

/// Runs a test by a clock that goes on at once when everybody waits.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// What the log says of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    pub method: String,
    pub host: String,
    pub path: String,
    pub protocol: &'static str,
    pub real_client: String,
    pub status: u16,
    pub reason: Option<L7Reason>,
    pub is_aborted: bool,
    pub bytes: (u64, u64),
    pub upstream: Option<String>,
    pub endpoint: Option<SocketAddr>,
    pub attempts: u8,
    pub route: Option<String>,
    pub request_id: String,
    pub duration_ns: u64,
    pub server_name: Option<String>,
    pub json: String,
}

#[derive(Default)]
pub struct Log {
    pub requests: RefCell<Vec<Logged>>,
    pub opened: Cell<u32>,
    pub closed: Cell<u32>,
}

impl Observer for Log {
    fn request(&self, record: &Record<'_>) {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let mut json = Vec::new();
        sluice_l7::http::access_log::json(record, &mut json);
        self.requests.borrow_mut().push(Logged {
            method: record.method.into(),
            host: text(record.host),
            path: record.path.into(),
            protocol: record.protocol,
            real_client: record.real_client.to_string(),
            status: record.status,
            reason: record.reason,
            is_aborted: record.is_aborted,
            bytes: (record.bytes_in, record.bytes_out),
            upstream: record.upstream.map(Into::into),
            endpoint: record.endpoint,
            attempts: record.attempts,
            route: record.route.map(|route| route.object.to_string()),
            request_id: text(record.request_id),
            duration_ns: record.duration_ns,
            server_name: record.tls.and_then(|tls| tls.server_name.as_deref().map(Into::into)),
            json: String::from_utf8(json).unwrap(),
        });
    }

    fn connection_opened(&self, _: &ConnectionRecord<'_>) {
        self.opened.set(self.opened.get() + 1);
    }

    fn connection_closed(&self, _: &ConnectionRecord<'_>) {
        self.closed.set(self.closed.get() + 1);
    }
}

/// A gateway, everybody behind it, and what they have seen.
pub struct World {
    pub net: TestNet,
    pub proxy: Proxy<TestNet, Upstreams, FakeTls>,
    pub upstreams: Upstreams,
    pub log: Rc<Log>,
}

impl World {
    pub fn new(options: ProxyOptions, listeners: Vec<ListenerSpec>) -> World {
        World::with(options, listeners, Upstreams::answering(|_| Reply::text("hello")))
    }

    pub fn with(
        options: ProxyOptions,
        listeners: Vec<ListenerSpec>,
        upstreams: Upstreams,
    ) -> World {
        World::on(TestNet::new(KernelNet::new()), options, listeners, upstreams)
    }

    pub fn on(
        net: TestNet,
        options: ProxyOptions,
        listeners: Vec<ListenerSpec>,
        upstreams: Upstreams,
    ) -> World {
        let log = Rc::new(Log::default());
        let proxy = Proxy::new(net.clone(), options, upstreams.clone(), FakeTls, log.clone());
        proxy.set_tables(tables(listeners));
        World { net, proxy, upstreams, log }
    }

    /// With one listener, all of whose requests are served.
    pub fn simple() -> World {
        World::new(ProxyOptions::default(), vec![listener("http").route(route("", "/"))])
    }

    /// A client of the first listener.
    pub fn client(&self) -> Client {
        self.client_from(CLIENT)
    }

    pub fn client_from(&self, from: &str) -> Client {
        self.client_of(0, from)
    }

    pub fn client_of(&self, listener: u16, from: &str) -> Client {
        let (theirs, ours) = tokio::io::duplex(64 << 10);
        let addrs = (GATEWAY.parse().unwrap(), from.parse().unwrap());
        let (stream, is_aborted) = Pipe::new(ours, addrs);
        self.net.spawn(self.proxy.serve(stream, ListenerId(listener)));
        Client::new(theirs, is_aborted)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.upstreams.seen.borrow().clone()
    }

    pub fn logged(&self) -> Vec<Logged> {
        self.log.requests.borrow().clone()
    }
}

/// Lets everybody do what there is to do, and a time go by.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}
