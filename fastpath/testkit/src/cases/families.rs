//! One story for both families: which IPv6 address stands for which IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::gateway::Topology;
use crate::packet::{Mac, ParseError, to_ip6};

use super::file::Case;

/// As what a case runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// It names its families itself.
    AsWritten,
    /// As written, for IPv4.
    V4,
    /// Its addresses and layers mapped to IPv6.
    V6,
}

impl Family {
    /// The case's name in messages.
    pub(super) fn title(self, case: &Case) -> String {
        match self {
            Family::AsWritten => case.name.clone(),
            Family::V4 => format!("{} (IPv4)", case.name),
            Family::V6 => format!("{} (IPv6)", case.name),
        }
    }

    /// A packet or pattern in this family.
    pub(super) fn packet(self, line: &str, topology: &Topology) -> Result<String, ParseError> {
        match self {
            Family::AsWritten | Family::V4 => Ok(line.to_owned()),
            Family::V6 => to_ip6(line, address, |v4| sender_mac(topology, v4)),
        }
    }

    /// A directive in this family.
    pub(super) fn directive(self, line: &str) -> Result<String, String> {
        match self {
            Family::AsWritten | Family::V4 => Ok(line.to_owned()),
            Family::V6 => crate::packet::map_addresses(line, address),
        }
    }

    /// A `counters` line in this family.
    pub(super) fn counters(self, line: &str) -> String {
        match self {
            Family::AsWritten | Family::V4 => line.to_owned(),
            Family::V6 => line.replace("drop.bad_arp", "drop.bad_nd"),
        }
    }
}

/// IPv4 networks of 24 bits and the IPv6 networks of 64 bits that stand for them.
const NETWORKS: [([u8; 3], [u16; 4]); 5] = [
    ([192, 0, 2], [0x2001, 0xdb8, 1, 0]),
    ([198, 51, 100], [0x2001, 0xdb8, 0x51, 0]),
    ([203, 0, 113], [0x2001, 0xdb8, 0x113, 0]),
    ([10, 10, 0], [0xfd00, 0x10, 0x10, 0]),
    ([10, 96, 0], [0xfd00, 0x10, 0x96, 0]),
];

/// The address that stands for `v4`: the host's digits stay (`.254` becomes `::254`), pods of
/// 10.244.N.0/24 are in fd00:10:244:N::/64 (255 is ff), clients of 198.18.N.0/24 in
/// 2001:db8:18:N::/64, 0.0.0.0 is `::`.
fn address(v4: Ipv4Addr) -> Option<Ipv6Addr> {
    let digits =
        |n: u8| n.to_string().chars().fold(0, |all, c| all * 16 + c as u16 - u16::from(b'0'));
    let [a, b, c, host] = v4.octets();
    if v4.is_unspecified() {
        return Some(Ipv6Addr::UNSPECIFIED);
    }
    let known = NETWORKS.iter().find(|(network, _)| *network == [a, b, c]);
    let [p, q, r, s] = match (known, [a, b, c]) {
        (Some((_, network)), _) => *network,
        (None, [10, 244, 255]) => [0xfd00, 0x10, 0x244, 0xff],
        (None, [198, 18, net]) => [0x2001, 0xdb8, 0x18, digits(net)],
        (None, [10, 244, node]) => [0xfd00, 0x10, 0x244, digits(node)],
        _ => return None,
    };
    Some(Ipv6Addr::new(p, q, r, s, 0, 0, 0, digits(host)))
}

/// The MAC that ARP and ND from an address carry: a port's, or a host's.
fn sender_mac(topology: &Topology, v4: Ipv4Addr) -> Option<Mac> {
    let own = |port: &&sluice_tables::PortLocal| port.v4.iter().any(|(a, _)| *a == v4.octets());
    let port = topology.ports.iter().find(own).map(|port| Mac(port.mac));
    let host = topology.hosts.iter().find(|host| host.addr == IpAddr::V4(v4));
    port.or(host.map(|host| host.mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_standard_topology_stand_for_each_other() {
        let topology = Topology::standard();
        for port in &topology.ports {
            assert_eq!(address(port.v4[0].0.into()), Some(port.v6[0].0.into()));
        }
        for pair in topology.hosts.chunks(2) {
            let [IpAddr::V4(v4), IpAddr::V6(v6)] = [pair[0].addr, pair[1].addr] else {
                panic!("IPv4, then IPv6");
            };
            assert_eq!(address(v4), Some(v6));
        }
        for node in topology.nodes.iter().flatten() {
            assert_eq!(node.v4.and_then(address), node.v6);
            let [IpAddr::V4(v4), IpAddr::V6(v6)] = [node.pods[0].addr, node.pods[1].addr] else {
                panic!("IPv4, then IPv6");
            };
            assert_eq!(address(v4), Some(v6));
        }
        let [IpAddr::V4(v4), IpAddr::V6(v6)] = topology.snat.addresses[..] else {
            panic!("IPv4, then IPv6");
        };
        assert_eq!(address(v4), Some(v6));
        assert_eq!(address(Ipv4Addr::new(8, 8, 8, 8)), None);
    }
}
