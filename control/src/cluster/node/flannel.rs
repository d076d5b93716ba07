//! What flannel says of its nodes (github.com/flannel-io/flannel, `pkg/subnet/kube` and
//! `pkg/backend/vxlan`). A node has a VXLAN device for IPv4 over IPv4 and another one for
//! IPv6 over IPv6. Peers read `public-ip`, not `public-ip-overwrite`: the node itself puts the
//! one into the other.

use super::{EXPECTED_MAC, Macs, Tunnel, annotation, annotations::path, parse_mac, usable};
use crate::diagnostic::Finding;
use k8s_openapi::api::core::v1;
use std::net::IpAddr;

/// `true` on the nodes that flannel keeps in the Kubernetes API.
pub const MANAGED: &str = "flannel.alpha.coreos.com/kube-subnet-manager";
/// `vxlan`, or another way to reach the node.
pub const BACKEND: &str = "flannel.alpha.coreos.com/backend-type";
/// The node's underlay addresses, IPv4 and IPv6.
pub const PUBLIC: [&str; 2] =
    ["flannel.alpha.coreos.com/public-ip", "flannel.alpha.coreos.com/public-ipv6"];
/// Network and MAC of its devices, over IPv4 and over IPv6, as JSON.
pub const DATA: [&str; 2] =
    ["flannel.alpha.coreos.com/backend-data", "flannel.alpha.coreos.com/backend-v6-data"];

/// The node's tunnels.
pub(super) fn tunnel(node: &v1::Node, findings: &mut Vec<Finding>) -> Tunnel {
    let mut tunnel = Tunnel::default();
    if annotation(node, MANAGED) != Some("true") {
        return tunnel;
    }
    if let Some(other) = annotation(node, BACKEND).filter(|backend| *backend != "vxlan") {
        let message = format!("{other:?} is no VXLAN; the node's pods are unreachable");
        findings.push(Finding::error(path(BACKEND), message).expected("`vxlan`"));
        tunnel.is_told = true;
        return tunnel;
    }
    for (is_v4, (public, data)) in [true, false].into_iter().zip(PUBLIC.into_iter().zip(DATA)) {
        let Some(text) = annotation(node, public) else { continue };
        let is_right = |ip: &IpAddr| ip.is_ipv4() == is_v4;
        let Some(addr) = usable(public, text, is_right, findings) else { continue };
        tunnel.vteps.push((path(public), addr));
        let Some((mac, vni)) = backend_data(node, data, findings) else { continue };
        *tunnel.macs.over_mut(is_v4) = Some(mac);
        tunnel.vnis.extend(vni.map(|vni| (path(data), vni)));
    }
    tunnel
}

/// MAC and network of a device; `null`, as flannel writes it for a family that it does not
/// use, is no finding.
fn backend_data(
    node: &v1::Node,
    name: &str,
    findings: &mut Vec<Finding>,
) -> Option<([u8; 6], Option<u32>)> {
    let text = annotation(node, name).filter(|text| text.trim() != "null")?;
    let data: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let of = |key| data.as_ref().and_then(|data| data.get(key));
    let mac = of("VtepMAC").and_then(|mac| mac.as_str()).and_then(parse_mac);
    if mac.is_none() {
        let message = "has no valid `VtepMAC`; it is ignored";
        findings.push(Finding::error(path(name), message).expected(EXPECTED_MAC));
    }
    let vni = of("VNI").and_then(|vni| u32::try_from(vni.as_u64()?).ok());
    Some((mac?, vni))
}

/// The MAC of a plain VXLAN device that flannel's annotations tell: one for both families.
pub(super) fn any_mac(node: &v1::Node, findings: &mut Vec<Finding>) -> Macs {
    let mac = DATA.into_iter().find_map(|name| backend_data(node, name, findings));
    Macs::both(mac.map(|(mac, _)| mac))
}
