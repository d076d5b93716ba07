//! Ranges of addresses, as network policies have them.

use crate::diagnostic::Finding;
use ipnet::IpNet;
use std::net::IpAddr;

/// A range of either family; why it is none becomes a finding. Kubernetes itself
/// takes host bits for granted and warns of them.
pub(super) fn check(path: &str, text: &str, findings: &mut Vec<Finding>) -> Option<IpNet> {
    let expected = "a prefix such as 10.0.0.0/8 or fd00::/8";
    let Ok(net) = text.parse::<IpNet>() else {
        let message = match text {
            "" => "is missing".to_owned(),
            _ => format!("{text:?} is no prefix"),
        };
        findings.push(Finding::error(path, message).expected(expected));
        return None;
    };
    if matches!(net.addr(), IpAddr::V6(addr) if addr.to_ipv4_mapped().is_some()) {
        let message = format!("{text:?} is an IPv4 range written as IPv6");
        findings.push(Finding::error(path, message).expected(expected));
        return None;
    }
    if net.trunc() != net {
        let message = format!("{text:?} has host bits that are not 0");
        findings.push(Finding::error(path, message).expected(net.trunc().to_string()));
    }
    Some(net.trunc())
}
