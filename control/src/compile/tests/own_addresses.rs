//! With which addresses a node itself may speak through its tunnel.

use super::world::World;
use super::*;
use crate::object::Kind;
use serde_json::json;

/// The node whose own an address is, or `-`.
fn owner(tables: &Tables, addr: &str) -> String {
    let node = match addr.parse().unwrap() {
        IpAddr::V4(addr) => tables.v4.nodes_by_addr.get(&addr.octets()),
        IpAddr::V6(addr) => tables.v6.nodes_by_addr.get(&addr.octets()),
    };
    node.map_or("-".to_owned(), |id| tables.vtep(*id).unwrap().name.to_string())
}

#[test]
fn all_addresses_of_a_node_are_its_own() {
    fn with_addresses(world: &mut World, name: &str, last: u8, ips: &[&str]) {
        let ips = ips.iter().map(|ip| json!({"type": "InternalIP", "address": ip}));
        let vtep = format!("10.10.0.{last},fd10::{last}");
        let object = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "annotations": {
                "sluice.dev/vtep-mac": "0a:00:00:00:00:01", "sluice.dev/vtep-address": vtep}},
            "status": {"addresses": ips.collect::<Vec<_>>()},
        });
        world.apply(Kind::Node, object);
    }
    const ENDS: [&str; 4] = ["10.10.0.11", "fd10::11", "10.10.0.12", "fd10::12"];
    for (is_v4, other) in [(true, "2001:db8:9::11"), (false, "172.30.0.11")] {
        let mut config = config();
        let ends = &mut config.overlay.as_mut().unwrap().vxlan.addresses;
        if is_v4 {
            ends.v6 = None
        } else {
            ends.v4 = None
        }
        let mut world = World::default();
        world.compiler.reconfigure(&config, &facts()).unwrap();
        with_addresses(&mut world, "n1", 11, &[]);
        let first = world.compile().unwrap();
        let owners = ENDS.map(|addr| owner(&first, addr));
        assert_eq!(owners, if is_v4 { ["n1", "-", "-", "-"] } else { ["-", "n1", "-", "-"] });
        // It comes: nothing of it was remembered.
        with_addresses(&mut world, "n1", 11, &[ENDS[0], ENDS[1], other]);
        let second = world.compile().unwrap();
        let owners = ENDS.map(|addr| owner(&second, addr));
        assert_eq!(owners, ["n1", "n1", "-", "-"]);
        assert_eq!(owner(&second, other), "n1");
        assert_eq!(first.route_epoch, second.route_epoch);
        assert_eq!(second.v4.vteps_by_addr.is_empty(), !is_v4);
        assert_eq!(second.v6.vteps_by_addr.is_empty(), is_v4);
        // Another one names it too, and has it when the first no longer does.
        with_addresses(&mut world, "a", 12, &[other]);
        let third = world.compile().unwrap();
        assert_eq!(owner(&third, other), "n1");
        with_addresses(&mut world, "n1", 11, &[]);
        let fourth = world.compile().unwrap();
        assert_eq!(owner(&fourth, other), "a");
        assert_ne!(third.route_epoch, fourth.route_epoch);
        with_addresses(&mut world, "a", 12, &[]);
        let fifth = world.compile().unwrap();
        assert_eq!(owner(&fifth, other), "-");
        assert_ne!(fourth.route_epoch, fifth.route_epoch);
    }
}
