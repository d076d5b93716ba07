use super::world::World;
use super::*;
use crate::object::Kind;
use proptest::prelude::*;
use serde_json::json;
use sluice_tables::policy::{PortKey, Verdict, judge};
use sluice_tables::{V4, policy_group};

pub(super) fn policy(world: &mut World, name: &str, spec: serde_json::Value) {
    let metadata = json!({"name": name, "namespace": "shop"});
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec});
    world.apply(Kind::NetworkPolicy, object);
}

pub(super) fn pod(world: &mut World, name: &str, app: &str, ip: Option<[u8; 4]>) {
    let ips: Vec<_> = ip.iter().map(|ip| json!({"ip": IpAddr::from(*ip).to_string()})).collect();
    let metadata = json!({"name": name, "namespace": "shop", "labels": {"app": app}});
    let port = json!({"name": "http", "containerPort": 8000 + name.len()});
    let spec = json!({"containers": [{"name": "c", "ports": [port]}]});
    let status = json!({"phase": "Running", "podIPs": ips,
                        "conditions": [{"type": "Ready", "status": "True"}]});
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status});
    world.apply(Kind::Pod, object);
}

fn verdict(world: &World, src: [u8; 4], dst: [u8; 4]) -> Verdict {
    let judgment = judge::<V4>(world.compiler.tables(), &src, &dst, PortKey::of(6, 80));
    judgment.egress.verdict().max(judgment.ingress.verdict())
}

const CLIENT: [u8; 4] = [192, 0, 2, 1];

/// Rows may come before the first address that needs them.
#[test]
fn a_row_that_no_address_needs_yet_is_in_the_tables() {
    let mut world = World::default();
    policy(&mut world, "deny", json!({"podSelector": {}}));
    world.compile();
    pod(&mut world, "early", "web", None);
    world.compile();
    pod(&mut world, "late", "web", Some([10, 1, 0, 7]));
    world.compile();
    assert_eq!(verdict(&world, CLIENT, [10, 1, 0, 7]), Verdict::Deny);
}

/// What so far selected the subject of a policy only is a peer by a later one.
#[test]
fn a_selector_of_subjects_becomes_one_of_peers() {
    const WEB: [u8; 4] = [10, 1, 0, 7];
    const DB: [u8; 4] = [10, 1, 0, 8];
    let mut world = World::default();
    pod(&mut world, "a", "web", Some(WEB));
    pod(&mut world, "b", "db", Some(DB));
    let web = json!({"matchLabels": {"app": "web"}});
    policy(&mut world, "web", json!({"podSelector": web, "policyTypes": ["Ingress"]}));
    world.compile();
    let db = json!({"matchLabels": {"app": "db"}});
    policy(
        &mut world,
        "db",
        json!({"podSelector": db, "ingress": [{"from": [{"podSelector": web}]}]}),
    );
    world.compile();
    assert_eq!(verdict(&world, WEB, DB), Verdict::Allow);
    assert_eq!(verdict(&world, CLIENT, DB), Verdict::Deny);
    world.cluster.delete(&Name::new("shop", "db").key(Kind::NetworkPolicy));
    world.compile();
    assert_eq!(verdict(&world, CLIENT, DB), Verdict::Allow);
}

/// The first policy of all may find neither a pod nor a node.
#[test]
fn that_there_are_policies_is_told_even_if_they_select_nobody() {
    let mut world = World::default();
    world.compile();
    policy(&mut world, "deny", json!({"podSelector": {}}));
    world.compile();
    assert!(world.compiler.tables().has_policies);
    pod(&mut world, "a", "web", Some([10, 1, 0, 7]));
    world.compile();
    assert!(world.compiler.tables().has_policies);
    world.cluster.delete(&Name::new("shop", "deny").key(Kind::NetworkPolicy));
    world.compile();
    assert!(!world.compiler.tables().has_policies);
}

/// Whose flows are asked about again: those of pods on the node of one that has
/// changed, or all, where blocks have.
#[test]
fn a_change_of_a_pod_concerns_the_flows_of_its_node() {
    let mut world = World::default();
    world.node("one", 1, "10.244.1.0/24");
    world.node("two", 2, "10.244.2.0/24");
    policy(&mut world, "web", json!({"podSelector": {"matchLabels": {"app": "web"}}}));
    pod(&mut world, "a", "web", Some([10, 244, 1, 7]));
    pod(&mut world, "b", "db", Some([10, 244, 2, 7]));
    world.compile();
    let before = world.compiler.tables().clone();
    let group = |tables: &Tables, addr: [u8; 4]| policy_group(tables.v4.pod_node(&addr));
    pod(&mut world, "b", "web", Some([10, 244, 2, 7]));
    let after = world.compile().unwrap();
    assert_eq!(before.policy_epoch, after.policy_epoch);
    let changed: Vec<_> = (0..=u8::MAX)
        .filter(|at| {
            before.policy_epochs[usize::from(*at)] != after.policy_epochs[usize::from(*at)]
        })
        .collect();
    assert_eq!(changed, [group(&after, [10, 244, 2, 7])]);
    let block = json!([{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]);
    let selector = json!({"matchLabels": {"app": "web"}});
    policy(&mut world, "web", json!({"podSelector": selector, "ingress": block}));
    let last = world.compile().unwrap();
    assert_ne!(last.policy_epoch, after.policy_epoch);
    assert_eq!(verdict(&world, CLIENT, [10, 244, 2, 7]), Verdict::Allow);
}

#[test]
fn without_policies_there_is_nothing() {
    let mut world = World::default();
    pod(&mut world, "a", "web", Some([10, 1, 0, 7]));
    world.compile();
    assert!(world.compiler.tables().policy.is_empty());
    policy(&mut world, "deny", json!({"podSelector": {}}));
    world.compile();
    assert_eq!(verdict(&world, CLIENT, [10, 1, 0, 7]), Verdict::Deny);
    world.cluster.delete(&Name::new("shop", "deny").key(Kind::NetworkPolicy));
    world.compile();
    let tables = world.compiler.tables();
    assert!(tables.policy.is_empty() && tables.v4.known.is_empty());
    assert_eq!(verdict(&world, CLIENT, [10, 1, 0, 7]), Verdict::Allow);
    assert_eq!(world.compiler.policy_sizes().attributes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes and goes, no more is left than what is there needs.
    #[test]
    fn nothing_is_left_of_what_is_gone(steps in prop::collection::vec((0u8..6, 0u8..8, 0u8..4), 1..60)) {
        let mut world = World::default();
        let keep = json!({"podSelector": {"matchLabels": {"app": "a0"}},
                          "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "a1"}}}]}]});
        let last = |world: &mut World| {
            policy(world, "keep", keep.clone());
            pod(world, "x", "a0", Some([10, 1, 0, 1]));
            pod(world, "y", "a1", Some([10, 1, 0, 2]));
            world.compile();
        };
        last(&mut world);
        // Tables have room for what there was at most.
        let sizes = |world: &World| PolicySizes { bytes: 0, ..world.compiler.policy_sizes() };
        let expected = sizes(&world);
        for (what, which, how) in steps {
            let name = format!("n{which}");
            let app = format!("a{how}");
            match what {
                0 | 1 => pod(&mut world, &name, &app, (how > 0).then_some([10, 1, 1, which])),
                2 => world.cluster.delete(&Name::new("shop", &name).key(Kind::Pod)),
                3 | 4 => {
                    let peer = match how {
                        0 => json!({"ipBlock": {"cidr": format!("192.0.{which}.0/24"),
                                                "except": [format!("192.0.{which}.{how}/32")]}}),
                        1 => json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": app}}}),
                        _ => json!({"podSelector": {"matchLabels": {"app": app}}}),
                    };
                    let ports = json!([{"port": if how == 3 { json!("http") } else { json!(80) }}]);
                    let rule = json!({"from": [peer], "ports": ports});
                    let egress = json!({"to": [peer], "ports": ports});
                    policy(&mut world, &name, json!({"podSelector": {}, "ingress": [rule], "egress": [egress]}));
                }
                _ => world.cluster.delete(&Name::new("shop", &name).key(Kind::NetworkPolicy)),
            }
            if how % 2 == 0 {
                world.compile();
            }
        }
        for which in 0..8 {
            let name = Name::new("shop", &format!("n{which}"));
            world.cluster.delete(&name.key(Kind::Pod));
            world.cluster.delete(&name.key(Kind::NetworkPolicy));
        }
        last(&mut world);
        prop_assert_eq!(sizes(&world), expected);
    }
}
