use arrayvec::ArrayVec;
use sluice_io::{BURST, Frame, FrameCache, Port, PortId, PortInfo, PortMode, PortStats, RxBurst};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Wire {
    pending: VecDeque<Frame>,
    sent: Vec<Frame>,
}

/// A port that hands out frames which were filled beforehand, and keeps what is
/// sent: no bytes move while the clock runs, only handles of 16 bytes.
pub struct PreparedPort {
    info: PortInfo,
    wire: Arc<Mutex<Wire>>,
}

/// The far end of a [`PreparedPort`].
#[derive(Clone)]
pub struct PreparedPeer {
    wire: Arc<Mutex<Wire>>,
}

impl PreparedPort {
    /// A port and its far end, for up to `frames` frames each way.
    pub fn new(id: usize, frames: usize) -> (Self, PreparedPeer) {
        let wire =
            Wire { pending: VecDeque::with_capacity(frames), sent: Vec::with_capacity(frames) };
        let wire = Arc::new(Mutex::new(wire));
        let info = PortInfo {
            id: PortId(id as u8),
            name: format!("port{id}"),
            queue: 0,
            mode: PortMode::Memory,
            frame_len_max: sluice_io::CHUNK_LEN - sluice_io::HEADROOM,
        };
        (PreparedPort { info, wire: wire.clone() }, PreparedPeer { wire })
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PreparedPeer {
    /// Puts a frame on the wire towards the port.
    pub fn load(&self, frame: Frame) {
        self.wire().pending.push_back(frame);
    }

    /// Moves what the port has sent, in order, to the end of `into`.
    pub fn take_sent(&self, into: &mut Vec<Frame>) {
        into.append(&mut self.wire().sent);
    }

    /// Frames that the port has sent since they were last taken.
    pub fn sent_len(&self) -> usize {
        self.wire().sent.len()
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Port for PreparedPort {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn rx(&mut self, _cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        let mut wire = self.wire();
        let received = burst.remaining_capacity().min(wire.pending.len());
        burst.extend(wire.pending.drain(..received));
        received
    }

    fn tx(&mut self, _cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        self.wire().sent.extend(frames.drain(..));
    }

    fn flush(&mut self, _cache: &mut FrameCache) {}

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn stats(&self) -> PortStats {
        PortStats::default()
    }

    fn close(&mut self, cache: &mut FrameCache) {
        let mut wire = self.wire();
        let Wire { pending, sent } = &mut *wire;
        for frame in pending.drain(..).chain(sent.drain(..)) {
            cache.free(frame);
        }
    }
}
