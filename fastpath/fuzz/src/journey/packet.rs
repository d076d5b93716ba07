use super::cluster::{INNER_MAC, Net, PORTS, VLAN, VNI, VXLAN_PORT, address, port_mac};
use super::step::PLACES;
use etherparse::{IpNumber, PacketBuilder, PacketBuilderStep};
use std::net::IpAddr;

const SCTP: IpNumber = IpNumber::SCTP;

/// A packet between two places: who they are, what transport, what is special.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// A byte that chooses the source; its high bit is the family.
    pub from: u8,
    /// A byte that chooses the destination.
    pub to: u8,
    /// A byte that chooses the transport and its ports.
    pub flow: u8,
    /// TCP flags, SCTP's chunk type, or how ICMP is.
    pub flags: u8,
    /// Eighths of the payload's bytes.
    pub len: u8,
    /// The time to live.
    pub ttl: u8,
}

impl Traffic {
    /// The IP packet, its checksums right.
    pub fn packet(&self) -> Vec<u8> {
        let v6 = self.from & 0x80 != 0;
        let place = |byte: u8| {
            let (net, last) = PLACES[usize::from(byte & 15)];
            address(v6, net, last)
        };
        let (src, dst) = (place(self.from), place(self.to));
        let payload = vec![self.flow; usize::from(self.len) * 6];
        let src_port = 1024 + u16::from(self.flow >> 3);
        let dst_port = [80, 443, 53, 81][usize::from(self.flow >> 1 & 3)];
        let mut out = Vec::new();
        let ip = ip(src, dst, self.ttl);
        let written = match (self.to >> 4 & 3, v6) {
            (0, _) => {
                let mut tcp = ip.tcp(src_port, dst_port, 1, 64);
                for (bit, set) in [
                    (1u8, PacketBuilderStep::fin as fn(_) -> _),
                    (2, PacketBuilderStep::syn),
                    (4, PacketBuilderStep::rst),
                    (8, PacketBuilderStep::psh),
                ] {
                    if self.flags & bit != 0 {
                        tcp = set(tcp);
                    }
                }
                if self.flags & 16 != 0 {
                    tcp = tcp.ack(7);
                }
                tcp.write(&mut out, &payload)
            }
            (3, _) => {
                let packet = sctp(src_port, dst_port, self.flags, &payload);
                ip.write(&mut out, SCTP, &packet)
            }
            (1, _) => ip.udp(src_port, dst_port).write(&mut out, &payload),
            (_, false) if self.flags & 1 == 0 => {
                ip.icmpv4_echo_request(src_port, 1).write(&mut out, &payload)
            }
            (_, false) => ip.icmpv4_raw(self.flags, 0, [0; 4]).write(&mut out, &payload),
            (_, true) if self.flags & 1 == 0 => {
                ip.icmpv6_echo_request(src_port, 1).write(&mut out, &payload)
            }
            (_, true) => ip.icmpv6_raw(self.flags, 0, [0; 4]).write(&mut out, &payload),
        };
        match written {
            Ok(()) => {
                mend(&mut out);
                out
            }
            Err(_) => Vec::new(),
        }
    }

    /// The port that the source is behind, or its node.
    pub fn way_in(&self) -> Result<u8, u8> {
        match PLACES[usize::from(self.from & 15)].0 {
            Net::Pods(node) => Err(node),
            Net::Tagged => Ok(2),
            Net::Cluster => Ok(1),
            _ => Ok(0),
        }
    }
}

/// An SCTP packet with one chunk, its checksum not filled in. The value begins
/// with a tag, as that of INIT does.
fn sctp(src_port: u16, dst_port: u16, chunk: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
    out.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 0, chunk, 0]);
    out.extend_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 9]);
    out.extend_from_slice(payload);
    out
}

fn ip(src: IpAddr, dst: IpAddr, ttl: u8) -> PacketBuilderStep<etherparse::IpHeaders> {
    let (src, dst) = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            return PacketBuilder::ipv4(src.octets(), dst.octets(), ttl);
        }
        (src, dst) => (src.to_canonical(), dst.to_canonical()),
    };
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    PacketBuilder::ipv6(octets(src), octets(dst), ttl)
}

/// An ICMP error about a packet, from its receiver.
pub fn error_about(packet: &[u8], kind: u8) -> Vec<u8> {
    let octets = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap_or_default();
    let quote = &packet[..packet.len().min(500)];
    let mut out = Vec::new();
    let written = if packet[0] >> 4 == 4 {
        let address = |at: usize| [packet[at], packet[at + 1], packet[at + 2], packet[at + 3]];
        let kind = [3, 11, 12, 5][usize::from(kind & 3)];
        let error = ip(address(16).into(), address(12).into(), 64).icmpv4_raw(kind, 4, [0; 4]);
        error.write(&mut out, quote)
    } else {
        let error = ip(octets(24).into(), octets(8).into(), 64);
        error.icmpv6_raw(1 + (kind & 3), 0, [0; 4]).write(&mut out, quote)
    };
    match written {
        Ok(()) => out,
        Err(_) => Vec::new(),
    }
}

/// A packet in fragments whose payloads have at most `most` bytes.
pub fn fragments(packet: &[u8], most: usize) -> Vec<Vec<u8>> {
    let v4 = packet[0] >> 4 == 4;
    let (header, payload) = packet.split_at(if v4 { 20 } else { 40 });
    let parts = payload.chunks(most).enumerate();
    let fragments = parts.map(|(i, part)| {
        let (at, more) = (i * most, (i + 1) * most < payload.len());
        let mut out = header.to_vec();
        if v4 {
            out[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            let word = u16::from(more) << 13 | (at / 8) as u16;
            out[6..8].copy_from_slice(&word.to_be_bytes());
        } else {
            out[4..6].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
            out[6] = 44;
            out.extend([header[6], 0]);
            out.extend((at as u16 | u16::from(more)).to_be_bytes());
            out.extend([0, 0, 0, 9]);
        }
        out.extend_from_slice(part);
        if v4 {
            mend(&mut out);
        }
        out
    });
    fragments.collect()
}

/// A frame for a port of the gateway around an IP packet.
pub fn frame(port: u8, packet: &[u8]) -> Vec<u8> {
    let mut out = [port_mac(port), [2, 9, 9, 9, 9, port]].concat();
    if usize::from(port) == PORTS - 1 {
        out.extend_from_slice(&[0x81, 0, 0, VLAN as u8]);
    }
    let is_v4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
    out.extend_from_slice(if is_v4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
    out.extend_from_slice(packet);
    out
}

/// A node's tunnel packet around an IP packet.
pub fn tunnel(node: u8, underlay_v6: bool, tos: u8, inner: &[u8]) -> Vec<u8> {
    let is_v4 = inner.first().is_some_and(|byte| byte >> 4 == 4);
    let mut payload = vec![8, 0, 0, 0];
    payload.extend_from_slice(&(VNI << 8).to_be_bytes());
    payload.extend_from_slice(&INNER_MAC);
    payload.extend_from_slice(&[2, 0, 0, 1, 0, node]);
    payload.extend_from_slice(if is_v4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
    payload.extend_from_slice(inner);
    let src = address(underlay_v6, Net::Cluster, 10 + node);
    let dst = address(underlay_v6, Net::Cluster, 254);
    let mut out = Vec::new();
    let udp = ip(src, dst, 64).udp(50_000, VXLAN_PORT);
    if udp.write(&mut out, &payload).is_err() {
        return Vec::new();
    }
    set_tos(&mut out, tos);
    frame(1, &out)
}

/// Sets the type of service of a packet whose headers are right.
fn set_tos(packet: &mut [u8], tos: u8) {
    if packet[0] >> 4 == 4 {
        packet[1] = tos;
        mend(packet);
    } else {
        packet[0] = 0x60 | tos >> 4;
        packet[1] = packet[1] & 15 | tos << 4;
    }
}

/// Computes the checksums of a packet anew, where it has any.
pub fn mend(packet: &mut [u8]) {
    if packet.len() >= 20 && packet[0] >> 4 == 4 {
        let len = usize::from(packet[0] & 15) * 4;
        if (20..=packet.len()).contains(&len) {
            packet[10..12].fill(0);
            let checksum = !super::check::sum(&packet[..len]);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
    }
    if let Some(at) = super::check::sctp(packet) {
        let crc = super::check::crc32c(&packet[at.clone()]).to_le_bytes();
        packet[at.start + 8..at.start + 12].copy_from_slice(&crc);
    }
    if let Some((at, field)) = super::check::segment(packet) {
        packet[at.start + field..at.start + field + 2].fill(0);
        let checksum = !super::check::segment_sum(packet, &at);
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        packet[at.start + field..at.start + field + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}
