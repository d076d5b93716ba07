//! How connections are spread by what Services ask for (`Balance`), and what a
//! flood of SYNs leaves to others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sluice_fastpath::flow::FlowTable;
use sluice_fastpath::wire::ip::Ip;
use sluice_fastpath::{DropReason, Worker};
use sluice_tables::Balance;
use sluice_testkit::gateway::topology::{PORT_MACS, Rules, ServiceKey};
use sluice_testkit::gateway::{Compiler, Gateway, GatewayOptions, Topology};
use sluice_testkit::packet::{Defaults, parse};

const TCP: u8 = 6;
const PORT: u16 = 80;

/// One family's client, node and VIP, and an endpoint by number.
struct Family {
    layer: &'static str,
    client: &'static str,
    node: &'static str,
    vip: IpAddr,
    endpoint: fn(u8) -> IpAddr,
}

const FAMILIES: [Family; 2] = [
    Family {
        layer: "ip",
        client: "198.51.100.7",
        node: "10.10.0.11",
        vip: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
        endpoint: |n| Ipv4Addr::new(10, 244, 1, n).into(),
    },
    Family {
        layer: "ip6",
        client: "2001:db8:51::7",
        node: "fd00:10:10::11",
        vip: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x10)),
        endpoint: |n| Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, n.into()).into(),
    },
];

/// A gateway with a Service of endpoints of these weights.
fn gateway(
    family: &Family,
    balance: Balance,
    weights: &[u16],
    options: &GatewayOptions,
) -> Gateway {
    let mut topology = Topology::standard();
    topology.vips.insert(family.vip, true);
    let key = ServiceKey { addr: family.vip, l4_port: PORT, protocol: TCP };
    let endpoints: Vec<_> = (1..).zip(weights).map(|(n, _)| ((family.endpoint)(n), PORT)).collect();
    topology.weights.extend(endpoints.iter().copied().zip(weights.iter().copied()));
    topology.services.insert(key, endpoints);
    topology.rules.insert(key, Rules { balance, ..Rules::default() });
    let mut gateway = Gateway::new(options).unwrap();
    gateway.publish(Compiler::new(1).compile(&topology)).unwrap();
    gateway
}

fn syn(family: &Family, client: &str, port: u16) -> Vec<u8> {
    let Family { layer, vip, .. } = family;
    let line = format!(
        "eth 02:..:fe > {} / {layer} {client} > {vip} / tcp {port} > {PORT} S",
        PORT_MACS[0]
    );
    parse(&line, &Defaults::default()).unwrap()
}

/// Connections that each endpoint got of 1,000.
fn shares(family: &Family, balance: Balance, weights: &[u16]) -> Vec<usize> {
    let options = GatewayOptions { flows_max: 4_096, ..GatewayOptions::default() };
    let mut gateway = gateway(family, balance, weights, &options);
    for port in 0..1_000 {
        gateway.inject(0, 0, &syn(family, family.client, 10_000 + port)).unwrap();
        gateway.settle().unwrap();
    }
    let mut counts = BTreeMap::new();
    each_endpoint(&gateway.workers()[0], family, |addr| *counts.entry(addr).or_default() += 1);
    (1..).zip(weights).map(|(n, _)| counts.remove(&(family.endpoint)(n)).unwrap_or(0)).collect()
}

fn each_endpoint(worker: &Worker, family: &Family, each: impl FnMut(IpAddr)) {
    fn scan<F: Ip>(table: &FlowTable<F>, mut each: impl FnMut(IpAddr)) {
        table.scan(0, usize::MAX, 0, |_, [original, _], _, _| {
            each(F::to_ip(original.new_dst));
            true
        });
    }
    match family.vip {
        IpAddr::V4(_) => scan(&worker.flows().v4, each),
        IpAddr::V6(_) => scan(&worker.flows().v6, each),
    }
}

#[test]
fn least_connections_fills_all_alike() {
    for family in &FAMILIES {
        assert_eq!(shares(family, Balance::LeastConnections, &[1; 10]), [100; 10]);
        let weighted = shares(family, Balance::LeastConnections, &[1, 3, 1]);
        assert!(weighted[1].abs_diff(600) <= 3, "{weighted:?}");
    }
}

/// A choice by hash is off by the square root of a share, some 10 of 100; the
/// better of two by a few (Mitzenmacher, "The Power of Two Choices", 2001).
#[test]
fn the_better_of_two_is_nearly_as_even() {
    let spread = |shares: &[usize]| shares.iter().max().unwrap() - shares.iter().min().unwrap();
    for family in &FAMILIES {
        let by_hash = spread(&shares(family, Balance::Consistent, &[1; 10]));
        let of_two = spread(&shares(family, Balance::RandomOfTwo, &[1; 10]));
        assert!(of_two <= 10 && by_hash > 20, "{of_two} and {by_hash}");
        let weighted = shares(family, Balance::RandomOfTwo, &[1, 3, 1]);
        assert!(weighted[1].abs_diff(600) <= 30, "{weighted:?}");
    }
}

/// In a flood that outruns the worker a new client gets in at its second try,
/// and one that is connected goes on.
#[test]
fn a_flood_of_syns_leaves_room_for_clients() {
    const FLOOD: u16 = 20_000;
    for family in &FAMILIES {
        let options = GatewayOptions {
            flows_max: 4_096,
            frames: 32_768,
            tx_room: 32_768,
            ..GatewayOptions::default()
        };
        let mut gateway = gateway(family, Balance::Consistent, &[1], &options);
        // A connection that there is: with a node, past all Services.
        let Family { layer, client, node, .. } = family;
        let segment = |port: usize, last: &str, ends: String, flags: &str| {
            let mac = PORT_MACS[port];
            let line = format!("eth 02:..:{last} > {mac} / {layer} {ends} {flags}");
            parse(&line, &Defaults::default()).unwrap()
        };
        let there = format!("{client} > {node} / tcp 9 > 9");
        let back = format!("{node} > {client} / tcp 9 > 9");
        let known = segment(0, "fe", there.clone(), "A seq 1 ack 1");
        for (port, frame) in [
            (0, segment(0, "fe", there, "S seq 0")),
            (1, segment(1, "11", back, "SA seq 0 ack 1")),
            (0, known.clone()),
        ] {
            gateway.inject(port, 0, &frame).unwrap();
            gateway.settle().unwrap();
        }
        for port in 0..FLOOD {
            // Sources of many networks: no single one is to blame.
            let client = match family.vip {
                IpAddr::V4(_) => format!("198.18.{}.{}", port >> 8, 1 + port % 250),
                IpAddr::V6(_) => format!("2001:db8:{port:x}::1"),
            };
            gateway.inject(0, 0, &syn(family, &client, 20_000 + port)).unwrap();
        }
        gateway.settle().unwrap();
        let count = |gateway: &Gateway| {
            let counters = gateway.counters(0).unwrap();
            let created: u64 = counters.flows_created.iter().map(|count| count.get()).sum();
            (counters.dropped(DropReason::SynGated), created)
        };
        let (in_flood, _) = count(&gateway);
        assert!(in_flood > 0 && in_flood < FLOOD.into(), "{in_flood}");
        // What a frame adds to SYNs that were refused, and to flows.
        let adds = |gateway: &mut Gateway, frame: &[u8]| {
            let before = count(gateway);
            gateway.inject(0, 0, frame).unwrap();
            gateway.settle().unwrap();
            let after = count(gateway);
            (after.0 - before.0, after.1 - before.1)
        };
        let client = syn(family, family.client, 10_000);
        assert_eq!(adds(&mut gateway, &known), (0, 0), "a flow that there is");
        assert_eq!(adds(&mut gateway, &client), (1, 0), "the first try");
        gateway.advance(Duration::from_secs(1)).unwrap();
        assert_eq!(adds(&mut gateway, &client), (0, 1), "the second try");
        gateway.advance(Duration::from_secs(10)).unwrap();
        let next = syn(family, family.client, 10_001);
        assert_eq!(adds(&mut gateway, &next), (0, 1), "the first try without a flood");
    }
}
