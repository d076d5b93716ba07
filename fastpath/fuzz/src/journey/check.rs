//! What leaves is looked at by another implementation: it must parse, be as
//! long as it says, and have right checksums.

use super::cluster::{Cluster, INNER_MAC, Net, VLAN, VNI, VXLAN_PORT, address, port_mac};
use etherparse::err::Layer;
use etherparse::err::packet::SliceError;
use etherparse::{LaxSlicedPacket, NetSlice, SlicedPacket, TransportSlice};
use std::ops::Range;

/// The ones' complement sum of bytes (RFC 1071).
pub fn sum(data: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The CRC32c of an SCTP packet, bit by bit, its checksum field taken as zero.
pub fn crc32c(packet: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for (at, byte) in packet.iter().enumerate() {
        register ^= if matches!(at, 8..12) { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            let out = register & 1;
            register = (register >> 1) ^ (out * 0x82f6_3b78);
        }
    }
    !register
}

/// Where a whole packet's SCTP packet is, if it has one with a whole header.
pub fn sctp(packet: &[u8]) -> Option<Range<usize>> {
    let (protocol, at) = payload(packet)?;
    (protocol == 132 && at.len() >= 12).then_some(at)
}

/// The protocol of a whole packet's transport header, and where that and what
/// follows it are.
fn payload(packet: &[u8]) -> Option<(u8, Range<usize>)> {
    if is_opaque(packet) {
        return None;
    }
    let sliced = LaxSlicedPacket::from_ip(packet).ok()?;
    let payload = sliced.net.as_ref()?.ip_payload_ref()?;
    if payload.fragmented
        || payload.len_source != etherparse::LenSource::Ipv4HeaderTotalLen
            && payload.len_source != etherparse::LenSource::Ipv6HeaderPayloadLen
    {
        return None;
    }
    let start = payload.payload.as_ptr() as usize - packet.as_ptr() as usize;
    Some((payload.ip_number.0, start..start + payload.payload.len()))
}

/// The bytes that the transport checksum of a whole packet covers, and where
/// the checksum is among them; `None` when it has none of RFC 1071.
pub fn segment(packet: &[u8]) -> Option<(Range<usize>, usize)> {
    let (protocol, at) = payload(packet)?;
    let bytes = &packet[at.clone()];
    let (field, len) = match (protocol, packet[0] >> 4 == 4) {
        (6, _) => (16, bytes.len()),
        (17, _) => (6, usize::from(u16::from_be_bytes([*bytes.get(4)?, *bytes.get(5)?]))),
        (1, true) | (58, false) => (2, bytes.len()),
        _ => return None,
    };
    let covered = at.start..at.start + len;
    (field + 2 <= len && len <= bytes.len()).then_some((covered, field))
}

/// The sum over a segment with its pseudo header: 0xffff when its checksum is
/// right.
pub fn segment_sum(packet: &[u8], at: &Range<usize>) -> u16 {
    let mut bytes = Vec::new();
    let is_v4 = packet[0] >> 4 == 4;
    let protocol = match (is_v4, LaxSlicedPacket::from_ip(packet)) {
        (_, Ok(sliced)) => {
            sliced.net.as_ref().and_then(|net| net.ip_payload_ref()).map_or(0, |p| p.ip_number.0)
        }
        _ => 0,
    };
    if protocol != 1 {
        bytes.extend_from_slice(if is_v4 { &packet[12..20] } else { &packet[8..40] });
        bytes.extend_from_slice(&(at.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&u32::from(protocol).to_be_bytes());
    }
    bytes.extend_from_slice(&packet[at.clone()]);
    sum(&bytes)
}

/// True when a packet's transport checksum is right, or there is none to judge.
pub fn is_sound(packet: &[u8]) -> bool {
    if let Some(at) = sctp(packet) {
        let found = &packet[at.start + 8..at.start + 12];
        return found == crc32c(&packet[at]).to_le_bytes();
    }
    let Some((at, field)) = segment(packet) else { return true };
    let is_udp = field == 6;
    let none = is_udp && packet[at.start + 6..at.start + 8] == [0, 0];
    none || segment_sum(packet, &at) == 0xffff
}

/// Bytes of a frame's Ethernet header, with its tag if it has one.
fn header_len(frame: &[u8]) -> usize {
    if frame.get(12..14) == Some(&[0x81, 0]) { 18 } else { 14 }
}

/// The innermost IP packet of a received frame, as far as it can be found.
pub fn innermost(frame: &[u8]) -> &[u8] {
    let packet = frame.get(header_len(frame)..).unwrap_or_default();
    if is_opaque(packet) {
        return packet;
    }
    let Ok(sliced) = LaxSlicedPacket::from_ip(packet) else { return packet };
    match &sliced.transport {
        Some(TransportSlice::Udp(udp)) if udp.destination_port() == VXLAN_PORT => {
            udp.payload().get(8 + 14..).unwrap_or_default()
        }
        _ => packet,
    }
}

/// Looks at a frame that the gateway sent by a port; its transport checksums
/// count if `sound`.
///
/// # Panics
/// When something is wrong with it.
pub fn sent(cluster: &Cluster, port: u8, frame: &[u8], sound: bool) {
    let sliced = slice(frame);
    assert_eq!(frame[6..12], port_mac(port), "sent from another MAC");
    let tag = frame.get(12..16).filter(|tag| tag[..2] == [0x81, 0]);
    let vlan = tag.map(|tag| u16::from_be_bytes([tag[2] & 15, tag[3]]));
    assert_eq!(vlan, (port == 2).then_some(VLAN), "sent with another tag");
    let packet = &frame[if vlan.is_some() { 18 } else { 14 }..];
    if matches!(sliced, Some(SlicedPacket { net: Some(NetSlice::Arp(_)), .. })) {
        assert_eq!(packet.len(), 28, "an ARP packet of another length");
        return;
    }
    let mtu = if port == 1 { cluster.mtu.max(1500) } else { 1500 };
    assert!(packet.len() <= usize::from(mtu), "{} bytes do not fit port {port}", packet.len());
    whole(packet);
    let own = |v6| address(v6, Net::Cluster, 254);
    if let Some(SlicedPacket { transport: Some(TransportSlice::Udp(udp)), .. }) = &sliced
        && udp.destination_port() == VXLAN_PORT
        && (packet_source(packet) == own(false) || packet_source(packet) == own(true))
    {
        let v4 = packet[0] >> 4 == 4;
        let checksum = udp.checksum();
        assert!(checksum != 0 || v4, "no checksum over IPv6");
        assert!(checksum == 0 || !sound || is_sound(packet), "a tunnel's checksum is wrong");
        assert!(udp.source_port() >= 49_152, "a source port out of the range");
        return inner(udp.payload(), sound);
    }
    if sound {
        assert!(is_sound(packet), "a transport checksum is wrong: {packet:02x?}");
    }
}

fn inner(payload: &[u8], sound: bool) {
    let vni = (VNI << 8).to_be_bytes();
    assert_eq!(payload[..8], [8, 0, 0, 0, vni[0], vni[1], vni[2], 0], "another VXLAN header");
    let frame = &payload[8..];
    slice(frame);
    assert_eq!(frame[6..12], INNER_MAC, "sent from another MAC in a tunnel");
    let packet = &frame[14..];
    whole(packet);
    assert!(!sound || is_sound(packet), "a checksum in a tunnel is wrong: {packet:02x?}");
}

/// Takes a frame with a network packet apart; `None` when strict slicing fails
/// where a router does not look.
fn slice(frame: &[u8]) -> Option<SlicedPacket<'_>> {
    match SlicedPacket::from_ethernet(frame) {
        Ok(sliced) => {
            assert!(sliced.net.is_some(), "sent no network packet: {frame:02x?}");
            Some(sliced)
        }
        Err(error) => {
            let hidden = is_end_to_end(&error) || is_opaque(&frame[header_len(frame)..]);
            assert!(hidden, "sent what does not parse: {error}: {frame:02x?}");
            None
        }
    }
}

/// True for errors in what only the ends read: the body of an ICMP timestamp.
fn is_end_to_end(error: &SliceError) -> bool {
    let SliceError::Len(error) = error else { return false };
    matches!(error.layer, Layer::Icmpv4Timestamp | Layer::Icmpv4TimestampReply | Layer::Igmp)
}

/// True for IP packets that strict slicing reads on in as if further headers
/// stood there: later fragments, and what an authentication header vouches for
/// (which lax slicing of a broken one trips over).
pub fn is_opaque(packet: &[u8]) -> bool {
    const FRAGMENT: u8 = 44;
    const AUTH: u8 = 51;
    let byte = |at: usize| packet.get(at).copied().unwrap_or_default();
    if byte(0) >> 4 == 4 {
        return byte(9) == AUTH;
    }
    let (mut next, mut at) = (byte(6), 40);
    while at < packet.len() {
        let len = match next {
            AUTH => return true,
            FRAGMENT if byte(at + 2) != 0 || byte(at + 3) & 0xf8 != 0 => return true,
            FRAGMENT => 8,
            0 | 43 | 60 => 8 * (usize::from(byte(at + 1)) + 1),
            _ => return false,
        };
        (next, at) = (byte(at), at + len);
    }
    next == AUTH
}

/// A packet is as long as it says, and its header's checksum is right.
fn whole(packet: &[u8]) {
    let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    if packet[0] >> 4 == 4 {
        assert_eq!(word(2), packet.len(), "an IPv4 packet of another length");
        let len = usize::from(packet[0] & 15) * 4;
        assert_eq!(sum(&packet[..len]), 0xffff, "an IPv4 header's checksum is wrong");
        assert_ne!(packet[8], 0, "a time to live of 0");
    } else {
        assert_eq!(40 + word(4), packet.len(), "an IPv6 packet of another length");
        assert_ne!(packet[7], 0, "a hop limit of 0");
    }
}

/// The source address of a packet.
pub fn packet_source(packet: &[u8]) -> std::net::IpAddr {
    let octets = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap_or_default();
    match packet[0] >> 4 {
        4 => [packet[12], packet[13], packet[14], packet[15]].into(),
        _ => octets(8).into(),
    }
}
