//! Overlays of real clusters: the gateway's own range, blocks, devices.

use super::world::World;
use super::*;
use crate::object::Kind;
use serde_json::{Value, json};
use sluice_tables::LocalAddress;

const FLANNEL: &str =
    "overlay: {vxlan: {mode: flannel, port: cluster, addresses: [10.10.0.1, 'fd10::1']}}";
const CALICO: &str =
    "overlay: {vxlan: {mode: calico, port: cluster, addresses: [10.10.0.1, 'fd10::1']}}";
const POOL: &str = "snat: {from_node: 16}";

fn node(world: &mut World, name: &str, annotations: &Value, cidrs: &[&str]) {
    let metadata = json!({"name": name, "annotations": annotations});
    world.apply(Kind::Node, json!({"metadata": metadata, "spec": {"podCIDRs": cidrs}}));
}

fn block(world: &mut World, name: &str, node: &str, cidr: &str, allocated: usize) {
    let allocations = vec![Some(0); allocated];
    let spec =
        json!({"cidr": cidr, "affinity": format!("host:{node}"), "allocations": allocations});
    world.apply(Kind::IpamBlock, json!({"metadata": {"name": name}, "spec": spec}));
}

fn delete(world: &mut World, kind: Kind, name: &str) {
    world.cluster.delete(&Key { kind, namespace: "".into(), name: name.into() });
}

fn findings(world: &World) -> Vec<String> {
    world.compiler.findings().map(|(key, finding)| format!("{key}: {}", finding.message)).collect()
}

#[test]
fn the_pool_follows_the_range_of_the_gateways_node_and_outlives_its_absence() {
    let mut world = World::of(FLANNEL, POOL);
    let first = world.compile().unwrap();
    assert!(first.v4.snat.addresses.is_empty());
    let said = findings(&world);
    assert!(said[0].starts_with("Node gateway: the gateway's node is not there"), "{said:?}");

    node(&mut world, "gateway", &json!({}), &["10.244.7.0/24", "fd00:10:244:7::/64"]);
    let second = world.compile().unwrap();
    let v4: Vec<_> = second.v4.snat.addresses.clone();
    assert_eq!((v4.len(), v4[0], v4[15]), (16, [10, 244, 7, 240], [10, 244, 7, 255]));
    assert_eq!(second.v6.snat.addresses.len(), 16);
    assert_eq!(second.v4.local.get(&[10, 244, 7, 241]), Some(&LocalAddress::Snat));
    assert_ne!(second.route_epoch, first.route_epoch);
    assert_eq!(findings(&world), Vec::<String>::new());

    // The same again, as after a list anew.
    node(&mut world, "gateway", &json!({"x": "y"}), &["10.244.7.0/24", "fd00:10:244:7::/64"]);
    assert!(world.compile().is_none());

    delete(&mut world, Kind::Node, "gateway");
    let gone = world.compile().unwrap();
    assert_eq!((&gone.v4.snat.addresses, gone.v6.snat.addresses.len()), (&v4, 16));
    assert!(findings(&world)[0].ends_with("the last one goes on"));

    node(&mut world, "gateway", &json!({}), &["10.244.8.0/24"]);
    let moved = world.compile().unwrap();
    assert_eq!(moved.v4.snat.addresses[0], [10, 244, 8, 240]);
    assert_eq!(moved.v4.local.get(&[10, 244, 7, 241]), None);
    assert!(moved.v6.snat.addresses.is_empty());
    assert!(findings(&world)[0].contains("no IPv6 range for a SNAT pool"));
}

#[test]
fn the_pool_stays_when_the_configuration_is_read_again() {
    let mut world = World::of(FLANNEL, POOL);
    node(&mut world, "gateway", &json!({}), &["10.244.7.0/24"]);
    let before = world.compile().unwrap();
    delete(&mut world, Kind::Node, "gateway");
    world.compile();
    let other = World::of(FLANNEL, POOL);
    world.compiler.statics = other.compiler.statics;
    world.compiler.is_reset = true;
    let after = world.compile().unwrap();
    assert_eq!(after.v4.snat, before.v4.snat);
    assert_eq!(after.v4.local, before.v4.local);
}

#[test]
fn blocks_come_and_go_and_what_is_allocated_in_them_changes_nothing() {
    let mut world = World::of(CALICO, POOL);
    let of = |host: u8| {
        json!({
            "projectcalico.org/IPv4Address": format!("10.10.0.{host}/24"),
            "projectcalico.org/IPv4VXLANTunnelAddr": format!("10.244.{host}.1"),
        })
    };
    block(&mut world, "own", "gateway", "10.244.1.0/26", 1);
    block(&mut world, "a", "n11", "10.244.11.0/26", 1);
    node(&mut world, "gateway", &of(1), &[]);
    node(&mut world, "n11", &of(11), &[]);
    node(&mut world, "n12", &of(12), &[]);
    let tables = world.compile().unwrap();
    let [n11, n12] = ["n11", "n12"].map(|name| world.compiler.vtep_of(name));
    assert_eq!(tables.v4.pod_node(&[10, 244, 11, 63]), n11);
    assert_eq!(tables.v4.pod_node(&[10, 244, 12, 1]), n12, "a device outside of every block");
    assert_eq!(tables.v4.tunnel_devices.get(&[10, 244, 12, 1]).copied(), n12);
    assert_eq!(tables.v4.snat.addresses[0], [10, 244, 1, 48]);

    block(&mut world, "a", "n11", "10.244.11.0/26", 9);
    assert!(world.compile().is_none(), "a pod more");
    block(&mut world, "a", "n12", "10.244.11.0/26", 9);
    let tables = world.compile().unwrap();
    assert_eq!(tables.v4.pod_node(&[10, 244, 11, 63]), n12);
    delete(&mut world, Kind::IpamBlock, "a");
    let tables = world.compile().unwrap();
    assert_eq!(tables.v4.pod_node(&[10, 244, 11, 63]), None);
}

#[test]
fn a_borrowed_address_is_the_pods_that_has_it() {
    let mut world = World::of(CALICO, POOL);
    for (name, host) in [("n11", 11), ("n12", 12)] {
        let annotations = json!({
            "projectcalico.org/IPv4Address": format!("10.10.0.{host}"),
            "projectcalico.org/IPv4VXLANTunnelAddr": format!("10.244.{host}.1"),
        });
        node(&mut world, name, &annotations, &[]);
        block(&mut world, name, name, &format!("10.244.{host}.0/26"), 1);
    }
    let pod = json!({
        "metadata": {"name": "p"}, "spec": {"nodeName": "n12", "containers": []},
        "status": {"podIPs": [{"ip": "10.244.11.9"}]},
    });
    world.apply(Kind::Pod, pod);
    let tables = world.compile().unwrap();
    assert_eq!(tables.v4.pod_node(&[10, 244, 11, 9]), world.compiler.vtep_of("n12"));
    assert_eq!(tables.v4.pod_node(&[10, 244, 11, 8]), world.compiler.vtep_of("n11"));
    assert!(findings(&world).iter().all(|finding| !finding.starts_with("Pod")));
}

#[test]
fn the_devices_of_flannels_nodes_have_the_first_address_of_the_range() {
    let mut world = World::of(FLANNEL, POOL);
    let annotations = json!({
        "flannel.alpha.coreos.com/kube-subnet-manager": "true",
        "flannel.alpha.coreos.com/backend-type": "vxlan",
        "flannel.alpha.coreos.com/public-ip": "10.10.0.11",
        "flannel.alpha.coreos.com/backend-data": r#"{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"}"#,
    });
    node(&mut world, "n1", &annotations, &["10.244.11.0/24"]);
    let tables = world.compile().unwrap();
    let n1 = world.compiler.vtep_of("n1").unwrap();
    assert_eq!(tables.v4.tunnel_devices.get(&[10, 244, 11, 0]), Some(&n1));
    delete(&mut world, Kind::Node, "n1");
    assert!(world.compile().unwrap().v4.tunnel_devices.is_empty());
}
