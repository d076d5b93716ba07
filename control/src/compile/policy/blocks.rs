//! Which blocks contain which addresses.

use super::AttributeId;
use hashbrown::HashMap;
use ipnet::IpNet;
use sluice_tables::Family;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The blocks that contain an address, in order.
pub(super) type BlockSet = Arc<[AttributeId]>;

/// All addresses of both families, as ranges whose addresses the same blocks
/// contain: blocks with one another are nested or apart, so that a range has one
/// for each length of prefix at most. What a rule excepts is a block like any other
/// here.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    v4: Vec<(u128, BlockSet)>,
    v6: Vec<(u128, BlockSet)>,
}

impl Blocks {
    /// The ranges that blocks make of the addresses.
    pub(super) fn new(blocks: impl Iterator<Item = (AttributeId, IpNet)> + Clone) -> Self {
        let of = |is_v4: bool| {
            sweep(blocks.clone().filter(move |(_, net)| net.addr().is_ipv4() == is_v4))
        };
        Blocks { v4: of(true), v6: of(false) }
    }

    /// The blocks that contain an address.
    pub(super) fn of(&self, addr: IpAddr) -> BlockSet {
        let ranges = self.ranges(addr.is_ipv4());
        let number = number(addr);
        let at = ranges.partition_point(|(first, _)| *first <= number);
        at.checked_sub(1).map_or_else(BlockSet::default, |at| ranges[at].1.clone())
    }

    /// First addresses of the ranges of a family (IPv4 as numbers of 32 bits), in
    /// order; below the first no block is.
    pub(super) fn ranges(&self, is_v4: bool) -> &[(u128, BlockSet)] {
        if is_v4 { &self.v4 } else { &self.v6 }
    }
}

/// An address as a number of its family's bits.
pub(super) fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

/// What [`number`] makes a number of.
pub(super) fn address<F: Family>(number: u128) -> Option<F::Addr> {
    let addr = if F::IS_V4 {
        IpAddr::from(u32::try_from(number).ok()?.to_be_bytes())
    } else {
        IpAddr::from(number.to_be_bytes())
    };
    debug_assert_eq!(self::number(addr), number);
    F::from_ip(addr)
}

/// Goes through the addresses in order, and notes where a block begins or ends.
fn sweep(blocks: impl Iterator<Item = (AttributeId, IpNet)>) -> Vec<(u128, BlockSet)> {
    let mut edges: Vec<(u128, bool, AttributeId)> = Vec::new();
    for (id, net) in blocks {
        let (first, last) = ends(&net);
        edges.push((first, true, id));
        // Nothing is beyond the last address of all.
        edges.extend(last.checked_add(1).map(|end| (end, false, id)));
    }
    edges.sort_unstable();
    let mut ranges: Vec<(u128, BlockSet)> = Vec::new();
    let mut sets: HashMap<Vec<AttributeId>, BlockSet> = HashMap::new();
    let mut open = BTreeSet::new();
    let mut edges = edges.into_iter().peekable();
    while let Some((at, begins, id)) = edges.next() {
        if begins {
            open.insert(id);
        } else {
            open.remove(&id);
        }
        if edges.peek().is_some_and(|(next, ..)| *next == at) {
            continue;
        }
        let set: Vec<AttributeId> = open.iter().copied().collect();
        let set = sets.entry(set).or_insert_with_key(|set| set.as_slice().into()).clone();
        ranges.push((at, set));
    }
    ranges
}

fn ends(net: &IpNet) -> (u128, u128) {
    (number(net.network()), number(net.broadcast()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_in_every_block_that_contains_it() {
        let all = [
            "0.0.0.0/0",
            "10.1.0.0/16",
            "10.1.2.0/24",
            "10.1.2.128/25",
            "::/0",
            "2001:db8:1::/48",
            "ffff::/16",
        ];
        let all = all.map(|net| net.parse().unwrap());
        let blocks = Blocks::new((0..).zip(all));
        for (addr, expected) in [
            ("0.0.0.0", vec![0]),
            ("10.1.0.1", vec![0, 1]),
            ("10.1.2.5", vec![0, 1, 2]),
            ("10.1.2.200", vec![0, 1, 2, 3]),
            ("10.1.3.0", vec![0, 1]),
            ("255.255.255.255", vec![0]),
            ("::", vec![4]),
            ("2001:db8:1::7", vec![4, 5]),
            ("2001:db8:2::7", vec![4]),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", vec![4, 6]),
        ] {
            assert_eq!(*blocks.of(addr.parse().unwrap()), *expected, "{addr}");
        }
    }

    proptest! {
        #[test]
        fn ranges_agree_with_asking_every_block(
            raw in prop::collection::btree_set((0u32..64, 26u8..=32), 0..20),
            asked in prop::collection::vec(0u32..80, 20),
        ) {
            let net = |(low, len): (u32, u8)| {
                let net = ipnet::Ipv4Net::new((0x0a00_0000 + low).into(), len).unwrap();
                IpNet::V4(net.trunc())
            };
            let all: BTreeSet<IpNet> = raw.into_iter().map(net).collect();
            let blocks = Blocks::new((0..).zip(all.iter().copied()));
            for low in asked {
                let addr = IpAddr::from((0x0a00_0000 + low).to_be_bytes());
                let containing = (0..).zip(&all).filter(|(_, net)| net.contains(&addr));
                let expected: Vec<AttributeId> = containing.map(|(id, _)| id).collect();
                prop_assert_eq!(&*blocks.of(addr), &*expected);
            }
        }
    }
}
