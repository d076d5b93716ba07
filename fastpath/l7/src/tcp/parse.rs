//! Packets as they come: everything is checked here, so that what follows sees
//! segments that can be.

use super::key::Key;
use std::net::IpAddr;

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;

pub(super) const TCP: u8 = 6;
/// IPv6 extension headers before the segment, at most.
const EXTENSIONS_MAX: usize = 8;

/// A packet that is no segment for a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The IP header of a packet, read.
pub(super) struct IpView<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    /// What follows the header and the options or extension headers; cut where the
    /// header says that the packet ends.
    pub payload: &'a [u8],
    /// Bytes before `payload`.
    pub header_len: usize,
}

impl<'a> IpView<'a> {
    /// Reads a whole packet that is no fragment.
    pub fn parse(packet: &'a [u8]) -> Result<IpView<'a>, Malformed> {
        let view = IpView::parse_quoted(packet)?;
        let whole = match view.src {
            IpAddr::V4(_) => {
                usize::from(word(packet, 2)?) <= packet.len()
                    && fold(sum(&packet[..view.header_len])) == 0xffff
            }
            IpAddr::V6(_) => 40 + usize::from(word(packet, 4)?) <= packet.len(),
        };
        if whole { Ok(view) } else { Err(Malformed) }
    }

    /// Reads a packet that may be cut short, as ICMP errors quote them.
    pub fn parse_quoted(packet: &'a [u8]) -> Result<IpView<'a>, Malformed> {
        match packet.first().ok_or(Malformed)? >> 4 {
            4 => parse_v4(packet),
            6 => parse_v6(packet),
            _ => Err(Malformed),
        }
    }
}

fn parse_v4(packet: &[u8]) -> Result<IpView<'_>, Malformed> {
    let header: &[u8; 20] = packet.first_chunk().ok_or(Malformed)?;
    let header_len = usize::from(header[0] & 15) * 4;
    let total_len = usize::from(word(packet, 2)?);
    let is_fragment = word(packet, 6)? & 0x3fff != 0;
    if header_len < 20 || total_len < header_len || is_fragment {
        return Err(Malformed);
    }
    let address =
        |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    Ok(IpView {
        src: address(12),
        dst: address(16),
        protocol: header[9],
        payload: packet.get(header_len..total_len.min(packet.len())).ok_or(Malformed)?,
        header_len,
    })
}

fn parse_v6(packet: &[u8]) -> Result<IpView<'_>, Malformed> {
    let header: &[u8; 40] = packet.first_chunk().ok_or(Malformed)?;
    let end = (40 + usize::from(word(packet, 4)?)).min(packet.len());
    let packet = &packet[..end];
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        IpAddr::from(octets)
    };
    let (mut protocol, mut at) = (header[6], 40);
    for _ in 0..EXTENSIONS_MAX {
        let extension = packet.get(at..).unwrap_or_default();
        let len = match protocol {
            // Hop-by-hop and destination options.
            0 | 60 => usize::from(*extension.get(1).ok_or(Malformed)?) * 8 + 8,
            // Routing, at its end.
            43 if extension.get(3) == Some(&0) => usize::from(extension[1]) * 8 + 8,
            // A fragment that is the whole (RFC 6946).
            44 if word(extension, 2)? & 0xfff9 == 0 => 8,
            43 | 44 => return Err(Malformed),
            _ => break,
        };
        protocol = *extension.first().ok_or(Malformed)?;
        at += len;
    }
    Ok(IpView {
        src: address(8),
        dst: address(24),
        protocol,
        payload: packet.get(at..).ok_or(Malformed)?,
        header_len: at,
    })
}

/// A segment, its checksum right and its flags such as can be together.
pub(super) struct Segment<'a> {
    /// The receiver is the local end.
    pub key: Key,
    pub seq: u32,
    /// 0 without ACK.
    pub ack: u32,
    pub flags: u8,
    /// As it stands in the header.
    pub window: u16,
    pub options: &'a [u8],
    pub payload_len: u32,
    /// From the TCP header on.
    pub tcp: &'a [u8],
}

impl<'a> Segment<'a> {
    pub fn parse(packet: &'a [u8]) -> Result<Segment<'a>, Malformed> {
        let ip = IpView::parse(packet)?;
        let tcp = ip.payload;
        let header: &[u8; 20] = tcp.first_chunk().ok_or(Malformed)?;
        let header_len = usize::from(header[12] >> 4) * 4;
        let options = tcp.get(20..header_len).ok_or(Malformed)?;
        let key = Key {
            local: ip.dst,
            remote: ip.src,
            local_port: word(tcp, 2)?,
            remote_port: word(tcp, 0)?,
        };
        let flags = header[13];
        // At most one of them begins or ends a connection.
        let is_one = (flags & (SYN | FIN | RST)).count_ones() <= 1;
        if ip.protocol != TCP || !is_one || !key.is_possible() || !is_summed(&key, tcp) {
            return Err(Malformed);
        }
        Ok(Segment {
            key,
            seq: long(header, 4),
            ack: if flags & ACK != 0 { long(header, 8) } else { 0 },
            flags,
            window: word(tcp, 14)?,
            options,
            payload_len: (tcp.len() - header_len) as u32,
            tcp,
        })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sequence numbers that it takes (SEG.LEN).
    pub fn len(&self) -> u32 {
        self.payload_len + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }

    /// The data.
    pub fn payload(&self) -> &'a [u8] {
        &self.tcp[20 + self.options.len()..]
    }
}

/// Whether the TCP checksum is right.
fn is_summed(key: &Key, tcp: &[u8]) -> bool {
    fold(pseudo(key, TCP, tcp.len()) + sum(tcp)) == 0xffff
}

/// The sum of the pseudo header between the two ends.
pub(super) fn pseudo(key: &Key, protocol: u8, len: usize) -> u64 {
    let addresses = match (key.local, key.remote) {
        (IpAddr::V4(a), IpAddr::V4(b)) => sum(&a.octets()) + sum(&b.octets()),
        (IpAddr::V6(a), IpAddr::V6(b)) => sum(&a.octets()) + sum(&b.octets()),
        _ => 0,
    };
    addresses + u64::from(protocol) + len as u64
}

/// The sum of 16-bit words, to be folded. It is made in the machine's own order of bytes,
/// which is turned at the end (RFC 1071 section 2).
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    u16::from_be(fold(sum + u64::from(u32::from_ne_bytes(last)))).into()
}

/// A sum in ones' complement of 16 bits.
pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

pub(super) fn word(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk()).ok_or(Malformed)?;
    Ok(u16::from_be_bytes(*word))
}

fn long(header: &[u8; 20], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// Whether sequence number `a` comes before `b`, modulo 2^32 (RFC 9293 section 3.4).
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The later of two sequence numbers.
pub(super) fn later(a: u32, b: u32) -> u32 {
    if before(a, b) { b } else { a }
}
