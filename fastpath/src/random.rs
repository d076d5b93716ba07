use sluice_tables::hash::fold;

/// A small generator (wyrand) for choices that must not be guessable from
/// outside but need no cryptographic strength; seeded by the appliance from
/// the operating system.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random { state: seed }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0xa076_1d64_78bd_642f);
        fold(self.state, self.state ^ 0xe703_7ed1_a0b4_28db)
    }

    /// A number below `n`, which is not 0.
    #[inline]
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        (((self.next() >> 32) * u64::from(n)) >> 32) as u32
    }
}
