//! How requests are sent to endpoints: which one a request goes to, over which connection,
//! what becomes of it if that fails, and what passes of the answer.
//!
//! Everything is a worker's own: [`Upstreams`] counts its requests alone and keeps its own
//! connections. Network policies are asked for each request, since connections carry those
//! of several clients.

mod answer;
mod budget;
mod cluster;
mod config;
mod connect;
mod counters;
mod encrypt;
mod forward;
mod health;
mod host;
mod judge;
mod lease;
mod link;
mod permit;
mod sent;
mod shared;
mod spare;
mod stir;

pub use answer::{AnswerBody, AnswerError};
pub use config::UpstreamConfig;
pub use counters::UpstreamCounters;
pub use encrypt::Encrypt;

use crate::clock::after;
use crate::net::Net;
use bytes::Bytes;
use cluster::Cluster;
use hashbrown::HashMap;
use http_body::Body;
use shared::Shared;
use sluice_tables::l7::{L7, Upstream, UpstreamId};
use std::cell::RefCell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Bodies of requests, as they can be sent.
pub trait RequestBodies:
    Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static
{
}

impl<B> RequestBodies for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + 'static
{
}

/// What a worker has of its upstreams. Cloning it copies a pointer.
pub struct Upstreams<N: Net, E: Encrypt<N::Stream>, B: RequestBodies>(Rc<Inner<N, E, B>>);

impl<N: Net, E: Encrypt<N::Stream>, B: RequestBodies> Clone for Upstreams<N, E, B> {
    fn clone(&self) -> Self {
        Upstreams(self.0.clone())
    }
}

struct Inner<N, E, B> {
    net: N,
    encrypt: E,
    shared: Rc<Shared>,
    clusters: RefCell<HashMap<UpstreamId, Rc<Cluster<B>>>>,
    random: RefCell<fastrand::Rng>,
}

/// How an endpoint does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointState {
    /// The upstream that it is of.
    pub upstream: Arc<str>,
    /// Its address and port.
    pub addr: SocketAddr,
    /// Requests that are not over.
    pub outstanding: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Connections.
    pub connections: usize,
    /// Connections without a request.
    pub idle: usize,
    /// Until when ([`Net::now_ns`]) it is left out, if it is.
    pub ejected_until_ns: Option<u64>,
}

impl<N: Net, E: Encrypt<N::Stream>, B: RequestBodies> Upstreams<N, E, B> {
    /// Has no connection yet. The seed is for the choice of endpoints.
    pub fn new(net: N, encrypt: E, config: UpstreamConfig, seed: u64) -> Self {
        let shared = Rc::new(Shared::new(&net, config));
        let random = RefCell::new(fastrand::Rng::with_seed(seed));
        let clusters = RefCell::default();
        Upstreams(Rc::new(Inner { net, encrypt, shared, clusters, random }))
    }

    /// Takes new tables: what has gone of them gets no request any more, and its
    /// connections without one are closed.
    pub fn take_tables(&self, tables: &L7) {
        let mut clusters = self.0.clusters.borrow_mut();
        clusters.retain(|id, cluster| {
            let upstream = tables.upstream(*id);
            match upstream {
                Some(upstream) => cluster.see(upstream),
                None => cluster.go(),
            }
            upstream.is_some()
        });
    }

    /// Closes connections without a request, and the others when theirs is over: whoever
    /// ends must not leave endpoints with what is only half open.
    pub fn drain(&self) {
        self.0.shared.is_ending.set(true);
        let clusters: Vec<_> = self.0.clusters.borrow().values().cloned().collect();
        for host in clusters.iter().flat_map(|cluster| cluster.hosts()) {
            host.close_unused();
        }
    }

    /// What was done.
    pub fn counters(&self) -> UpstreamCounters {
        self.0.shared.counting.snapshot()
    }

    /// Connections that there are to endpoints, also to those that have gone.
    pub fn connections(&self) -> usize {
        self.0.shared.connections.get()
    }

    /// How the endpoints do of every upstream that was asked, by name.
    pub fn endpoints(&self) -> Vec<EndpointState> {
        let now_ns = self.0.shared.now_ns();
        let mut states = Vec::new();
        for cluster in self.0.clusters.borrow().values() {
            let upstream = cluster.upstream();
            states.extend(cluster.hosts().iter().map(|host| EndpointState {
                upstream: upstream.name.clone(),
                addr: host.addr,
                outstanding: host.outstanding(),
                waiting: host.waiting(),
                connections: host.connections(),
                idle: host.idle(),
                ejected_until_ns:
                    Some(host.health.ejected_until_ns()).filter(|until_ns| *until_ns > now_ns),
            }));
        }
        states.sort_by(|a, b| (&a.upstream, a.addr).cmp(&(&b.upstream, b.addr)));
        states
    }

    fn cluster(&self, upstream: &Arc<Upstream>) -> Rc<Cluster<B>> {
        let mut clusters = self.0.clusters.borrow_mut();
        if let Some(cluster) = clusters.get(&upstream.id) {
            cluster.see(upstream);
            return cluster.clone();
        }
        let cluster = Cluster::new(self.0.shared.clone(), upstream);
        clusters.insert(upstream.id, cluster.clone());
        cluster
    }

    /// Looks after connections without a request while there are connections.
    fn sweep(&self) {
        let shared = &self.0.shared;
        if shared.is_swept.replace(true) {
            return;
        }
        let every = (shared.config.idle_timeout / 4).max(Duration::from_millis(50));
        let (inner, net) = (Rc::downgrade(&self.0), self.0.net.clone());
        self.0.net.spawn(async move {
            loop {
                net.sleep_until(after(net.now_ns(), every)).await;
                let Some(inner) = inner.upgrade() else { return };
                let now_ns = net.now_ns();
                let clusters: Vec<_> = inner.clusters.borrow().values().cloned().collect();
                for host in clusters.iter().flat_map(|cluster| cluster.hosts()) {
                    host.expire(now_ns);
                }
                if inner.shared.connections.get() == 0 {
                    inner.shared.is_swept.set(false);
                    return;
                }
            }
        });
    }
}

impl<N, E, B> Drop for Inner<N, E, B> {
    fn drop(&mut self) {
        self.clusters.take().into_values().for_each(|cluster| cluster.go());
    }
}
