use crate::frames::{numbered, tagged, udp4};
use crate::lab::{Lab, eventually, ip};
use crate::worker::{Opened, RING_LEN, options};
use arrayvec::ArrayVec;
use sluice_io::af_xdp::Attach;
use sluice_io::{AfXdpOptions, HEADROOM, MTU_MAX, PortMode};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Bytes of an encapsulation in VXLAN over IPv4: what heads move by.
const ENCAP_LEN: usize = 50;
const TAG_LEN: usize = 4;

/// Frames of several lengths come in as they were sent, and go out as they
/// are, from any place in the chunk.
fn bytes_are_exact(options: &AfXdpOptions, in_place: bool) {
    let Some(lab) = Lab::new(1, 1) else { return };
    let mut opened = Opened::new(&lab, options);
    let far = lab.packet_socket("e0");
    let worker = &mut opened.workers[0];
    let native = options.attach == Attach::Native;
    let mode = PortMode::AfXdp { native, zero_copy: false, in_place };
    assert_eq!(worker.ports[0].info().mode, mode);

    for (number, len) in [(1, 60), (2, 61), (3, 590), (4, 1514)] {
        let sent = numbered(number, len);
        far.send(&sent);
        let mut frame = worker.receive(0);
        assert_eq!(frame.head(), HEADROOM);
        assert_eq!(frame.data(), sent);
        frame.data_mut()[len - 1] ^= 0xff;
        let expected = frame.data().to_vec();
        worker.send(0, frame);
        assert_eq!(eventually("the answer", || far.try_receive()), expected);
    }
    for (number, encapsulated) in [(10, true), (11, false)] {
        let sent = numbered(number, 1400);
        far.send(&sent);
        let mut frame = worker.receive(0);
        let outer = numbered(99, ENCAP_LEN);
        let expected = if encapsulated {
            frame.push_head(ENCAP_LEN).unwrap().copy_from_slice(&outer);
            [&outer[..], &sent].concat()
        } else {
            assert!(frame.pull_head(ENCAP_LEN));
            frame.data_mut()[..14].copy_from_slice(&outer[..14]);
            [&outer[..14], &sent[ENCAP_LEN + 14..]].concat()
        };
        worker.send(0, frame);
        assert_eq!(eventually("the answer", || far.try_receive()), expected);
    }
    // As a tag that is taken off moves the addresses up.
    let sent = numbered(12, 1000);
    far.send(&sent);
    let mut frame = worker.receive(0);
    frame.data_mut().copy_within(0..12, TAG_LEN);
    assert!(frame.pull_head(TAG_LEN));
    let expected = [&sent[..12], &sent[12 + TAG_LEN..]].concat();
    worker.send(0, frame);
    assert_eq!(eventually("the answer", || far.try_receive()), expected);

    let stats = worker.ports[0].stats();
    assert_eq!(stats.tx_copies, if in_place { 0 } else { 3 });
    assert_eq!(stats.tx_invalid_descs, 0);
    assert_eq!(stats.kick_errors, 0);
    worker.settle(&opened.umem);
    opened.close();
}

#[test]
fn bytes_are_exact_with_the_program_in_the_driver() {
    bytes_are_exact(&options(1, 1), true);
}

#[test]
fn bytes_are_exact_with_the_program_on_socket_buffers() {
    bytes_are_exact(&AfXdpOptions { attach: Attach::Generic, ..options(1, 1) }, true);
}

#[test]
fn bytes_are_exact_when_payloads_move() {
    bytes_are_exact(&AfXdpOptions { move_payload: true, ..options(1, 1) }, false);
}

/// With a tag, the largest frame fills its chunk to the last byte.
#[test]
fn a_frame_of_the_largest_mtu_fits_with_its_tag() {
    for attach in [Attach::Native, Attach::Generic] {
        let Some(lab) = Lab::new(1, 1) else { return };
        for (namespace, device) in [(&lab.gateway, "p0"), (&lab.far, "e0")] {
            ip(&["-n", namespace, "link", "set", device, "mtu", &MTU_MAX.to_string()]);
        }
        let mut opened = Opened::new(&lab, &AfXdpOptions { attach, ..options(1, 1) });
        let far = lab.packet_socket("e0");
        let worker = &mut opened.workers[0];
        let untagged = numbered(1, 14 + MTU_MAX);
        let sent = tagged(&untagged, 0x8100, 7);
        far.send(&sent);
        let frame = worker.receive(0);
        assert_eq!((frame.head(), frame.tailroom()), (HEADROOM, 0));
        assert_eq!(frame.data(), sent);
        worker.send(0, frame);
        // The far kernel takes the tag off.
        assert_eq!(eventually("the answer", || far.try_receive()), untagged);
        opened.close();
    }
}

/// A frame goes from one device to another in the chunk that it came in, for
/// many more frames than there are chunks, and each chunk is accounted for.
#[test]
fn frames_cross_from_port_to_port_without_a_copy() {
    let Some(lab) = Lab::new(2, 1) else { return };
    let mut opened = Opened::new(&lab, &options(2, 1));
    let fars = [lab.packet_socket("e0"), lab.packet_socket("e1")];
    let worker = &mut opened.workers[0];
    let mut chunks = BTreeSet::new();
    for number in 0..6000u32 {
        let (from, to) = if number % 2 == 0 { (0, 1) } else { (1, 0) };
        let sent = numbered(number, 60 + number as usize % 1400);
        fars[from].send(&sent);
        let mut frame = worker.receive(from);
        chunks.insert(frame.chunk());
        // Heads move both ways, and the lists must not notice.
        let expected = match number % 3 {
            0 => sent,
            1 => {
                assert!(frame.pull_head(ENCAP_LEN / 2) && frame.len() >= 14);
                sent[ENCAP_LEN / 2..].to_vec()
            }
            _ => {
                let outer = numbered(number, ENCAP_LEN);
                frame.push_head(ENCAP_LEN).unwrap().copy_from_slice(&outer);
                [outer, sent].concat()
            }
        };
        worker.send(to, frame);
        assert_eq!(eventually("the frame at the other end", || fars[to].try_receive()), expected);
    }
    assert!(chunks.len() > RING_LEN as usize, "{} chunks were used", chunks.len());
    for port in &worker.ports {
        let stats = port.stats();
        assert_eq!((stats.tx_copies, stats.tx_invalid_descs, stats.rx_invalid_descs), (0, 0, 0));
    }
    worker.settle(&opened.umem);
    opened.close();
}

/// Bursts that overfill the rings: what the TX ring refuses stays the caller's,
/// order is kept, and all chunks come back.
#[test]
fn full_rings_refuse_and_lose_no_chunk() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let mut opened = Opened::new(&lab, &options(1, 1));
    let far = lab.packet_socket("e0");
    let worker = &mut opened.workers[0];
    let mut refused = 0;
    for round in 0..20 {
        let mut held = Vec::new();
        // Twice what the ring holds, before any of it may leave.
        for number in 0..2 * RING_LEN {
            let mut frame = worker.cache.alloc().unwrap();
            assert!(frame.fill(&numbered(round * 2 * RING_LEN + number, 60)));
            held.push(frame);
        }
        held.reverse();
        let mut burst = ArrayVec::new();
        loop {
            while !burst.is_full()
                && let Some(frame) = held.pop()
            {
                burst.push(frame);
            }
            worker.ports[0].tx(&mut worker.cache, &mut burst);
            if !burst.is_empty() {
                break;
            }
        }
        refused += burst.len() + held.len();
        for number in 0..RING_LEN {
            let expected = numbered(round * 2 * RING_LEN + number, 60);
            let received = eventually("a frame", || {
                worker.ports[0].flush(&mut worker.cache);
                far.try_receive()
            });
            assert_eq!(received, expected);
        }
        burst.into_iter().chain(held).for_each(|frame| worker.cache.free(frame));
    }
    assert_eq!(refused, 20 * RING_LEN as usize);
    worker.settle(&opened.umem);
    opened.close();
}

/// Frames that no interface can send are counted and given back, and calls are
/// made only when there is something to send.
#[test]
fn unsendable_frames_come_back_and_idle_flushes_make_no_calls() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let mut opened = Opened::new(&lab, &options(1, 1));
    let worker = &mut opened.workers[0];
    let mut burst = ArrayVec::new();
    for len in [0, 13, 1793] {
        let mut frame = worker.cache.alloc().unwrap();
        assert!(frame.set_window(100, len));
        burst.push(frame);
    }
    worker.ports[0].tx(&mut worker.cache, &mut burst);
    assert!(burst.is_empty());
    for _ in 0..100 {
        worker.ports[0].flush(&mut worker.cache);
    }
    let stats = worker.ports[0].stats();
    assert_eq!((stats.tx_invalid_descs, stats.tx_kicks), (3, 0));

    let mut frame = worker.cache.alloc().unwrap();
    assert!(frame.fill(&numbered(1, 60)));
    worker.send(0, frame);
    worker.settle(&opened.umem);
    let kicks = worker.ports[0].stats().tx_kicks;
    assert!(kicks >= 1);
    for _ in 0..100 {
        worker.ports[0].flush(&mut worker.cache);
    }
    assert_eq!(worker.ports[0].stats().tx_kicks, kicks);
    opened.close();
}

/// Flows spread over two queues: each arrives whole at one of the workers.
#[test]
fn two_queues_share_the_flows() {
    let Some(lab) = Lab::new(1, 2) else { return };
    let mut opened = Opened::new(&lab, &options(1, 2));
    let far = lab.packet_socket("e0");
    let mut queue_of_flow = BTreeMap::new();
    let flows = 32u16;
    for round in 0..4 {
        for flow in 0..flows {
            let sent = udp4(Ipv4Addr::new(10, 0, 0, 1), 20_000 + flow, 53);
            far.send(&sent);
            let queue = eventually("the frame on either queue", || {
                (0..2).find(|queue| {
                    let worker = &mut opened.workers[*queue];
                    assert_eq!(worker.ports[0].info().queue, *queue as u32);
                    let burst = worker.receive_now(0);
                    let found = burst.iter().any(|frame| frame.data() == sent);
                    burst.into_iter().for_each(|frame| worker.cache.free(frame));
                    found
                })
            });
            if round == 0 {
                queue_of_flow.insert(flow, queue);
            }
            assert_eq!(queue_of_flow[&flow], queue, "flow {flow} changed its queue");
        }
    }
    let queues: BTreeSet<_> = queue_of_flow.values().collect();
    assert_eq!(queues.len(), 2, "32 flows on one queue");
    assert_eq!(opened.counters(0).redirected, 4 * u64::from(flows));
    opened.close();
}
