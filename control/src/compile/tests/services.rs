//! What Services ask for: what comes of a change, and of very many ports.

use super::world::World;
use super::*;
use crate::cluster::Policy;
use crate::object::Kind;
use serde_json::{Value, json};
use sluice_tables::{Balance, Family, FrontendRules, V6};
use std::time::Instant;

const CLUSTER: [&str; 2] = ["10.96.0.1", "fd00:10:96::1"];
const BALANCER: [&str; 2] = ["198.51.100.1", "2001:db8:100::1"];

/// A dual-stack LoadBalancer with an endpoint of each family, and more in its
/// spec.
fn apply(world: &mut World, more: &[(&str, Value)]) {
    let mut object = json!({
        "metadata": {"name": "a"},
        "spec": {"type": "LoadBalancer", "clusterIPs": CLUSTER,
                 "ports": [{"port": 80, "nodePort": 30080}]},
        "status": {"loadBalancer": {"ingress": BALANCER.map(|ip| json!({"ip": ip}))}},
    });
    for (key, value) in more {
        object["spec"][key] = value.clone();
    }
    world.apply(Kind::Service, object);
}

fn slices(world: &mut World, weight: &str) {
    for (family, addr) in [("IPv4", "10.244.1.1"), ("IPv6", "fd00:10:244:1::1")] {
        let object = json!({
            "metadata": {"name": family.to_lowercase(),
                         "labels": {"kubernetes.io/service-name": "a"},
                         "annotations": {"sluice.dev/weight": weight}},
            "addressType": family, "ports": [{"port": 8080}],
            "endpoints": [{"addresses": [addr], "nodeName": "n1"}],
        });
        world.apply(Kind::EndpointSlice, object);
    }
}

fn rules<F: Family>(tables: &Tables, addr: &str, l4_port: u16) -> Option<Arc<FrontendRules<F>>> {
    let addr = F::from_ip(addr.parse().unwrap()).unwrap();
    F::of(tables).frontends.get(&FrontendKey { addr, l4_port, protocol: 6 }).unwrap().rules.clone()
}

#[test]
fn flows_look_again_only_where_somebody_may_not_connect_any_more() {
    let mut world = World::default();
    apply(&mut world, &[]);
    slices(&mut world, "1");
    let mut last = world.compile().unwrap();
    let mut step = |world: &mut World, what: &str, looks_again: bool| {
        let next = world.compile().unwrap_or_else(|| panic!("{what}: nothing has changed"));
        let is_changed = next.service_epochs != last.service_epochs;
        assert_eq!(is_changed, looks_again, "{what}");
        last = next;
    };
    let ranges = |ranges: Value| ("loadBalancerSourceRanges", ranges);
    apply(&mut world, &[("sessionAffinity", json!("ClientIP"))]);
    step(&mut world, "affinity", false);
    apply(&mut world, &[("internalTrafficPolicy", json!("Local"))]);
    step(&mut world, "only endpoints on the client's node", false);
    apply(&mut world, &[]);
    step(&mut world, "nothing asked for", false);
    slices(&mut world, "7");
    step(&mut world, "weights", false);
    apply(&mut world, &[ranges(json!(["192.0.2.0/24", "2001:db8::/64"]))]);
    step(&mut world, "ranges", true);
    apply(&mut world, &[ranges(json!(["192.0.2.0/24", "2001:db8::/65"]))]);
    step(&mut world, "a smaller range of IPv6", true);
    apply(&mut world, &[]);
    step(&mut world, "no ranges", false);
    apply(&mut world, &[ranges(json!(["x"]))]);
    step(&mut world, "nobody", true);
}

#[test]
fn a_service_that_asks_for_nothing_has_no_rules() {
    let mut world = World::default();
    apply(&mut world, &[]);
    slices(&mut world, "1");
    let tables = world.compile().unwrap();
    assert!(tables.v4.frontends.iter().all(|(_, frontend)| frontend.rules.is_none()));
    assert!(tables.v6.frontends.iter().all(|(_, frontend)| frontend.rules.is_none()));
    assert_eq!((tables.v4.frontends.len(), tables.v6.frontends.len()), (4, 4));
    let vips: Vec<_> = tables.v4.vips.iter().map(|(addr, _)| *addr).collect();
    assert_eq!(vips.len(), 2, "node ports are no VIPs: {vips:?}");
}

#[test]
fn source_ranges_hold_at_the_load_balancer_and_nowhere_else() {
    let mut world = World::default();
    let ranges = json!([" 192.0.2.9/24 ", "2001:db8::/64"]);
    apply(&mut world, &[("loadBalancerSourceRanges", ranges)]);
    let tables = world.compile().unwrap();
    let v4 = rules::<V4>(&tables, BALANCER[0], 80).unwrap().sources.clone().unwrap();
    assert!(
        v4.contains(&[192, 0, 2, 0]) && v4.contains(&[192, 0, 2, 255]),
        "host bits do not count"
    );
    assert!(!v4.contains(&[192, 0, 3, 0]));
    let v6 = rules::<V6>(&tables, BALANCER[1], 80).unwrap().sources.clone().unwrap();
    let mut addr = [0; 16];
    addr[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    assert!(v6.contains(&addr));
    addr[7] = 1;
    assert!(!v6.contains(&addr));
    assert!(rules::<V4>(&tables, CLUSTER[0], 80).is_none());
    assert!(rules::<V6>(&tables, CLUSTER[1], 80).is_none());
    assert!(rules::<V4>(&tables, "192.0.2.1", 30080).is_none());
    assert!(rules::<V6>(&tables, "2001:db8::1", 30080).is_none());
}

#[test]
fn a_node_that_moves_takes_its_endpoints_with_it() {
    let mut world = World::default();
    apply(&mut world, &[("internalTrafficPolicy", json!("Local"))]);
    slices(&mut world, "1");
    let on_nodes = |world: &mut World| {
        world.compile();
        let tables = world.compiler.tables();
        let locality = &rules::<V4>(tables, CLUSTER[0], 80).unwrap().locality;
        assert!(locality.node_only);
        let names = locality.by_node.keys().map(|id| tables.vtep(*id).unwrap().name.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(on_nodes(&mut world), [""; 0]);
    world.node("n1", 11, "10.244.1.0/24");
    assert_eq!(on_nodes(&mut world), ["n1"]);
    let mut key = Name::new("", "n1").key(Kind::Node);
    key.namespace = "".into();
    world.cluster.delete(&key);
    assert_eq!(on_nodes(&mut world), [""; 0]);
    assert!(rules::<V4>(world.compiler.tables(), BALANCER[0], 80).is_none(), "from outside: all");
}

#[test]
fn a_node_that_comes_later_is_no_endpoint_for_its_tunnel() {
    let mut world = World::default();
    apply(&mut world, &[("ports", json!([{"port": 53, "protocol": "UDP"}]))]);
    for (family, addr) in [("IPv4", "10.10.0.11"), ("IPv6", "fd10::11")] {
        let object = json!({
            "metadata": {"name": family.to_lowercase(),
                         "labels": {"kubernetes.io/service-name": "a"}},
            "addressType": family, "ports": [{"port": 4789, "protocol": "UDP"}],
            "endpoints": [{"addresses": [addr]}],
        });
        world.apply(Kind::EndpointSlice, object);
    }
    let used = |world: &mut World| {
        world.compile();
        let port = &world.compiler.programmed(&Name::new("default", "a")).unwrap().ports;
        let port = &port[&(53, Protocol::Udp)];
        let errors = world.compiler.findings().filter(|(key, _)| key.kind == Kind::EndpointSlice);
        (port.v4.rotation.backends().len(), port.v6.rotation.backends().len(), errors.count())
    };
    assert_eq!(used(&mut world), (1, 1, 0));
    let node = json!({
        "metadata": {"name": "n1", "annotations": {"sluice.dev/vtep-mac": "0a:00:00:00:00:01"}},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.10.0.11"},
                                 {"type": "InternalIP", "address": "fd10::11"}]},
    });
    world.apply(Kind::Node, node);
    assert_eq!(used(&mut world), (0, 0, 2));
    // Its address is another's then.
    let mut key = Name::new("", "n1").key(Kind::Node);
    key.namespace = "".into();
    world.cluster.delete(&key);
    assert_eq!(used(&mut world), (1, 1, 0));
}

#[test]
fn what_is_as_before_is_shared() {
    let mut world = World::default();
    world.node("n1", 11, "10.244.1.0/24");
    apply(&mut world, &[("internalTrafficPolicy", json!("Local"))]);
    slices(&mut world, "1");
    let first = world.compile().unwrap();
    apply(
        &mut world,
        &[("internalTrafficPolicy", json!("Local")), ("sessionAffinity", json!("ClientIP"))],
    );
    let second = world.compile().unwrap();
    let set = |tables: &Tables| {
        let rules = rules::<V4>(tables, CLUSTER[0], 80).unwrap();
        rules.locality.by_node.values().next().unwrap().clone()
    };
    assert!(Arc::ptr_eq(&set(&first), &set(&second)), "the endpoints are the same");
    let rotation = |tables: &Tables| {
        tables.v4.frontends.get(&key([10, 96, 0, 1], 80)).unwrap().backends.clone()
    };
    assert!(Arc::ptr_eq(&set(&first), &rotation(&first)), "all are on one node");
    apply(
        &mut world,
        &[("internalTrafficPolicy", json!("Local")), ("sessionAffinity", json!("ClientIP"))],
    );
    assert!(world.compile().is_none());
}

#[test]
fn another_policy_gives_and_takes_addresses() {
    let mut world = World::default();
    apply(&mut world, &[("externalIPs", json!(["198.51.100.129", "203.0.113.1"]))]);
    let has = |world: &mut World| {
        world.compiler.reconfigure(&config(), &facts()).unwrap();
        world.compile();
        let tables = world.compiler.tables();
        [[198, 51, 100, 129], [203, 0, 113, 1]].map(|addr| tables.v4.vips.get(&addr).is_some())
    };
    assert_eq!(has(&mut world), [true, false]);
    let external_ips = vec!["203.0.113.0/24".parse().unwrap()];
    world.cluster.set_policy(Policy { external_ips, proxy_name: None });
    assert_eq!(has(&mut world), [false, true]);
    world.cluster.set_policy(Policy { external_ips: Vec::new(), proxy_name: Some("x".into()) });
    assert_eq!(has(&mut world), [false, false]);
    assert!(world.compiler.tables().v4.frontends.is_empty());
    assert!(world.compiler.tables().v4.vips.is_empty());
}

#[test]
fn a_service_may_have_every_port() {
    let ports: Vec<_> = (1..=65_535)
        .map(|port| json!({"name": format!("p{port}"), "port": port, "targetPort": port}))
        .collect();
    let slice_ports: Vec<_> =
        (1..=65_535).map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
    let mut world = World::default();
    let service = |name: &str, created: &str| {
        json!({"metadata": {"name": name, "creationTimestamp": created},
               "spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": ports},
               "status": {"loadBalancer": {"ingress": [{"ip": BALANCER[0]}]}}})
    };
    world.apply(Kind::Service, service("a", "2026-01-01T00:00:00Z"));
    world.apply(Kind::Service, service("b", "2026-01-02T00:00:00Z"));
    world.apply(
        Kind::EndpointSlice,
        json!({"metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "a"}},
               "addressType": "IPv4", "ports": slice_ports,
               "endpoints": [{"addresses": ["10.244.1.1"]}, {"addresses": ["10.244.1.2"]}]}),
    );
    let start = Instant::now();
    let tables = world.compile().unwrap();
    println!("65,535 ports x 2 endpoints: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(tables.v4.frontends.len(), 65_535);
    for port in [1, 80, 65_535] {
        let frontend = tables.v4.frontends.get(&key([198, 51, 100, 1], port)).unwrap();
        let owner = &world.compiler.port_of(frontend.service).unwrap().service.name;
        assert_eq!((&**owner, frontend.backends.backends()[1].l4_port), ("a", port));
    }
    let about_b = world.compiler.findings().filter(|(key, _)| &*key.name == "b");
    assert_eq!(about_b.count(), 101, "what is said is bounded");
    let start = Instant::now();
    let views = crate::view::services(&world.cluster, &world.compiler);
    assert_eq!(views[0].ports.len(), 65_535);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn how_endpoints_are_chosen_is_an_annotation() {
    let mut world = World::default();
    for (name, expected) in [
        ("least-connections", Some(Balance::LeastConnections)),
        ("random-of-two", Some(Balance::RandomOfTwo)),
        ("consistent", None),
        ("fastest", None),
    ] {
        world.apply(
            Kind::Service,
            json!({"metadata": {"name": "a", "annotations": {"sluice.dev/load-balancing": name}},
                   "spec": {"clusterIPs": CLUSTER, "ports": [{"port": 80}]}}),
        );
        world.compile();
        let tables = world.compiler.tables();
        let v4 = rules::<V4>(tables, CLUSTER[0], 80).map(|rules| rules.balance);
        let v6 = rules::<V6>(tables, CLUSTER[1], 80).map(|rules| rules.balance);
        assert_eq!((v4, v6), (expected, expected), "{name}");
    }
}

#[test]
fn who_had_an_address_looks_again_when_it_goes() {
    let mut world = World::default();
    for name in ["a", "b"] {
        world.service(name, &["10.96.0.1".into()], &[80]);
    }
    let group = |tables: &Tables| {
        Tables::service_group(tables.v4.frontends.get(&key([10, 96, 0, 1], 80)).unwrap().service)
    };
    let first = world.compile().unwrap();
    let of_a = group(&first);
    world.delete_service("a");
    let second = world.compile().unwrap();
    assert_ne!(group(&second), of_a, "it is b's");
    assert_ne!(first.service_epochs[of_a], second.service_epochs[of_a]);
    world.service("b", &["10.96.0.2".into()], &[80]);
    let third = world.compile().unwrap();
    assert!(third.v4.vips.get(&[10, 96, 0, 1]).is_none());
    assert_ne!(second.service_epochs[of_a], third.service_epochs[of_a], "the address has gone");
    world.service("b", &["10.96.0.3".into()], &[80]);
    let fourth = world.compile().unwrap();
    assert_eq!(third.service_epochs[of_a], fourth.service_epochs[of_a], "it was said once");
}

#[test]
fn many_ports_with_many_endpoints_are_bounded() {
    let ports: Vec<_> =
        (1..=1100).map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
    let endpoints: Vec<_> =
        (1..=20).map(|last| json!({"addresses": [format!("10.244.1.{last}")]})).collect();
    let mut world = World::default();
    world.apply(
        Kind::Service,
        json!({"metadata": {"name": "a"}, "spec": {"clusterIP": CLUSTER[0], "ports": ports}}),
    );
    world.apply(
        Kind::EndpointSlice,
        json!({"metadata": {"name": "a", "labels": {"kubernetes.io/service-name": "a"}},
               "addressType": "IPv4", "ports": ports, "endpoints": endpoints}),
    );
    let tables = world.compile().unwrap();
    let in_rotation = |port| {
        let frontend = tables.v4.frontends.get(&key([10, 96, 0, 1], port)).unwrap();
        frontend.backends.backends().len()
    };
    assert_eq!((in_rotation(1), in_rotation(1024)), (20, 20));
    assert_eq!((in_rotation(1025), in_rotation(1100)), (16, 16));
    let said: Vec<_> = world.compiler.findings().map(|(_, f)| (&*f.path, &*f.message)).collect();
    assert_eq!(said.len(), 76);
    assert_eq!(said[0], ("spec.ports[1024]", "has 20 endpoints; 16 of them are used"));
}
