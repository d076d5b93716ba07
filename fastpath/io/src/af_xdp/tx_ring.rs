use super::options::FRAME_LEN_MAX;
use super::sockopt;
use crate::frame::Frame;
use rustix::mm::{MapFlags, ProtFlags};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use xsk_rs::TxQueue;

/// A frame shorter than an Ethernet header is none.
const FRAME_LEN_MIN: usize = 14;

/// True for frames that an interface can send.
pub(super) fn is_sendable(frame: &Frame) -> bool {
    (FRAME_LEN_MIN..=FRAME_LEN_MAX).contains(&frame.len())
}

/// The TX ring of a socket, mapped a second time: it takes descriptors at any
/// address inside a chunk, where the library's own takes only the address that
/// the chunk was received at. So headers are pushed and pulled without moving
/// the payload.
///
/// ```text
///   consumer (the kernel's)      published          head
///   |  being sent                |  written         |  free ...
/// ```
///
/// It owns the library's queue for the same ring (which keeps socket and ring
/// alive) and never lets that produce: this is the ring's only producer. What
/// is written becomes the kernel's with [`TxRing::publish`].
pub(super) struct TxRing {
    queue: TxQueue,
    mapping: Mapping,
    producer: NonNull<u32>,
    consumer: NonNull<u32>,
    descs: NonNull<libc::xdp_desc>,
    len: u32,
    chunks: u32,
    /// Next descriptor to write; counts on without wrapping to the ring.
    head: u32,
    /// What the kernel has been told, a copy of `*producer`.
    published: u32,
    /// The last known `*consumer`.
    consumed: u32,
}

// SAFETY: the pointers lead into a mapping that belongs to the process, and the
// ring has no other user in it; `&self` methods only load atomically.
unsafe impl Send for TxRing {}

/// A mapping of a socket's ring, unmapped when dropped.
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: what mmap returned; `TxRing` drops its pointers with it.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

impl TxRing {
    /// Maps the ring of `queue`, which has `len` descriptors and sends from a
    /// UMEM of `chunks` chunks.
    ///
    /// # Errors
    /// With the queue, unused: `EBUSY` on kernels before 6.4, which do not map
    /// rings of bound sockets; anything else says that the ring is not what it
    /// should be.
    pub(super) fn new(queue: TxQueue, len: u32, chunks: u32) -> Result<Self, (TxQueue, io::Error)> {
        match Self::map(&queue, len) {
            Ok((mapping, offsets)) => {
                let at = |offset: u64| {
                    // SAFETY: `map` has checked that the offsets lie inside the
                    // mapping.
                    unsafe { mapping.base.add(offset as usize) }
                };
                let (producer, consumer) =
                    (at(offsets.producer).cast(), at(offsets.consumer).cast());
                let descs = at(offsets.desc).cast();
                Ok(TxRing {
                    queue,
                    mapping,
                    producer,
                    consumer,
                    descs,
                    len,
                    chunks,
                    head: 0,
                    published: 0,
                    consumed: 0,
                })
            }
            Err(error) => Err((queue, error)),
        }
    }

    fn map(queue: &TxQueue, len: u32) -> io::Result<(Mapping, libc::xdp_ring_offset)> {
        // SAFETY: the queue keeps the socket open while it is borrowed.
        let socket = unsafe { BorrowedFd::borrow_raw(queue.fd().as_raw_fd()) };
        let offsets = sockopt::mmap_offsets(socket)?.tx;
        let map_len = offsets.desc as usize + len as usize * size_of::<libc::xdp_desc>();
        let malformed = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let fields = [offsets.producer, offsets.consumer, offsets.flags];
        if !len.is_power_of_two()
            || fields.iter().any(|field| !field.is_multiple_of(4) || field + 4 > offsets.desc)
            || !offsets.desc.is_multiple_of(8)
        {
            return Err(malformed("the kernel's TX ring has an unknown layout"));
        }
        // SAFETY: a new mapping at an address of the kernel's choice overlaps
        // nothing.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                map_len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                socket,
                libc::XDP_PGOFF_TX_RING as u64,
            )
        }?;
        let base =
            NonNull::new(base.cast()).ok_or_else(|| malformed("mmap returned no address"))?;
        let mapping = Mapping { base, len: map_len };
        for field in [offsets.producer, offsets.consumer] {
            // SAFETY: a field of four bytes, aligned, inside the mapping.
            let value = unsafe { AtomicU32::from_ptr(base.add(field as usize).cast().as_ptr()) };
            if value.load(Ordering::Acquire) != 0 {
                return Err(malformed("the TX ring is already in use"));
            }
        }
        Ok((mapping, offsets))
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: aligned, inside the mapping, which lives as long as `self`;
        // only accessed atomically.
        unsafe { AtomicU32::from_ptr(self.producer.as_ptr()) }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { AtomicU32::from_ptr(self.consumer.as_ptr()) }
    }

    /// Descriptors that can be written now, if fewer than `wanted` are known
    /// to be then by the kernel's latest word.
    #[inline]
    pub(super) fn room(&mut self, wanted: usize) -> usize {
        let room = self.len - self.head.wrapping_sub(self.consumed);
        if room as usize >= wanted {
            return room as usize;
        }
        self.consumed = self.consumer().load(Ordering::Acquire);
        (self.len - self.head.wrapping_sub(self.consumed)) as usize
    }

    /// Writes the descriptor of a frame; the chunk is the ring's from then on.
    /// Returns the frame when it cannot be sent (its length, or another UMEM's)
    /// or the ring is full.
    #[inline]
    pub(super) fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        if !is_sendable(&frame) || frame.chunk() >= self.chunks || self.room(1) == 0 {
            return Err(frame);
        }
        let desc =
            libc::xdp_desc { addr: frame.umem_offset(), len: frame.len() as u32, options: 0 };
        let index = self.head & (self.len - 1);
        // SAFETY: index < len, so this lies inside the mapping, aligned; the
        // kernel does not read it before `publish`, and has consumed what was
        // there (`room`, with Acquire).
        unsafe { self.descs.add(index as usize).write(desc) };
        self.head = self.head.wrapping_add(1);
        Ok(())
    }

    /// Hands what was written to the kernel.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.published != self.head {
            self.published = self.head;
            self.producer().store(self.head, Ordering::Release);
        }
    }

    /// Descriptors that the kernel has not taken yet.
    #[inline]
    pub(super) fn pending(&mut self) -> u32 {
        self.consumed = self.consumer().load(Ordering::Acquire);
        self.published.wrapping_sub(self.consumed)
    }

    /// The library's queue: for wake-ups, and the socket.
    pub(super) fn queue(&self) -> &TxQueue {
        &self.queue
    }
}

impl std::fmt::Debug for TxRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxRing")
            .field("len", &self.len)
            .field("head", &self.head)
            .field("published", &self.published)
            .field("mapped_bytes", &self.mapping.len)
            .finish_non_exhaustive()
    }
}
