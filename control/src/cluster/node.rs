use super::address;
use super::annotations::{self, ZONE, path};
use crate::diagnostic::Finding;
use ipnet::IpNet;
use k8s_openapi::api::core::v1;
use sluice_config::OverlayMode;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Calico's annotations.
pub mod calico;
/// flannel's annotations.
pub mod flannel;

/// Where a node's tunnel ends: at most one address of each family, with commas between.
/// Whatever the overlay is, this comes first.
pub const VTEP_ADDRESS: &str = "sluice.dev/vtep-address";
/// The MAC of the node's VXLAN device.
pub const VTEP_MAC: &str = "sluice.dev/vtep-mac";

const EXPECTED_MAC: &str = "a unicast MAC such as 0a:58:0a:f4:01:00";

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// When it was made, in seconds since 1970; where two nodes that are new
    /// claim the same, the older one has it.
    pub created: Option<i64>,
    /// The ranges of its pods, the path of each in the manifest. With Calico, its
    /// blocks.
    pub pod_cidrs: Vec<(String, IpNet)>,
    /// Where its tunnels end.
    pub tunnel: Tunnel,
    /// Addresses of the node itself, inside of the cluster.
    pub addresses: Vec<IpAddr>,
    /// All its addresses, external ones too: network policies that name nodes
    /// mean these.
    pub all_addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The zone that it is in.
    pub zone: Option<Arc<str>>,
}

/// Where a node's tunnels end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// The addresses on the underlay, at most one of each family; the path of each
    /// in the manifest.
    pub vteps: Vec<(String, IpAddr)>,
    /// The MACs of its VXLAN devices.
    pub macs: Macs,
    /// Inner addresses of its VXLAN devices.
    pub devices: Vec<IpAddr>,
    /// The networks that it says it is in; the path of each.
    pub vnis: Vec<(String, u32)>,
    /// It has none, and a finding of its own says why.
    pub is_told: bool,
}

/// The MACs of a node's VXLAN devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Macs {
    /// Of the one over IPv4.
    pub v4: Option<[u8; 6]>,
    /// Of the one over IPv6.
    pub v6: Option<[u8; 6]>,
}

impl Macs {
    /// Of one device for both.
    fn both(mac: Option<[u8; 6]>) -> Self {
        Macs { v4: mac, v6: mac }
    }

    fn over_mut(&mut self, is_v4: bool) -> &mut Option<[u8; 6]> {
        if is_v4 { &mut self.v4 } else { &mut self.v6 }
    }

    /// Of the device that has an address of the underlay.
    pub fn over(&self, addr: IpAddr) -> Option<[u8; 6]> {
        if addr.is_ipv4() { self.v4 } else { self.v6 }
    }
}

impl Node {
    /// Reduces a node of an overlay; what is left out becomes a finding.
    pub fn reduce(overlay: OverlayMode, node: &v1::Node, findings: &mut Vec<Finding>) -> Self {
        let internal = internal_addresses(node);
        let created = node.metadata.creation_timestamp.as_ref();
        let pod_cidrs = if overlay == OverlayMode::Calico { Vec::new() } else { pod_cidrs(node) };
        let is_ours = annotation(node, VTEP_ADDRESS).or(annotation(node, VTEP_MAC)).is_some();
        let mut tunnel = match overlay {
            OverlayMode::Flannel if !is_ours => flannel::tunnel(node, findings),
            OverlayMode::Calico if !is_ours => calico::tunnel(node, findings),
            _ => Tunnel {
                vteps: vteps(node, &internal, findings),
                macs: macs(node, findings),
                ..Tunnel::default()
            },
        };
        // flannel's devices, as those of plain VXLAN in its style, have the first
        // address, which no pod gets.
        tunnel.devices.extend(pod_cidrs.iter().map(|(_, net)| net.network()));
        Node {
            created: created.map(|time| time.0.as_second()),
            pod_cidrs,
            tunnel,
            addresses: internal.iter().filter_map(|(_, text)| text.parse().ok()).collect(),
            all_addresses: all_addresses(node),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            zone: annotations::label(&node.metadata, ZONE)
                .filter(|z| !z.is_empty())
                .map(Into::into),
        }
    }

    /// Sets its ranges to blocks, and the addresses of its devices outside of them.
    pub(super) fn set_blocks(&mut self, blocks: Vec<(String, IpNet)>) {
        let is_outside = |addr: &&IpAddr| !blocks.iter().any(|(_, net)| net.contains(*addr));
        let outside = self.tunnel.devices.iter().filter(is_outside);
        let outside: Vec<_> =
            outside.map(|addr| ("metadata.annotations".to_owned(), IpNet::from(*addr))).collect();
        self.pod_cidrs = blocks.into_iter().chain(outside).collect();
    }

    /// Whether an address is in one of its ranges.
    pub fn has_pod(&self, addr: IpAddr) -> bool {
        self.pod_cidrs.iter().any(|(_, cidr)| cidr.contains(&addr))
    }
}

fn annotation<'a>(node: &'a v1::Node, name: &str) -> Option<&'a str> {
    annotations::annotation(&node.metadata, name)
}

/// The addresses of type InternalIP, with their paths.
fn internal_addresses(node: &v1::Node) -> Vec<(String, &str)> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses
        .enumerate()
        .filter(|(_, address)| address.type_ == "InternalIP")
        .map(|(i, address)| (format!("status.addresses[{i}].address"), address.address.as_str()))
        .collect()
}

/// The addresses of all types that have any, each once, in order.
fn all_addresses(node: &v1::Node) -> Vec<IpAddr> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let addresses: BTreeSet<IpAddr> =
        addresses.filter_map(|address| address.address.parse().ok()).collect();
    addresses.into_iter().collect()
}

fn pod_cidrs(node: &v1::Node) -> Vec<(String, IpNet)> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let list = spec.pod_cidrs.as_deref().unwrap_or_default();
    let all: Vec<(String, &String)> = if list.is_empty() {
        spec.pod_cidr.iter().map(|cidr| ("spec.podCIDR".to_owned(), cidr)).collect()
    } else {
        list.iter().enumerate().map(|(i, cidr)| (format!("spec.podCIDRs[{i}]"), cidr)).collect()
    };
    all.into_iter()
        .filter_map(|(path, cidr)| Some((path, cidr.parse::<IpNet>().ok()?.trunc())))
        .collect()
}

/// The first address of each family; those that can be none are findings.
fn vteps(
    node: &v1::Node,
    internal: &[(String, &str)],
    findings: &mut Vec<Finding>,
) -> Vec<(String, IpAddr)> {
    let told: Vec<(String, &str)> = match annotation(node, VTEP_ADDRESS) {
        Some(list) => list.split(',').map(|ip| (path(VTEP_ADDRESS), ip.trim())).collect(),
        None => flannel::PUBLIC
            .into_iter()
            .filter_map(|name| Some((path(name), annotation(node, name)?)))
            .collect(),
    };
    let told = if told.is_empty() { internal.to_vec() } else { told };
    let mut vteps: Vec<(String, IpAddr)> = Vec::new();
    for (path, text) in told {
        let Some(ip) = unicast(&path, text, findings) else { continue };
        if !vteps.iter().any(|(_, other)| other.is_ipv4() == ip.is_ipv4()) {
            vteps.push((path, ip));
        }
    }
    vteps
}

/// The address of an annotation, of the right family.
fn usable(
    name: &str,
    text: &str,
    is_right: impl Fn(&IpAddr) -> bool,
    findings: &mut Vec<Finding>,
) -> Option<IpAddr> {
    let ip = unicast(&path(name), text.trim(), findings)?;
    if !is_right(&ip) {
        let message = format!("{ip} is of the other family; it is no tunnel endpoint");
        findings.push(Finding::error(path(name), message).expected("an address of its family"));
        return None;
    }
    Some(ip)
}

fn unicast(path: &str, text: &str, findings: &mut Vec<Finding>) -> Option<IpAddr> {
    let reason = match text.parse::<IpAddr>() {
        Err(_) => "no IP address",
        Ok(ip) => match address::unusable(ip) {
            Some(reason) => reason,
            None => return Some(ip),
        },
    };
    let message = format!("{text:?} is {reason}; it is no tunnel endpoint");
    findings.push(Finding::error(path, message).expected("a unicast address"));
    None
}

/// Of one device for both families.
fn macs(node: &v1::Node, findings: &mut Vec<Finding>) -> Macs {
    let Some(text) = annotation(node, VTEP_MAC) else { return flannel::any_mac(node, findings) };
    let mac = parse_mac(text);
    if mac.is_none() {
        let message = format!("{text:?} is no MAC; it is ignored");
        findings.push(Finding::error(path(VTEP_MAC), message).expected(EXPECTED_MAC));
    }
    Macs::both(mac)
}

/// A unicast MAC of six hexadecimal bytes.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut bytes = text.trim().split([':', '-']);
    for byte in &mut mac {
        let text = bytes.next().filter(|text| text.len() == 2)?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    (bytes.next().is_none() && mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(yaml_annotations: &[(&str, &str)]) -> v1::Node {
        let mut node = v1::Node::default();
        let annotations = yaml_annotations.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        node.metadata.annotations = Some(annotations.collect());
        node.status = Some(v1::NodeStatus {
            addresses: Some(vec![v1::NodeAddress {
                address: "192.0.2.9".into(),
                type_: "InternalIP".into(),
            }]),
            ..v1::NodeStatus::default()
        });
        node
    }

    #[test]
    fn our_annotations_come_before_flannels_before_the_nodes_address() {
        let flannel = [
            (flannel::PUBLIC[0], "192.0.2.2"),
            (flannel::PUBLIC[1], "2001:db8::2"),
            (flannel::DATA[0], r#"{"VNI":1,"VtepMAC":"0a:00:00:00:00:02"}"#),
        ];
        let ours = [(VTEP_ADDRESS, "192.0.2.3, 2001:db8::3"), (VTEP_MAC, "0a:00:00:00:00:03")];
        let mut findings = Vec::new();
        let ips = |node: &Node| {
            node.tunnel.vteps.iter().map(|(_, ip)| ip.to_string()).collect::<Vec<_>>()
        };
        let reduced = Node::reduce(
            OverlayMode::Plain,
            &node(&[&flannel[..], &ours[..]].concat()),
            &mut findings,
        );
        assert_eq!(ips(&reduced), ["192.0.2.3", "2001:db8::3"]);
        assert_eq!(reduced.tunnel.macs.v4, Some([10, 0, 0, 0, 0, 3]));
        let reduced = Node::reduce(OverlayMode::Plain, &node(&flannel), &mut findings);
        assert_eq!(ips(&reduced), ["192.0.2.2", "2001:db8::2"]);
        assert_eq!(reduced.tunnel.macs.v4, Some([10, 0, 0, 0, 0, 2]));
        let reduced = Node::reduce(OverlayMode::Plain, &node(&[]), &mut findings);
        assert_eq!((ips(&reduced), reduced.tunnel.macs.v4), (vec!["192.0.2.9".to_owned()], None));
        assert_eq!(reduced.tunnel.vteps[0].0, "status.addresses[0].address");
        assert!(findings.is_empty());
    }

    #[test]
    fn bad_annotations_are_findings() {
        let mut findings = Vec::new();
        let bad = [(VTEP_ADDRESS, "224.0.0.1,x"), (VTEP_MAC, "01:00:5e:00:00:01")];
        let reduced = Node::reduce(OverlayMode::Plain, &node(&bad), &mut findings);
        assert_eq!((reduced.tunnel.vteps.len(), reduced.tunnel.macs.v4), (0, None));
        assert_eq!(findings.len(), 3);
        assert!(parse_mac("0a:0:0:0:0:1").is_none() && parse_mac("").is_none());
    }

    #[test]
    fn internal_addresses_are_no_better() {
        for bad in ["224.0.0.1", "127.0.0.1", "fe80::1", "::ffff:10.0.0.1", "node-1"] {
            let mut node = node(&[]);
            let status = node.status.get_or_insert_default();
            status.addresses.get_or_insert_default()[0].address = bad.into();
            let mut findings = Vec::new();
            assert_eq!(
                Node::reduce(OverlayMode::Plain, &node, &mut findings).tunnel.vteps,
                [],
                "{bad}"
            );
            assert_eq!(findings[0].path, "status.addresses[0].address", "{bad}");
        }
    }
}
