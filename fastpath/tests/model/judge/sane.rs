//! Which addresses may be where they are.

use crate::model::oracle::{Ingress, Oracle};
use crate::model::parse::Packet;
use crate::model::world::UDP;
use sluice_fastpath::DropReason;
use std::net::IpAddr;

impl Oracle {
    /// Whether addresses may be where they are.
    pub(in crate::model) fn sane(
        &self,
        packet: &Packet,
        ingress: Ingress,
    ) -> Result<(), DropReason> {
        let (src, dst) = (packet.tuple.src, packet.tuple.dst);
        if is_martian(&src) || src.is_multicast() || is_martian(&dst) {
            return Err(DropReason::Martian);
        }
        if self.world.is_subnet_edge(&src) || self.world.is_subnet_edge(&dst) {
            return Err(DropReason::Martian);
        }
        self.source_belongs(&src, ingress)?;
        if src == dst {
            return Err(DropReason::Martian);
        }
        let is_tunnel = packet.tuple.protocol == UDP
            && packet.tuple.dst_port == self.world.overlay.udp_port
            && self.is_node(&dst);
        match is_tunnel && !self.is_node(&src) {
            true => Err(DropReason::ForeignTunnel),
            false => Ok(()),
        }
    }

    /// Whether a source may come from where it came.
    pub(super) fn source_belongs(&self, src: &IpAddr, ingress: Ingress) -> Result<(), DropReason> {
        if self.world.own.contains_key(src) || self.world.vips.contains_key(src) {
            return Err(DropReason::SpoofedOwnAddress);
        }
        match (ingress, self.world.pod_node(src)) {
            // Nodes are on the underlay's port.
            (Ingress::Port(port), None) if port != 1 && self.is_node(src) => {
                Err(DropReason::SpoofedNode)
            }
            (Ingress::Port(_), None) => Ok(()),
            (Ingress::Port(_), Some(_)) => Err(DropReason::SpoofedPod),
            (Ingress::Node(sender), Some(node)) if sender == node => Ok(()),
            (Ingress::Node(sender), _) if self.world.node_by_underlay(src) == Some(sender) => {
                Ok(())
            }
            (Ingress::Node(_), _) => Err(DropReason::WrongVtep),
        }
    }

    /// Whether an address is a node's that there is a tunnel to.
    fn is_node(&self, address: &IpAddr) -> bool {
        self.world.node_by_underlay(address).is_some()
    }
}

/// Addresses that nobody has here (RFC 6890): this network, loopback, reserved
/// with broadcast, link-local, IPv4 in IPv6.
pub(in crate::model) fn is_martian(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            first == 0 || first == 127 || first >= 240 || v4.is_link_local()
        }
        IpAddr::V6(v6) => {
            let high = u128::from(*v6) >> 32;
            high == 0 || high == 0xffff || v6.is_unicast_link_local()
        }
    }
}
