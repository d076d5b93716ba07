use super::*;
use serde_json::{Value, json};

/// A policy with one value in the place of another one.
fn with(pointer: &str, value: Value) -> ClusterNetworkPolicy {
    let mut policy = json!({
        "metadata": {"name": "p"},
        "spec": {
            "tier": "Admin", "priority": 1000, "subject": {"namespaces": {}},
            "ingress": [{
                "action": "Pass", "from": [{"pods": {"podSelector": {}}}, {"namespaces": {}}],
                "protocols": [{"tcp": {"destinationPort": {"number": 1}}}, {"destinationNamedPort": "web"}],
            }],
            "egress": [{
                "name": "x", "action": "Accept",
                "to": [{"networks": ["10.0.0.0/8", "fd00::/8"]}, {"nodes": {}},
                    {"domainNames": ["*.Example.org", "a.b."]}, {"namespaces": {}},
                    {"pods": {"namespaceSelector": {}, "podSelector": {}}}],
                "protocols": [{"udp": {"destinationPort": {"range": {"start": 1, "end": 65535}}}}],
            }],
        },
    });
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = policy.pointer_mut(&format!("/spec{parent}")).unwrap();
    match key.parse::<usize>() {
        Ok(index) => parent[index] = value,
        Err(_) => parent[key] = value,
    }
    serde_json::from_value(policy).unwrap()
}

fn paths(policy: &ClusterNetworkPolicy) -> Vec<String> {
    let mut findings = Vec::new();
    refusals(policy, &mut findings);
    assert!(findings.iter().all(|finding| finding.expected.is_some()), "{findings:?}");
    findings.into_iter().map(|finding| finding.path).collect()
}

#[test]
fn what_the_crd_takes_is_taken_and_kinds_that_are_not_known_too() {
    for (pointer, value) in [
        ("/priority", json!(0)),
        ("/tier", json!("Baseline")),
        ("/ingress", json!([])),
        ("/ingress/0/name", json!("x".repeat(100))),
        ("/ingress/0/from/0", json!({})),
        ("/ingress/0/from/0", json!({"networks": ["x"]})),
        ("/egress/0/to/1", json!({"moons": 1})),
        ("/ingress/0/protocols/1", json!({"icmp": {"type": 1}})),
        ("/ingress/0/protocols/1", json!({"sctp": {"sourcePort": 1}})),
        ("/ingress/0/protocols/1", json!({"tcp": {"destinationPort": {"service": "x"}}})),
        ("/egress/0/to/2/domainNames", json!(["*.a-b.c_d.e", "WWW.example.org"])),
        ("/egress/0/to/0/networks", json!(["0.0.0.0/0", "::/0", "192.0.2.1/32"])),
    ] {
        assert_eq!(paths(&with(pointer, value.clone())), [""; 0], "{pointer}: {value}");
    }
}

#[test]
fn what_the_crd_refuses_is_named() {
    let many = |value: Value| Value::from(vec![value; ITEMS_MAX + 1]);
    let rule = json!({"action": "Deny", "from": [{}]});
    let numbers = (0..=ITEMS_MAX).map(|i| format!("10.{i}.0.0/16")).collect::<Vec<_>>();
    for (pointer, value, path) in [
        ("/tier", json!(""), "tier"),
        ("/tier", json!("admin"), "tier"),
        ("/priority", json!(null), "priority"),
        ("/priority", json!(-1), "priority"),
        ("/priority", json!(1001), "priority"),
        ("/subject", json!(null), "subject"),
        ("/subject", json!({}), "subject"),
        ("/subject", json!({"namespaces": {}, "pods": {"podSelector": {}}}), "subject"),
        ("/subject", json!({"pods": {}}), "subject.pods.podSelector"),
        (
            "/subject",
            json!({"namespaces": {"matchLabels": {"a": "b c"}}}),
            "subject.namespaces.matchLabels.a",
        ),
        ("/ingress", many(rule.clone()), "ingress"),
        ("/egress", many(json!({"action": "Deny", "to": [{}]})), "egress"),
        ("/ingress/0/name", json!("x".repeat(101)), "ingress[0].name"),
        ("/ingress/0/action", json!("Allow"), "ingress[0].action"),
        ("/egress/0/action", json!(""), "egress[0].action"),
        ("/ingress/0/from", json!([]), "ingress[0].from"),
        ("/egress/0/to", json!([]), "egress[0].to"),
        ("/ingress/0/from", many(json!({})), "ingress[0].from"),
        ("/egress/0/to", many(json!({})), "egress[0].to"),
        (
            "/ingress/0/from/1",
            json!({"namespaces": {}, "pods": {"podSelector": {}}}),
            "ingress[0].from[1]",
        ),
        (
            "/ingress/0/from/0/pods/namespaceSelector",
            json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
            "ingress[0].from[0].pods.namespaceSelector.matchExpressions[0].operator",
        ),
        ("/ingress/0/protocols", json!([]), "ingress[0].protocols"),
        ("/ingress/0/protocols", many(json!({})), "ingress[0].protocols"),
        ("/ingress/0/protocols/0/udp", json!({}), "ingress[0].protocols[0]"),
        (
            "/ingress/0/protocols/1/destinationNamedPort",
            json!("Web"),
            "ingress[0].protocols[1].destinationNamedPort",
        ),
        (
            "/ingress/0/protocols/0/tcp/destinationPort/number",
            json!(0),
            "ingress[0].protocols[0].tcp.destinationPort.number",
        ),
        (
            "/ingress/0/protocols/0/tcp/destinationPort/number",
            json!(65536),
            "ingress[0].protocols[0].tcp.destinationPort.number",
        ),
        (
            "/ingress/0/protocols/0/tcp/destinationPort/range",
            json!({"start": 1, "end": 2}),
            "ingress[0].protocols[0].tcp.destinationPort",
        ),
        (
            "/egress/0/protocols/0/udp/destinationPort/range/start",
            json!(65535),
            "egress[0].protocols[0].udp.destinationPort.range.end",
        ),
        (
            "/egress/0/protocols/0/udp/destinationPort/range/start",
            json!(0),
            "egress[0].protocols[0].udp.destinationPort.range.start",
        ),
        (
            "/egress/0/protocols/0/udp/destinationPort/range/end",
            json!(65536),
            "egress[0].protocols[0].udp.destinationPort.range.end",
        ),
        (
            "/egress/0/protocols/0/udp/destinationPort/range",
            json!({"start": 5}),
            "egress[0].protocols[0].udp.destinationPort.range.end",
        ),
        (
            "/egress/0/protocols/0/udp/destinationPort/range",
            json!({"end": 5}),
            "egress[0].protocols[0].udp.destinationPort.range.start",
        ),
        ("/egress/0/to/0/nodes", json!({}), "egress[0].to[0]"),
        (
            "/egress/0/to/1/nodes/matchLabels",
            json!({"/": "x"}),
            "egress[0].to[1].nodes.matchLabels./",
        ),
        ("/egress/0/to/0/networks", json!([]), "egress[0].to[0].networks"),
        ("/egress/0/to/0/networks", json!(numbers), "egress[0].to[0].networks"),
        ("/egress/0/to/0/networks/1", json!("10.0.0.0/8"), "egress[0].to[0].networks[1]"),
        ("/egress/0/to/0/networks/1", json!("10.0.0.1/8"), "egress[0].to[0].networks[1]"),
        ("/egress/0/to/0/networks/1", json!("fd00::1/8"), "egress[0].to[0].networks[1]"),
        ("/egress/0/to/0/networks/1", json!("fd00::1"), "egress[0].to[0].networks[1]"),
        ("/egress/0/to/0/networks/1", json!("010.0.0.0/08"), "egress[0].to[0].networks[1]"),
        ("/egress/0/to/2/domainNames", json!([]), "egress[0].to[2].domainNames"),
        ("/egress/0/action", json!("Deny"), "egress[0].to[2].domainNames"),
        ("/egress/0/action", json!("Pass"), "egress[0].to[2].domainNames"),
        (
            "/egress/0/protocols/0",
            json!({"destinationNamedPort": "web"}),
            "egress[0].protocols[0].destinationNamedPort",
        ),
    ] {
        let expected = format!("spec.{path}");
        assert_eq!(paths(&with(pointer, value.clone())), [expected], "{pointer}: {value}");
    }
    let names = [
        "",
        ".",
        "org",
        "org.",
        "*",
        "*.org",
        "*.",
        "a.*.org",
        "www.*",
        "*a.b.org",
        "**.b.org",
        "*.*.b.org",
        "a..b",
        "-a.b",
        "a-.b",
        "a.b..",
        "_a.b",
        "a b.c",
        &format!("{}.b", "x".repeat(64)),
        &format!("{}b", "a.".repeat(127)),
    ];
    for name in names {
        let policy = with("/egress/0/to/2/domainNames/1", json!(name));
        assert_eq!(paths(&policy), ["spec.egress[0].to[2].domainNames[1]"], "{name:?}");
    }
}
