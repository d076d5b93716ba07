//! The memory of buffers: blocks that one pool lends to all connections of an engine.

use crate::tcp::pressure::{Pressure, SHARES, Share};
use std::collections::VecDeque;

/// Bytes of a block.
pub(in crate::tcp) const BLOCK: usize = 4_096;
/// Bytes of a window while memory is scarce.
const SMALL_WINDOW: u32 = 16 << 10;
/// What part a connection may have of the memory that is left.
const PART: usize = 8;
/// Bytes that it may have while memory is not scarce, at least.
const PART_LEAST: u32 = 64 << 10;
/// Blocks that are kept while nobody has them.
const SPARE_MAX: usize = 256;

type Block = Box<[u8; BLOCK]>;

/// Lends blocks, and knows how many are lent.
pub(in crate::tcp) struct Pool {
    spare: Vec<Block>,
    lent: usize,
    lent_of: [usize; SHARES],
    max: usize,
}

impl Pool {
    /// A pool that lends about so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        let spare = Vec::with_capacity(SPARE_MAX);
        Pool { spare, lent: 0, lent_of: [0; SHARES], max: bytes_max / BLOCK }
    }

    /// Bytes that are lent.
    pub fn bytes(&self) -> usize {
        self.lent * BLOCK
    }

    /// How much of all is lent, and of a share.
    pub fn pressure(&self, share: Share) -> Pressure {
        let of_share = Pressure::of(self.lent_of[share.index()], share.of(self.max));
        Pressure::of(self.lent, self.max).max(of_share)
    }

    /// Whether no more is lent to a share, but for the first block of a buffer.
    fn is_short(&self, share: Share) -> bool {
        self.lent >= self.max || self.lent_of[share.index()] >= share.of(self.max)
    }

    /// Bytes that the window of a connection may have: a part of what is left until
    /// memory is scarce, so that a few who want much of it do not make it scarce for all;
    /// without memory, what one block is enough for.
    pub fn window_max(&self, share: Share) -> u32 {
        // Asked for several times with each segment.
        let left = |lent: usize, max: usize| (lent < max.div_ceil(2)).then(|| max / 2 - lent);
        let of_share = || left(self.lent_of[share.index()], share.of(self.max));
        match left(self.lent, self.max).and_then(|left| Some(left.min(of_share()?))) {
            // As long as there is no pressure.
            Some(blocks) => {
                let bytes = blocks / PART * BLOCK;
                u32::try_from(bytes).unwrap_or(u32::MAX).max(PART_LEAST)
            }
            None if self.is_short(share) => BLOCK as u32 / 2,
            None => SMALL_WINDOW,
        }
    }

    fn take(&mut self, share: Share, is_first: bool) -> Option<Block> {
        // With its first block everybody gets on, if slowly.
        if self.is_short(share) && !is_first {
            return None;
        }
        self.lent += 1;
        self.lent_of[share.index()] += 1;
        Some(self.spare.pop().unwrap_or_else(|| Box::new([0; BLOCK])))
    }

    fn give(&mut self, share: Share, block: Block) {
        self.lent -= 1;
        self.lent_of[share.index()] -= 1;
        if self.spare.len() < SPARE_MAX {
            self.spare.push(block);
        }
    }
}

/// Bytes of a stream from a place on, as far as there are any; there may be gaps.
#[derive(Default)]
pub(super) struct Blocks {
    blocks: VecDeque<Option<Block>>,
    /// The place in the first block.
    head: u16,
    share: Share,
}

impl Blocks {
    /// None yet, of a share.
    pub fn new(share: Share) -> Self {
        Blocks { share, ..Blocks::default() }
    }

    /// Whose part of the memory they are.
    pub fn share(&self) -> Share {
        self.share
    }

    /// Writes at a distance from the place; as much as there is memory for, and says
    /// how much that is.
    pub fn write(&mut self, at: usize, data: &[u8], pool: &mut Pool) -> usize {
        let mut written = 0;
        while written < data.len() {
            let (index, from) = self.find(at + written);
            while self.blocks.len() <= index {
                self.blocks.push_back(None);
            }
            let place = &mut self.blocks[index];
            if place.is_none() {
                *place = pool.take(self.share, index == 0);
            }
            let Some(block) = place else { break };
            let len = (BLOCK - from).min(data.len() - written);
            block[from..from + len].copy_from_slice(&data[written..written + len]);
            written += len;
        }
        written
    }

    /// Reads at a distance from the place, where something was written.
    pub fn read(&self, at: usize, into: &mut [u8]) {
        let mut read = 0;
        while read < into.len() {
            let (index, from) = self.find(at + read);
            let len = (BLOCK - from).min(into.len() - read);
            let into = &mut into[read..read + len];
            match self.blocks.get(index) {
                Some(Some(block)) => into.copy_from_slice(&block[from..from + len]),
                _ => {
                    debug_assert!(false, "nothing was written there");
                    into.fill(0);
                }
            }
            read += len;
        }
    }

    /// Moves the place on, and lets go of what lies before it.
    pub fn advance(&mut self, bytes: usize, pool: &mut Pool) {
        let head = usize::from(self.head) + bytes;
        (0..head / BLOCK).for_each(|_| self.let_go_of_first(pool));
        self.head = (head % BLOCK) as u16;
    }

    /// Lets go of everything.
    pub fn clear(&mut self, pool: &mut Pool) {
        while !self.blocks.is_empty() {
            self.let_go_of_first(pool);
        }
        self.head = 0;
    }

    /// Lets go of the memory that holds no blocks, where there are none.
    pub fn shrink(&mut self) {
        if self.blocks.is_empty() {
            self.blocks.shrink_to_fit();
        }
    }

    fn let_go_of_first(&mut self, pool: &mut Pool) {
        if let Some(block) = self.blocks.pop_front().flatten() {
            pool.give(self.share, block);
        }
    }

    fn find(&self, at: usize) -> (usize, usize) {
        let at = usize::from(self.head) + at;
        (at / BLOCK, at % BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_over_gaps_and_blocks() {
        let mut pool = Pool::new(1 << 20);
        let mut blocks = Blocks::default();
        let data: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        assert_eq!(blocks.write(9_000, &data, &mut pool), 10_000);
        assert_eq!(pool.bytes(), 3 * BLOCK, "none where nothing was written");
        assert_eq!(blocks.write(0, &data[..9_000], &mut pool), 9_000);
        blocks.advance(5_000, &mut pool);
        let mut read = vec![0; 14_000];
        blocks.read(0, &mut read);
        assert_eq!(read[..4_000], data[5_000..9_000]);
        assert_eq!(read[4_000..], data);
        blocks.advance(14_000, &mut pool);
        blocks.clear(&mut pool);
        assert_eq!((pool.bytes(), pool.spare.len()), (0, 5));
    }

    #[test]
    fn a_pool_that_is_short_lends_the_first_block_to_each() {
        let mut pool = Pool::new(2 * BLOCK);
        let mut one = Blocks::default();
        assert_eq!(one.write(0, &[1; 3 * BLOCK], &mut pool), 2 * BLOCK);
        assert!(pool.is_short(Share::NONE));
        let mut two = Blocks::default();
        // What comes later does not take the place of what is next.
        assert_eq!(two.write(BLOCK, &[1], &mut pool), 0);
        assert_eq!(two.write(0, &[1; 3 * BLOCK], &mut pool), BLOCK);
        assert_eq!(pool.bytes(), 3 * BLOCK);
        one.clear(&mut pool);
        assert_eq!(two.write(BLOCK, &[1; 3 * BLOCK], &mut pool), BLOCK);
    }

    #[test]
    fn a_connection_may_have_a_part_of_what_is_left() {
        let one = Share::of_listener(1);
        let mut pool = Pool::new(10_000 * BLOCK);
        let parts = |pool: &Pool| [one, Share::NONE].map(|of| pool.window_max(of) as usize / BLOCK);
        assert_eq!(parts(&pool), [3_000 / 8, 5_000 / 8]);
        let all = vec![1; 2_600 * BLOCK];
        let mut greedy = Blocks::new(one);
        assert_eq!(greedy.write(0, &all, &mut pool), all.len());
        assert_eq!(parts(&pool), [400 / 8, 2_400 / 8]);
        // What everybody may have is not less before memory is scarce.
        let mut other = Blocks::new(one);
        assert_eq!(other.write(0, &all[..390 * BLOCK], &mut pool), 390 * BLOCK);
        assert_eq!(pool.window_max(one), PART_LEAST);
        assert_eq!(other.write(390 * BLOCK, &all[..10 * BLOCK], &mut pool), 10 * BLOCK);
        assert_eq!(pool.window_max(one), SMALL_WINDOW);
    }

    #[test]
    fn a_listener_leaves_something_to_the_others() {
        let [one, two] = [1, 2].map(Share::of_listener);
        let mut pool = Pool::new(100 * BLOCK);
        let mut greedy = Blocks::new(one);
        let all = vec![1; 200 * BLOCK];
        assert_eq!(greedy.write(0, &all[..30 * BLOCK], &mut pool), 30 * BLOCK);
        assert_eq!((pool.pressure(one), pool.pressure(two)), (Pressure::Windows, Pressure::None));
        assert_eq!(greedy.write(30 * BLOCK, &all, &mut pool), 30 * BLOCK);
        assert_eq!((pool.pressure(one), pool.pressure(two)), (Pressure::Ends, Pressure::Windows));
        assert_eq!((pool.window_max(one), pool.window_max(two)), (BLOCK as u32 / 2, SMALL_WINDOW));
        let mut other = Blocks::new(two);
        assert_eq!(other.write(0, &all, &mut pool), 40 * BLOCK);
        assert_eq!(pool.pressure(Share::NONE), Pressure::Ends);
        greedy.clear(&mut pool);
        assert_eq!((pool.pressure(one), pool.bytes()), (Pressure::None, 40 * BLOCK));
        other.clear(&mut pool);
        assert_eq!((pool.bytes(), pool.lent_of), (0, [0; SHARES]));
    }
}
