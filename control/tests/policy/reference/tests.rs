//! The examples of the documentation. Each sentence has its golden case in
//! `cases/`; here is what the evaluator must get right before it judges those.

use super::*;
use serde_json::{Value, json};

fn pod(namespace: &str, name: &str, labels: Value, addr: &str) -> Value {
    json!({
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"nodeName": "n1", "containers": [
            {"name": "c", "ports": [{"name": "redis", "containerPort": 6379}]},
        ]},
        "status": {"podIP": addr},
    })
}

/// The policy of
/// <https://kubernetes.io/docs/concepts/services-networking/network-policies/#networkpolicy-resource>.
fn example() -> Value {
    json!({
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "default", "name": "test-network-policy"},
        "spec": {
            "podSelector": {"matchLabels": {"role": "db"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{
                "from": [
                    {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}},
                    {"namespaceSelector": {"matchLabels": {"project": "myproject"}}},
                    {"podSelector": {"matchLabels": {"role": "frontend"}}},
                ],
                "ports": [{"protocol": "TCP", "port": 6379}],
            }],
            "egress": [{
                "to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}],
                "ports": [{"protocol": "TCP", "port": 5978}],
            }],
        },
    })
}

fn cluster() -> Vec<Value> {
    vec![
        json!({"kind": "Namespace", "metadata": {"name": "default"}}),
        json!({"kind": "Namespace",
               "metadata": {"name": "mine", "labels": {"project": "myproject"}}}),
        json!({"kind": "Node", "metadata": {"name": "n1"},
               "status": {"addresses": [{"type": "InternalIP", "address": "10.9.0.1"}]}}),
        pod("default", "db", json!({"role": "db"}), "10.1.0.1"),
        pod("default", "frontend", json!({"role": "frontend"}), "10.1.0.2"),
        pod("mine", "any", json!({}), "10.1.0.3"),
        pod("default", "other", json!({"role": "other"}), "10.1.0.4"),
    ]
}

fn ask(objects: &[Value], src: &str, dst: &str, protocol: Protocol, port: u16) -> String {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    let answer = judge(&World::of(objects), Question { src, dst, protocol, port });
    format!("{:?}; {}; {}", answer.verdict, answer.egress, answer.ingress)
}

#[test]
fn the_example_of_the_documentation() {
    let mut objects = cluster();
    objects.push(example());
    let redis = |src| ask(&objects, src, "10.1.0.1", Protocol::Tcp, 6379);
    let allowed = "Allow; no policy; NetworkPolicy default/test-network-policy ingress[0]";
    let denied = "Deny; no policy; NetworkPolicy default/test-network-policy default deny ingress";
    for (src, expected) in [
        ("10.1.0.2", allowed),
        ("10.1.0.3", allowed),
        ("10.1.0.4", denied),
        ("172.17.0.1", allowed),
        ("172.17.0.255", allowed),
        ("172.17.1.0", denied),
        ("172.17.1.255", denied),
        ("172.17.2.0", allowed),
        ("172.18.0.0", denied),
    ] {
        assert_eq!(redis(src), expected, "{src}");
    }
    let own = "Allow; no policy; a pod may speak with its own node";
    assert_eq!(redis("10.9.0.1"), own);
    assert_eq!(ask(&objects, "10.1.0.2", "10.1.0.1", Protocol::Tcp, 6380), denied);
    assert_eq!(ask(&objects, "10.1.0.2", "10.1.0.1", Protocol::Udp, 6379), denied);
    assert_eq!(ask(&objects, "10.1.0.2", "10.1.0.1", Protocol::Other, 0), denied);
    assert_eq!(
        ask(&objects, "10.1.0.1", "10.0.0.9", Protocol::Tcp, 5978),
        "Allow; NetworkPolicy default/test-network-policy egress[0]; no policy"
    );
    assert_eq!(
        ask(&objects, "10.1.0.1", "10.0.1.0", Protocol::Tcp, 5978),
        "Deny; NetworkPolicy default/test-network-policy default deny egress; no policy"
    );
}

fn cluster_policy(tier: &str, priority: i32, name: &str, action: &str) -> Value {
    json!({
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "tier": tier, "priority": priority, "subject": {"namespaces": {}},
            "ingress": [{"action": action, "from": [{"namespaces": {}}]}],
        },
    })
}

#[test]
fn tiers_are_asked_in_their_order() {
    let ask = |policies: &[Value]| {
        let mut objects = cluster();
        objects.extend_from_slice(policies);
        ask(&objects, "10.1.0.2", "10.1.0.1", Protocol::Tcp, 80)
    };
    let policy = |tier, priority, name, action| cluster_policy(tier, priority, name, action);
    assert_eq!(ask(&[]), "Allow; no policy; no policy");
    let baseline = policy("Baseline", 1, "base", "Deny");
    let base = "Deny; no policy; ClusterNetworkPolicy base ingress[0]";
    assert_eq!(ask(std::slice::from_ref(&baseline)), base);
    let denied = "Deny; no policy; NetworkPolicy default/test-network-policy default deny ingress";
    assert_eq!(ask(&[baseline.clone(), example()]), denied);
    let pass = policy("Admin", 1, "pass", "Pass");
    assert_eq!(ask(&[baseline.clone(), pass.clone()]), base);
    let admin = "Allow; no policy; ClusterNetworkPolicy admin ingress[0]";
    let accept = policy("Admin", 2, "admin", "Accept");
    assert_eq!(ask(&[baseline.clone(), example(), accept.clone()]), admin);
    assert_eq!(ask(&[accept, pass, example()]), denied);
}

#[test]
fn only_the_admin_tier_stops_a_pod_from_speaking_with_itself() {
    let mut objects = cluster();
    objects.push(example());
    let ask = |objects: &[Value]| ask(objects, "10.1.0.1", "10.1.0.1", Protocol::Tcp, 80);
    let itself = "a pod may speak with itself";
    assert_eq!(ask(&objects), format!("Allow; {itself}; {itself}"));
    objects.push(cluster_policy("Admin", 1, "admin", "Deny"));
    assert_eq!(ask(&objects), format!("Deny; {itself}; ClusterNetworkPolicy admin ingress[0]"));
}

#[test]
fn what_is_tried_out_denies_nothing() {
    let mut objects = cluster();
    let mut tried = example();
    tried["metadata"]["annotations"] = json!({"sluice.dev/policy-audit": "true"});
    objects.push(tried);
    let ask = |objects: &[Value]| ask(objects, "10.1.0.4", "10.1.0.1", Protocol::Tcp, 80);
    let by = "NetworkPolicy default/test-network-policy default deny ingress";
    assert_eq!(ask(&objects), format!("Audit; no policy; {by}"));
    objects.push(cluster_policy("Baseline", 1, "base", "Deny"));
    let base = "ClusterNetworkPolicy base ingress[0]";
    assert_eq!(ask(&objects), format!("Deny; no policy; {base} | {by}"));
    objects[0]["metadata"]["annotations"] = json!({"sluice.dev/policy-audit": "true"});
    assert_eq!(ask(&objects), format!("Audit; no policy; {by}"));
    objects.push(cluster_policy("Admin", 1, "admin", "Deny"));
    assert_eq!(ask(&objects), "Deny; no policy; ClusterNetworkPolicy admin ingress[0]");
}
