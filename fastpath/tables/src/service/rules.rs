use super::BackendSet;
use crate::family::Family;
use crate::ids::{VtepId, ZoneId};
use hashbrown::HashMap;
use std::sync::Arc;

/// What a Service port asks for, on one VIP, beyond a choice by hash.
#[derive(Clone, Debug, Default)]
pub struct FrontendRules<F: Family> {
    /// Who may connect (`spec.loadBalancerSourceRanges`); `None`: everyone.
    pub sources: Option<Arc<SourceRanges<F>>>,
    /// A client goes where it went before if its last connection began less than
    /// so many milliseconds ago (`spec.sessionAffinity: ClientIP`).
    pub affinity_ms: Option<u32>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Who is nearer to some endpoints than to others.
    pub locality: Locality<F>,
}

/// How an endpoint is chosen for a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// By hash: [`BackendSet::choose`].
    #[default]
    Consistent,
    /// The one with the fewest flows in proportion to its weight, as far as this
    /// worker knows.
    LeastConnections,
    /// Of two that are chosen at random by weight, the one with fewer flows.
    RandomOfTwo,
}

/// Endpoints by where the client is. A pod is where its node is, everyone else
/// where the gateway is.
#[derive(Clone, Debug, Default)]
pub struct Locality<F: Family> {
    /// For clients on a node.
    pub by_node: HashMap<VtepId, Arc<BackendSet<F>>>,
    /// For other clients in a zone.
    pub by_zone: HashMap<ZoneId, Arc<BackendSet<F>>>,
    /// Whoever is on none of the nodes is dropped
    /// (`spec.internalTrafficPolicy: Local`).
    pub node_only: bool,
}

/// Addresses that may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRanges<F: Family> {
    /// First and last addresses of ranges that do not touch, in order.
    ranges: Box<[(F::Addr, F::Addr)]>,
}

impl<F: Family> SourceRanges<F> {
    /// The addresses of all prefixes: address (host bits do not matter) and
    /// length in bits.
    pub fn new(prefixes: impl IntoIterator<Item = (F::Addr, u8)>) -> Self {
        let mut all: Vec<_> =
            prefixes.into_iter().map(|(addr, len)| ends::<F>(addr, len)).collect();
        all.sort_unstable();
        let mut ranges: Vec<(F::Addr, F::Addr)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                // Prefixes are nested or apart.
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        SourceRanges { ranges: ranges.into() }
    }

    /// True when no address is.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether an address is in one of them.
    #[inline]
    pub fn contains(&self, addr: &F::Addr) -> bool {
        let above = self.ranges.partition_point(|(first, _)| first <= addr);
        above.checked_sub(1).is_some_and(|at| *addr <= self.ranges[at].1)
    }
}

/// The first and the last address of a prefix.
fn ends<F: Family>(addr: F::Addr, len: u8) -> (F::Addr, F::Addr) {
    let (mut first, mut last) = (addr, addr);
    for bit in usize::from(len)..usize::from(F::BITS) {
        let mask = 0x80 >> (bit % 8);
        first.as_mut()[bit / 8] &= !mask;
        last.as_mut()[bit / 8] |= mask;
    }
    (first, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{V4, V6};

    #[test]
    fn an_address_is_in_a_range_or_not() {
        let ranges = SourceRanges::<V4>::new([
            ([10, 1, 2, 3], 8),
            ([10, 200, 0, 0], 16),
            ([192, 0, 2, 128], 25),
            ([198, 51, 100, 7], 32),
            ([10, 0, 0, 0], 24),
        ]);
        for inside in [[10, 0, 0, 0], [10, 255, 255, 255], [192, 0, 2, 128], [198, 51, 100, 7]] {
            assert!(ranges.contains(&inside), "{inside:?}");
        }
        for outside in
            [[9, 255, 255, 255], [11, 0, 0, 0], [192, 0, 2, 127], [198, 51, 100, 8], [0; 4]]
        {
            assert!(!ranges.contains(&outside), "{outside:?}");
        }
        assert!(SourceRanges::<V4>::new([([1, 2, 3, 4], 0)]).contains(&[255; 4]));
        assert!(!SourceRanges::<V4>::default().contains(&[1, 2, 3, 4]));
        let v6 = SourceRanges::<V6>::new([([0x20; 16], 65)]);
        let mut addr = [0x20; 16];
        addr[8] = 0x7f;
        assert!(v6.contains(&addr));
        addr[8] = 0x80;
        assert!(!v6.contains(&addr));
    }
}
