//! Packets built and checksums computed the naive way.

use super::world::{Mac, TCP, UDP, octets};
use std::net::IpAddr;

pub const ICMP: u8 = 1;
pub const ICMPV6: u8 = 58;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// The CRC32c of an SCTP packet, its checksum field taken as zero, bit by bit
/// and as it stands in the field (RFC 9260 appendix A).
fn crc(packet: &[u8]) -> [u8; 4] {
    let mut register = u32::MAX;
    for (at, byte) in packet.iter().enumerate() {
        let byte = if (8..12).contains(&at) { 0 } else { *byte };
        for bit in 0..8 {
            let out = (register ^ u32::from(byte >> bit)) & 1;
            register = (register >> 1) ^ (out * 0x82f6_3b78);
        }
    }
    (!register).to_le_bytes()
}

/// Whether an SCTP packet has the right checksum.
pub fn has_right_crc(packet: &[u8]) -> bool {
    packet[8..12] == crc(packet)
}

/// Computes an SCTP packet's checksum anew.
pub fn set_crc(packet: &mut [u8]) {
    let crc = crc(packet);
    packet[8..12].copy_from_slice(&crc);
}

/// The ones' complement sum of parts that follow each other (RFC 1071); all but
/// the last have an even length.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    sum as u16
}

/// The protocol number of a family's ICMP.
pub fn icmp_of(address: &IpAddr) -> u8 {
    if address.is_ipv4() { ICMP } else { ICMPV6 }
}

fn pseudo(src: &IpAddr, dst: &IpAddr, protocol: u8, len: usize) -> Vec<u8> {
    let mut header = [octets(src), octets(dst)].concat();
    header.extend_from_slice(&(len as u32).to_be_bytes());
    header.extend_from_slice(&u32::from(protocol).to_be_bytes());
    header
}

/// Where a transport's checksum is, and whether a pseudo header belongs to it.
fn checksum_place(protocol: u8, v4: bool) -> Option<(usize, bool)> {
    match protocol {
        TCP => Some((16, true)),
        UDP => Some((6, true)),
        ICMP if v4 => Some((2, false)),
        ICMPV6 if !v4 => Some((2, true)),
        _ => None,
    }
}

/// The bytes that a segment's checksum covers, pseudo header included, and
/// where the checksum is among them; `None` for a protocol without one.
fn covered(src: &IpAddr, dst: &IpAddr, protocol: u8, segment: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (at, with_pseudo) = checksum_place(protocol, src.is_ipv4())?;
    segment.get(at..at + 2)?;
    let len = match protocol {
        UDP => usize::from(be16(segment, 4)).min(segment.len()),
        _ => segment.len(),
    };
    let mut bytes = if with_pseudo { pseudo(src, dst, protocol, len) } else { Vec::new() };
    let at = bytes.len() + at;
    bytes.extend_from_slice(&segment[..len]);
    Some((bytes, at))
}

/// The sum over a transport segment, its checksum included: 0xffff when right.
/// `None` for a protocol without a checksum or a UDP datagram that has none.
pub fn segment_sum(src: &IpAddr, dst: &IpAddr, protocol: u8, segment: &[u8]) -> Option<u16> {
    let (bytes, at) = covered(src, dst, protocol, segment)?;
    let has_none = protocol == UDP && bytes.get(at..at + 2)? == [0, 0];
    (!has_none).then(|| sum(&[&bytes]))
}

/// Sets a segment's checksum so that [`segment_sum`] comes out as `wanted`.
pub fn set_checksum(src: &IpAddr, dst: &IpAddr, protocol: u8, segment: &mut [u8], wanted: u16) {
    let Some((mut bytes, at)) = covered(src, dst, protocol, segment) else { return };
    if bytes.len() < at + 2 {
        return;
    }
    bytes[at..at + 2].copy_from_slice(&[0, 0]);
    let without = sum(&[&bytes]);
    let mut field = match wanted {
        0xffff => !without,
        _ => sum(&[&wanted.to_be_bytes(), &(!without).to_be_bytes()]),
    };
    if protocol == UDP && field == 0 {
        field = 0xffff;
    }
    let place = checksum_place(protocol, src.is_ipv4()).map_or(0, |place| place.0);
    segment[place..place + 2].copy_from_slice(&field.to_be_bytes());
}

/// An IP header to be written.
#[derive(Clone, Debug)]
pub struct Header {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub ttl: u8,
    pub tos: u8,
    pub dont_fragment: bool,
    pub id: u16,
    /// Fragment offset in units of 8 bytes, and whether more follow.
    pub fragment: Option<(u16, bool)>,
    /// IPv4 options, padded to a multiple of 4; or IPv6 extension headers, each
    /// with its type, and with its length but not its next header filled in.
    pub options: Vec<u8>,
    pub extensions: Vec<(u8, Vec<u8>)>,
}

impl Header {
    pub fn new(src: IpAddr, dst: IpAddr, protocol: u8) -> Self {
        Header {
            src,
            dst,
            protocol,
            ttl: 64,
            tos: 0,
            dont_fragment: true,
            id: 0,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
        }
    }
}

/// An IP packet, header checksum filled in.
pub fn ip_packet(header: &Header, payload: &[u8]) -> Vec<u8> {
    match header.src {
        IpAddr::V4(_) => v4_packet(header, payload),
        IpAddr::V6(_) => v6_packet(header, payload),
    }
}

fn v4_packet(header: &Header, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + header.options.len();
    let (offset, more) = header.fragment.unwrap_or((0, false));
    let flags = u16::from(header.dont_fragment) << 14 | u16::from(more) << 13 | offset;
    let mut out = vec![0x40 | (header_len / 4) as u8, header.tos];
    out.extend_from_slice(&((header_len + payload.len()) as u16).to_be_bytes());
    out.extend_from_slice(&header.id.to_be_bytes());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[header.ttl, header.protocol, 0, 0]);
    out.extend_from_slice(&octets(&header.src));
    out.extend_from_slice(&octets(&header.dst));
    out.extend_from_slice(&header.options);
    fix_v4_header(&mut out);
    out.extend_from_slice(payload);
    out
}

/// Where a packet's identification is: 2 bytes over IPv4, 4 in IPv6's fragment
/// header, if there is one.
pub fn id_place(packet: &[u8]) -> Option<std::ops::Range<usize>> {
    if packet[0] >> 4 == 4 {
        return Some(4..6);
    }
    let (mut next, mut at) = (packet[6], 40);
    while [0, 43, 60].contains(&next) {
        (next, at) = (packet[at], at + (usize::from(packet[at + 1]) + 1) * 8);
    }
    (next == 44).then_some(at + 4..at + 8)
}

/// Sets a fragment's identification.
pub fn set_id(packet: &mut [u8], id: u32) {
    let Some(place) = id_place(packet) else { return };
    let bytes = id.to_be_bytes();
    packet[place.clone()].copy_from_slice(&bytes[4 - place.len()..]);
    if packet[0] >> 4 == 4 {
        fix_v4_header(packet);
    }
}

/// Computes an IPv4 header's checksum anew.
pub fn fix_v4_header(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].copy_from_slice(&[0, 0]);
    let checksum = !sum(&[&packet[..len]]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn v6_packet(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut extensions = header.extensions.clone();
    if let Some((offset, more)) = header.fragment {
        let word = offset << 3 | u16::from(more);
        let mut fragment = vec![0, 0];
        fragment.extend_from_slice(&word.to_be_bytes());
        fragment.extend_from_slice(&[0, 0]);
        fragment.extend_from_slice(&header.id.to_be_bytes());
        extensions.push((44, fragment));
    }
    let mut chain = Vec::new();
    for i in 0..extensions.len() {
        let next = extensions.get(i + 1).map_or(header.protocol, |next| next.0);
        let mut bytes = extensions[i].1.clone();
        bytes[0] = next;
        chain.extend_from_slice(&bytes);
    }
    let first = extensions.first().map_or(header.protocol, |first| first.0);
    let mut out = vec![0x60 | header.tos >> 4, header.tos << 4, 0, 0];
    out.extend_from_slice(&((chain.len() + payload.len()) as u16).to_be_bytes());
    out.extend_from_slice(&[first, header.ttl]);
    out.extend_from_slice(&octets(&header.src));
    out.extend_from_slice(&octets(&header.dst));
    out.extend_from_slice(&chain);
    out.extend_from_slice(payload);
    out
}

/// What a TCP segment says.
#[derive(Clone, Debug, Default)]
pub struct Segment {
    pub src_port: u16,
    pub dst_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    /// Padded to a multiple of 4.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

/// A TCP segment with its checksum.
pub fn tcp(src: &IpAddr, dst: &IpAddr, segment: &Segment) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&segment.src_port.to_be_bytes());
    out.extend_from_slice(&segment.dst_port.to_be_bytes());
    out.extend_from_slice(&segment.seq.to_be_bytes());
    out.extend_from_slice(&segment.ack.to_be_bytes());
    let window = if segment.flags & RST != 0 { 0u16 } else { 0x7210 };
    out.extend_from_slice(&[((20 + segment.options.len()) as u8 / 4) << 4, segment.flags]);
    out.extend_from_slice(&window.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&segment.options);
    out.extend_from_slice(&segment.payload);
    set_checksum(src, dst, TCP, &mut out, 0xffff);
    out
}

/// A UDP datagram, with a checksum or without.
pub fn udp(src: (&IpAddr, u16), dst: (&IpAddr, u16), checksum: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&src.1.to_be_bytes());
    out.extend_from_slice(&dst.1.to_be_bytes());
    out.extend_from_slice(&((8 + payload.len()) as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(payload);
    if checksum {
        set_checksum(src.0, dst.0, UDP, &mut out, 0xffff);
    }
    out
}

/// An SCTP packet of (type, flags, value) chunks, with its checksum.
pub fn sctp(src_port: u16, dst_port: u16, tag: u32, chunks: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&src_port.to_be_bytes());
    out.extend_from_slice(&dst_port.to_be_bytes());
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    for (kind, flags, value) in chunks {
        out.extend_from_slice(&[*kind, *flags]);
        out.extend_from_slice(&((4 + value.len()) as u16).to_be_bytes());
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    set_crc(&mut out);
    out
}

/// An ICMP or ICMPv6 message with its checksum.
pub fn icmp(src: &IpAddr, dst: &IpAddr, kind: u8, code: u8, word: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, code, 0, 0];
    out.extend_from_slice(&word);
    out.extend_from_slice(body);
    set_checksum(src, dst, icmp_of(src), &mut out, 0xffff);
    out
}

/// An Ethernet frame, tagged or not.
pub fn ethernet(dst: Mac, src: Mac, vlan: Option<u16>, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = [dst, src].concat();
    if let Some(vlan) = vlan {
        out.extend_from_slice(&[0x81, 0]);
        out.extend_from_slice(&vlan.to_be_bytes());
    }
    out.extend_from_slice(&ethertype.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// The EtherType of an IP packet.
pub fn ethertype(packet: &[u8]) -> u16 {
    if packet.first().is_some_and(|byte| byte >> 4 == 4) { 0x0800 } else { 0x86dd }
}

/// A VXLAN packet from one tunnel endpoint to another (RFC 7348 section 5).
#[derive(Clone)]
pub struct Tunnel {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub src_port: u16,
    pub dst_port: u16,
    pub vni: u32,
    /// The first byte of the VXLAN header.
    pub flags: u8,
    pub inner_vlan: Option<u16>,
    /// Instead of that of the inner packet.
    pub inner_ethertype: Option<u16>,
    pub inner_dst: Mac,
    pub inner_src: Mac,
    pub tos: u8,
    /// Of the outer packet: as in [`Header`].
    pub fragment: Option<(u16, bool)>,
}

impl Tunnel {
    /// The outer IP packet around an inner one.
    pub fn wrap(&self, inner: &[u8]) -> Vec<u8> {
        let mut payload = vec![self.flags, 0, 0, 0];
        payload.extend_from_slice(&(self.vni << 8).to_be_bytes());
        let inner_ethertype = self.inner_ethertype.unwrap_or_else(|| ethertype(inner));
        let (dst, src) = (self.inner_dst, self.inner_src);
        payload.extend(ethernet(dst, src, self.inner_vlan, inner_ethertype, inner));
        // Over IPv4 the checksum may be left out, over IPv6 it may not.
        let checksum = !self.src.is_ipv4();
        let udp = udp((&self.src, self.src_port), (&self.dst, self.dst_port), checksum, &payload);
        let (tos, fragment) = (self.tos, self.fragment);
        // What may be fragmented has no DF.
        let dont_fragment = fragment.is_none();
        let plain = Header::new(self.src, self.dst, UDP);
        ip_packet(&Header { tos, fragment, dont_fragment, ..plain }, &udp)
    }
}

/// An ARP packet for IPv4 over Ethernet.
pub fn arp(request: bool, sender: (Mac, IpAddr), target: (Mac, IpAddr)) -> Vec<u8> {
    let mut out = vec![0, 1, 8, 0, 6, 4, 0, if request { 1 } else { 2 }];
    for (mac, address) in [sender, target] {
        out.extend_from_slice(&mac);
        out.extend_from_slice(&octets(&address));
    }
    out
}

/// A Neighbor Solicitation (135) or Advertisement (136) as an IPv6 packet.
pub fn nd(
    kind: u8,
    flags: u8,
    src: IpAddr,
    dst: IpAddr,
    target: IpAddr,
    mac: Option<Mac>,
) -> Vec<u8> {
    let mut body = octets(&target);
    if let Some(mac) = mac {
        body.extend_from_slice(&[if kind == 135 { 1 } else { 2 }, 1]);
        body.extend_from_slice(&mac);
    }
    let message = icmp(&src, &dst, kind, 0, [flags, 0, 0, 0], &body);
    ip_packet(&Header { ttl: 255, ..Header::new(src, dst, ICMPV6) }, &message)
}

/// Reads a big-endian number, which is there.
pub fn be16(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([data[at], data[at + 1]])
}
