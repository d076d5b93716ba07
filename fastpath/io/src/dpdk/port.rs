use super::DpdkDevice;
use super::options::DpdkPortOptions;
use super::started::Started;
use crate::frame::{CHUNK_LEN, Frame};
use crate::port::{BURST, DriverName, Port, PortInfo, PortMode, PortStats, RxBurst};
use crate::umem::FrameCache;
use arrayvec::ArrayVec;
use dpdk_sys::sluice_dpdk_packet;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// A queue pair of a device.
pub(super) struct DpdkPort {
    info: PortInfo,
    device: Arc<Started>,
    number: u16,
    queue: u16,
    /// The thread has a cache of DPDK's pool.
    is_known: bool,
    rx_dropped: u64,
}

impl DpdkPort {
    pub fn new(
        options: &DpdkPortOptions,
        device: &DpdkDevice,
        started: &Arc<Started>,
        queue: u16,
    ) -> Self {
        let driver = DriverName::from(&device.driver).unwrap_or_default();
        DpdkPort {
            info: PortInfo {
                id: options.id,
                name: options.name.clone(),
                queue: u32::from(queue),
                mode: PortMode::Dpdk { driver },
                frame_len_max: CHUNK_LEN - dpdk_sys::SLUICE_DPDK_HEADROOM as usize,
            },
            device: Arc::clone(started),
            number: started.number(),
            queue,
            is_known: false,
            rx_dropped: 0,
        }
    }

    #[cold]
    fn make_thread_known(&mut self) {
        self.is_known = true;
        // A thread that is one too many for DPDK goes on without a cache.
        // SAFETY: any thread may ask for that.
        let _ = unsafe { dpdk_sys::sluice_dpdk_register_thread() };
    }
}

impl Port for DpdkPort {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn rx(&mut self, _: &mut FrameCache, burst: &mut RxBurst) -> usize {
        if !self.is_known {
            self.make_thread_known();
        }
        let before = burst.len();
        let wanted = burst.remaining_capacity().min(BURST) as u16;
        // SAFETY: there is room for `wanted` frames behind those of the burst, and a packet
        // is a frame in memory (asserted below); the device runs while the port is there,
        // and this queue is this port's alone.
        let received = unsafe {
            dpdk_sys::sluice_dpdk_rx(
                self.number,
                self.queue,
                burst.as_mut_ptr().add(before).cast::<sluice_dpdk_packet>(),
                wanted,
                &mut self.rx_dropped,
            )
        };
        let received = usize::from(received);
        // SAFETY: so many were written; each is of a buffer of DPDK's pool that the driver
        // has given away, and lies within its chunk.
        unsafe { burst.set_len(before + received) };
        received
    }

    fn tx(&mut self, _: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        // SAFETY: the frames are in hand, all of DPDK's pool, and packets in memory
        // (asserted below); the queue is this port's alone.
        let sent = unsafe {
            dpdk_sys::sluice_dpdk_tx(
                self.number,
                self.queue,
                frames.as_ptr().cast::<sluice_dpdk_packet>(),
                frames.len() as u16,
            )
        };
        // They are the driver's now: a frame has no destructor.
        frames.drain(..usize::from(sent));
    }

    fn flush(&mut self, _: &mut FrameCache) {}

    fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn stats(&self) -> PortStats {
        // The device counts for all of its queues.
        let mut stats = if self.queue == 0 { self.device.stats() } else { PortStats::default() };
        stats.rx_dropped += self.rx_dropped;
        stats
    }

    fn close(&mut self, _: &mut FrameCache) {}
}

// A frame and a packet of the shim are the same in memory, so that bursts pass without
// being copied.
const _: () = {
    use std::mem::{align_of, offset_of, size_of};
    type Packet = sluice_dpdk_packet;
    assert!(dpdk_sys::SLUICE_DPDK_BURST as usize == BURST);
    assert!(size_of::<Frame>() == size_of::<Packet>());
    assert!(align_of::<Frame>() == align_of::<Packet>());
    let [base, chunk, head, len] = Frame::OFFSETS;
    assert!(base == offset_of!(Packet, buffer) && chunk == offset_of!(Packet, number));
    assert!(head == offset_of!(Packet, head) && len == offset_of!(Packet, len));
};
