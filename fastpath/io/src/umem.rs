use crate::frame::{CHUNK_LEN, Frame};
use crate::free_list::{BATCH, FreeList};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Why a UMEM could not be made.
#[derive(Debug, thiserror::Error)]
pub enum UmemError {
    /// The kernel refused the memory.
    #[error(
        "cannot map {bytes} bytes of UMEM: {source}; lower `io.frames` or raise the memory limit"
    )]
    Map {
        /// Bytes asked for.
        bytes: usize,
        /// The kernel's answer.
        source: rustix::io::Errno,
    },
    /// A count of frames that no UMEM can have.
    #[error("a UMEM has 1 to {max} frames, not {frames}")]
    Frames {
        /// Frames asked for.
        frames: usize,
        /// The largest count.
        max: usize,
    },
}

/// The memory of all frames of a process (of one NUMA node), and the shared
/// list of the free ones. Cheap to clone: clones are the same UMEM.
///
/// Invariant: a chunk is in exactly one place: the shared list, a
/// [`FrameCache`], a [`Frame`] in hand, a ring of the kernel that a port
/// accounts for, or retired.
#[derive(Clone)]
pub struct Umem {
    shared: Arc<Shared>,
}

/// Frames whose memory a library gives out, in a way of its own.
///
/// # Safety
/// A frame that [`FramePool::take`] gives is the only handle to its memory, which stays
/// mapped until the process ends.
pub unsafe trait FramePool: Send + Sync {
    /// Frames of the pool, free or not.
    fn frames(&self) -> u32;

    /// Free ones; an estimate while workers run.
    fn free(&self) -> usize;

    /// Adds up to so many free frames, empty.
    fn take(&self, count: usize, frames: &mut Vec<Frame>);

    /// Takes frames of the pool back.
    fn give(&self, frames: std::vec::Drain<'_, Frame>);
}

/// Who knows which frames are free.
enum Free {
    /// A list of chunks of our own.
    List(FreeList),
    /// A library.
    Pool(Box<dyn FramePool>),
}

impl Free {
    fn len(&self) -> usize {
        match self {
            Free::List(list) => list.len(),
            Free::Pool(pool) => pool.free(),
        }
    }
}

struct Shared {
    base: NonNull<u8>,
    /// Chunks from there on that go by number; none where a library has them.
    chunks: u32,
    free: Free,
    /// Chunks that nothing in this process will ever name again.
    retired: AtomicU32,
    /// Keeps the mapping alive; taken (and leaked) if frames are missing.
    memory: Option<Box<dyn Any + Send + Sync>>,
}

// SAFETY: `base` is only turned into frames, each of which owns a chunk of its
// own; the free list is a concurrent queue.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Drop for Shared {
    fn drop(&mut self) {
        // A frame that was never given back may still exist somewhere: keep
        // its memory mapped for good rather than let it dangle.
        if matches!(self.free, Free::List(_))
            && self.free.len() + *self.retired.get_mut() as usize != self.chunks as usize
        {
            std::mem::forget(self.memory.take());
        }
    }
}

/// An anonymous mapping, unmapped when dropped.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; it offers no access of its own.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and len are what mmap returned, and `Shared` drops the
        // mapping only when no frame refers to it.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

impl Umem {
    /// Maps memory for `frames` frames, in huge pages where the kernel has
    /// them.
    ///
    /// # Errors
    /// When `frames` is 0 or beyond 2^31 bytes' worth, or the kernel refuses.
    pub fn new(frames: usize) -> Result<Self, UmemError> {
        let max = (1 << 31) / CHUNK_LEN;
        if frames == 0 || frames > max {
            return Err(UmemError::Frames { frames, max });
        }
        let len = frames * CHUNK_LEN;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice
        // overlaps nothing.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }
        .map_err(|source| UmemError::Map { bytes: len, source })?;
        // SAFETY: the range was mapped just now. Failure only means small pages.
        let _ = unsafe { rustix::mm::madvise(base, len, Advice::LinuxHugepage) };
        let base = NonNull::new(base.cast::<u8>())
            .ok_or(UmemError::Map { bytes: len, source: rustix::io::Errno::NOMEM })?;
        // SAFETY: the mapping is `frames` chunks long, nobody else refers to it.
        Ok(unsafe { Self::from_raw(base, frames as u32, Box::new(Mapping { base, len })) })
    }

    /// Makes a UMEM of memory that somebody else mapped (an AF_XDP socket's,
    /// say).
    ///
    /// # Safety
    /// `base` starts `chunks` chunks of [`CHUNK_LEN`] readable and writable
    /// bytes that stay mapped until `memory` is dropped, and that nobody else
    /// accesses, save for chunks that a port has put on a ring of the kernel.
    pub unsafe fn from_raw(
        base: NonNull<u8>,
        chunks: u32,
        memory: Box<dyn Any + Send + Sync>,
    ) -> Self {
        let free = Free::List(FreeList::new(chunks));
        let retired = AtomicU32::new(0);
        Umem { shared: Arc::new(Shared { base, chunks, free, retired, memory: Some(memory) }) }
    }

    /// Makes a UMEM of frames that a library gives out.
    pub fn from_pool(pool: Box<dyn FramePool>) -> Self {
        let (base, free, retired) = (NonNull::dangling(), Free::Pool(pool), AtomicU32::new(0));
        Umem { shared: Arc::new(Shared { base, chunks: 0, free, retired, memory: None }) }
    }

    /// Chunks in the UMEM.
    pub fn chunks(&self) -> u32 {
        match &self.shared.free {
            Free::List(_) => self.shared.chunks,
            Free::Pool(pool) => pool.frames(),
        }
    }

    /// Chunks on the shared free list now; an estimate while workers run.
    pub fn free_chunks(&self) -> usize {
        self.shared.free.len()
    }

    /// Chunks that ports have retired (see [`Umem::retire`]).
    pub fn retired_chunks(&self) -> u32 {
        self.shared.retired.load(Ordering::Relaxed)
    }

    /// Writes off `chunks` chunks that are on rings of the kernel, because the
    /// port that would have taken them back is gone: no frame will ever be
    /// made of them again, so they need not keep the memory mapped. (The
    /// kernel pins the pages it uses; it does not need our mapping.)
    ///
    /// # Safety
    /// No frame of these chunks exists, and [`Umem::frame`] will not be called
    /// for them.
    pub unsafe fn retire(&self, chunks: u32) {
        self.shared.retired.fetch_add(chunks, Ordering::Relaxed);
    }

    /// Makes the frame of a chunk.
    ///
    /// # Safety
    /// The caller has sole ownership of the chunk: it came from
    /// [`Frame::chunk`] of a frame that was put on a kernel ring, and the
    /// kernel has given it back.
    ///
    /// # Panics
    /// When the chunk is outside the UMEM, which means that a ring was
    /// corrupted.
    #[inline]
    pub unsafe fn frame(&self, chunk: u32) -> Frame {
        assert!(chunk < self.shared.chunks, "chunk outside of the UMEM");
        // SAFETY: the chunk lies inside the mapping, and is the caller's.
        unsafe { Frame::from_raw(self.shared.base.add(chunk as usize * CHUNK_LEN), chunk) }
    }
}

/// A worker's own stock of free frames: no sharing on the fast path. It takes
/// from and gives to the UMEM's shared list in steps of a fixed size.
pub struct FrameCache {
    umem: Umem,
    free: Vec<Frame>,
    high: usize,
}

impl FrameCache {
    /// A cache that keeps at most about `high` frames (at least two steps'
    /// worth) before it gives some back.
    pub fn new(umem: &Umem, high: usize) -> Self {
        let high = high.max(2 * BATCH);
        FrameCache { umem: umem.clone(), free: Vec::with_capacity(high + BATCH), high }
    }

    /// The UMEM behind the cache.
    pub fn umem(&self) -> &Umem {
        &self.umem
    }

    /// A free frame, empty, its head at [`crate::HEADROOM`]; `None` when the
    /// UMEM has run out.
    #[inline]
    pub fn alloc(&mut self) -> Option<Frame> {
        if self.free.is_empty() {
            self.refill();
        }
        self.free.pop()
    }

    /// Takes a frame back. Its window is reset.
    #[inline]
    pub fn free(&mut self, mut frame: Frame) {
        let reset = frame.set_window(crate::HEADROOM, 0);
        debug_assert!(reset);
        self.free.push(frame);
        if self.free.len() >= self.high {
            self.give_back();
        }
    }

    /// Frames in the cache.
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// True when the cache holds no frame (the UMEM may still have some).
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    #[cold]
    fn refill(&mut self) {
        let FrameCache { umem, free, .. } = self;
        match &umem.shared.free {
            Free::List(list) => list.take(|chunk| {
                // SAFETY: the chunk came off the free list, so it is ours alone.
                free.push(unsafe { umem.frame(chunk) });
            }),
            Free::Pool(pool) => pool.take(BATCH, free),
        }
    }

    #[cold]
    fn give_back(&mut self) {
        let FrameCache { umem, free, .. } = self;
        let Some(begin) = free.len().checked_sub(BATCH) else { return };
        match &umem.shared.free {
            Free::List(list) => {
                let mut batch = [0; BATCH];
                for (chunk, frame) in batch.iter_mut().zip(free.drain(begin..)) {
                    *chunk = frame.chunk();
                }
                list.give_batch(batch);
            }
            Free::Pool(pool) => pool.give(free.drain(begin..)),
        }
    }
}

impl Drop for FrameCache {
    fn drop(&mut self) {
        while self.free.len() >= BATCH {
            self.give_back();
        }
        match &self.umem.shared.free {
            Free::List(list) => list.give(self.free.drain(..).map(|frame| frame.chunk())),
            Free::Pool(pool) => pool.give(self.free.drain(..)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_handed_out_once_and_comes_back() {
        let umem = Umem::new(200).unwrap();
        let mut cache = FrameCache::new(&umem, 0);
        let mut held = Vec::new();
        while let Some(frame) = cache.alloc() {
            held.push(frame);
        }
        let mut chunks: Vec<u32> = held.iter().map(Frame::chunk).collect();
        chunks.sort_unstable();
        assert_eq!(chunks, (0..200).collect::<Vec<_>>());
        for frame in held {
            cache.free(frame);
        }
        drop(cache);
        assert_eq!(umem.free_chunks(), 200);
    }

    #[test]
    fn frames_stay_readable_after_their_umem_is_gone() {
        let umem = Umem::new(4).unwrap();
        let mut cache = FrameCache::new(&umem, 0);
        let mut frame = cache.alloc().unwrap();
        assert!(frame.fill(b"still here"));
        drop(cache);
        drop(umem);
        assert_eq!(frame.data(), b"still here");
    }

    #[test]
    fn windows_stay_inside_the_chunk() {
        let umem = Umem::new(1).unwrap();
        let mut cache = FrameCache::new(&umem, 0);
        let mut frame = cache.alloc().unwrap();
        assert!(frame.fill(&[7; 100]));
        assert!(!frame.pull_head(101));
        assert!(frame.push_head(crate::HEADROOM + 1).is_none());
        assert_eq!(frame.push_head(crate::HEADROOM).unwrap().len(), crate::HEADROOM);
        assert!(!frame.set_window(CHUNK_LEN, 1));
        assert!(!frame.fill(&[0; CHUNK_LEN]));
        assert!(frame.is_empty());
        cache.free(frame);
    }
}
