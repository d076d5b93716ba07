use super::clock::SharedClock;
use crate::frame::Frame;
use crate::port::{BURST, Port, PortInfo, PortStats, RxBurst};
use crate::umem::FrameCache;
use arrayvec::ArrayVec;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Frames held back in one direction.
mod delay;
/// Random numbers that can be repeated.
mod random;

use delay::DelayLine;
use random::Random;

/// What is done to the frames of one direction. Chances are in millionths, and
/// each frame's are drawn in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Chance that a frame is lost.
    pub loss_ppm: u32,
    /// Chance that one bit of it is turned over.
    pub corrupt_ppm: u32,
    /// Chance that it comes twice.
    pub duplicate_ppm: u32,
    /// Chance that it is held back by `reorder_ns`, so that later ones pass it.
    pub reorder_ppm: u32,
    /// How long those are held back, in nanoseconds.
    pub reorder_ns: u64,
    /// Delay of every frame, in nanoseconds.
    pub delay_ns: u64,
    /// Up to this much is added to it at random, in nanoseconds. (Which
    /// reorders too.)
    pub jitter_ns: u64,
    /// Frames held at most, a burst that has just come included. More are lost
    /// on receive, and refused on send.
    pub held_max: usize,
}

impl Faults {
    /// None at all.
    pub const NONE: Faults = Faults {
        loss_ppm: 0,
        corrupt_ppm: 0,
        duplicate_ppm: 0,
        reorder_ppm: 0,
        reorder_ns: 0,
        delay_ns: 0,
        jitter_ns: 0,
        held_max: 1024,
    };
}

/// What was done to the frames of one direction. Monotonic; clones of the
/// handle read the same counts.
#[derive(Clone, Debug, Default)]
pub struct FaultCounts {
    lost: Arc<AtomicU64>,
    corrupted: Arc<AtomicU64>,
    duplicated: Arc<AtomicU64>,
    reordered: Arc<AtomicU64>,
    overflowed: Arc<AtomicU64>,
}

/// The values of [`FaultCounts`] at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultTotals {
    /// Frames lost by chance.
    pub lost: u64,
    /// Frames with a bit turned over.
    pub corrupted: u64,
    /// Frames that came twice.
    pub duplicated: u64,
    /// Frames held back so that others passed.
    pub reordered: u64,
    /// Frames lost because too many were held, and copies that were not made
    /// for that reason or because the UMEM had run out.
    pub overflowed: u64,
}

impl FaultCounts {
    /// The values now.
    pub fn totals(&self) -> FaultTotals {
        FaultTotals {
            lost: self.lost.load(Ordering::Relaxed),
            corrupted: self.corrupted.load(Ordering::Relaxed),
            duplicated: self.duplicated.load(Ordering::Relaxed),
            reordered: self.reordered.load(Ordering::Relaxed),
            overflowed: self.overflowed.load(Ordering::Relaxed),
        }
    }
}

/// One direction: faults, their counts, and the frames held back.
struct Direction {
    faults: Faults,
    random: Random,
    counts: FaultCounts,
    held: DelayLine,
}

impl Direction {
    fn new(faults: Faults, random: Random) -> Self {
        let held = DelayLine::new(faults.held_max);
        Direction { faults, random, counts: FaultCounts::default(), held }
    }

    /// Draws a chance; counts when it comes true.
    fn strikes(&mut self, ppm: u32, count: fn(&FaultCounts) -> &AtomicU64) -> bool {
        let strikes = self.random.chance(ppm);
        if strikes {
            count(&self.counts).fetch_add(1, Ordering::Relaxed);
        }
        strikes
    }

    /// Subjects a frame to the faults; what is left of it is held until due.
    fn take(&mut self, mut frame: Frame, now_ns: u64, cache: &mut FrameCache) {
        let faults = self.faults;
        if self.strikes(faults.loss_ppm, |counts| &counts.lost) {
            return cache.free(frame);
        }
        if !frame.is_empty() && self.strikes(faults.corrupt_ppm, |counts| &counts.corrupted) {
            let bit = self.random.below(frame.len() as u64 * 8);
            frame.data_mut()[bit as usize / 8] ^= 1 << (bit % 8);
        }
        if self.strikes(faults.duplicate_ppm, |counts| &counts.duplicated) {
            match cache.alloc() {
                Some(mut copy) => {
                    // What fits into one chunk fits into another.
                    let fits = copy.set_window(frame.head(), frame.len());
                    debug_assert!(fits);
                    copy.data_mut().copy_from_slice(frame.data());
                    self.hold(copy, now_ns, cache);
                }
                None => self.overflow(),
            }
        }
        self.hold(frame, now_ns, cache);
    }

    fn hold(&mut self, frame: Frame, now_ns: u64, cache: &mut FrameCache) {
        let faults = self.faults;
        let mut due_ns = now_ns.saturating_add(faults.delay_ns);
        if self.strikes(faults.reorder_ppm, |counts| &counts.reordered) {
            due_ns = due_ns.saturating_add(faults.reorder_ns);
        }
        due_ns = due_ns.saturating_add(self.random.below(faults.jitter_ns.saturating_add(1)));
        if let Err(frame) = self.held.push(frame, due_ns) {
            self.overflow();
            cache.free(frame);
        }
    }

    fn overflow(&self) {
        self.counts.overflowed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A port that loses, delays, reorders, duplicates and corrupts frames. The
/// same seed, frames and times give the same faults again.
pub struct FaultPort {
    inner: Box<dyn Port>,
    clock: SharedClock,
    rx: Direction,
    tx: Direction,
    /// Due, and refused by the port so far.
    ready: ArrayVec<Frame, BURST>,
}

impl FaultPort {
    /// Faults round a port.
    pub fn new(
        inner: Box<dyn Port>,
        rx: Faults,
        tx: Faults,
        seed: u64,
        clock: SharedClock,
    ) -> Self {
        let mut random = Random::new(seed);
        let (rx_random, tx_random) = (random.fork(), random.fork());
        FaultPort {
            inner,
            clock,
            rx: Direction::new(rx, rx_random),
            tx: Direction::new(tx, tx_random),
            ready: ArrayVec::new(),
        }
    }

    /// What is done to received frames.
    pub fn rx_counts(&self) -> FaultCounts {
        self.rx.counts.clone()
    }

    /// What is done to sent frames.
    pub fn tx_counts(&self) -> FaultCounts {
        self.tx.counts.clone()
    }

    /// Frames that wait to be delivered, in either direction.
    pub fn held(&self) -> usize {
        self.rx.held.len() + self.tx.held.len() + self.ready.len()
    }
}

impl Port for FaultPort {
    fn info(&self) -> &PortInfo {
        self.inner.info()
    }

    fn rx(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        let now_ns = self.clock.now_ns();
        let before = burst.len();
        self.rx.held.pop_all_due(now_ns, burst);
        // What the caller has no room for stays with the port, not here.
        if !burst.is_full() {
            let mut arrived = RxBurst::new();
            self.inner.rx(cache, &mut arrived);
            for frame in arrived {
                self.rx.take(frame, now_ns, cache);
            }
            self.rx.held.pop_all_due(now_ns, burst);
        }
        burst.len() - before
    }

    fn tx(&mut self, cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        let now_ns = self.clock.now_ns();
        let room = self.tx.held.room().min(frames.len());
        for frame in frames.drain(..room) {
            self.tx.take(frame, now_ns, cache);
        }
    }

    fn flush(&mut self, cache: &mut FrameCache) {
        let now_ns = self.clock.now_ns();
        loop {
            self.tx.held.pop_all_due(now_ns, &mut self.ready);
            let offered = self.ready.len();
            if offered == 0 {
                break;
            }
            self.inner.tx(cache, &mut self.ready);
            if self.ready.len() == offered {
                break;
            }
        }
        self.inner.flush(cache);
    }

    /// None while frames are held: no descriptor tells when they are due.
    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.held() > 0 { None } else { self.inner.wait_fd() }
    }

    fn stats(&self) -> PortStats {
        self.inner.stats()
    }

    fn close(&mut self, cache: &mut FrameCache) {
        for frame in self.ready.drain(..) {
            cache.free(frame);
        }
        for direction in [&mut self.rx, &mut self.tx] {
            while let Some(frame) = direction.held.pop_due(u64::MAX) {
                cache.free(frame);
            }
        }
        self.inner.close(cache);
    }
}

#[cfg(test)]
mod tests;
