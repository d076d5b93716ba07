use super::tap::Waker;
use super::{Counters, Passed, RING_LEN, Shared, Steering};
use crate::frame::Frame;
use crate::port::{BURST, Port, PortInfo, PortStats, RxBurst};
use crate::umem::FrameCache;
use arrayvec::ArrayVec;
use rtrb::PushError;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Places of a ring that only control protocols get.
const RESERVED: usize = RING_LEN / 8;

/// A queue of a device that has addresses of the kernel's.
pub struct KernelPort {
    pub(super) inner: Box<dyn Port>,
    pub(super) steering: Arc<Steering>,
    /// Frames for the kernel.
    pub(super) to_kernel: rtrb::Producer<Frame>,
    /// Frames of the kernel's: one queue of each device sends them.
    pub(super) from_kernel: Option<rtrb::Consumer<Frame>>,
    pub(super) waker: Arc<Waker>,
    pub(super) counters: Shared,
}

impl KernelPort {
    /// Takes the kernel's frames out of a burst.
    #[cold]
    fn hand_over(&mut self, cache: &mut FrameCache, burst: &mut RxBurst, before: usize) {
        let received: RxBurst = burst.drain(before..).collect();
        for frame in received {
            match self.steering.judge(frame.data()) {
                None => burst.push(frame),
                Some(passed) => self.pass(cache, frame, passed),
            }
        }
        self.waker.wake();
    }

    fn pass(&mut self, cache: &mut FrameCache, frame: Frame, passed: Passed) {
        // Whoever floods an address does not take the room of ARP, ND and LACP.
        let is_full = passed == Passed::KernelAddress && self.to_kernel.slots() <= RESERVED;
        let refused = if is_full {
            Some(frame)
        } else {
            self.to_kernel.push(frame).err().map(|PushError::Full(frame)| frame)
        };
        match refused {
            None => Counters::add(&self.counters.passed[passed as usize], 1),
            Some(frame) => {
                Counters::add(&self.counters.dropped, 1);
                cache.free(frame);
            }
        }
    }

    /// Sends what the kernel has for the wire, up to a burst.
    fn send(&mut self, cache: &mut FrameCache) {
        let Some(ring) = &mut self.from_kernel else { return };
        if ring.is_empty() {
            return;
        }
        let mut frames: ArrayVec<Frame, BURST> = ArrayVec::new();
        while let (false, Ok(frame)) = (frames.is_full(), ring.pop()) {
            frames.push(frame);
        }
        let count = frames.len();
        self.inner.tx(cache, &mut frames);
        Counters::add(&self.counters.sent, count - frames.len());
        Counters::add(&self.counters.dropped, frames.len());
        frames.drain(..).for_each(|frame| cache.free(frame));
    }
}

impl Port for KernelPort {
    fn info(&self) -> &PortInfo {
        self.inner.info()
    }

    fn rx(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        let before = burst.len();
        self.inner.rx(cache, burst);
        burst[before..].iter().for_each(Frame::prefetch);
        if burst[before..].iter().any(|frame| self.steering.judge(frame.data()).is_some()) {
            self.hand_over(cache, burst, before);
        }
        burst.len() - before
    }

    fn tx(&mut self, cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        self.inner.tx(cache, frames);
    }

    fn flush(&mut self, cache: &mut FrameCache) {
        self.send(cache);
        self.inner.flush(cache);
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.wait_fd()
    }

    fn stats(&self) -> PortStats {
        self.inner.stats()
    }

    fn close(&mut self, cache: &mut FrameCache) {
        while let Some(Ok(frame)) = self.from_kernel.as_mut().map(rtrb::Consumer::pop) {
            cache.free(frame);
        }
        self.inner.close(cache);
    }
}

#[cfg(test)]
mod tests;
