use super::*;
use serde_json::{Value, json};

fn findings(spec: Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let policy = json!({"metadata": {"name": "p"}, "spec": spec});
    let policy = serde_json::from_value(with_kind(policy)).unwrap();
    refusals(&policy, &mut findings);
    assert!(findings.iter().all(|finding| finding.expected.is_some()), "{findings:?}");
    findings
}

fn with_kind(mut policy: Value) -> Value {
    policy["apiVersion"] = "networking.k8s.io/v1".into();
    policy["kind"] = "NetworkPolicy".into();
    policy
}

fn paths(spec: Value) -> Vec<String> {
    findings(spec).into_iter().map(|finding| finding.path).collect()
}

fn from(peer: Value) -> Value {
    json!({"podSelector": {}, "ingress": [{}, {"from": [{"podSelector": {}}, {"podSelector": {}}, peer]}]})
}

fn port(port: Value) -> Value {
    json!({"podSelector": {}, "egress": [{"ports": [{}, port]}]})
}

#[test]
fn what_kubernetes_takes_is_taken() {
    let rule = json!({
        "from": [
            {"podSelector": {}}, {"namespaceSelector": {}},
            {"podSelector": {"matchLabels": {"a": "b"}}, "namespaceSelector": {}},
            {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/9", "10.128.0.0/9"]}},
            {"ipBlock": {"cidr": "fd00::/8", "except": ["fd00:1::/32", "fd00:2::/32"]}},
            {"ipBlock": {"cidr": "::/0"}}, {"ipBlock": {"cidr": "192.0.2.1/32"}},
        ],
        "ports": [
            {}, {"protocol": "UDP"}, {"port": 1}, {"port": 65535, "protocol": "SCTP"},
            {"port": "http"}, {"port": 80, "endPort": 80}, {"port": 80, "endPort": 90},
        ],
    });
    for spec in [
        json!({}),
        json!({"podSelector": {}}),
        json!({"podSelector": {}, "policyTypes": [], "ingress": [], "egress": [{}]}),
        json!({"policyTypes": ["Egress", "Ingress"], "ingress": [rule]}),
    ] {
        assert_eq!(findings(spec.clone()), [], "{spec}");
    }
    refusals(&NetworkPolicy::default(), &mut Vec::new());
}

#[test]
fn peers_that_cannot_be_are_named() {
    let bad = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
    let at = |path: &str| format!("spec.ingress[1].from[2]{path}");
    for (peer, path) in [
        (json!({}), ""),
        (json!({"podSelector": bad}), ".podSelector.matchExpressions[0].operator"),
        (json!({"namespaceSelector": bad}), ".namespaceSelector.matchExpressions[0].operator"),
        (json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}), ""),
        (json!({"namespaceSelector": {}, "ipBlock": {"cidr": "fd00::/8"}}), ""),
        (json!({"ipBlock": {}}), ".ipBlock.cidr"),
        (json!({"ipBlock": {"cidr": "10.0.0.0"}}), ".ipBlock.cidr"),
        (json!({"ipBlock": {"cidr": "10.0.0.0/33"}}), ".ipBlock.cidr"),
        (json!({"ipBlock": {"cidr": "x"}}), ".ipBlock.cidr"),
        (json!({"ipBlock": {"cidr": "10.0.0.1/8"}}), ".ipBlock.cidr"),
        (json!({"ipBlock": {"cidr": "010.0.0.0/8"}}), ".ipBlock.cidr"),
        (json!({"ipBlock": {"cidr": "10.0.0.0/08"}}), ".ipBlock.cidr"),
        (
            json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.01.0.0/16"]}}),
            ".ipBlock.except[0]",
        ),
        (json!({"ipBlock": {"cidr": "fd00::1/64"}}), ".ipBlock.cidr"),
        (json!({"ipBlock": {"cidr": "::ffff:10.0.0.0/104"}}), ".ipBlock.cidr"),
        (
            json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}),
            ".ipBlock.except[0]",
        ),
        (
            json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}),
            ".ipBlock.except[0]",
        ),
        (json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["0.0.0.0/0"]}}), ".ipBlock.except[0]"),
        (json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fd00::/9"]}}), ".ipBlock.except[0]"),
        (json!({"ipBlock": {"cidr": "::/0", "except": ["10.0.0.0/8"]}}), ".ipBlock.except[0]"),
        (json!({"ipBlock": {"cidr": "fd00::/8", "except": ["fe00::/9"]}}), ".ipBlock.except[0]"),
        (
            json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.1/16"]}}),
            ".ipBlock.except[0]",
        ),
        (
            json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", ""]}}),
            ".ipBlock.except[1]",
        ),
        (
            json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.2.0.0/15", "10.3.0.0/16"]}}),
            ".ipBlock.except[1]",
        ),
        (
            json!({"ipBlock": {"cidr": "fd00::/8", "except": ["fd00:1:2::/48", "fd00:1::/32"]}}),
            ".ipBlock.except[0]",
        ),
    ] {
        assert_eq!(paths(from(peer.clone())), [at(path)], "{peer}");
    }
}

#[test]
fn host_bits_and_overlaps_say_what_is_meant() {
    let found = findings(from(json!({"ipBlock": {"cidr": "10.1.2.3/8"}})));
    assert_eq!(found[0].expected.as_deref(), Some("10.0.0.0/8"));
    let found = findings(from(json!({"ipBlock": {"cidr": "2001:db8::1/32"}})));
    assert_eq!(found[0].expected.as_deref(), Some("2001:db8::/32"));
    let excepts = ["10.5.0.0/16", "10.0.0.0/9", "10.6.0.0/16", "10.128.0.0/9"];
    let found = findings(from(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": excepts}})));
    let at = "spec.ingress[1].from[2].ipBlock.except";
    let messages: Vec<_> = found.iter().map(|one| one.message.as_str()).collect();
    let expected = ["10.5.0.0/16", "10.6.0.0/16"]
        .map(|inner| format!("{inner} overlaps 10.0.0.0/9 of {at}[1]"));
    assert_eq!(messages, expected);
}

#[test]
fn ports_that_cannot_be_are_named() {
    for (bad, field) in [
        (json!({"protocol": "tcp"}), "protocol"),
        (json!({"protocol": "ICMP"}), "protocol"),
        (json!({"port": 0}), "port"),
        (json!({"port": 65536}), "port"),
        (json!({"port": "HTTP"}), "port"),
        (json!({"port": "80"}), "port"),
        (json!({"port": "a-name-too-long-x"}), "port"),
        (json!({"port": 80, "endPort": 79}), "endPort"),
        (json!({"port": 80, "endPort": 65536}), "endPort"),
        (json!({"port": "http", "endPort": 90}), "endPort"),
        (json!({"endPort": 90}), "endPort"),
    ] {
        let expected = format!("spec.egress[0].ports[1].{field}");
        assert_eq!(paths(port(bad.clone())), [expected], "{bad}");
    }
}

#[test]
fn subjects_and_types_that_cannot_be_are_named() {
    let bad = json!({"podSelector": {"matchLabels": {"a": "b c"}}});
    assert_eq!(paths(bad), ["spec.podSelector.matchLabels.a"]);
    assert_eq!(paths(json!({"policyTypes": ["Ingress", "egress"]})), ["spec.policyTypes[1]"]);
    let three = json!({"policyTypes": ["Ingress", "Egress", "Ingress"]});
    assert_eq!(paths(three), ["spec.policyTypes"]);
}

#[test]
fn what_is_too_much_is_refused_by_one_finding() {
    let many = |value: Value, max: usize| vec![value; max + 1];
    let peer = json!({"ipBlock": {"cidr": "10.0.0.0/8"}});
    for (spec, path) in [
        (json!({"ingress": [{}, {"from": many(peer.clone(), 9_999)}]}), "spec.ingress[1].from"),
        (json!({"ingress": many(json!({}), RULES_MAX)}), "spec.ingress"),
        (json!({"egress": [{"to": many(peer.clone(), PEERS_MAX)}]}), "spec.egress[0].to"),
        (
            json!({"ingress": [{"ports": many(json!({"port": 1}), PORTS_MAX)}]}),
            "spec.ingress[0].ports",
        ),
        (
            json!({"ingress": [{"from": [{"ipBlock": {"cidr": "::/0", "except": many("1::/64".into(), EXCEPTS_MAX)}}]}]}),
            "spec.ingress[0].from[0].ipBlock.except",
        ),
    ] {
        assert_eq!(paths(spec), [path]);
    }
    assert_eq!(paths(json!({"egress": [{"to": vec![peer; PEERS_MAX]}]})), [""; 0]);
    let bad = json!({"ingress": [{"from": vec![json!({}); 900]}, {"from": vec![json!({}); 900]}]});
    assert_eq!(paths(bad).len(), FINDINGS_MAX);
}
