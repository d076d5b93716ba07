use super::pools::PoolIndex;
use super::request::{Family, Sharing};
use crate::object::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;

/// Who is served first: the older one.
pub(super) type Ticket = (i64, Key);

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Queue {
    /// An address of a pool, or of those that assign by themselves.
    Pool { pool: Option<PoolIndex>, family: Family, wants: Wants },
    /// This address.
    Address(IpAddr),
    /// A port of an address that is shared in this way.
    Shared(Sharing),
}

/// What those in a queue of a pool want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wants {
    /// One address: where one of them is refused, all are.
    One,
    /// One of each family: where one of them is refused, all are.
    Both,
    /// Each something else.
    Special,
}

impl Queue {
    /// Whether all who wait here are refused where one is.
    fn is_uniform(&self) -> bool {
        matches!(self, Queue::Pool { wants: Wants::One | Wants::Both, .. })
    }
}

/// Who waits for what, and whom to try next.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    queues: BTreeMap<Queue, BTreeSet<Ticket>>,
    /// The queues that may have become servable: where to go on in each.
    woken: BTreeMap<Queue, Ticket>,
    /// The same by age.
    ready: BTreeSet<(Ticket, Queue)>,
}

impl Waiting {
    /// Lets somebody wait.
    pub(super) fn add(&mut self, queue: Queue, ticket: Ticket) {
        self.queues.entry(queue).or_default().insert(ticket);
    }

    /// Lets somebody wait no longer.
    pub(super) fn remove(&mut self, queue: &Queue, ticket: &Ticket) {
        if let Some(tickets) = self.queues.get_mut(queue) {
            tickets.remove(ticket);
            if tickets.is_empty() {
                self.queues.remove(queue);
            }
        }
    }

    /// Notes that what a queue waits for may be there.
    pub(super) fn wake(&mut self, queue: Queue) {
        let Some(first) = self.queues.get(&queue).and_then(BTreeSet::first) else { return };
        let first = first.clone();
        self.ready_at(queue, first);
    }

    fn ready_at(&mut self, queue: Queue, ticket: Ticket) {
        if let Some(before) = self.woken.insert(queue.clone(), ticket.clone()) {
            self.ready.remove(&(before, queue.clone()));
        }
        self.ready.insert((ticket, queue));
    }

    /// The oldest who may be servable, and the queue that says so.
    pub(super) fn next(&mut self) -> Option<(Ticket, Queue)> {
        while let Some((ticket, queue)) = self.ready.pop_first() {
            self.woken.remove(&queue);
            let tickets = self.queues.get(&queue);
            match tickets.and_then(|tickets| tickets.range(&ticket..).next()) {
                Some(there) if *there == ticket => return Some((ticket, queue)),
                // It has gone meanwhile.
                Some(next) => {
                    let next = next.clone();
                    self.ready_at(queue, next);
                }
                None => {}
            }
        }
        None
    }

    /// Puts back what [`Waiting::next`] has returned.
    pub(super) fn put_back(&mut self, ticket: Ticket, queue: Queue) {
        if !self.woken.contains_key(&queue) {
            self.ready_at(queue, ticket);
        }
    }

    /// Goes on in a queue after one who was tried.
    pub(super) fn tried(&mut self, ticket: &Ticket, queue: Queue) {
        let Some(tickets) = self.queues.get(&queue) else { return };
        let is_over = queue.is_uniform() && tickets.contains(ticket);
        // Woken anew meanwhile: it begins from the front.
        if is_over || self.woken.contains_key(&queue) {
            return;
        }
        let mut after = tickets.range((Bound::Excluded(ticket), Bound::Unbounded));
        if let Some(next) = after.next().cloned() {
            self.ready_at(queue, next);
        }
    }

    /// Waiting tickets over all queues.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queues.values().map(BTreeSet::len).sum()
    }
}
