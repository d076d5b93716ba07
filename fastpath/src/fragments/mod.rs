/// Which bytes of a datagram have come.
pub mod coverage;
/// Slots in the order in which they were taken.
pub(crate) mod order;
/// Fragments that wait for the first of their datagram.
mod pool;
/// The datagrams of one family of which not everything has come.
pub mod table;

pub use coverage::{Coverage, Fit};
pub use pool::{Chain, Refused};
pub use table::{DatagramKey, FragmentTable, State, Told};

use crate::flow::table::FlowFamily;
use crate::time::Nanos;
use crate::wire::ip::Ip;
use sluice_tables::hash::endpoint;
use sluice_tables::{V4, V6};

/// How much a worker does for fragments of what is translated.
#[derive(Clone, Debug)]
pub struct FragmentOptions {
    /// Datagrams of each family of which not everything has come.
    pub datagrams_max: usize,
    /// Fragments of each family that wait for the first of their datagram.
    pub held_max: usize,
    /// Nanoseconds from the first fragment seen of a datagram to its end.
    pub timeout_ns: u64,
}

impl Default for FragmentOptions {
    fn default() -> Self {
        FragmentOptions { datagrams_max: 1024, held_max: 256, timeout_ns: 5 * Nanos::SECOND }
    }
}

/// What one worker knows of fragments of what is translated.
pub struct Fragments {
    v4: FragmentTable<V4>,
    v6: FragmentTable<V6>,
    ids: Identifications,
}

impl Fragments {
    /// Nothing known yet. The tables' hash is keyed by `seed`.
    pub fn new(options: &FragmentOptions, seed: u64, worker: usize, workers: usize) -> Self {
        Fragments {
            v4: FragmentTable::new(options, seed),
            v6: FragmentTable::new(options, seed),
            ids: Identifications::new(worker, workers, seed),
        }
    }

    /// Fragments that wait, of both families.
    pub fn held(&self) -> usize {
        self.v4.held() + self.v6.held()
    }

    /// The next identification for a datagram that leaves by an address which
    /// stands for others.
    pub fn next_id<F: Ip>(&mut self) -> u32 {
        self.ids.next::<F>()
    }
}

/// Which table of [`Fragments`] is a family's.
pub trait FragmentFamily: FlowFamily {
    /// The family's datagrams.
    fn table_of(fragments: &mut Fragments) -> &mut FragmentTable<Self>;
}

impl FragmentFamily for V4 {
    fn table_of(fragments: &mut Fragments) -> &mut FragmentTable<V4> {
        &mut fragments.v4
    }
}

impl FragmentFamily for V6 {
    fn table_of(fragments: &mut Fragments) -> &mut FragmentTable<V6> {
        &mut fragments.v6
    }
}

/// Numbers for datagrams whose source is replaced: two clients may choose the
/// same one, and what they share towards a server is one address (RFC 6864
/// section 5.3). The workers' sequences have no number in common.
struct Identifications {
    sequence: u32,
    worker: u32,
    workers: u32,
}

impl Identifications {
    fn new(worker: usize, workers: usize, seed: u64) -> Self {
        let (worker, workers) = (worker as u32, workers.max(1) as u32);
        let sequence = endpoint(seed, &[], worker as u16) as u32;
        Identifications { sequence, worker, workers }
    }

    fn next<F: Ip>(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let all = if F::IS_V4 { u32::from(u16::MAX) } else { u32::MAX };
        self.sequence % (all / self.workers) * self.workers + self.worker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_workers_give_the_same_identification() {
        let mut seen = BTreeSet::new();
        for worker in 0..3 {
            let mut ids = Identifications::new(worker, 3, 0x1234_5678_9abc);
            for _ in 0..20_000 {
                let id = ids.next::<V4>();
                assert!(id <= u32::from(u16::MAX));
                assert!(seen.insert(id), "{id} twice");
            }
        }
        let mut ids = Identifications::new(2, 3, u64::MAX);
        let six: BTreeSet<u32> = (0..100_000).map(|_| ids.next::<V6>()).collect();
        assert_eq!(six.len(), 100_000);
        assert!(six.iter().all(|id| id % 3 == 2));
    }
}
