use super::*;
use crate::check;
use crate::flood::shapes::{Shapes, Way};
use etherparse::{SlicedPacket, TransportSlice};
use sluice_io::{FrameCache, Umem};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn segment(id: u64) -> Segment {
    let (src, dst) = ((0x0a01_0203, 40_001), (0xac14_0001, 80));
    Segment { src, dst, seq: 0x8123_4567, ack: 0xfedc_ba98, id }
}

/// Writes a frame and gives its bytes away.
fn written(shape: &Shape, segment: &Segment) -> Vec<u8> {
    let umem = Umem::new(1).unwrap();
    let mut cache = FrameCache::new(&umem, 1);
    let mut frame = cache.alloc().unwrap();
    shape.write(&mut frame, segment);
    let bytes = frame.data().to_vec();
    cache.free(frame);
    bytes
}

/// Checks a frame with a parser that is not ours.
fn check_tcp(frame: &[u8]) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("not TCP") };
    let header = tcp.to_header();
    let checksum = match packet.net.as_ref().unwrap() {
        etherparse::NetSlice::Ipv4(ip) => {
            let ip = ip.header().to_header();
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            header.calc_checksum_ipv4(&ip, tcp.payload()).unwrap()
        }
        etherparse::NetSlice::Ipv6(ip) => {
            header.calc_checksum_ipv6(&ip.header().to_header(), tcp.payload()).unwrap()
        }
        _ => panic!("neither IPv4 nor IPv6"),
    };
    assert_eq!(header.checksum, checksum);
}

fn each(mut f: impl FnMut(Family, Way, &Shape, Segment)) {
    for family in FAMILIES {
        for way in [Way::FromClient, Way::ToClient, Way::FromPod(3), Way::ToPod(3)] {
            let Shapes { open, ack, data, reset } = Shapes::new(family, way);
            for shape in [open, ack, reset] {
                f(family, way, &shape, segment(0));
            }
            f(family, way, &data, segment(7));
        }
    }
}

#[test]
fn what_is_written_is_right_for_another_parser() {
    each(|_, way, shape, segment| {
        let frame = written(shape, &segment);
        match way {
            Way::FromClient | Way::ToClient => check_tcp(&frame),
            Way::FromPod(_) | Way::ToPod(_) => {
                let outer = check::parse(&frame, true).unwrap();
                check_tcp(&outer.payload[8..]);
            }
        }
    });
}

#[test]
fn what_is_written_is_read() {
    each(|_, _, shape, segment| {
        assert_eq!(shape.read(&written(shape, &segment)), Ok(segment));
    });
}

#[test]
fn no_byte_can_change_unseen() {
    each(|family, way, shape, segment| {
        let frame = written(shape, &segment);
        for at in 0..frame.len() {
            let mut wrong = frame.clone();
            wrong[at] ^= 0x01;
            // Nothing covers the source port of a tunnel over IPv4.
            let entropy = 14 + 20..14 + 20 + 2;
            let is_free = matches!(way, Way::FromPod(_) | Way::ToPod(_))
                && family == Family::V4
                && entropy.contains(&at);
            assert_eq!(shape.read(&wrong).is_ok(), is_free, "{family:?} {way:?} byte {at}");
        }
        assert!(shape.read(&frame[..frame.len() - 1]).is_err());
    });
}
