use etherparse::PacketBuilder;
use std::net::{Ipv4Addr, Ipv6Addr};

/// IEEE 802 local experimental EtherType: of no interest to any kernel.
pub const EXPERIMENTAL: u16 = 0x88b5;

pub const MAC_FAR: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const MAC_NEAR: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A frame of `len` bytes whose payload depends on its number.
pub fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut frame = ethernet(EXPERIMENTAL, &number.to_be_bytes());
    for i in frame.len()..len {
        frame.push((number as usize * 7 + i) as u8);
    }
    frame
}

pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&MAC_NEAR[..], &MAC_FAR, &ethertype.to_be_bytes(), payload].concat()
}

/// The frame with a VLAN tag of an EtherType.
pub fn tagged(frame: &[u8], ethertype: u16, vlan: u16) -> Vec<u8> {
    [&frame[..12], &ethertype.to_be_bytes(), &vlan.to_be_bytes(), &frame[12..]].concat()
}

/// A UDP packet over IPv4.
pub fn udp4(destination: Ipv4Addr, source_port: u16, port: u16) -> Vec<u8> {
    let source = Ipv4Addr::new(10, 9, 9, 9).octets();
    let builder = PacketBuilder::ethernet2(MAC_FAR, MAC_NEAR)
        .ipv4(source, destination.octets(), 64)
        .udp(source_port, port);
    written(|frame| builder.write(frame, b"payload").unwrap())
}

/// A UDP packet over IPv6.
pub fn udp6(destination: Ipv6Addr, port: u16) -> Vec<u8> {
    let source = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 9).octets();
    let builder = PacketBuilder::ethernet2(MAC_FAR, MAC_NEAR)
        .ipv6(source, destination.octets(), 64)
        .udp(40_000, port);
    written(|frame| builder.write(frame, b"payload").unwrap())
}

/// Fragmentation Needed about a UDP packet to a port.
pub fn too_big4(destination: Ipv4Addr, port: u16) -> Vec<u8> {
    let source = Ipv4Addr::new(10, 9, 9, 9);
    let builder = PacketBuilder::ethernet2(MAC_FAR, MAC_NEAR)
        .ipv4(source.octets(), destination.octets(), 64)
        .icmpv4_raw(3, 4, [0, 0, 5, 0x78]);
    written(|frame| builder.write(frame, &udp4(source, 50_000, port)[14..]).unwrap())
}

/// Packet Too Big about a UDP packet to a port.
pub fn too_big6(destination: Ipv6Addr, port: u16) -> Vec<u8> {
    let source = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 9);
    let builder = PacketBuilder::ethernet2(MAC_FAR, MAC_NEAR)
        .ipv6(source.octets(), destination.octets(), 64)
        .icmpv6_raw(2, 0, [0, 0, 5, 0x78]);
    written(|frame| builder.write(frame, &udp6(source, port)[14..]).unwrap())
}

/// An ICMPv6 message of a type, with a neighbor discovery target.
pub fn nd(kind: u8, destination: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9).octets();
    let builder = PacketBuilder::ethernet2(MAC_FAR, MAC_NEAR)
        .ipv6(source, destination.octets(), 255)
        .icmpv6_raw(kind, 0, [0; 4]);
    written(|frame| builder.write(frame, &target.octets()).unwrap())
}

/// An ARP packet: `operation` 1 asks, 2 answers.
pub fn arp(operation: u16, target: Ipv4Addr) -> Vec<u8> {
    let mut payload = vec![0, 1, 8, 0, 6, 4];
    payload.extend(operation.to_be_bytes());
    payload.extend(MAC_FAR);
    payload.extend([10, 9, 9, 9]);
    payload.extend([0; 6]);
    payload.extend(target.octets());
    ethernet(0x0806, &payload)
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame);
    frame
}
