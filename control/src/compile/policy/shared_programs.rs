//! Programs of rows, each once: many subjects are told the same.

use hashbrown::HashMap;
use sluice_tables::policy::{Programs, Rows};
use std::collections::BTreeSet;
use std::sync::Arc;

/// All programs that rows have.
#[derive(Debug, Default)]
pub(super) struct SharedPrograms {
    numbers: HashMap<Arc<Programs>, u32>,
    slots: Vec<Option<(Arc<Programs>, usize)>>,
    free: BTreeSet<u32>,
}

impl SharedPrograms {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Another use of programs: their number.
    pub(super) fn acquire(&mut self, programs: Programs, rows: &mut Rows) -> u32 {
        if let Some(&number) = self.numbers.get(&programs)
            && let Some((_, uses)) = &mut self.slots[number as usize]
        {
            *uses += 1;
            return number;
        }
        let number = self.free.pop_first().unwrap_or(self.slots.len() as u32);
        rows.programs.set(number, programs.clone());
        let programs = Arc::new(programs);
        self.numbers.insert(programs.clone(), number);
        let slot = Some((programs, 1));
        match self.slots.get_mut(number as usize) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        number
    }

    /// One use less.
    pub(super) fn release(&mut self, number: u32, rows: &mut Rows) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        let Some((programs, uses)) = slot else { return };
        *uses -= 1;
        if *uses == 0 {
            self.numbers.remove(&*programs);
            *slot = None;
            self.free.insert(number);
            rows.programs.set(number, Programs::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tables::RuleId;
    use sluice_tables::policy::{Excuse, Outcome, PortKey, Span, Verdict};

    #[test]
    fn what_is_the_same_has_one_number_as_long_as_it_is_used() {
        let programs = |rule| {
            let outcome = Outcome::new(Verdict::Allow, RuleId(rule), Excuse::None);
            let program = [Span { last: PortKey::LAST, outcome }];
            Programs::new(1, std::iter::once(&program[..]))
        };
        let (mut shared, mut rows) = (SharedPrograms::default(), Rows::default());
        let one = shared.acquire(programs(7), &mut rows);
        assert_eq!(shared.acquire(programs(7), &mut rows), one);
        let other = shared.acquire(programs(8), &mut rows);
        assert_ne!(other, one);
        shared.release(one, &mut rows);
        assert_eq!(rows.programs.get(one), Some(&programs(7)));
        shared.release(one, &mut rows);
        assert_eq!((rows.programs.get(one), shared.len()), (Some(&Programs::default()), 1));
        assert_eq!(shared.acquire(programs(9), &mut rows), one);
        assert_eq!(rows.programs.get(one), Some(&programs(9)));
        assert_eq!(rows.programs.get(other), Some(&programs(8)));
    }
}
