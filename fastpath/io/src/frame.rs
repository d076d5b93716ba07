use std::ptr::NonNull;

/// Bytes in one chunk of the UMEM. Fixed: every address computation relies on
/// it, and two frames never share a chunk.
pub const CHUNK_LEN: usize = 2048;

/// Bytes left free before received data: room for an encapsulation to be
/// pushed without moving the payload. 256 is what the kernel reserves for XDP
/// (`XDP_PACKET_HEADROOM`), and what every other kind of port imitates.
pub const HEADROOM: usize = 256;

/// Largest MTU of a port in bytes: what a chunk has behind the headroom, less an
/// Ethernet header and an 802.1Q tag.
pub const MTU_MAX: usize = CHUNK_LEN - HEADROOM - 14 - 4;

/// Bytes of a cache line.
const LINE: usize = 64;

/// One chunk of the UMEM, owned, and the window of it that holds a packet.
///
/// ```text
///  chunk base                                                base + CHUNK_LEN
///  |  headroom        |  data (head .. head + len)  |  tailroom  |
///  0                  head                          head + len   2048
/// ```
///
/// [`Frame::pull_head`] and [`Frame::push_head`] move the head, never the
/// payload: decapsulation and encapsulation cost no copy.
///
/// A frame is neither `Clone` nor `Copy`: whoever holds it has the only access
/// to its chunk. It has no destructor; a frame that is dropped instead of
/// being given to [`crate::FrameCache::free`] or to a port is lost to its UMEM
/// until the process ends (and the UMEM then keeps its mapping, so that no
/// frame can outlive its memory).
#[must_use = "a dropped frame is lost to its UMEM: free it or transmit it"]
#[derive(Debug)]
// In memory as libraries below fill it in, a burst at a time.
#[repr(C)]
pub struct Frame {
    base: NonNull<u8>,
    chunk: u32,
    head: u16,
    len: u16,
}

// SAFETY: a frame is the only handle to its chunk, and the memory behind it is
// plain bytes that stay mapped for as long as any frame of the UMEM exists.
unsafe impl Send for Frame {}

impl Frame {
    /// Makes the frame that owns chunk number `chunk`, empty, its head at
    /// [`HEADROOM`].
    ///
    /// # Safety
    /// `base` points to the first byte of chunk `chunk`, `CHUNK_LEN` bytes of
    /// which stay mapped, readable and writable while the frame exists; no
    /// other frame, ring or slice refers to that chunk.
    pub unsafe fn from_raw(base: NonNull<u8>, chunk: u32) -> Self {
        Frame { base, chunk, head: HEADROOM as u16, len: 0 }
    }

    /// Number of the chunk inside the UMEM: its offset divided by
    /// [`CHUNK_LEN`]; where a library has the memory, any number that is no other's.
    #[inline]
    pub fn chunk(&self) -> u32 {
        self.chunk
    }

    /// Where base, number, head and length lie in a frame.
    #[cfg(feature = "dpdk")]
    pub(crate) const OFFSETS: [usize; 4] = {
        use std::mem::offset_of;
        [
            offset_of!(Frame, base),
            offset_of!(Frame, chunk),
            offset_of!(Frame, head),
            offset_of!(Frame, len),
        ]
    };

    /// The first byte of the chunk.
    #[cfg(feature = "dpdk")]
    #[inline]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Offset of the first data byte inside the chunk, in bytes.
    #[inline]
    pub fn head(&self) -> usize {
        usize::from(self.head)
    }

    /// Length of the data, in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// True when the frame holds no data.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Offset of the data inside the whole UMEM, as AF_XDP descriptors name it.
    #[inline]
    pub fn umem_offset(&self) -> u64 {
        u64::from(self.chunk) * CHUNK_LEN as u64 + u64::from(self.head)
    }

    /// Bytes that can still follow the data.
    #[inline]
    pub fn tailroom(&self) -> usize {
        CHUNK_LEN - self.head() - self.len()
    }

    /// The packet.
    #[inline]
    pub fn data(&self) -> &[u8] {
        // SAFETY: head + len <= CHUNK_LEN is kept by every method that changes
        // them, the chunk is mapped (see `from_raw`), and `&self` excludes
        // writers.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(self.head()), self.len()) }
    }

    /// The packet, writable.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`; `&mut self` makes this the only slice.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(self.head()), self.len()) }
    }

    /// Removes `n` bytes from the front. False, and no change, when the packet
    /// is shorter.
    #[inline]
    #[must_use]
    pub fn pull_head(&mut self, n: usize) -> bool {
        if n > self.len() {
            return false;
        }
        self.head += n as u16;
        self.len -= n as u16;
        true
    }

    /// Puts `n` bytes of headroom in front of the packet and returns them (with
    /// whatever they held). `None`, and no change, when the headroom is smaller.
    #[inline]
    pub fn push_head(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.head() {
            return None;
        }
        self.head -= n as u16;
        self.len += n as u16;
        Some(&mut self.data_mut()[..n])
    }

    /// Cuts the packet to `len` bytes; longer values change nothing.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.len = len as u16;
        }
    }

    /// Sets the window to `len` bytes from offset `head` of the chunk. False,
    /// and no change, when that does not lie inside the chunk.
    #[inline]
    #[must_use]
    pub fn set_window(&mut self, head: usize, len: usize) -> bool {
        if head > CHUNK_LEN || len > CHUNK_LEN - head {
            return false;
        }
        self.head = head as u16;
        self.len = len as u16;
        true
    }

    /// Replaces the packet by a copy of `bytes`, its head at [`HEADROOM`].
    /// False, and an empty frame, when they do not fit.
    #[must_use]
    pub fn fill(&mut self, bytes: &[u8]) -> bool {
        if !self.set_window(HEADROOM, bytes.len()) {
            self.len = 0;
            return false;
        }
        self.data_mut().copy_from_slice(bytes);
        true
    }

    /// Asks the processor to load the cache lines of the headers: the first
    /// three of the data, as far as it reaches.
    #[inline]
    pub fn prefetch(&self) {
        self.each_header_line(Self::prefetch_line);
    }

    /// The same lines, to be written: those that another core has written last come here once,
    /// not once to be read and again to be written.
    #[inline]
    pub fn prefetch_to_write(&self) {
        self.each_header_line(Self::prefetch_line_to_write);
    }

    #[inline(always)]
    fn each_header_line(&self, fetch: impl Fn(&Self, usize)) {
        fetch(self, self.head());
        if self.len() > LINE {
            fetch(self, self.head() + LINE);
        }
        if self.len() > 2 * LINE {
            fetch(self, self.head() + 2 * LINE);
        }
    }

    /// Asks the processor to load the cache lines in front of the data, into
    /// which an encapsulation of up to two lines will be pushed.
    #[inline]
    pub fn prefetch_headroom(&self) {
        self.prefetch_line(self.head().saturating_sub(LINE));
        self.prefetch_line(self.head().saturating_sub(2 * LINE));
    }

    #[inline]
    fn prefetch_line(&self, offset: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing architecturally and cannot fault;
        // callers stay within the chunk, so the address computation is valid.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.base.as_ptr().add(offset).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = offset;
    }

    #[inline]
    fn prefetch_line_to_write(&self, offset: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing architecturally and cannot fault; callers stay
        // within the chunk, so the address computation is valid. (The intrinsic makes this
        // instruction for chosen processors only. Every one of 64 bits takes it: it does
        // nothing on those that are too old for it.)
        unsafe {
            std::arch::asm!(
                "prefetchw [{line}]",
                line = in(reg) self.base.as_ptr().add(offset),
                options(nostack, preserves_flags, readonly),
            );
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.prefetch_line(offset);
    }
}
