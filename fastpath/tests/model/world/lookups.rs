//! What can be asked of a world.

use super::{
    BACKENDS, Backend, Frontend, Health, Network, Node, Own, Target, World, contains, home, host,
};
use std::net::IpAddr;

impl World {
    /// The node ports that there are.
    pub fn node_ports(&self) -> Vec<(IpAddr, u16, u8)> {
        let keys = self.frontends.keys().filter(|key| self.is_port_address(&key.0));
        keys.copied().collect()
    }

    /// The address of an endpoint by number: a pod, but for the last.
    pub fn endpoint(v6: bool, endpoint: u8) -> IpAddr {
        if usize::from(endpoint) == BACKENDS - 1 {
            return host(v6, Network::Cluster, 30);
        }
        host(v6, Network::Pods(endpoint % 4), 5 + endpoint / 4)
    }

    /// The endpoints that new flows of a frontend may get.
    pub fn rotation(&self, frontend: &Frontend) -> Vec<Backend> {
        let with = |health| {
            let backends = frontend.backends.iter().copied();
            backends.filter(|b| self.health[b.id as usize] == health).collect::<Vec<_>>()
        };
        let ready = with(Health::Ready);
        if ready.is_empty() { with(Health::Draining) } else { ready }
    }

    /// Those of some endpoints that are on a node.
    pub fn on_node(&self, backends: &[Backend], node: usize) -> Vec<Backend> {
        let backends = backends.iter().copied();
        backends.filter(|backend| home(&backend.address) == Some(node)).collect()
    }

    /// Those of some endpoints that are on nodes of a zone.
    pub fn in_zone(&self, backends: &[Backend], zone: u16) -> Vec<Backend> {
        let zone_of = |backend: &Backend| home(&backend.address).map(|node| self.nodes[node].zone);
        let backends = backends.iter().copied();
        backends.filter(|backend| zone != 0 && zone_of(backend) == Some(zone)).collect()
    }

    /// Whether an address is that of one of the gateway's ports.
    pub fn is_port_address(&self, address: &IpAddr) -> bool {
        matches!(self.own.get(address), Some(Own::Port(_)))
    }

    /// Whether Services are reached at an address.
    pub fn is_service_address(&self, address: &IpAddr) -> bool {
        self.vips.contains_key(address) || self.is_port_address(address)
    }

    /// The target of the longest prefix that contains an address.
    pub fn lookup(&self, address: &IpAddr) -> Option<Target> {
        let mut best: Option<(u8, Target)> = None;
        for (prefix, len, target) in &self.routes {
            if contains(prefix, *len, address) && best.is_none_or(|(longest, _)| *len >= longest) {
                best = Some((*len, *target));
            }
        }
        best.map(|(_, target)| target)
    }

    /// The node whose tunnel leads to an address.
    pub fn pod_node(&self, address: &IpAddr) -> Option<usize> {
        match self.lookup(address) {
            Some(Target::Tunnel(node)) => Some(node),
            _ => None,
        }
    }

    /// Whether an address is the network's or the broadcast address of a subnet.
    pub fn is_subnet_edge(&self, address: &IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        let edges = |(own, len): &(IpAddr, u8)| match own {
            IpAddr::V4(own) if *len < 31 => {
                let host = (1u64 << (32 - len)) as u32 - 1;
                let first = u32::from(*own) & !host;
                [first, first | host].contains(&u32::from(*address))
            }
            _ => false,
        };
        self.interfaces.iter().flat_map(|interface| &interface.addresses).any(edges)
    }

    /// The node with an underlay address.
    pub fn node_by_underlay(&self, address: &IpAddr) -> Option<usize> {
        let has =
            |node: &Node| node.present && (node.v4 == Some(*address) || node.v6 == Some(*address));
        self.nodes.iter().position(has)
    }

    /// The gateway's address on a port: of the subnet of `other`, else the
    /// first of its family.
    pub fn port_address(&self, port: u8, other: &IpAddr) -> Option<IpAddr> {
        let addresses = &self.interfaces[usize::from(port)].addresses;
        let same = addresses.iter().find(|(own, len)| contains(own, *len, other));
        let first = addresses.iter().find(|(own, _)| own.is_ipv4() == other.is_ipv4());
        same.or(first).map(|(own, _)| *own)
    }

    /// Whether an address lies in a subnet of a port.
    pub fn in_subnet(&self, port: u8, address: &IpAddr) -> bool {
        let addresses = &self.interfaces[usize::from(port)].addresses;
        addresses.iter().any(|(own, len)| contains(own, *len, address))
    }
}
