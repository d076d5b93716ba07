use super::*;
use crate::memory::{MemoryPort, MemoryPortPeer};
use crate::port::PortId;
use crate::umem::Umem;
use std::net::Ipv4Addr;

/// Frames of the cases.
#[allow(dead_code, reason = "others send more of them")]
#[path = "../../../../tests/common/frames.rs"]
mod frames;

const FRAMES: usize = 2_048;
const KERNEL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const SLUICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Frames that fit the device between two flushes.
const ROOM: usize = 8;

struct Rig {
    umem: Umem,
    cache: FrameCache,
    port: KernelPort,
    wire: MemoryPortPeer,
    to_kernel: rtrb::Consumer<Frame>,
    from_kernel: rtrb::Producer<Frame>,
    burst: RxBurst,
}

impl Rig {
    fn new() -> Self {
        let umem = Umem::new(FRAMES).unwrap();
        let cache = FrameCache::new(&umem, 256);
        let (inner, wire) = MemoryPort::new(PortId(0), "a", 0, ROOM);
        let (producer, to_kernel) = rtrb::RingBuffer::new(RING_LEN);
        let (from_kernel, consumer) = rtrb::RingBuffer::new(RING_LEN);
        let port = KernelPort {
            inner: Box::new(inner),
            steering: Arc::new(Steering::new(&[KERNEL.into()], &[], 4789)),
            to_kernel: producer,
            from_kernel: Some(consumer),
            waker: Arc::new(Waker::new().unwrap()),
            counters: Shared::default(),
        };
        Rig { umem, cache, port, wire, to_kernel, from_kernel, burst: RxBurst::new() }
    }

    /// Receives all that is on the wire; what is left for the worker.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut left = Vec::new();
        while self.wire.pending() > 0 {
            let count = self.port.rx(&mut self.cache, &mut self.burst);
            assert_eq!(count, self.burst.len());
            for frame in self.burst.drain(..) {
                left.push(frame.data().to_vec());
                self.cache.free(frame);
            }
        }
        left
    }
}

#[test]
fn who_floods_an_address_leaves_room_for_arp() {
    let mut rig = Rig::new();
    let (flood, own) = (frames::udp4(KERNEL, 1, 22), frames::udp4(SLUICE, 1, 22));
    let arp = frames::arp(1, KERNEL);
    for _ in 0..2 * RING_LEN {
        rig.wire.send(&flood);
    }
    rig.wire.send(&own);
    for _ in 0..2 * RESERVED {
        rig.wire.send(&arp);
    }
    assert_eq!(rig.receive(), [own]);
    let counts = rig.port.counters.read();
    assert_eq!(counts.passed_kernel_address, (RING_LEN - RESERVED) as u64);
    assert_eq!(counts.passed_arp, RESERVED as u64);
    assert_eq!(counts.dropped, (RING_LEN + 2 * RESERVED) as u64);
    let mut passed = Vec::new();
    while let Ok(frame) = rig.to_kernel.pop() {
        passed.push(frame.data().to_vec());
        rig.cache.free(frame);
    }
    assert!(passed[..RING_LEN - RESERVED].iter().all(|frame| *frame == flood));
    assert!(passed[RING_LEN - RESERVED..].iter().all(|frame| *frame == arp));
    rig.wire.send(&flood);
    assert!(rig.receive().is_empty());
    assert_eq!(rig.to_kernel.slots(), 1, "there is room again");
}

#[test]
fn what_the_kernel_sends_goes_out_or_is_counted() {
    let mut rig = Rig::new();
    for number in 0..3 * ROOM as u8 {
        let mut frame = rig.cache.alloc().unwrap();
        assert!(frame.fill(&[number; 60]));
        rig.from_kernel.push(frame).unwrap();
    }
    rig.port.flush(&mut rig.cache);
    let counts = rig.port.counters.read();
    assert_eq!((counts.sent, counts.dropped), (ROOM as u64, 2 * ROOM as u64));
    for number in 0..ROOM as u8 {
        assert_eq!(rig.wire.receive(), Some(vec![number; 60]));
    }
    assert_eq!(rig.wire.receive(), None);
}

#[test]
fn a_port_that_closes_keeps_no_frame() {
    let mut rig = Rig::new();
    for _ in 0..RING_LEN {
        let frame = rig.cache.alloc().unwrap();
        rig.from_kernel.push(frame).unwrap();
    }
    rig.port.close(&mut rig.cache);
    drop(rig.cache);
    assert_eq!(rig.umem.free_chunks(), FRAMES);
}
