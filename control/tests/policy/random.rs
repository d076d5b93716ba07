//! Small random clusters full of policies, from a seed: the same seed gives the
//! same cluster. Labels, addresses and ports are few, so that selectors, blocks
//! and ranges meet.

mod changes;
mod cluster;
mod cluster_policies;
mod large;
mod network_policies;
mod questions;
mod selectors;
mod shrink;
mod steps;
mod valid;

#[cfg(test)]
mod tests;

pub use large::large;
pub use shrink::shrink;
pub use steps::{Objects, Step, steps, to_manifest};

use std::ops::RangeInclusive;

/// Where all chance comes from.
pub struct Dice(fastrand::Rng);

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub fn of(seed: u64) -> Self {
        Dice(fastrand::Rng::with_seed(seed))
    }

    /// True so many times of a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.0.u32(0..100) < percent
    }

    /// One of some.
    pub fn pick<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        &some[self.0.usize(0..some.len())]
    }

    /// A number of a range.
    pub fn number(&mut self, range: RangeInclusive<usize>) -> usize {
        self.0.usize(range)
    }

    /// So many of what a function makes.
    pub fn some<T>(
        &mut self,
        count: RangeInclusive<usize>,
        mut make: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        (0..self.number(count)).map(|_| make(self)).collect()
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, some: &mut [T]) {
        self.0.shuffle(some);
    }
}
