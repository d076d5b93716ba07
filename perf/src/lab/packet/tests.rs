use super::*;
use crate::check;
use crate::frames::Udp;
use crate::site;
use sluice_io::{FrameCache, Umem};

fn ends(family: Family) -> Ends {
    let number = |who| number_of(who, family);
    Ends { src: (number(Who::Client(77)), 4321), dst: (number(Who::Vip(9)), 53) }
}

fn stamp() -> Stamp {
    Stamp { run: 3, kind: Kind::Request, place: 70_000, seq: 12, due: 0x0123_4567_89ab_cdef }
}

fn frames() -> FrameCache {
    FrameCache::new(&Umem::new(64).unwrap(), 32)
}

#[test]
fn what_is_written_is_right_for_an_independent_parser_and_read_again() {
    let mut cache = frames();
    for family in [Family::V4, Family::V6] {
        for len in [headers_len(family) + STAMP_LEN, 123, 590, 1514] {
            for way in [Way::FromClient, Way::ToClient, Way::FromPod, Way::ToPod] {
                let template = Template::new(family, way, len).unwrap();
                let mut frame = cache.alloc().unwrap();
                assert!(template.write(&mut frame, &ends(family), &stamp(), 5));
                let mut data = frame.data();
                if way.is_tunneled() {
                    assert_eq!(data.len(), len + tunnel_len(family));
                    let outer = check::parse(data, true).unwrap();
                    let [node, gateway] = [Who::Node(5), Who::GatewayCluster];
                    let (src, dst) =
                        if way == Way::FromPod { (node, gateway) } else { (gateway, node) };
                    assert_eq!((outer.src.0, outer.dst.0), (src.addr(family), dst.addr(family)));
                    let mac = if way == Way::FromPod { outer.src_mac } else { outer.dst_mac };
                    assert_eq!(mac, site::node_mac(5));
                    data = &outer.payload[8..];
                }
                assert_eq!(data.len(), len);
                let inner = check::parse(data, false).unwrap();
                assert_eq!(inner.src, (Who::Client(77).addr(family), 4321));
                assert_eq!(inner.ttl, if way.arrives() { TTL } else { TTL - 1 });
                for whole in [false, true] {
                    let found = template.read(frame.data(), whole).unwrap();
                    assert_eq!((found.ends, found.stamp), (ends(family), stamp()));
                    assert_eq!(found.node, if way.is_tunneled() { 5 } else { 0 });
                }
                cache.free(frame);
            }
        }
        assert!(Template::new(family, Way::FromPod, headers_len(family) + STAMP_LEN - 1).is_err());
    }
}

#[test]
fn no_single_bit_can_change_unseen() {
    let mut cache = frames();
    for family in [Family::V4, Family::V6] {
        for way in [Way::ToClient, Way::ToPod] {
            let template = Template::new(family, way, 200).unwrap();
            let mut frame = cache.alloc().unwrap();
            assert!(template.write(&mut frame, &ends(family), &stamp(), 5));
            let right = template.read(frame.data(), true).unwrap();
            for at in 0..frame.len() {
                for bit in 0..8 {
                    frame.data_mut()[at] ^= 1 << bit;
                    let found = template.read(frame.data(), true);
                    // The source port of a tunnel over IPv4 is covered by nothing.
                    let udp = 14 + family.header_len();
                    let is_entropy = way == Way::ToPod && (udp..udp + 2).contains(&at);
                    let unseen = found.is_ok_and(|found| found == right) && !is_entropy;
                    assert!(!unseen, "{family:?} {way:?} byte {at} bit {bit}");
                    frame.data_mut()[at] ^= 1 << bit;
                }
            }
            cache.free(frame);
        }
    }
}

#[test]
fn others_are_no_traffic_of_the_lab() {
    let mut builder = Builder::default();
    for family in [Family::V4, Family::V6] {
        assert!(is_other(builder.hello(family, UPLINK, ROUTER_MAC, Who::Router)), "{family:?}");
        let end = (Who::Router.addr(family), 1);
        let udp = Udp { src: end, dst: end, id: 0 };
        assert!(!is_other(builder.plain(family, UPLINK, ROUTER_MAC, &udp)));
    }
    assert!(!is_other(&[0; 13]));
}
