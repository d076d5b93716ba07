//! Timers: a hierarchical timing wheel (Varghese and Lauck), its lists threaded
//! through an array with one place for each timer. Setting, moving and ending
//! a timer costs the same however many there are; one that is not due costs
//! nothing.

/// Nanoseconds of a tick, as a shift: 0.26 ms.
const TICK_SHIFT: u32 = 18;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 48 bits of ticks: more than the 46 that nanoseconds have.
const LEVELS: usize = 8;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    prev: u32,
    /// Level x `SLOTS` + slot; `NONE` while not in a list.
    list: u32,
    /// The tick that it is set for.
    at: u64,
}

const UNSET: Link = Link { next: NONE, prev: NONE, list: NONE, at: u64::MAX };

/// One timer for each of the numbers from 0.
pub(crate) struct Wheel {
    links: Vec<Link>,
    heads: Box<[[u32; SLOTS]; LEVELS]>,
    /// A bit for each list that is not empty.
    occupied: [u64; LEVELS],
    /// Everything before this tick is over.
    tick: u64,
}

impl Wheel {
    /// A wheel with room for so many timers; more are made as they are set.
    pub fn new(timers: usize) -> Self {
        Wheel {
            links: Vec::with_capacity(timers),
            heads: Box::new([[NONE; SLOTS]; LEVELS]),
            occupied: [0; LEVELS],
            tick: 0,
        }
    }

    /// Sees to it that `n` comes out of [`Wheel::pop`] at `at_ns` or before.
    pub fn set(&mut self, n: u32, at_ns: u64) {
        let at = at_ns.div_ceil(1 << TICK_SHIFT).max(self.tick);
        if self.links.len() <= n as usize {
            self.links.resize(n as usize + 1, UNSET);
        }
        let link = self.links[n as usize];
        if link.list != NONE && link.at <= at {
            return;
        }
        self.clear(n);
        // The highest bit in which they differ says when it has to be looked at again.
        let differs = (at ^ self.tick) | 1;
        let level = (63 - differs.leading_zeros()) / SLOT_BITS;
        let slot = (at >> (level * SLOT_BITS)) as usize % SLOTS;
        let head = &mut self.heads[level as usize][slot];
        let next = std::mem::replace(head, n);
        if next != NONE {
            self.links[next as usize].prev = n;
        }
        self.occupied[level as usize] |= 1 << slot;
        self.links[n as usize] =
            Link { next, prev: NONE, list: level * SLOTS as u32 + slot as u32, at };
    }

    /// Ends the timer of `n`.
    pub fn clear(&mut self, n: u32) {
        let Some(link) = self.links.get_mut(n as usize) else { return };
        let Link { next, prev, list, .. } = std::mem::replace(link, UNSET);
        if list == NONE {
            return;
        }
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
        if prev != NONE {
            self.links[prev as usize].next = next;
            return;
        }
        let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
        self.heads[level][slot] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }

    /// One that is to be looked at by `now_ns`, its timer over. It may not be due:
    /// set it again.
    pub fn pop(&mut self, now_ns: u64) -> Option<u32> {
        let now = now_ns >> TICK_SHIFT;
        match self.first() {
            Some((tick, level, slot)) if tick <= now => {
                self.tick = self.tick.max(tick);
                let n = self.heads[level][slot];
                self.clear(n);
                Some(n)
            }
            _ => {
                self.tick = self.tick.max(now);
                None
            }
        }
    }

    /// When to call [`Wheel::pop`] next.
    pub fn next_ns(&self) -> Option<u64> {
        self.first().map(|(tick, ..)| tick << TICK_SHIFT)
    }

    /// The first list: its tick, level and slot.
    fn first(&self) -> Option<(u64, usize, usize)> {
        (0..LEVELS)
            .filter(|level| self.occupied[*level] != 0)
            .map(|level| {
                let shift = level as u32 * SLOT_BITS;
                // None lies before the slot that it is now, whose own list has begun.
                let slot = self.occupied[level].trailing_zeros() as usize;
                let window = self.tick >> shift >> SLOT_BITS << SLOT_BITS;
                ((window + slot as u64) << shift, level, slot)
            })
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const TICK: u64 = 1 << TICK_SHIFT;

    /// Everything that is due at a time, as an engine takes it out.
    fn due(wheel: &mut Wheel, times: &BTreeMap<u32, u64>, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        while let Some(n) = wheel.pop(now) {
            if times[&n] <= now { due.push(n) } else { wheel.set(n, times[&n]) }
        }
        due.sort_unstable();
        due
    }

    proptest! {
        #[test]
        fn what_is_due_comes_out_and_nothing_else(
            steps in prop::collection::vec((0u32..20, 0u64..40, 0u32..4, 0u64..30), 1..80)
        ) {
            let (mut wheel, mut times, mut now) = (Wheel::new(20), BTreeMap::new(), 0);
            for (n, ahead, what, step) in steps {
                // Near and far: up to hours.
                let at = now + (ahead << (ahead % 40));
                match what {
                    0 => { wheel.clear(n); times.remove(&n); }
                    _ => { times.insert(n, at); wheel.set(n, at); }
                }
                now += step << (step % 38);
                if let Some(next) = wheel.next_ns() {
                    let first = times.values().min().copied().unwrap_or(u64::MAX);
                    prop_assert!(next <= first.next_multiple_of(TICK));
                }
                let out = due(&mut wheel, &times, now);
                // A tick's rounding at most is missing.
                for (n, at) in &times {
                    prop_assert!(out.contains(n) || *at + TICK > now, "{n} is late");
                }
                for n in out { times.remove(&n); }
                for (n, at) in &times { wheel.set(*n, *at); }
            }
        }
    }

    #[test]
    fn a_timer_that_moves_back_is_looked_at_once_and_costs_nothing_else() {
        let mut wheel = Wheel::new(4);
        wheel.set(3, 10 * TICK);
        wheel.set(3, 1_000 * TICK);
        assert_eq!(wheel.next_ns(), Some(10 * TICK), "it stays where it is");
        wheel.set(3, 5 * TICK);
        assert_eq!(wheel.pop(5 * TICK - 1), None);
        assert_eq!(wheel.pop(5 * TICK), Some(3));
        assert_eq!(wheel.next_ns(), None);
    }
}
