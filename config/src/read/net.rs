//! Readers of addresses and prefixes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::values::text;
use super::{Field, Reader, Reported};
use crate::load_balancer::AddressRange;
use crate::overlay::MacAddr;

/// Ranges that hold no unicast address of a host, and what such an address is called. The first
/// that fits names it.
const NOT_UNICAST: [(IpNet, &str); 9] = [
    (v4([0, 0, 0, 0], 32), "the unspecified address"),
    (v4([0, 0, 0, 0], 8), "an address of \"this network\" (0.0.0.0/8)"),
    (v4([127, 0, 0, 0], 8), "a loopback address"),
    (v4([224, 0, 0, 0], 4), "a multicast address"),
    (v4([255, 255, 255, 255], 32), "the broadcast address"),
    (v4([240, 0, 0, 0], 4), "a reserved address (240.0.0.0/4)"),
    (v6(0, 127), "the unspecified or the loopback address"),
    (v6(0xffff << 32, 96), "an IPv4-mapped address"),
    (v6(0xff << 120, 8), "a multicast address"),
];

const LINK_LOCAL_V6: (IpNet, &str) = (v6(0xfe80 << 112, 10), "a link-local address");

const fn v4([a, b, c, d]: [u8; 4], prefix_len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_len))
}

const fn v6(bits: u128, prefix_len: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), prefix_len))
}

fn unicast(address: IpAddr) -> Result<IpAddr, String> {
    match NOT_UNICAST.iter().find(|(net, _)| net.contains(&address)) {
        Some((_, name)) => Err((*name).to_owned()),
        None => Ok(address),
    }
}

fn global_unicast(address: IpAddr) -> Result<IpAddr, String> {
    let (net, name) = LINK_LOCAL_V6;
    if net.contains(&address) { Err(name.to_owned()) } else { unicast(address) }
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.split_once('/') {
        Some((address, _)) if address.parse::<IpAddr>().is_ok() => "a prefix".to_owned(),
        _ => String::new(),
    })
}

fn parse_prefix(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(_) => "an address without a prefix length".to_owned(),
        Err(_) => String::new(),
    })
}

/// Reads an address of Sluice's own with the length of its subnet's prefix.
pub(crate) fn interface_address(
    reader: &mut Reader<'_>,
    field: Field<'_>,
) -> Result<IpNet, Reported> {
    let expected = "a unicast host address with its subnet's prefix length, such as 192.0.2.1/24 \
                    or 2001:db8::1/64";
    let read = text(expected, |text| {
        let net = parse_prefix(text)?;
        global_unicast(net.addr())?;
        match not_a_host(&net, net.addr()) {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(net),
        }
    });
    read(reader, field)
}

/// Why `address` can be no host of the subnet `net`, if so. A /31 (RFC 3021), a /127 (RFC 6164)
/// and longer prefixes have only hosts.
pub(crate) fn not_a_host(net: &IpNet, address: IpAddr) -> Option<&'static str> {
    let hosts_only = net.max_prefix_len() - net.prefix_len() < 2;
    match address {
        _ if hosts_only || !net.contains(&address) => None,
        IpAddr::V4(_) if address == net.network() => Some("the network address of its subnet"),
        IpAddr::V4(_) if address == net.broadcast() => Some("the broadcast address of its subnet"),
        IpAddr::V6(_) if address == net.network() => {
            Some("the subnet-router anycast address of its subnet (RFC 4291, section 2.6.1)")
        }
        _ => None,
    }
}

/// Reads an address of the kernel's; IPv6 link-local ones are as good as others.
pub(crate) fn kernel_address(
    reader: &mut Reader<'_>,
    field: Field<'_>,
) -> Result<IpAddr, Reported> {
    let expected = "a unicast address without a prefix length, such as 192.0.2.9 or 2001:db8::9";
    text(expected, |text| unicast(parse_address(text)?))(reader, field)
}

/// Reads the address of a tunnel endpoint.
pub(crate) fn host_address(reader: &mut Reader<'_>, field: Field<'_>) -> Result<IpAddr, Reported> {
    let expected = "a unicast address without a prefix length, not link-local, such as 10.10.0.1 \
                    or fd10::1";
    text(expected, |text| global_unicast(parse_address(text)?))(reader, field)
}

fn host_bits_zero(net: IpNet) -> Result<IpNet, String> {
    let truncated = net.trunc();
    if net == truncated {
        Ok(net)
    } else {
        Err(format!("which has host bits set: {truncated} has none"))
    }
}

/// Reads the destination of a route.
pub(crate) fn route_prefix(reader: &mut Reader<'_>, field: Field<'_>) -> Result<IpNet, Reported> {
    let expected = "a unicast prefix, host bits zero, such as 0.0.0.0/0 or 2001:db8:1::/48";
    let read = text(expected, |text| {
        let net = host_bits_zero(parse_prefix(text)?)?;
        let mut ranges = NOT_UNICAST.iter().chain([&LINK_LOCAL_V6]);
        match ranges.find(|(range, _)| range.contains(&net)) {
            Some((_, name)) => Err((*name).to_owned()),
            None => Ok(net),
        }
    });
    read(reader, field)
}

/// Reads a prefix whose addresses are all unicast; an address alone is a prefix of one.
pub(crate) fn pool_prefix(reader: &mut Reader<'_>, field: Field<'_>) -> Result<IpNet, Reported> {
    let expected = "a unicast prefix, host bits zero, or an address, such as 10.244.255.0/28 or \
                    fd00:10:244:ff::/124";
    text(expected, parse_pool_prefix)(reader, field)
}

fn parse_pool_prefix(text: &str) -> Result<IpNet, String> {
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => host_bits_zero(parse_prefix(text)?)?,
    };
    let mut ranges = NOT_UNICAST.iter().chain([&LINK_LOCAL_V6]);
    let forbidden = ranges.find(|(range, _)| range.contains(&net) || net.contains(range));
    match forbidden {
        Some((range, name)) if net.prefix_len() < range.prefix_len() => {
            Err(format!("which holds {name}"))
        }
        Some((_, name)) => Err((*name).to_owned()),
        None => Ok(net),
    }
}

/// Reads unicast addresses: a prefix, an address, or two addresses with a `-` between them.
pub(crate) fn address_range(
    reader: &mut Reader<'_>,
    field: Field<'_>,
) -> Result<AddressRange, Reported> {
    let expected = "a unicast prefix, host bits zero, an address, or a range of one family, such \
                    as 203.0.113.0/24, 2001:db8:0:1::/64 or 203.0.113.10-203.0.113.20";
    let read = text(expected, |text| {
        let Some((first, last)) = text.split_once('-') else {
            return parse_pool_prefix(text).map(AddressRange::from);
        };
        let (first, last) = (parse_address(first.trim())?, parse_address(last.trim())?);
        if first.is_ipv4() != last.is_ipv4() {
            return Err("which has two families".to_owned());
        }
        if first > last {
            return Err("which ends before it begins".to_owned());
        }
        let range = AddressRange { first, last };
        let mut forbidden = NOT_UNICAST.iter().chain([&LINK_LOCAL_V6]);
        match forbidden.find(|(net, _)| AddressRange::from(*net).overlaps(&range)) {
            Some((_, name)) => Err(format!("which holds {name}")),
            None => Ok(range),
        }
    });
    read(reader, field)
}

/// Reads a unicast Ethernet address.
pub(crate) fn mac_address(reader: &mut Reader<'_>, field: Field<'_>) -> Result<MacAddr, Reported> {
    let expected = "a unicast Ethernet address such as 02:00:00:00:00:01";
    let read = text(expected, |text| {
        let mut octets = [0; 6];
        let mut pairs = text.split(':');
        for octet in &mut octets {
            *octet = match pairs.next() {
                Some(pair) if pair.len() == 2 && pair.chars().all(|c| c.is_ascii_hexdigit()) => {
                    u8::from_str_radix(pair, 16).map_err(|error| error.to_string())?
                }
                _ => return Err(String::new()),
            };
        }
        match (pairs.next(), octets) {
            (Some(_), _) => Err(String::new()),
            (None, [0, 0, 0, 0, 0, 0]) => Err("the zero address".to_owned()),
            (None, [first, ..]) if first & 1 == 1 => Err("a multicast address".to_owned()),
            (None, octets) => Ok(MacAddr(octets)),
        }
    });
    read(reader, field)
}

/// Reads an address and a TCP port to listen on.
pub(crate) fn socket_address(
    reader: &mut Reader<'_>,
    field: Field<'_>,
) -> Result<SocketAddr, Reported> {
    let expected = "an address and a port, such as 127.0.0.1:9090 or \"[::1]:9090\"";
    let read = text(expected, |text| match text.parse::<SocketAddr>() {
        Ok(listen) if listen.port() == 0 => Err("which has port 0".to_owned()),
        Ok(listen) if listen.ip().is_multicast() => Err("a multicast address".to_owned()),
        Ok(listen) => Ok(listen),
        Err(_) => Err(String::new()),
    });
    read(reader, field)
}

/// Reads an address to listen on, without a port; the unspecified ones mean all addresses.
pub(crate) fn listen_address(
    reader: &mut Reader<'_>,
    field: Field<'_>,
) -> Result<IpAddr, Reported> {
    let expected = "an address such as 0.0.0.0, \"::\" or 192.0.2.9";
    let read = text(expected, |text| match parse_address(text)? {
        address if address.is_multicast() => Err("a multicast address".to_owned()),
        address => Ok(address),
    });
    read(reader, field)
}
