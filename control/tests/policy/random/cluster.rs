use super::Dice;
use super::selectors::labels;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The names of Namespaces; a cluster has the first few.
pub(super) const NAMESPACES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// The names of nodes.
pub(super) const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Most pods of a cluster.
pub(super) const PODS_MAX: usize = 10;
/// Names of container ports.
pub(super) const PORT_NAMES: [&str; 3] = ["web", "dns", "admin"];
/// Numbers of ports.
pub(super) const PORTS: [u16; 8] = [1, 53, 80, 81, 443, 8080, 8081, 65535];
/// Annotation of what is only tried out.
const AUDIT: &str = "sluice.dev/policy-audit";

/// A pod's address on a node.
pub(super) fn pod_addresses(node: usize, pod: usize) -> [IpAddr; 2] {
    let (node, pod) = (node as u8, pod as u8);
    [
        Ipv4Addr::new(10, 244, node, 8 + pod).into(),
        Ipv6Addr::new(0xfd00, 0x10, 0x244, node.into(), 0, 0, 0, 8 + u16::from(pod)).into(),
    ]
}

/// A node's addresses of one type.
pub(super) fn node_addresses(node: usize, is_external: bool) -> [IpAddr; 2] {
    let last = 11 + node as u8;
    if is_external {
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, last.into());
        return [Ipv4Addr::new(198, 51, 100, last).into(), v6.into()];
    }
    let v6 = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, last.into());
    [Ipv4Addr::new(10, 10, 0, last).into(), v6.into()]
}

/// An address outside of the cluster.
pub(super) fn outside_addresses(n: usize) -> [IpAddr; 2] {
    let last = 5 + n as u8;
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, last.into());
    [Ipv4Addr::new(203, 0, 113, last).into(), v6.into()]
}

/// Some address that something has or may have.
pub(super) fn any_address(dice: &mut Dice) -> IpAddr {
    let node = dice.number(0..=NODES.len() - 1);
    let both = match dice.number(0..=9) {
        0..=5 => pod_addresses(node, dice.number(0..=PODS_MAX)),
        6 | 7 => node_addresses(node, dice.chance(30)),
        _ => outside_addresses(dice.number(0..=5)),
    };
    *dice.pick(&both)
}

/// Sometimes the annotation of what is only tried out.
pub(super) fn maybe_audit(dice: &mut Dice, percent: u32, object: &mut Value) {
    if dice.chance(percent) {
        let value = if dice.chance(85) { "true" } else { "false" };
        object["metadata"]["annotations"] = json!({AUDIT: value});
    }
}

/// A Namespace.
pub(super) fn namespace(dice: &mut Dice, name: &str) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": labels(dice)},
    });
    maybe_audit(dice, 8, &mut object);
    object
}

/// A node, by its place in [`NODES`].
pub(super) fn node(dice: &mut Dice, i: usize) -> Value {
    let mut addresses = Vec::new();
    let mut add = |kind: &str, both: [IpAddr; 2]| {
        addresses.extend(both.map(|addr| json!({"type": kind, "address": addr})));
    };
    add("InternalIP", node_addresses(i, false));
    if dice.chance(40) {
        add("ExternalIP", node_addresses(i, true));
    }
    if dice.chance(30) {
        addresses.push(json!({"type": "Hostname", "address": NODES[i]}));
    }
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": NODES[i], "labels": labels(dice),
            "annotations": {"sluice.dev/vtep-mac": format!("0a:00:00:00:00:{:02x}", i + 1)},
        },
        "spec": {"podCIDRs": [format!("10.244.{i}.0/24"), format!("fd00:10:244:{i}::/64")]},
        "status": {"addresses": addresses},
    })
}

/// A pod by its number, which is in its name and address.
pub(super) fn pod(dice: &mut Dice, namespace: &str, number: usize) -> Value {
    let node = dice.number(0..=NODES.len() - 1);
    let is_on_host = dice.chance(10);
    let mut ips = if is_on_host {
        node_addresses(node, false).to_vec()
    } else {
        // Now and then another pod's address.
        let of = if dice.chance(8) { dice.number(0..=number) } else { number };
        pod_addresses(node, of).to_vec()
    };
    if dice.chance(15) {
        ips.remove(dice.number(0..=1));
    }
    let ips: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": format!("p{number}"), "labels": labels(dice)},
        "spec": {"containers": dice.some(1..=2, container)},
        "status": {"phase": "Running", "podIP": ips[0]["ip"], "podIPs": ips},
    });
    if dice.chance(80) {
        let seconds = dice.number(0..=2);
        object["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:0{seconds}Z"));
    }
    if is_on_host {
        object["spec"]["hostNetwork"] = json!(true);
    }
    if is_on_host || dice.chance(90) {
        object["spec"]["nodeName"] = json!(NODES[node]);
    }
    if dice.chance(8) {
        object["status"]["phase"] = json!(dice.pick(&["Failed", "Succeeded", "Pending"]));
    }
    if dice.chance(35) {
        let mut sidecar = container(dice);
        if dice.chance(50) {
            sidecar["restartPolicy"] = json!("Always");
        }
        object["spec"]["initContainers"] = json!([sidecar]);
    }
    object
}

/// A container; its ports have different names.
fn container(dice: &mut Dice) -> Value {
    let mut ports = Vec::new();
    for name in PORT_NAMES {
        if dice.chance(40) {
            let mut port = json!({"name": name, "containerPort": dice.pick(&PORTS)});
            if dice.chance(50) {
                port["protocol"] = json!(dice.pick(&["TCP", "UDP", "SCTP"]));
            }
            ports.push(port);
        }
    }
    json!({"name": format!("c{}", dice.number(0..=9999)), "ports": ports})
}
