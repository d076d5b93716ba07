//! A Service with more endpoints over all of its ports than are kept.

use super::world::World;
use super::*;
use crate::cluster::ENDPOINTS_MAX;
use crate::object::Kind;
use serde_json::{Value, json};
use sluice_tables::{Family, V6};

const PORTS: usize = 20_000;
const ENDPOINTS: usize = 1_000;

fn addresses(i: usize) -> [String; 2] {
    let (a, b) = (i / 250, i % 250 + 1);
    [format!("10.244.{a}.{b}"), format!("fd00:10:244:{a}::{b}")]
}

/// A dual-stack Service with all of the ports.
fn service(world: &mut World, selector: &Value) {
    let ports: Vec<_> =
        (1..=PORTS).map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
    let object = json!({
        "metadata": {"name": "a"},
        "spec": {"clusterIPs": ["10.96.0.1", "fd00:10:96::1"], "ports": ports,
                 "selector": selector},
    });
    world.apply(Kind::Service, object);
}

/// Each port has the same endpoints, of both families, no more of them all than
/// the limit; the first endpoint is not ready and not among them.
fn check(world: &mut World) {
    world.compile();
    let ports = &world.compiler.programmed(&Name::new("default", "a")).unwrap().ports;
    assert_eq!(ports.len(), PORTS);
    // 25 of the 2,000, by turns.
    let addr = |i: usize, family: usize| addresses(i)[family].parse::<IpAddr>().unwrap();
    let v4: Vec<IpAddr> = (1..=13).map(|i| addr(i, 0)).collect();
    let v6: Vec<IpAddr> = (1..=12).map(|i| addr(i, 1)).collect();
    let mut members = 0;
    for port in ports.values() {
        let in_v4 = port.v4.members.keys().map(|(addr, _)| V4::to_ip(*addr));
        let in_v6 = port.v6.members.keys().map(|(addr, _)| V6::to_ip(*addr));
        assert!(in_v4.eq(v4.iter().copied()) && in_v6.eq(v6.iter().copied()));
        members += port.v4.members.len() + port.v6.members.len();
    }
    assert_eq!(members, ENDPOINTS_MAX);
    let said: Vec<_> = world.compiler.findings().map(|(_, finding)| &*finding.message).collect();
    assert_eq!(said, ["has 2000 endpoints for 20000 ports; 25 of them are used"]);
}

#[test]
fn very_many_ports_and_endpoints_of_slices_are_bounded() {
    let mut world = World::default();
    service(&mut world, &json!({}));
    let ports: Vec<_> =
        (1..=PORTS).map(|port| json!({"name": format!("p{port}"), "port": 8080})).collect();
    for (family, kind) in ["IPv4", "IPv6"].into_iter().enumerate() {
        let endpoints = (0..ENDPOINTS)
            .map(|i| json!({"addresses": [addresses(i)[family]], "conditions": {"ready": i != 0}}));
        let object = json!({
            "metadata": {"name": kind.to_lowercase(),
                         "labels": {"kubernetes.io/service-name": "a"}},
            "addressType": kind, "ports": ports, "endpoints": endpoints.collect::<Vec<_>>(),
        });
        world.apply(Kind::EndpointSlice, object);
    }
    check(&mut world);
}

#[test]
fn very_many_ports_and_pods_are_bounded() {
    let mut world = World::default();
    service(&mut world, &json!({"app": "a"}));
    for i in 0..ENDPOINTS {
        let is_ready = if i == 0 { "False" } else { "True" };
        let object = json!({
            "metadata": {"name": format!("a{i}"), "labels": {"app": "a"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
            "status": {"podIPs": addresses(i).map(|ip| json!({"ip": ip})), "phase": "Running",
                       "conditions": [{"type": "Ready", "status": is_ready}]},
        });
        world.apply(Kind::Pod, object);
    }
    check(&mut world);
}
