use crate::frame::Frame;
use crate::port::BURST;
use arrayvec::ArrayVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Frames with the time at which each is due; equal times keep their order.
pub(super) struct DelayLine {
    heap: BinaryHeap<Held>,
    held_max: usize,
    sequence: u64,
}

struct Held {
    due: Reverse<(u64, u64)>,
    frame: Frame,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

impl DelayLine {
    pub(super) fn new(held_max: usize) -> Self {
        DelayLine { heap: BinaryHeap::with_capacity(held_max), held_max, sequence: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Frames that can still be held.
    pub(super) fn room(&self) -> usize {
        self.held_max.saturating_sub(self.heap.len())
    }

    /// Holds a frame until `due_ns`; gives it back when too many are held.
    pub(super) fn push(&mut self, frame: Frame, due_ns: u64) -> Result<(), Frame> {
        if self.room() == 0 {
            return Err(frame);
        }
        self.heap.push(Held { due: Reverse((due_ns, self.sequence)), frame });
        self.sequence += 1;
        Ok(())
    }

    /// The frame that is due first, if it is due at `now_ns`.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<Frame> {
        let Reverse((due_ns, _)) = self.heap.peek()?.due;
        if due_ns > now_ns {
            return None;
        }
        self.heap.pop().map(|held| held.frame)
    }

    /// Frames that are due, while `frames` has room.
    pub(super) fn pop_all_due(&mut self, now_ns: u64, frames: &mut ArrayVec<Frame, BURST>) {
        while !frames.is_full()
            && let Some(frame) = self.pop_due(now_ns)
        {
            frames.push(frame);
        }
    }
}
