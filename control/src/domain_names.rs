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

/// Addresses of all names that are remembered at once.
pub const TOTAL_MAX: usize = 65_536;

/// Shortest and longest time for which an address stays a name's, after the last
/// answer that says so: clients use what they have resolved for longer than its
/// TTL says, and no answer is believed for ever.
pub const LIFETIME: (Duration, Duration) =
    (Duration::from_secs(5 * 60), Duration::from_secs(24 * 60 * 60));

/// Lapsed addresses that are remembered at once.
pub const LAPSED_MAX: usize = 65_536;

/// How long a lapsed address is remembered: flows to it may run on for so long.
pub const LAPSED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The names that are known, their addresses, and until when. It reads no clock.
///
/// Names that the same pattern of policies asks for share what room there is with
/// those of other patterns: where it is full, the pattern that has the most gives up
/// the name that no answer has told of for longest.
///
/// An address that a name loses lapses: flows that run to it may go on
/// (NPEP-133, "Expected Behavior").
#[derive(Clone, Debug, Default)]
pub struct DomainNames {
    names: BTreeMap<Arc<str>, Known>,
    /// What ends when, soonest first.
    ends: Ends,
    patterns: BTreeMap<Arc<str>, Pattern>,
    /// Patterns by how many addresses their names have.
    sizes: BTreeSet<(usize, Arc<str>)>,
    addresses: usize,
    lapsed: BTreeMap<Arc<str>, BTreeMap<IpAddr, Duration>>,
    lapsed_ends: Ends,
}

type Ends = BTreeSet<(Duration, Arc<str>, IpAddr)>;

/// A name that is known.
#[derive(Clone, Debug)]
struct Known {
    pattern: Arc<str>,
    /// When an answer told of it last.
    told: Duration,
    /// Its addresses, and until when each is its.
    addresses: BTreeMap<IpAddr, Duration>,
}

/// What the names have that a pattern asks for.
#[derive(Clone, Debug, Default)]
struct Pattern {
    /// By when an answer told of each last.
    names: BTreeSet<(Duration, Arc<str>)>,
    addresses: usize,
}

/// What has become of what was said of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// It has got addresses that it did not have.
    pub is_new: bool,
    /// Addresses that were left out: the name has [`ADDRESSES_MAX`], or there is no
    /// room that its pattern could have.
    pub left_out: usize,
    /// Other names that have lost addresses for want of room.
    pub given_up: BTreeSet<Arc<str>>,
}

/// The addresses of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Those that it has.
    pub live: BTreeSet<IpAddr>,
    /// Those that it has lost, which count for flows that run.
    pub lapsed: BTreeSet<IpAddr>,
}

impl DomainNames {
    /// Takes addresses that a name has at `now`, and for how long an answer says
    /// so. A name is in lower case and without the final dot; `pattern` is what asks
    /// for it.
    pub fn learn(
        &mut self,
        now: Duration,
        name: &str,
        pattern: &str,
        addresses: &BTreeMap<IpAddr, Duration>,
    ) -> Learned {
        let mut learned = Learned::default();
        let (name, mut known) = self.take(name).unwrap_or_else(|| (name.into(), Known::new()));
        let shared = self.patterns.get_key_value(pattern).map(|(pattern, _)| pattern.clone());
        known.pattern = shared.unwrap_or_else(|| pattern.into());
        known.told = now;
        for (addr, ttl) in addresses {
            let until = now + (*ttl).clamp(LIFETIME.0, LIFETIME.1);
            match known.addresses.get(addr).copied() {
                None if known.addresses.len() >= ADDRESSES_MAX
                    || !self.make_room(now, &known, &mut learned.given_up) =>
                {
                    learned.left_out += 1;
                    continue;
                }
                None => {
                    learned.is_new = true;
                    self.drop_lapsed(&name, *addr);
                }
                // An earlier answer has said so for longer.
                Some(known) if known >= until => continue,
                Some(known) => drop(self.ends.remove(&(known, name.clone(), *addr))),
            }
            known.addresses.insert(*addr, until);
            self.ends.insert((until, name.clone(), *addr));
        }
        self.put(name, known);
        learned
    }

    /// Makes room for one more address of a name that is taken out, and for the
    /// name; false when the others have no more than its own pattern, which has
    /// nothing else to give.
    fn make_room(
        &mut self,
        now: Duration,
        known: &Known,
        given_up: &mut BTreeSet<Arc<str>>,
    ) -> bool {
        let wanted = known.addresses.len() + 1;
        while self.names.len() >= NAMES_MAX || self.addresses + wanted > TOTAL_MAX {
            let own = self.patterns.get(&known.pattern).map_or(0, |own| own.addresses) + wanted;
            let largest = self.sizes.last().filter(|(size, _)| *size > own);
            let pattern = largest.map_or(&known.pattern, |(_, pattern)| pattern);
            let names = self.patterns.get(pattern).map(|pattern| &pattern.names);
            let Some((_, oldest)) = names.and_then(BTreeSet::first).cloned() else { return false };
            let Some((oldest, known)) = self.take(&oldest) else { return false };
            for (addr, until) in known.addresses {
                self.ends.remove(&(until, oldest.clone(), addr));
                self.lapse(now, &oldest, addr, given_up);
            }
            given_up.insert(oldest);
        }
        true
    }

    /// Takes a name out, to be changed.
    fn take(&mut self, name: &str) -> Option<(Arc<str>, Known)> {
        let (name, known) = self.names.remove_entry(name)?;
        self.addresses -= known.addresses.len();
        if let Some(pattern) = self.patterns.get_mut(&known.pattern) {
            self.sizes.remove(&(pattern.addresses, known.pattern.clone()));
            pattern.addresses -= known.addresses.len();
            pattern.names.remove(&(known.told, name.clone()));
            if pattern.names.is_empty() {
                self.patterns.remove(&known.pattern);
            } else {
                self.sizes.insert((pattern.addresses, known.pattern.clone()));
            }
        }
        Some((name, known))
    }

    /// Puts a name back, unless it has no addresses.
    fn put(&mut self, name: Arc<str>, known: Known) {
        if known.addresses.is_empty() {
            return;
        }
        self.addresses += known.addresses.len();
        let pattern = self.patterns.entry(known.pattern.clone()).or_default();
        self.sizes.remove(&(pattern.addresses, known.pattern.clone()));
        pattern.addresses += known.addresses.len();
        pattern.names.insert((known.told, name.clone()));
        self.sizes.insert((pattern.addresses, known.pattern.clone()));
        self.names.insert(name, known);
    }

    /// Remembers an address that a name has lost; the oldest of them makes room.
    fn lapse(
        &mut self,
        now: Duration,
        name: &Arc<str>,
        addr: IpAddr,
        changed: &mut BTreeSet<Arc<str>>,
    ) {
        if self.lapsed_ends.len() >= LAPSED_MAX
            && let Some((_, oldest, addr)) = self.lapsed_ends.first().cloned()
        {
            self.drop_lapsed(&oldest, addr);
            changed.insert(oldest);
        }
        let until = now + LAPSED_FOR;
        self.drop_lapsed(name, addr);
        self.lapsed.entry(name.clone()).or_default().insert(addr, until);
        self.lapsed_ends.insert((until, name.clone(), addr));
    }

    fn drop_lapsed(&mut self, name: &Arc<str>, addr: IpAddr) {
        let Some(of_name) = self.lapsed.get_mut(name) else { return };
        if let Some(until) = of_name.remove(&addr) {
            self.lapsed_ends.remove(&(until, name.clone(), addr));
        }
        if of_name.is_empty() {
            self.lapsed.remove(name);
        }
    }

    /// Ends what ends at `now`, and returns the names that have lost addresses, or
    /// whose lapsed ones are forgotten.
    pub fn expire(&mut self, now: Duration) -> BTreeSet<Arc<str>> {
        let mut changed = BTreeSet::new();
        while let Some((until, ..)) = self.ends.first()
            && *until <= now
            && let Some((_, name, addr)) = self.ends.pop_first()
        {
            if let Some((name, mut known)) = self.take(&name) {
                known.addresses.remove(&addr);
                self.put(name, known);
            }
            self.lapse(now, &name, addr, &mut changed);
            changed.insert(name);
        }
        while let Some((until, ..)) = self.lapsed_ends.first()
            && *until <= now
            && let Some((_, name, addr)) = self.lapsed_ends.first().cloned()
        {
            self.drop_lapsed(&name, addr);
            changed.insert(name);
        }
        changed
    }

    /// The addresses of a name.
    pub fn addresses(&self, name: &str) -> Addresses {
        let live = self.names.get(name).map(|known| &known.addresses);
        let all = |of_name: Option<&BTreeMap<IpAddr, Duration>>| {
            of_name.into_iter().flat_map(BTreeMap::keys).copied().collect()
        };
        Addresses { live: all(live), lapsed: all(self.lapsed.get(name)) }
    }

    /// All names that have addresses, in order, with these and when each ends.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeMap<IpAddr, Duration>)> {
        self.names.iter().map(|(name, known)| (&**name, &known.addresses))
    }

    /// How many names there are, and how many addresses of all of them.
    pub fn len(&self) -> (usize, usize) {
        (self.names.len(), self.addresses)
    }

    /// Addresses that names have lost, and that count for flows that run.
    pub fn lapsed_len(&self) -> usize {
        self.lapsed_ends.len()
    }

    /// True when no name is known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl Known {
    fn new() -> Self {
        Known { pattern: "".into(), told: Duration::ZERO, addresses: BTreeMap::new() }
    }
}
