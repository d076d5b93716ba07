//! What Calico says of its nodes where it keeps its data in the Kubernetes API
//! (github.com/projectcalico/calico, `libcalico-go/lib/backend/k8s/resources/node.go`,
//! `felix/calc/vxlan_resolver.go`). A node has a VXLAN device for IPv4 over IPv4 and another
//! one for IPv6 over IPv6, each with an address of its own: one without it has no tunnel.

use super::{EXPECTED_MAC, Tunnel, annotation, annotations::path, parse_mac, usable};
use crate::diagnostic::Finding;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use k8s_openapi::api::core::v1;
use std::net::IpAddr;

/// The node's underlay addresses, IPv4 and IPv6, each with the length of its subnet's prefix.
pub const ADDRESS: [&str; 2] = ["projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address"];
/// The addresses of its VXLAN devices.
pub const DEVICE: [&str; 2] =
    ["projectcalico.org/IPv4VXLANTunnelAddr", "projectcalico.org/IPv6VXLANTunnelAddr"];
/// The MACs of its VXLAN devices, if they are not the usual ones.
pub const MAC: [&str; 2] =
    ["projectcalico.org/VXLANTunnelMACAddr", "projectcalico.org/VXLANTunnelMACAddrV6"];

/// The node's tunnels.
pub(super) fn tunnel(node: &v1::Node, findings: &mut Vec<Finding>) -> Tunnel {
    let mut tunnel = Tunnel::default();
    let name = node.metadata.name.as_deref().unwrap_or_default();
    for (i, is_v4) in [true, false].into_iter().enumerate() {
        let is_right = |ip: &IpAddr| ip.is_ipv4() == is_v4;
        let Some(text) = annotation(node, ADDRESS[i]) else { continue };
        let Some(device) = annotation(node, DEVICE[i]) else { continue };
        let host = text.split_once('/').map_or(text, |(host, _)| host);
        let addr = usable(ADDRESS[i], host, is_right, findings);
        let device = usable(DEVICE[i], device, is_right, findings);
        let (Some(addr), Some(device)) = (addr, device) else { continue };
        tunnel.vteps.push((path(ADDRESS[i]), addr));
        tunnel.devices.push(device);
        *tunnel.macs.over_mut(is_v4) = match annotation(node, MAC[i]).filter(|m| !m.is_empty()) {
            Some(text) => {
                let mac = parse_mac(text);
                if mac.is_none() {
                    let message = format!("{text:?} is no MAC; it is ignored");
                    findings.push(Finding::error(path(MAC[i]), message).expected(EXPECTED_MAC));
                }
                mac
            }
            None => Some(usual_mac(name, is_v4)),
        };
    }
    tunnel
}

/// The MAC of a node's device over IPv4 or IPv6, unless an annotation tells another: `f` and 40
/// bits of the SHA-1 of the node's name (`vtepMACForHost`).
pub fn usual_mac(node: &str, is_v4: bool) -> [u8; 6] {
    let suffix = if is_v4 { "" } else { "-v6" };
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{node}{suffix}").as_bytes());
    let mut mac = [b'f', 0, 0, 0, 0, 0];
    mac[1..].iter_mut().zip(hash.as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_mac_is_what_felix_makes_of_the_name() {
        // `printf node1 | sha1sum`, `printf node1-v6 | sha1sum`
        assert_eq!(usual_mac("node1", true), [0x66, 0xf9, 0x37, 0xc3, 0x7e, 0x94]);
        assert_eq!(usual_mac("node1", false), [0x66, 0x0f, 0x35, 0xf2, 0x60, 0xdf]);
    }
}
