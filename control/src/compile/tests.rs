use super::*;
use sluice_tables::{
    BackendId, BackendState, FrontendKey, LocalAddress, PortId, RouteTarget, SERVICE_EPOCHS, V4,
};
use std::time::Instant;

mod announce;
mod checks;
mod domain_names;
mod excess;
mod incumbents;
mod overlay;
mod own_addresses;
mod policy;
mod policy_bounds;
mod random;
mod requests;
mod services;
mod world;

use world::{World, config, facts};

fn key(addr: [u8; 4], l4_port: u16) -> FrontendKey<V4> {
    FrontendKey { addr, l4_port, protocol: 6 }
}

#[test]
fn a_change_of_one_endpoint_touches_one_shard() {
    let mut world = World::default();
    for i in 0..10_000u32 {
        let [_, _, a, b] = i.to_be_bytes();
        world.service(&format!("s{i}"), &[format!("10.100.{a}.{b}")], &[80]);
        let endpoints: Vec<_> = (0..10).map(|e| (format!("10.{e}.{a}.{b}"), "ready")).collect();
        world.slice(&format!("s{i}"), &endpoints);
    }
    let start = Instant::now();
    let before = world.compile().expect("the first tables");
    println!("10,000 Services x 10 endpoints, from nothing: {:?}", start.elapsed());
    let endpoints: Vec<_> =
        (0..10).map(|e| (format!("10.{e}.0.7"), if e == 3 { "not" } else { "ready" })).collect();
    world.slice("s7", &endpoints);
    let start = Instant::now();
    let after = world.compile().expect("new tables");
    println!("one endpoint of one of 10,000 Services: {:?}", start.elapsed());
    let shards = sluice_tables::shards::SHARDS;
    assert_eq!(before.v4.frontends.shards_shared_with(&after.v4.frontends), shards - 1);
    assert_eq!(before.v6.frontends.shards_shared_with(&after.v6.frontends), shards);
    assert_eq!(before.v4.vips.shards_shared_with(&after.v4.vips), shards);
    assert!(Arc::ptr_eq(&before.v4.routes, &after.v4.routes));
    assert!(Arc::ptr_eq(&before.vteps, &after.vteps));
    assert!(world.compiler.renamed().is_empty());
    let rotation = |tables: &Tables| {
        tables.v4.frontends.get(&key([10, 100, 0, 7], 80)).unwrap().backends.backends().len()
    };
    assert_eq!((rotation(&before), rotation(&after)), (10, 9));
    let same = |i: u8| {
        let get = |tables: &Tables| {
            tables.v4.frontends.get(&key([10, 100, 0, i], 80)).unwrap().backends.clone()
        };
        Arc::ptr_eq(&get(&before), &get(&after))
    };
    assert!(!same(7) && (0..=255).filter(|i| *i != 7).all(same));
}

#[test]
fn nothing_new_is_nothing_published() {
    let mut world = World::default();
    world.service("a", &["10.96.0.1".into()], &[80]);
    world.slice("a", &[("10.1.0.1".into(), "ready")]);
    assert_eq!(world.compile().unwrap().version, 1);
    assert!(world.compile().is_none());
    // Only what is not used differs.
    world.label("a");
    assert!(world.compile().is_none());
}

#[test]
fn epochs_change_for_flows_that_must_look_again() {
    let mut world = World::default();
    world.service("a", &["10.96.0.1".into()], &[80]);
    world.slice("a", &[("10.1.0.1".into(), "ready")]);
    let mut last = world.compile().unwrap();
    let group = |tables: &Tables| {
        let id = tables.v4.frontends.get(&key([10, 96, 0, 1], 80)).unwrap().service;
        Tables::service_group(id)
    };
    let group_of_a = group(&last);
    let mut step = |world: &mut World, service: bool, vip: bool, route: bool| {
        let next = world.compile().unwrap();
        let changed = |i: usize| next.service_epochs[i] != last.service_epochs[i];
        assert_eq!(changed(group_of_a), service, "the epoch of the Service");
        assert_eq!(changed(SERVICE_EPOCHS), vip, "the epoch of flows without a Service");
        assert_eq!(next.route_epoch != last.route_epoch, route, "the epoch of routes");
        last = next;
    };
    world.slice("a", &[("10.1.0.1".into(), "ready"), ("10.1.0.2".into(), "ready")]);
    step(&mut world, false, false, false);
    world.slice("a", &[("10.1.0.1".into(), "draining"), ("10.1.0.2".into(), "ready")]);
    step(&mut world, true, false, false);
    world.slice("a", &[("10.1.0.1".into(), "ready"), ("10.1.0.2".into(), "ready")]);
    step(&mut world, false, false, false);
    world.slice("a", &[("10.1.0.2".into(), "ready")]);
    step(&mut world, true, false, false);
    world.service("a", &["10.96.0.1".into(), "10.96.0.2".into()], &[80]);
    step(&mut world, false, true, false);
    world.service("a", &["10.96.0.2".into()], &[80]);
    step(&mut world, true, false, false);
    world.node("n1", 11, "10.244.1.0/24");
    step(&mut world, false, false, true);
    world.delete_service("a");
    step(&mut world, true, false, false);
}

#[test]
fn numbers_are_not_reused_before_flows_have_forgotten_them() {
    let mut world = World::default();
    world.service("a", &["10.96.0.1".into()], &[80]);
    world.slice("a", &[("10.1.0.1".into(), "ready")]);
    world.compile();
    let old = world.backend("a", 80, [10, 1, 0, 1]);
    world.slice("a", &[("10.1.0.2".into(), "ready")]);
    let tables = world.compile().unwrap();
    assert_eq!(tables.backends.get(old.0), BackendState::Gone);
    assert_ne!(world.backend("a", 80, [10, 1, 0, 2]), old);
    assert_eq!(world.compiler.quarantined(), [0, 1, 0]);
    // The longest timeout of the configuration is a day.
    world.now += Duration::from_secs(86_399);
    world.slice("a", &[("10.1.0.3".into(), "ready")]);
    world.compile();
    assert_ne!(world.backend("a", 80, [10, 1, 0, 3]), old);
    world.now += Duration::from_secs(2);
    world.live = 1;
    world.slice("a", &[("10.1.0.4".into(), "ready")]);
    world.compile();
    assert_ne!(world.backend("a", 80, [10, 1, 0, 4]), old, "a worker is behind");
    world.live = 4;
    world.slice("a", &[("10.1.0.5".into(), "ready")]);
    world.compile();
    assert_eq!(world.backend("a", 80, [10, 1, 0, 5]), old);
}

#[test]
fn a_vip_moves_from_one_service_to_the_next() {
    let mut world = World::default();
    world.service("a", &["10.96.0.1".into()], &[80]);
    world.service("b", &["10.96.0.1".into()], &[80, 81]);
    let first = world.compile().unwrap();
    assert!(first.v4.frontends.get(&key([10, 96, 0, 1], 81)).is_none());
    world.delete_service("a");
    let second = world.compile().unwrap();
    let owner = |tables: &Tables, port| {
        let frontend = tables.v4.frontends.get(&key([10, 96, 0, 1], port)).unwrap();
        world.compiler.port_of(frontend.service).unwrap().service.name.to_string()
    };
    assert_eq!((owner(&second, 80), owner(&second, 81)), ("b".into(), "b".into()));
    assert!(second.v4.vips.get(&[10, 96, 0, 1]).is_some());
    // Who has it keeps it, whatever the others are called.
    world.service("a", &["10.96.0.1".into()], &[80]);
    assert!(world.compile().is_none());
    world.delete_service("b");
    let third = world.compile().unwrap();
    let frontend = third.v4.frontends.get(&key([10, 96, 0, 1], 80)).unwrap();
    let name = &world.compiler.port_of(frontend.service).unwrap().service.name;
    assert_eq!(&**name, "a");
    assert!(third.v4.frontends.get(&key([10, 96, 0, 1], 81)).is_none());
}

#[test]
fn an_address_of_a_service_is_no_endpoint() {
    let mut world = World::default();
    world.service("a", &["10.96.0.1".into()], &[80]);
    world.slice("a", &[("10.1.0.1".into(), "ready"), ("198.51.100.1".into(), "ready")]);
    let endpoints = |world: &mut World| {
        world.compile();
        let tables = world.compiler.tables();
        let frontend = tables.v4.frontends.get(&key([10, 96, 0, 1], 80)).unwrap();
        frontend.backends.backends().iter().map(|backend| backend.addr).collect::<Vec<_>>()
    };
    let said = |world: &World| {
        let findings = world.compiler.findings();
        let said = findings.map(|(key, f)| format!("{}: {}: {}", key.name, f.path, f.message));
        said.collect::<Vec<_>>()
    };
    assert_eq!(endpoints(&mut world), [[10, 1, 0, 1], [198, 51, 100, 1]]);
    for other in ["b", "c"] {
        // Whichever comes first, and whoever has the address now.
        world.service(other, &["10.96.0.2".into(), "198.51.100.1".into()], &[80]);
        world.delete_service(if other == "b" { "c" } else { "b" });
        assert_eq!(endpoints(&mut world), [[10, 1, 0, 1]]);
        let what = format!("an address of Service default/{other}; this endpoint is left out");
        assert_eq!(said(&world), [format!("a: endpoints[1].addresses[0]: 198.51.100.1 is {what}")]);
    }
    world.delete_service("c");
    assert_eq!(endpoints(&mut world), [[10, 1, 0, 1], [198, 51, 100, 1]]);
    assert_eq!(said(&world), [""; 0]);
    world.delete_service("a");
    world.compile();
    assert!(world.compiler.targets.is_empty());
}

#[test]
fn the_static_part_is_what_is_configured() {
    let mut world = World::default();
    let tables = world.compile().unwrap();
    let vxlan = tables.local.vxlan.as_ref().unwrap();
    assert_eq!((vxlan.mtu, vxlan.vni), (1430, 1), "IPv6 underlay takes 70 bytes");
    assert_eq!(tables.local.ports[1].mac, [2, 0, 0, 0, 0, 1]);
    assert_eq!(tables.v4.local.get(&[192, 0, 2, 1]), Some(&LocalAddress::Port(PortId(0))));
    assert_eq!(tables.v4.local.get(&[192, 0, 2, 9]), Some(&LocalAddress::Kernel(PortId(0))));
    assert_eq!(tables.v4.local.get(&[10, 244, 255, 3]), Some(&LocalAddress::Snat));
    assert_eq!(tables.v4.snat.addresses.len(), 4);
    assert_eq!(tables.v6.snat.addresses.len(), 4);
    let to = |addr| tables.v4.routes.lookup(&addr);
    assert_eq!(to([192, 0, 2, 7]), Some(RouteTarget::Connected(PortId(0))));
    assert_eq!(to([8, 8, 8, 8]), Some(RouteTarget::Via(PortId(0), [192, 0, 2, 254])));
    assert_eq!(to([10, 96, 0, 1]), Some(RouteTarget::Blackhole));
    assert_eq!(to([10, 244, 9, 1]), Some(RouteTarget::Blackhole));
    assert!(matches!(
        Compiler::new(&config(), &facts()[..1], 0),
        Err(SetupError::PortCount { configured: 2, found: 1 })
    ));
    let small = facts().map(|facts| PortFacts { mtu: 1300, ..facts });
    let mut config = config();
    config.ports[1].mtu = None;
    assert!(matches!(Compiler::new(&config, &small, 0), Err(SetupError::Mtu { mtu: 1300, .. })));
}

#[test]
fn another_configuration_is_looked_at_as_a_whole() {
    let mut world = World::default();
    world.service("a", &["192.0.2.77".into()], &[80]);
    world.slice("a", &[("10.1.0.1".into(), "ready")]);
    let before = world.compile().unwrap();
    assert!(before.v4.vips.get(&[192, 0, 2, 77]).is_some());
    let mut config = config();
    config.ports[0].kernel_addresses.push("192.0.2.77".parse().unwrap());
    world.compiler.reconfigure(&config, &facts()).unwrap();
    let after = world.compile().unwrap();
    assert!(after.v4.vips.get(&[192, 0, 2, 77]).is_none());
    assert!(after.v4.frontends.is_empty());
    assert_ne!(before.route_epoch, after.route_epoch);
    assert_eq!(world.compiler.findings().count(), 1);
}
