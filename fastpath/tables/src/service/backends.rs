use super::BackendRef;
use super::ranking::{self, Ranking};
use crate::family::Family;
use crate::hash;

/// Up to this many backends are compared when a connection comes; for more, the
/// outcome is in a table.
pub const COMPARED_MAX: usize = 16;

/// The endpoints in rotation of one frontend, and the way to choose one.
///
/// The choice depends on the endpoints' addresses and weights alone, not on
/// their order or ids, so that gateways agree and a change of one moves no flows
/// but its own: rendezvous hashing over slots, see `ranking`. A share is within
/// some percent of fair: the deviation is below the square root of the backends
/// divided by 316 (100,003 slots; up to 2,000 backends).
#[derive(Clone, Debug)]
pub struct BackendSet<F: Family> {
    backends: Box<[BackendRef<F>]>,
    slots: u32,
    is_weighted: bool,
    rankings: Box<[Ranking]>,
    winners: Box<[u16]>,
}

impl<F: Family> Default for BackendSet<F> {
    fn default() -> Self {
        BackendSet::new(Vec::new())
    }
}

impl<F: Family> BackendSet<F> {
    /// The most endpoints of one frontend; more are left out.
    pub const BACKENDS_MAX: usize = 10_000;

    /// Prepares the choice among `backends` (the first
    /// [`BackendSet::BACKENDS_MAX`] of them in address order).
    pub fn new(mut backends: Vec<BackendRef<F>>) -> Self {
        backends.sort_by_key(|b| (b.addr, b.l4_port));
        backends.dedup_by_key(|b| (b.addr, b.l4_port));
        backends.truncate(Self::BACKENDS_MAX);
        let slots = ranking::slots(backends.len());
        let of = |b: &BackendRef<F>| (hash::endpoint(0, b.addr.as_ref(), b.l4_port), b.weight);
        let seeds: Vec<(u64, u16)> = backends.iter().map(of).collect();
        let is_weighted = seeds.iter().any(|(_, weight)| *weight != seeds[0].1);
        let (mut rankings, mut winners) = (Box::default(), Box::default());
        if backends.len() > COMPARED_MAX {
            winners = ranking::table(&seeds, slots);
        } else {
            let ranking = |&(seed, weight): &_| Ranking::new(seed, weight);
            rankings = seeds.iter().map(ranking).collect();
        }
        BackendSet { backends: backends.into(), slots, is_weighted, rankings, winners }
    }

    /// The endpoints, in the order of address and port.
    pub fn backends(&self) -> &[BackendRef<F>] {
        &self.backends
    }

    /// The endpoint for a connection with this hash; `None` when there is none.
    #[inline]
    pub fn choose(&self, hash: u64) -> Option<&BackendRef<F>> {
        // Multiply-shift instead of a division: the hash's high half, scaled. Few
        // backends have `ranking::FEW` slots.
        let slot = ((hash >> 32) * u64::from(self.slots)) >> 32;
        if self.winners.is_empty() {
            let winner = ranking::winner(&self.rankings, slot as u32, self.is_weighted)?;
            return self.backends.get(winner);
        }
        self.backends.get(usize::from(self.winners[slot as usize]))
    }

    /// Where what [`BackendSet::choose`] compares is in memory, the first two cache lines of
    /// it, and the first two of the endpoints. Where there are too many to be compared, one
    /// cannot tell beforehand.
    #[inline]
    pub fn lines(&self) -> Option<[*const u8; 4]> {
        let rankings = self.rankings.first().map(|first| std::ptr::from_ref(first).cast::<u8>())?;
        let backends = self.backends.as_ptr().cast::<u8>();
        let next = |line: *const u8| line.wrapping_add(64);
        Some([rankings, next(rankings), backends, next(backends)])
    }

    /// The endpoint of an address and port, if it is in rotation.
    pub fn find(&self, addr: &F::Addr, l4_port: u16) -> Option<&BackendRef<F>> {
        let at = self.backends.binary_search_by_key(&(*addr, l4_port), |b| (b.addr, b.l4_port));
        self.backends.get(at.ok()?)
    }

    /// Bytes of memory behind the set.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.backends)
            + size_of_val(&*self.rankings)
            + size_of_val(&*self.winners)
    }
}

#[cfg(test)]
mod tests;
