use super::PeerId;
use crate::family::Family;

/// Keys of one step.
const FAN: usize = 16;

/// Keys that are looked at together, in as few lines of memory as they can be in:
/// all are compared, to leave early would be a branch that cannot be foreseen. Behind
/// the last one is the highest address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
struct Node<N>([N; FAN]);

/// Every address's [`PeerId`], as ranges: where the policies' blocks and their
/// exceptions begin and end, another range begins, and its peer stands for all
/// blocks that contain it. The first addresses of ranges lie in a tree of 16
/// keys a node, so that a lookup looks at `log16` of them: 4 lines of memory for
/// 10,000 ranges of IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRanges<F: Family> {
    /// First addresses of all ranges but the first, in order; above it every
    /// 16th of the level below.
    levels: Vec<Vec<Node<F::Number>>>,
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
            let node = |keys: &[F::Number]| {
                Node(std::array::from_fn(|at| keys.get(at).copied().unwrap_or(F::HIGHEST)))
            };
            ranges.levels.push(keys.chunks(FAN).map(node).collect());
            keys = keys.iter().copied().skip(FAN - 1).step_by(FAN).collect();
        }
        ranges
    }

    /// The peer that an address is.
    #[inline]
    pub fn lookup(&self, addr: &F::Addr) -> PeerId {
        let number = F::number(addr);
        // Of each level: how many keys are not above the address. The highest is not
        // above all that there are not.
        let mut rank = 0;
        for level in self.levels.iter().rev() {
            let at = rank.min(level.len() - 1);
            let node = &level[at].0;
            let below = node.iter().map(|key| u32::from(*key <= number)).sum::<u32>();
            rank = at * FAN + below as usize;
        }
        self.peers.get(rank).or(self.peers.last()).copied().unwrap_or(PeerId::OUTSIDE)
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
        let nodes: usize = self.levels.iter().map(Vec::capacity).sum();
        nodes * size_of::<Node<F::Number>>() + self.peers.capacity() * size_of::<PeerId>()
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
            let mut highest = addr(0);
            highest.as_mut().fill(u8::MAX);
            assert_eq!(ranges.lookup(&highest), PeerId(count));
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
    fn the_highest_address_may_be_a_range() {
        for before in [0, 14, 15, 16, 255] {
            let starts = (0..before).map(|i| ([i as u8, 0, 0, 1], PeerId(i + 1)));
            let ranges = AddressRanges::<V4>::new(starts.chain([([255; 4], PeerId(9999))]));
            assert_eq!(ranges.lookup(&[255; 4]), PeerId(9999), "{before}");
            assert_eq!(ranges.lookup(&[255, 255, 255, 254]), PeerId(before));
        }
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
