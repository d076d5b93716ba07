//! Ports on a driver of DPDK's whose devices give back what they are sent (`net_ring`): no
//! NIC and no privilege. EAL starts once in a process: one test of them.

/// Frames of the cases.
#[allow(dead_code, reason = "others send more of them")]
#[path = "common/frames.rs"]
mod frames;
/// Whose each frame is.
#[allow(dead_code, reason = "others have more addresses")]
#[path = "common/steering.rs"]
mod steering;

use arrayvec::ArrayVec;
use sluice_io::dpdk::{LogLine, Passed, Steering};
use sluice_io::{
    BURST, Dpdk, DpdkDevices, DpdkError, DpdkOptions, Frame, FrameCache, Port, RxBurst, Umem,
};

const FRAMES: u32 = 4096;

/// Bytes of packets: from the least to what a chunk holds behind its headroom.
const LENGTHS: [usize; 3] = [60, 1514, 1792];

fn log(line: LogLine<'_>) {
    eprintln!("{line:?}");
}

/// A frame with a packet of so many bytes, each of them `value`.
fn frame(cache: &mut FrameCache, len: usize, value: u8) -> Frame {
    let mut frame = cache.alloc().expect("a free frame");
    assert!(frame.fill(&vec![value; len]));
    frame
}

/// As the XDP program of the other backend has it.
#[test]
fn each_frame_is_whose_it_is() {
    use steering::{KERNEL_V4, KERNEL_V6, VTEP_V4, VXLAN_PORT, Whose};
    let kernel = [KERNEL_V4.into(), KERNEL_V6.into()];
    let vteps = [&kernel[..], &[VTEP_V4.into()]].concat();
    let steering = Steering::new(&kernel, &vteps, VXLAN_PORT);
    for (name, frame, whose) in steering::cases() {
        let judged = match steering.judge(&frame) {
            None => Whose::Sluice,
            Some(Passed::KernelAddress) => Whose::Address,
            Some(Passed::Arp) => Whose::Arp,
            Some(Passed::Nd) => Whose::Nd,
            Some(Passed::Control) => Whose::Control,
        };
        assert_eq!(judged, whose, "{name}");
        for len in 0..frame.len() {
            steering.judge(&frame[..len]);
        }
    }
    let none = Steering::new(&[], &vteps, VXLAN_PORT);
    let all = steering::cases().into_iter();
    let kept = all.filter(|(_, _, whose)| *whose != Whose::Control);
    assert!(kept.map(|(_, frame, _)| none.judge(&frame)).all(|judged| judged.is_none()));
}

/// The kernel's device of a tagged port is in its VLAN alone.
#[test]
fn of_a_tagged_port_the_kernel_gets_what_has_its_tag() {
    use steering::{KERNEL_V4, KERNEL_V6, VTEP_V4, VXLAN_PORT};
    let kernel = [KERNEL_V4.into(), KERNEL_V6.into()];
    let vteps = [&kernel[..], &[VTEP_V4.into()]].concat();
    let untagged = Steering::new(&kernel, &vteps, VXLAN_PORT);
    let tagged = untagged.clone().tagged(Some(100));
    let with_tag = |frame: &[u8], tag: [u8; 4]| [&frame[..12], &tag, &frame[12..]].concat();
    let mut link_level = 0;
    for (name, frame, _) in steering::cases().into_iter().filter(|(_, frame, _)| frame.len() > 14) {
        let is_tagged = matches!(frame[12..14], [0x81, 0] | [0x88, 0xa8]);
        let is_link_level = matches!(frame[12..14], [0x88, 0x09 | 0x8e | 0xcc]);
        link_level += usize::from(is_link_level);
        let expected = if is_link_level { Some(Passed::Control) } else { None };
        assert_eq!(tagged.judge(&frame), expected, "{name}, as it is");
        let other = with_tag(&frame, [0x81, 0, 0, 101]);
        assert_eq!(tagged.judge(&other), None, "{name}, of another VLAN");
        if !is_tagged {
            let own = with_tag(&frame, [0x81, 0, 0xe0, 100]);
            assert_eq!(tagged.judge(&own), untagged.judge(&frame), "{name}, of its VLAN");
        }
    }
    assert!(link_level > 0);
}

#[test]
fn frames_go_out_and_come_in_and_none_is_lost() {
    let twice = DpdkOptions::new(&["net_ring0", "net_ring0,nodeaction=x"], FRAMES);
    let refused = DpdkDevices::find(twice, log).unwrap_err();
    assert!(matches!(refused, DpdkError::DeviceTwice { .. }), "{refused}");
    let options = DpdkOptions::new(&["net_ring0", "net_ring1"], FRAMES);
    let found = DpdkDevices::find(options.clone(), log).expect("EAL starts");
    assert_eq!((&*found.devices()[0].driver, found.devices()[1].mtu), ("net_ring", 1500));
    let again = DpdkDevices::find(options, log).unwrap_err();
    assert!(matches!(again, DpdkError::Again), "{again}");

    let opened = found.open().expect("the devices start");
    let umem = opened.umem().clone();
    assert_eq!((umem.chunks(), umem.free_chunks()), (FRAMES, FRAMES as usize));
    let Dpdk { mut ports, handle, .. } = opened;
    let links = handle.links();
    assert!(links.iter().all(|link| link.state().to_string() == "up"));
    // Ports keep their devices.
    drop(handle);
    let ports = ports.remove(0);
    let worker = umem.clone();
    std::thread::spawn(move || run(ports, &worker)).join().expect("the worker ends");
    assert_eq!(umem.free_chunks(), FRAMES as usize);
    assert!(links.iter().all(|link| link.state().to_string() == "not present"));
}

/// What a worker does, on a thread of its own.
fn run(mut ports: Vec<Box<dyn Port>>, umem: &Umem) {
    let mut cache = FrameCache::new(umem, 256);
    let mut burst = RxBurst::new();
    for port in &mut ports {
        assert_eq!(port.info().mode.to_string(), "dpdk net_ring");
        assert_eq!(port.rx(&mut cache, &mut burst), 0);
    }
    for round in 0..1_000_u32 {
        let mut sent = ArrayVec::<Frame, BURST>::new();
        for index in 0..BURST {
            let mut frame = frame(&mut cache, LENGTHS[index % LENGTHS.len()], round as u8);
            // What encapsulation and decapsulation do.
            assert!(frame.push_head(50).is_some_and(|head| {
                head.fill(index as u8);
                true
            }));
            assert!(index % 2 == 0 || frame.pull_head(10));
            sent.push(frame);
        }
        // In by one device and out by the other.
        for port in &mut ports {
            port.tx(&mut cache, &mut sent);
            assert!(sent.is_empty());
            port.flush(&mut cache);
            assert_eq!(port.rx(&mut cache, &mut burst), BURST);
            sent.extend(burst.drain(..));
        }
        for (index, frame) in sent.drain(..).enumerate() {
            let head = if index % 2 == 0 { 50 } else { 40 };
            assert_eq!(frame.len(), head + LENGTHS[index % LENGTHS.len()]);
            assert!(frame.data()[..head].iter().all(|byte| *byte == index as u8));
            assert!(frame.data()[head..].iter().all(|byte| *byte == round as u8));
            cache.free(frame);
        }
    }
    let port = &mut ports[0];

    // A queue that is full keeps no more than it has room for; the rest stays here.
    let mut refused = 0;
    for _ in 0..100 {
        let mut sent: ArrayVec<_, BURST> = (0..BURST).map(|_| frame(&mut cache, 60, 0)).collect();
        port.tx(&mut cache, &mut sent);
        refused += sent.len();
        sent.drain(..).for_each(|frame| cache.free(frame));
    }
    assert!(refused > 0);
    while port.rx(&mut cache, &mut burst) > 0 {
        burst.drain(..).for_each(|frame| cache.free(frame));
    }

    // All of them can be had, and no more; then all of them are free again.
    let mut held = Vec::new();
    while let Some(frame) = cache.alloc() {
        held.push(frame);
    }
    // Those in the cache that this thread has of DPDK's pool may be left there.
    assert!(held.len() + umem.free_chunks() == FRAMES as usize, "{} held", held.len());
    assert!(held.len() > FRAMES as usize - 512, "{} held", held.len());
    let mut numbers: Vec<u32> = held.iter().map(Frame::chunk).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), held.len(), "each frame has a number of its own");
    held.into_iter().for_each(|frame| cache.free(frame));
    port.close(&mut cache);
}
