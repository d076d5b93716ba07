use super::address;
use super::annotations::{self, ZONE, path};
use crate::diagnostic::Finding;
use ipnet::IpNet;
use k8s_openapi::api::core::v1;
use std::net::IpAddr;
use std::sync::Arc;

/// Our annotations, which come first.
const VTEP_ADDRESS: &str = "sluice.dev/vtep-address";
const VTEP_MAC: &str = "sluice.dev/vtep-mac";

/// What flannel writes on its nodes.
const FLANNEL_V4: &str = "flannel.alpha.coreos.com/public-ip";
const FLANNEL_V6: &str = "flannel.alpha.coreos.com/public-ipv6";
const FLANNEL_DATA: [&str; 2] =
    ["flannel.alpha.coreos.com/backend-data", "flannel.alpha.coreos.com/backend-v6-data"];

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// When it was made, in seconds since 1970; where two nodes that are new
    /// claim the same, the older one has it.
    pub created: Option<i64>,
    /// The ranges of its pods; the path of each in the manifest.
    pub pod_cidrs: Vec<(String, IpNet)>,
    /// Its tunnel endpoints, at most one of each family; the path of each in
    /// the manifest.
    pub vteps: Vec<(String, IpAddr)>,
    /// The MAC of its VXLAN device.
    pub vtep_mac: Option<[u8; 6]>,
    /// Addresses of the node itself.
    pub addresses: Vec<IpAddr>,
    /// The zone that it is in.
    pub zone: Option<Arc<str>>,
}

impl Node {
    /// Reduces a node; what is left out becomes a finding.
    pub fn reduce(node: &v1::Node, findings: &mut Vec<Finding>) -> Self {
        let internal = internal_addresses(node);
        let created = node.metadata.creation_timestamp.as_ref();
        Node {
            created: created.map(|time| time.0.as_second()),
            pod_cidrs: pod_cidrs(node),
            vteps: vteps(node, &internal, findings),
            vtep_mac: vtep_mac(node, findings),
            addresses: internal.iter().filter_map(|(_, text)| text.parse().ok()).collect(),
            zone: annotations::label(&node.metadata, ZONE)
                .filter(|z| !z.is_empty())
                .map(Into::into),
        }
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
        None => [FLANNEL_V4, FLANNEL_V6]
            .into_iter()
            .filter_map(|name| Some((path(name), annotation(node, name)?)))
            .collect(),
    };
    let told = if told.is_empty() { internal.to_vec() } else { told };
    let mut vteps: Vec<(String, IpAddr)> = Vec::new();
    for (path, text) in told {
        let reason = match text.parse::<IpAddr>() {
            Err(_) => "no IP address",
            Ok(ip) => match address::unusable(ip) {
                Some(reason) => reason,
                None if vteps.iter().any(|(_, other)| other.is_ipv4() == ip.is_ipv4()) => continue,
                None => {
                    vteps.push((path, ip));
                    continue;
                }
            },
        };
        let message = format!("{text:?} is {reason}; it is no tunnel endpoint");
        findings.push(Finding::error(path, message).expected("a unicast address"));
    }
    vteps
}

fn vtep_mac(node: &v1::Node, findings: &mut Vec<Finding>) -> Option<[u8; 6]> {
    const EXPECTED: &str = "a unicast MAC such as 0a:58:0a:f4:01:00";
    if let Some(text) = annotation(node, VTEP_MAC) {
        let mac = parse_mac(text);
        if mac.is_none() {
            let message = format!("{text:?} is no MAC; it is ignored");
            findings.push(Finding::error(path(VTEP_MAC), message).expected(EXPECTED));
        }
        return mac;
    }
    for name in FLANNEL_DATA {
        let Some(text) = annotation(node, name) else { continue };
        let data: Option<serde_json::Value> = serde_json::from_str(text).ok();
        let mac = data.as_ref().and_then(|data| data.get("VtepMAC")).and_then(|mac| mac.as_str());
        match mac.and_then(parse_mac) {
            Some(mac) => return Some(mac),
            // `null`, as flannel writes it for a family that it does not use.
            None if text.trim() == "null" => {}
            None => {
                let message = "has no valid `VtepMAC`; it is ignored";
                findings.push(Finding::error(path(name), message).expected(EXPECTED));
            }
        }
    }
    None
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
            (FLANNEL_V4, "192.0.2.2"),
            (FLANNEL_V6, "2001:db8::2"),
            (FLANNEL_DATA[0], r#"{"VNI":1,"VtepMAC":"0a:00:00:00:00:02"}"#),
        ];
        let ours = [(VTEP_ADDRESS, "192.0.2.3, 2001:db8::3"), (VTEP_MAC, "0a:00:00:00:00:03")];
        let mut findings = Vec::new();
        let ips = |node: &Node| node.vteps.iter().map(|(_, ip)| ip.to_string()).collect::<Vec<_>>();
        let reduced = Node::reduce(&node(&[&flannel[..], &ours[..]].concat()), &mut findings);
        assert_eq!(ips(&reduced), ["192.0.2.3", "2001:db8::3"]);
        assert_eq!(reduced.vtep_mac, Some([10, 0, 0, 0, 0, 3]));
        let reduced = Node::reduce(&node(&flannel), &mut findings);
        assert_eq!(ips(&reduced), ["192.0.2.2", "2001:db8::2"]);
        assert_eq!(reduced.vtep_mac, Some([10, 0, 0, 0, 0, 2]));
        let reduced = Node::reduce(&node(&[]), &mut findings);
        assert_eq!((ips(&reduced), reduced.vtep_mac), (vec!["192.0.2.9".to_owned()], None));
        assert_eq!(reduced.vteps[0].0, "status.addresses[0].address");
        assert!(findings.is_empty());
    }

    #[test]
    fn bad_annotations_are_findings() {
        let mut findings = Vec::new();
        let bad = [(VTEP_ADDRESS, "224.0.0.1,x"), (VTEP_MAC, "01:00:5e:00:00:01")];
        let reduced = Node::reduce(&node(&bad), &mut findings);
        assert_eq!((reduced.vteps.len(), reduced.vtep_mac), (0, None));
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
            assert_eq!(Node::reduce(&node, &mut findings).vteps, [], "{bad}");
            assert_eq!(findings[0].path, "status.addresses[0].address", "{bad}");
        }
    }
}
