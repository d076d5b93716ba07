//! Policies and requests.

use super::*;
use crate::compile::tests::policy::{pod, policy};
use sluice_tables::policy::{PortKey, Verdict, judge, judge_request};

#[test]
fn policies_take_the_gateway_for_the_pod_that_is_configured() {
    const POOL: [u8; 4] = [10, 244, 255, 1];
    const POD: [u8; 4] = [10, 244, 1, 7];
    let mut world = world();
    pod(&mut world, "a", "web", Some(POD));
    let deny = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
    policy(&mut world, "deny", deny.clone());
    world.compile();
    let verdict = |world: &World| {
        let judgment = judge::<V4>(world.compiler.tables(), &POOL, &POD, PortKey::of(6, 8080));
        judgment.egress.verdict().max(judgment.ingress.verdict())
    };
    assert_eq!(verdict(&world), Verdict::Deny);
    let from = |namespace: &str, app: &str| {
        let of = |key: &str, value: &str| json!({"matchLabels": {key: value}});
        let namespace = of("kubernetes.io/metadata.name", namespace);
        let peer = json!({"namespaceSelector": namespace,
                          "podSelector": of("app.kubernetes.io/name", app)});
        json!({"podSelector": {}, "ingress": [{"from": [peer]}]})
    };
    for (namespace, app, expected) in [
        ("sluice-system", "other", Verdict::Deny),
        ("default", "sluice", Verdict::Deny),
        ("sluice-system", "sluice", Verdict::Allow),
    ] {
        policy(&mut world, "allow", from(namespace, app));
        world.compile();
        assert_eq!(verdict(&world), expected, "{namespace} {app}");
    }
    // Another identity, and none.
    let identity = "l7: {identity: {namespace: edge}}";
    world.compiler.reconfigure(&l7_config(identity), &facts()).unwrap();
    world.compile();
    assert_eq!(verdict(&world), Verdict::Deny);
    policy(&mut world, "allow", from("edge", "sluice"));
    world.compile();
    assert_eq!(verdict(&world), Verdict::Allow);
    world.compiler.reconfigure(&config(), &facts()).unwrap();
    world.compile();
    assert_eq!(verdict(&world), Verdict::Deny);
    // Policies that come after there were none.
    world.compiler.reconfigure(&l7_config(identity), &facts()).unwrap();
    for name in ["allow", "deny"] {
        world.cluster.delete(&Name::new("shop", name).key(Kind::NetworkPolicy));
    }
    world.compile();
    policy(&mut world, "deny", deny);
    policy(&mut world, "allow", from("edge", "sluice"));
    world.compile();
    assert_eq!(verdict(&world), Verdict::Allow);
}

#[test]
fn blocks_of_policies_match_the_client_of_a_request_and_selectors_the_gateway() {
    const POD: [u8; 4] = [10, 244, 1, 7];
    let mut world = world();
    pod(&mut world, "a", "web", Some(POD));
    let peer = |cidr: &str, except: &[&str]| json!({"ipBlock": {"cidr": cidr, "except": except}});
    let from = |peers: &[Value]| json!({"podSelector": {}, "ingress": [{"from": peers}]});
    let selected = json!({"namespaceSelector": {"matchLabels": {
        "kubernetes.io/metadata.name": "sluice-system"}}});
    let verdicts = |world: &World| {
        let clients = ["192.0.2.7", "192.0.2.200", "198.51.100.1", "10.244.255.1", "2001:db8::7"];
        clients.map(|client| {
            let dst = (POD, 8080).into();
            judge_request(world.compiler.tables(), client.parse().unwrap(), dst).verdict()
        })
    };
    let [allow, deny] = [Verdict::Allow, Verdict::Deny];
    assert_eq!(verdicts(&world), [allow; 5], "there are no policies");
    for (what, peers, expected) in [
        (
            "a block",
            vec![peer("192.0.2.0/24", &["192.0.2.128/25"])],
            [allow, deny, deny, deny, deny],
        ),
        ("of IPv6", vec![peer("2001:db8::/32", &[])], [deny, deny, deny, deny, allow]),
        ("everybody of a family", vec![peer("0.0.0.0/0", &[])], [allow, allow, allow, allow, deny]),
        // The gateway's own addresses are no client's.
        ("the pool", vec![peer("10.244.255.0/24", &[])], [deny, deny, deny, allow, deny]),
        ("the gateway", vec![selected.clone()], [allow; 5]),
        ("both", vec![selected.clone(), peer("192.0.2.0/24", &[])], [allow; 5]),
        ("nobody", vec![peer("203.0.113.0/24", &[])], [deny; 5]),
    ] {
        policy(&mut world, "from", from(&peers));
        world.compile();
        assert_eq!(verdicts(&world), expected, "{what}");
    }
    // What the gateway is taken for changes while the blocks stay.
    let peers = [selected, peer("192.0.2.0/24", &[])];
    policy(&mut world, "from", from(&peers));
    let elsewhere = format!("{SECTION}  identity: {{namespace: edge}}\n");
    world.compiler.reconfigure(&l7_config(&elsewhere), &facts()).unwrap();
    world.compile();
    assert_eq!(verdicts(&world), [allow, allow, deny, deny, deny]);
    world.compiler.reconfigure(&l7_config(SECTION), &facts()).unwrap();
    world.compile();
    assert_eq!(verdicts(&world), [allow; 5]);
    world.cluster.delete(&Name::new("shop", "from").key(Kind::NetworkPolicy));
    world.compile();
    assert_eq!(verdicts(&world), [allow; 5]);
}
