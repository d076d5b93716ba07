use super::blocks::{Blocks, Pool};
use crate::tcp::options::SACKS_MAX;
use crate::tcp::parse::{before, later};
use crate::tcp::pressure::Share;
use arrayvec::ArrayVec;

/// Ranges that wait for what is missing before them, at most.
const RANGES_MAX: usize = 32;
/// The window that a connection begins with, which needs no scale.
const FIRST_WINDOW: u32 = 0xffff;
/// The RTT that is assumed while none is known.
const RTT_NS: u64 = 100_000_000;

/// What a segment brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// There is more to be read, or the end.
    pub is_more: bool,
    /// The peer wants to know at once: something is missing, was missing, or came twice.
    pub is_urgent: bool,
    /// There were too many gaps for it.
    pub is_scattered: bool,
    /// There was no memory for it.
    pub is_out_of_memory: bool,
}

/// What has come and is not read, in order or not.
///
/// ```text
///   read ------- next ------- edge: the end of the window
///     to be read    ranges, gaps
/// ```
pub(super) struct ReceiveBuffer {
    blocks: Blocks,
    /// The first number that is not read.
    read: u32,
    /// The next one expected (RCV.NXT).
    next: u32,
    /// The end of the window that the peer knows.
    edge: u32,
    /// Bytes that the window is to have where nothing is unread.
    size: u32,
    size_max: u32,
    /// What came after something that is missing; the latest first.
    ranges: Vec<(u32, u32)>,
    /// What came twice, to be told once (RFC 2883).
    twice: Option<(u32, u32)>,
    /// The number of the peer's FIN, when it is known.
    fin: Option<u32>,
    has_fin: bool,
    /// Where the reader was when it was last looked at how fast it is, and when.
    measured: u32,
    measured_ns: u64,
}

impl ReceiveBuffer {
    pub fn new(max: u32, share: Share) -> Self {
        let max = max.clamp(1, (1 << 30) - 1);
        ReceiveBuffer {
            blocks: Blocks::new(share),
            read: 0,
            next: 0,
            edge: 0,
            size: max.min(FIRST_WINDOW),
            size_max: max,
            ranges: Vec::new(),
            twice: None,
            fin: None,
            has_fin: false,
            measured: 0,
            measured_ns: 0,
        }
    }

    /// Whose part of the memory it takes.
    pub fn share(&self) -> Share {
        self.blocks.share()
    }

    /// The peer's first number, after its SYN.
    pub fn begin(&mut self, next: u32) {
        (self.read, self.next, self.measured) = (next, next, next);
        self.edge = next.wrapping_add(self.size);
    }

    /// The shift with which any window can be told.
    pub fn scale(&self) -> u8 {
        (32 - (self.size_max >> 16).leading_zeros()) as u8
    }

    /// The window before anything is known of the peer.
    pub fn first_window(&self) -> u32 {
        self.size
    }

    pub fn next(&self) -> u32 {
        self.next
    }

    pub fn edge(&self) -> u32 {
        self.edge
    }

    /// Bytes that the window has at most.
    pub fn size_max(&self) -> u32 {
        self.size_max
    }

    /// Whether everything up to the peer's FIN is here.
    pub fn has_fin(&self) -> bool {
        self.has_fin
    }

    /// Bytes to be read.
    pub fn unread(&self) -> u32 {
        self.next.wrapping_sub(self.read) - u32::from(self.has_fin)
    }

    /// Reads.
    pub fn read(&mut self, into: &mut [u8], pool: &mut Pool) -> usize {
        let len = into.len().min(self.unread() as usize);
        if len == 0 {
            return 0;
        }
        self.blocks.read(0, &mut into[..len]);
        self.read = self.read.wrapping_add(len as u32);
        if self.unread() == 0 && self.ranges.is_empty() {
            self.blocks.clear(pool);
        } else {
            self.blocks.advance(len, pool);
        }
        len
    }

    /// Takes what lies in the window of data and a FIN behind it.
    pub fn take(&mut self, seq: u32, data: &[u8], has_fin: bool, pool: &mut Pool) -> Taken {
        let mut taken = Taken::default();
        let end = seq.wrapping_add(data.len() as u32);
        let last = self.fin.filter(|fin| before(*fin, self.edge)).unwrap_or(self.edge);
        let from = later(seq, self.next);
        let to = if before(last, end) { last } else { end };
        if before(seq, self.next) && seq != end {
            let known = if before(end, self.next) { end } else { self.next };
            self.came_twice(seq, known);
            taken.is_urgent = true;
        }
        let is_cut = to != end;
        taken.is_urgent |= is_cut || !self.ranges.is_empty();
        if has_fin && !is_cut && !self.ranges.iter().any(|(_, known)| before(end, *known)) {
            self.fin = self.fin.or((!before(end, self.next)).then_some(end));
        }
        if before(from, to) {
            let skipped = from.wrapping_sub(seq) as usize;
            let data = &data[skipped..skipped + to.wrapping_sub(from) as usize];
            self.store(from, data, pool, &mut taken);
        }
        if self.fin == Some(self.next) && !self.has_fin {
            self.next = self.next.wrapping_add(1);
            self.has_fin = true;
            (taken.is_more, taken.is_urgent) = (true, true);
        }
        taken.is_urgent |= has_fin && !self.has_fin;
        taken
    }

    /// Notes that something came again.
    pub fn came_twice(&mut self, start: u32, end: u32) {
        self.twice = Some((start, end));
    }

    fn store(&mut self, from: u32, data: &[u8], pool: &mut Pool, taken: &mut Taken) {
        let is_next = from == self.next;
        let end = from.wrapping_add(data.len() as u32);
        let touches = |(start, known): &(u32, u32)| !before(end, *start) && !before(*known, from);
        if !is_next && self.ranges.len() >= RANGES_MAX && !self.ranges.iter().any(touches) {
            (taken.is_scattered, taken.is_urgent) = (true, true);
            return;
        }
        let at = from.wrapping_sub(self.read) as usize;
        let stored = self.blocks.write(at, data, pool) as u32;
        if stored < data.len() as u32 {
            (taken.is_out_of_memory, taken.is_urgent) = (true, true);
            if stored == 0 {
                return;
            }
        }
        let mut range = (from, from.wrapping_add(stored));
        self.ranges.retain(|known| {
            let is_apart = before(range.1, known.0) || before(known.1, range.0);
            if !is_apart {
                let start = if before(known.0, range.0) { known.0 } else { range.0 };
                range = (start, later(known.1, range.1));
            }
            is_apart
        });
        if is_next {
            self.next = range.1;
            taken.is_more = true;
        } else {
            self.ranges.insert(0, range);
            taken.is_urgent = true;
        }
    }

    /// What came that is not acknowledged, for the peer to know.
    pub fn sacks(&mut self) -> ArrayVec<(u32, u32), SACKS_MAX> {
        let twice = self.twice.take();
        twice.into_iter().chain(self.ranges.iter().copied()).take(SACKS_MAX).collect()
    }

    /// Whether the window would be longer than this.
    pub fn is_held(&self, window_max: u32) -> bool {
        self.size > window_max
    }

    /// How far the end of the window may be moved, if it is to be this long at most.
    fn more(&self, window_max: u32) -> u32 {
        let wanted = self.read.wrapping_add(self.size.min(window_max));
        later(wanted, self.edge).wrapping_sub(self.edge)
    }

    /// The least by which it is moved (RFC 9293 section 3.8.6.2.2).
    fn step(&self, segment: u32, window_max: u32) -> u32 {
        (self.size.min(window_max) / 2).clamp(1, segment.max(1))
    }

    /// Moves the window as far as it may be now; how long it is.
    pub fn open(&mut self, segment: u32, window_max: u32) -> u32 {
        let more = self.more(window_max);
        if more >= self.step(segment, window_max) {
            self.edge = self.edge.wrapping_add(more);
        }
        let left = self.edge.wrapping_sub(self.next);
        // A FIN may lie at the edge.
        if left > 1 << 31 { 0 } else { left }
    }

    /// Whether the peer is to be told that it may send more than it knows: a quarter of
    /// the window, or as much again as it has left.
    pub fn is_update_due(&self, segment: u32, window_max: u32) -> bool {
        let more = self.more(window_max);
        let left = self.edge.wrapping_sub(self.next).min(self.size);
        !self.has_fin && more >= self.step(segment, window_max) && more >= left.min(self.size / 4)
    }

    /// Lets the window grow with a reader that keeps pace: to four times what it reads in
    /// an RTT, since who begins to send sends twice as much in the next, and to what
    /// memory there is for.
    pub fn measure(&mut self, rtt_ns: Option<u64>, window_max: u32, now_ns: u64) {
        if now_ns.saturating_sub(self.measured_ns) < rtt_ns.unwrap_or(RTT_NS) {
            return;
        }
        let read = self.read.wrapping_sub(self.measured);
        let wanted = read.saturating_mul(4).min(self.size_max);
        self.size = self.size.max(wanted.min(window_max));
        (self.measured, self.measured_ns) = (self.read, now_ns);
    }

    /// Lets go of everything.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.ranges = Vec::new();
        self.blocks.clear(pool);
        self.read = self.next.wrapping_sub(u32::from(self.has_fin));
    }

    /// Lets go of the memory for ranges and of what holds no blocks.
    pub fn shrink(&mut self) {
        if self.ranges.is_empty() {
            self.ranges = Vec::new();
        }
        self.blocks.shrink();
    }
}
