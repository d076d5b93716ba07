use crate::site::CLUSTER;
use arrayvec::ArrayVec;
use sluice_io::{BURST, Frame, FrameCache, Port, RxBurst};
use std::collections::VecDeque;

/// Both ports of the generator, whatever they are, and frames for them.
pub struct Lines {
    /// By [`CLUSTER`] (the nodes' side) and [`crate::site::UPLINK`] (the clients').
    ports: [Box<dyn Port>; 2],
    cache: FrameCache,
    out: [ArrayVec<Frame, BURST>; 2],
    /// What did not fit there: answers to one burst at most.
    waiting: [VecDeque<Frame>; 2],
    /// How often a port has not taken all there was: whoever is behind it is slower.
    pub blocked: u64,
}

impl Lines {
    /// Of ports whose frames are the cache's.
    pub fn new(ports: [Box<dyn Port>; 2], cache: FrameCache) -> Self {
        Lines { ports, cache, out: Default::default(), waiting: Default::default(), blocked: 0 }
    }

    /// Bytes of the longest frames.
    pub fn frame_len_max(&self) -> usize {
        self.ports.iter().map(|port| port.info().frame_len_max).min().unwrap_or(0)
    }

    /// What the ports are.
    pub fn modes(&self) -> [String; 2] {
        [0, 1].map(|port: usize| self.ports[port].info().mode.to_string())
    }

    /// A frame to be queued on a port; none where that is behind, or there are no more.
    #[inline]
    pub fn frame(&mut self, port: usize) -> Option<Frame> {
        if self.out[port].is_full() || !self.waiting[port].is_empty() {
            return None;
        }
        let frame = self.cache.alloc();
        // All of them are on their way: somebody does not send them on.
        self.blocked += u64::from(frame.is_none());
        frame
    }

    /// A frame that is needed for an answer.
    pub fn spare(&mut self) -> Option<Frame> {
        self.cache.alloc()
    }

    /// Queues a frame.
    #[inline]
    pub fn queue(&mut self, port: usize, frame: Frame) {
        if let Err(full) = self.out[port].try_push(frame) {
            self.waiting[port].push_back(full.element());
        }
    }

    /// Sends what is queued.
    #[inline]
    pub fn send(&mut self) {
        let queued = self.out.iter_mut().zip(&mut self.waiting);
        for (port, (out, waiting)) in self.ports.iter_mut().zip(queued) {
            if !out.is_empty() {
                port.tx(&mut self.cache, out);
                self.blocked += u64::from(!out.is_empty());
            }
            port.flush(&mut self.cache);
            let more = waiting.len().min(out.remaining_capacity());
            out.extend(waiting.drain(..more));
        }
    }

    /// Takes what has come, unless answers to what came before still wait: whoever does not
    /// take those is not to be asked for more.
    #[inline]
    pub fn receive(&mut self, port: usize, burst: &mut RxBurst) {
        let is_behind = match port {
            CLUSTER => !self.out[port].is_empty(),
            _ => !self.waiting[port].is_empty(),
        };
        if !is_behind {
            self.ports[port].rx(&mut self.cache, burst);
            burst.iter().for_each(Frame::prefetch);
        }
    }

    /// Takes a frame back.
    #[inline]
    pub fn free(&mut self, frame: Frame) {
        self.cache.free(frame);
    }

    /// Frees every frame that it can get at.
    pub fn close(&mut self) {
        let queued = self.out.iter_mut().zip(&mut self.waiting);
        for (port, (out, waiting)) in self.ports.iter_mut().zip(queued) {
            let waiting = waiting.drain(..);
            out.drain(..).chain(waiting).for_each(|frame| self.cache.free(frame));
            port.close(&mut self.cache);
        }
    }
}
