//! UDP frames with a stamp at the front of their payload: written and checked from a
//! template, of which only ends, stamp, node and checksums differ. No code is shared with
//! what is measured.

/// What a packet tells of itself.
mod stamp;

pub use stamp::{Ends, Kind, STAMP_LEN, Stamp};

use crate::flood::shape::{be16, be32, be128, fold, put, sum};
use crate::frames::{Builder, Tunnel};
use crate::site::{Family, PORT_MACS, ROUTER_MAC, TTL, UPLINK, Who};
use anyhow::{Result, ensure};
use sluice_io::Frame;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What follows a stamp.
const FILLING: u8 = 0x5a;
const ETHERNET_LEN: usize = 14;
/// First source port of a tunnel (RFC 7348 section 5).
const ENTROPY_MIN: u16 = 49_152;
/// Bytes from the outer UDP header to the inner Ethernet header.
const TUNNEL_LEN: usize = 8 + 8;

/// Where frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a client to the gateway.
    FromClient,
    /// From the gateway to a client.
    ToClient,
    /// From a pod to the gateway, in VXLAN.
    FromPod,
    /// From the gateway to a pod, in VXLAN.
    ToPod,
}

impl Way {
    fn is_tunneled(self) -> bool {
        matches!(self, Way::FromPod | Way::ToPod)
    }

    fn arrives(self) -> bool {
        matches!(self, Way::FromClient | Way::FromPod)
    }
}

/// What was found in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The ends, inside of the tunnel if there is one.
    pub ends: Ends,
    /// Its stamp.
    pub stamp: Stamp,
    /// The node at the tunnel's other end.
    pub node: u32,
}

/// Offsets of what tells the node.
#[derive(Clone, Debug)]
struct NodeAt {
    /// Low 32 bits each: of its MAC, of its address, of its MAC in the overlay.
    at: [usize; 3],
    addr_low: u32,
}

/// Frames of one way and length.
#[derive(Clone, Debug)]
pub struct Template {
    family: Family,
    /// What differs is zero.
    bytes: Vec<u8>,
    /// Ones where all frames agree.
    mask: Vec<u8>,
    node: Option<NodeAt>,
    ip: usize,
    l4: usize,
    /// Sums of what does not differ: of the IPv4 header, of the datagram and its pseudo
    /// header, of what the outer checksum covers.
    ip_sum: u64,
    l4_sum: u64,
    outer_sum: u64,
}

/// Bytes of headers in front of the payload of a frame outside of the tunnel.
pub const fn headers_len(family: Family) -> usize {
    let ip = match family {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    ETHERNET_LEN + ip + 8
}

/// Bytes that the tunnel adds.
pub const fn tunnel_len(family: Family) -> usize {
    headers_len(family) + 8
}

impl Template {
    /// Of frames that have `len` bytes outside of the tunnel, without check sequence.
    ///
    /// # Errors
    /// When a stamp does not fit.
    pub fn new(family: Family, way: Way, len: usize) -> Result<Self> {
        let least = headers_len(family) + STAMP_LEN;
        ensure!(len >= least, "headers and stamp have {least} bytes, the frame {len}");
        let any = match family {
            Family::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let end = (any, 0);
        let payload = vec![FILLING; len - headers_len(family)];
        let mut builder = Builder::default();
        let mut bytes = match way {
            Way::FromClient | Way::ToClient => {
                builder.plain_udp(family, UPLINK, ROUTER_MAC, end, end, &payload)
            }
            Way::FromPod => {
                let tunnel = Tunnel::from_node(family, 0);
                builder.tunneled_udp(family, &tunnel, end, end, &payload)
            }
            Way::ToPod => {
                let tunnel = Tunnel::to_node(family, 0);
                builder.tunneled_udp(family, &tunnel, end, end, &payload)
            }
        }
        .to_vec();
        if way == Way::ToClient {
            bytes[..6].copy_from_slice(&ROUTER_MAC);
            bytes[6..12].copy_from_slice(&PORT_MACS[UPLINK]);
        }
        let header_len = family.header_len();
        let inner = if way.is_tunneled() { ETHERNET_LEN + header_len + TUNNEL_LEN } else { 0 };
        let ip = inner + ETHERNET_LEN;
        let l4 = ip + header_len;
        let (addrs, ttl_at) = match family {
            Family::V4 => (ip + 12..l4, ip + 8),
            Family::V6 => (ip + 8..l4, ip + 7),
        };
        // The gateway takes a hop.
        bytes[ttl_at] = if way.arrives() { TTL } else { TTL - 1 };
        let stamp = l4 + 8;
        let mut differs = vec![addrs, l4..l4 + 4, l4 + 6..stamp + STAMP_LEN];
        if family == Family::V4 {
            differs.push(ip + 10..ip + 12);
        }
        let node = way.is_tunneled().then(|| NodeAt::new(family, way, inner));
        if let Some(node) = &node {
            let udp = ETHERNET_LEN + header_len;
            differs.push(udp..udp + 2);
            differs.push(match family {
                Family::V4 => ETHERNET_LEN + 10..ETHERNET_LEN + 12,
                Family::V6 => udp + 6..udp + 8,
            });
            differs.extend(node.at.map(|at| at..at + 4));
        }
        let mut mask = vec![0xff; bytes.len()];
        for range in differs {
            bytes[range.clone()].fill(0);
            mask[range].fill(0);
        }
        let ip_sum = sum(&bytes[ip..l4]);
        let l4_sum = sum(&bytes[l4..]) + 17 + (bytes.len() - l4) as u64;
        let outer = ETHERNET_LEN;
        let outer_sum = match family {
            Family::V4 => sum(&bytes[outer..outer + 20]),
            Family::V6 => sum(&bytes[outer + 8..]) + 17 + (bytes.len() - outer - 40) as u64,
        };
        Ok(Template { family, bytes, mask, node, ip, l4, ip_sum, l4_sum, outer_sum })
    }

    /// Bytes of its frames.
    pub fn frame_len(&self) -> usize {
        self.bytes.len()
    }

    fn checksum(&self, ends: &Ends, stamp: &Stamp) -> u16 {
        match !fold(self.l4_sum + ends.sum() + stamp.sum()) {
            0 => 0xffff,
            checksum => checksum,
        }
    }

    /// Writes a frame; false if it does not fit.
    #[must_use]
    #[inline]
    pub fn write(&self, frame: &mut Frame, ends: &Ends, stamp: &Stamp, node: u32) -> bool {
        if !frame.fill(&self.bytes) {
            return false;
        }
        let (data, ip, l4) = (frame.data_mut(), self.ip, self.l4);
        match self.family {
            Family::V4 => {
                let [src, dst] = [ends.src.0 as u32, ends.dst.0 as u32];
                data[ip + 12..][..4].copy_from_slice(&src.to_be_bytes());
                data[ip + 16..][..4].copy_from_slice(&dst.to_be_bytes());
                put(data, ip + 10, !fold(self.ip_sum + u64::from(src) + u64::from(dst)));
            }
            Family::V6 => {
                data[ip + 8..][..16].copy_from_slice(&ends.src.0.to_be_bytes());
                data[ip + 24..][..16].copy_from_slice(&ends.dst.0.to_be_bytes());
            }
        }
        put(data, l4, ends.src.1);
        put(data, l4 + 2, ends.dst.1);
        stamp.write(&mut data[l4 + 8..][..STAMP_LEN]);
        let checksum = self.checksum(ends, stamp);
        put(data, l4 + 6, checksum);
        let Some(at) = &self.node else { return true };
        let words = [node, at.addr_low.wrapping_add(node), node];
        for (at, word) in at.at.into_iter().zip(words) {
            data[at..][..4].copy_from_slice(&word.to_be_bytes());
        }
        let udp = ETHERNET_LEN + self.family.header_len();
        let entropy = ENTROPY_MIN | ends.src.1 ^ ends.dst.1;
        put(data, udp, entropy);
        match self.family {
            // Over IPv4 the outer header is without a UDP checksum (RFC 7348 section 5).
            Family::V4 => {
                put(data, ETHERNET_LEN + 10, !fold(self.outer_sum + u64::from(words[1])));
            }
            Family::V6 => {
                let covered = self.outer_sum
                    + u64::from(words[1])
                    + u64::from(words[2])
                    + u64::from(entropy)
                    + ends.sum()
                    + stamp.sum()
                    + u64::from(checksum);
                let checksum = match !fold(covered) {
                    0 => 0xffff,
                    checksum => checksum,
                };
                put(data, udp + 6, checksum);
            }
        }
        true
    }

    /// Takes a frame apart that should be of this kind: all headers, every checksum but
    /// the outer UDP one, the stamp. `whole`: that and each byte of the payload, too.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn read(&self, data: &[u8], whole: bool) -> Result<Found, &'static str> {
        if data.len() != self.bytes.len() {
            return Err("its length is wrong");
        }
        let (ip, l4) = (self.ip, self.l4);
        let until = if whole { data.len() } else { l4 + 8 + STAMP_LEN };
        if !self.agrees(data, until) {
            return Err("a byte has changed that should not");
        }
        if self.family == Family::V4 && fold(sum(&data[ip..l4])) != 0xffff {
            return Err("its IPv4 checksum is wrong");
        }
        let (src, dst) = match self.family {
            Family::V4 => (be32(data, ip + 12).into(), be32(data, ip + 16).into()),
            Family::V6 => (be128(data, ip + 8), be128(data, ip + 24)),
        };
        let ends = Ends { src: (src, be16(data, l4)), dst: (dst, be16(data, l4 + 2)) };
        let stamp = Stamp::read(data, l4 + 8).ok_or("its stamp is of no kind")?;
        if be16(data, l4 + 6) != self.checksum(&ends, &stamp) {
            return Err("its UDP checksum is wrong");
        }
        let node = self.node.as_ref().map_or(Ok(0), |at| self.read_outer(data, at, whole))?;
        Ok(Found { ends, stamp, node })
    }

    fn read_outer(&self, data: &[u8], at: &NodeAt, whole: bool) -> Result<u32, &'static str> {
        let outer = ETHERNET_LEN;
        let udp = outer + self.family.header_len();
        let [mac, addr, inner] = at.at.map(|at| be32(data, at));
        if addr.wrapping_sub(at.addr_low) != mac || inner != mac {
            return Err("the outer addresses are not those of one node");
        }
        if be16(data, udp) < ENTROPY_MIN {
            return Err("the tunnel's source port is no dynamic one");
        }
        let covered = match self.family {
            Family::V4 => sum(&data[outer..udp]),
            Family::V6 if whole => sum(&data[outer + 8..]) + 17 + (data.len() - udp) as u64,
            Family::V6 => 0xffff,
        };
        if fold(covered) != 0xffff { Err("an outer checksum is wrong") } else { Ok(mac) }
    }

    fn agrees(&self, data: &[u8], until: usize) -> bool {
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        let words = until / 8 * 8;
        let pairs = data[..words].chunks_exact(8).zip(self.bytes.chunks_exact(8));
        let differ = |all: u64, ((a, b), mask): ((&[u8], &[u8]), &[u8])| {
            all | (word(a) ^ word(b)) & word(mask)
        };
        let changed = pairs.zip(self.mask.chunks_exact(8)).fold(0, differ);
        changed == 0 && (words..until).all(|at| (data[at] ^ self.bytes[at]) & self.mask[at] == 0)
    }
}

impl NodeAt {
    fn new(family: Family, way: Way, inner: usize) -> Self {
        // Of an Ethernet header its destination's MAC, or its source's; the first two
        // bytes are the same of all nodes.
        let mac = if way == Way::FromPod { 6 + 2 } else { 2 };
        let addr = match (family, way == Way::FromPod) {
            (Family::V4, true) => 12,
            (Family::V4, false) => 16,
            (Family::V6, true) => 8 + 12,
            (Family::V6, false) => 24 + 12,
        };
        let addr_low = match Who::Node(0).addr(family) {
            IpAddr::V4(addr) => addr.to_bits(),
            IpAddr::V6(addr) => addr.to_bits() as u32,
        };
        NodeAt { at: [mac, ETHERNET_LEN + addr, inner + mac], addr_low }
    }
}

/// All frames of one length, by the way they go.
#[derive(Clone, Debug)]
pub struct Templates {
    /// From clients.
    pub from_client: Template,
    /// To clients.
    pub to_client: Template,
    /// From pods.
    pub from_pod: Template,
    /// To pods.
    pub to_pod: Template,
}

impl Templates {
    /// Of frames that have `len` bytes outside of the tunnel.
    ///
    /// # Errors
    /// When that is too short.
    pub fn new(family: Family, len: usize) -> Result<Self> {
        Ok(Templates {
            from_client: Template::new(family, Way::FromClient, len)?,
            to_client: Template::new(family, Way::ToClient, len)?,
            from_pod: Template::new(family, Way::FromPod, len)?,
            to_pod: Template::new(family, Way::ToPod, len)?,
        })
    }
}

/// True for frames that hosts on a link send to find each other, and for ICMP: none of the
/// lab's.
pub fn is_other(data: &[u8]) -> bool {
    let (Some(ethertype), Some(protocol)) = (data.get(12..14), data.get(20).zip(data.get(23)))
    else {
        return false;
    };
    match ethertype {
        [0x08, 0x00] => matches!(*protocol.1, 1 | 2),
        [0x86, 0xdd] => matches!(*protocol.0, 0 | 58),
        // ARP, LLDP.
        [0x08, 0x06] | [0x88, 0xcc] => true,
        _ => false,
    }
}

/// An address as a number.
pub(crate) fn number_of(who: Who, family: Family) -> u128 {
    crate::flood::shape::number(who.addr(family))
}

#[cfg(test)]
mod tests;
