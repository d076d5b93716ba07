//! Lines against bytes: checksums and headers are judged by etherparse, an independent parser.

use etherparse::{
    Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice, icmpv4,
    icmpv6::DestUnreachableCode,
};
use sluice_testkit::packet::{Defaults, format, parse};

fn frame(line: &str) -> Vec<u8> {
    parse(line, &Defaults::default()).unwrap_or_else(|e| panic!("{line}\n{e}"))
}

fn error(line: &str) -> String {
    parse(line, &Defaults::default()).expect_err(line).to_string()
}

/// Panics unless etherparse agrees with every checksum of `frame`.
fn check_sums(frame: &[u8]) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let ends: (Vec<u8>, Vec<u8>) = match packet.net.unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            (header.source.to_vec(), header.destination.to_vec())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            (header.source.to_vec(), header.destination.to_vec())
        }
        NetSlice::Arp(_) => return,
    };
    let four = |a: &[u8]| <[u8; 4]>::try_from(a).ok();
    let six = |a: &[u8]| <[u8; 16]>::try_from(a).unwrap();
    let (src, dst) = &ends;
    match packet.transport.unwrap() {
        TransportSlice::Tcp(tcp) => {
            let right = match (four(src), four(dst)) {
                (Some(src), Some(dst)) => tcp.calc_checksum_ipv4(src, dst).unwrap(),
                _ => tcp.calc_checksum_ipv6(six(src), six(dst)).unwrap(),
            };
            assert_eq!(tcp.checksum(), right);
        }
        TransportSlice::Udp(udp) => {
            let header = udp.to_header();
            let right = match (four(src), four(dst)) {
                (Some(src), Some(dst)) => {
                    header.calc_checksum_ipv4_raw(src, dst, udp.payload()).unwrap()
                }
                _ => header.calc_checksum_ipv6_raw(six(src), six(dst), udp.payload()).unwrap(),
            };
            assert_eq!(header.checksum, right);
        }
        TransportSlice::Icmpv4(icmp) => {
            let right = icmp.icmp_type().calc_checksum(icmp.payload());
            assert_eq!(icmp.checksum(), right);
        }
        TransportSlice::Icmpv6(icmp) => {
            let right = icmp.icmp_type().calc_checksum(six(src), six(dst), icmp.payload()).unwrap();
            assert_eq!(icmp.checksum(), right);
        }
        TransportSlice::Igmp(_) => panic!("no line makes IGMP"),
    }
}

#[test]
fn checksums_agree_with_an_independent_parser() {
    for line in [
        "ip 10.0.0.2 > 10.96.0.10 / tcp 40000 > 80 S mss 1460",
        "ip 10.0.0.2 > 10.96.0.10 opts 0x94040000 / tcp 1 > 2 PA seq 7 ack 9 / data \"odd\"",
        "ip 10.0.0.2 > 10.96.0.10 tos 0xb8 / udp 1000 > 53 / data 33",
        "ip 10.0.0.2 > 10.96.0.10 / icmp echo id 7 seq 1 / data 57",
        "ip 10.0.0.2 > 10.96.0.10 / icmp unreachable frag-needed mtu 1400 quoting \
         ip 10.0.0.9 > 10.0.0.2 / tcp 1 > 2",
        "vlan 100 pcp 3 / ip6 fd00::1 > fd00::2 / tcp 40000 > 80 SA opts 0x0402",
        "ip6 fd00::1 > fd00::2 flow 0x12345 / udp 1000 > 53 / data 1400",
        "ip6 fd00::1 > fd00::2 / hbh 0x05020000 / dst 0x0100 / udp 1000 > 53 / data 5",
        "ip6 fd00::1 > fd00::2 / icmp6 packet-too-big mtu 1280 quoting \
         ip6 fd00::2 > fd00::1 / udp 1 > 2 / data 100",
        "ip6 fe80::1 > ff02::1:ff00:2 / nd ns fe80::2 sll 02:..:01",
        "ip6 fe80::1 > fe80::2 / nd na fe80::1 tll 02:..:01 flags SO",
    ] {
        check_sums(&frame(line));
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    // The payload makes the sum come out as zero.
    let plain = frame("ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2 / data 0x0000");
    let sum = u16::from_be_bytes([plain[40], plain[41]]);
    let line = format!("ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2 / data {sum:#06x}");
    let zero = frame(&line);
    assert_eq!(zero[40..42], [0xff, 0xff]);
    assert_eq!(format(&zero), line);
    check_sums(&zero);
}

#[test]
fn headers_agree_with_an_independent_parser() {
    let bytes = frame(
        "eth 02:..:0a > 02:..:0b / vlan 100 pcp 3 / \
         ip 10.0.0.2 > 10.96.0.10 ttl 9 dscp 46 ecn 1 id 77 df / \
         tcp 40000 > 80 SA seq 1 ack 2 win 3 mss 1360",
    );
    let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
    let vlan = packet.vlan().unwrap();
    let etherparse::VlanSlice::SingleVlan(vlan) = vlan else { panic!("one tag") };
    assert_eq!((vlan.vlan_identifier().value(), vlan.priority_code_point().value()), (100, 3));
    let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("IPv4") };
    let ip = ip.header();
    assert_eq!((ip.ttl(), ip.dcp().value(), ip.ecn().value()), (9, 46, 1));
    assert_eq!((ip.identification(), ip.dont_fragment(), ip.more_fragments()), (77, true, false));
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("TCP") };
    assert_eq!((tcp.source_port(), tcp.destination_port()), (40000, 80));
    assert!(tcp.syn() && tcp.ack() && !tcp.fin());
    assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number(), tcp.window_size()), (1, 2, 3));
    assert_eq!(tcp.options(), [2, 4, 5, 80]);
}

#[test]
fn icmp_errors_agree_with_an_independent_parser() {
    let bytes = frame(
        "ip 10.0.0.1 > 10.0.0.2 / icmp unreachable frag-needed mtu 1400 first 28 quoting \
         ip 10.0.0.2 > 10.0.0.3 / udp 5 > 6 / data 900",
    );
    let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else { panic!("ICMP") };
    let wanted = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 };
    assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(wanted));
    assert_eq!(icmp.payload().len(), 28);

    let bytes = frame(
        "ip6 fd00::1 > fd00::2 / icmp6 unreachable port quoting ip6 fd00::2 > fd00::3 / udp 5 > 6",
    );
    let packet = SlicedPacket::from_ethernet(&bytes).unwrap();
    let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("ICMPv6") };
    let wanted = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Port);
    assert_eq!(icmp.icmp_type(), wanted);
}

/// etherparse knows no SCTP: these two are Scapy's.
#[test]
fn sctp_agrees_with_an_independent_implementation() {
    for (line, packet) in [
        (
            "ip 10.0.0.1 > 10.0.0.2 / sctp 40000 > 3868 \
             / chunk init tag 0x11223344 value 0x0001a000000affff00000001",
            "4500003400000000408466440a0000010a000002\
             9c400f1c0000000048ba914a\
             01000014112233440001a000000affff00000001",
        ),
        (
            "ip 10.0.0.1 > 10.0.0.2 / sctp 40000 > 3868 vtag 7 \
             / chunk data flags 3 value 0x00000001000000000000000068656c6c6f",
            "4500003800000000408466400a0000010a000002\
             9c400f1c000000073026302a\
             000300150000000100000000000000006865 6c6c6f000000",
        ),
    ] {
        let digits: Vec<char> = packet.chars().filter(|c| !c.is_whitespace()).collect();
        let hex: String = frame(line)[14..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, digits.into_iter().collect::<String>(), "{line}");
    }
}

#[test]
fn canonical_lines_print_as_they_were_written() {
    for line in [
        "eth 02:..:0a > broadcast / arp who-has 192.0.2.1 tell 192.0.2.10",
        "arp who-has 192.0.2.1 tell 192.0.2.10",
        "arp who-has 192.0.2.1 tell 192.0.2.10 sha 02:..:07 / pad 18*0x00",
        "arp 192.0.2.1 is-at 02:..:01 to 192.0.2.10 02:..:02",
        "ip 10.0.0.2 > 224.0.0.18 proto 112 / raw 0x2101ff01",
        "ip 10.0.0.2 > 10.96.0.10 ttl 63 dscp 46 ecn 3 id 9 df / tcp 40000 > 80 S seq 1 mss 1460",
        "ip 10.0.0.2 > 10.96.0.10 / tcp 40000 > 80 PA seq 1 opts 0x0101080a0000000100000002 \
         / data \"GET / HTTP/1.1\\r\\n\"",
        "ip 10.0.0.2 > 10.96.0.10 badsum(ip) / tcp 40000 > 80 R badsum(tcp)=0x0001",
        "ip 10.0.0.2 > 10.96.0.10 / udp 1 > 2 badsum(udp) / data 8",
        "ip 10.0.0.2 > 10.96.0.10 / udp 1 > 2 nosum / data 8",
        "ip 10.0.0.2 > 10.96.0.10 / udp 1 > 2 len 30 / data 8",
        "ip 10.0.0.2 > 10.96.0.10 id 5 mf / udp 1 > 2 len 2008 / data 1472",
        "ip 10.0.0.2 > 10.96.0.10 id 5 frag 1480 proto 17 / data 528@1472",
        "ip 10.0.0.2 > 10.96.0.10 len 60 / tcp 1 > 2 A",
        "ip 10.0.0.2 > 10.96.0.10 proto 6 ihl 3 / raw 0x0102",
        "ip 10.0.0.2 > 10.96.0.10 / ip6 fd00::1 > fd00::2",
        "ip6 fd00::1 > fd00::2 hop 63 flow 0x12345 / frag6 0 mf id 7 / udp 1 > 2 / data 1400",
        "ip6 fd00::1 > fd00::2 / frag6 1408 id 7 nh 17 / data 64@1400",
        "ip6 fd00::1 > fd00::2 / hbh 0x050200000100 / route 6*0x00 / dst 0x010400000000 \
         / icmp6 echo id 1 seq 2 / data 8",
        "ip6 fe80::1 > ff02::1:ff00:2 / nd ns fe80::2 sll 02:..:01",
        "ip6 fe80::1 > fe80::2 hop 64 / nd na fe80::1 tll 02:..:01 flags RSO",
        "ip6 fe80::1 > ff02::2 hop 255 / icmp6 type 133",
        "ip 10.10.0.11 > 10.10.0.1 / udp 50000 > 4789 nosum / vxlan vni 4096 \
         / ip 10.244.1.5 > 10.96.0.10 / tcp 40000 > 80 S",
        "ip6 fd00:10:10::11 > fd00:10:10::1 / udp 50000 > 4789 / vxlan vni 4096 flags 0x0 \
         / eth 02:..:0a > 02:..:0b / arp who-has 10.0.0.1 tell 10.0.0.2",
        "ip 10.0.0.1 > 10.0.0.2 / icmp time-exceeded transit first 28 \
         quoting ip 10.0.0.2 > 10.0.0.9 ttl 1 len 60 / tcp 40000 > 80 A seq 77",
        "ip 10.0.0.1 > 10.0.0.2 / icmp unreachable port \
         quoting ip 10.0.0.2 > 10.0.0.9 / udp 1 > 2 / data \"hello\"",
        "ip 10.0.0.1 > 10.0.0.2 / icmp type 5 code 1 rest 0xa000001 / data 28",
        "ip 10.0.0.1 > 10.0.0.2 / sctp 40000 > 80 / chunk init tag 7",
        "ip 10.0.0.1 > 10.0.0.2 / sctp 1 > 2 vtag 9 badsum(sctp) / chunk abort t",
        "ip 10.0.0.1 > 10.0.0.2 / sctp 1 > 2 vtag 9 badsum(sctp)=0x00000001 / chunk 200 flags 0x3",
        "ip6 fd00::1 > fd00::2 / sctp 1 > 2 vtag 9 / chunk sack / chunk data value 17 / chunk shutdown",
        "ip 10.0.0.1 > 10.0.0.2 / sctp 1 > 2 / raw 0x00000003",
        "eth type 0x88cc / raw 0x0207",
        "raw 0x0102",
    ] {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let printed = format(&frame(&line));
        // Of a quoted TCP header of eight bytes, no more than the sequence number is known.
        assert_eq!(printed, line.replace("80 A seq 77", "80 seq 77"));
    }
}

#[test]
fn what_the_line_leaves_out_does_not_print() {
    for (line, canonical) in [
        (
            "eth 02:..:01 > 02:..:02 type 0x0800 / ip 10.0.0.1 > 10.0.0.2 ttl 64 len 28 / udp 1 > 2 len 8",
            "ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2",
        ),
        (
            "ip 10.0.0.1 > 10.0.0.2 tos 0x2e / tcp 1 > 2 AS mss 5 opts 00",
            "ip 10.0.0.1 > 10.0.0.2 dscp 11 ecn 2 / tcp 1 > 2 SA mss 5 opts 4*0x00",
        ),
        (
            "eth 02:..:01 > 33:33:00:00:00:01 / ip6 fe80::1 > ff02::1 hop 255 / nd na fe80::1",
            "ip6 fe80::1 > ff02::1 / nd na fe80::1",
        ),
    ] {
        assert_eq!(format(&frame(line)), canonical);
    }
}

#[test]
fn cut_and_pad_change_the_end() {
    let whole = frame("ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2 / data 10");
    assert_eq!(frame("ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2 / data 10 / cut 20"), whole[..20]);
    let padded = frame("ip 10.0.0.1 > 10.0.0.2 / udp 1 > 2 / data 10 / pad 8*0x00");
    assert_eq!(padded, [whole, vec![0; 8]].concat());
}

#[test]
fn errors_name_the_column_and_what_was_expected() {
    for (line, message) in [
        ("ip 10.0.0.1 > 10.0.0.300", "column 15: expected an IPv4 address, found `10.0.0.300`"),
        ("ip 10.0.0.1 10.0.0.2", "column 13: expected `>`, found `10.0.0.2`"),
        ("ip 10.0.0.1 > 10.0.0.2 ttl", "column 27: `ttl` needs a value"),
        (
            "ip 10.0.0.1 > 10.0.0.2 ttl 256",
            "column 28: expected a number from 0 to 255, found `256`",
        ),
        ("ip 10.0.0.1 > 10.0.0.2 ttl 1 ttl 2", "column 30: ttl is written twice"),
        (
            "ip 10.0.0.1 > 10.0.0.2 frag 7",
            "column 24: a fragment offset is a multiple of 8 bytes, found 7",
        ),
        (
            "ip 10.0.0.1 > 10.0.0.2 / tcp 1 > 2 badsum(udp)",
            "column 36: expected badsum(tcp) here, found `badsum(udp)`",
        ),
        ("ip / udp 1 > 2", "column 1: `ip` needs src here"),
        ("ip 10.0.0.1 > 10.0.0.2 / udp * > 2", "column 30: a packet to send needs one sport here"),
        ("ip 10.0.0.1 > 10.0.0.2 / udp $p > 2", "column 30: nothing has bound $p before"),
        (
            "icmp what",
            "column 1: expected echo, reply, unreachable, time-exceeded, type after `icmp`, found `what`",
        ),
        (
            "vxlan vni 1 quoting ip 1.1.1.1 > 2.2.2.2",
            "column 21: only an ICMP error can quote a packet",
        ),
        ("cut 5", "column 1: expected a layer before this one"),
        (
            "ip 10.0.0.1 > 10.0.0.2 / pad 0x00 / udp 1 > 2",
            "column 26: `pad` cannot stand here in a packet",
        ),
        (
            "ip 10.0.0.1 > 10.0.0.2 / data 65535 / data 1",
            "column 1: `ip` gets longer than 65535 bytes; write len",
        ),
    ] {
        assert_eq!(error(line), message, "{line}");
    }
    assert!(
        error("ip 1.1.1.1 > 2.2.2.2 / dccp 1 > 2")
            .starts_with("column 24: expected a layer (eth, ")
    );
    assert!(
        error("udp 1 > 2 flags S")
            .starts_with("column 11: `udp` does not know `flags`; expected len")
    );
}
