//! Datagrams of any length, cut anywhere, their fragments in any order and by any queue: what comes
//! out is complete, comes once, and is put together by somebody else than the subject.

use sluice_testkit::gateway::topology::{ServiceKey, Topology};
use sluice_testkit::gateway::{Compiler, Gateway, GatewayOptions};
use sluice_testkit::packet::{self, Defaults};
use std::net::IpAddr;

const UDP: u8 = 17;
const SERVICE_PORT: u16 = 53;
const BACKEND_PORT: u16 = 5353;
const MAC_CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
const MAC_UPLINK: [u8; 6] = [2, 0, 0, 0, 0, 0xa0];
/// Ethernet, IPv4, UDP, VXLAN, Ethernet.
const TUNNEL_LEN: usize = 14 + 20 + 8 + 8 + 14;

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

/// The addresses of one family: client, VIP, backend.
fn addresses(v6: bool) -> [IpAddr; 3] {
    let texts = match v6 {
        false => ["192.0.2.10", "10.96.0.10", "10.244.1.7"],
        true => ["2001:db8:1::10", "fd00:10:96::10", "fd00:10:244:1::7"],
    };
    texts.map(|text| text.parse().unwrap())
}

fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn gateway(workers: usize) -> Gateway {
    let mut topology = Topology::standard();
    for v6 in [false, true] {
        let [_, vip, backend] = addresses(v6);
        topology.vips.insert(vip, true);
        let key = ServiceKey { addr: vip, l4_port: SERVICE_PORT, protocol: UDP };
        topology.services.insert(key, vec![(backend, BACKEND_PORT)]);
    }
    let mut gateway =
        Gateway::new(&GatewayOptions { workers, ..GatewayOptions::default() }).unwrap();
    gateway.publish(Compiler::new(workers).compile(&topology)).unwrap();
    for (port, line) in [
        (0, "eth 02:..:10 > 02:..:a0 / arp 192.0.2.10 is-at 02:..:10 to 192.0.2.1 02:..:a0"),
        (
            0,
            "eth 02:..:10 > 02:..:a0 / ip6 2001:db8:1::10 > 2001:db8:1::1 / nd na 2001:db8:1::10 tll 02:..:10 flags SO",
        ),
        (1, "eth 02:..:11 > 02:..:b0 / arp 10.10.0.11 is-at 02:..:11 to 10.10.0.1 02:..:b0"),
    ] {
        gateway.inject(port, 0, &packet::parse(line, &Defaults::default()).unwrap()).unwrap();
    }
    gateway.settle().unwrap();
    gateway
}

/// The ones' complement sum of bytes with their pseudo header (RFC 1071).
fn sum(ends: Option<[&IpAddr; 2]>, protocol: u8, bytes: &[u8]) -> u16 {
    let mut all = Vec::new();
    if let Some([src, dst]) = ends {
        all.extend([octets(src), octets(dst)].concat());
        all.extend((bytes.len() as u32).to_be_bytes());
        all.extend(u32::from(protocol).to_be_bytes());
    }
    all.extend_from_slice(bytes);
    all.push(0);
    let sum: u64 =
        all.chunks_exact(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1])).sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// The frames of a payload in fragments of `most` bytes, or at random of half of that and more.
fn cut(
    random: &mut Random,
    [src, dst]: [&IpAddr; 2],
    protocol: u8,
    payload: &[u8],
    most: usize,
    at_random: bool,
) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        let less = if at_random { 8 * random.below(most / 16) } else { 0 };
        let len = (most - less).min(payload.len() - at);
        let more = at + len < payload.len();
        let mut ip = match src {
            IpAddr::V4(_) => {
                let mut ip = vec![0x45, 0];
                ip.extend((20 + len as u16).to_be_bytes());
                ip.extend([0, 77]);
                ip.extend((u16::from(more) << 13 | (at / 8) as u16).to_be_bytes());
                ip.extend([64, protocol, 0, 0]);
                ip
            }
            IpAddr::V6(_) => {
                let mut ip = vec![0x60, 0, 0, 0];
                ip.extend((8 + len as u16).to_be_bytes());
                ip.extend([44, 64]);
                ip
            }
        };
        ip.extend([octets(src), octets(dst)].concat());
        if src.is_ipv4() {
            let checksum = !sum(None, 0, &ip);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            ip.extend([protocol, 0]);
            ip.extend((at as u16 | u16::from(more)).to_be_bytes());
            ip.extend([0, 0, 0, 77]);
        }
        ip.extend_from_slice(&payload[at..at + len]);
        let ethertype: [u8; 2] = if src.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
        frames.push([&MAC_UPLINK[..], &MAC_CLIENT, &ethertype, &ip].concat());
        at += len;
    }
    frames
}

/// What is put together from IP packets.
struct Whole {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    payload: Vec<u8>,
}

/// Puts fragments of one datagram together, every byte of which has to be there once.
fn reassemble(packets: &[&[u8]]) -> Whole {
    let be16 = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let v4 = packets[0][0] >> 4 == 4;
    let ip4 = |bytes: &[u8]| IpAddr::from(<[u8; 4]>::try_from(bytes).unwrap());
    let ip6 = |bytes: &[u8]| IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap());
    let mut bytes: Vec<Option<u8>> = Vec::new();
    let (mut end, mut id) = (None, None);
    for packet in packets {
        let (offset, more, own_id, header_len) = match v4 {
            true => {
                assert_eq!(sum(None, 0, &packet[..20]), 0xffff, "a header's checksum");
                let word = be16(packet, 6);
                (usize::from(word & 0x1fff) * 8, word & 0x2000 != 0, packet[4..6].to_vec(), 20)
            }
            false => {
                assert_eq!(packet[6], 44, "a fragment header");
                let word = be16(packet, 42);
                (usize::from(word & 0xfff8), word & 1 != 0, packet[44..48].to_vec(), 48)
            }
        };
        assert_eq!(*id.get_or_insert(own_id.clone()), own_id, "one identification");
        let payload = &packet[header_len..];
        if bytes.len() < offset + payload.len() {
            bytes.resize(offset + payload.len(), None);
        }
        for (place, byte) in bytes[offset..].iter_mut().zip(payload) {
            assert!(place.replace(*byte).is_none(), "a byte twice");
        }
        if !more {
            assert_eq!(end.replace(offset + payload.len()), None, "one end");
        }
    }
    assert_eq!(end, Some(bytes.len()), "the end is the end");
    let first = packets[0];
    let (src, dst, protocol) = match v4 {
        true => (ip4(&first[12..16]), ip4(&first[16..20]), first[9]),
        false => (ip6(&first[8..24]), ip6(&first[24..40]), first[40]),
    };
    let payload = bytes.into_iter().map(|byte| byte.expect("every byte")).collect();
    Whole { src, dst, protocol, payload }
}

/// Sends frames to random queues in random order, and returns what leaves by a port.
fn through(
    gateway: &mut Gateway,
    random: &mut Random,
    workers: usize,
    mut frames: Vec<Vec<u8>>,
    port: usize,
) -> Vec<Vec<u8>> {
    random.shuffle(&mut frames);
    for frame in &frames {
        gateway.inject(0, random.below(workers), frame).unwrap();
        if random.below(3) > 0 {
            gateway.settle().unwrap();
        }
    }
    gateway.settle().unwrap();
    gateway.check_balance().unwrap();
    std::iter::from_fn(|| gateway.sent(port)).map(|sent| sent.frame).collect()
}

#[test]
fn udp_to_a_service_arrives_whole_in_whatever_order() {
    for workers in [1, 3] {
        let mut gateway = gateway(workers);
        let mut random = Random(workers as u64);
        for round in 0..60 {
            let v6 = round % 2 == 1;
            let [client, vip, backend] = addresses(v6);
            let len = if round < 4 {
                if v6 { 65_527 } else { 65_507 }
            } else {
                1_000 + random.below(20_000)
            };
            let data: Vec<u8> = (0..len).map(|i| (i * 31 + round) as u8).collect();
            let mut payload =
                [(40_000 + round as u16).to_be_bytes(), SERVICE_PORT.to_be_bytes()].concat();
            payload.extend((8 + len as u16).to_be_bytes());
            payload.extend([0, 0]);
            payload.extend_from_slice(&data);
            let checksum = !sum(Some([&client, &vip]), UDP, &payload);
            payload[6..8].copy_from_slice(&checksum.to_be_bytes());
            // Over IPv4 some do not fit the tunnel, and are cut again.
            let most = if v6 { 1_392 } else { 1_480 };
            let frames = cut(&mut random, [&client, &vip], UDP, &payload, most, round >= 4);
            let sent = through(&mut gateway, &mut random, workers, frames, 1);
            let packets: Vec<&[u8]> = sent.iter().map(|frame| &frame[TUNNEL_LEN..]).collect();
            let whole = reassemble(&packets);
            assert_eq!((whole.dst, whole.protocol), (backend, UDP));
            assert_eq!(whole.payload[2..4], BACKEND_PORT.to_be_bytes());
            assert_eq!(sum(Some([&whole.src, &whole.dst]), UDP, &whole.payload), 0xffff);
            assert!(whole.payload[8..] == data, "other data");
        }
        gateway.close().unwrap();
    }
}

#[test]
fn pings_of_64_kib_to_a_vip_are_answered_in_whatever_order() {
    for workers in [1, 3] {
        let mut gateway = gateway(workers);
        let mut random = Random(7 + workers as u64);
        for round in 0..10 {
            let v6 = round % 2 == 1;
            let [client, vip, _] = addresses(v6);
            let (protocol, request, reply) = if v6 { (58, 128, 129) } else { (1, 8, 0) };
            let ends = |a, b| v6.then_some([a, b]);
            let mut payload = vec![request, 0, 0, 0, 1, round, 0, 9];
            payload.extend((0..65_000).map(|i: u32| (i * 7) as u8));
            let checksum = !sum(ends(&client, &vip), protocol, &payload);
            payload[2..4].copy_from_slice(&checksum.to_be_bytes());
            let frames = cut(&mut random, [&client, &vip], protocol, &payload, 1_448, false);
            let sent = through(&mut gateway, &mut random, workers, frames, 0);
            let packets: Vec<&[u8]> = sent.iter().map(|frame| &frame[14..]).collect();
            let whole = reassemble(&packets);
            assert_eq!((whole.src, whole.dst, whole.protocol), (vip, client, protocol));
            assert_eq!(whole.payload[0], reply);
            assert_eq!(sum(ends(&vip, &client), protocol, &whole.payload), 0xffff);
            assert!(whole.payload[4..] == payload[4..], "other data");
        }
        gateway.close().unwrap();
    }
}
