//! What a packet becomes on its way.

use crate::model::flows::Translation;
use crate::model::oracle::{Ingress, Oracle, Way};
use crate::model::parse::{Packet, Part, tcp_option};
use crate::model::wire;
use crate::model::world::{SCTP, TCP, octets};
use std::net::IpAddr;

impl Oracle {
    /// Lowers the MSS option of a SYN to what every tunnel on the connection's
    /// way carries, there and back.
    pub(super) fn clamp(&self, data: &mut [u8], packet: &Packet, ingress: Ingress, way: Way) {
        let onwards = way.tunnel.map(|_| way.mtu);
        // Where the packet came from is where its answers go.
        let back = match ingress {
            Ingress::Node(node) => self.tunnel_way(node).ok(),
            Ingress::Port(_) => None,
        };
        let Some(mtu) = onwards.into_iter().chain(back.map(|way| way.mtu)).min() else { return };
        let headers = if packet.tuple.src.is_ipv4() { 20 } else { 40 } + 20;
        let most = (mtu - headers) as u16;
        let (src, dst) = addresses(data);
        let segment = &mut data[packet.l4..];
        let Some(before) = wire::segment_sum(&src, &dst, TCP, segment) else { return };
        if let Some(at) = tcp_option(segment, 2, 4)
            && wire::be16(segment, at) > most
        {
            segment[at..at + 2].copy_from_slice(&most.to_be_bytes());
            wire::set_checksum(&src, &dst, TCP, segment, before);
        }
    }
}

/// Replaces addresses and ports, takes one hop, and computes every checksum
/// anew; a transport checksum that was wrong stays wrong by as much. Returns
/// whether it was right.
pub(super) fn translate(data: &mut [u8], packet: &Packet, to: &Translation) -> bool {
    let tuple = &packet.tuple;
    let has_transport = packet.part != Part::Later;
    let before = has_transport
        .then(|| wire::segment_sum(&tuple.src, &tuple.dst, tuple.protocol, &data[packet.l4..]))
        .flatten();
    let same = (to.src, to.src_port, to.dst, to.dst_port)
        == (tuple.src, tuple.src_port, tuple.dst, tuple.dst_port);
    let ttl_at = if tuple.src.is_ipv4() { 8 } else { 7 };
    data[ttl_at] -= 1;
    if !same {
        let addresses = [octets(&to.src), octets(&to.dst)].concat();
        let at = if tuple.src.is_ipv4() { 12 } else { 8 };
        data[at..at + addresses.len()].copy_from_slice(&addresses);
        let segment = &mut data[packet.l4..];
        if has_transport {
            segment[..2].copy_from_slice(&to.src_port.to_be_bytes());
            segment[2..4].copy_from_slice(&to.dst_port.to_be_bytes());
        }
        if let Some(before) = before {
            wire::set_checksum(&to.src, &to.dst, tuple.protocol, segment, before);
        }
        let changes_ports = (to.src_port, to.dst_port) != (tuple.src_port, tuple.dst_port);
        if has_transport && tuple.protocol == SCTP && changes_ports {
            wire::set_crc(segment);
        }
    }
    if tuple.src.is_ipv4() {
        wire::fix_v4_header(data);
    }
    before.is_none_or(|sum| sum == 0xffff)
}

fn addresses(data: &[u8]) -> (IpAddr, IpAddr) {
    let (len, at) = if data[0] >> 4 == 4 { (4, 12) } else { (16, 8) };
    let address = |at: usize| match len {
        4 => IpAddr::from(<[u8; 4]>::try_from(&data[at..at + 4]).expect("four bytes")),
        _ => IpAddr::from(<[u8; 16]>::try_from(&data[at..at + 16]).expect("sixteen bytes")),
    };
    (address(at), address(at + len))
}
