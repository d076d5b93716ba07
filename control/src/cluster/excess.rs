//! Services with more endpoints over all of their ports than are kept.

use super::endpoints::EndpointState;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// Most endpoints of one Service over all of its ports and both families: some
/// 400 bytes each.
pub const ENDPOINTS_MAX: usize = 500_000;

/// The addresses of the endpoints of a Service.
#[derive(Debug, Default)]
pub(super) struct Addresses(BTreeMap<IpAddr, Candidate>);

/// One of them.
#[derive(Debug)]
struct Candidate {
    state: EndpointState,
    has_weight: bool,
    /// Ports of the Service that have an endpoint there.
    ports: usize,
}

impl Addresses {
    /// Counts the endpoints of so many ports at an address.
    pub(super) fn add(&mut self, addr: IpAddr, state: EndpointState, weight: u16, ports: usize) {
        let candidate =
            self.0.entry(addr).or_insert(Candidate { state, has_weight: false, ports: 0 });
        candidate.state = candidate.state.max(state);
        candidate.has_weight |= weight > 0;
        candidate.ports += ports;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that are used, on all of their ports; `None`: all. The best come
    /// first, then the lowest; of both families by turns, so that neither takes
    /// what the other needs.
    pub(super) fn choose(&self) -> Option<HashSet<IpAddr>> {
        let all: usize = self.0.values().map(|candidate| candidate.ports).sum();
        if all <= ENDPOINTS_MAX {
            return None;
        }
        let mut order: Vec<_> = self.0.iter().collect();
        // It keeps the order of addresses, and so IPv4 ahead of IPv6.
        order.sort_by_key(|(_, candidate)| Reverse((candidate.state, candidate.has_weight)));
        let mut places = [0, 0];
        let mut by_turns = Vec::with_capacity(order.len());
        for (addr, candidate) in order {
            let place = &mut places[usize::from(addr.is_ipv6())];
            by_turns.push((*place, addr, candidate.ports));
            *place += 1;
        }
        by_turns.sort_unstable();
        let mut left = ENDPOINTS_MAX;
        let chosen = by_turns.into_iter().filter(|(_, _, ports)| {
            let fits = *ports <= left;
            left -= if fits { *ports } else { 0 };
            fits
        });
        Some(chosen.map(|(_, addr, _)| *addr).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EndpointState::{Draining, NotReady, Ready};
    use std::collections::BTreeSet;

    /// An address of a family by its number.
    fn addr(is_ipv6: bool, number: u8) -> IpAddr {
        let text = if is_ipv6 { format!("fd00::{number:x}") } else { format!("10.0.0.{number}") };
        text.parse().unwrap()
    }

    fn chosen(addresses: &Addresses) -> BTreeSet<IpAddr> {
        addresses.choose().expect("too many").into_iter().collect()
    }

    #[test]
    fn all_are_used_while_they_fit() {
        let mut addresses = Addresses::default();
        (0..4).for_each(|i| addresses.add(addr(i % 2 == 0, i), Ready, 1, ENDPOINTS_MAX / 4));
        assert_eq!(addresses.choose(), None);
        addresses.add(addr(false, 9), Ready, 1, 1);
        assert_eq!(chosen(&addresses).len(), 4);
    }

    #[test]
    fn the_best_are_used_first_then_the_lowest() {
        let mut addresses = Addresses::default();
        let all = [(NotReady, 1), (Draining, 1), (Ready, 0), (Ready, 1), (Ready, 1), (Draining, 1)];
        for (i, (state, weight)) in (0..).zip(all) {
            addresses.add(addr(true, i), state, weight, ENDPOINTS_MAX / 4);
        }
        // In another slice it is ready.
        addresses.add(addr(true, 5), Ready, 1, 0);
        assert_eq!(chosen(&addresses), BTreeSet::from([2, 3, 4, 5].map(|i| addr(true, i))));
        addresses.add(addr(true, 6), Ready, 1, ENDPOINTS_MAX / 4);
        assert_eq!(chosen(&addresses), BTreeSet::from([3, 4, 5, 6].map(|i| addr(true, i))));
    }

    #[test]
    fn neither_family_takes_what_the_other_needs() {
        for many in [false, true] {
            let mut addresses = Addresses::default();
            (0..100).for_each(|i| addresses.add(addr(many, i), Ready, 1, ENDPOINTS_MAX / 10));
            (0..3).for_each(|i| addresses.add(addr(!many, i), Ready, 1, ENDPOINTS_MAX / 10));
            let few = (0..3).map(|i| addr(!many, i));
            assert_eq!(chosen(&addresses), few.chain((0..7).map(|i| addr(many, i))).collect());
        }
    }

    #[test]
    fn one_that_does_not_fit_makes_room_for_others() {
        let mut addresses = Addresses::default();
        addresses.add(addr(false, 0), Ready, 1, ENDPOINTS_MAX + 1);
        addresses.add(addr(false, 1), Ready, 1, 1);
        assert_eq!(chosen(&addresses), BTreeSet::from([addr(false, 1)]));
    }
}
