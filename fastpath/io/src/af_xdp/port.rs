use super::transmit::Transmit;
use crate::frame::{CHUNK_LEN, Frame};
use crate::port::{BURST, Port, PortInfo, PortStats, RxBurst};
use crate::umem::{FrameCache, Umem};
use arrayvec::ArrayVec;
use rustix::net::{RecvFlags, recv};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue};

/// Calls that one flush makes at most; at the kernel's 256 frames a call, a
/// full ring of 4,096.
const KICKS_PER_FLUSH_MAX: u32 = 16;

/// One queue of an interface, on an AF_XDP socket.
///
/// Every chunk that the port has is either with the kernel to receive into
/// (`receiving`: on the fill ring, in the driver, on the RX ring) or to send
/// (`sending`: on the TX ring, in the driver, on the completion ring).
pub(super) struct AfXdpPort {
    pub(super) info: PortInfo,
    pub(super) umem: Umem,
    pub(super) rings: Rings,
    pub(super) transmit: Transmit,
    /// The descriptor of each chunk, as the fill ring takes them.
    pub(super) descs: Arc<[FrameDesc]>,
    pub(super) scratch: Box<[FrameDesc; BURST]>,
    /// Chunks to keep with the kernel to receive into.
    pub(super) fill_target: u32,
    pub(super) receiving: u32,
    pub(super) sending: u32,
    /// The worker's calls run the driver.
    pub(super) busy_poll: bool,
    pub(super) counts: Counts,
}

/// The library's rings of a socket.
pub(super) struct Rings {
    pub(super) rx: RxQueue,
    pub(super) fill: FillQueue,
    pub(super) completion: CompQueue,
}

/// What the port counts itself.
#[derive(Default)]
pub(super) struct Counts {
    rx_invalid: u64,
    tx_invalid: u64,
    tx_kicks: u64,
    rx_kicks: u64,
    kick_errors: u64,
}

impl AfXdpPort {
    fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket stays open while `rings.rx` exists.
        unsafe { BorrowedFd::borrow_raw(self.rings.rx.fd().as_raw_fd()) }
    }

    /// Gives the kernel chunks to receive into, up to the target: in bursts,
    /// so that the ring's shared lines are touched seldom, but at once when
    /// less than half is left. Returns true when it gave any.
    #[inline]
    fn refill(&mut self, cache: &mut FrameCache) -> bool {
        let missing = self.fill_target - self.receiving;
        if missing < (BURST as u32).min(self.fill_target / 2) {
            return false;
        }
        self.refill_by(cache, missing)
    }

    fn refill_by(&mut self, cache: &mut FrameCache, missing: u32) -> bool {
        let mut given = 0;
        while given < missing {
            let mut chunks = ArrayVec::<u32, BURST>::new();
            let batch = (missing - given).min(BURST as u32) as usize;
            // A frame has no destructor: its number is all that remains.
            chunks.extend(std::iter::from_fn(|| cache.alloc()).take(batch).map(|f| f.chunk()));
            for (desc, chunk) in self.scratch.iter_mut().zip(&chunks) {
                *desc = self.descs[*chunk as usize];
            }
            // SAFETY: the descriptors are those of chunks that came out of the
            // cache of the same UMEM just now and that nothing else names.
            let taken = unsafe { self.rings.fill.produce(&self.scratch[..chunks.len()]) };
            given += taken as u32;
            for chunk in chunks.iter().skip(taken) {
                // SAFETY: the ring did not take the chunk, so it is ours still.
                cache.free(unsafe { self.umem.frame(*chunk) });
            }
            if taken < batch {
                break;
            }
        }
        self.receiving += given;
        given > 0
    }

    /// Takes back the frames that have been sent.
    #[inline]
    fn reap(&mut self, cache: &mut FrameCache) {
        while self.sending > 0 {
            // SAFETY: the ring is of the socket that sends from this UMEM.
            let done = unsafe { self.rings.completion.consume(&mut self.scratch[..]) };
            for desc in &self.scratch[..done] {
                // The ring returns the address as it was submitted, anywhere
                // inside the chunk.
                let chunk = (desc.addr() / CHUNK_LEN) as u32;
                // SAFETY: the chunk was put on the TX ring, and the kernel has
                // finished with it.
                cache.free(unsafe { self.umem.frame(chunk) });
            }
            self.sending = self.sending.saturating_sub(done as u32);
            if done < BURST {
                break;
            }
        }
    }

    /// Takes one burst off the RX ring.
    #[inline]
    fn receive(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        let wanted = burst.remaining_capacity();
        // SAFETY: the ring is of the socket that receives into this UMEM.
        let received = unsafe { self.rings.rx.consume(&mut self.scratch[..wanted]) };
        self.receiving = self.receiving.saturating_sub(received as u32);
        let mut valid = 0;
        for desc in &self.scratch[..received] {
            let (chunk, head) = (desc.addr() / CHUNK_LEN, desc.addr() % CHUNK_LEN);
            // SAFETY: the kernel has filled the chunk and given it back.
            let mut frame = unsafe { self.umem.frame(chunk as u32) };
            if frame.set_window(head, desc.lengths().data()) {
                burst.push(frame);
                valid += 1;
            } else {
                self.counts.rx_invalid += 1;
                cache.free(frame);
            }
        }
        valid
    }

    fn kick_rx(&mut self) {
        self.counts.rx_kicks += 1;
        use rustix::io::Errno;
        match recv(self.socket(), &mut [0u8; 0][..], RecvFlags::DONTWAIT) {
            Ok(_) | Err(Errno::AGAIN | Errno::BUSY | Errno::NETDOWN | Errno::NOBUFS) => {}
            Err(_) => self.counts.kick_errors += 1,
        }
    }

    fn kick_tx(&mut self) {
        self.counts.tx_kicks += 1;
        if self.transmit.wakeup().is_err() {
            self.counts.kick_errors += 1;
        }
    }

    /// Makes the kernel send what is on the ring: while it gets on, since one
    /// call sends a limited number in copy mode.
    fn kick_tx_until_done(&mut self, cache: &mut FrameCache) {
        let mut pending = self.transmit.pending();
        for _ in 0..KICKS_PER_FLUSH_MAX {
            if pending == 0 || !self.transmit.needs_wakeup() {
                break;
            }
            self.kick_tx();
            // Makes room for the completions of the next call.
            self.reap(cache);
            let before = std::mem::replace(&mut pending, self.transmit.pending());
            if pending == before {
                break;
            }
        }
    }
}

impl Port for AfXdpPort {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn rx(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        let received = self.receive(cache, burst);
        let refilled = self.refill(cache);
        let idle = received == 0 && !burst.is_full();
        if self.rings.fill.needs_wakeup() && (refilled || idle) || self.busy_poll && idle {
            self.kick_rx();
        }
        received
    }

    fn tx(&mut self, cache: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        let invalid = &mut self.counts.tx_invalid;
        self.sending += self.transmit.push(frames, |frame| {
            *invalid += 1;
            cache.free(frame);
        });
    }

    fn flush(&mut self, cache: &mut FrameCache) {
        if self.sending == 0 {
            return;
        }
        self.transmit.publish();
        self.kick_tx_until_done(cache);
        self.reap(cache);
    }

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket())
    }

    fn stats(&self) -> PortStats {
        let counts = &self.counts;
        let mut stats = PortStats {
            rx_invalid_descs: counts.rx_invalid,
            tx_invalid_descs: counts.tx_invalid,
            tx_kicks: counts.tx_kicks,
            rx_kicks: counts.rx_kicks,
            kick_errors: counts.kick_errors,
            tx_copies: self.transmit.moved(),
            ..PortStats::default()
        };
        if let Ok(kernel) = self.rings.rx.fd().xdp_statistics() {
            stats.rx_dropped = kernel.rx_dropped();
            stats.rx_invalid_descs += kernel.rx_invalid_descs();
            stats.rx_ring_full = kernel.rx_ring_full();
            stats.rx_fill_ring_empty = kernel.rx_fill_ring_empty_descs();
            stats.tx_invalid_descs += kernel.tx_invalid_descs();
            stats.tx_ring_empty = kernel.tx_ring_empty_descs();
        }
        stats
    }

    fn close(&mut self, cache: &mut FrameCache) {
        self.flush(cache);
        let mut burst = RxBurst::new();
        while self.receive(cache, &mut burst) > 0 {
            for frame in burst.drain(..) {
                cache.free(frame);
            }
        }
    }
}

impl Drop for AfXdpPort {
    fn drop(&mut self) {
        // SAFETY: the chunks with the kernel are named by nothing but the rings
        // that go with the port, and only their ports make frames of them.
        unsafe { self.umem.retire(self.receiving + self.sending) };
    }
}
