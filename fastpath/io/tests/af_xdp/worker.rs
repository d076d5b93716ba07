use crate::lab::{Lab, eventually};
use arrayvec::ArrayVec;
use sluice_io::af_xdp::{Attach, XdpCounters};
use sluice_io::{
    AfXdp, AfXdpHandle, AfXdpOptions, AfXdpPortOptions, BURST, Frame, FrameCache, Port, PortId,
    RxBurst, Umem,
};

/// Descriptors in the rings of the tests: few, so that they wrap.
pub const RING_LEN: u32 = 256;

/// Options for the first `ports` devices of a lab.
pub fn options(ports: usize, workers: usize) -> AfXdpOptions {
    let ports = (0..ports).map(|i| AfXdpPortOptions {
        id: PortId(i as u8),
        name: format!("port{i}"),
        device: format!("p{i}"),
        kernel_addresses: Vec::new(),
        vteps: Vec::new(),
        vxlan_udp_port: 4789,
    });
    let options = AfXdpOptions::new(ports.collect(), workers);
    AfXdpOptions { ring_len: RING_LEN, frames: 4096, attach: Attach::Native, ..options }
}

/// One worker with its ports and its cache.
pub struct Worker {
    pub ports: Vec<Box<dyn Port>>,
    pub cache: FrameCache,
    /// Chunks of each port that came in and were not replaced yet.
    missing: Vec<u32>,
}

/// Everything open.
pub struct Opened {
    pub umem: Umem,
    pub handle: AfXdpHandle,
    pub workers: Vec<Worker>,
}

impl Opened {
    /// Opens, and lets every port ask for its first frames.
    pub fn new(lab: &Lab, options: &AfXdpOptions) -> Opened {
        let opened = lab.in_gateway(|| AfXdp::open(options));
        let opened = opened.unwrap_or_else(|error| panic!("{error}"));
        let umem = opened.umem().clone();
        let worker = |ports: Vec<Box<dyn Port>>| {
            let (missing, cache) = (vec![RING_LEN; ports.len()], FrameCache::new(&umem, 0));
            Worker { ports, cache, missing }
        };
        let mut workers: Vec<Worker> = opened.ports.into_iter().map(worker).collect();
        for worker in &mut workers {
            for port in 0..worker.ports.len() {
                worker.receive_now(port).into_iter().for_each(|frame| worker.cache.free(frame));
            }
        }
        Opened { umem, handle: opened.handle, workers }
    }

    pub fn counters(&self, port: usize) -> XdpCounters {
        self.handle.xdp_counters().unwrap()[port].1
    }

    /// Closes everything; every chunk must be where it belongs.
    pub fn close(self) {
        let Opened { umem, handle, workers } = self;
        drop(handle);
        let receiving: u32 = workers.iter().map(Worker::receiving).sum();
        for mut worker in workers {
            for port in &mut worker.ports {
                port.close(&mut worker.cache);
            }
        }
        assert_eq!(umem.free_chunks() + umem.retired_chunks() as usize, umem.chunks() as usize);
        // What was sent has come back: only the frames to receive into are out.
        assert_eq!(umem.retired_chunks(), receiving);
    }
}

impl Worker {
    /// Chunks that the kernel has to receive into.
    fn receiving(&self) -> u32 {
        self.missing.iter().map(|missing| RING_LEN - missing).sum()
    }

    fn rx(&mut self, port: usize, burst: &mut RxBurst) {
        let before = burst.len();
        let received = self.ports[port].rx(&mut self.cache, burst);
        assert_eq!(received, burst.len() - before);
        // Ports replace what came in when it is a burst's worth.
        let missing = &mut self.missing[port];
        *missing += received as u32;
        if *missing >= BURST as u32 {
            *missing = 0;
        }
    }

    /// What has arrived.
    pub fn receive_now(&mut self, port: usize) -> RxBurst {
        let mut burst = RxBurst::new();
        self.rx(port, &mut burst);
        burst
    }

    /// The next frame to arrive, on its own.
    pub fn receive(&mut self, port: usize) -> Frame {
        // A burst with room for one.
        let mut burst = RxBurst::new();
        while burst.remaining_capacity() > 1 {
            burst.push(self.cache.alloc().unwrap());
        }
        let frame = eventually("a frame", || {
            self.rx(port, &mut burst);
            if burst.is_full() { burst.pop() } else { None }
        });
        burst.into_iter().for_each(|frame| self.cache.free(frame));
        frame
    }

    /// The bytes of the next frame to arrive.
    pub fn receive_bytes(&mut self, port: usize) -> Vec<u8> {
        let frame = self.receive(port);
        let bytes = frame.data().to_vec();
        self.cache.free(frame);
        bytes
    }

    /// Sends one frame.
    pub fn send(&mut self, port: usize, frame: Frame) {
        let mut burst = ArrayVec::new();
        burst.push(frame);
        self.send_all(port, &mut burst);
    }

    /// Sends a burst.
    pub fn send_all(&mut self, port: usize, burst: &mut ArrayVec<Frame, BURST>) {
        eventually("room in the TX ring", || {
            self.ports[port].tx(&mut self.cache, burst);
            self.ports[port].flush(&mut self.cache);
            burst.is_empty().then_some(())
        });
    }

    /// Flushes until the frames that were sent have come back.
    pub fn settle(&mut self, umem: &Umem) {
        let free = (umem.chunks() - self.receiving()) as usize;
        eventually("the frames that were sent", || {
            self.ports.iter_mut().for_each(|port| port.flush(&mut self.cache));
            (self.cache.len() + umem.free_chunks() == free).then_some(())
        });
    }
}
