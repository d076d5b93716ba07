use std::net::IpAddr;

/// Why an address can be neither an endpoint nor a VIP; `None` if it can
/// (`ValidateEndpointIP` in Kubernetes' `pkg/apis/core/validation`, and
/// RFC 6890).
pub fn unusable(addr: IpAddr) -> Option<&'static str> {
    let is_link_local = match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    };
    let (is_this_network, is_mapped) = match addr {
        IpAddr::V4(addr) => (addr.octets()[0] == 0 || addr.is_broadcast(), false),
        IpAddr::V6(addr) => (addr.is_unspecified(), addr.to_ipv4_mapped().is_some()),
    };
    if addr.is_multicast() {
        Some("a multicast address")
    } else if addr.is_loopback() {
        Some("a loopback address")
    } else if is_link_local {
        Some("a link-local address")
    } else if is_this_network {
        Some("no unicast address")
    } else if is_mapped {
        Some("an IPv4 address written as IPv6")
    } else {
        None
    }
}

/// The name of an address's family.
pub fn family(addr: IpAddr) -> &'static str {
    if addr.is_ipv4() { "IPv4" } else { "IPv6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unicast_addresses_of_others_are_usable() {
        for good in ["10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"] {
            assert_eq!(unusable(good.parse().unwrap()), None, "{good}");
        }
        let bad = [
            "224.0.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "ff02::1",
            "::1",
            "fe80::1",
            "::",
            "::ffff:10.0.0.1",
        ];
        for bad in bad {
            assert!(unusable(bad.parse().unwrap()).is_some(), "{bad}");
        }
    }
}
