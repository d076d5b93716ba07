use super::*;
use crate::cluster::Cluster;
use crate::diagnostic::Finding;
use crate::object::{Key, Kind, Object, decode};
use serde_json::{Value, json};

fn object(kind: Kind, spec: &Value) -> Object {
    let metadata = json!({"name": "p", "namespace": "shop"});
    decode(kind, &json!({"metadata": metadata, "spec": spec})).unwrap()
}

/// What a cluster makes of a policy, and what it finds wrong with it.
fn applied(object: &Object) -> (NetworkPolicy, Vec<Finding>) {
    assert_eq!(crate::validate::refusals(object), [], "{object:?}");
    let mut cluster = Cluster::default();
    cluster.apply(object, None);
    let findings = cluster.findings().map(|(_, finding)| finding.clone()).collect();
    (NetworkPolicy::clone(cluster.network_policy(&object.key()).unwrap()), findings)
}

fn v1(spec: Value) -> NetworkPolicy {
    let (policy, findings) = applied(&object(Kind::NetworkPolicy, &spec));
    assert_eq!(findings, []);
    policy
}

fn of_cluster(spec: Value) -> (NetworkPolicy, Vec<Finding>) {
    let mut whole = json!({"tier": "Admin", "priority": 5, "subject": {"namespaces": {}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    applied(&object(Kind::ClusterNetworkPolicy, &whole))
}

fn labels(key: &str, value: &str) -> Value {
    json!({"matchLabels": {key: value}})
}

fn selector(key: &str, value: &str) -> Selector {
    Selector::of(&serde_json::from_value(labels(key, value)).unwrap()).unwrap()
}

fn pods(namespaces: NamespaceSelector, pods: Selector) -> PodSelector {
    PodSelector { namespaces, pods }
}

fn own() -> NamespaceSelector {
    NamespaceSelector::Named("shop".into())
}

fn block(net: &str, except: &[&str]) -> Peer {
    let except = except.iter().map(|net| net.parse().unwrap()).collect();
    Peer::Block(Block { net: net.parse().unwrap(), except })
}

#[test]
fn types_are_ingress_and_egress_where_there_are_rules() {
    for (spec, expected) in [
        (json!({}), (true, false)),
        (json!({"podSelector": {}, "egress": []}), (true, false)),
        (json!({"podSelector": {}, "egress": [{}]}), (true, true)),
        (json!({"podSelector": {}, "ingress": [{}], "policyTypes": []}), (true, false)),
        (json!({"podSelector": {}, "egress": [{}], "policyTypes": []}), (true, true)),
        (json!({"podSelector": {}, "policyTypes": ["Ingress"]}), (true, false)),
        (json!({"podSelector": {}, "policyTypes": ["Egress"]}), (false, true)),
        (json!({"podSelector": {}, "policyTypes": ["Egress", "Ingress"]}), (true, true)),
    ] {
        let policy = v1(spec.clone());
        assert_eq!((policy.ingress.is_some(), policy.egress.is_some()), expected, "{spec}");
        assert_eq!(policy.subject, pods(own(), Selector::default()));
        assert_eq!(
            (policy.tier, policy.is_audited, policy.is_refused),
            (Tier::Namespaced, false, false)
        );
    }
    let unheard = json!({"policyTypes": ["Egress"], "ingress": [{}]});
    let (policy, findings) = applied(&object(Kind::NetworkPolicy, &unheard));
    assert_eq!((policy.ingress, policy.egress), (None, Some(vec![])));
    assert_eq!(findings[0].path, "spec.ingress");
    let unheard = json!({"policyTypes": ["Ingress"], "egress": [{}]});
    let (policy, findings) = applied(&object(Kind::NetworkPolicy, &unheard));
    assert_eq!(
        (policy.ingress, policy.egress, &*findings[0].path),
        (Some(vec![]), None, "spec.egress")
    );
}

#[test]
fn selectors_combine_as_the_api_says() {
    let everything = Selector::default;
    let any = NamespaceSelector::Labels(everything());
    let of_a = NamespaceSelector::Labels(selector("a", "1"));
    for (peer, expected) in [
        (json!({"podSelector": {}}), pods(own(), everything())),
        (json!({"podSelector": labels("b", "2")}), pods(own(), selector("b", "2"))),
        (json!({"namespaceSelector": {}}), pods(any.clone(), everything())),
        (json!({"namespaceSelector": labels("a", "1")}), pods(of_a.clone(), everything())),
        (
            json!({"namespaceSelector": {}, "podSelector": labels("b", "2")}),
            pods(any, selector("b", "2")),
        ),
        (
            json!({"namespaceSelector": labels("a", "1"), "podSelector": labels("b", "2")}),
            pods(of_a.clone(), selector("b", "2")),
        ),
        (
            json!({"namespaceSelector": labels("a", "1"), "podSelector": {}}),
            pods(of_a, everything()),
        ),
    ] {
        let policy = v1(json!({"podSelector": labels("c", "3"), "egress": [{"to": [peer]}]}));
        assert_eq!(policy.subject, pods(own(), selector("c", "3")));
        let [rule] = &policy.egress.unwrap()[..] else { panic!("one rule") };
        assert_eq!(rule.peers, Peers::Of(vec![Peer::Pods(expected)]), "{peer}");
        assert_eq!((rule.action, &rule.ports), (Action::Accept, &None));
    }
}

#[test]
fn peers_that_are_not_told_are_all() {
    for (rule, peers) in [
        (json!({}), Peers::Any),
        (json!({"from": []}), Peers::Any),
        (
            json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.2.0.0/16", "10.1.0.0/16"]}},
                {"ipBlock": {"cidr": "fd00::/8", "except": ["fd00:1::/32"]}}]}),
            Peers::Of(vec![
                block("10.0.0.0/8", &["10.1.0.0/16", "10.2.0.0/16"]),
                block("fd00::/8", &["fd00:1::/32"]),
            ]),
        ),
    ] {
        let policy = v1(json!({"podSelector": {}, "ingress": [rule, {"ports": []}]}));
        let accept = |peers| Rule { name: None, action: Action::Accept, peers, ports: None };
        assert_eq!(policy.ingress, Some(vec![accept(peers), accept(Peers::Any)]));
    }
}

#[test]
fn ports_are_of_tcp_unless_they_are_of_another() {
    let ports = json!([
        {}, {"protocol": "UDP"}, {"port": 80}, {"port": 80, "endPort": 90, "protocol": "SCTP"},
        {"port": "web"}, {"port": "dns", "protocol": "UDP"},
    ]);
    let policy = v1(json!({"podSelector": {}, "ingress": [{"ports": ports}]}));
    let of = |protocol, ports| PortMatch { protocol: Some(protocol), ports };
    let expected = vec![
        of(Protocol::Tcp, Ports::Any),
        of(Protocol::Udp, Ports::Any),
        of(Protocol::Tcp, Ports::Range(80, 80)),
        of(Protocol::Sctp, Ports::Range(80, 90)),
        of(Protocol::Tcp, Ports::Named("web".into())),
        of(Protocol::Udp, Ports::Named("dns".into())),
    ];
    assert_eq!(policy.ingress.unwrap()[0].ports, Some(expected));
}

#[test]
fn policies_of_the_cluster_are_in_tiers_and_say_nothing_without_rules() {
    let (policy, _) = of_cluster(json!({}));
    assert_eq!((policy.tier, &policy.ingress, &policy.egress), (Tier::Admin(5), &None, &None));
    assert_eq!(
        policy.subject,
        pods(NamespaceSelector::Labels(Selector::default()), Selector::default())
    );
    let subject =
        json!({"pods": {"namespaceSelector": labels("a", "1"), "podSelector": labels("b", "2")}});
    let (policy, _) = of_cluster(json!({"tier": "Baseline", "priority": 1000, "subject": subject}));
    assert_eq!(policy.tier, Tier::Baseline(1000));
    let of_a = NamespaceSelector::Labels(selector("a", "1"));
    assert_eq!(policy.subject, pods(of_a, selector("b", "2")));
}

#[test]
fn peers_and_ports_of_the_cluster() {
    let (policy, findings) = of_cluster(json!({
        "ingress": [{"name": "x", "action": "Pass",
            "from": [{"namespaces": labels("a", "1")}, {"pods": {"podSelector": labels("b", "2")}}],
            "protocols": [{"tcp": {"destinationPort": {"number": 80}}}, {"destinationNamedPort": "web"},
                {"udp": {"destinationPort": {"range": {"start": 1, "end": 9}}}},
                {"sctp": {"destinationPort": {"number": 7}}}]}],
        "egress": [{"action": "Accept", "to": [{"nodes": labels("n", "1")},
            {"networks": ["10.0.0.0/8", "fd00::/8"]}, {"domainNames": ["*.Example.ORG.", "a.b"]}]}],
    }));
    assert_eq!(findings, []);
    let [ingress] = &policy.ingress.unwrap()[..] else { panic!("one rule") };
    assert_eq!((ingress.name.as_deref(), ingress.action), (Some("x"), Action::Pass));
    let everything = Selector::default;
    let peers = vec![
        Peer::Pods(pods(NamespaceSelector::Labels(selector("a", "1")), everything())),
        Peer::Pods(pods(NamespaceSelector::Labels(everything()), selector("b", "2"))),
    ];
    assert_eq!(ingress.peers, Peers::Of(peers));
    let of = |protocol, ports| PortMatch { protocol, ports };
    let ports = vec![
        of(Some(Protocol::Tcp), Ports::Range(80, 80)),
        of(None, Ports::Named("web".into())),
        of(Some(Protocol::Udp), Ports::Range(1, 9)),
        of(Some(Protocol::Sctp), Ports::Range(7, 7)),
    ];
    assert_eq!(ingress.ports, Some(ports));
    let [egress] = &policy.egress.unwrap()[..] else { panic!("one rule") };
    let domain =
        |name: &str, is_wildcard| Peer::Domain(DomainName { name: name.into(), is_wildcard });
    let peers = vec![
        Peer::Nodes(selector("n", "1")),
        block("10.0.0.0/8", &[]),
        block("fd00::/8", &[]),
        domain("example.org", true),
        domain("a.b", false),
    ];
    assert_eq!((&egress.peers, &egress.ports), (&Peers::Of(peers), &None));
}

#[test]
fn kinds_that_are_not_known_fail_closed() {
    let known = json!({"namespaces": {}});
    let tcp = json!({"tcp": {"destinationPort": {"number": 80}}});
    for (peer, protocol, path) in [
        (json!({"moons": {}}), tcp.clone(), "to[1]"),
        (json!({}), tcp.clone(), "to[1]"),
        (known.clone(), json!({"icmp": {}}), "protocols[0]"),
        (known.clone(), json!({"tcp": {}}), "protocols[0]"),
        (known.clone(), json!({"udp": {"destinationPort": {"set": 1}}}), "protocols[0]"),
    ] {
        for (word, action) in
            [("Accept", Action::Accept), ("Deny", Action::Deny), ("Pass", Action::Deny)]
        {
            let rule = json!({"action": word, "to": [known, peer], "protocols": [protocol]});
            let (policy, findings) = of_cluster(json!({"egress": [rule]}));
            assert_eq!(findings.len(), 1);
            assert_eq!(findings[0].path, format!("spec.egress[0].{path}"));
            let [rule] = &policy.egress.unwrap()[..] else { panic!("one rule") };
            assert_eq!(rule.action, action);
            match action {
                Action::Accept => assert_eq!(rule.peers, Peers::Of(vec![])),
                _ => assert_eq!((&rule.peers, &rule.ports), (&Peers::Any, &None)),
            }
        }
    }
    // A peer of egress only is none of ingress.
    let rule = json!({"action": "Deny", "from": [{"networks": ["10.0.0.0/8"]}]});
    let (policy, findings) = of_cluster(json!({"ingress": [rule]}));
    assert_eq!((findings.len(), &policy.ingress.unwrap()[0].peers), (1, &Peers::Any));
}

#[test]
fn annotations_audit() {
    for kind in [Kind::NetworkPolicy, Kind::ClusterNetworkPolicy] {
        for (text, is_audited, len) in [("true", true, 0), ("false", false, 0), ("1", false, 1)] {
            let spec = json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}});
            let mut object = object(kind, &spec);
            let annotations = [("sluice.dev/policy-audit".to_owned(), text.to_owned())];
            object.metadata_mut().annotations = Some(annotations.into());
            let (policy, findings) = applied(&object);
            assert_eq!((policy.is_audited, findings.len()), (is_audited, len), "{text}");
            let mut cluster = Cluster::default();
            cluster.refuse(&object.key(), Some(&object));
            assert_eq!(cluster.network_policy(&object.key()).unwrap().is_audited, is_audited);
        }
    }
}

/// What stands for a policy that is refused.
fn refusal(key: &Key, rest: Option<&Object>) -> NetworkPolicy {
    let mut cluster = Cluster::default();
    cluster.refuse(key, rest);
    assert_eq!(cluster.take_changes().policies, [key.clone()].into());
    let policy = NetworkPolicy::clone(cluster.network_policy(key).unwrap());
    assert!(policy.is_refused && !policy.is_audited);
    policy
}

#[test]
fn a_refused_policy_denies_to_the_pods_that_it_selects() {
    let key = Key::parse("NetworkPolicy shop/p").unwrap();
    let of = |spec: Value| refusal(&key, Some(&object(Kind::NetworkPolicy, &spec)));
    let bad = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
    for (spec, selected, directions) in [
        (json!({"podSelector": labels("a", "1")}), selector("a", "1"), (true, false)),
        (
            json!({"podSelector": labels("a", "1"), "egress": [{}]}),
            selector("a", "1"),
            (true, true),
        ),
        (json!({"podSelector": labels("a", "b c")}), Selector::default(), (true, false)),
        (
            json!({"podSelector": bad, "policyTypes": ["Egress"]}),
            Selector::default(),
            (false, true),
        ),
        (json!({"policyTypes": ["egress"]}), Selector::default(), (true, true)),
    ] {
        let policy = of(spec.clone());
        assert_eq!(
            (policy.tier, &policy.subject),
            (Tier::Namespaced, &pods(own(), selected)),
            "{spec}"
        );
        assert_eq!(policy.ingress, directions.0.then(Vec::new), "{spec}");
        assert_eq!(policy.egress, directions.1.then(Vec::new), "{spec}");
    }
    let policy = refusal(&key, None);
    assert_eq!(policy.subject, pods(own(), Selector::default()));
    assert_eq!((policy.ingress, policy.egress), (Some(vec![]), Some(vec![])));
}

#[test]
fn a_refused_policy_of_the_cluster_denies_first() {
    let key = Key::parse("ClusterNetworkPolicy p").unwrap();
    let of = |spec: Value| refusal(&key, Some(&object(Kind::ClusterNetworkPolicy, &spec)));
    let everybody = || pods(NamespaceSelector::Labels(Selector::default()), Selector::default());
    let of_a = pods(NamespaceSelector::Labels(selector("a", "1")), Selector::default());
    let subject = json!({"namespaces": labels("a", "1")});
    let two = json!({"namespaces": {}, "pods": {"podSelector": {}}});
    for (spec, priority, subject, directions) in [
        (
            json!({"priority": 7, "subject": subject, "ingress": [{}]}),
            7,
            of_a.clone(),
            (true, false),
        ),
        (json!({"priority": 1001, "subject": subject, "egress": [{}]}), 0, of_a, (false, true)),
        (json!({"priority": -1, "subject": two}), 0, everybody(), (true, true)),
        (json!({"subject": {"namespaces": labels("a", "b c")}}), 0, everybody(), (true, true)),
        (json!({"subject": {"pods": {"namespaceSelector": {}}}}), 0, everybody(), (true, true)),
    ] {
        let policy = of(spec.clone());
        assert_eq!((policy.tier, policy.subject), (Tier::Admin(priority), subject), "{spec}");
        let deny = Rule { name: None, action: Action::Deny, peers: Peers::Any, ports: None };
        assert_eq!(policy.ingress, directions.0.then(|| vec![deny.clone()]), "{spec}");
        assert_eq!(policy.egress, directions.1.then(|| vec![deny]), "{spec}");
    }
    assert_eq!(refusal(&key, None).subject, everybody());
    let tier = |tier: &str| of(json!({"tier": tier, "priority": 7, "subject": {}})).tier;
    assert_eq!(tier("Baseline"), Tier::Baseline(7));
    assert_eq!((tier("Admin"), tier("baseline")), (Tier::Admin(7), Tier::Admin(7)));
}

#[test]
fn refusals_are_replaced_and_removed_and_changes_are_told() {
    let mut cluster = Cluster::default();
    let good = object(Kind::NetworkPolicy, &json!({"podSelector": {}, "egress": [{}]}));
    let key = good.key();
    cluster.refuse(&key, None);
    assert_eq!(cluster.take_changes().policies, [key.clone()].into());
    cluster.refuse(&key, None);
    assert!(cluster.take_changes().is_empty());
    cluster.apply(&good, None);
    assert!(!cluster.network_policy(&key).unwrap().is_refused);
    assert_eq!(cluster.take_changes().policies, [key.clone()].into());
    cluster.apply(&good, None);
    assert!(cluster.take_changes().is_empty());
    let admin = json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}});
    let admin = object(Kind::ClusterNetworkPolicy, &admin);
    cluster.apply(&admin, None);
    let counts = [Kind::NetworkPolicy, Kind::ClusterNetworkPolicy].map(|kind| cluster.count(kind));
    assert_eq!((counts, cluster.network_policies().count()), ([1, 1], 2));
    assert_eq!(cluster.everything().policies, [key.clone(), admin.key()].into());
    cluster.take_changes();
    cluster.delete(&key);
    assert_eq!(
        (cluster.take_changes().policies, cluster.network_policy(&key)),
        ([key].into(), None)
    );
    // Others cannot be refused.
    let pod = Key::parse("Pod shop/p").unwrap();
    cluster.refuse(&pod, None);
    assert!(cluster.take_changes().is_empty());
    let namespace = json!({"metadata": {"name": "shop", "labels": {"a": "1"}}});
    let namespace = decode(Kind::Namespace, &namespace).unwrap();
    cluster.apply(&namespace, None);
    assert_eq!(cluster.take_changes().namespaces, ["shop".into()].into());
    assert_eq!(cluster.namespace("shop").unwrap().labels["a"], "1");
    cluster.delete(&namespace.key());
    assert_eq!(cluster.take_changes().namespaces, ["shop".into()].into());
    assert_eq!(cluster.namespaces().count(), 0);
}
