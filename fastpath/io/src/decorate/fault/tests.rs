use super::*;
use crate::memory::{MemoryPort, MemoryPortPeer};
use crate::port::PortId;
use crate::umem::Umem;

const FRAMES: usize = 256;

struct Setup {
    port: FaultPort,
    peer: MemoryPortPeer,
    clock: SharedClock,
    cache: FrameCache,
    umem: Umem,
}

fn setup(rx: Faults, tx: Faults, tx_room: usize) -> Setup {
    let umem = Umem::new(FRAMES).unwrap();
    let cache = FrameCache::new(&umem, 0);
    let (memory, peer) = MemoryPort::new(PortId(0), "p0", 0, tx_room);
    let clock = SharedClock::new();
    let port = FaultPort::new(Box::new(memory), rx, tx, 42, clock.clone());
    Setup { port, peer, clock, cache, umem }
}

impl Setup {
    /// Receives once; the frames are freed.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut burst = RxBurst::new();
        let received = self.port.rx(&mut self.cache, &mut burst);
        assert_eq!(received, burst.len());
        let bytes = burst.iter().map(|frame| frame.data().to_vec()).collect();
        burst.into_iter().for_each(|frame| self.cache.free(frame));
        bytes
    }

    fn send(&mut self, frames: &[&[u8]]) {
        assert_eq!(self.offer(frames), frames.len());
    }

    /// Returns how many were taken.
    fn offer(&mut self, frames: &[&[u8]]) -> usize {
        let mut burst = ArrayVec::new();
        for bytes in frames {
            let mut frame = self.cache.alloc().unwrap();
            assert!(frame.fill(bytes));
            burst.push(frame);
        }
        self.port.tx(&mut self.cache, &mut burst);
        let taken = frames.len() - burst.len();
        burst.into_iter().for_each(|frame| self.cache.free(frame));
        taken
    }

    fn sent(&mut self) -> Vec<Vec<u8>> {
        self.port.flush(&mut self.cache);
        std::iter::from_fn(|| self.peer.receive()).collect()
    }

    /// Closes; every frame must be back.
    fn close(mut self) {
        self.port.close(&mut self.cache);
        drop(self.cache);
        assert_eq!(self.umem.free_chunks(), FRAMES);
    }
}

#[test]
fn without_faults_nothing_changes() {
    let mut s = setup(Faults::NONE, Faults::NONE, 64);
    s.peer.send(b"in 1");
    s.peer.send(b"in 2");
    assert_eq!(s.receive(), [b"in 1", b"in 2"]);
    s.send(&[b"out 1", b"out 2"]);
    assert_eq!(s.sent(), [b"out 1", b"out 2"]);
    assert_eq!(s.port.rx_counts().totals(), FaultTotals::default());
    assert_eq!(s.port.tx_counts().totals(), FaultTotals::default());
    s.close();
}

#[test]
fn frames_are_lost_by_chance_and_the_same_ones_again() {
    let run = || {
        let mut s = setup(Faults { loss_ppm: 300_000, ..Faults::NONE }, Faults::NONE, 64);
        let mut received = Vec::new();
        for i in 0..60u8 {
            s.peer.send(&[i]);
            received.extend(s.receive());
        }
        let totals = s.port.rx_counts().totals();
        assert_eq!(received.len() + totals.lost as usize, 60);
        s.close();
        received
    };
    let first = run();
    assert!((25..58).contains(&first.len()), "{}", first.len());
    assert_eq!(run(), first);
}

#[test]
fn a_corrupted_frame_differs_in_one_bit() {
    let mut s = setup(Faults { corrupt_ppm: 1_000_000, ..Faults::NONE }, Faults::NONE, 64);
    let sent = [0x5a; 64];
    s.peer.send(&sent);
    let received = s.receive().remove(0);
    let bits: u32 = received.iter().zip(&sent).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!(bits, 1);
    assert_eq!(s.port.rx_counts().totals().corrupted, 1);
    s.close();
}

#[test]
fn duplicates_have_chunks_of_their_own() {
    let mut s = setup(Faults { duplicate_ppm: 1_000_000, ..Faults::NONE }, Faults::NONE, 64);
    s.peer.send(b"twice");
    let mut burst = RxBurst::new();
    assert_eq!(s.port.rx(&mut s.cache, &mut burst), 2);
    assert_ne!(burst[0].chunk(), burst[1].chunk());
    assert!(burst.iter().all(|frame| frame.data() == b"twice"));
    burst.into_iter().for_each(|frame| s.cache.free(frame));
    assert_eq!(s.port.rx_counts().totals().duplicated, 1);
    s.close();
}

#[test]
fn delays_go_by_the_shared_clock() {
    let mut s = setup(
        Faults { delay_ns: 100, ..Faults::NONE },
        Faults { delay_ns: 200, ..Faults::NONE },
        64,
    );
    s.peer.send(b"in");
    s.send(&[b"out"]);
    assert!(s.receive().is_empty() && s.sent().is_empty());
    assert_eq!(s.port.held(), 2);
    s.clock.set_now_ns(99);
    assert!(s.receive().is_empty());
    s.clock.set_now_ns(100);
    assert_eq!(s.receive(), [b"in"]);
    assert!(s.sent().is_empty());
    s.clock.set_now_ns(200);
    assert_eq!(s.sent(), [b"out"]);
    assert_eq!(s.port.held(), 0);
    s.close();
}

#[test]
fn a_frame_held_back_is_passed_by_later_ones() {
    let faults = Faults { reorder_ppm: 500_000, reorder_ns: 10, ..Faults::NONE };
    let mut s = setup(Faults::NONE, faults, 64);
    let frames: Vec<[u8; 1]> = (0..20).map(|i| [i]).collect();
    s.send(&frames.iter().map(|frame| &frame[..]).collect::<Vec<_>>());
    let mut order = s.sent();
    assert!(!order.is_empty() && order.len() < 20, "{}", order.len());
    s.clock.set_now_ns(10);
    let late = s.sent();
    assert_eq!(late.len() as u64, s.port.tx_counts().totals().reordered);
    assert!(late.is_sorted(), "{late:?}");
    order.extend(late);
    assert!(!order.is_sorted());
    order.sort();
    assert_eq!(order, frames);
    s.close();
}

#[test]
fn too_many_held_frames_are_lost_on_receive_and_refused_on_send() {
    let faults = Faults { delay_ns: 1, held_max: 3, ..Faults::NONE };
    let mut s = setup(faults, faults, 64);
    let frames: [&[u8]; 5] = [b"1", b"2", b"3", b"4", b"5"];
    frames.iter().for_each(|frame| s.peer.send(frame));
    assert!(s.receive().is_empty());
    assert_eq!(s.port.rx_counts().totals().overflowed, 2);
    assert_eq!(s.offer(&frames), 3);
    assert_eq!(s.port.tx_counts().totals().overflowed, 0);
    s.clock.set_now_ns(1);
    assert_eq!(s.receive(), frames[..3]);
    assert_eq!(s.sent(), frames[..3]);
    s.close();
}

#[test]
fn a_caller_with_little_room_loses_nothing() {
    let mut s = setup(Faults { held_max: 64, ..Faults::NONE }, Faults::NONE, 64);
    for i in 0..200u8 {
        s.peer.send(&[i]);
    }
    for i in 0..200u8 {
        let mut burst = RxBurst::new();
        while burst.remaining_capacity() > 1 {
            burst.push(s.cache.alloc().unwrap());
        }
        assert_eq!(s.port.rx(&mut s.cache, &mut burst), 1);
        assert_eq!(burst.last().unwrap().data(), [i]);
        burst.into_iter().for_each(|frame| s.cache.free(frame));
    }
    assert_eq!(s.port.rx_counts().totals().overflowed, 0);
    s.close();
}

#[test]
fn what_the_port_refuses_is_sent_later_in_order() {
    let mut s = setup(Faults::NONE, Faults::NONE, 2);
    s.send(&[b"1", b"2", b"3", b"4", b"5"]);
    assert_eq!(s.sent(), [b"1", b"2"]);
    assert_eq!(s.sent(), [b"3", b"4"]);
    assert_eq!(s.sent(), [b"5"]);
    s.close();
}

#[test]
fn frames_still_held_come_back_on_close() {
    let faults = Faults { delay_ns: 1_000, duplicate_ppm: 1_000_000, ..Faults::NONE };
    let mut s = setup(faults, faults, 64);
    s.peer.send(b"in");
    assert!(s.receive().is_empty());
    s.send(&[b"out"]);
    assert_eq!(s.port.held(), 4);
    s.close();
}
