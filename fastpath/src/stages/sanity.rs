//! Sources and destinations that no packet may have here (RFC 1812 section
//! 5.3.7, RFC 6890; RFC 2827 for sources).

use crate::packet::{Ingress, Packet};
use crate::reason::DropReason;
use crate::wire::ip::{Ip, in_prefix};
use crate::wire::l4;
use sluice_tables::{PortLocal, Tables};

/// Judges the addresses of a packet that begins a flow.
///
/// # Errors
/// The reason to drop it.
pub fn check<F: Ip>(tables: &Tables, packet: &Packet<F>) -> Result<(), DropReason> {
    let key = &packet.key;
    if F::is_martian_source(&key.src) || F::is_martian_destination(&key.dst) {
        return Err(DropReason::Martian);
    }
    // Directed broadcasts are not forwarded (RFC 2644).
    let ports = &tables.local.ports;
    if ports.iter().any(|port| is_edge::<F>(port, &key.src) || is_edge::<F>(port, &key.dst)) {
        return Err(DropReason::Martian);
    }
    source_belongs::<F>(tables, packet.ingress, &key.src)?;
    // Nobody sends to himself by way of a gateway (the "LAND" attack).
    if key.src == key.dst {
        return Err(DropReason::Martian);
    }
    Ok(())
}

/// True for the network and broadcast addresses of a port's subnets.
pub fn is_edge<F: Ip>(port: &PortLocal, addr: &F::Addr) -> bool {
    F::port_addresses(port)
        .iter()
        .any(|(own, len)| in_prefix::<F>(addr, own, *len) && F::is_subnet_edge(addr, *len))
}

/// Judges VXLAN that the gateway would send to a node, routed or as a Service's
/// endpoint: nodes believe what comes in it, so it may come from nodes alone.
///
/// # Errors
/// `ForeignTunnel`.
#[inline]
pub fn tunnel_belongs<F: Ip>(
    tables: &Tables,
    packet: &Packet<F>,
    (dst, dst_port): (&F::Addr, u16),
) -> Result<(), DropReason> {
    let Some(vxlan) = &tables.local.vxlan else { return Ok(()) };
    let (key, vteps) = (&packet.key, &F::of(tables).vteps_by_addr);
    let is_tunnel =
        key.protocol == l4::UDP && dst_port == vxlan.udp_port && vteps.contains_key(dst);
    match is_tunnel && !vteps.contains_key(&key.src) {
        true => Err(DropReason::ForeignTunnel),
        false => Ok(()),
    }
}

/// Judges whether a source may come from where it came: pods through their
/// node's tunnel, nodes by the underlay's port, nobody from an address of ours.
///
/// # Errors
/// The reason to drop the packet.
pub fn source_belongs<F: Ip>(
    tables: &Tables,
    ingress: Ingress,
    src: &F::Addr,
) -> Result<(), DropReason> {
    if ingress == Ingress::GATEWAY {
        return Ok(());
    }
    let family = F::of(tables);
    if family.local.contains_key(src) || family.vips.get(src).is_some() {
        return Err(DropReason::SpoofedOwnAddress);
    }
    match (ingress.vtep(), family.pod_node(src)) {
        (Some(sender), Some(node)) if sender == node => Ok(()),
        (Some(sender), _) if is_overlay_address::<F>(tables, sender, src) => Ok(()),
        (Some(_), _) => Err(DropReason::WrongVtep),
        (None, Some(_)) => Err(DropReason::SpoofedPod),
        (None, None) if is_elsewhere(tables, ingress) && family.vteps_by_addr.contains_key(src) => {
            Err(DropReason::SpoofedNode)
        }
        (None, None) => Ok(()),
    }
}

/// True for a port that is not the underlay's.
fn is_elsewhere(tables: &Tables, ingress: Ingress) -> bool {
    tables.local.vxlan.as_ref().is_some_and(|vxlan| ingress.as_port() != Some(vxlan.port))
}

/// A node itself speaks with its own addresses when it answers through the
/// tunnel: pods on its network, ICMP errors. None of them is another's pod's.
fn is_overlay_address<F: Ip>(
    tables: &Tables,
    sender: sluice_tables::VtepId,
    src: &F::Addr,
) -> bool {
    let family = F::of(tables);
    family.nodes_by_addr.get(src) == Some(&sender) && family.pod_node(src).is_none()
}
