//! Random small clusters and packets.

use crate::explain::tuple::{FlowTuple, Protocol};
use fastrand::Rng;
use serde_json::{Value, json};
use std::net::IpAddr;

const NAMESPACES: [&str; 2] = ["a", "b"];
const ROLES: [&str; 3] = ["web", "db", "ui"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Ports that Services and policies name, one of a Service's pods, and one of nobody.
const PORTS: [u16; 5] = [80, 53, 5432, 8080, 9];

/// Where outside of the cluster packets come from and go to.
const OUTSIDE: [&str; 3] = ["203.0.113.9", "198.51.100.7", "192.0.2.77"];

/// Pods of each node.
const PODS: u8 = 4;

/// One of some.
fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// Both addresses of a host of a network of the cluster: the IPv6 one looks like the
/// IPv4 one.
fn both(v4: &str) -> [IpAddr; 2] {
    let v6 = [
        ("10.244.1.", "fd00:10:244:1::"),
        ("10.244.2.", "fd00:10:244:2::"),
        ("10.244.255.", "fd00:10:244:ff::"),
        ("10.96.0.", "fd00:10:96::"),
        ("10.10.0.", "fd10::"),
        ("192.0.2.", "2001:db8::"),
        ("203.0.113.", "2001:db8:113::"),
        ("198.51.100.", "2001:db8:51::"),
    ]
    .into_iter()
    .find_map(|(net, v6)| v4.strip_prefix(net).map(|host| format!("{v6}{host}")));
    [v4.parse().unwrap(), v6.unwrap().parse().unwrap()]
}

fn pod_addresses(node: u8, pod: u8) -> [IpAddr; 2] {
    both(&format!("10.244.{node}.{}", pod + 2))
}

/// Nodes, namespaces, pods and Services.
pub fn cluster(rng: &mut Rng) -> Vec<Value> {
    let mut objects: Vec<Value> = NAMESPACES
        .iter()
        .map(|name| {
            let audit = if rng.u8(..8) == 0 { "true" } else { "false" };
            let annotations = json!({"sluice.dev/policy-audit": audit});
            json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "annotations": annotations}})
        })
        .collect();
    for node in 1..=2u8 {
        let [v4, v6] = both(&format!("10.10.0.1{node}"));
        objects.push(json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": format!("n{node}"),
                "annotations": {"sluice.dev/vtep-mac": format!("0a:00:00:00:00:1{node}")}},
            "spec": {"podCIDRs": [format!("10.244.{node}.0/24"), format!("fd00:10:244:{node}::/64")]},
            "status": {"addresses": [{"type": "InternalIP", "address": v4},
                {"type": "InternalIP", "address": v6}]}}));
        for pod in 0..PODS {
            let [v4, v6] = pod_addresses(node, pod);
            let (namespace, role) = (one(rng, &NAMESPACES), one(rng, &ROLES));
            objects.push(json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": namespace, "name": format!("p{node}{pod}"),
                    "labels": {"role": role}},
                "spec": {"nodeName": format!("n{node}"), "containers": [{"name": "main"}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                    "podIP": v4, "podIPs": [{"ip": v4}, {"ip": v6}]}}));
        }
    }
    for (last, role) in (10..).zip(["web", "db", "nobody"]) {
        for namespace in NAMESPACES {
            let host = last + if namespace == "a" { 0 } else { 10 };
            let [v4, v6] = both(&format!("10.96.0.{host}"));
            let port = |name: &str, protocol: &str, port: u16, target: u16| json!({"name": name, "protocol": protocol, "port": port, "targetPort": target});
            objects.push(json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": namespace, "name": role},
                "spec": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"],
                    "clusterIP": v4, "clusterIPs": [v4, v6], "selector": {"role": role},
                    "ports": [port("http", "TCP", 80, 8080), port("dns", "UDP", 53, 53),
                        port("assoc", "SCTP", 9, 9)]}}));
        }
    }
    objects
}

/// Some policies of both kinds.
pub fn policies(rng: &mut Rng) -> Vec<Value> {
    let network = (0..rng.usize(..5)).map(|number| network_policy(rng, number));
    let mut all: Vec<Value> = network.collect();
    let of_cluster = (0..rng.usize(..3)).map(|number| cluster_policy(rng, number));
    all.extend(of_cluster.collect::<Vec<_>>());
    all
}

fn selector(rng: &mut Rng) -> Value {
    match rng.u8(..3) {
        0 => json!({}),
        _ => json!({"matchLabels": {"role": one(rng, &ROLES)}}),
    }
}

fn namespaces(rng: &mut Rng) -> Value {
    match rng.u8(..2) {
        0 => json!({}),
        _ => json!({"matchLabels": {"kubernetes.io/metadata.name": one(rng, &NAMESPACES)}}),
    }
}

fn network_policy(rng: &mut Rng, number: usize) -> Value {
    let mut annotations = json!({});
    if rng.u8(..4) == 0 {
        annotations["sluice.dev/policy-audit"] = "true".into();
    }
    let types = [&["Ingress"][..], &["Egress"], &["Ingress", "Egress"]];
    let mut spec = json!({"podSelector": selector(rng), "policyTypes": one(rng, &types)});
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let rule = |rng: &mut Rng| {
            let mut rule = json!({});
            if rng.u8(..4) > 0 {
                rule[peers] = (0..=rng.usize(..2)).map(|_| network_peer(rng)).collect();
            }
            if rng.bool() {
                let port = one(rng, &PORTS);
                rule["ports"] = json!([{"protocol": one(rng, &PROTOCOLS), "port": port,
                    "endPort": port.saturating_add(rng.u16(..100))}]);
            }
            rule
        };
        spec[direction] = (0..rng.usize(..3)).map(|_| rule(rng)).collect();
    }
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": one(rng, &NAMESPACES), "name": format!("net{number}"),
            "annotations": annotations},
        "spec": spec})
}

fn network_peer(rng: &mut Rng) -> Value {
    match rng.u8(..4) {
        0 => json!({"podSelector": selector(rng)}),
        1 => json!({"namespaceSelector": namespaces(rng), "podSelector": selector(rng)}),
        2 => json!({"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.128/25"]}}),
        _ => json!({"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8:51::/48"]}}),
    }
}

fn cluster_policy(rng: &mut Rng, number: usize) -> Value {
    let rule = |rng: &mut Rng, peers: &str, name: String| {
        let peer = match rng.u8(..3) {
            0 => json!({"namespaces": namespaces(rng)}),
            1 => {
                json!({"pods": {"namespaceSelector": namespaces(rng), "podSelector": selector(rng)}})
            }
            _ if peers == "to" => json!({"networks": ["203.0.113.0/24", "2001:db8:113::/48"]}),
            _ => json!({"namespaces": {}}),
        };
        json!({"name": name, "action": one(rng, &["Accept", "Deny", "Pass"]), peers: [peer]})
    };
    let rules = |rng: &mut Rng, peers: &str| -> Vec<Value> {
        (0..rng.usize(..3)).map(|number| rule(rng, peers, format!("rule {number}"))).collect()
    };
    let (ingress, egress) = (rules(rng, "from"), rules(rng, "to"));
    json!({"apiVersion": "policy.networking.k8s.io/v1beta1", "kind": "ClusterNetworkPolicy",
        "metadata": {"name": format!("all{number}")},
        "spec": {"tier": one(rng, &["Admin", "Baseline"]), "priority": number,
            "subject": {"pods": {"namespaceSelector": namespaces(rng), "podSelector": selector(rng)}},
            "ingress": ingress, "egress": egress}})
}

/// A packet that opens a flow, or comes again.
pub fn packet(rng: &mut Rng) -> FlowTuple {
    let pod = |rng: &mut Rng| pod_addresses(rng.u8(1..=2), rng.u8(..PODS));
    let source = match rng.u8(..10) {
        0..7 => pod(rng),
        7 => both(&format!("10.10.0.1{}", rng.u8(1..=2))),
        // Of a node's range, and nobody's.
        8 if rng.u8(..4) == 0 => both("10.244.1.99"),
        _ => both(one(rng, &OUTSIDE)),
    };
    let destination = match rng.u8(..12) {
        0..4 => pod(rng),
        4..8 => both(&format!("10.96.0.{}", one(rng, &[10, 11, 12, 20, 21]))),
        8 => both(one(rng, &["10.96.0.99", "10.244.255.1", "10.244.2.99", "192.0.2.1"])),
        9 => both(&format!("10.10.0.1{}", rng.u8(1..=2))),
        _ => both(one(rng, &OUTSIDE)),
    };
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Udp, Protocol::Sctp, Protocol::Icmp];
    let (protocol, family) = (one(rng, &protocols), rng.usize(..2));
    let is_icmp = protocol == Protocol::Icmp;
    FlowTuple {
        source: source[family],
        source_port: (!is_icmp).then(|| 40_000 + rng.u16(..2)),
        destination: destination[family],
        port: if is_icmp { 0 } else { one(rng, &PORTS) },
        protocol,
    }
}
