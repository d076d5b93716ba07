//! The header parsers: total, in bounds, and of one mind with etherparse where
//! both take a packet.

use crate::journey::check::is_opaque;
use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use sluice_fastpath::wire::ip::{Fragment, Ip, IpInfo};
use sluice_fastpath::wire::{arp, ethernet, nd, vxlan};
use sluice_tables::{V4, V6};
use std::net::IpAddr;

/// Parses an input as a frame and as each kind of header.
pub fn parser(data: &[u8]) {
    if let Ok(header) = ethernet::parse(data) {
        assert!(header.len <= data.len(), "an Ethernet header beyond its frame");
        packet(&data[header.len..]);
    }
    packet(data);
    let _ = vxlan::parse(data);
    if let Ok(packet) = arp::parse(data) {
        let mut again = [0; arp::LEN];
        arp::emit(&mut again, &packet);
        assert_eq!(again, data[..arp::LEN], "an ARP packet changed by being written");
    }
    let (src, dst) = ([0x20; 16], [0xfe; 16]);
    let _ = nd::parse(data, 255, &src, &dst);
}

fn packet(data: &[u8]) {
    let theirs = (!is_opaque(data)).then(|| LaxSlicedPacket::from_ip(data).ok());
    if let Ok(ip) = V4::parse(data) {
        check(&ip, data, theirs.as_ref());
    }
    if let Ok(ip) = V6::parse(data) {
        check(&ip, data, theirs.as_ref());
    }
}

fn check<F: Ip>(ip: &IpInfo<F>, data: &[u8], theirs: Option<&Option<LaxSlicedPacket<'_>>>) {
    let (len, l4) = (usize::from(ip.header.len), usize::from(ip.header.l4_offset));
    assert!(len <= data.len(), "a packet beyond its frame");
    assert!(F::HEADER_LEN <= l4 && l4 <= len, "a transport header beyond its packet");
    let Some(theirs) = theirs else { return };
    let Some(theirs) = theirs else { panic!("etherparse sees no IP header") };
    let (src, dst) = match &theirs.net {
        Some(LaxNetSlice::Ipv4(net)) => {
            let header = net.header();
            (IpAddr::from(header.source()), IpAddr::from(header.destination()))
        }
        Some(LaxNetSlice::Ipv6(net)) => {
            let header = net.header();
            (IpAddr::from(header.source()), IpAddr::from(header.destination()))
        }
        _ => panic!("etherparse sees no IP header"),
    };
    assert_eq!((F::to_ip(ip.src), F::to_ip(ip.dst)), (src, dst));
    if ip.header.fragment != Fragment::Whole {
        return;
    }
    let ports = match &theirs.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port()),
        _ => return,
    };
    // etherparse walks extension headers that are no extensions here (AH), and
    // finds ports behind them.
    if matches!(ip.header.protocol, 6 | 17) {
        assert_eq!((ip.header.l4.src_port, ip.header.l4.dst_port), ports);
    }
}
