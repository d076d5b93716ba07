use super::Dice;
use super::selectors::labels;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Pods of one node.
const PODS_PER_NODE: usize = 100;

/// A cluster of a size, made as real ones are: each Namespace is a team's, its
/// pods are of a few applications, its policies let applications of the same or
/// another team in, some a block outside.
pub fn large(namespaces: usize, pods: usize, policies: usize, seed: u64) -> Vec<Value> {
    let mut dice = Dice::of(seed);
    let mut objects: Vec<_> = (0..namespaces).map(|i| namespace(&mut dice, i)).collect();
    objects.extend((0..pods.div_ceil(PODS_PER_NODE)).map(node));
    objects.extend((0..pods).map(|i| pod(&mut dice, i % namespaces.max(1), i)));
    objects.extend((0..policies).map(|i| policy(&mut dice, i, namespaces.max(1))));
    objects
}

fn namespace(dice: &mut Dice, i: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": format!("team-{i}"), "labels": labels(dice)},
    })
}

fn node(i: usize) -> Value {
    let (high, low) = (i / 250, i % 250);
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": format!("node-{i}"),
            "annotations": {"sluice.dev/vtep-mac": format!("0a:00:00:00:{high:02x}:{low:02x}")},
        },
        "spec": {"podCIDRs": [format!("10.{}.{low}.0/24", 128 + high)]},
        "status": {"addresses": [
            {"type": "InternalIP", "address": format!("10.10.{high}.{}", low + 2)},
            {"type": "InternalIP", "address": format!("fd10::{high:x}:{:x}", low + 2)},
        ]},
    })
}

fn pod(dice: &mut Dice, namespace: usize, i: usize) -> Value {
    let (node, number) = (i / PODS_PER_NODE, i % PODS_PER_NODE + 2);
    let (high, low) = (node / 250, node % 250);
    let v4 = Ipv4Addr::new(10, 128 + high as u8, low as u8, number as u8);
    let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, node as u16, 0, 0, 0, number as u16);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": format!("team-{namespace}"), "name": format!("pod-{i}"),
            "labels": {
                "app": format!("app-{}", dice.number(0..=4)),
                "pod-template-hash": format!("{:x}", dice.number(0..=9999)),
            },
        },
        "spec": {"nodeName": format!("node-{node}"), "containers": [
            {"name": "main", "ports": [{"name": "web", "containerPort": 8080}]},
        ]},
        "status": {"phase": "Running", "podIP": v4, "podIPs": [{"ip": v4}, {"ip": v6}]},
    })
}

fn policy(dice: &mut Dice, i: usize, namespaces: usize) -> Value {
    let app =
        |dice: &mut Dice| json!({"matchLabels": {"app": format!("app-{}", dice.number(0..=4))}});
    let peer = match dice.number(0..=9) {
        0..=4 => json!({"podSelector": app(dice)}),
        5..=7 => {
            let team = format!("team-{}", dice.number(0..=namespaces - 1));
            let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": team}});
            json!({"namespaceSelector": namespace, "podSelector": app(dice)})
        }
        8 => json!({"namespaceSelector": {"matchLabels": labels(dice)}}),
        _ => {
            let block = format!("203.{}.{}.0/24", dice.number(0..=255), dice.number(0..=255));
            json!({"ipBlock": {"cidr": block}})
        }
    };
    let port = match dice.number(0..=3) {
        0 => json!({"port": "web"}),
        1 => json!({"port": 8000, "endPort": 8100}),
        _ => json!({"port": dice.pick(&[80, 443, 8080, 5432, 6379])}),
    };
    let spec = match i % 10 {
        0 => json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
        1..=7 => json!({"podSelector": app(dice), "ingress": [{"from": [peer], "ports": [port]}]}),
        _ => json!({
            "podSelector": app(dice), "policyTypes": ["Egress"],
            "egress": [{"to": [peer], "ports": [port]}],
        }),
    };
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": format!("team-{}", i % namespaces), "name": format!("policy-{i}")},
        "spec": spec,
    })
}
