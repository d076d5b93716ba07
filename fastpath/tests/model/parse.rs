//! A second, naive reading of the headers: what a packet is, or why it is
//! none.

use super::fragments::Piece;
use super::wire::{ICMP, ICMPV6, be16, sum};
use super::world::{Mac, SCTP, TCP, UDP};
use sluice_fastpath::DropReason;
use std::net::IpAddr;

/// What a packet is to flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Udp,
    Sctp,
    EchoRequest,
    EchoReply,
    IcmpError,
    IcmpOther,
    Other,
}

/// Which part of a packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    First,
    Later,
}

/// A tuple as it is on the wire: source, destination, ports, protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tuple {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub src_port: u16,
    pub dst_port: u16,
    pub protocol: u8,
}

/// An IP packet, read.
#[derive(Clone, Debug)]
pub struct Packet {
    pub tuple: Tuple,
    /// Offset of the transport header.
    pub l4: usize,
    pub len: usize,
    pub ttl: u8,
    pub tos: u8,
    pub part: Part,
    pub dont_fragment: bool,
    pub kind: Kind,
    pub flags: u8,
    /// Of SCTP: the chunk type that says most of the association.
    pub chunk: u8,
    /// Of a TCP segment: sequence and acknowledgment number, window scale.
    pub numbers: (u32, u32),
    /// Bytes of its data.
    pub payload: u32,
    /// Of SCTP: the verification tag, and the tag that an INIT or its answer
    /// gives.
    pub tags: (u32, u32),
    pub scale: Option<u8>,
    /// Its place in its datagram, if it is a fragment.
    pub piece: Option<Piece>,
    /// It is a fragment whose first one has told its ports.
    pub told: bool,
    /// Of an ICMP error: the tuple of the packet that it quotes, seen from that
    /// packet's other end.
    pub about: Option<Tuple>,
}

/// A frame's Ethernet header.
pub struct Link {
    pub dst: Mac,
    pub vlan: Option<u16>,
    pub ethertype: u16,
    pub len: usize,
}

/// Reads an Ethernet header with at most one tag; a priority tag is none.
pub fn link(frame: &[u8]) -> Result<Link, DropReason> {
    if frame.len() < 14 {
        return Err(DropReason::Truncated);
    }
    let dst = frame[..6].try_into().expect("six bytes");
    let untagged = Link { dst, vlan: None, ethertype: be16(frame, 12), len: 14 };
    if untagged.ethertype != 0x8100 {
        return Ok(untagged);
    }
    if frame.len() < 18 {
        return Err(DropReason::Truncated);
    }
    let vlan = Some(be16(frame, 14) & 0xfff).filter(|vlan| *vlan != 0);
    Ok(Link { vlan, ethertype: be16(frame, 16), len: 18, ..untagged })
}

/// Reads an IPv4 packet; what follows it is padding.
pub fn v4(data: &[u8]) -> Result<Packet, DropReason> {
    if data.len() < 20 {
        return Err(DropReason::Truncated);
    }
    let header_len = usize::from(data[0] & 0xf) * 4;
    let len = usize::from(be16(data, 2));
    if data[0] >> 4 != 4 || header_len < 20 || len < header_len {
        return Err(DropReason::BadIpHeader);
    }
    if len > data.len() {
        return Err(DropReason::Truncated);
    }
    if sum(&[&data[..header_len]]) != 0xffff {
        return Err(DropReason::BadIpChecksum);
    }
    options(&data[20..header_len])?;
    let flags = be16(data, 6);
    if usize::from(flags & 0x1fff) * 8 + len > 65_535 {
        return Err(DropReason::BadIpHeader);
    }
    let part = match (flags & 0x1fff, flags & 0x2000) {
        (0, 0) => Part::Whole,
        (0, _) => Part::First,
        _ => Part::Later,
    };
    let address = |at: usize| IpAddr::from([data[at], data[at + 1], data[at + 2], data[at + 3]]);
    let mut packet = Packet {
        tuple: Tuple {
            src: address(12),
            dst: address(16),
            src_port: 0,
            dst_port: 0,
            protocol: data[9],
        },
        l4: header_len,
        len,
        ttl: data[8],
        tos: data[1],
        part,
        dont_fragment: flags & 0x4000 != 0,
        kind: Kind::Other,
        flags: 0,
        chunk: 0,
        numbers: (0, 0),
        payload: 0,
        tags: (0, 0),
        scale: None,
        piece: (part != Part::Whole).then(|| {
            let start = usize::from(flags & 0x1fff) * 8;
            Piece {
                id: be16(data, 4).into(),
                start,
                end: start + len - header_len,
                more: flags & 0x2000 != 0,
                header_len,
                protocol: data[9],
            }
        }),
        told: false,
        about: None,
    };
    transport(&mut packet, &data[header_len..len], (flags & 0x1fff) * 8)?;
    Ok(packet)
}

fn options(mut list: &[u8]) -> Result<(), DropReason> {
    while !list.is_empty() && list[0] != 0 {
        if list[0] == 1 {
            list = &list[1..];
            continue;
        }
        if list[0] == 131 || list[0] == 137 {
            return Err(DropReason::SourceRoute);
        }
        if list.len() < 2 || list[1] < 2 || usize::from(list[1]) > list.len() {
            return Err(DropReason::BadIpHeader);
        }
        list = &list[usize::from(list[1])..];
    }
    Ok(())
}

/// Reads an IPv6 packet; what follows it is padding.
pub fn v6(data: &[u8]) -> Result<Packet, DropReason> {
    if data.len() < 40 {
        return Err(DropReason::Truncated);
    }
    if data[0] >> 4 != 6 {
        return Err(DropReason::BadIpHeader);
    }
    let len = 40 + usize::from(be16(data, 4));
    if len > data.len() {
        return Err(DropReason::Truncated);
    }
    let address = |at: usize| {
        let octets: [u8; 16] = data[at..at + 16].try_into().expect("sixteen bytes");
        IpAddr::from(octets)
    };
    let (mut protocol, mut l4, mut part) = (data[6], 40, Part::Whole);
    let mut walked = 0;
    let (mut fragmented, mut offset) = (false, 0);
    let mut piece = None;
    while part != Part::Later && [0, 43, 44, 60].contains(&protocol) {
        if walked == 8 {
            return Err(DropReason::TooManyExtensions);
        }
        if l4 + 4 > len {
            return Err(DropReason::Truncated);
        }
        if protocol == 0 && walked != 0 {
            return Err(DropReason::BadIpHeader);
        }
        if protocol == 43 && data[l4 + 2] == 0 && data[l4 + 3] != 0 {
            return Err(DropReason::SourceRoute);
        }
        let mut header_len = (usize::from(data[l4 + 1]) + 1) * 8;
        if protocol == 44 {
            header_len = 8;
            let word = be16(data, l4 + 2);
            // At most one (RFC 8200 section 4.1), and nothing beyond 64 KiB.
            if fragmented || usize::from(word & 0xfff8) + len > 65_535 + 48 {
                return Err(DropReason::BadIpHeader);
            }
            fragmented = true;
            offset = word & 0xfff8;
            if l4 + 8 <= len {
                let id = u32::from(be16(data, l4 + 4)) << 16 | u32::from(be16(data, l4 + 6));
                let start = usize::from(offset);
                piece = Some(Piece {
                    id,
                    start,
                    end: start + len - (l4 + 8),
                    more: word & 1 == 1,
                    header_len: l4 + 8,
                    protocol: data[l4],
                });
            }
            part = match (word >> 3, word & 1) {
                (0, 0) => Part::Whole,
                (0, _) => Part::First,
                _ => Part::Later,
            };
        }
        if l4 + header_len > len {
            return Err(DropReason::Truncated);
        }
        protocol = data[l4];
        l4 += header_len;
        walked += 1;
    }
    let mut packet = Packet {
        tuple: Tuple { src: address(8), dst: address(24), src_port: 0, dst_port: 0, protocol },
        l4,
        len,
        ttl: data[7],
        tos: data[0] << 4 | data[1] >> 4,
        part,
        dont_fragment: true,
        kind: Kind::Other,
        flags: 0,
        chunk: 0,
        numbers: (0, 0),
        payload: 0,
        tags: (0, 0),
        scale: None,
        piece: piece.filter(|_| part != Part::Whole),
        told: false,
        about: None,
    };
    transport(&mut packet, &data[l4..len], offset)?;
    Ok(packet)
}

/// What an error quotes, if it has ports: TCP, UDP, SCTP or an echo, the first
/// part, right behind the IP header or its options.
fn about(v4: bool, quote: &[u8]) -> Option<Tuple> {
    let version = quote.first()? >> 4;
    let (l4, protocol_at, src_at, len) =
        if v4 { (usize::from(quote[0] & 0xf) * 4, 9, 12, 4) } else { (40, 6, 8, 16) };
    if version != if v4 { 4 } else { 6 } || l4 < 20 || quote.len() < l4 + 4 {
        return None;
    }
    if v4 && be16(quote, 6) & 0x1fff != 0 {
        return None;
    }
    let protocol = quote[protocol_at];
    let ports = if [TCP, UDP, SCTP].contains(&protocol) {
        (be16(quote, l4 + 2), be16(quote, l4))
    } else {
        let echo: [u8; 2] = if v4 { [8, 0] } else { [128, 129] };
        let is_echo = protocol == if v4 { ICMP } else { ICMPV6 } && echo.contains(&quote[l4]);
        let id = be16(quote.get(..l4 + 6).filter(|_| is_echo)?, l4 + 4);
        (id, id)
    };
    let address = |at: usize| match v4 {
        true => IpAddr::from(<[u8; 4]>::try_from(&quote[at..at + 4]).expect("four bytes")),
        false => IpAddr::from(<[u8; 16]>::try_from(&quote[at..at + 16]).expect("sixteen bytes")),
    };
    Some(Tuple {
        src: address(src_at + len),
        dst: address(src_at),
        src_port: ports.0,
        dst_port: ports.1,
        protocol,
    })
}

fn transport(packet: &mut Packet, data: &[u8], offset: u16) -> Result<(), DropReason> {
    if packet.part == Part::Later {
        // Over the header or first chunk that another fragment has (RFC 1858).
        let is_over = [TCP, SCTP].contains(&packet.tuple.protocol) && offset == 8;
        return if is_over { Err(DropReason::TinyFragment) } else { Ok(()) };
    }
    let v4 = packet.tuple.src.is_ipv4();
    let whole = packet.part == Part::Whole;
    match packet.tuple.protocol {
        TCP => {
            let header_len = data.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
            let is_cut = data.len() < 20 || header_len > data.len();
            if !whole && is_cut && (data.len() < 20 || header_len >= 20) {
                return Err(DropReason::TinyFragment);
            }
            if is_cut || header_len < 20 {
                return Err(DropReason::BadL4Header);
            }
            packet.flags = data[13] & 0x3f;
            // Linux, tcp_valid_flags: PSH and URG do not count, unless all do.
            const POSSIBLE: [u8; 6] = [0x02, 0x12, 0x04, 0x14, 0x11, 0x10];
            if packet.flags == 0x3f || !POSSIBLE.contains(&(packet.flags & 0x17)) {
                return Err(DropReason::BadTcpFlags);
            }
            let number = |at| u32::from(be16(data, at)) << 16 | u32::from(be16(data, at + 2));
            packet.numbers = (number(4), number(8));
            packet.payload = (data.len() - header_len) as u32;
            // RFC 7323 section 2.3: more than 14 is 14.
            packet.scale = tcp_option(data, 3, 3).map(|at| data[at].min(14));
            packet.kind = Kind::Tcp;
            packet.tuple.src_port = be16(data, 0);
            packet.tuple.dst_port = be16(data, 2);
        }
        UDP => {
            let len = data.get(4..6).map_or(0, |_| usize::from(be16(data, 4)));
            if data.len() < 8 || len < 8 || (whole && len > data.len()) {
                return Err(DropReason::BadL4Header);
            }
            packet.kind = Kind::Udp;
            packet.tuple.src_port = be16(data, 0);
            packet.tuple.dst_port = be16(data, 2);
        }
        SCTP => {
            if data.len() < 16 {
                return Err(if whole { DropReason::BadL4Header } else { DropReason::TinyFragment });
            }
            (packet.tuple.src_port, packet.tuple.dst_port) = (be16(data, 0), be16(data, 2));
            if packet.tuple.src_port == 0 || packet.tuple.dst_port == 0 {
                return Err(DropReason::BadL4Header);
            }
            packet.kind = Kind::Sctp;
            let word = |at: usize| {
                data.get(at..at + 4).map_or(0, |w| u32::from_be_bytes([w[0], w[1], w[2], w[3]]))
            };
            packet.tags = (word(4), word(16));
            packet.chunk = most_telling(&chunks(&data[12..], whole)?)?;
        }
        protocol if protocol == if v4 { 1 } else { 58 } => {
            if data.len() < 8 {
                return Err(DropReason::BadL4Header);
            }
            packet.kind = match (v4, data[0]) {
                (true, 8) | (false, 128) => Kind::EchoRequest,
                (true, 0) | (false, 129) => Kind::EchoReply,
                (true, 3 | 4 | 5 | 11 | 12) | (false, 0..128 | 137) => Kind::IcmpError,
                _ => Kind::IcmpOther,
            };
            if packet.kind == Kind::IcmpError {
                packet.about = about(v4, &data[8..]);
            }
            if matches!(packet.kind, Kind::EchoRequest | Kind::EchoReply) {
                packet.tuple.src_port = be16(data, 4);
                packet.tuple.dst_port = be16(data, 4);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The types of the first eight chunks. Only what is whole must hold them whole.
fn chunks(data: &[u8], whole: bool) -> Result<Vec<u8>, DropReason> {
    let (mut types, mut at) = (Vec::new(), 0);
    while types.len() < 8 && at + 4 <= data.len() {
        let len = usize::from(be16(data, at + 2));
        if len < 4 || whole && at + len > data.len() {
            return Err(DropReason::BadL4Header);
        }
        types.push(data[at]);
        at += len.div_ceil(4) * 4;
    }
    Ok(types)
}

/// Of some chunk types, the one that says most. INIT, its answer and SHUTDOWN
/// COMPLETE come alone (RFC 9260 section 6.10).
fn most_telling(types: &[u8]) -> Result<u8, DropReason> {
    if types.len() > 1 && types.iter().any(|kind| [1, 2, 14].contains(kind)) {
        return Err(DropReason::BadL4Header);
    }
    // ABORT, those three, SHUTDOWN ACK, SHUTDOWN, COOKIE ECHO, COOKIE ACK,
    // ERROR, HEARTBEAT and its answer; else what carries data.
    let by_weight = [6, 14, 2, 1, 8, 7, 10, 11, 9, 4, 5];
    Ok(by_weight.into_iter().find(|kind| types.contains(kind)).unwrap_or(0))
}

/// Offset of the value of a segment's first option of a kind and length.
pub fn tcp_option(segment: &[u8], kind: u8, option_len: usize) -> Option<usize> {
    let end = usize::from(segment[12] >> 4) * 4;
    let mut at = 20;
    while at < end && segment[at] != 0 {
        if segment[at] == 1 {
            at += 1;
            continue;
        }
        let len = usize::from(*segment[..end].get(at + 1)?);
        if len < 1 || at + len > end {
            return None;
        }
        if segment[at] == kind && len == option_len {
            return Some(at + 2);
        }
        at += len;
    }
    None
}
