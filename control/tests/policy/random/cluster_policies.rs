use super::Dice;
use super::cluster::{PORT_NAMES, PORTS, maybe_audit};
use super::network_policies::block;
use super::selectors::{namespace_selector, selector};
use serde_json::{Value, json};

/// Names that DNS answers may be for.
pub(super) const DOMAINS: [&str; 5] = [
    "example.com",
    "www.example.com",
    "a.b.example.com",
    "other.example.org",
    "db.a.svc.cluster.local",
];
const PATTERNS: [&str; 7] = [
    "example.com",
    "www.example.com",
    "*.example.com",
    "*.b.example.com",
    "*.ample.com",
    "Other.Example.org.",
    "*.a.svc.cluster.local",
];

/// A ClusterNetworkPolicy.
pub(super) fn cluster_policy(dice: &mut Dice, name: &str) -> Value {
    let version = dice.pick(&["v1alpha2", "v1beta1"]);
    let mut spec = json!({
        "tier": dice.pick(&["Admin", "Baseline"]),
        "priority": dice.pick(&[0, 5, 5, 5, 10, 1000]),
        "subject": pods(dice),
    });
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        if dice.chance(75) {
            spec[direction] = Value::Array(dice.some(0..=3, |dice| rule(dice, peers)));
        }
    }
    let mut object = json!({
        "apiVersion": format!("policy.networking.k8s.io/{version}"),
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    });
    maybe_audit(dice, 12, &mut object);
    object
}

fn rule(dice: &mut Dice, peers: &str) -> Value {
    let action = *dice.pick(&["Accept", "Deny", "Pass"]);
    let mut rule = json!({"action": action});
    let is_named = dice.chance(25);
    let kinds = match (peers, is_named, action) {
        ("from", ..) | (_, true, _) => 1,
        // "DomainNames is only supported for Accept rules."
        (_, _, "Accept") => 4,
        _ => 3,
    };
    rule[peers] = Value::Array(dice.some(1..=2, |dice| peer(dice, kinds)));
    if is_named || dice.chance(50) {
        rule["protocols"] = Value::Array(dice.some(1..=2, |dice| protocol(dice, is_named)));
    }
    if dice.chance(50) {
        rule["name"] = json!(format!("{}-{}", action.to_lowercase(), dice.number(0..=9)));
    }
    rule
}

/// One of the first so many kinds: of pods, nodes, networks, names.
fn peer(dice: &mut Dice, kinds: usize) -> Value {
    if dice.chance(3) {
        return dice.pick(&[json!({}), json!({"services": {"name": "x"}})]).clone();
    }
    match dice.number(0..=kinds) {
        0 | 1 => pods(dice),
        2 => json!({"nodes": selector(dice)}),
        3 => json!({"networks": dice.some(1..=3, block)}),
        _ => json!({"domainNames": dice.some(1..=2, |dice| *dice.pick(&PATTERNS))}),
    }
}

/// What subjects and peers have in common.
fn pods(dice: &mut Dice) -> Value {
    let namespaces = namespace_selector(dice);
    if dice.chance(40) {
        return json!({"namespaces": namespaces});
    }
    json!({"pods": {"namespaceSelector": namespaces, "podSelector": selector(dice)}})
}

fn protocol(dice: &mut Dice, is_named: bool) -> Value {
    if dice.chance(3) {
        return dice.pick(&[json!({}), json!({"icmp": {}})]).clone();
    }
    if is_named && dice.chance(70) {
        return json!({"destinationNamedPort": dice.pick(&PORT_NAMES)});
    }
    let field = *dice.pick(&["tcp", "udp", "sctp"]);
    let (one, other) = (*dice.pick(&PORTS), *dice.pick(&PORTS));
    let port = match dice.number(0..=9) {
        0..=3 => json!({"destinationPort": {"number": one}}),
        4..=7 if one != other => {
            let (start, end) = (one.min(other), one.max(other));
            json!({"destinationPort": {"range": {"start": start, "end": end}}})
        }
        8 if dice.chance(10) => json!({"destinationPort": {}}),
        9 if dice.chance(10) => json!({}),
        _ => json!({"destinationPort": {"range": {"start": 1, "end": 65535}}}),
    };
    json!({field: port})
}
