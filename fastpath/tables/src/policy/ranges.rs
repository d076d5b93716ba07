use super::PeerId;
use crate::family::Family;

/// Keys of one step.
const FAN: usize = 16;

/// Every address's [`PeerId`], as ranges: where the policies' blocks and their
/// exceptions begin and end, another range begins, and its peer stands for all
/// blocks that contain it. The first addresses of ranges lie in a tree of 16
/// keys a node, so that a lookup looks at `log16` of them: 4 lines of memory for
/// 10,000 ranges of IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRanges<F: Family> {
    /// First addresses of all ranges but the first, in order; above it every
    /// 16th of the level below.
    levels: Vec<Vec<F::Number>>,
    /// The peers of all ranges.
    peers: Vec<PeerId>,
}

impl<F: Family> Default for AddressRanges<F> {
    fn default() -> Self {
        AddressRanges { levels: Vec::new(), peers: vec![PeerId::OUTSIDE] }
    }
}

impl<F: Family> AddressRanges<F> {
    /// The ranges that begin at these addresses, in order. Below the first of
    /// them is [`PeerId::OUTSIDE`].
    pub fn new(starts: impl IntoIterator<Item = (F::Addr, PeerId)>) -> Self {
        let mut ranges = AddressRanges::default();
        let mut keys = Vec::new();
        for (start, peer) in starts {
            if ranges.peers.last() != Some(&peer) {
                keys.push(F::number(&start));
                ranges.peers.push(peer);
            }
        }
        while !keys.is_empty() {
            let above: Vec<_> = keys.iter().copied().skip(FAN - 1).step_by(FAN).collect();
            ranges.levels.push(keys);
            keys = above;
        }
        ranges
    }

    /// The peer that an address is.
    #[inline]
    pub fn lookup(&self, addr: &F::Addr) -> PeerId {
        let number = F::number(addr);
        // Of each level: how many keys are not above the address.
        let mut rank = 0;
        for level in self.levels.iter().rev() {
            let from = rank * FAN;
            let node = level.get(from..level.len().min(from + FAN)).unwrap_or_default();
            rank = from + node.iter().map(|key| usize::from(*key <= number)).sum::<usize>();
        }
        self.peers.get(rank).copied().unwrap_or(PeerId::OUTSIDE)
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// True when every address is the same peer.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// The peers of the ranges, in order.
    pub fn peers(&self) -> &[PeerId] {
        &self.peers
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        let keys: usize = self.levels.iter().map(Vec::capacity).sum();
        keys * size_of::<F::Number>() + self.peers.capacity() * size_of::<PeerId>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{V4, V6};

    fn agrees<F: Family>(addr: impl Fn(u32) -> F::Addr) {
        for count in [0u32, 1, 2, 15, 16, 17, 255, 256, 257, 4096, 5000] {
            let starts = (0..count).map(|i| (addr(i * 10 + 5), PeerId(i + 1)));
            let ranges = AddressRanges::<F>::new(starts);
            assert_eq!(ranges.len(), count as usize + 1);
            for i in 0..count.min(300) {
                let at = i * (count / 300).max(1);
                let below = ranges.lookup(&addr(at * 10 + 4));
                assert_eq!(below, PeerId(at), "{at} of {count}");
                for offset in [5, 6, 14] {
                    assert_eq!(ranges.lookup(&addr(at * 10 + offset)), PeerId(at + 1));
                }
            }
            assert_eq!(ranges.lookup(&addr(u32::MAX)), PeerId(count));
            assert_eq!(ranges.lookup(&addr(0)), PeerId::OUTSIDE);
        }
    }

    #[test]
    fn every_address_is_in_its_range() {
        agrees::<V4>(|number| number.to_be_bytes());
        agrees::<V6>(|number| {
            let mut addr = [0xff; 16];
            addr[..8].fill(0x20);
            addr[8..12].copy_from_slice(&number.to_be_bytes());
            addr
        });
    }

    #[test]
    fn neighbors_of_the_same_peer_are_one_range() {
        let starts =
            [([10, 0, 0, 0], PeerId(1)), ([10, 1, 0, 0], PeerId(1)), ([11, 0, 0, 0], PeerId(0))];
        let ranges = AddressRanges::<V4>::new(starts);
        assert_eq!(ranges.len(), 3);
        assert_eq!(ranges.lookup(&[10, 255, 0, 0]), PeerId(1));
        assert_eq!(ranges.lookup(&[11, 0, 0, 0]), PeerId(0));
    }
}
