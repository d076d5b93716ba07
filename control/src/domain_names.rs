//! What domain names have been seen to stand for, in answers of DNS servers that
//! passed the gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// From a DNS message to names and addresses.
pub mod message;

#[cfg(test)]
mod tests;

pub use message::{Reading, Unread};

/// Names that are remembered at once.
pub const NAMES_MAX: usize = 10_000;

/// Addresses of one name that are remembered at once.
pub const ADDRESSES_MAX: usize = 256;

/// Shortest and longest time for which an address stays a name's, after the last
/// answer that says so: clients use what they have resolved for longer than its
/// TTL says, and no answer is believed for ever.
pub const LIFETIME: (Duration, Duration) =
    (Duration::from_secs(5 * 60), Duration::from_secs(24 * 60 * 60));

/// The names that are known, their addresses, and until when. It reads no clock.
#[derive(Clone, Debug, Default)]
pub struct DomainNames {
    names: BTreeMap<Arc<str>, BTreeMap<IpAddr, Duration>>,
    /// What ends when, soonest first.
    ends: BTreeSet<(Duration, Arc<str>, IpAddr)>,
    addresses: usize,
}

/// What has become of what was said of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// It has got addresses that it did not have.
    pub is_new: bool,
    /// Addresses that were left out because the name has [`ADDRESSES_MAX`], or
    /// because there are [`NAMES_MAX`] names.
    pub left_out: usize,
}

impl DomainNames {
    /// Takes addresses that a name has at `now`, and for how long an answer says
    /// so. A name is in lower case and without the final dot.
    pub fn learn(
        &mut self,
        now: Duration,
        name: &str,
        addresses: &BTreeMap<IpAddr, Duration>,
    ) -> Learned {
        let mut learned = Learned::default();
        let known = self.names.get_key_value(name).map(|(name, _)| name.clone());
        if known.is_none() && (self.names.len() >= NAMES_MAX || addresses.is_empty()) {
            return Learned { is_new: false, left_out: addresses.len() };
        }
        let name = known.unwrap_or_else(|| name.into());
        let of_name = self.names.entry(name.clone()).or_default();
        for (addr, ttl) in addresses {
            let until = now + (*ttl).clamp(LIFETIME.0, LIFETIME.1);
            match of_name.get(addr).copied() {
                None if of_name.len() >= ADDRESSES_MAX => {
                    learned.left_out += 1;
                    continue;
                }
                None => {
                    learned.is_new = true;
                    self.addresses += 1;
                }
                // An earlier answer has said so for longer.
                Some(known) if known >= until => continue,
                Some(known) => drop(self.ends.remove(&(known, name.clone(), *addr))),
            }
            of_name.insert(*addr, until);
            self.ends.insert((until, name.clone(), *addr));
        }
        learned
    }

    /// Forgets what ends at `now`, and returns the names that have lost addresses.
    pub fn expire(&mut self, now: Duration) -> BTreeSet<Arc<str>> {
        let mut changed = BTreeSet::new();
        while let Some((until, ..)) = self.ends.first()
            && *until <= now
            && let Some((_, name, addr)) = self.ends.pop_first()
        {
            if let Some(of_name) = self.names.get_mut(&name) {
                of_name.remove(&addr);
                self.addresses -= 1;
                if of_name.is_empty() {
                    self.names.remove(&name);
                }
            }
            changed.insert(name);
        }
        changed
    }

    /// The addresses of a name.
    pub fn addresses(&self, name: &str) -> BTreeSet<IpAddr> {
        self.names.get(name).into_iter().flat_map(|of_name| of_name.keys().copied()).collect()
    }

    /// All names, in order, with their addresses and when each ends.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeMap<IpAddr, Duration>)> {
        self.names.iter().map(|(name, addresses)| (&**name, addresses))
    }

    /// How many names there are, and how many addresses of all of them.
    pub fn len(&self) -> (usize, usize) {
        (self.names.len(), self.addresses)
    }

    /// True when no name is known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
