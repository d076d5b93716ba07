//! Policies that name more than any should.

use super::policy::{pod, policy};
use super::world::World;
use super::*;
use crate::object::Kind;
use serde_json::{Value, json};
use sluice_tables::policy::{Judgment, PortKey, Verdict, judge};
use sluice_tables::{RuleId, V4};

const POD: [u8; 4] = [10, 1, 0, 7];

fn judged(world: &World, src: [u8; 4], dst: [u8; 4]) -> Judgment {
    judge::<V4>(world.compiler.tables(), &src, &dst, PortKey::of(6, 80))
}

/// The `n`th address outside.
fn outside(n: u32) -> [u8; 4] {
    (0x6440_0000 + n).to_be_bytes()
}

fn address(addr: [u8; 4]) -> String {
    IpAddr::from(addr).to_string()
}

/// Rules of a thousand peers each.
fn rules(way: &str, peers: impl Iterator<Item = Value>) -> Vec<Value> {
    let peers: Vec<Value> = peers.collect();
    peers.chunks(1000).map(|peers| json!({way: peers})).collect()
}

fn findings(world: &World) -> Vec<String> {
    world.compiler.findings().map(|(key, finding)| format!("{key}: {finding:?}")).collect()
}

/// Who has lost one of many peers to its exception is matched by the others.
#[test]
fn blocks_with_exceptions_may_overlap_as_they_please() {
    let mut world = World::default();
    pod(&mut world, "a", "web", Some(POD));
    let peer =
        |n| json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": [address(outside(n)) + "/32"]}});
    policy(&mut world, "one", json!({"podSelector": {}, "ingress": [{"from": [peer(1)]}]}));
    world.compile();
    assert_eq!(judged(&world, outside(1), POD).ingress.verdict(), Verdict::Deny);
    assert_eq!(judged(&world, outside(2), POD).ingress.verdict(), Verdict::Allow);
    let many = rules("from", (0..4000).map(peer));
    policy(&mut world, "many", json!({"podSelector": {}, "ingress": many}));
    world.compile();
    for n in [0, 1, 999, 3999, 5000] {
        let ingress = judged(&world, outside(n), POD).ingress;
        assert_eq!(ingress.verdict(), Verdict::Allow, "{n}");
    }
    assert_eq!(findings(&world), [""; 0]);
    // Blocks are nested or apart: 4000 of them make that many ranges, and each is
    // in two blocks.
    let sizes = world.compiler.policy_sizes();
    assert!(sizes.bytes < 4 << 20, "{sizes:?}");
    world.cluster.delete(&Name::new("shop", "many").key(Kind::NetworkPolicy));
    world.compile();
    assert_eq!(judged(&world, outside(1), POD).ingress.verdict(), Verdict::Deny);
    assert_eq!(judged(&world, outside(3), POD).ingress.verdict(), Verdict::Allow);
}

/// An exception in one peer is none in another, of the same rule or of others.
#[test]
fn an_exception_is_its_own_peers() {
    let mut world = World::default();
    pod(&mut world, "a", "web", Some(POD));
    let block = |cidr: &str, except: &[&str]| json!({"ipBlock": {"cidr": cidr, "except": except}});
    let peers = [
        block("100.64.0.0/16", &["100.64.1.0/24", "100.64.2.0/24"]),
        block("100.64.0.0/16", &["100.64.2.0/24", "100.64.3.0/24"]),
        block("100.64.2.128/25", &["100.64.2.192/26"]),
    ];
    policy(&mut world, "p", json!({"podSelector": {}, "ingress": [{"from": peers}]}));
    world.compile();
    for (addr, expected) in [
        ([100, 64, 0, 1], Verdict::Allow),
        ([100, 64, 1, 1], Verdict::Allow),
        ([100, 64, 2, 1], Verdict::Deny),
        ([100, 64, 2, 129], Verdict::Allow),
        ([100, 64, 2, 193], Verdict::Deny),
        ([100, 64, 3, 1], Verdict::Allow),
        ([100, 65, 0, 1], Verdict::Deny),
    ] {
        assert_eq!(judged(&world, addr, POD).ingress.verdict(), expected, "{addr:?}");
    }
}

/// Whoever writes policies of a namespace cannot crowd out those of the cluster.
#[test]
fn peers_for_whom_there_is_no_room_are_denied() {
    const SECRET: [u8; 4] = [10, 1, 0, 9];
    let mut world = World::default();
    pod(&mut world, "a", "web", Some(POD));
    pod(&mut world, "secret", "secret", Some(SECRET));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    world.apply(Kind::Namespace, namespace);
    let secret =
        json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "secret"}}});
    world.apply(
        Kind::ClusterNetworkPolicy,
        json!({
            "apiVersion": "policy.networking.k8s.io/v1beta1", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "guard"},
            "spec": {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
                     "egress": [{"action": "Deny", "to": [{"pods": secret}]}]},
        }),
    );
    world.compile();
    assert_eq!(judged(&world, POD, SECRET).egress.verdict(), Verdict::Deny);
    for number in 0..3 {
        let peers = (0..22_000).map(
            |n| json!({"ipBlock": {"cidr": address(outside(2 * (number * 22_000 + n))) + "/32"}}),
        );
        let spec =
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": rules("to", peers)});
        policy(&mut world, &format!("many-{number}"), spec);
    }
    world.compile();
    let around = json!([{"to": [{"ipBlock": {"cidr": "10.1.0.8/30"}}, {"podSelector": {}}]}]);
    policy(&mut world, "around", json!({"podSelector": {}, "egress": around}));
    world.compile();
    assert_eq!(judged(&world, POD, SECRET).egress.verdict(), Verdict::Deny);
    let all: Vec<_> = (0..66_000).map(|n| judged(&world, POD, outside(2 * n)).egress).collect();
    let beyond = all.iter().filter(|one| one.rule() == RuleId::BEYOND).count();
    assert!(all.iter().any(|one| one.verdict() == Verdict::Allow));
    assert!((1..2000).contains(&beyond), "{beyond}");
    assert!(
        all.iter().all(|one| (one.verdict() == Verdict::Deny) == (one.rule() == RuleId::BEYOND))
    );
    let findings = findings(&world);
    assert!(findings.iter().any(|text| text.contains("too many kinds of peers")), "{findings:?}");
}

/// What is said to one of many peers takes as long as the rules that match it.
#[test]
fn rules_that_all_match_are_looked_at_so_often_and_no_more() {
    let mut world = World::default();
    pod(&mut world, "a", "web", Some(POD));
    for number in 0..6 {
        let rule = |n: u32| {
            let except = address(outside(number * 1000 + n)) + "/32";
            json!({"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [except]}}],
                   "ports": [{"port": 1 + n}]})
        };
        let rules: Vec<_> = (0..1000).map(rule).collect();
        policy(&mut world, &format!("p{number}"), json!({"podSelector": {}, "ingress": rules}));
    }
    world.compile();
    let all: Vec<_> = (0..6000).map(|n| judged(&world, outside(n), POD).ingress).collect();
    let beyond = all.iter().filter(|one| one.rule() == RuleId::BEYOND).count();
    assert!((1..6000).contains(&beyond), "{beyond}");
    assert_eq!(findings(&world).len(), 1);
    world.cluster.delete(&Name::new("shop", "p0").key(Kind::NetworkPolicy));
    for number in 2..6 {
        let name = Name::new("shop", &format!("p{number}"));
        world.cluster.delete(&name.key(Kind::NetworkPolicy));
    }
    world.compile();
    assert_eq!(findings(&world), [""; 0]);
    assert_eq!(judged(&world, outside(7), POD).ingress.verdict(), Verdict::Allow);
}
