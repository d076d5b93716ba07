//! Random operations: what is compiled step by step is what is compiled from
//! nothing, epochs change exactly when flows must look again, and who has
//! something keeps it.

use super::checks::{
    Former, Held, check_addresses, check_epochs, check_names, from_nothing, is_without_conflict,
    say,
};
use super::world::{World, config, facts};
use super::*;
use crate::driver::ServiceNames;
use crate::object::Kind;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Op {
    /// `ports` are numbers and protocols; `headless` has no ClusterIP.
    Service {
        name: u8,
        vips: Vec<u8>,
        ports: Vec<(u8, u8)>,
        headless: bool,
        selects: bool,
        created: bool,
        /// See [`asks`].
        asked: u16,
    },
    Slice {
        name: u8,
        service: u8,
        v6: bool,
        named: bool,
        endpoints: Vec<(u8, u8)>,
        /// Endpoints with hints, and the weight, see [`weigh`].
        hinted: u8,
        weight: u8,
    },
    Pod {
        name: u8,
        app: u8,
        node: u8,
        ip: u8,
        ready: bool,
        ended: bool,
        terminating: bool,
        weight: u8,
    },
    Node {
        name: u8,
        cidr: u8,
        vtep: u8,
        has_mac: bool,
        created: bool,
        zone: u8,
    },
    Delete {
        kind: u8,
        name: u8,
    },
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    let vips = proptest::collection::vec(0..VIPS.len() as u8, 1..4);
    let ports = proptest::collection::vec((0u8..3, 0u8..3), 1..3);
    let endpoints = proptest::collection::vec((0u8..8, 0u8..3), 0..5);
    prop_oneof![
        4 => (0u8..4, vips, ports, 0u8..8, any::<[bool; 2]>(), any::<u16>()).prop_map(
            |(name, vips, ports, headless, [selects, created], asked)| {
                Op::Service { name, vips, ports, headless: headless == 0, selects, created, asked }
            }
        ),
        4 => (0u8..5, 0u8..4, any::<[bool; 2]>(), endpoints, any::<u8>(), 0u8..6).prop_map(
            |(name, service, [v6, named], endpoints, hinted, weight)| {
                Op::Slice { name, service, v6, named, endpoints, hinted, weight }
            }
        ),
        4 => (0u8..5, 0u8..2, 0u8..4, 0..PODS.len() as u8, any::<[bool; 3]>(), 0u8..6).prop_map(
            |(name, app, node, ip, [ready, ended, terminating], weight)| {
                let ended = ended && terminating;
                Op::Pod { name, app, node, ip, ready, ended, terminating, weight }
            }
        ),
        2 => (0u8..4, 0..CIDRS.len() as u8, 0..VTEPS.len() as u8, any::<[bool; 2]>(), 0u8..3)
            .prop_map(|(name, cidr, vtep, [has_mac, created], zone)| {
                Op::Node { name, cidr, vtep, has_mac, created, zone }
            }),
        3 => (0u8..4, 0u8..5).prop_map(|(kind, name)| Op::Delete { kind, name }),
        1 => Just(Op::Reset),
    ]
}

/// Two ClusterIPs, two load balancer addresses, one of ours, one of the SNAT
/// pool; addresses that pods or tunnels may have; a next hop; one that may be
/// external, too.
const VIPS: [&str; 11] = [
    "10.96.0.1",
    "fd00:10:96::1",
    "198.51.100.1",
    "2001:db8:100::1",
    "10.10.0.1",
    "10.244.255.1",
    "10.244.1.4",
    "172.16.0.1",
    "10.10.0.2",
    "192.0.2.254",
    "203.0.113.129",
];
const CIDRS: [&str; 7] = [
    "10.244.1.0/24",
    "10.244.2.0/24",
    "10.244.0.0/22",
    "fd00:10:244:1::/64",
    "10.10.0.0/16",
    "172.16.0.0/24",
    "198.51.100.0/24",
];
const VTEPS: [&str; 7] = [
    "10.10.0.1",
    "10.10.0.2",
    "10.10.0.3",
    "172.16.0.1",
    "172.17.0.1",
    "198.51.100.1",
    "10.244.1.4",
];
/// Addresses of pods. The last ones may be in no range, or somebody else's.
const PODS: [&str; 8] = [
    "10.244.1.1",
    "10.244.1.4",
    "10.244.2.2",
    "10.244.0.3",
    "172.16.0.1",
    "172.17.0.1",
    "198.51.100.1",
    "10.10.0.2",
];

/// What a Service asks for, a few bits each.
fn asks(object: &mut serde_json::Value, asked: u16) {
    let bits = |at: u32| usize::from(asked >> at) & 3;
    let spec = &mut object["spec"];
    if bits(0) == 0 {
        spec["sessionAffinity"] = json!("ClientIP");
    }
    spec["internalTrafficPolicy"] = json!(["Cluster", "Cluster", "Cluster", "Local"][bits(2)]);
    if bits(4) > 0 {
        let ranges = [json!([]), json!(["192.0.2.0/24"]), json!(["::/0"]), json!(["x"])];
        spec["loadBalancerSourceRanges"] = ranges[bits(4)].clone();
    }
    match bits(6) {
        0 => spec["trafficDistribution"] = json!("PreferSameNode"),
        1 => spec["trafficDistribution"] = json!("PreferClose"),
        _ => {}
    }
    spec["externalIPs"] =
        [json!([]), json!(["203.0.113.129"]), json!([]), json!(["2001:db8:200::1"])][bits(8)]
            .clone();
    for (i, port) in spec["ports"].as_array_mut().unwrap().iter_mut().enumerate() {
        if bits(10) > 0 {
            port["nodePort"] = json!(30_000 + bits(10) + i);
        }
    }
    spec["externalTrafficPolicy"] = json!("Local");
    spec["healthCheckNodePort"] = json!([0, 31_001, 31_002, 0][bits(12)]);
    let balance = ["consistent", "least-connections", "random-of-two", "x"][bits(14)];
    object["metadata"]["annotations"] = json!({"sluice.dev/load-balancing": balance});
    if asked.is_multiple_of(13) {
        object["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "x"});
    }
}

/// Adds the annotation of a weight, or one that is none, or nothing.
fn weigh(object: &mut serde_json::Value, weight: u8) {
    if let Some(text) = ["0", "7", "x"].get(usize::from(weight)) {
        object["metadata"]["annotations"] = json!({"sluice.dev/weight": text});
    }
}

fn apply(world: &mut World, op: &Op) {
    match op {
        Op::Service { name, vips, ports, headless, selects, created, asked } => {
            let (cluster, balancer): (Vec<u8>, Vec<u8>) = vips.iter().partition(|v| **v < 2);
            let ips = |list: Vec<u8>| list.into_iter().map(|v| VIPS[usize::from(v)]);
            let ports: BTreeSet<_> = ports.iter().collect();
            let port = |(port, protocol): &(u8, u8)| {
                let protocol = ["TCP", "UDP", "SCTP"][usize::from(*protocol)];
                // A slice may have the names p0 and p1, of TCP.
                let name = if protocol == "TCP" { "p" } else { protocol }.to_lowercase();
                json!({"name": format!("{name}{port}"), "port": 80 + u16::from(*port),
                       "protocol": protocol, "targetPort": "http"})
            };
            let ports: Vec<_> = ports.into_iter().map(port).collect();
            let cluster: Vec<_> = if *headless { vec!["None"] } else { ips(cluster).collect() };
            let mut object = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("x{name}")},
                "spec": {"type": "LoadBalancer", "clusterIPs": cluster,
                         "ports": ports},
                "status": {"loadBalancer": {
                    "ingress": ips(balancer).map(|ip| json!({"ip": ip})).collect::<Vec<_>>()}},
            });
            if *selects {
                object["spec"]["selector"] = json!({"app": format!("a{}", name % 2)});
            }
            if *created {
                let at = format!("2026-01-01T00:00:{:02}Z", 10 - name);
                object["metadata"]["creationTimestamp"] = json!(at);
            }
            asks(&mut object, *asked);
            world.apply(Kind::Service, object);
        }
        Op::Slice { name, service, v6, named, endpoints, hinted, weight } => {
            let endpoints: Vec<_> = endpoints
                .iter()
                .map(|(ip, state)| {
                    let addr =
                        if *v6 { format!("fd00:10:244:1::{ip}") } else { format!("10.244.1.{ip}") };
                    // 5 is one of ours, 6 a ClusterIP, 7 a load balancer's address; 4 may
                    // be one, too.
                    let addr = match (*ip, *v6) {
                        (5, false) => "192.0.2.1".to_owned(),
                        (6, false) => VIPS[0].to_owned(),
                        (6, true) => VIPS[1].to_owned(),
                        (7, false) => VIPS[2].to_owned(),
                        (7, true) => VIPS[3].to_owned(),
                        _ => addr,
                    };
                    let mut endpoint = json!({"addresses": [addr], "conditions": {
                        "ready": *state == 0, "serving": *state == 1, "terminating": *state == 1},
                        "nodeName": format!("x{}", ip % 4),
                        "targetRef": {"kind": "Pod", "name": format!("x{}", ip % 5)}});
                    if hinted >> ip & 1 == 1 {
                        endpoint["hints"] = json!({
                            "forNodes": [{"name": format!("x{}", ip % 3)}],
                            "forZones": [{"name": format!("z{}", ip % 2)}]});
                    }
                    endpoint
                })
                .collect();
            let port = if *named { "p0" } else { "p1" };
            let mut object = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": format!("x{name}"),
                             "labels": {"kubernetes.io/service-name": format!("x{service}")}},
                "addressType": if *v6 { "IPv6" } else { "IPv4" },
                "ports": [{"name": port, "port": 8080}], "endpoints": endpoints,
            });
            weigh(&mut object, *weight);
            world.apply(Kind::EndpointSlice, object);
        }
        Op::Pod { name, app, node, ip, ready, ended, terminating, weight } => {
            let ready = if *ready { "True" } else { "False" };
            let mut object = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("x{name}"), "labels": {"app": format!("a{app}")}},
                "spec": {"nodeName": format!("x{node}"), "containers": [
                    {"name": "c", "ports": [
                        {"name": "http", "containerPort": 8080},
                        {"name": "http", "containerPort": 8081, "protocol": "UDP"}]}]},
                "status": {"phase": if *ended { "Failed" } else { "Running" },
                    "conditions": [{"type": "Ready", "status": ready}],
                    "podIPs": [{"ip": PODS[usize::from(*ip)]},
                               {"ip": format!("fd00:10:244:1::{ip}")}]},
            });
            if *terminating {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            weigh(&mut object, *weight);
            world.apply(Kind::Pod, object);
        }
        Op::Node { name, cidr, vtep, has_mac, created, zone } => {
            let mut annotations = json!({"sluice.dev/vtep-address": VTEPS[usize::from(*vtep)]});
            if *has_mac {
                annotations["sluice.dev/vtep-mac"] = json!("0a:00:00:00:00:01");
            }
            let mut object = json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": format!("x{name}"), "annotations": annotations},
                "spec": {"podCIDRs": [CIDRS[usize::from(*cidr)]]},
            });
            if *created {
                let at = format!("2026-01-01T00:00:{:02}Z", 10 - name);
                object["metadata"]["creationTimestamp"] = json!(at);
            }
            if *zone > 0 {
                let zone = format!("z{}", zone - 1);
                object["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": zone});
            }
            world.apply(Kind::Node, object);
        }
        Op::Delete { kind, name } => {
            let kind =
                [Kind::Service, Kind::EndpointSlice, Kind::Pod, Kind::Node][usize::from(*kind)];
            let mut key = Name::new("default", &format!("x{name}")).key(kind);
            if kind == Kind::Node {
                key.namespace = "".into();
            }
            world.cluster.delete(&key);
        }
        Op::Reset => world.compiler.reconfigure(&config(), &facts()).unwrap(),
    }
}

proptest! {
    #[test]
    fn step_by_step_is_as_from_nothing(
        batches in proptest::collection::vec(proptest::collection::vec(op(), 1..4), 1..30)
    ) {
        let mut world = World::default();
        let mut last = world.compile().expect("the static part");
        let names = ServiceNames::default();
        let mut former = Former::default();
        for ops in &batches {
            let held = Held::of(&world);
            ops.iter().for_each(|op| apply(&mut world, op));
            let next = world.compile();
            let said = say(&world.compiler, world.compiler.tables());
            check_addresses(&world);
            held.check_kept(&world);
            let knowing = from_nothing(&world.cluster, Some(&world.compiler));
            prop_assert_eq!(&said, &knowing, "after {:?}", ops);
            if is_without_conflict(&world.compiler) {
                let unknowing = from_nothing(&world.cluster, None);
                prop_assert_eq!(&said, &unknowing, "without conflicts, after {:?}", ops);
            }
            if let Some(next) = next {
                names.update(&world.compiler);
                check_names(&world, &names);
                let is_reset = ops.iter().any(|op| matches!(op, Op::Reset));
                check_epochs(&world.compiler, &last, &next, &mut former, is_reset);
                last = next;
            }
        }
    }
}
