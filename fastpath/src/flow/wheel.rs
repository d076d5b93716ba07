use super::table::prefetch;

/// Slots of the wheel, a power of two.
const SLOTS: usize = 4096;
/// Milliseconds per slot, as a shift: 1,024 ms.
const TICK_SHIFT: u32 = 10;
const NONE: u32 = u32::MAX;

/// What the wheel keeps of a flow, beside what its entries do not need per
/// packet.
#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
    slot: u32,
}

/// A timer wheel: a list of flows per second of the next hour or so. A flow's
/// time is looked at when its slot comes up and not at every packet; one whose
/// time lies further ahead is put into a later slot again.
pub(super) struct Wheel {
    heads: Box<[u32]>,
    links: Vec<Link>,
    /// The tick that is being emptied.
    tick: u32,
}

impl Wheel {
    pub(super) fn new(flows: usize) -> Self {
        Wheel {
            heads: vec![NONE; SLOTS].into(),
            links: crate::hugepage::vec_with_capacity(flows),
            tick: 0,
        }
    }

    /// Bytes of memory for so many flows.
    pub(super) fn memory_bytes(&self, flows: usize) -> usize {
        size_of_val(&*self.heads) + flows * size_of::<Link>()
    }

    /// Bytes that were asked for.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        size_of_val(&*self.heads) + self.links.capacity() * size_of::<Link>()
    }

    /// Makes room for one more flow number.
    pub(super) fn grow(&mut self) {
        self.links.push(Link { prev: NONE, next: NONE, slot: NONE });
    }

    /// Puts a flow into the slot of `deadline_ms`, which lies ahead of `now_ms`.
    pub(super) fn insert(&mut self, flow: u32, deadline_ms: u32, now_ms: u32) {
        let ahead = (deadline_ms.wrapping_sub(now_ms) >> TICK_SHIFT) + 1;
        // Behind the slot that is being emptied lies the end of the round: after
        // a pause that one is some way behind `now`.
        let behind = (now_ms >> TICK_SHIFT).wrapping_sub(self.tick) & (u32::MAX >> TICK_SHIFT);
        let ahead = ahead.min((SLOTS as u32 - 2).saturating_sub(behind).max(1));
        let slot = (now_ms >> TICK_SHIFT).wrapping_add(ahead) as usize % SLOTS;
        let head = self.heads[slot];
        self.links[flow as usize] = Link { prev: NONE, next: head, slot: slot as u32 };
        if head != NONE {
            self.links[head as usize].prev = flow;
        }
        self.heads[slot] = flow;
    }

    /// Takes a flow out of its slot.
    pub(super) fn remove(&mut self, flow: u32) {
        let link = self.links[flow as usize];
        if link.slot == NONE {
            return;
        }
        if link.prev == NONE {
            self.heads[link.slot as usize] = link.next;
        } else {
            self.links[link.prev as usize].next = link.next;
        }
        if link.next != NONE {
            self.links[link.next as usize].prev = link.prev;
        }
        self.links[flow as usize].slot = NONE;
    }

    /// A flow whose slot has come up, taken out of it; `None` when all slots up
    /// to `now_ms` are empty.
    #[inline]
    pub(super) fn due(&mut self, now_ms: u32) -> Option<u32> {
        let now = now_ms >> TICK_SHIFT;
        loop {
            let flow = self.heads[self.tick as usize % SLOTS];
            if flow != NONE {
                self.remove(flow);
                // The next one's link is needed to take it out.
                self.prefetch(self.heads[self.tick as usize % SLOTS]);
                return Some(flow);
            }
            if self.tick == now {
                return None;
            }
            self.tick = self.next_tick(now);
        }
    }

    /// Asks the processor to load what the wheel keeps of a flow.
    #[inline]
    pub(super) fn prefetch(&self, flow: u32) {
        if let Some(link) = self.links.get(flow as usize) {
            prefetch(std::ptr::from_ref(link).cast());
        }
    }

    fn next_tick(&self, now: u32) -> u32 {
        // The tick counter wraps with the 32-bit milliseconds; after a long
        // pause one round visits every slot.
        let mask = u32::MAX >> TICK_SHIFT;
        if now.wrapping_sub(self.tick) & mask > SLOTS as u32 {
            now.wrapping_sub(SLOTS as u32) & mask
        } else {
            (self.tick + 1) & mask
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_come_due_in_their_second_and_not_before() {
        let mut wheel = Wheel::new(4);
        (0..4).for_each(|_| wheel.grow());
        wheel.insert(0, 5_000, 0);
        wheel.insert(1, 60_000, 0);
        wheel.insert(2, 60_000, 0);
        wheel.insert(3, 70_000, 0);
        wheel.remove(2);
        assert_eq!(wheel.due(4_000), None);
        assert_eq!(wheel.due(7_000), Some(0));
        assert_eq!(wheel.due(59_000), None);
        assert_eq!(wheel.due(62_000), Some(1));
        assert_eq!(wheel.due(62_000), None);
        assert_eq!(wheel.due(80_000), Some(3));
    }

    #[test]
    fn a_flow_put_back_after_a_pause_is_not_due_at_once() {
        let mut wheel = Wheel::new(2);
        (0..2).for_each(|_| wheel.grow());
        wheel.insert(0, 1_000, 0);
        wheel.insert(1, 2_000, 0);
        // Three slots behind: the first flow is put back an hour ahead while
        // the second is still to come.
        assert_eq!(wheel.due(9_000), Some(0));
        wheel.insert(0, 86_400_000, 9_000);
        assert_eq!(wheel.due(9_000), Some(1));
        assert_eq!(wheel.due(9_000), None);
    }

    #[test]
    fn time_may_wrap_and_stand_still_for_long() {
        let mut wheel = Wheel::new(1);
        wheel.grow();
        let start = u32::MAX - 1_000;
        assert_eq!(wheel.due(start), None);
        wheel.insert(0, start.wrapping_add(5_000), start);
        assert_eq!(wheel.due(1_000), None);
        assert_eq!(wheel.due(start.wrapping_add(8_000)), Some(0));
        wheel.insert(0, 100_000_000, 10_000);
        assert_eq!(wheel.due(200_000_000), Some(0));
    }
}
