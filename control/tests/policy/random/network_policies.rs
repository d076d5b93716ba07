use super::Dice;
use super::cluster::{PORT_NAMES, PORTS, any_address, maybe_audit};
use super::selectors::{namespace_selector, selector};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::net::IpAddr;

/// A NetworkPolicy.
pub(super) fn network_policy(dice: &mut Dice, namespace: &str, name: &str) -> Value {
    let mut spec = json!({});
    if !dice.chance(5) {
        spec["podSelector"] = selector(dice);
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        if dice.chance(65) {
            spec[direction] = Value::Array(dice.some(0..=3, |dice| rule(dice, peers)));
        }
    }
    if dice.chance(60) {
        spec["policyTypes"] = match dice.number(0..=3) {
            0 => json!(["Ingress"]),
            1 => json!(["Egress"]),
            2 => json!(["Ingress", "Egress"]),
            _ => json!([]),
        };
    }
    let mut object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    });
    maybe_audit(dice, 12, &mut object);
    object
}

fn rule(dice: &mut Dice, peers: &str) -> Value {
    let mut rule = json!({});
    if dice.chance(85) {
        let least = usize::from(!dice.chance(8));
        let mut some = dice.some(least..=3, peer);
        // The same block again, with other holes.
        let mut nets =
            some.iter().filter_map(|peer| peer["ipBlock"]["cidr"].as_str()?.parse().ok());
        if let Some(net) = nets.next_back().filter(|_| dice.chance(30)) {
            some.push(json!({"ipBlock": with_holes(dice, net)}));
        }
        rule[peers] = Value::Array(some);
    }
    if dice.chance(60) {
        let least = usize::from(!dice.chance(8));
        rule["ports"] = Value::Array(dice.some(least..=3, port));
    }
    rule
}

fn peer(dice: &mut Dice) -> Value {
    match dice.number(0..=3) {
        0 => json!({"podSelector": selector(dice)}),
        1 => json!({"namespaceSelector": namespace_selector(dice)}),
        2 => {
            let namespaces = namespace_selector(dice);
            json!({"namespaceSelector": namespaces, "podSelector": selector(dice)})
        }
        _ => json!({"ipBlock": ip_block(dice)}),
    }
}

fn port(dice: &mut Dice) -> Value {
    let mut port = json!({});
    if dice.chance(50) {
        port["protocol"] = json!(dice.pick(&["TCP", "UDP", "SCTP"]));
    }
    let number = *dice.pick(&PORTS);
    match dice.number(0..=9) {
        0 => {}
        1..=3 => port["port"] = json!(dice.pick(&PORT_NAMES)),
        4..=6 => port["port"] = json!(number),
        _ => {
            port["port"] = json!(number);
            let last = *dice.pick(&PORTS);
            port["endPort"] = json!(last.max(number));
        }
    }
    port
}

/// A block around an address that matters, sometimes with holes.
fn ip_block(dice: &mut Dice) -> Value {
    let net = block(dice);
    with_holes(dice, net)
}

fn with_holes(dice: &mut Dice, net: IpNet) -> Value {
    let mut except = Vec::new();
    if dice.chance(40) {
        for _ in 0..dice.number(1..=2) {
            // In the block, and smaller: the API refuses others.
            let (candidate, tries) = (block(dice), dice.number(1..=8));
            let inner = (0..tries).map(|_| block(dice)).chain([candidate]);
            let is_inner = |inner: &IpNet| net.contains(inner) && *inner != net;
            except.extend(inner.filter(is_inner).take(1));
        }
    }
    match except.is_empty() {
        true => json!({"cidr": net}),
        false => json!({"cidr": net, "except": except}),
    }
}

/// A block without host bits.
pub(super) fn block(dice: &mut Dice) -> IpNet {
    let addr = any_address(dice);
    let len = match addr {
        IpAddr::V4(_) => *dice.pick(&[0, 1, 8, 16, 22, 23, 24, 28, 29, 30, 31, 32]),
        IpAddr::V6(_) => *dice.pick(&[0, 7, 32, 48, 62, 63, 64, 112, 125, 126, 127, 128]),
    };
    IpNet::new(addr, len).expect("a length of the family").trunc()
}
