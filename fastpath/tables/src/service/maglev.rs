//! The Maglev table (Eisenbud et al., "Maglev: A Fast and Reliable Software
//! Network Load Balancer", NSDI 2016, section 3.4).

use crate::hash::fold;

/// Table sizes, primes: at least 100 slots a backend, so that shares are within
/// 1% of fair. Few sizes, since the whole table changes where one ends.
const SIZES: [(usize, usize); 2] = [(1_000, 100_003), (10_000, 1_000_003)];

/// Fills a table of a prime number of slots with the indexes of `seeds`. The
/// caller passes at least one and at most 10,000 distinct seeds.
pub(super) fn build(seeds: &[u64]) -> Box<[u16]> {
    let size = SIZES
        .iter()
        .find(|(backends_max, _)| seeds.len() <= *backends_max)
        .map_or(SIZES[1].1, |(_, size)| *size);
    const EMPTY: u16 = u16::MAX;
    let mut table = vec![EMPTY; size];
    let mut next: Vec<usize> = seeds.iter().map(|&seed| offset(seed, size)).collect();
    let skips: Vec<usize> = seeds.iter().map(|&seed| skip(seed, size)).collect();
    let mut filled = 0;
    loop {
        for (i, position) in next.iter_mut().enumerate() {
            while table[*position] != EMPTY {
                *position = (*position + skips[i]) % size;
            }
            table[*position] = i as u16;
            filled += 1;
            if filled == size {
                return table.into();
            }
        }
    }
}

fn offset(seed: u64, size: usize) -> usize {
    (fold(seed, 0x8ebc_6af0_9c88_c6e3) % size as u64) as usize
}

fn skip(seed: u64, size: usize) -> usize {
    (fold(seed, 0x5899_65cc_7537_4cc3) % (size as u64 - 1)) as usize + 1
}
