//! Frames that differ in a few fields only: written and checked at millions a
//! second, every byte of them. No code is shared with what is measured.

use crate::site::Family;
use sluice_io::Frame;
use std::net::IpAddr;

/// First source port of a tunnel (RFC 7348 section 5).
const ENTROPY_MIN: u16 = 49_152;
/// Bytes in front of the inner Ethernet header in a tunneled frame, after the
/// outer IP header: UDP, VXLAN.
const TUNNEL_LEN: usize = 8 + 8;
const ETHERNET_LEN: usize = 14;

/// What differs between frames of a shape. Addresses are numbers; those of IPv4
/// in the low 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Source.
    pub src: (u128, u16),
    /// Destination.
    pub dst: (u128, u16),
    /// Sequence number.
    pub seq: u32,
    /// Acknowledged up to here.
    pub ack: u32,
    /// The first eight bytes of its data, if it has any.
    pub id: u64,
}

impl Segment {
    /// The sum of every field that the transport checksum covers.
    fn sum(&self) -> u64 {
        let quarters = |a: u128| (0..4).map(|i| u64::from((a >> (32 * i)) as u32)).sum::<u64>();
        quarters(self.src.0)
            + quarters(self.dst.0)
            + u64::from(self.src.1)
            + u64::from(self.dst.1)
            + u64::from(self.seq)
            + u64::from(self.ack)
            + (self.id >> 32)
            + (self.id & 0xffff_ffff)
    }
}

/// An address as a number.
pub fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().into(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

/// A TCP segment in an Ethernet frame, perhaps in VXLAN.
#[derive(Clone, Debug)]
pub struct Shape {
    family: Family,
    /// The frame, what differs left zero.
    bytes: Vec<u8>,
    /// Ones where all frames agree.
    mask: Vec<u8>,
    /// Offset of the outer IP header.
    outer: Option<usize>,
    ip: usize,
    l4: usize,
    /// Offset of the data, if there is any.
    data: Option<usize>,
    /// Sums of what does not differ: of the IPv4 header, of the segment with its
    /// pseudo header, of what the outer UDP checksum covers.
    ip_sum: u64,
    l4_sum: u64,
    outer_sum: u64,
}

impl Shape {
    /// The shape of a frame: all that have other addresses (inside of the tunnel,
    /// if it is `tunneled`), ports, numbers, first bytes of data, checksums.
    pub fn new(family: Family, frame: &[u8], tunneled: bool, ttl: u8) -> Self {
        let outer = tunneled.then_some(ETHERNET_LEN);
        let skipped = if tunneled { ETHERNET_LEN + family.header_len() + TUNNEL_LEN } else { 0 };
        let ip = skipped + ETHERNET_LEN;
        let l4 = ip + family.header_len();
        let data = l4 + usize::from(frame[l4 + 12] >> 4) * 4;
        let mut bytes = frame.to_vec();
        let (addrs, ttl_at) = match family {
            Family::V4 => (ip + 12..l4, ip + 8),
            Family::V6 => (ip + 8..l4, ip + 7),
        };
        bytes[ttl_at] = ttl;
        let mut differs = vec![addrs, l4..l4 + 12, l4 + 16..l4 + 18];
        if family == Family::V4 {
            differs.push(ip + 10..ip + 12);
        }
        if let Some(outer) = outer {
            let udp = outer + family.header_len();
            differs.push(udp..udp + 2);
            match family {
                Family::V4 => differs.push(outer + 10..outer + 12),
                Family::V6 => differs.push(udp + 6..udp + 8),
            }
        }
        let data = (data < bytes.len()).then_some(data);
        differs.extend(data.map(|data| data..data + 8));
        let mut mask = vec![0xff; bytes.len()];
        for range in differs {
            bytes[range.clone()].fill(0);
            mask[range].fill(0);
        }
        let ip_sum = sum(&bytes[ip..l4]);
        let l4_sum = sum(&bytes[l4..]) + 6 + (bytes.len() - l4) as u64;
        let mut shape =
            Shape { family, bytes, mask, outer, ip, l4, data, ip_sum, l4_sum, outer_sum: 0 };
        shape.close();
        shape
    }

    /// Fills in what the outer headers have in common, for frames that are
    /// written.
    fn close(&mut self) {
        let Some(outer) = self.outer else { return };
        let udp = outer + self.family.header_len();
        self.bytes[udp..udp + 2].copy_from_slice(&ENTROPY_MIN.to_be_bytes());
        match self.family {
            Family::V4 => {
                let checksum = !fold(sum(&self.bytes[outer..udp]));
                put(&mut self.bytes, outer + 10, checksum);
            }
            Family::V6 => {
                let addrs = sum(&self.bytes[outer + 8..udp]);
                let len = (self.bytes.len() - udp) as u64;
                self.outer_sum = addrs + sum(&self.bytes[udp..]) + 17 + len;
            }
        }
    }

    /// True for a frame that has the length and the flags of the shape.
    pub fn resembles(&self, frame: &[u8]) -> bool {
        frame.len() == self.bytes.len() && frame[self.l4 + 13] == self.bytes[self.l4 + 13]
    }

    /// Writes a frame.
    pub fn write(&self, frame: &mut Frame, segment: &Segment) {
        let filled = frame.fill(&self.bytes);
        debug_assert!(filled);
        let (data, l4) = (frame.data_mut(), self.l4);
        match self.family {
            Family::V4 => {
                let [src, dst] = [segment.src.0 as u32, segment.dst.0 as u32];
                data[self.ip + 12..][..4].copy_from_slice(&src.to_be_bytes());
                data[self.ip + 16..][..4].copy_from_slice(&dst.to_be_bytes());
                let sum = self.ip_sum + u64::from(src) + u64::from(dst);
                put(data, self.ip + 10, !fold(sum));
            }
            Family::V6 => {
                data[self.ip + 8..][..16].copy_from_slice(&segment.src.0.to_be_bytes());
                data[self.ip + 24..][..16].copy_from_slice(&segment.dst.0.to_be_bytes());
            }
        }
        put(data, l4, segment.src.1);
        put(data, l4 + 2, segment.dst.1);
        data[l4 + 4..][..4].copy_from_slice(&segment.seq.to_be_bytes());
        data[l4 + 8..][..4].copy_from_slice(&segment.ack.to_be_bytes());
        if let Some(at) = self.data {
            data[at..][..8].copy_from_slice(&segment.id.to_be_bytes());
        }
        let fields = segment.sum();
        let checksum = !fold(self.l4_sum + fields);
        put(data, l4 + 16, checksum);
        if let (Some(outer), Family::V6) = (self.outer, self.family) {
            let checksum = match !fold(self.outer_sum + fields + u64::from(checksum)) {
                0 => 0xffff,
                checksum => checksum,
            };
            put(data, outer + 40 + 6, checksum);
        }
    }

    /// Takes a frame apart that should be of this shape.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, data: &[u8]) -> Result<Segment, &'static str> {
        if data.len() != self.bytes.len() {
            return Err("its length is wrong");
        }
        self.check(data)?;
        let (ip, l4) = (self.ip, self.l4);
        let (src, dst) = match self.family {
            Family::V4 => (be32(data, ip + 12).into(), be32(data, ip + 16).into()),
            Family::V6 => (be128(data, ip + 8), be128(data, ip + 24)),
        };
        let id = self
            .data
            .map_or(0, |at| u64::from(be32(data, at)) << 32 | u64::from(be32(data, at + 4)));
        Ok(Segment {
            src: (src, be16(data, l4)),
            dst: (dst, be16(data, l4 + 2)),
            seq: be32(data, l4 + 4),
            ack: be32(data, l4 + 8),
            id,
        })
    }

    /// Checks what all frames have in common, and every checksum.
    fn check(&self, data: &[u8]) -> Result<(), &'static str> {
        let (ip, l4) = (self.ip, self.l4);
        if !self.agrees(data) {
            return Err("a byte has changed that should not");
        }
        let addrs = match self.family {
            Family::V4 if fold(sum(&data[ip..l4])) != 0xffff => {
                return Err("its IPv4 checksum is wrong");
            }
            Family::V4 => ip + 12,
            Family::V6 => ip + 8,
        };
        // The addresses of the pseudo header stand right in front of the segment.
        if fold(sum(&data[addrs..]) + 6 + (data.len() - l4) as u64) != 0xffff {
            return Err("its TCP checksum is wrong");
        }
        let Some(outer) = self.outer else { return Ok(()) };
        let udp = outer + self.family.header_len();
        if be16(data, udp) < ENTROPY_MIN {
            return Err("the tunnel's source port is no dynamic one");
        }
        let (covered, extra) = match self.family {
            Family::V4 => (&data[outer..udp], 0),
            Family::V6 => (&data[outer + 8..], 17 + (data.len() - udp) as u64),
        };
        match fold(sum(covered) + extra) {
            0xffff => Ok(()),
            _ => Err("an outer checksum is wrong"),
        }
    }

    fn agrees(&self, data: &[u8]) -> bool {
        // As in the frames that are written, but for the ranges that differ.
        let differs = |((a, b), mask): ((&[u8], &[u8]), &[u8])| {
            let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
            (word(a) ^ word(b)) & word(mask)
        };
        let (words, rest) = (data.len() / 8 * 8, data.len() % 8);
        let pairs = data[..words].chunks_exact(8).zip(self.bytes.chunks_exact(8));
        let changed = pairs.zip(self.mask.chunks_exact(8)).fold(0, |all, item| all | differs(item));
        let tail = words..words + rest;
        changed == 0 && tail.into_iter().all(|at| (data[at] ^ self.bytes[at]) & self.mask[at] == 0)
    }
}

pub(crate) fn put(data: &mut [u8], at: usize, value: u16) {
    data[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

pub(crate) fn be16(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([data[at], data[at + 1]])
}

pub(crate) fn be32(data: &[u8], at: usize) -> u32 {
    data[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

pub(crate) fn be128(data: &[u8], at: usize) -> u128 {
    data[at..].first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

/// The sum of words of 32 bits, which folds to that of 16 (RFC 1071 section
/// 2(B) and 2(C)).
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    let mut tail = [0; 4];
    tail[..words.remainder().len()].copy_from_slice(words.remainder());
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |four| u32::from_be_bytes(*four));
    words.map(|four| u64::from(word(four))).sum::<u64>() + u64::from(u32::from_be_bytes(tail))
}

pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests;
