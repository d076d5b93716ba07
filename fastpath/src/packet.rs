use crate::flow::Key;
use crate::wire::ip::{Ip, IpHeader};
use sluice_io::{Frame, PortId};
use sluice_tables::VtepId;

/// Where a packet entered the gateway: a port, or a node's tunnel. One word, so
/// that a flow entry can hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ingress(u32);

impl Ingress {
    const TUNNEL: u32 = 1 << 31;

    /// "Not seen yet": the direction of a flow that no packet took so far.
    pub const UNSEEN: Ingress = Ingress(u32::MAX);

    /// From the gateway itself: a connection of its own.
    pub const GATEWAY: Ingress = Ingress(Self::TUNNEL - 1);

    /// By a port.
    #[inline]
    pub fn port(id: PortId) -> Self {
        Ingress(u32::from(id.0))
    }

    /// From a node, through the overlay.
    #[inline]
    pub fn tunnel(vtep: VtepId) -> Self {
        Ingress(vtep.0 | Self::TUNNEL)
    }

    /// The node, if it came through the overlay.
    #[inline]
    pub fn vtep(self) -> Option<VtepId> {
        (self.0 & Self::TUNNEL != 0).then_some(VtepId(self.0 & !Self::TUNNEL))
    }

    /// The group of its addresses in epochs of policy
    /// ([`sluice_tables::policy_group`]), without a branch.
    #[inline]
    pub fn policy_group(self) -> u8 {
        let is_tunnel = (self.0 >> 31) as u8;
        (self.0 as u8 | 0x80) & is_tunnel.wrapping_neg()
    }

    /// The port, if it came by one.
    #[inline]
    pub fn as_port(self) -> Option<PortId> {
        let is_port = self.0 & Self::TUNNEL == 0 && self != Self::GATEWAY;
        is_port.then_some(PortId(self.0 as u8))
    }
}

/// An IP packet on its journey: the frame's data begins with its IP header.
///
/// The key comes first: when a packet is moved, in steps of 16 bytes, its
/// addresses are then moved as a whole. The processor makes a load wait that
/// takes parts of two stores which are still under way.
#[derive(Debug)]
#[repr(C)]
pub struct Packet<F: Ip> {
    /// What identifies its flow.
    pub key: Key<F>,
    /// The header, parsed.
    pub ip: IpHeader,
    /// Where it came from.
    pub ingress: Ingress,
    /// The flow entry that its bucket suggests; found while the entry is being
    /// fetched from memory.
    pub candidate: u32,
    /// Of a fragment whose datagram's first one has told the ports: the
    /// identification that it gets where its source is replaced.
    pub datagram: Option<u32>,
    /// Hash of the key.
    pub hash: u64,
    /// The frame.
    pub frame: Frame,
}

impl<F: Ip> Packet<F> {
    /// The transport header and what follows it.
    pub fn l4(&self) -> &[u8] {
        self.frame.data().get(usize::from(self.ip.l4_offset)..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tables::policy_group;

    #[test]
    fn groups_of_policy_are_those_of_nodes() {
        for node in [0, 1, 127, 128, 255, 256, 70_000] {
            let vtep = VtepId(node);
            assert_eq!(Ingress::tunnel(vtep).policy_group(), policy_group(Some(vtep)));
        }
        for ingress in [Ingress::port(PortId(3)), Ingress::GATEWAY] {
            assert_eq!(ingress.policy_group(), policy_group(None));
        }
    }

    #[test]
    fn the_gateway_is_no_port_and_no_node() {
        assert_eq!(Ingress::GATEWAY.as_port(), None);
        assert_eq!(Ingress::GATEWAY.vtep(), None);
        assert_eq!(Ingress::port(PortId(255)).as_port(), Some(PortId(255)));
    }
}
