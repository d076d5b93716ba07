//! Looks at what was sent with a parser that is not ours.

use crate::site::{self, Family, TTL, VNI, VXLAN_PORT, Who};
use anyhow::{Context, Result, bail, ensure};
use etherparse::{LinkSlice, NetSlice, SlicedPacket, TransportSlice};
use std::net::IpAddr;

/// A UDP packet in an Ethernet frame, its lengths and checksums right.
#[derive(Clone, Copy, Debug)]
pub struct Parsed<'a> {
    /// Source MAC.
    pub src_mac: [u8; 6],
    /// Destination MAC.
    pub dst_mac: [u8; 6],
    /// Source.
    pub src: (IpAddr, u16),
    /// Destination.
    pub dst: (IpAddr, u16),
    /// Time to live.
    pub ttl: u8,
    /// The payload.
    pub payload: &'a [u8],
}

/// Parses a frame and checks every length and checksum. `no_checksum`: a UDP
/// checksum of zero may stand for none, as RFC 7348 allows over IPv4.
///
/// # Errors
/// What is wrong with it.
pub fn parse(frame: &[u8], no_checksum: bool) -> Result<Parsed<'_>> {
    let packet = SlicedPacket::from_ethernet(frame).context("cannot be parsed")?;
    let Some(LinkSlice::Ethernet2(link)) = &packet.link else { bail!("no Ethernet header") };
    ensure!(packet.link_exts.is_empty(), "a tag that nobody asked for");
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { bail!("not UDP") };
    let header = udp.to_header();
    let (src, dst, ttl, ip_len, checksum) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let ip = ip.header().to_header();
            ensure!(ip.header_checksum == ip.calc_header_checksum(), "IPv4 checksum is wrong");
            ensure!(ip.dont_fragment && !ip.more_fragments, "flags have changed");
            let checksum = header.calc_checksum_ipv4(&ip, udp.payload())?;
            (
                IpAddr::from(ip.source),
                IpAddr::from(ip.destination),
                ip.time_to_live,
                ip.total_len,
                checksum,
            )
        }
        Some(NetSlice::Ipv6(ip)) => {
            let ip = ip.header().to_header();
            let checksum = header.calc_checksum_ipv6(&ip, udp.payload())?;
            let len = ip.payload_length + 40;
            (IpAddr::from(ip.source), IpAddr::from(ip.destination), ip.hop_limit, len, checksum)
        }
        _ => bail!("neither IPv4 nor IPv6"),
    };
    ensure!(frame.len() == 14 + usize::from(ip_len), "IP length {ip_len} in {}", frame.len());
    let udp_len = usize::from(header.length);
    ensure!(udp_len == 8 + udp.payload().len(), "UDP length {udp_len}");
    let ip_header_len = if src.is_ipv4() { 20 } else { 40 };
    ensure!(usize::from(ip_len) == ip_header_len + udp_len, "UDP length {udp_len} in {ip_len}");
    let none = no_checksum && header.checksum == 0 && src.is_ipv4();
    ensure!(none || header.checksum == checksum, "UDP checksum {:04x}", header.checksum);
    Ok(Parsed {
        src_mac: link.source(),
        dst_mac: link.destination(),
        src: (src, header.source_port),
        dst: (dst, header.destination_port),
        ttl,
        payload: udp.payload(),
    })
}

/// Opens a frame that was sent into the overlay: checks the outer headers and
/// returns the node and the inner packet.
///
/// # Errors
/// What is wrong with it.
pub fn open_tunnel(family: Family, frame: &[u8], nodes: u32) -> Result<(u32, Parsed<'_>)> {
    open_tunnel_over(family, family, frame, nodes)
}

/// The same where the underlay has a family of its own.
///
/// # Errors
/// What is wrong with it.
pub fn open_tunnel_over(
    underlay: Family,
    family: Family,
    frame: &[u8],
    nodes: u32,
) -> Result<(u32, Parsed<'_>)> {
    let outer = parse(frame, true).context("outer")?;
    let node = (0..nodes)
        .find(|&node| site::node_mac(node) == outer.dst_mac)
        .context("outer destination MAC is no node's")?;
    ensure!(outer.src_mac == site::PORT_MACS[site::CLUSTER], "outer source MAC");
    ensure!(outer.src.0 == Who::GatewayCluster.addr(underlay), "outer source {}", outer.src.0);
    ensure!(outer.src.1 >= 49_152, "outer source port {}", outer.src.1);
    ensure!(outer.dst == (Who::Node(node).addr(underlay), VXLAN_PORT), "outer destination");
    let Some((vxlan, inner)) = outer.payload.split_at_checked(8) else { bail!("no VXLAN header") };
    ensure!(vxlan[..4] == [8, 0, 0, 0], "VXLAN flags {vxlan:?}");
    ensure!(vxlan[4..] == (VNI << 8).to_be_bytes(), "VNI {vxlan:?}");
    let inner = parse(inner, false).context("inner")?;
    ensure!(inner.src_mac == site::OVERLAY_MAC, "inner source MAC");
    ensure!(inner.dst_mac == site::vtep_mac(node), "inner destination MAC");
    check_forwarded(family, &inner)?;
    Ok((node, inner))
}

/// Checks a frame that was sent to a node as it is, without an overlay, and returns the
/// node and the packet.
///
/// # Errors
/// What is wrong with it.
pub fn open_underlay(family: Family, frame: &[u8], nodes: u32) -> Result<(u32, Parsed<'_>)> {
    let parsed = parse(frame, false)?;
    let node = (0..nodes)
        .find(|&node| site::node_mac(node) == parsed.dst_mac)
        .context("destination MAC is no node's")?;
    ensure!(parsed.src_mac == site::PORT_MACS[site::CLUSTER], "source MAC");
    check_forwarded(family, &parsed)?;
    Ok((node, parsed))
}

/// Checks a frame that was sent to the router on the uplink.
///
/// # Errors
/// What is wrong with it.
pub fn open_uplink(family: Family, frame: &[u8]) -> Result<Parsed<'_>> {
    let parsed = parse(frame, false)?;
    ensure!(parsed.src_mac == site::PORT_MACS[site::UPLINK], "source MAC");
    ensure!(parsed.dst_mac == site::ROUTER_MAC, "destination MAC");
    check_forwarded(family, &parsed)?;
    Ok(parsed)
}

fn check_forwarded(family: Family, parsed: &Parsed<'_>) -> Result<()> {
    ensure!(parsed.ttl == TTL - 1, "time to live {}", parsed.ttl);
    ensure!(parsed.payload.len() == family.payload_len(), "payload length");
    ensure!(parsed.payload.iter().skip(4).all(|&byte| byte == 0x5a), "payload has changed");
    Ok(())
}

/// The number in a packet's payload, if it has one.
pub fn id(parsed: &Parsed<'_>) -> Option<u32> {
    parsed.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}
