/// Sequence numbers behind the newest one that are remembered.
const WINDOW: u32 = 64;

/// What has come at one place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Track {
    /// The number after the newest one that has come.
    next: u32,
    /// Of those before it, bit by bit, which have come; the newest is bit 0.
    seen: u64,
}

/// What an arrival is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The next one, or one after it: those between may come later, or be lost.
    Forward,
    /// After a later one.
    OutOfOrder,
    /// It has come before.
    Duplicate,
}

impl Track {
    /// One where `next` is the next number.
    pub fn from(next: u32) -> Self {
        // What was before is not waited for.
        Track { next, seen: u64::MAX }
    }

    /// Notes an arrival. One more than 64 numbers late counts as out of order: whether it
    /// is a duplicate is not known any more.
    #[inline]
    pub fn note(&mut self, seq: u32) -> Arrival {
        if seq >= self.next {
            let steps = seq - self.next + 1;
            self.seen = if steps < WINDOW { self.seen << steps | 1 } else { 1 };
            self.next = seq.saturating_add(1);
            return Arrival::Forward;
        }
        let back = self.next - 1 - seq;
        if back >= WINDOW {
            return Arrival::OutOfOrder;
        }
        let bit = 1 << back;
        if self.seen & bit != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= bit;
        Arrival::OutOfOrder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::Random;
    use Arrival::*;

    #[test]
    fn gaps_swaps_and_repeats_are_told_apart() {
        let mut track = Track::default();
        let arrivals = [0, 1, 3, 2, 2, 3, 10, 9, 0].map(|seq| track.note(seq));
        let expected = [
            Forward, Forward, Forward, OutOfOrder, Duplicate, Duplicate, Forward, OutOfOrder,
            Duplicate,
        ];
        assert_eq!(arrivals, expected);
        assert_eq!(track.note(1000), Forward);
        assert_eq!(track.note(900), OutOfOrder);
        assert_eq!(Track::from(5).note(4), Duplicate);
        assert_eq!(Track::from(5).note(5), Forward);
        assert_eq!(Track::from(u32::MAX).note(u32::MAX), Forward);
    }

    #[test]
    fn it_agrees_with_a_set_of_all_that_came() {
        let mut random = Random::new(7);
        let (mut track, mut came) = (Track::default(), std::collections::HashSet::new());
        for step in 0..20_000u32 {
            // Never further back than the window.
            let seq = (step + 40).saturating_sub(random.below(60) as u32);
            let newest = came.iter().max().is_none_or(|newest| seq > *newest);
            let arrival = track.note(seq);
            let expected = match (came.insert(seq), newest) {
                (false, _) => Duplicate,
                (true, true) => Forward,
                (true, false) => OutOfOrder,
            };
            assert_eq!(arrival, expected, "{seq} at {step}");
            came.retain(|old| seq.saturating_sub(*old) < 200);
        }
    }
}
