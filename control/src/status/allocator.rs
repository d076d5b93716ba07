//! Addresses out of pools for whoever asks: Services now, any other kind as
//! well. Pure: a function of the requests and of what the owners have.
//!
//! Who has an address keeps it, whatever else comes, while it may have it:
//! across other pools, a re-list, a restart. Of those who wait, the oldest is
//! served first, as soon as what it waits for is free. A change costs the
//! logarithm of the number of requests, a pool as much memory as there are
//! gaps between the addresses that are given away.

use crate::object::Key;
use sluice_config::AddressPool;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

mod free;
mod held;
mod plan;
mod pools;
mod request;
mod waiting;

pub use pools::PoolUse;
pub use request::{Family, L4Port, Outcome, Refusal, Request, Sharing};

use held::Held;
use pools::Pools;
use waiting::{Queue, Ticket, Waiting, Wants};

/// An address of each family, or none.
type Holds = [Option<IpAddr>; 2];

/// Who has which address, and who waits.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    pools: Pools,
    held: Held,
    entries: BTreeMap<Key, Entry>,
    waiting: Waiting,
    changed: BTreeSet<Key>,
}

/// What is known of an owner.
#[derive(Clone, Debug)]
struct Entry {
    request: Request,
    holds: Holds,
    /// Where it waits.
    queues: Vec<Queue>,
    outcome: Outcome,
}

impl Allocator {
    /// Nothing of the pools is given away yet.
    pub fn new(pools: &[AddressPool]) -> Self {
        Allocator { pools: Pools::new(pools), ..Allocator::default() }
    }

    /// Takes new and changed requests, and forgets owners (`None`), as one
    /// change: the order in it does not matter.
    pub fn apply(&mut self, batch: impl IntoIterator<Item = (Key, Option<Request>)>) {
        let mut tickets = BTreeSet::new();
        for (owner, request) in batch {
            match request {
                Some(request) => {
                    tickets.insert(ticket(&owner, &request));
                    self.put(owner, request);
                }
                None => self.remove(&owner),
            }
        }
        // What somebody has by its status is nobody else's, however old.
        for (_, owner) in &tickets {
            self.adopt(owner);
        }
        loop {
            let waiting = self.waiting.next();
            match (tickets.pop_first(), waiting) {
                (None, None) => return,
                (Some(ticket), None) => self.settle(&ticket.1),
                (Some(ticket), Some((waiter, queue))) if ticket < waiter => {
                    self.waiting.put_back(waiter, queue);
                    self.settle(&ticket.1);
                }
                (ticket, Some((waiter, queue))) => {
                    tickets.extend(ticket);
                    self.settle(&waiter.1);
                    self.waiting.tried(&waiter, queue);
                }
            }
        }
    }

    /// Uses other pools. Who has an address that is in one of them keeps it.
    pub fn set_pools(&mut self, pools: &[AddressPool]) {
        let old = std::mem::replace(self, Allocator::new(pools));
        let mut outcomes = BTreeMap::new();
        let mut batch = Vec::with_capacity(old.entries.len());
        for (owner, mut entry) in old.entries {
            entry.request.current = entry.holds.into_iter().flatten().collect();
            outcomes.insert(owner.clone(), entry.outcome);
            batch.push((owner, Some(entry.request)));
        }
        self.apply(batch);
        self.changed.retain(|owner| outcomes.get(owner) != self.entries.get(owner).map(outcome_of));
        self.changed.extend(old.changed);
    }

    /// What became of an owner's request.
    pub fn outcome(&self, owner: &Key) -> Option<&Outcome> {
        self.entries.get(owner).map(outcome_of)
    }

    /// The owners whose outcome has changed since this was last called. Those
    /// that were forgotten are not among them.
    pub fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }

    /// How much of the pools is in use.
    pub fn usage(&self) -> Vec<PoolUse> {
        self.pools.usage()
    }

    /// Whether an address lies in a pool.
    pub fn is_of_pools(&self, addr: IpAddr) -> bool {
        self.pools.of(addr).is_some()
    }

    /// Sets an owner's request. It keeps what it has and may still have.
    fn put(&mut self, owner: Key, request: Request) {
        let Some(mut entry) = self.entries.remove(&owner) else {
            let (queues, outcome) = (Vec::new(), Outcome::default());
            self.entries.insert(owner, Entry { request, holds: [None; 2], queues, outcome });
            return;
        };
        self.leave_queues(&owner, &mut entry);
        let before = entry.holds;
        self.detach(&owner, &entry.request, before);
        let old = std::mem::replace(&mut entry.request, request);
        let request = &entry.request;
        for (index, family) in Family::ALL.into_iter().enumerate() {
            let keeps =
                |addr: &IpAddr| request.families.contains(&family) && self.is_open(*addr, request);
            entry.holds[index] = before[index].filter(keeps);
        }
        self.attach(&owner, request, entry.holds);
        let is_same = old.sharing == request.sharing && old.ports == request.ports;
        for (old_addr, new_addr) in before.into_iter().zip(entry.holds) {
            match (old_addr, new_addr) {
                (Some(addr), None) => self.wake_freed(addr, &old.sharing),
                (Some(addr), Some(_)) if !is_same => {
                    self.wake_shared(addr, &old.sharing);
                    self.wake_shared(addr, &request.sharing);
                }
                _ => {}
            }
        }
        self.entries.insert(owner, entry);
    }

    fn remove(&mut self, owner: &Key) {
        self.changed.remove(owner);
        let Some(mut entry) = self.entries.remove(owner) else { return };
        self.leave_queues(owner, &mut entry);
        self.detach(owner, &entry.request, entry.holds);
        for addr in entry.holds.into_iter().flatten() {
            self.wake_freed(addr, &entry.request.sharing);
        }
    }

    /// Gives an owner what it has by its status, if nobody else has it.
    fn adopt(&mut self, owner: &Key) {
        let Some(mut entry) = self.entries.remove(owner) else { return };
        let request = &entry.request;
        let mut is_seen = [false; 2];
        for addr in &request.current {
            let family = Family::of(*addr);
            let (has, seen) = (entry.holds[family as usize], &mut is_seen[family as usize]);
            if *seen || has == Some(*addr) || !request.families.contains(&family) {
                *seen |= has == Some(*addr);
                continue;
            }
            // With something at hand already, the status counts only where the
            // choice was free: another gateway has made it then.
            let is_good = has.is_none() || self.is_free_choice(*addr, request);
            if !is_good || !self.is_open(*addr, request) {
                continue;
            }
            *seen = true;
            let before = Family::ALL.map(|this| has.filter(|_| this == family));
            self.detach(owner, request, before);
            entry.holds[family as usize] = Some(*addr);
            let after = Family::ALL.map(|this| (this == family).then_some(*addr));
            self.attach(owner, request, after);
            if let Some(has) = has {
                self.wake_freed(has, &request.sharing);
            }
            self.wake_shared(*addr, &request.sharing);
        }
        self.entries.insert(owner.clone(), entry);
    }

    /// Gives an owner what it may have now, or lets it wait.
    fn settle(&mut self, owner: &Key) {
        let Some(mut entry) = self.entries.remove(owner) else { return };
        self.leave_queues(owner, &mut entry);
        let before = entry.holds;
        self.detach(owner, &entry.request, before);
        let plan = self.plan(&entry.request, before);
        self.attach(owner, &entry.request, plan.holds);
        for (old, new) in before.into_iter().zip(plan.holds).filter(|(old, new)| old != new) {
            if let Some(addr) = old {
                self.wake_freed(addr, &entry.request.sharing);
            }
            if let Some(addr) = new {
                self.wake_shared(addr, &entry.request.sharing);
            }
        }
        let ticket = ticket(owner, &entry.request);
        for queue in &plan.queues {
            self.waiting.add(queue.clone(), ticket.clone());
        }
        entry.holds = plan.holds;
        entry.queues = plan.queues;
        if entry.outcome != plan.outcome {
            entry.outcome = plan.outcome;
            self.changed.insert(owner.clone());
        }
        self.entries.insert(owner.clone(), entry);
    }

    fn attach(&mut self, owner: &Key, request: &Request, holds: Holds) {
        for addr in holds.into_iter().flatten() {
            if self.held.add(addr, owner, request) {
                self.pools.take(addr);
            }
        }
    }

    fn detach(&mut self, owner: &Key, request: &Request, holds: Holds) {
        for addr in holds.into_iter().flatten() {
            if self.held.remove(addr, owner, request) {
                self.pools.give(addr);
            }
        }
    }

    fn leave_queues(&mut self, owner: &Key, entry: &mut Entry) {
        let ticket = ticket(owner, &entry.request);
        for queue in entry.queues.drain(..) {
            self.waiting.remove(&queue, &ticket);
        }
    }

    /// Somebody has an address no longer.
    fn wake_freed(&mut self, addr: IpAddr, sharing: &Option<Sharing>) {
        self.wake_shared(addr, sharing);
        let Some(pool) = self.pools.of(addr) else { return };
        let family = Family::of(addr);
        let anybody = self.pools.is_auto(pool).then_some(None);
        for pool in [Some(Some(pool)), anybody].into_iter().flatten() {
            for wants in [Wants::One, Wants::Both, Wants::Special] {
                self.waiting.wake(Queue::Pool { pool, family, wants });
            }
        }
    }

    /// With whom an address is shared, or by which ports, has changed.
    fn wake_shared(&mut self, addr: IpAddr, sharing: &Option<Sharing>) {
        self.waiting.wake(Queue::Address(addr));
        if let Some(sharing) = sharing {
            self.waiting.wake(Queue::Shared(sharing.clone()));
        }
    }
}

fn outcome_of(entry: &Entry) -> &Outcome {
    &entry.outcome
}

fn ticket(owner: &Key, request: &Request) -> Ticket {
    // Who does not say when it was made comes after those who do.
    (request.created.unwrap_or(i64::MAX), owner.clone())
}

#[cfg(test)]
mod tests;
