//! Which blocks contain which addresses.

use super::AttributeId;
use crate::cluster::network_policy::Block;
use hashbrown::HashMap;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// The blocks that contain an address, in order.
pub(super) type BlockSet = Arc<[AttributeId]>;

/// All addresses of both families, as ranges whose addresses the same blocks
/// contain.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    v4: Vec<(u128, BlockSet)>,
    v6: Vec<(u128, BlockSet)>,
}

impl Blocks {
    /// The ranges that blocks make of the addresses.
    pub(super) fn new<'a>(blocks: impl Iterator<Item = (AttributeId, &'a Block)> + Clone) -> Self {
        let of = |is_v4: bool| {
            sweep(blocks.clone().filter(move |(_, b)| b.net.addr().is_ipv4() == is_v4))
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

/// Goes through the addresses in order, and notes where a block begins or ends.
fn sweep<'a>(blocks: impl Iterator<Item = (AttributeId, &'a Block)>) -> Vec<(u128, BlockSet)> {
    let mut edges: Vec<(u128, bool, AttributeId)> = Vec::new();
    for (id, block) in blocks {
        for (first, last) in pieces(block) {
            edges.push((first, true, id));
            // Nothing is beyond the last address of all.
            edges.extend(last.checked_add(1).map(|end| (end, false, id)));
        }
    }
    // Ends come before beginnings: a block may go on behind an exception.
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

/// First and last addresses of what a block has beside its exceptions, in order.
fn pieces(block: &Block) -> Vec<(u128, u128)> {
    let (begin, end) = ends(&block.net);
    let mut except: Vec<_> = block.except.iter().map(ends).collect();
    except.sort_unstable();
    let mut pieces = Vec::new();
    let mut next = Some(begin);
    for (first, last) in except {
        let Some(from) = next else { break };
        if first > from {
            pieces.push((from, (first - 1).min(end)));
        }
        next = last.checked_add(1).map(|after| after.max(from));
    }
    pieces.extend(next.filter(|from| *from <= end).map(|from| (from, end)));
    pieces
}

fn ends(net: &IpNet) -> (u128, u128) {
    (number(net.network()), number(net.broadcast()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(net: &str, except: &[&str]) -> Block {
        let except = except.iter().map(|net| net.parse().unwrap()).collect();
        Block { net: net.parse().unwrap(), except }
    }

    #[test]
    fn an_address_is_in_every_block_that_contains_it() {
        let all = [
            block("0.0.0.0/0", &["10.0.0.0/8"]),
            block("10.1.0.0/16", &["10.1.2.0/24", "10.1.3.0/24"]),
            block("10.1.2.128/25", &[]),
            block("::/0", &["2001:db8::/32"]),
            block("2001:db8:1::/48", &[]),
            block("ffff::/16", &[]),
        ];
        let blocks = Blocks::new((0..).zip(&all));
        for (addr, expected) in [
            ("0.0.0.0", vec![0]),
            ("9.255.255.255", vec![0]),
            ("10.0.0.0", vec![]),
            ("10.1.0.1", vec![1]),
            ("10.1.2.5", vec![]),
            ("10.1.2.200", vec![2]),
            ("10.1.3.255", vec![]),
            ("10.1.4.0", vec![1]),
            ("255.255.255.255", vec![0]),
            ("::", vec![3]),
            ("2001:db8:1::7", vec![4]),
            ("2001:db8:2::7", vec![]),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", vec![3, 5]),
        ] {
            assert_eq!(*blocks.of(addr.parse().unwrap()), *expected, "{addr}");
        }
    }

    proptest! {
        #[test]
        fn ranges_agree_with_asking_every_block(
            raw in prop::collection::vec((0u32..64, 26u8..=32, prop::collection::vec((0u32..64, 27u8..=32), 0..3)), 0..12),
            asked in prop::collection::vec(0u32..80, 20),
        ) {
            let net = |(low, len): (u32, u8)| {
                let net = ipnet::Ipv4Net::new((0x0a00_0000 + low).into(), len).unwrap();
                IpNet::V4(net.trunc())
            };
            let all: Vec<Block> = raw
                .into_iter()
                .map(|(low, len, except)| {
                    let outer = net((low, len));
                    let except = except.into_iter().map(net).filter(|inner| outer.contains(inner));
                    Block { net: outer, except: except.collect() }
                })
                .collect();
            let blocks = Blocks::new((0..).zip(&all));
            for low in asked {
                let addr = IpAddr::from((0x0a00_0000 + low).to_be_bytes());
                let expected: Vec<AttributeId> = (0..)
                    .zip(&all)
                    .filter(|(_, b)| b.net.contains(&addr) && !b.except.iter().any(|e| e.contains(&addr)))
                    .map(|(id, _)| id)
                    .collect();
                prop_assert_eq!(&*blocks.of(addr), &*expected);
            }
        }
    }
}
