use super::{MEMBER, STATUS, VIPS, member_name, node_of};
use std::collections::BTreeMap;
use std::time::Duration;

/// Leases kept; more gateways than that are not expected, and others' Leases
/// must not fill the memory.
const LEASES_MAX: usize = 1024;

/// What of a Lease counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// `spec.holderIdentity`, unless it is empty.
    pub holder: Option<String>,
    /// `spec.leaseDurationSeconds`.
    pub duration: Option<Duration>,
    /// Of a membership: it may be given more. One whose control has failed keeps
    /// what its workers announce, and is not counted on for anything else.
    pub is_able: bool,
    /// `metadata.resourceVersion`.
    pub version: String,
}

/// A Lease, and since when it is as it is.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) lease: Lease,
    /// When this version was first seen.
    pub(super) at: Duration,
}

/// The Leases, as the watch has brought them: a past state of all of them, never
/// a mixture of several.
#[derive(Clone, Debug, Default)]
pub struct View {
    leases: BTreeMap<String, Seen>,
    /// When Leases were deleted that are not there any more.
    deleted: BTreeMap<String, Duration>,
    /// When all Leases were first known.
    synced: Option<Duration>,
}

impl View {
    /// A Lease is new, or has changed.
    pub fn apply(&mut self, now: Duration, name: &str, lease: Lease) {
        if !is_ours(name) {
            return;
        }
        let is_full = self.leases.len() >= LEASES_MAX;
        match self.leases.get_mut(name) {
            Some(seen) if seen.lease.version == lease.version => seen.lease = lease,
            Some(seen) => *seen = Seen { lease, at: now },
            None if !is_full => {
                self.deleted.remove(name);
                self.leases.insert(name.to_owned(), Seen { lease, at: now });
            }
            None => {}
        }
    }

    /// A Lease is gone.
    pub fn delete(&mut self, now: Duration, name: &str) {
        if self.leases.remove(name).is_some() {
            if self.deleted.len() >= LEASES_MAX {
                self.deleted.pop_first();
            }
            self.deleted.insert(name.to_owned(), now);
        }
    }

    /// These are all Leases.
    pub fn replace(&mut self, now: Duration, leases: BTreeMap<String, Lease>) {
        let gone: Vec<String> =
            self.leases.keys().filter(|name| !leases.contains_key(*name)).cloned().collect();
        for name in gone {
            self.delete(now, &name);
        }
        for (name, lease) in leases {
            self.apply(now, &name, lease);
        }
        self.synced.get_or_insert(now);
    }

    /// Whether all Leases are known.
    pub fn is_synced(&self) -> bool {
        self.synced.is_some()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Seen> {
        self.leases.get(name)
    }

    /// Since when a Lease is known not to be there.
    pub(super) fn absent_since(&self, name: &str) -> Option<Duration> {
        self.deleted.get(name).copied().or(self.synced)
    }

    /// Memberships that somebody has: name of the Lease, node, and the Lease.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &str, &Seen)> {
        let members = self.leases.range(MEMBER.to_owned()..);
        members.take_while(|(name, _)| name.starts_with(MEMBER)).filter_map(|(name, seen)| {
            let node = node_of(seen.lease.holder.as_deref()?);
            (member_name(node) == *name).then_some((name.as_str(), node, seen))
        })
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(MEMBER) || name.starts_with(VIPS) || name == STATUS
}
