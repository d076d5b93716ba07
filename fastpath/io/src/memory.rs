use crate::frame::Frame;
use crate::port::{BURST, Port, PortId, PortInfo, PortMode, PortStats, RxBurst};
use crate::umem::FrameCache;
use arrayvec::ArrayVec;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the largest frame a memory port carries: what AF_XDP leaves of a
/// chunk after its headroom.
const FRAME_LEN_MAX: usize = crate::CHUNK_LEN - crate::HEADROOM;

#[derive(Default)]
struct Wire {
    to_port: VecDeque<Vec<u8>>,
    from_port: VecDeque<Vec<u8>>,
    stats: PortStats,
}

/// A port whose wire is two queues in memory. Frames are copied in and out, so
/// a test can hold what was sent while the worker reuses its chunks.
pub struct MemoryPort {
    info: PortInfo,
    wire: Arc<Mutex<Wire>>,
    queued: VecDeque<Frame>,
    tx_room: usize,
}

/// The far end of a [`MemoryPort`]'s wire.
#[derive(Clone)]
pub struct MemoryPortPeer {
    wire: Arc<Mutex<Wire>>,
}

impl MemoryPort {
    /// A port and its far end. `tx_room` frames fit between two flushes.
    pub fn new(id: PortId, name: &str, queue: u32, tx_room: usize) -> (Self, MemoryPortPeer) {
        let wire = Arc::new(Mutex::new(Wire::default()));
        let info = PortInfo {
            id,
            name: name.to_owned(),
            queue,
            mode: PortMode::Memory,
            frame_len_max: FRAME_LEN_MAX,
        };
        let port = MemoryPort { info, wire: wire.clone(), queued: VecDeque::new(), tx_room };
        (port, MemoryPortPeer { wire })
    }
}

impl MemoryPortPeer {
    /// Puts a frame on the wire towards the port.
    pub fn send(&self, frame: &[u8]) {
        self.lock().to_port.push_back(frame.to_vec());
    }

    /// The oldest frame that the port has sent.
    pub fn receive(&self) -> Option<Vec<u8>> {
        self.lock().from_port.pop_front()
    }

    /// Frames sent to the port that it has not received yet.
    pub fn pending(&self) -> usize {
        self.lock().to_port.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Port for MemoryPort {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn rx(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let mut received = 0;
        while !burst.is_full() {
            let Some(bytes) = wire.to_port.pop_front() else { break };
            if bytes.len() > FRAME_LEN_MAX {
                wire.stats.rx_dropped += 1;
                continue;
            }
            let Some(mut frame) = cache.alloc() else {
                wire.to_port.push_front(bytes);
                wire.stats.rx_fill_ring_empty += 1;
                break;
            };
            let fits = frame.fill(&bytes);
            debug_assert!(fits);
            burst.push(frame);
            received += 1;
        }
        received
    }

    fn tx(&mut self, _cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        let room = self.tx_room.saturating_sub(self.queued.len()).min(frames.len());
        self.queued.extend(frames.drain(..room));
    }

    fn flush(&mut self, cache: &mut FrameCache) {
        if self.queued.is_empty() {
            return;
        }
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        for frame in self.queued.drain(..) {
            wire.from_port.push_back(frame.data().to_vec());
            cache.free(frame);
        }
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn stats(&self) -> PortStats {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).stats
    }

    fn close(&mut self, cache: &mut FrameCache) {
        for frame in self.queued.drain(..) {
            cache.free(frame);
        }
    }
}
