use super::port::KernelPort;
use super::{Counters, RING_LEN, Shared, Steering, tag};
use crate::dpdk::error::DpdkError;
use crate::dpdk::options::DpdkPortOptions;
use crate::frame::{CHUNK_LEN, Frame, HEADROOM};
use crate::port::{BURST, Port};
use crate::umem::{FrameCache, Umem};
use rtrb::PushError;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// Between two looks at whether the ports are there still.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Bytes of an Ethernet header.
const ETHERNET_LEN: usize = 14;
/// Frames that the thread keeps for what the kernel sends.
const SPARE_FRAMES: usize = 128;

/// What the kernel is to have of a device.
pub(in crate::dpdk) struct TapOptions<'a> {
    /// MAC of the device, which is the TAP device's too.
    pub mac: [u8; 6],
    /// MTU of IP packets, in bytes.
    pub mtu: u16,
    /// The port: its name is the TAP device's.
    pub options: &'a DpdkPortOptions,
}

/// Wakes the thread, if it sleeps.
#[derive(Debug)]
pub(super) struct Waker {
    event: OwnedFd,
    sleeps: AtomicBool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Waker { event, sleeps: AtomicBool::new(false) })
    }

    pub(super) fn wake(&self) {
        // What was put into a ring is seen before the flag is looked at, as the thread sets
        // it before it looks at the rings for the last time.
        fence(Ordering::SeqCst);
        if self.sleeps.swap(false, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }
}

/// The TAP devices of all ports that the kernel has addresses at.
pub(in crate::dpdk) struct KernelSide {
    taps: Vec<(String, Tap)>,
    waker: Arc<Waker>,
}

impl KernelSide {
    /// None yet.
    pub fn new() -> io::Result<Self> {
        Ok(KernelSide { taps: Vec::new(), waker: Arc::new(Waker::new()?) })
    }

    /// Makes a TAP device, with its addresses, and puts it behind the queues of its device.
    /// It goes with the last of those.
    pub fn behind(
        &mut self,
        tap: &TapOptions<'_>,
        queues: impl Iterator<Item = Box<dyn Port>>,
    ) -> Result<Vec<Box<dyn Port>>, DpdkError> {
        let name = &tap.options.name;
        let mut tap =
            Tap::new(tap).map_err(|source| DpdkError::Tap { port: name.clone(), source })?;
        let behind = |inner| -> Box<dyn Port> { Box::new(tap.behind(inner, &self.waker)) };
        let ports = queues.map(behind).collect();
        self.taps.push((name.clone(), tap));
        Ok(ports)
    }

    /// Serves the TAP devices, on a thread of its own, until all of their ports have gone.
    /// Returns what is counted of each.
    pub fn serve(self, umem: &Umem) -> io::Result<Vec<(String, Shared)>> {
        let KernelSide { taps, waker } = self;
        if taps.is_empty() {
            return Ok(Vec::new());
        }
        let counters = taps.iter().map(|(name, tap)| (name.clone(), tap.counters.clone()));
        let counters = counters.collect();
        let taps = taps.into_iter().map(|(_, tap)| tap).collect();
        let cache = FrameCache::new(umem, SPARE_FRAMES);
        let run = move || run(taps, cache, &waker);
        std::thread::Builder::new().name("kernel-side".to_owned()).spawn(run)?;
        Ok(counters)
    }
}

/// A TAP device and the rings between it and the queues of its port.
struct Tap {
    device: SyncDevice,
    steering: Arc<Steering>,
    counters: Shared,
    to_kernel: Vec<rtrb::Consumer<Frame>>,
    from_kernel: Option<rtrb::Producer<Frame>>,
    /// The tag of the port.
    vlan: Option<u16>,
    /// Bytes of the longest frame, without a tag.
    frame_len_max: usize,
    /// There was no frame for what the kernel sends.
    is_starved: bool,
    /// Somebody has taken the TAP device away.
    is_gone: bool,
}

impl Tap {
    fn new(tap: &TapOptions<'_>) -> io::Result<Tap> {
        let TapOptions { mac, mtu, options } = tap;
        let name = &options.name;
        let builder = DeviceBuilder::new().name(name).layer(Layer::L2).enable(false);
        let device = builder.mac_addr(*mac).mtu(*mtu).build_sync()?;
        // Addresses are of use at once: the port answers for them from now on, and nothing
        // is sent before workers run, so nobody could say that one is taken.
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/accept_dad"), "0");
        device.enabled(true)?;
        for (address, len) in &options.kernel_addresses {
            match address {
                IpAddr::V4(address) => device.add_address_v4(*address, *len)?,
                IpAddr::V6(address) => device.add_address_v6(*address, *len)?,
            }
        }
        device.set_nonblocking(true)?;
        let kernel: Vec<IpAddr> =
            options.kernel_addresses.iter().map(|(address, _)| *address).collect();
        let steering =
            Steering::new(&kernel, &options.vteps, options.vxlan_udp_port).tagged(options.vlan);
        Ok(Tap {
            device,
            steering: Arc::new(steering),
            counters: Shared::default(),
            to_kernel: Vec::new(),
            from_kernel: None,
            vlan: options.vlan,
            frame_len_max: usize::from(*mtu) + ETHERNET_LEN,
            is_starved: false,
            is_gone: false,
        })
    }

    /// A queue of the device, with this TAP device behind it. The first one sends what comes
    /// from the kernel.
    fn behind(&mut self, inner: Box<dyn Port>, waker: &Arc<Waker>) -> KernelPort {
        let (to_kernel, consumer) = rtrb::RingBuffer::new(RING_LEN);
        self.to_kernel.push(consumer);
        let from_kernel = self.from_kernel.is_none().then(|| {
            let (producer, from_kernel) = rtrb::RingBuffer::new(RING_LEN);
            self.from_kernel = Some(producer);
            from_kernel
        });
        let (steering, counters) = (self.steering.clone(), self.counters.clone());
        let waker = waker.clone();
        KernelPort { inner, steering, to_kernel, from_kernel, waker, counters }
    }

    /// Gives the kernel what waits for it. Whether there was anything.
    fn hand_over(&mut self, cache: &mut FrameCache) -> bool {
        let mut is_busy = false;
        for ring in &mut self.to_kernel {
            for _ in 0..BURST {
                let Ok(mut frame) = ring.pop() else { break };
                is_busy = true;
                tag::take_off(&mut frame, self.vlan);
                if self.device.send(frame.data()).is_err() {
                    Counters::add(&self.counters.dropped, 1);
                }
                cache.free(frame);
            }
        }
        is_busy
    }

    /// Takes what the kernel sends. Whether there was anything.
    fn take(&mut self, cache: &mut FrameCache) -> bool {
        let Some(ring) = &mut self.from_kernel else { return false };
        // Where the worker that sends is no more, the kernel's queue fills up.
        if self.is_gone || ring.is_abandoned() {
            return false;
        }
        for count in 0..BURST {
            // Without a frame the kernel's packets wait in its own queue.
            let frame = cache.alloc();
            self.is_starved = frame.is_none();
            let Some(mut frame) = frame else { return count > 0 };
            let has_room = frame.set_window(HEADROOM, CHUNK_LEN - HEADROOM);
            debug_assert!(has_room);
            let is_whole = match self.device.recv(frame.data_mut()) {
                // Somebody has given the TAP device another MTU.
                Ok(len) if len > self.frame_len_max => false,
                Ok(len) => {
                    frame.truncate(len);
                    tag::put_on(&mut frame, self.vlan)
                }
                Err(error) => {
                    cache.free(frame);
                    self.is_gone = !is_passing(&error);
                    return count > 0;
                }
            };
            let frame =
                if is_whole { ring.push(frame).err() } else { Some(PushError::Full(frame)) };
            if let Some(PushError::Full(frame)) = frame {
                Counters::add(&self.counters.dropped, 1);
                cache.free(frame);
            }
        }
        true
    }

    /// Whether what the kernel sends is to be waited for.
    fn is_awaited(&self) -> bool {
        let is_sent = self.from_kernel.as_ref().is_some_and(|ring| !ring.is_abandoned());
        is_sent && !self.is_starved && !self.is_gone
    }

    fn is_used(&self) -> bool {
        self.to_kernel.iter().any(|ring| !ring.is_abandoned())
    }

    fn is_waiting(&self) -> bool {
        self.to_kernel.iter().any(|ring| !ring.is_empty())
    }
}

fn run(mut taps: Vec<Tap>, mut cache: FrameCache, waker: &Waker) {
    // With a cache of DPDK's it is seldom in the workers' way at the pool.
    // SAFETY: any thread may ask for that.
    let _ = unsafe { dpdk_sys::sluice_dpdk_register_thread() };
    while taps.iter().any(Tap::is_used) {
        let mut is_busy = false;
        for tap in &mut taps {
            is_busy |= tap.hand_over(&mut cache) | tap.take(&mut cache);
        }
        if !is_busy {
            sleep(&taps, waker);
        }
    }
    for tap in &mut taps {
        while tap.hand_over(&mut cache) {}
    }
}

/// Whether a TAP device is there still, though there is nothing to be read.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Sleeps until a ring or a TAP device has something, or it is time to look round.
fn sleep(taps: &[Tap], waker: &Waker) {
    waker.sleeps.store(true, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    if !taps.iter().any(Tap::is_waiting) {
        let mut fds = vec![PollFd::new(&waker.event, PollFlags::IN)];
        let awaited = taps.iter().filter(|tap| tap.is_awaited());
        fds.extend(awaited.map(|tap| PollFd::from_borrowed_fd(tap.device.as_fd(), PollFlags::IN)));
        let _ = poll(&mut fds, Some(&LOOK));
    }
    waker.sleeps.store(false, Ordering::SeqCst);
    let _ = rustix::io::read(&waker.event, &mut [0; 8]);
}
