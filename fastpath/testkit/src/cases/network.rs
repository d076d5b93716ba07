//! The gateway's surroundings: hosts that introduce themselves, headers that are usual there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_tables::{Carriage, PortLocal};

use super::step::PacketLine;
use crate::gateway::topology::{Host, OVERLAY_MAC};
use crate::gateway::{Gateway, Topology};
use crate::packet::{Defaults, Mac, addresses};

/// Makes a host known to every worker: it asks for the port's address, and answers for its own.
pub(super) fn introduce(
    gateway: &mut Gateway,
    topology: &Topology,
    host: &Host,
) -> Result<(), String> {
    let Some(port) = topology.ports.get(host.port) else { return Ok(()) };
    let (mac, own_mac) = (host.mac, Mac(port.mac));
    let packets = match host.addr {
        IpAddr::V4(addr) => port.v4.first().map(|(own, _)| {
            let own = Ipv4Addr::from(*own);
            [
                format!("arp who-has {own} tell {addr} sha {mac}"),
                format!("arp {addr} is-at {mac} to {own} {own_mac}"),
            ]
        }),
        IpAddr::V6(addr) => port.v6.first().map(|(own, _)| {
            let own = Ipv6Addr::from(*own);
            [
                format!("ip6 {addr} > {own} / nd ns {own} sll {mac}"),
                format!("ip6 {addr} > {own} / nd na {addr} tll {mac} flags SO"),
            ]
        }),
    };
    let tag = port.vlan.map_or(String::new(), |vlan| format!("vlan {vlan} / "));
    for packet in packets.into_iter().flatten() {
        let line = format!("eth {mac} > {own_mac} / {tag}{packet}");
        let frame = crate::packet::parse(&line, &Defaults::default())
            .map_err(|e| format!("{e}\n{line}"))?;
        gateway.inject(host.port, 0, &frame)?;
        gateway.settle()?;
    }
    while gateway.sent(host.port).is_some() {}
    Ok(())
}

/// Puts the headers of the tunnel between the gateway and a node round a packet of `via NODE`.
pub(super) fn through_tunnel(
    line: &PacketLine,
    packet: String,
    topology: &Topology,
    inwards: bool,
) -> Result<String, String> {
    let Some(name) = &line.via else { return Ok(packet) };
    let node = topology.nodes.iter().flatten().find(|node| node.name == *name);
    let node = node.ok_or_else(|| format!("there is no node `{name}`"))?;
    let vxlan = &topology.vxlan;
    let v4 = vxlan.v4.zip(node.v4).map(|(own, node)| (IpAddr::from(own), IpAddr::from(node)));
    let v6 = vxlan.v6.zip(node.v6).map(|(own, node)| (IpAddr::from(own), IpAddr::from(node)));
    let ends = match vxlan.carriage {
        Carriage::Any => v4.or(v6),
        Carriage::SameFamily if packet.starts_with("ip6") => v6,
        Carriage::SameFamily => v4,
    };
    let (own, node) = ends.ok_or_else(|| format!("there is no tunnel to `{name}`"))?;
    let layer = if own.is_ipv4() { "ip" } else { "ip6" };
    let tunnel = format!("{} / vxlan vni {}", vxlan.udp_port, vxlan.vni);
    let tag = topology.ports.get(line.queue.port).and_then(|port| port.vlan);
    let tag = tag.map_or(String::new(), |vlan| format!("vlan {vlan} / "));
    Ok(if inwards {
        format!("{tag}{layer} {node} > {own} / udp 50000 > {tunnel} / {packet}")
    } else {
        // RFC 7348 section 5: source ports of the dynamic range.
        format!("{tag}{layer} {own} > {node} / udp 49152..65535 > {tunnel} / {packet}")
    })
}

pub(super) fn defaults(topology: &Topology) -> Defaults {
    Defaults { vxlan_ports: vec![topology.vxlan.udp_port], ..Defaults::default() }
}

/// The Ethernet headers that a frame leaving `port` must have.
pub(super) fn defaults_of_output(topology: &Topology, port: &PortLocal, frame: &[u8]) -> Defaults {
    let mut defaults = defaults(topology);
    let number = usize::from(port.id.0);
    let receiver = addresses(frame, &defaults).map(|(_, dst)| dst);
    defaults.eth_is_checked = receiver.is_some();
    defaults.src = Mac(port.mac);
    if let Some(mac) = receiver.and_then(|dst| topology.mac_of(number, dst)) {
        defaults.dst = mac;
    }
    if let Some(mac) = receiver.and_then(|dst| topology.overlay_mac_of(dst)) {
        (defaults.inner_src, defaults.inner_dst) = (OVERLAY_MAC, mac);
    }
    defaults
}
