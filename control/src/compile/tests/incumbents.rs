//! Who has an address keeps it, whatever comes and whatever it is called.

use super::world::World;
use super::*;
use crate::object::Kind;
use serde_json::json;
use sluice_tables::Family;
use sluice_tables::V6;

/// A node with a tunnel at 10.10.0.`last`, or without a MAC.
fn node(world: &mut World, name: &str, last: u8, has_mac: bool, cidrs: &[&str]) {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "annotations": {}},
        "spec": {"podCIDRs": cidrs},
        "status": {"addresses": [
            {"type": "InternalIP", "address": format!("10.10.0.{last}")},
            {"type": "InternalIP", "address": format!("fd10::{last}")},
        ]},
    });
    if has_mac {
        let mac = format!("0a:00:00:00:00:{last:02x}");
        object["metadata"]["annotations"] = json!({"sluice.dev/vtep-mac": mac});
    }
    world.apply(Kind::Node, object);
}

fn pod(world: &mut World, name: &str, node: &str, ip: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": []},
        "status": {"podIPs": [{"ip": ip}]},
    });
    world.apply(Kind::Pod, object);
}

fn delete(world: &mut World, kind: Kind, name: &str) {
    let mut key = Name::new("default", name).key(kind);
    if kind == Kind::Node {
        key.namespace = "".into();
    }
    world.cluster.delete(&key);
}

/// The node that an address is tunnelled to, or `-`.
fn way(world: &mut World, addr: &str) -> String {
    world.compile();
    let tables = world.compiler.tables();
    let target = match addr.parse().unwrap() {
        IpAddr::V4(addr) => V4::of(tables).pod_node(&addr.octets()),
        IpAddr::V6(addr) => V6::of(tables).pod_node(&addr.octets()),
    };
    target.map_or("-".to_owned(), |vtep| tables.vtep(vtep).unwrap().name.to_string())
}

/// The errors about an object, one after the other.
fn errors(world: &World, name: &str) -> String {
    let about = world.compiler.findings().filter(|(key, finding)| {
        *key.name == *name && finding.severity == crate::diagnostic::Severity::Error
    });
    about
        .map(|(_, finding)| format!("{}: {}", finding.path, finding.message))
        .collect::<Vec<_>>()
        .join("\n")
}

const N1: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];
const ALL: [&str; 2] = ["10.244.0.0/16", "fd00:10:244::/48"];

#[test]
fn a_range_over_all_pods_takes_none_of_them() {
    for (has_mac, is_first) in [(false, false), (true, false), (false, true)] {
        let mut world = World::default();
        if is_first {
            node(&mut world, "a", 99, has_mac, &ALL);
        }
        node(&mut world, "n1", 11, true, &N1);
        if !is_first {
            world.compile();
            node(&mut world, "a", 99, has_mac, &ALL);
        }
        assert_eq!(way(&mut world, "10.244.1.5"), "n1");
        assert_eq!(way(&mut world, "fd00:10:244:1::5"), "n1");
        let said = errors(&world, "a");
        assert!(said.contains("10.244.0.0/16 overlaps 10.244.1.0/24 of node n1"), "{said}");
        assert!(said.contains("fd00:10:244::/48 overlaps fd00:10:244:1::/64 of node n1"), "{said}");
        // When n1 goes, the other takes over; n1 does not come back to it.
        delete(&mut world, Kind::Node, "n1");
        assert_eq!(way(&mut world, "10.244.1.5"), if has_mac { "a" } else { "-" });
        assert_eq!(errors(&world, "a"), "");
        node(&mut world, "n1", 11, true, &N1);
        assert_eq!(way(&mut world, "10.244.1.5"), if has_mac { "a" } else { "n1" });
    }
}

#[test]
fn a_tunnel_address_stays_with_the_node_that_has_it() {
    for has_mac in [false, true] {
        let mut world = World::default();
        node(&mut world, "n1", 11, true, &N1);
        world.compile();
        node(&mut world, "a", 11, has_mac, &["10.244.9.0/24"]);
        assert_eq!(way(&mut world, "10.244.1.5"), "n1");
        assert_eq!(way(&mut world, "10.244.9.5"), "-");
        let said = errors(&world, "a");
        let taken =
            "status.addresses[0].address: node n1 has the tunnel address 10.10.0.11 already";
        assert_eq!(said.contains(taken), has_mac, "{said}");
        delete(&mut world, Kind::Node, "n1");
        assert_eq!(way(&mut world, "10.244.9.5"), if has_mac { "a" } else { "-" });
    }
    // Seen together, the older one has it.
    let mut world = World::default();
    node(&mut world, "a", 11, true, &["10.244.9.0/24"]);
    let old = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "creationTimestamp": "2026-01-01T00:00:00Z",
                     "annotations": {"sluice.dev/vtep-mac": "0a:00:00:00:00:01",
                                     "sluice.dev/vtep-address": "10.10.0.11"}},
        "spec": {"podCIDRs": N1},
    });
    world.apply(Kind::Node, old);
    assert_eq!(way(&mut world, "10.244.1.5"), "n1");
    // The other has its IPv6 address still.
    assert_eq!(way(&mut world, "10.244.9.5"), "a");
}

#[test]
fn a_range_or_a_pod_covers_no_tunnel_endpoint() {
    let mut world = World::default();
    let far = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "annotations": {
            "sluice.dev/vtep-mac": "0a:00:00:00:00:01",
            // By the default route.
            "sluice.dev/vtep-address": "172.16.0.11",
        }},
        "spec": {"podCIDRs": N1},
    });
    world.apply(Kind::Node, far);
    for (cidr, reason) in [
        ("172.16.0.8/29", "contains 172.16.0.11, the tunnel address of node n1"),
        ("10.10.0.8/29", "overlaps the subnet 10.10.0.0/24 of port cluster"),
        ("192.0.2.252/30", "contains 192.0.2.254, a next hop of `routes`"),
        ("10.96.0.0/24", "overlaps 10.96.0.0/16 of `cluster.service_cidrs`"),
        ("fd10::8/125", "overlaps the subnet fd10::/64 of port cluster"),
    ] {
        node(&mut world, "a", 12, true, &[cidr]);
        let first = cidr.split('/').next().unwrap();
        assert_eq!(way(&mut world, first), "-", "{cidr}");
        let said = errors(&world, "a");
        assert!(said.contains(reason), "{cidr}: {said}");
    }
    for (ip, what) in [
        ("172.16.0.11", "the tunnel address of node n1"),
        ("10.10.0.50", "in the subnet 10.10.0.0/24 of port cluster"),
        ("192.0.2.254", "a next hop of `routes`"),
        ("10.10.0.1", "the gateway's own address on port cluster"),
        ("10.244.1.7", "in 10.244.1.0/24 of node n1"),
        ("fd00:10:244:1::7", "in fd00:10:244:1::/64 of node n1"),
    ] {
        pod(&mut world, "p", "a", ip);
        assert_ne!(way(&mut world, ip), "a", "{ip}");
        let said = errors(&world, "p");
        assert!(said.contains(&format!("{ip} is {what}; the pod gets no route")), "{ip}: {said}");
    }
    pod(&mut world, "p", "a", "172.20.0.1");
    assert_eq!(way(&mut world, "172.20.0.1"), "a");
    assert_eq!(errors(&world, "p"), "");
    // A tunnel endpoint in a range of pods, or at a pod's address, is none.
    for (ip, what) in [
        ("172.20.0.1", "172.20.0.1 is the address of pod default/p"),
        ("10.244.1.7", "no subnet of a port and none of `routes` leads to 10.244.1.7"),
        ("10.10.0.255", "10.10.0.255 is the broadcast address of 10.10.0.0/24"),
        ("10.10.0.1", "is the gateway's own address on port cluster, which is node gateway"),
    ] {
        let bad = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "b", "annotations": {
                "sluice.dev/vtep-mac": "0a:00:00:00:00:01", "sluice.dev/vtep-address": ip}},
        });
        world.apply(Kind::Node, bad);
        world.compile();
        let said = errors(&world, "b");
        assert!(said.contains(what), "{ip}: {said}");
        assert_eq!(world.compiler.vtep_of("b"), None);
    }
}

#[test]
fn an_address_of_a_service_is_of_nobody_else() {
    let mut world = World::default();
    node(&mut world, "n1", 11, true, &N1);
    pod(&mut world, "p", "n1", "172.20.0.1");
    world.service("s", &["10.96.0.1".into(), "172.21.0.1".into()], &[80]);
    world.compile();
    // In force: the Service stays.
    node(&mut world, "a", 12, true, &["172.21.0.0/24"]);
    pod(&mut world, "q", "n1", "172.21.0.1");
    assert_eq!(way(&mut world, "172.21.0.1"), "-");
    let said = errors(&world, "a") + &errors(&world, "q");
    assert!(
        said.contains("172.21.0.0/24 contains 172.21.0.1, an address of Service default/s"),
        "{said}"
    );
    assert!(said.contains("172.21.0.1 is an address of Service default/s"), "{said}");
    // Others in force: they stay.
    let bad = ["10.10.0.12", "10.244.1.5", "172.20.0.1", "192.0.2.254", "192.0.2.255", "192.0.2.0"];
    let bad = [&["10.96.0.2"], &bad[..]].concat();
    world.service("t", &bad.iter().map(ToString::to_string).collect::<Vec<_>>(), &[80]);
    world.compile();
    let said = errors(&world, "t");
    for (i, what) in [
        "10.10.0.12 is the tunnel address of node a",
        "10.244.1.5 is in 10.244.1.0/24 of node n1",
        "172.20.0.1 is the address of pod default/p",
        "192.0.2.254 is a next hop of `routes`",
        "192.0.2.255 is the broadcast address of 192.0.2.0/24",
        "192.0.2.0 is the network address of 192.0.2.0/24",
    ]
    .into_iter()
    .enumerate()
    {
        let wanted = format!("status.loadBalancer.ingress[{i}].ip: {what}");
        assert!(said.contains(&wanted), "{wanted}: {said}");
    }
    let vips = |world: &World| {
        let mut all: Vec<_> = world.compiler.tables().v4.vips.iter().map(|(ip, _)| *ip).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(vips(&world), [[10, 96, 0, 1], [10, 96, 0, 2], [172, 21, 0, 1]]);
    // What becomes free goes to who waits for it.
    delete(&mut world, Kind::Node, "a");
    world.delete_service("s");
    delete(&mut world, Kind::Pod, "p");
    assert_eq!(way(&mut world, "172.21.0.1"), "n1");
    assert_eq!(vips(&world), [[10, 10, 0, 12], [10, 96, 0, 2], [172, 20, 0, 1]]);
}

#[test]
fn a_range_outside_of_the_configured_ones_comes_after_services() {
    for (cidr, vip) in [("172.21.0.0/24", "172.21.0.1"), ("fd00:21::/64", "fd00:21::1")] {
        for is_first in [true, false] {
            let mut world = World::default();
            if is_first {
                node(&mut world, "a", 12, true, &[cidr]);
                assert_eq!(way(&mut world, vip), "a");
            }
            world.service("s", &["10.96.0.1".into(), vip.into()], &[80]);
            if !is_first {
                node(&mut world, "a", 12, true, &[cidr]);
            }
            assert_eq!(way(&mut world, vip), "-", "{cidr}, first: {is_first}");
            assert_eq!(
                errors(&world, "a"),
                format!(
                    "spec.podCIDRs[0]: {cidr} contains {vip}, an address of Service default/s; it \
                     is left out"
                )
            );
            assert_eq!(errors(&world, "s"), "");
            world.delete_service("s");
            assert_eq!(way(&mut world, vip), "a");
            assert_eq!(errors(&world, "a"), "");
        }
    }
    // Where no ranges are configured, who has an address keeps it.
    let mut config = config();
    config.cluster.pod_cidrs.clear();
    let mut world = World::default();
    world.compiler.reconfigure(&config, &facts()).unwrap();
    node(&mut world, "a", 12, true, &["172.21.0.0/24"]);
    world.service("s", &["172.21.0.1".into()], &[80]);
    assert_eq!(way(&mut world, "172.21.0.1"), "a");
    assert_eq!(errors(&world, "a"), "");
}

#[test]
fn a_cluster_ip_stays_with_the_service_that_has_it() {
    let mut world = World::default();
    world.service("web", &["10.96.0.1".into(), "198.51.100.1".into()], &[80]);
    world.compile();
    world.service("a", &["10.96.0.1".into()], &[80]);
    world.service("b", &["198.51.100.1".into()], &[80]);
    world.compile();
    let owners = |world: &World| {
        [[10, 96, 0, 1], [198, 51, 100, 1]].map(|addr| {
            let frontend = world.compiler.tables().v4.frontends.get(&key(addr, 80)).unwrap();
            world.compiler.port_of(frontend.service).unwrap().service.name.to_string()
        })
    };
    assert_eq!(owners(&world), ["web", "web"]);
    assert_eq!(
        errors(&world, "a"),
        "spec.clusterIP: 10.96.0.1 is the ClusterIP of Service default/web; this Service is not \
         reached by it"
    );
    assert_eq!(
        errors(&world, "b"),
        "spec.clusterIP: 198.51.100.1 is a load balancer's address of Service default/web; this \
         Service is not reached by it"
    );
    world.delete_service("web");
    world.compile();
    assert_eq!(owners(&world), ["a", "b"]);
    assert_eq!(errors(&world, "a") + &errors(&world, "b"), "");
}

#[test]
fn without_a_name_the_gateway_is_the_node_with_its_address() {
    let mut world = World::default();
    let mut config = super::world::config();
    config.node_name = None;
    world.compiler = Compiler::new(&config, &super::world::facts(), 0).unwrap();
    node(&mut world, "gw", 1, true, &["10.244.255.0/24"]);
    node(&mut world, "n1", 11, true, &N1);
    assert_eq!(way(&mut world, "10.244.1.5"), "n1");
    assert_eq!(world.compiler.vtep_of("gw"), None);
    assert_eq!(errors(&world, "gw"), "");
}

#[test]
fn a_pod_outside_of_ranges_is_an_event_of_its_own() {
    let mut world = World::default();
    for i in 1..=9 {
        node(&mut world, &format!("n{i}"), 10 + i, true, &[]);
    }
    pod(&mut world, "p", "n1", "10.244.7.1");
    let first = world.compile().unwrap();
    pod(&mut world, "q", "n2", "10.244.7.2");
    let second = world.compile().unwrap();
    assert!(Arc::ptr_eq(&first.vteps, &second.vteps));
    assert!(Arc::ptr_eq(&first.v6.routes, &second.v6.routes));
    assert_eq!(way(&mut world, "10.244.7.2"), "n2");
    assert_ne!(first.route_epoch, second.route_epoch, "who spoke from there is no pod");
    // It moves, and then it goes: what went there has to look again.
    pod(&mut world, "q", "n3", "10.244.7.2");
    let third = world.compile().unwrap();
    assert_eq!(way(&mut world, "10.244.7.2"), "n3");
    assert_ne!(second.route_epoch, third.route_epoch);
    delete(&mut world, Kind::Pod, "q");
    let fourth = world.compile().unwrap();
    assert_eq!(way(&mut world, "10.244.7.2"), "-");
    assert_ne!(third.route_epoch, fourth.route_epoch);
    // What had a default route went somewhere.
    pod(&mut world, "r", "n3", "172.20.0.1");
    let fifth = world.compile().unwrap();
    assert_ne!(fourth.route_epoch, fifth.route_epoch);
    // A second pod of the address waits until the first one has gone.
    pod(&mut world, "a", "n1", "172.20.0.1");
    assert!(world.compile().is_none());
    assert!(errors(&world, "a").contains("172.20.0.1 is the address of pod default/r on node n3"));
    delete(&mut world, Kind::Pod, "r");
    assert_eq!(way(&mut world, "172.20.0.1"), "n1");
    assert_eq!(errors(&world, "a"), "");
}

#[test]
fn an_address_goes_with_the_last_service_that_claims_it() {
    let mut world = World::default();
    for ports in [json!([{"port": 80, "protocol": "SCTP"}]), json!([{"port": 80}])] {
        for ips in [["198.51.100.1", "2001:db8:100::1"], ["198.51.100.2", "2001:db8:100::2"]] {
            let object = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
                "spec": {"type": "LoadBalancer", "ports": ports},
                "status": {"loadBalancer": {"ingress": [{"ip": ips[0]}, {"ip": ips[1]}]}},
            });
            world.apply(Kind::Service, object);
            let tables = world.compile().unwrap();
            assert_eq!((tables.v4.vips.iter().count(), tables.v6.vips.iter().count()), (1, 1));
        }
    }
    world.delete_service("s");
    let tables = world.compile().unwrap();
    assert_eq!((tables.v4.vips.iter().count(), tables.v6.vips.iter().count()), (0, 0));
    assert!(world.compiler.programmed(&Name::new("default", "s")).is_none());
}
