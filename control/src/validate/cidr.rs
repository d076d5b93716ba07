//! Ranges of addresses, as network policies have them
//! (`IsValidCIDR` in `k8s.io/apimachinery/pkg/util/validation`).

use crate::diagnostic::Finding;
use ipnet::IpNet;
use std::net::IpAddr;

/// A range of either family; why it is none becomes a finding. Older Kubernetes
/// takes host bits and leading zeros for granted and warns of them.
pub(super) fn check(path: &str, text: &str, findings: &mut Vec<Finding>) -> Option<IpNet> {
    let expected = "a prefix such as 10.0.0.0/8 or fd00::/8";
    let Some(net) = parse(text) else {
        let message = match text {
            "" => "is missing".to_owned(),
            // What is lax about zeros may read the number as octal.
            _ if text.parse::<IpNet>().is_ok() => format!("{text:?} has leading zeros"),
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

/// An address, `/`, and a length in decimal: neither with leading zeros.
fn parse(text: &str) -> Option<IpNet> {
    let (addr, len) = text.split_once('/')?;
    let number: u8 = len.parse().ok()?;
    let is_plain = number.to_string() == len;
    IpNet::new(addr.parse().ok()?, number).ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_in_one_way() {
        for good in ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "::/0", "FD00:0abc::/32"] {
            let mut findings = Vec::new();
            assert!(check("p", good, &mut findings).is_some() && findings.is_empty(), "{good}");
        }
        for (bad, why) in [
            ("010.0.0.0/8", "leading zeros"),
            ("10.0.0.00/8", "leading zeros"),
            ("10.0.0.0/08", "leading zeros"),
            ("fd00::/064", "leading zeros"),
            ("10.0.0.0/+8", "no prefix"),
            ("10.0.0.0/", "no prefix"),
            ("10.0.0/8", "no prefix"),
            ("0x0a.0.0.0/8", "no prefix"),
            ("10.0.0.0/33", "no prefix"),
            ("fe80::1%eth0/128", "no prefix"),
            ("10.0.0.0 /8", "no prefix"),
            ("10.0.0.1/8", "host bits"),
            ("fd00::1/64", "host bits"),
            ("::ffff:10.0.0.0/104", "written as IPv6"),
        ] {
            let mut findings = Vec::new();
            check("p", bad, &mut findings);
            let said: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
            assert!(matches!(&said[..], [one] if one.contains(why)), "{bad}: {said:?}");
        }
    }
}
