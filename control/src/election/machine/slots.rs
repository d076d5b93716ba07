use super::{Holding, Machine, Op, Slot};
use crate::election::{member_name, node_of, rank};
use std::time::Duration;

impl Machine {
    pub(super) fn poll_slots(&mut self, now: Duration, ops: &mut Vec<Op>) {
        let node = self.options.node.clone();
        let members = self.view.members();
        let others = members.filter(|(_, other, seen)| {
            *other != node && seen.lease.is_able && !self.is_over(seen, now)
        });
        let mut nodes: Vec<String> = others.map(|(_, other, _)| other.to_owned()).collect();
        if self.is_eligible {
            nodes.push(node.clone());
        }
        for index in 0..self.slots.len() {
            let slot = Slot(index as u16);
            let is_wanted = rank(slot.0, nodes.iter().map(String::as_str)) == Some(&*node);
            let op = self.poll_slot(slot, is_wanted, now);
            if let Some((op, version)) = op {
                self.slots[index].attempt.begin(version.as_deref(), now);
                ops.push(op);
            }
        }
    }

    /// What to do about a slot, and the version that it is about.
    fn poll_slot(
        &mut self,
        slot: Slot,
        is_wanted: bool,
        now: Duration,
    ) -> Option<(Op, Option<String>)> {
        let is_group = slot.0 < self.options.groups;
        let is_announced = is_group && self.live.has(slot.0);
        let state = &mut self.slots[usize::from(slot.0)];
        match (&state.holding, is_wanted) {
            (Holding::Yes(version), false) => {
                state.holding = Holding::Ending(version.clone());
                None
            }
            (Holding::Ending(version), true) => {
                state.holding = Holding::Yes(version.clone());
                None
            }
            // All groups are given up with the membership.
            (Holding::Ending(_), false) if is_group && !self.is_eligible => None,
            (Holding::Ending(version), false) if !is_announced && !state.attempt.is_busy => {
                let version = version.clone();
                state.holding = Holding::No;
                self.counts.given += 1;
                Some((Op::Release { slot, version: version.clone() }, Some(version)))
            }
            (Holding::No, _) => {
                let name = self.slot_name(slot);
                let seen = self.view.get(&name);
                let version = seen.map(|seen| seen.lease.version.clone());
                if !self.slots[usize::from(slot.0)].attempt.may(version.as_deref(), now) {
                    return None;
                }
                let holder = seen.and_then(|seen| seen.lease.holder.as_deref());
                let is_own = holder == Some(&*self.identity);
                if is_wanted && (is_own || self.is_free(&name, now)) {
                    let identity = self.identity.clone();
                    Some((Op::Claim { slot, identity, version: version.clone() }, version))
                } else if is_own && !is_wanted && !is_announced {
                    let version = version?;
                    Some((Op::Release { slot, version: version.clone() }, Some(version)))
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    /// Whether nobody can hold a slot, by its Lease's name.
    fn is_free(&self, name: &str, now: Duration) -> bool {
        let absent = |name: &str, duration: Duration| {
            let since = self.view.absent_since(name);
            since.is_some_and(|since| now >= since.max(self.valid_since) + duration)
        };
        let Some(seen) = self.view.get(name) else { return absent(name, self.options.duration) };
        let Some(holder) = seen.lease.holder.as_deref() else { return true };
        let member = member_name(node_of(holder));
        match self.view.get(&member) {
            Some(member) => member.lease.holder.as_deref() != Some(holder),
            None => absent(&member, self.options.duration.max(self.duration_of(&seen.lease))),
        }
    }
}
