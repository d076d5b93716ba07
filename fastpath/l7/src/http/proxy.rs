use super::answers::Answers;
use super::connection::Connection;
use super::counters::{HttpCounters, HttpCounts, Limit, count};
use super::entry::Book;
use super::options::{ProxyOptions, ns};
use super::record::{ConnectionRecord, Observer};
use super::requests::{HEADERS_MAX, TARGET_BYTES_MAX};
use super::runtime::Timing;
use super::seams::{Accept, Forward};
use super::serve;
use crate::clock;
use crate::net::{Net, Stream};
use hashbrown::HashMap;
use sluice_tables::l7::{L7, ListenerId};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Serves clients' connections: takes requests apart, finds their routes, and has them
/// sent on. Cloning it copies a pointer.
pub struct Proxy<N: Net, F: Forward, A: Accept>(pub(super) Rc<Shared<N, F, A>>);

impl<N: Net, F: Forward, A: Accept> Clone for Proxy<N, F, A> {
    fn clone(&self) -> Self {
        Proxy(self.0.clone())
    }
}

pub(super) struct Shared<N, F, A> {
    pub(super) net: N,
    pub(super) options: ProxyOptions,
    pub(super) forward: F,
    pub(super) accept: A,
    pub(super) tables: RefCell<L7>,
    pub(super) book: Rc<Book>,
    pub(super) answers: Answers,
    pub(super) timing: Timing,
    connections: RefCell<Connections>,
    /// When everything is over.
    ends_at: Cell<Option<u64>>,
}

/// Everybody who is served.
#[derive(Default)]
struct Connections {
    all: HashMap<u64, Rc<Connection>>,
    next: u64,
    /// How many there are of each listener.
    of_listeners: Vec<u32>,
    /// Who waits until there are none.
    waiting: Vec<Waker>,
}

impl<N: Net, F: Forward, A: Accept> Proxy<N, F, A> {
    /// A proxy without tables, which serves nobody yet.
    pub fn new(
        net: N,
        mut options: ProxyOptions,
        upstreams: F,
        handshakes: A,
        observer: Rc<dyn Observer>,
    ) -> Self {
        options.head.headers = options.head.headers.min(HEADERS_MAX);
        options.head.target_bytes = options.head.target_bytes.min(TARGET_BYTES_MAX);
        let clock = clock::of(&net);
        Proxy(Rc::new(Shared {
            net,
            forward: upstreams,
            accept: handshakes,
            tables: RefCell::default(),
            answers: Answers::new(options.shows_reason, clock.clone()),
            timing: Timing::new(clock.clone()),
            book: Rc::new(Book { clock, counters: HttpCounters::default(), observer }),
            connections: RefCell::default(),
            ends_at: Cell::new(None),
            options,
        }))
    }

    /// Serves by other tables from the next request on. Connections stay, but for those
    /// of listeners that have gone: these are drained. What is answered is the tables
    /// before, to be freed wherever there is time for it.
    pub fn set_tables(&self, tables: L7) -> L7 {
        let before = self.0.tables.replace(tables);
        let at_ns = self.now_ns().saturating_add(ns(self.0.options.drain_timeout));
        let tables = self.0.tables.borrow();
        for connection in self.0.connections.borrow().all.values() {
            if tables.listener(connection.listener).is_none() {
                connection.end(at_ns, Limit::DrainTime);
            }
        }
        before
    }

    /// Serves a connection to its end.
    pub fn serve(
        &self,
        stream: N::Stream,
        listener: ListenerId,
    ) -> impl Future<Output = ()> + use<N, F, A> + 'static {
        let (proxy, counts) = (self.clone(), self.clone());
        let mut served = Box::pin(serve::connection(proxy, stream, listener));
        poll_fn(move |context| {
            let polled = AssertUnwindSafe(|| served.as_mut().poll(context));
            catch_unwind(polled).unwrap_or_else(|_| {
                counts.0.book.counters.limited(Limit::Panic);
                Poll::Ready(())
            })
        })
    }

    /// Ends everything in order, until a time (of [`Net::now_ns`]). Whoever comes is served up
    /// to then, since not everybody knows at once that there is somewhere else to go, and is
    /// told with the answer to go there: it is the last one of its connection. Connections that
    /// are idle are ended then, and those with something under way are cut; HTTP/2, in which
    /// nothing is lost by that, is told at once (GOAWAY, RFC 9113 section 6.8).
    pub fn drain(&self, until_ns: u64) {
        self.0.ends_at.set(Some(until_ns));
        for connection in self.0.connections.borrow().all.values() {
            connection.leave(until_ns);
        }
    }

    /// Whether the answers that begin now are the last ones of their connections.
    pub(super) fn is_leaving(&self) -> bool {
        self.0.ends_at.get().is_some()
    }

    /// Waits until there are no connections.
    pub fn ended(&self) -> impl Future<Output = ()> + use<N, F, A> + 'static {
        let proxy = self.clone();
        poll_fn(move |context| {
            let mut connections = proxy.0.connections.borrow_mut();
            if connections.all.is_empty() {
                return Poll::Ready(());
            }
            connections.waiting.push(context.waker().clone());
            Poll::Pending
        })
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.0.connections.borrow().all.len()
    }

    /// Shows each connection.
    pub(super) fn each_connection(&self, show: impl FnMut(&Rc<Connection>)) {
        self.0.connections.borrow().all.values().for_each(show);
    }

    /// What has happened so far.
    pub fn counts(&self) -> HttpCounts {
        self.0.book.counters.snapshot()
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.0.book.clock.now_ns()
    }

    /// Lets a connection in, if it may be. It counts until what is answered is dropped.
    pub(super) fn admit(&self, stream: &impl Stream, id: ListenerId) -> Option<Admitted<N, F, A>> {
        let shared = &self.0;
        let name = shared.tables.borrow().listener(id).map(|listener| listener.name.clone());
        let ends_at = shared.ends_at.get();
        let is_over = ends_at.is_some_and(|end| end <= self.now_ns());
        let Some(name) = name.filter(|_| !is_over) else {
            shared.book.counters.limited(Limit::Stopped);
            return None;
        };
        let mut connections = shared.connections.borrow_mut();
        if *connections.of_listener(id) >= shared.options.connections_max {
            shared.book.counters.limited(Limit::Connections);
            return None;
        }
        *connections.of_listener(id) += 1;
        let ends = (stream.remote(), stream.local());
        let connection = Rc::new(Connection::new(id, name, ends, self.now_ns()));
        connection.ends_at.set(ends_at.map(|end| (end, Limit::DrainTime)));
        let number = connections.next;
        connections.next += 1;
        connections.all.insert(number, connection.clone());
        drop(connections);
        count(&shared.book.counters.connections);
        shared.book.observer.connection_opened(&record(&connection));
        Some(Admitted { proxy: self.clone(), number, connection })
    }
}

impl Connections {
    fn of_listener(&mut self, id: ListenerId) -> &mut u32 {
        let at = usize::from(id.0);
        if self.of_listeners.len() <= at {
            self.of_listeners.resize(at + 1, 0);
        }
        &mut self.of_listeners[at]
    }
}

fn record(connection: &Connection) -> ConnectionRecord<'_> {
    ConnectionRecord {
        listener: &connection.listener_name,
        peer: connection.peer,
        requests: connection.requests.get(),
    }
}

/// A connection that counts.
pub(super) struct Admitted<N: Net, F: Forward, A: Accept> {
    proxy: Proxy<N, F, A>,
    number: u64,
    pub(super) connection: Rc<Connection>,
}

impl<N: Net, F: Forward, A: Accept> Drop for Admitted<N, F, A> {
    fn drop(&mut self) {
        let shared = &self.proxy.0;
        // It may still hold the connection that it joins.
        drop(self.connection.tunnel.take());
        let mut connections = shared.connections.borrow_mut();
        connections.all.remove(&self.number);
        *connections.of_listener(self.connection.listener) -= 1;
        if connections.all.is_empty() {
            connections.waiting.drain(..).for_each(Waker::wake);
        }
        drop(connections);
        shared.book.observer.connection_closed(&record(&self.connection));
    }
}
