use super::error::DpdkError;
use super::options::DpdkPortOptions;
use super::started::Started;
use super::{DpdkDevice, eal};
use crate::frame::{CHUNK_LEN, Frame};
use crate::umem::FramePool;
use std::ptr::{NonNull, null_mut};

/// Buffers taken or given in one call.
const BATCH: usize = 64;

/// A pool of DPDK's. It is never freed: frames may be anywhere.
pub(super) struct Pool {
    raw: NonNull<std::ffi::c_void>,
    frames: u32,
}

// SAFETY: DPDK's pools may be used by any thread; those that it does not know go without
// a cache of their own.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    /// A pool of so many buffers.
    pub fn new(frames: u32) -> Result<Pool, DpdkError> {
        let mut error = 0;
        // SAFETY: the name ends with NUL, and `error` outlives the call.
        let raw = unsafe {
            dpdk_sys::sluice_dpdk_pool(c"sluice".as_ptr(), frames, CHUNK_LEN as u16, -1, &mut error)
        };
        let raw = NonNull::new(raw).ok_or_else(|| DpdkError::Pool {
            frames,
            source: eal::errno(error),
            log: eal::take_errors(),
        })?;
        Ok(Pool { raw, frames })
    }

    /// Starts a device that receives into the pool's buffers.
    pub fn start(
        &self,
        device: &DpdkDevice,
        port: &DpdkPortOptions,
        queues: u16,
        ring_len: u16,
    ) -> Result<Started, DpdkError> {
        let mut setup = dpdk_sys::sluice_dpdk_setup {
            pool: self.raw.as_ptr(),
            queues,
            ring_len,
            mtu: device.mtu,
            sets_mtu: device.sets_mtu.into(),
            ..Default::default()
        };
        // SAFETY: the device was found by this number, the pool is one of DPDK's, and
        // `setup` outlives the call.
        let error = unsafe { dpdk_sys::sluice_dpdk_start(device.number, &mut setup) };
        // Whatever was begun with it ends with this.
        let started = Started::new(device);
        if error != 0 {
            // SAFETY: where a step fails the shim names it by a literal.
            let step = unsafe { std::ffi::CStr::from_ptr(setup.step) };
            return Err(DpdkError::Start {
                port: port.name.clone(),
                device: port.device_name().to_owned(),
                step: step.to_string_lossy().into_owned(),
                source: eal::errno(error),
                log: eal::take_errors(),
            });
        }
        if setup.rx_len.min(setup.tx_len) < ring_len {
            eal::warn(&format!(
                "port {}: {} descriptors to receive and {} to send of a queue, instead of \
                 {ring_len}: the driver has no more",
                port.name, setup.rx_len, setup.tx_len
            ));
        }
        Ok(started)
    }
}

/// The frame of a buffer, empty, with the number that the shim gives it, too.
///
/// # Safety
/// The buffer is one of the pool's, with [`CHUNK_LEN`] bytes and more, and nobody else has
/// it.
#[inline]
pub(super) unsafe fn frame_of(buffer: NonNull<u8>) -> Frame {
    // SAFETY: as the caller promises; pools stay mapped until the process ends.
    unsafe {
        Frame::from_raw(
            buffer,
            (buffer.as_ptr() as usize / dpdk_sys::SLUICE_DPDK_LINE as usize) as u32,
        )
    }
}

// SAFETY: a buffer that is taken from a pool of DPDK's is nobody else's until it is given
// back, and no pool is freed.
unsafe impl FramePool for Pool {
    fn frames(&self) -> u32 {
        self.frames
    }

    fn free(&self) -> usize {
        // SAFETY: the pool is one of DPDK's; any thread may ask.
        unsafe { dpdk_sys::sluice_dpdk_free(self.raw.as_ptr()) as usize }
    }

    fn take(&self, count: usize, frames: &mut Vec<Frame>) {
        let mut buffers = [null_mut(); BATCH];
        let count = count.min(BATCH) as u32;
        // SAFETY: there is room for `count` pointers.
        let mut taken =
            unsafe { dpdk_sys::sluice_dpdk_take(self.raw.as_ptr(), buffers.as_mut_ptr(), count) };
        if taken == 0 {
            // All or none: the last ones come singly.
            // SAFETY: as above.
            taken =
                unsafe { dpdk_sys::sluice_dpdk_take(self.raw.as_ptr(), buffers.as_mut_ptr(), 1) };
        }
        let taken = buffers[..taken as usize].iter().filter_map(|raw| NonNull::new(raw.cast()));
        // SAFETY: they are the pool's, and were taken just now.
        frames.extend(taken.map(|buffer| unsafe { frame_of(buffer) }));
    }

    fn give(&self, mut frames: std::vec::Drain<'_, Frame>) {
        let mut buffers = [null_mut(); BATCH];
        while frames.len() > 0 {
            let mut count = 0;
            for (buffer, frame) in buffers.iter_mut().zip(&mut frames) {
                *buffer = frame.base().as_ptr().cast();
                count += 1;
            }
            // SAFETY: the frames were the only handles of these buffers.
            unsafe { dpdk_sys::sluice_dpdk_give(self.raw.as_ptr(), buffers.as_mut_ptr(), count) };
        }
    }
}
