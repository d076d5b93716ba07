use std::array;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Chunks that move between a [`crate::FrameCache`] and the shared list in one step.
pub const BATCH: usize = 64;

/// The free chunks that no cache has. Threads hand them to each other in whole batches,
/// with one step for all of a batch: a step for each would cost more than to forward the
/// packet that was in it. The last to be given are the first to be taken, as their memory
/// is the most likely to be in a processor's cache.
pub struct FreeList {
    batches: Box<[Batch]>,
    /// Batches with chunks in them, and without.
    full: Stack,
    empty: Stack,
    full_len: AtomicUsize,
    /// Chunks that make no whole batch: what is left over of a UMEM or of a cache that has
    /// gone.
    rest: Mutex<Vec<u32>>,
    rest_len: AtomicUsize,
}

struct Batch {
    chunks: [AtomicU32; BATCH],
    /// The one below it in its stack.
    next: AtomicU32,
}

/// The end of a stack.
const NONE: u32 = u32::MAX;

/// A stack of batches, by their numbers: the topmost one, and above it how often that has
/// changed. Who has seen another count than is there now looks again.
struct Stack(AtomicU64);

impl Stack {
    fn new() -> Self {
        Stack(AtomicU64::new(NONE.into()))
    }

    fn push(&self, batches: &[Batch], number: u32) {
        let mut top = self.0.load(Ordering::Relaxed);
        loop {
            batches[number as usize].next.store(top as u32, Ordering::Relaxed);
            // What was written to the batch is there for whoever pops it.
            match self.replace(top, number, Ordering::Release) {
                Ok(()) => return,
                Err(other) => top = other,
            }
        }
    }

    fn pop(&self, batches: &[Batch]) -> Option<u32> {
        let mut top = self.0.load(Ordering::Acquire);
        loop {
            let number = top as u32;
            // Another may have it by now: then the count has changed.
            let next = batches.get(number as usize)?.next.load(Ordering::Relaxed);
            match self.replace(top, next, Ordering::Acquire) {
                Ok(()) => return Some(number),
                Err(other) => top = other,
            }
        }
    }

    fn replace(&self, top: u64, number: u32, success: Ordering) -> Result<(), u64> {
        let count = (top >> 32) as u32;
        let new = u64::from(count.wrapping_add(1)) << 32 | u64::from(number);
        let replaced = self.0.compare_exchange_weak(top, new, success, Ordering::Acquire);
        replaced.map(|_| ())
    }
}

impl FreeList {
    /// All of so many chunks.
    pub fn new(chunks: u32) -> Self {
        let batch = |_| Batch { chunks: array::from_fn(|_| AtomicU32::new(0)), next: NONE.into() };
        let batches: Box<[Batch]> = (0..chunks as usize / BATCH).map(batch).collect();
        let (full, empty) = (Stack::new(), Stack::new());
        (0..batches.len() as u32).for_each(|number| empty.push(&batches, number));
        let (full_len, rest_len) = Default::default();
        let list = FreeList { batches, full, empty, full_len, rest: Mutex::default(), rest_len };
        list.give(0..chunks);
        list
    }

    /// How many there are; an estimate while others take and give.
    pub fn len(&self) -> usize {
        self.full_len.load(Ordering::Relaxed) * BATCH + self.rest_len.load(Ordering::Relaxed)
    }

    /// Takes up to a batch.
    pub fn take(&self, mut each: impl FnMut(u32)) {
        if let Some(number) = self.full.pop(&self.batches) {
            self.full_len.fetch_sub(1, Ordering::Relaxed);
            let chunks = &self.batches[number as usize].chunks;
            chunks.iter().for_each(|chunk| each(chunk.load(Ordering::Relaxed)));
            return self.empty.push(&self.batches, number);
        }
        // Nobody waits for a lock in vain where there are no chunks at all.
        if self.rest_len.load(Ordering::Relaxed) > 0 {
            let mut rest = self.lock();
            let begin = rest.len().saturating_sub(BATCH);
            rest.drain(begin..).for_each(each);
            self.rest_len.store(rest.len(), Ordering::Relaxed);
        }
    }

    /// Gives back a whole batch.
    pub fn give_batch(&self, batch: [u32; BATCH]) {
        if !self.push(&batch) {
            self.give(batch);
        }
    }

    /// Gives back chunks that are no whole batch.
    #[cold]
    pub fn give(&self, chunks: impl IntoIterator<Item = u32>) {
        let mut rest = self.lock();
        rest.extend(chunks);
        while let Some(batch) = rest.last_chunk()
            && self.push(batch)
        {
            let left = rest.len() - BATCH;
            rest.truncate(left);
        }
        self.rest_len.store(rest.len(), Ordering::Relaxed);
    }

    /// False if no batch is empty: who takes one has not let go of it yet.
    fn push(&self, batch: &[u32; BATCH]) -> bool {
        let Some(number) = self.empty.pop(&self.batches) else { return false };
        for (place, chunk) in self.batches[number as usize].chunks.iter().zip(batch) {
            place.store(*chunk, Ordering::Relaxed);
        }
        self.full_len.fetch_add(1, Ordering::Relaxed);
        self.full.push(&self.batches, number);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u32>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn take_all(list: &FreeList) -> Vec<u32> {
        let mut taken = Vec::new();
        loop {
            let before = taken.len();
            list.take(|chunk| taken.push(chunk));
            if taken.len() == before {
                taken.sort_unstable();
                return taken;
            }
        }
    }

    #[test]
    fn what_is_given_in_pieces_is_taken_once() {
        for chunks in [1, 63, 64, 65, 200, 256] {
            let list = FreeList::new(chunks);
            for _ in 0..3 {
                assert_eq!(list.len(), chunks as usize);
                let taken = take_all(&list);
                assert_eq!(taken, (0..chunks).collect::<Vec<_>>());
                assert_eq!(list.len(), 0);
                for piece in taken.chunks(70) {
                    match piece.first_chunk() {
                        Some(batch) => {
                            list.give_batch(*batch);
                            list.give(piece[BATCH..].iter().copied());
                        }
                        None => list.give(piece.iter().copied()),
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_given_is_the_first_taken() {
        let list = FreeList::new(1024);
        let mut batches = [[0; BATCH]; 3];
        for batch in &mut batches {
            let mut places = batch.iter_mut();
            list.take(|chunk| *places.next().unwrap() = chunk);
        }
        for batch in batches {
            list.give_batch(batch);
            let mut taken = Vec::new();
            list.take(|chunk| taken.push(chunk));
            assert_eq!(taken, batch);
        }
    }

    #[test]
    fn threads_that_take_and_give_at_once_never_have_the_same() {
        const CHUNKS: u32 = 300;
        let list = FreeList::new(CHUNKS);
        let owned: Vec<AtomicU32> = (0..CHUNKS).map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (list, owned) = (&list, &owned);
                scope.spawn(move || {
                    let mut held: Vec<u32> = Vec::new();
                    for round in 0..20_000 {
                        let before = held.len();
                        list.take(|chunk| held.push(chunk));
                        for chunk in &held[before..] {
                            assert_eq!(owned[*chunk as usize].swap(1, Ordering::Relaxed), 0);
                        }
                        for chunk in &held {
                            owned[*chunk as usize].store(0, Ordering::Relaxed);
                        }
                        match held.last_chunk().copied() {
                            Some(batch) if round % 7 != thread => {
                                held.truncate(held.len() - BATCH);
                                list.give_batch(batch);
                                list.give(held.drain(..));
                            }
                            _ => list.give(held.drain(..)),
                        }
                    }
                });
            }
        });
        assert_eq!(take_all(&list).into_iter().collect::<HashSet<_>>().len(), CHUNKS as usize);
    }
}
