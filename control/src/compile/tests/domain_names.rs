//! Policies on domain names: whose answers are believed, what names may open, and what
//! becomes of flows when a name loses an address.

use super::world::World;
use super::*;
use crate::diagnostic::Severity;
use crate::object::Kind;
use serde_json::{Value, json};
use sluice_tables::policy::{PortKey, judge, judge_running};
use sluice_tables::{V4, policy_group};

const CLIENT: [u8; 4] = [10, 244, 1, 5];
const SITE: [u8; 4] = [203, 0, 113, 1];

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A policy that lets all pods out to these peers, and nowhere else.
fn policy(world: &mut World, peers: &Value) {
    let rules = json!([
        {"action": "Accept", "to": peers},
        {"action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]},
    ]);
    let spec =
        json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "egress": rules});
    let object = json!({"apiVersion": "policy.networking.k8s.io/v1beta1",
                        "kind": "ClusterNetworkPolicy", "metadata": {"name": "out"}, "spec": spec});
    world.apply(Kind::ClusterNetworkPolicy, object);
}

fn pod(world: &mut World, name: &str, ip: &str) {
    let object = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"nodeName": "one", "containers": [{"name": "c"}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    world.apply(Kind::Pod, object);
}

fn node(world: &mut World, labels: &Value) {
    let annotations = json!({"sluice.dev/vtep-mac": "0a:00:00:00:00:0b"});
    let addresses = json!([{"type": "InternalIP", "address": "10.10.0.11"}]);
    let object = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "one", "labels": labels, "annotations": annotations},
        "spec": {"podCIDRs": ["10.244.1.0/24"]}, "status": {"addresses": addresses}});
    world.apply(Kind::Node, object);
}

/// A Service of the cluster's own, and its endpoints of both families.
fn service(world: &mut World, (namespace, name): (&str, &str), endpoints: &[&str]) {
    let port = json!({"name": "dns", "port": 53, "protocol": "UDP"});
    let metadata = json!({"namespace": namespace, "name": name});
    let spec = json!({"clusterIP": "10.96.0.53", "ports": [port]});
    let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
    world.apply(Kind::Service, object);
    for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
        let of_family = endpoints.iter().filter(|text| addr(text).is_ipv4() == is_v4);
        let endpoints: Vec<_> = of_family
            .map(|text| json!({"addresses": [text], "conditions": {"ready": false}}))
            .collect();
        let labels = json!({"kubernetes.io/service-name": name});
        let name = format!("{name}-{}", family.to_lowercase());
        let object = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"namespace": namespace, "name": name, "labels": labels},
            "addressType": family, "endpoints": endpoints,
            "ports": [{"name": "dns", "port": 5353, "protocol": "UDP"}]});
        world.apply(Kind::EndpointSlice, object);
    }
}

fn set(world: &mut World, name: &str, live: &[&str], lapsed: &[&str]) {
    let all = |list: &[&str]| list.iter().map(|text| addr(text)).collect();
    world.compiler.set_name(name, Addresses { live: all(live), lapsed: all(lapsed) });
    world.compile();
}

/// Whether the client may begin a flow, and whether one may go on.
fn allows(world: &World, dst: [u8; 4]) -> (bool, bool) {
    let (tables, port) = (world.compiler.tables(), PortKey::of(6, 443));
    let new = judge::<V4>(tables, &CLIENT, &dst, port);
    let running = judge_running::<V4>(tables, &CLIENT, &dst, port);
    (new.egress.is_allowed(), running.egress.is_allowed())
}

fn changed_groups(before: &Tables, after: &Tables) -> Vec<u8> {
    let differs =
        |at: &u8| before.policy_epochs[usize::from(*at)] != after.policy_epochs[usize::from(*at)];
    (0..=u8::MAX).filter(differs).collect()
}

/// A cluster with a client, whose policy names `www.example.com` and `*.vendor.com`, and
/// all names of the cluster.
fn world() -> World {
    let mut world = World::default();
    node(&mut world, &json!({}));
    pod(&mut world, "client", "10.244.1.5");
    policy(
        &mut world,
        &json!([{"domainNames": ["www.example.com", "*.vendor.com", "*.cluster.local"]}]),
    );
    world.compile();
    world
}

#[test]
fn the_endpoints_of_the_clusters_dns_are_believed_as_they_come_and_go() {
    let mut world = world();
    let kube_dns = ("kube-system", "kube-dns");
    let believes = |world: &World, text: &str| match addr(text) {
        IpAddr::V4(addr) => world.compiler.tables().v4.believes(&addr.octets()),
        IpAddr::V6(addr) => world.compiler.tables().v6.believes(&addr.octets()),
    };
    let warnings = |world: &World| {
        let is_warning = |f: &&(Key, Finding)| f.1.message.contains("no DNS server is believed");
        world.compiler.findings().filter(is_warning).cloned().collect::<Vec<_>>()
    };
    let [(key, finding)] = &warnings(&world)[..] else { panic!("{:?}", warnings(&world)) };
    assert_eq!((&*key.name, finding.severity), ("out", Severity::Warning));
    assert!(finding.message.contains("kube-system/kube-dns"), "{}", finding.message);
    assert!(!believes(&world, "10.244.1.53"));

    service(&mut world, kube_dns, &["10.244.1.53", "fd00:10:244:1::53"]);
    world.compile();
    assert_eq!(warnings(&world), []);
    assert!(believes(&world, "10.244.1.53") && believes(&world, "fd00:10:244:1::53"));
    assert!(!believes(&world, "10.244.1.5") && !believes(&world, "10.96.0.53"));

    service(&mut world, kube_dns, &["10.244.1.54"]);
    world.compile();
    assert!(believes(&world, "10.244.1.54") && !believes(&world, "10.244.1.53"));
    assert!(!believes(&world, "fd00:10:244:1::53"));
    service(&mut world, ("shop", "kube-dns"), &["10.244.1.66"]);
    world.compile();
    assert!(!believes(&world, "10.244.1.66"), "of another namespace");

    // Who is named in the configuration comes beside them, or alone.
    let text = include_str!("../../../tests/control/config.yaml");
    for (policy, is_service_believed) in [
        ("policy: {dns_servers: [192.0.2.53, 'fd00:53::/64']}", true),
        ("policy: {dns_servers: [192.0.2.53, 'fd00:53::/64'], dns_services: []}", false),
    ] {
        let config = sluice_config::parse("config.yaml", &format!("{text}\n{policy}")).unwrap();
        world.compiler.reconfigure(&config.config, &super::world::facts()).unwrap();
        world.compile();
        assert!(believes(&world, "192.0.2.53") && believes(&world, "fd00:53::7"));
        assert_eq!(believes(&world, "10.244.1.54"), is_service_believed);
    }
    world.cluster.delete(&Name::new("kube-system", "kube-dns").key(Kind::Service));
    world.compile();
    assert_eq!(warnings(&world), []);
}

#[test]
fn a_name_of_the_outside_has_no_address_inside() {
    let mut world = world();
    pod(&mut world, "far", "192.168.7.7");
    service(&mut world, ("default", "kubernetes"), &["192.168.9.1"]);
    world.service("lb", &["10.96.0.1".to_owned(), "198.51.100.130".to_owned()], &[80]);
    world.compile();
    let may_have = |name: &str, text: &str| world.compiler.may_have(name, addr(text));
    for site in ["203.0.113.1", "192.168.1.1", "2001:db8:7::1"] {
        assert!(may_have("api.vendor.com", site), "{site}");
    }
    for (what, inside) in [
        ("the gateway", "10.10.0.1"),
        ("the gateway's kernel", "192.0.2.9"),
        ("its SNAT pool", "10.244.255.1"),
        ("a next hop", "192.0.2.254"),
        ("a node", "10.10.0.11"),
        ("the API server", "192.168.9.1"),
        ("a ClusterIP", "10.96.0.1"),
        ("the range of ClusterIPs", "10.96.7.7"),
        ("the same, IPv6", "fd00:10:96::7"),
        ("a load balancer", "198.51.100.130"),
    ] {
        assert!(!may_have("api.vendor.com", inside), "{what}");
        assert!(!may_have("db.shop.svc.cluster.local", inside), "{what}");
    }
    for pod in ["10.244.1.5", "10.244.1.77", "192.168.7.7", "fd00:10:244:3::1"] {
        assert!(!may_have("api.vendor.com", pod), "{pod}");
        assert!(!may_have("evilcluster.local", pod), "{pod}");
        assert!(may_have("db.shop.svc.cluster.local", pod), "{pod}");
    }
}

/// What comes inside later is no name's either.
#[test]
fn an_address_that_becomes_a_pods_or_a_nodes_is_closed() {
    let mut world = world();
    let (inside, other) = ([10, 244, 1, 9], [203, 0, 113, 9]);
    set(&mut world, "api.vendor.com", &["10.244.1.9", "203.0.113.9", "203.0.113.1"], &[]);
    set(&mut world, "db.shop.svc.cluster.local", &["10.244.1.8"], &[]);
    assert_eq!((allows(&world, inside).0, allows(&world, other).0), (true, true));
    pod(&mut world, "new", "10.244.1.9");
    pod(&mut world, "db", "10.244.1.8");
    service(&mut world, ("default", "kubernetes"), &["203.0.113.9"]);
    world.compile();
    assert_eq!((allows(&world, inside).0, allows(&world, other).0), (false, false));
    assert!(allows(&world, SITE).0 && allows(&world, [10, 244, 1, 8]).0);
    let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "two"},
        "status": {"addresses": [{"type": "ExternalIP", "address": "203.0.113.1"}]}});
    world.apply(Kind::Node, object);
    service(&mut world, ("default", "kubernetes"), &[]);
    world.compile();
    assert_eq!((allows(&world, SITE).0, allows(&world, other).0), (false, true));
    // Not even for flows that run.
    set(&mut world, "api.vendor.com", &[], &["10.244.1.9", "203.0.113.1"]);
    assert_eq!((allows(&world, SITE), allows(&world, inside)), ((false, false), (false, false)));
}

#[test]
fn an_address_that_a_name_loses_is_closed_for_flows_that_begin() {
    let mut world = world();
    set(&mut world, "www.example.com", &["203.0.113.1"], &[]);
    assert_eq!(allows(&world, SITE), (true, true));
    let before = world.compiler.tables().clone();
    set(&mut world, "www.example.com", &[], &["203.0.113.1"]);
    assert_eq!(allows(&world, SITE), (false, true));
    assert!(world.compiler.tables().v4.known.get(&SITE).is_none());
    assert_eq!(changed_groups(&before, world.compiler.tables()), [policy_group(None)]);
    assert_eq!(world.compiler.tables().v6.lapsed.iter().count(), 0);

    // Flows go on through what does not concern them, and are cut by what does.
    set(&mut world, "api.vendor.com", &["203.0.113.7"], &[]);
    assert_eq!(allows(&world, SITE), (false, true));
    let before = world.compiler.tables().clone();
    policy(&mut world, &json!([{"domainNames": ["*.vendor.com"]}]));
    world.compile();
    assert_eq!(allows(&world, SITE), (false, false));
    assert!(changed_groups(&before, world.compiler.tables()).contains(&policy_group(None)));
    policy(&mut world, &json!([{"domainNames": ["*.vendor.com", "*.example.com"]}]));
    world.compile();
    assert_eq!(allows(&world, SITE), (false, true));

    // Without policies nothing is known, and names are where they were afterwards.
    let key = Key { kind: Kind::ClusterNetworkPolicy, ..Name::new("", "out").key(Kind::Pod) };
    world.cluster.delete(&key);
    world.compile();
    assert_eq!(world.compiler.tables().v4.lapsed.iter().count(), 0);
    policy(&mut world, &json!([{"domainNames": ["www.example.com"]}]));
    world.compile();
    assert_eq!(allows(&world, SITE), (false, true));
    set(&mut world, "www.example.com", &["203.0.113.1"], &[]);
    assert_eq!(allows(&world, SITE), (true, true));
    set(&mut world, "www.example.com", &[], &[]);
    assert_eq!(allows(&world, SITE), (false, false));
}

#[test]
fn the_nearest_pattern_asks_for_a_name() {
    let mut world = World::default();
    let names = ["*.example.com", "*.b.example.com", "a.b.example.com"];
    policy(&mut world, &json!([{"domainNames": names}]));
    world.compile();
    for (name, pattern) in [
        ("a.b.example.com", Some("a.b.example.com")),
        ("c.b.example.com", Some("*.b.example.com")),
        ("d.c.b.example.com", Some("*.b.example.com")),
        ("b.example.com", Some("*.example.com")),
        ("example.com", None),
    ] {
        assert_eq!(world.compiler.pattern_of(name).as_deref(), pattern, "{name}");
    }
}

/// A flow whose end is a node's address has packets that come by the node's tunnel:
/// they depend on its group, beside that of addresses on no node.
#[test]
fn a_change_of_a_node_concerns_the_flows_of_its_tunnel() {
    let mut world = World::default();
    node(&mut world, &json!({"role": "ingress"}));
    world.node("client", 12, "10.244.2.0/24");
    let selector = json!({"matchLabels": {"role": "ingress"}});
    policy(&mut world, &json!([{"nodes": selector}]));
    pod(&mut world, "client", "10.244.1.5");
    world.compile();
    let before = world.compiler.tables().clone();
    let node_group = policy_group(world.compiler.vtep_of("one"));
    node(&mut world, &json!({}));
    world.compile();
    assert_eq!(before.policy_epoch, world.compiler.tables().policy_epoch);
    let groups = changed_groups(&before, world.compiler.tables());
    assert_eq!(groups, [policy_group(None), node_group]);
}
