use super::blocks::{Blocks, Pool};
use crate::tcp::pressure::Share;

/// Bytes that a small window has room for behind it.
const LEAST: u32 = 16 << 10;

/// What was written and is not acknowledged.
pub(super) struct SendBuffer {
    blocks: Blocks,
    /// The sequence number of the first byte.
    start: u32,
    len: u32,
    max: u32,
}

impl SendBuffer {
    pub fn new(start: u32, max: u32, share: Share) -> Self {
        SendBuffer { blocks: Blocks::new(share), start, len: 0, max: max.clamp(1, 1 << 30) }
    }

    /// The sequence number behind the last byte.
    pub fn end(&self) -> u32 {
        self.start.wrapping_add(self.len)
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes what there is room for: for two windows, one to be acknowledged and one
    /// to follow. Whoever reads slowly does not get a queue for it, and nobody does while
    /// memory is scarce.
    pub fn write(&mut self, data: &[u8], window: u32, pool: &mut Pool) -> usize {
        let wanted = window.saturating_mul(2).min(pool.window_max(self.blocks.share())).max(LEAST);
        let room = wanted.min(self.max).saturating_sub(self.len);
        let len = data.len().min(room as usize);
        let written = self.blocks.write(self.len as usize, &data[..len], pool);
        self.len += written as u32;
        written
    }

    /// Reads what is to be sent.
    pub fn read(&self, seq: u32, into: &mut [u8]) {
        self.blocks.read(seq.wrapping_sub(self.start) as usize, into);
    }

    /// Everything before a number is acknowledged.
    pub fn acknowledge(&mut self, una: u32, pool: &mut Pool) {
        // A SYN and a FIN are not in it.
        let bytes = una.wrapping_sub(self.start).min(self.len);
        self.start = self.start.wrapping_add(bytes);
        self.len -= bytes;
        if self.len == 0 {
            self.blocks.clear(pool);
        } else {
            self.blocks.advance(bytes as usize, pool);
        }
    }

    pub fn clear(&mut self, pool: &mut Pool) {
        self.len = 0;
        self.blocks.clear(pool);
    }

    pub fn shrink(&mut self) {
        self.blocks.shrink();
    }
}
