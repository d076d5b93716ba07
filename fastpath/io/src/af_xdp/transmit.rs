use super::options::FRAME_LEN_MAX;
use super::tx_ring::{TxRing, is_sendable};
use crate::frame::{CHUNK_LEN, Frame, HEADROOM};
use crate::port::BURST;
use arrayvec::ArrayVec;
use std::io;
use std::sync::Arc;
use xsk_rs::{FrameDesc, TxQueue};

/// The sending half of a port.
pub(super) enum Transmit {
    /// Descriptors at any address.
    InPlace(TxRing),
    /// The payload moves to where the library's descriptors are.
    Moved(MovingQueue),
}

/// The library's TX queue: each chunk has one address that it can be sent from.
pub(super) struct MovingQueue {
    pub(super) queue: TxQueue,
    /// For the lengths of descriptors, which only the UMEM sets.
    pub(super) umem: xsk_rs::Umem,
    /// The descriptor of each chunk, its address at [`HEADROOM`].
    pub(super) descs: Arc<[FrameDesc]>,
    /// Descriptors in the ring.
    pub(super) len: u32,
    pub(super) moved: u64,
}

impl Transmit {
    pub(super) fn is_in_place(&self) -> bool {
        matches!(self, Transmit::InPlace(_))
    }

    /// Frames that had to be moved.
    pub(super) fn moved(&self) -> u64 {
        match self {
            Transmit::InPlace(_) => 0,
            Transmit::Moved(queue) => queue.moved,
        }
    }

    /// Takes frames from the front while the ring has room. `unsendable` gets
    /// those that no ring takes. Returns how many the ring took.
    #[inline]
    pub(super) fn push(
        &mut self,
        frames: &mut ArrayVec<Frame, BURST>,
        mut unsendable: impl FnMut(Frame),
    ) -> u32 {
        let room = match self {
            Transmit::InPlace(ring) => ring.room(frames.len()),
            Transmit::Moved(queue) => queue.queue.nb_free_exact() as usize,
        };
        let mut pushed = 0;
        for frame in frames.drain(..room.min(frames.len())) {
            let result = match self {
                Transmit::InPlace(ring) => ring.push(frame),
                Transmit::Moved(queue) => queue.push(frame),
            };
            match result {
                Ok(()) => pushed += 1,
                Err(frame) => unsendable(frame),
            }
        }
        pushed
    }

    /// Hands what was pushed to the kernel.
    #[inline]
    pub(super) fn publish(&mut self) {
        // The library publishes as it produces.
        if let Transmit::InPlace(ring) = self {
            ring.publish();
        }
    }

    /// Frames that the kernel has not taken off the ring yet.
    #[inline]
    pub(super) fn pending(&mut self) -> u32 {
        match self {
            Transmit::InPlace(ring) => ring.pending(),
            Transmit::Moved(queue) => queue.len - queue.queue.nb_free_exact(),
        }
    }

    /// The kernel waits for a call before it sends.
    #[inline]
    pub(super) fn needs_wakeup(&self) -> bool {
        self.queue().needs_wakeup()
    }

    /// Makes that call. Passing obstacles (no buffers, busy, device down) are
    /// no errors: the frames stay on the ring for the next one.
    pub(super) fn wakeup(&self) -> io::Result<()> {
        self.queue().wakeup()
    }

    fn queue(&self) -> &TxQueue {
        match self {
            Transmit::InPlace(ring) => ring.queue(),
            Transmit::Moved(queue) => &queue.queue,
        }
    }
}

impl MovingQueue {
    fn push(&mut self, mut frame: Frame) -> Result<(), Frame> {
        let Some(desc) = self.descs.get(frame.chunk() as usize) else { return Err(frame) };
        let mut desc = *desc;
        if !is_sendable(&frame) {
            return Err(frame);
        }
        if frame.head() != HEADROOM {
            move_payload(&mut frame);
            self.moved += 1;
        }
        // SAFETY: `desc` is the descriptor of the frame's chunk, which nobody
        // else has access to.
        unsafe { self.umem.data_mut(&mut desc) }.cursor().set_pos(frame.len());
        // SAFETY: the frame is of this UMEM, and gives up its chunk to the ring.
        match unsafe { self.queue.produce_one(&desc) } {
            0 => Err(frame),
            _ => Ok(()),
        }
    }
}

/// Moves the data of a frame to [`HEADROOM`]. Needs `is_sendable`.
fn move_payload(frame: &mut Frame) {
    let (head, len) = (frame.head(), frame.len());
    debug_assert!(len <= FRAME_LEN_MAX);
    let whole = frame.set_window(0, CHUNK_LEN);
    frame.data_mut().copy_within(head..head + len, HEADROOM);
    let moved = frame.set_window(HEADROOM, len);
    debug_assert!(whole && moved);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umem::{FrameCache, Umem};

    #[test]
    fn a_payload_moves_whole_in_either_direction() {
        let umem = Umem::new(1).unwrap();
        let mut cache = FrameCache::new(&umem, 0);
        let mut frame = cache.alloc().unwrap();
        let bytes: Vec<u8> = (0..FRAME_LEN_MAX).map(|i| i as u8).collect();
        for (head, len) in [(0, FRAME_LEN_MAX), (206, 1564), (306, 1464), (HEADROOM, 60)] {
            assert!(frame.set_window(head, len));
            frame.data_mut().copy_from_slice(&bytes[..len]);
            move_payload(&mut frame);
            assert_eq!(frame.head(), HEADROOM);
            assert_eq!(frame.data(), &bytes[..len]);
        }
        cache.free(frame);
    }
}
