use super::budget::Budget;
use super::counters::count;
use super::host::Host;
use super::shared::Shared;
use hashbrown::{HashMap, HashSet};
use sluice_tables::l7::Upstream;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What a worker has of an upstream.
pub(super) struct Cluster<B> {
    shared: Rc<Shared>,
    seen: RefCell<Arc<Upstream>>,
    /// Its endpoints, each once.
    hosts: RefCell<Vec<Rc<Host<B>>>>,
    pub(super) budget: Budget,
    /// When the last endpoint that is left out no longer is.
    ejected_until_ns: Cell<u64>,
}

impl<B> Cluster<B> {
    pub(super) fn new(shared: Rc<Shared>, upstream: &Arc<Upstream>) -> Rc<Self> {
        let budget = Budget::new(&shared.config, shared.now_ns());
        let cluster = Cluster {
            shared,
            seen: RefCell::new(upstream.clone()),
            hosts: RefCell::default(),
            budget,
            ejected_until_ns: Cell::default(),
        };
        cluster.take_endpoints(upstream, Vec::new());
        Rc::new(cluster)
    }

    /// Takes a new version of the upstream: what is known of an endpoint stays while there
    /// is the endpoint.
    pub(super) fn see(&self, upstream: &Arc<Upstream>) {
        if Arc::ptr_eq(&self.seen.borrow(), upstream) {
            return;
        }
        *self.seen.borrow_mut() = upstream.clone();
        let mut hosts = self.hosts.take();
        if hosts.iter().any(|host| !host.is_of(upstream)) {
            hosts.drain(..).for_each(|host| host.go());
        }
        self.take_endpoints(upstream, hosts);
    }

    fn take_endpoints(&self, upstream: &Upstream, before: Vec<Rc<Host<B>>>) {
        let mut known: HashMap<SocketAddr, Rc<Host<B>>> =
            before.into_iter().map(|host| (host.addr, host)).collect();
        let mut taken = HashSet::with_capacity(upstream.endpoints.len());
        let addrs = upstream.endpoints.iter().map(|endpoint| endpoint.addr);
        let hosts = addrs.filter(|addr| taken.insert(*addr)).map(|addr| {
            let known = known.remove(&addr);
            known.unwrap_or_else(|| Host::new(self.shared.clone(), addr, upstream))
        });
        *self.hosts.borrow_mut() = hosts.collect();
        known.into_values().for_each(|host| host.go());
    }

    /// The upstream has gone.
    pub(super) fn go(&self) {
        self.hosts.take().into_iter().for_each(|host| host.go());
    }

    pub(super) fn upstream(&self) -> Arc<Upstream> {
        self.seen.borrow().clone()
    }

    pub(super) fn hosts(&self) -> Vec<Rc<Host<B>>> {
        self.hosts.borrow().clone()
    }

    /// The better of two endpoints at random, of those that were not tried and are not left
    /// out; if there are none, of those that are not left out, or of all.
    pub(super) fn pick(
        &self,
        tried: &[SocketAddr],
        random: &mut fastrand::Rng,
    ) -> Option<Rc<Host<B>>> {
        let hosts = self.hosts.borrow();
        let now_ns = self.shared.now_ns();
        if tried.is_empty() && now_ns >= self.ejected_until_ns.get() {
            return better_of_two(hosts.len(), random, |at| hosts.get(at));
        }
        let is_in = |host: &&Rc<Host<B>>| !host.health.is_ejected(now_ns);
        let is_new = |host: &&Rc<Host<B>>| is_in(host) && !tried.contains(&host.addr);
        let new: Vec<_> = hosts.iter().filter(is_new).collect();
        let taken = if new.is_empty() { hosts.iter().filter(is_in).collect() } else { new };
        better_of_two(taken.len(), random, |at| taken.get(at).copied())
            .or_else(|| better_of_two(hosts.len(), random, |at| hosts.get(at)))
    }

    /// Whether there is an endpoint that was not tried.
    pub(super) fn has_other(&self, tried: &[SocketAddr]) -> bool {
        let now_ns = self.shared.now_ns();
        let is_other =
            |host: &Rc<Host<B>>| !tried.contains(&host.addr) && !host.health.is_ejected(now_ns);
        self.hosts.borrow().iter().any(is_other)
    }

    /// An endpoint failed. If it does so again and again it is left out for a while: but
    /// never more than half of them are, since then it is not for them alone.
    pub(super) fn failed(&self, failed: &Rc<Host<B>>) {
        let (config, now_ns) = (&self.shared.config, self.shared.now_ns());
        let hosts = self.hosts.borrow();
        if !failed.health.failed(config, now_ns) || !hosts.iter().any(|h| Rc::ptr_eq(h, failed)) {
            return;
        }
        let ejected = hosts.iter().filter(|host| host.health.is_ejected(now_ns)).count();
        if (ejected + 1) * 2 <= hosts.len() {
            let until_ns = failed.health.eject(config, now_ns);
            self.ejected_until_ns.set(self.ejected_until_ns.get().max(until_ns));
            count(&self.shared.counting.ejections);
        }
    }
}

fn better_of_two<'a, B: 'a>(
    count: usize,
    random: &mut fastrand::Rng,
    at: impl Fn(usize) -> Option<&'a Rc<Host<B>>>,
) -> Option<Rc<Host<B>>> {
    if count < 2 {
        return at(0).cloned();
    }
    let first = random.usize(..count);
    // Another than the first, each as likely.
    let second = (first + random.usize(1..count)) % count;
    let (first, second) = (at(first)?, at(second)?);
    let better = if second.outstanding() < first.outstanding() { second } else { first };
    Some(better.clone())
}
