use std::collections::BTreeMap;

/// A set of numbers as ranges that neither touch nor overlap: its size is that
/// of its gaps, not of its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FreeSet {
    /// From the first number of a range to its last.
    ranges: BTreeMap<u128, u128>,
}

impl FreeSet {
    /// The lowest number.
    pub(super) fn first(&self) -> Option<u128> {
        self.ranges.first_key_value().map(|(first, _)| *first)
    }

    /// Adds the numbers `first..=last`, none of which is in the set.
    pub(super) fn give(&mut self, first: u128, last: u128) {
        let below = self.ranges.range(..first).next_back().map(|(a, b)| (*a, *b));
        let below = below.filter(|(_, end)| end.checked_add(1) == Some(first));
        let above = last.checked_add(1).and_then(|next| self.ranges.remove_entry(&next));
        let start = below.map_or(first, |(start, _)| start);
        self.ranges.insert(start, above.map_or(last, |(_, end)| end));
    }

    /// Removes a number that is in the set.
    pub(super) fn take(&mut self, number: u128) {
        let range = self.ranges.range(..=number).next_back().map(|(a, b)| (*a, *b));
        let Some((first, last)) = range.filter(|(_, last)| number <= *last) else { return };
        self.ranges.remove(&first);
        if first < number {
            self.ranges.insert(first, number - 1);
        }
        if number < last {
            self.ranges.insert(number + 1, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against a set of single numbers, at both ends of what numbers there are.
        #[test]
        fn it_is_a_set(ops in prop::collection::vec((0_u128..24, any::<bool>()), 0..200)) {
            for base in [0, u128::MAX - 23] {
                let mut subject = FreeSet::default();
                let mut oracle = BTreeSet::new();
                for (offset, is_given) in &ops {
                    let number = base + offset;
                    match is_given {
                        true if oracle.insert(number) => subject.give(number, number),
                        true => {}
                        false => {
                            oracle.remove(&number);
                            subject.take(number);
                        }
                    }
                    prop_assert_eq!(subject.first(), oracle.first().copied());
                    let all = subject.ranges.iter().flat_map(|(a, b)| *a..=*b);
                    prop_assert!(all.eq(oracle.iter().copied()));
                    let gaps = oracle.iter().filter(|n| {
                        n.checked_sub(1).is_none_or(|below| !oracle.contains(&below))
                    });
                    prop_assert_eq!(subject.ranges.len(), gaps.count());
                }
            }
        }
    }
}
