//! Packets that wait to be sent.

use crate::tcp::PacketSink;
use sluice_io::{Frame, FrameCache, HEADROOM};
use std::collections::VecDeque;

/// Packets that wait at most: more are sent by the next turn.
const WAITING_MAX: usize = 512;

/// Packets of connections, in the order in which they are to be sent.
#[derive(Default)]
pub(super) struct Outgoing {
    frames: VecDeque<Frame>,
    /// Packets that no frame could hold, since the start.
    pub too_large: u64,
}

impl Outgoing {
    /// The next packet.
    pub fn pop(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Whether one waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Where connections put packets into frames of `cache`.
    pub fn sink<'a>(&'a mut self, cache: &'a mut FrameCache) -> Sink<'a> {
        let spare = cache.alloc();
        Sink { outgoing: self, cache, spare }
    }
}

/// Takes packets as long as there are frames and room.
pub(super) struct Sink<'a> {
    outgoing: &'a mut Outgoing,
    cache: &'a mut FrameCache,
    spare: Option<Frame>,
}

impl PacketSink for Sink<'_> {
    fn has_room(&self) -> bool {
        self.spare.is_some() && self.outgoing.frames.len() < WAITING_MAX
    }

    fn send(&mut self, len: usize, fill: &mut dyn FnMut(&mut [u8])) {
        let Some(mut frame) = self.spare.take() else { return };
        if frame.set_window(HEADROOM, len) {
            fill(frame.data_mut());
            self.outgoing.frames.push_back(frame);
            self.spare = self.cache.alloc();
        } else {
            self.outgoing.too_large += 1;
            self.spare = Some(frame);
        }
    }
}

impl Drop for Sink<'_> {
    fn drop(&mut self) {
        if let Some(frame) = self.spare.take() {
            self.cache.free(frame);
        }
    }
}
