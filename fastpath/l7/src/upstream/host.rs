use super::counters::count;
use super::health::Health;
use super::lease::{Idle, Lease, Multi};
use super::link::Link;
use super::shared::Shared;
use crate::clock::after;
use sluice_tables::l7::{BackendProtocol, Upstream};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::sync::oneshot;

/// Whose requests a connection carries alone: of the client's connection with these ends.
/// `None`: anybody's.
pub(super) type Owner = Option<(SocketAddr, SocketAddr)>;

/// A request that waits, and whose it is.
type Waiting<B> = (oneshot::Sender<Grant<B>>, Owner);

/// What a worker has of an endpoint.
pub(super) struct Host<B> {
    pub(super) shared: Rc<Shared>,
    pub(super) addr: SocketAddr,
    pub(super) health: Health,
    pub(super) protocol: BackendProtocol,
    pub(super) sends_proxy_protocol: bool,
    /// Requests that are not over.
    outstanding: Cell<usize>,
    connections: Cell<usize>,
    /// Connections without a request, the longest unused first.
    idle: RefCell<VecDeque<Idle<B>>>,
    /// Connections for HTTP/2.
    multi: RefCell<Vec<Rc<Multi<B>>>>,
    /// One for HTTP/2 is being made: others wait and share it.
    is_opening: Cell<bool>,
    waiting: RefCell<VecDeque<Waiting<B>>>,
    is_gone: Cell<bool>,
}

/// What a request that waits is given.
pub(super) enum Grant<B> {
    Lease(Lease<B>),
    Slot(Slot<B>),
}

/// How a request comes to a connection.
pub(super) enum Turn<B> {
    /// There is one.
    Now(Grant<B>),
    /// In its turn.
    Wait(oneshot::Receiver<Grant<B>>),
    /// Too many wait.
    Full,
}

impl<B> Host<B> {
    pub(super) fn new(shared: Rc<Shared>, addr: SocketAddr, upstream: &Upstream) -> Rc<Self> {
        Rc::new(Host {
            shared,
            addr,
            health: Health::default(),
            protocol: upstream.protocol,
            sends_proxy_protocol: upstream.sends_proxy_protocol,
            outstanding: Cell::default(),
            connections: Cell::default(),
            idle: RefCell::default(),
            multi: RefCell::default(),
            is_opening: Cell::default(),
            waiting: RefCell::default(),
            is_gone: Cell::default(),
        })
    }

    /// Whether it is still spoken to as an upstream says.
    pub(super) fn is_of(&self, upstream: &Upstream) -> bool {
        self.protocol == upstream.protocol
            && self.sends_proxy_protocol == upstream.sends_proxy_protocol
    }

    pub(super) fn is_http2(&self) -> bool {
        self.protocol.is_http2()
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.get()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.get()
    }

    pub(super) fn idle(&self) -> usize {
        let unused = |multi: &&Rc<Multi<B>>| multi.is_unused();
        self.idle.borrow().len() + self.multi.borrow().iter().filter(unused).count()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.borrow().iter().filter(|(waiting, _)| !waiting.is_closed()).count()
    }

    /// A connection for a request, `is_fresh`: that has not carried one yet.
    pub(super) fn turn(self: &Rc<Self>, is_fresh: bool, owner: Owner) -> Turn<B> {
        if let Some(grant) = self.grant(is_fresh, owner) {
            return Turn::Now(grant);
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= self.shared.config.waiting_per_endpoint_max {
            waiting.retain(|(waiting, _)| !waiting.is_closed());
        }
        if waiting.len() >= self.shared.config.waiting_per_endpoint_max {
            return Turn::Full;
        }
        let (sender, receiver) = oneshot::channel();
        waiting.push_back((sender, owner));
        count(&self.shared.counting.waited);
        Turn::Wait(receiver)
    }

    fn grant(self: &Rc<Self>, is_fresh: bool, owner: Owner) -> Option<Grant<B>> {
        let lease = match self.is_http2() {
            true => self.stream(owner),
            false if is_fresh => None,
            false => self.take_idle(owner),
        };
        let granted = lease.map(Grant::Lease).or_else(|| self.slot().map(Grant::Slot));
        if granted.is_none() && owner.is_some() {
            self.make_room();
        }
        granted
    }

    /// Closes a connection without a request where others keep all that there may be.
    fn make_room(&self) {
        if self.connections.get() < self.shared.config.connections_per_endpoint_max {
            return;
        }
        if !self.idle.borrow().is_empty() {
            return self.close_oldest();
        }
        let unused = {
            let mut multi = self.multi.borrow_mut();
            let at = multi.iter().position(|multi| multi.is_unused());
            at.map(|at| multi.remove(at))
        };
        if unused.is_some() {
            count(&self.shared.counting.idle_closed);
        }
    }

    /// The connection that was used last: the others may become old enough to be closed.
    fn take_idle(self: &Rc<Self>, owner: Owner) -> Option<Lease<B>> {
        let now_ns = self.shared.now_ns();
        self.expire(now_ns);
        let mut idle = self.idle.borrow_mut();
        let at = idle.iter().rposition(|idle| idle.is_for(owner) && idle.is_ready())?;
        let taken = idle.remove(at)?;
        self.shared.idle.set(self.shared.idle.get() - 1);
        Some(taken.lease(self.clone()))
    }

    /// A stream of a connection for HTTP/2 that has one left.
    fn stream(self: &Rc<Self>, owner: Owner) -> Option<Lease<B>> {
        let streams_max = self.shared.config.h2_streams_max;
        let mut multi = self.multi.borrow_mut();
        multi.retain(|multi| !multi.is_closed());
        let is_free = |multi: &&Rc<Multi<B>>| multi.is_for(owner) && multi.has_stream(streams_max);
        let multi = multi.iter().find(is_free)?;
        Some(Lease::stream(self.clone(), multi.clone()))
    }

    /// The right to open a connection.
    fn slot(self: &Rc<Self>) -> Option<Slot<B>> {
        let connections = self.connections.get();
        let is_full = connections >= self.shared.config.connections_per_endpoint_max;
        if is_full || (self.is_http2() && self.is_opening.get()) {
            return None;
        }
        self.connections.set(connections + 1);
        self.shared.connections.set(self.shared.connections.get() + 1);
        let opening = self.is_http2().then(|| {
            self.is_opening.set(true);
            Opening(self.clone())
        });
        Some(Slot { host: self.clone(), opening })
    }

    /// Gives those who wait what there is.
    pub(super) fn serve_waiting(self: &Rc<Self>) {
        loop {
            let next = {
                let mut waiting = self.waiting.borrow_mut();
                while waiting.front().is_some_and(|(waiting, _)| waiting.is_closed()) {
                    waiting.pop_front();
                }
                waiting.pop_front()
            };
            let Some((next, owner)) = next else { return };
            let Some(grant) = self.grant(false, owner) else {
                self.waiting.borrow_mut().push_front((next, owner));
                return;
            };
            // It is there, as was seen: nothing is lost.
            let _ = next.send(grant);
        }
    }

    /// A connection's request is over.
    pub(super) fn keep(self: &Rc<Self>, idle: Idle<B>) {
        let counting = &self.shared.counting;
        if self.is_gone.get() {
            return count(&counting.idle_closed);
        }
        self.idle.borrow_mut().push_back(idle);
        self.shared.idle.set(self.shared.idle.get() + 1);
        self.serve_waiting();
        let config = &self.shared.config;
        let is_over = self.idle.borrow().len() > config.idle_per_endpoint_max
            || self.shared.idle.get() > config.idle_max;
        if is_over {
            self.close_oldest();
        }
        self.close_unused();
    }

    /// Closes what has no request, where none are kept any more.
    pub(super) fn close_unused(&self) {
        if self.shared.is_ending.get() {
            self.expire(self.shared.now_ns());
        }
    }

    pub(super) fn add(&self, multi: Rc<Multi<B>>) {
        if !self.is_gone.get() {
            self.multi.borrow_mut().push(multi);
        }
    }

    fn close_oldest(&self) {
        let oldest = self.idle.borrow_mut().pop_front();
        if oldest.is_some() {
            self.shared.idle.set(self.shared.idle.get() - 1);
            count(&self.shared.counting.idle_closed);
        }
    }

    /// Closes what has had no request for long.
    pub(super) fn expire(&self, now_ns: u64) {
        let config = &self.shared.config;
        let is_ending = self.shared.is_ending.get();
        let is_old = |since_ns, timeout| is_ending || after(since_ns, timeout) <= now_ns;
        let oldest_ns = || self.idle.borrow().front().map(|idle| idle.since_ns);
        while oldest_ns().is_some_and(|since_ns| is_old(since_ns, config.idle_timeout)) {
            self.close_oldest();
        }
        self.multi.borrow_mut().retain(|multi| {
            let since_ns = multi.unused_since_ns();
            let is_old = since_ns.is_some_and(|since_ns| is_old(since_ns, config.h2_idle_timeout));
            if is_old {
                count(&self.shared.counting.idle_closed);
            }
            !is_old && !multi.is_closed()
        });
    }

    /// A connection has ended.
    pub(super) fn forget(&self, link: &Rc<Link<B>>) {
        let gone = {
            let mut idle = self.idle.borrow_mut();
            let at = idle.iter().position(|idle| idle.is_of(link));
            at.and_then(|at| idle.remove(at))
        };
        if gone.is_some() {
            self.shared.idle.set(self.shared.idle.get() - 1);
        }
        self.multi.borrow_mut().retain(|multi| !multi.is_of(link));
    }

    /// The endpoint has gone: what runs ends in peace, and nothing begins.
    pub(super) fn go(&self) {
        self.is_gone.set(true);
        while !self.idle.borrow().is_empty() {
            self.close_oldest();
        }
        let multi = self.multi.take();
        multi.iter().filter(|multi| multi.is_unused()).for_each(|_| {
            count(&self.shared.counting.idle_closed);
        });
        self.waiting.take();
    }
}

/// The right to have a connection.
pub(super) struct Slot<B> {
    host: Rc<Host<B>>,
    /// While it is being made.
    pub(super) opening: Option<Opening<B>>,
}

impl<B> Drop for Slot<B> {
    fn drop(&mut self) {
        let (host, shared) = (&self.host, &self.host.shared);
        host.connections.set(host.connections.get() - 1);
        shared.connections.set(shared.connections.get() - 1);
        host.serve_waiting();
    }
}

/// A connection for HTTP/2 is being made.
pub(super) struct Opening<B>(Rc<Host<B>>);

impl<B> Drop for Opening<B> {
    fn drop(&mut self) {
        self.0.is_opening.set(false);
        self.0.serve_waiting();
    }
}

/// A request that is not over.
pub(super) struct Outstanding<B>(Rc<Host<B>>);

impl<B> Outstanding<B> {
    pub(super) fn new(host: Rc<Host<B>>) -> Self {
        host.outstanding.set(host.outstanding.get() + 1);
        Outstanding(host)
    }
}

impl<B> Drop for Outstanding<B> {
    fn drop(&mut self) {
        self.0.outstanding.set(self.0.outstanding.get() - 1);
    }
}
