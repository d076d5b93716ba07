//! The networks around the gateway, and the addresses in them.

use std::net::{IpAddr, Ipv6Addr};

/// The networks around the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Uplink,
    Cluster,
    Tagged,
    /// Behind the uplink's router.
    Internet,
    Pods(u8),
    Pool,
    Services,
    /// Blackholed.
    Hole,
    /// Behind a router of the cluster's network.
    Behind,
    /// Without a route.
    Nowhere,
    /// Addresses that no packet may have: loopback, link-local, multicast,
    /// unspecified, reserved.
    Special,
}

/// The `host`th address of one of the gateway's networks, in either family.
pub fn host(v6: bool, network: Network, host: u8) -> IpAddr {
    const SPECIAL: [[&str; 5]; 2] = [
        ["127.0.0.1", "169.254.1.1", "224.0.0.5", "0.0.0.0", "255.255.255.255"],
        ["::1", "fe80::1", "ff02::5", "::", "::ffff:10.0.0.1"],
    ];
    if network == Network::Special {
        return SPECIAL[usize::from(v6)][usize::from(host) % 5].parse().expect("an address");
    }
    let (v4, prefix) = match network {
        Network::Uplink => ([192, 0, 2], "2001:db8:1::"),
        Network::Cluster => ([10, 0, 0], "fd00:0:0:10::"),
        Network::Tagged => ([198, 51, 100], "2001:db8:7::"),
        Network::Internet => ([203, 0, 113], "2001:db8:ffff::"),
        Network::Pods(node) => (
            [10, 1, node],
            ["fd01:0:0:0::", "fd01:0:0:1::", "fd01:0:0:2::", "fd01:0:0:3::"][usize::from(node % 4)],
        ),
        Network::Pool => ([10, 1, 255], "fd01:0:0:ff::"),
        Network::Services => ([10, 96, 0], "fd96::"),
        Network::Hole => ([10, 66, 0], "fd66::"),
        Network::Behind => ([10, 77, 0], "fd77::"),
        Network::Nowhere => ([100, 64, 0], "2002::"),
        Network::Special => unreachable!("they are listed"),
    };
    if v6 {
        let base: Ipv6Addr = prefix.parse().expect("a prefix");
        Ipv6Addr::from(u128::from(base) + u128::from(host)).into()
    } else {
        [v4[0], v4[1], v4[2], host].into()
    }
}

/// Prefix length of the networks.
pub fn prefix_len(v6: bool) -> u8 {
    if v6 { 64 } else { 24 }
}

/// The address of the uplink's router.
pub fn router(v6: bool) -> IpAddr {
    host(v6, Network::Uplink, 1)
}

/// The node whose pod has an address, whatever routes say.
pub fn home(address: &IpAddr) -> Option<usize> {
    let v6 = address.is_ipv6();
    (0..4)
        .find(|node| contains(&host(v6, Network::Pods(*node), 0), prefix_len(v6), address))
        .map(usize::from)
}

/// 0 for IPv4, 1 for IPv6.
pub fn family(address: &IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// The bytes of an address.
pub fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Whether a prefix contains an address, bit by bit.
pub fn contains(prefix: &IpAddr, len: u8, address: &IpAddr) -> bool {
    let (prefix, address) = (octets(prefix), octets(address));
    let bit = |bytes: &[u8], n: usize| bytes[n / 8] >> (7 - n % 8) & 1;
    prefix.len() == address.len()
        && (0..usize::from(len)).all(|n| bit(&prefix, n) == bit(&address, n))
}
