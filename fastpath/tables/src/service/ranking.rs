//! Who ranks a slot highest: rendezvous hashing (Thaler and Ravishankar, 1998)
//! over a fixed number of slots, with ranks that can be listed in order.
//!
//! Each backend ranks all slots by a permutation of its own, as in Maglev
//! (Eisenbud et al., NSDI 2016, section 3.4), and a slot goes to the backend that
//! ranks it highest. Other than in Maglev nobody's choice depends on anybody
//! else's, so a backend that comes or goes moves exactly its own share. For a
//! few backends the ranks are compared when a connection comes; for more, a
//! table of all slots is made beforehand, with the same outcome.

use crate::hash::fold;

/// Slots for up to so many backends, primes: at least 50 slots a backend. Few
/// sizes, since every choice changes where one ends.
const SIZES: [(usize, u32); 2] = [(2_000, 100_003), (10_000, 1_000_003)];

/// How many there are for as few backends as are compared one by one.
pub(super) const FEW: u32 = SIZES[0].1;

/// How many slots there are for a number of backends.
pub(super) fn slots(backends: usize) -> u32 {
    let fits = SIZES.iter().find(|(backends_max, _)| backends <= *backends_max);
    fits.map_or(SIZES[1].1, |(_, slots)| *slots)
}

/// How one backend ranks the slots: slot `offset` first, then every `skip`-th.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranking {
    /// The rank of slot `s` is `(s * factor + term) % slots`: the sequence,
    /// inverted.
    factor: u32,
    term: u32,
    /// One by the weight.
    pace: f32,
}

impl Ranking {
    /// The ranking of a backend with this hash and weight of [`FEW`] slots.
    pub(super) fn new(seed: u64, weight: u16) -> Self {
        let (offset, skip) = sequence(seed, FEW);
        let factor = inverse(skip, FEW);
        let minus_offset = u64::from(FEW - offset);
        let term = (minus_offset * u64::from(factor) % u64::from(FEW)) as u32;
        Ranking { factor, term, pace: pace(weight) }
    }

    /// The rank of a slot of [`FEW`], 0 for the one that it likes best.
    #[inline]
    fn rank(&self, slot: u32) -> u32 {
        let sum = u64::from(slot) * u64::from(self.factor) + u64::from(self.term);
        // By a constant: no division.
        (sum % u64::from(FEW)) as u32
    }
}

/// One by the weight, which is at least 1.
fn pace(weight: u16) -> f32 {
    1.0 / f32::from(weight.max(1))
}

/// The first slot of a backend's sequence, and the step to the next.
fn sequence(seed: u64, slots: u32) -> (u32, u32) {
    let slots = u64::from(slots);
    let offset = fold(seed, 0x8ebc_6af0_9c88_c6e3) % slots;
    let skip = fold(seed, 0x5899_65cc_7537_4cc3) % (slots - 1) + 1;
    (offset as u32, skip as u32)
}

/// The multiplicative inverse modulo a prime (Fermat's little theorem).
fn inverse(n: u32, prime: u32) -> u32 {
    let prime = u64::from(prime);
    let (mut base, mut exponent, mut result) = (u64::from(n), prime - 2, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % prime;
        }
        base = base * base % prime;
        exponent >>= 1;
    }
    result as u32
}

/// When a backend asks for the slot of a rank, in a race in which shares come
/// out as the weights are: the ranks are spread like arrivals of an exponential
/// clock that runs as fast as the weight says.
fn arrival(rank: u32, pace: f32, slots: u32) -> f64 {
    let left = 1.0 - (f64::from(rank) + 0.5) / f64::from(slots);
    -left.ln() * f64::from(pace)
}

/// The index of the ranking that wins a slot of [`FEW`]; the first one of equals.
#[inline]
pub(super) fn winner(rankings: &[Ranking], slot: u32, weighted: bool) -> Option<usize> {
    if weighted {
        let time = |ranking: &Ranking| arrival(ranking.rank(slot), ranking.pace, FEW);
        let times = rankings.iter().map(time).enumerate();
        return times.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i);
    }
    let ranks = rankings.iter().map(|ranking| ranking.rank(slot)).enumerate();
    ranks.min_by_key(|&(_, rank)| rank).map(|(i, _)| i)
}

const EMPTY: u16 = u16::MAX;

/// The winners of all slots, for backends of these hashes and weights. The
/// caller passes at least one and at most 10,000.
pub(super) fn table(backends: &[(u64, u16)], slots: u32) -> Box<[u16]> {
    if backends.iter().all(|(_, weight)| *weight == backends[0].1) {
        even_table(backends, slots)
    } else {
        weighted_table(backends, slots)
    }
}

/// A backend on its way through its sequence.
struct Walker {
    slot: u32,
    skip: u32,
}

impl Walker {
    fn new(seed: u64, slots: u32) -> Self {
        let (slot, skip) = sequence(seed, slots);
        Walker { slot, skip }
    }

    /// The slot of the next rank.
    fn next(&mut self, slots: u32) -> usize {
        let slot = self.slot;
        self.slot = ((u64::from(slot) + u64::from(self.skip)) % u64::from(slots)) as u32;
        slot as usize
    }
}

/// All ask for the slot of rank 0, then for that of rank 1, and so on: the first
/// one that asks has it.
fn even_table(backends: &[(u64, u16)], slots: u32) -> Box<[u16]> {
    let mut table = vec![EMPTY; slots as usize];
    let mut walkers: Vec<_> = backends.iter().map(|(seed, _)| Walker::new(*seed, slots)).collect();
    let mut left = slots;
    while left > 0 {
        for (i, walker) in walkers.iter_mut().enumerate() {
            let winner = &mut table[walker.next(slots)];
            if *winner == EMPTY {
                *winner = i as u16;
                left -= 1;
            }
        }
    }
    table.into()
}

/// As [`even_table`], in the order of [`arrival`]s. Time goes in steps, in which
/// the fastest asks some times; who came first within a step is compared.
fn weighted_table(backends: &[(u64, u16)], slots: u32) -> Box<[u16]> {
    const ASKS_A_STEP: f64 = 16.0;
    let mut table = vec![EMPTY; slots as usize];
    let mut won_at = vec![f64::INFINITY; slots as usize];
    let mut walkers: Vec<_> = backends
        .iter()
        .map(|(seed, weight)| {
            let pace = pace(*weight);
            (Walker::new(*seed, slots), pace, 0u32, arrival(0, pace, slots))
        })
        .collect();
    let fastest = walkers.iter().map(|walker| walker.1).fold(1.0, f32::min);
    let step = f64::from(fastest) * ASKS_A_STEP / f64::from(slots);
    let (mut left, mut now) = (slots, 0.0);
    while left > 0 {
        now += step;
        for (i, (walker, pace, rank, next)) in walkers.iter_mut().enumerate() {
            while *next <= now && *rank < slots {
                let slot = walker.next(slots);
                left -= u32::from(table[slot] == EMPTY);
                if *next < won_at[slot] {
                    (table[slot], won_at[slot]) = (i as u16, *next);
                }
                *rank += 1;
                *next = arrival(*rank, *pace, slots);
            }
        }
    }
    table.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_comparing_ranks_says() {
        for weights in [vec![1; 16], vec![7; 5], (1..=16).collect(), vec![1, 100, 1]] {
            let backends: Vec<(u64, u16)> =
                weights.iter().zip(1u64..).map(|(w, i)| (fold(i, !i), *w)).collect();
            let rankings: Vec<Ranking> =
                backends.iter().map(|(seed, weight)| Ranking::new(*seed, *weight)).collect();
            let is_weighted = weights.iter().any(|weight| *weight != weights[0]);
            let table = table(&backends, FEW);
            for slot in 0..FEW {
                let winner = winner(&rankings, slot, is_weighted);
                assert_eq!(winner, Some(usize::from(table[slot as usize])), "slot {slot}");
            }
        }
    }

    #[test]
    fn ranks_are_a_permutation() {
        let ranking = Ranking::new(12_345, 1);
        let mut seen = vec![false; FEW as usize];
        for slot in 0..FEW {
            seen[ranking.rank(slot) as usize] = true;
        }
        assert!(seen.into_iter().all(|seen| seen));
    }
}
