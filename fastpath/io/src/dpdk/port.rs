use super::options::DpdkPortOptions;
use super::started::Started;
use super::{DpdkDevice, pool};
use crate::frame::{CHUNK_LEN, Frame};
use crate::port::{BURST, DriverName, Port, PortInfo, PortMode, PortStats, RxBurst};
use crate::umem::FrameCache;
use arrayvec::ArrayVec;
use dpdk_sys::sluice_dpdk_packet;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
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

    fn rx(&mut self, cache: &mut FrameCache, burst: &mut RxBurst) -> usize {
        if !self.is_known {
            self.make_thread_known();
        }
        let mut packets = [const { packet() }; BURST];
        let wanted = burst.remaining_capacity().min(BURST) as u16;
        // SAFETY: there is room for `wanted` packets; the device runs while the port is
        // there, and this queue is this port's alone.
        let received = unsafe {
            dpdk_sys::sluice_dpdk_rx(
                self.number,
                self.queue,
                packets.as_mut_ptr(),
                wanted,
                &mut self.rx_dropped,
            )
        };
        let before = burst.len();
        for packet in &packets[..usize::from(received)] {
            let Some(buffer) = NonNull::new(packet.buffer.cast()) else { continue };
            // SAFETY: the driver has filled the buffer and given it away.
            let mut frame = unsafe { pool::frame_of(buffer) };
            if frame.set_window(usize::from(packet.head), usize::from(packet.len)) {
                burst.push(frame);
            } else {
                self.rx_dropped += 1;
                cache.free(frame);
            }
        }
        burst.len() - before
    }

    fn tx(&mut self, _: &mut FrameCache, frames: &mut ArrayVec<Frame, BURST>) {
        let mut packets = [const { packet() }; BURST];
        for (packet, frame) in packets.iter_mut().zip(frames.iter()) {
            *packet = sluice_dpdk_packet {
                buffer: frame.base().as_ptr().cast(),
                head: frame.head() as u16,
                len: frame.len() as u16,
            };
        }
        // SAFETY: the packets are of frames in hand, all of DPDK's pool; the queue is this
        // port's alone.
        let sent = unsafe {
            dpdk_sys::sluice_dpdk_tx(self.number, self.queue, packets.as_ptr(), frames.len() as u16)
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

const fn packet() -> sluice_dpdk_packet {
    sluice_dpdk_packet { buffer: std::ptr::null_mut(), head: 0, len: 0 }
}
