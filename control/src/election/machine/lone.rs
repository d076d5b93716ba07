use super::{Holding, Machine, Slot};
use crate::announce::Groups;
use crate::election::member_name;
use std::time::Duration;

/// What is announced without the API: a gateway that starts while it is away, and
/// that was the only one when it was last heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Lone {
    /// The groups in question.
    groups: Groups,
    /// Since when the gateway might have joined.
    eligible: Option<Duration>,
    /// When the API was first heard.
    synced: Option<Duration>,
}

impl Machine {
    /// Notes that nobody else was there when the API was last heard. To be said
    /// before anything else.
    pub fn set_alone(&mut self) {
        (0..self.options.groups).for_each(|group| self.lone.groups.insert(group));
    }

    /// Whether nobody else is there; `None` while this instance cannot tell.
    pub fn is_alone(&self, now: Duration) -> Option<bool> {
        let own = member_name(&self.options.node);
        let is_known = self.is_valid(now) && self.view.is_synced();
        is_known.then(|| self.view.members().all(|(name, _, _)| name == own))
    }

    /// The groups that are announced for want of anybody who could say otherwise.
    /// The API is given the time that it takes to fence somebody.
    pub(super) fn lone(&self, now: Duration) -> Groups {
        let waited = |since: Duration| now >= since + self.options.duration;
        match self.lone.eligible {
            Some(since) if waited(since) => self.lone.groups,
            _ => Groups::default(),
        }
    }

    /// Somebody else announces a VIP of the group.
    pub(super) fn yield_lone(&mut self, group: u16) -> bool {
        let had = self.lone.groups.has(group);
        self.lone.groups.0 &= !(1 << group);
        had
    }

    /// Once the API is there, a group is announced until it is this instance's by
    /// the API, or somebody else's; and no longer than that takes.
    pub(super) fn poll_lone(&mut self, now: Duration) {
        if self.lone.groups.is_empty() {
            return;
        }
        let is_synced = self.view.is_synced();
        match self.is_eligible {
            true => self.lone.eligible.get_or_insert(now),
            false => return self.lone.eligible = None,
        };
        if !is_synced {
            return;
        }
        let since = *self.lone.synced.get_or_insert(now);
        let was_due = !self.lone(since).is_empty();
        let is_over = !was_due || now >= since + 3 * self.options.duration;
        for group in 0..self.options.groups {
            let is_own = self.slots[usize::from(group)].holding != Holding::No;
            if is_over || is_own || self.is_others(&self.slot_name(Slot(group))) {
                self.yield_lone(group);
            }
        }
    }

    /// Whether another node holds a slot, by its Lease's name.
    fn is_others(&self, name: &str) -> bool {
        let holder = self.view.get(name).and_then(|seen| seen.lease.holder.as_deref());
        holder.is_some_and(|holder| {
            let member = member_name(crate::election::node_of(holder));
            let held_by = self.view.get(&member).and_then(|seen| seen.lease.holder.as_deref());
            member != member_name(&self.options.node) && held_by == Some(holder)
        })
    }
}
