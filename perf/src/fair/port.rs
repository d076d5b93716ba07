use crate::flood::ring::{RING_LEN, RingPort};
use crate::tsc::ticks;
use arrayvec::ArrayVec;
use rtrb::{Consumer, Producer, RingBuffer};
use sluice_io::{BURST, Frame, FrameCache, Port, PortInfo, PortStats, RxBurst};
use std::os::fd::BorrowedFd;

/// So many frames were put into the transmit ring at this time, in ticks.
pub type Stamp = (u64, usize);

/// A port that notes when frames come to its transmit ring, as a NIC does that has a
/// clock: whoever takes them out may look later.
pub struct StampedPort {
    inner: RingPort,
    stamps: Producer<Stamp>,
}

impl StampedPort {
    /// A port around another one, and what it notes, in the order of the frames.
    pub fn new(inner: RingPort) -> (Self, Consumer<Stamp>) {
        // Each is of one frame in the ring at least, but for the one that is being taken.
        let (stamps, noted) = RingBuffer::new(RING_LEN + 1);
        (StampedPort { inner, stamps }, noted)
    }
}

impl Port for StampedPort {
    fn info(&self) -> &PortInfo {
        self.inner.info()
    }

    fn rx(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        self.inner.rx(cache, burst)
    }

    fn tx(&mut self, cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        let before = frames.len();
        self.inner.tx(cache, frames);
        let sent = before - frames.len();
        if sent > 0 {
            // There is room, as long as frames are taken with their stamps.
            let _ = self.stamps.push((ticks(), sent));
        }
    }

    fn flush(&mut self, cache: &mut FrameCache) {
        self.inner.flush(cache);
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wait_fd()
    }

    fn stats(&self) -> PortStats {
        self.inner.stats()
    }

    fn close(&mut self, cache: &mut FrameCache) {
        self.inner.close(cache);
    }
}
