use arrayvec::ArrayVec;
use rtrb::{Consumer, Producer, RingBuffer};
use sluice_io::{BURST, Frame, FrameCache, Port, PortId, PortInfo, PortMode, PortStats, RxBurst};
use std::os::fd::BorrowedFd;

/// Frames in each ring of a port, as in a NIC's.
pub const RING_LEN: usize = 4096;

/// A port whose wire is two rings, so that its worker and its far end can be on
/// two cores. Frames move, no byte is copied.
pub struct RingPort {
    info: PortInfo,
    rx: Consumer<Frame>,
    tx: Producer<Frame>,
}

/// The far end of a [`RingPort`].
pub struct RingPeer {
    /// What the port will receive. What finds it full, a NIC would drop.
    pub to_port: Producer<Frame>,
    /// What the port has sent.
    pub from_port: Consumer<Frame>,
}

impl RingPort {
    /// A port and its far end.
    pub fn new(id: usize) -> (Self, RingPeer) {
        let (to_port, rx) = RingBuffer::new(RING_LEN);
        let (tx, from_port) = RingBuffer::new(RING_LEN);
        (RingPort { info: info(id), rx, tx }, RingPeer { to_port, from_port })
    }
}

fn info(id: usize) -> PortInfo {
    PortInfo {
        id: PortId(id as u8),
        name: format!("port{id}"),
        queue: 0,
        mode: PortMode::Memory,
        frame_len_max: sluice_io::CHUNK_LEN - sluice_io::HEADROOM,
    }
}

impl RingPeer {
    /// A port at this end, too, for whoever takes any port.
    #[cfg(feature = "lab")]
    pub fn into_port(self, id: usize) -> RingPort {
        RingPort { info: info(id), rx: self.from_port, tx: self.to_port }
    }

    /// Frees what is in the ring from the port.
    pub fn close(&mut self, cache: &mut FrameCache) {
        while let Ok(frame) = self.from_port.pop() {
            cache.free(frame);
        }
    }
}

impl Port for RingPort {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn rx(&mut self, _cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        let count = self.rx.slots().min(burst.remaining_capacity());
        let Ok(chunk) = self.rx.read_chunk(count) else { return 0 };
        burst.extend(chunk);
        count
    }

    fn tx(&mut self, _cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        let count = self.tx.slots().min(frames.len());
        let Ok(chunk) = self.tx.write_chunk_uninit(count) else { return };
        chunk.fill_from_iter(frames.drain(..count));
    }

    fn flush(&mut self, _cache: &mut FrameCache) {}

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn stats(&self) -> PortStats {
        PortStats::default()
    }

    fn close(&mut self, cache: &mut FrameCache) {
        while let Ok(frame) = self.rx.pop() {
            cache.free(frame);
        }
    }
}
