//! Source addresses and ports that stand in for clients: spread over the pool,
//! not to be guessed, and of the worker that has the flow.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_fastpath::wire::ip::Ip;
use sluice_fastpath::{Worker, flow::FlowTable};
use sluice_tables::ServiceId;
use sluice_testkit::gateway::topology::{PORT_MACS, ServiceKey};
use sluice_testkit::gateway::{Compiler, Gateway, GatewayOptions, Topology};
use sluice_testkit::packet::{Defaults, parse};

const UDP: u8 = 17;
const FLOWS: u16 = 2_000;
const WORKERS: usize = 2;

/// A gateway with a pool of so many addresses and these ports, and as many
/// flows through it as [`FLOWS`].
fn gateway(v6: bool, addresses: u16, ports: (u16, u16)) -> Gateway {
    let mut topology = Topology::standard();
    let (vip, endpoint, client): (IpAddr, IpAddr, IpAddr) = match v6 {
        false => (
            Ipv4Addr::new(10, 96, 0, 10).into(),
            Ipv4Addr::new(10, 244, 1, 7).into(),
            Ipv4Addr::new(198, 51, 100, 7).into(),
        ),
        true => (
            Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x10).into(),
            Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, 7).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 7).into(),
        ),
    };
    topology.snat.ports = ports;
    topology.snat.addresses = (1..=addresses)
        .flat_map(|host| {
            let v6 = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0xff, 0, 0, 0, host);
            [Ipv4Addr::new(10, 244, 255, host as u8).into(), v6.into()]
        })
        .collect();
    topology.vips.insert(vip, true);
    let key = ServiceKey { addr: vip, l4_port: 53, protocol: UDP };
    topology.services.insert(key, vec![(endpoint, 53)]);
    let options =
        GatewayOptions { workers: WORKERS, flows_max: 4_096, ..GatewayOptions::default() };
    let mut gateway = Gateway::new(&options).unwrap();
    gateway.publish(Compiler::new(WORKERS).compile(&topology)).unwrap();
    for port in 0..FLOWS {
        let layer = if v6 { "ip6" } else { "ip" };
        let line = format!(
            "eth 02:..:fe > {} / {layer} {client} > {vip} / udp {} > 53",
            PORT_MACS[0],
            10_000 + port
        );
        let frame = parse(&line, &Defaults::default()).unwrap();
        gateway.inject(0, usize::from(port) % WORKERS, &frame).unwrap();
        if port % 32 == 0 {
            gateway.settle().unwrap();
        }
    }
    gateway.settle().unwrap();
    gateway
}

/// Addresses and ports that flows of as many client ports got, in their order,
/// with their workers.
fn sources(v6: bool) -> Vec<(IpAddr, u16, usize)> {
    let gateway = gateway(v6, 4, (1_024, 29_999));
    let mut found = BTreeMap::new();
    for (id, worker) in gateway.workers().iter().enumerate() {
        read(worker, v6, |client_port, addr, port| {
            assert_eq!(found.insert(client_port, (addr, port, id)), None);
        });
    }
    found.into_values().collect()
}

fn read(worker: &Worker, v6: bool, each: impl FnMut(u16, IpAddr, u16)) {
    fn scan<F: Ip>(table: &FlowTable<F>, mut each: impl FnMut(u16, IpAddr, u16)) {
        table.scan(0, usize::MAX, 0, |_, [original, _], _, _| {
            each(original.key.src_port, F::to_ip(original.new_src), original.new_src_port);
            true
        });
    }
    match v6 {
        false => scan(&worker.flows().v4, each),
        true => scan(&worker.flows().v6, each),
    }
}

/// The sources of either family, each held against a judgment.
fn both_families(judge: impl Fn(&[(IpAddr, u16, usize)])) {
    for v6 in [false, true] {
        let sources = sources(v6);
        assert_eq!(sources.len(), usize::from(FLOWS));
        judge(&sources);
    }
}

#[test]
fn addresses_are_used_evenly_by_every_worker() {
    both_families(|sources| {
        let mut counts = BTreeMap::new();
        for (addr, _, worker) in sources {
            *counts.entry((worker, addr)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 4 * WORKERS);
        // 250 are expected: five standard deviations are 74.
        assert!(counts.values().all(|count| (176..=324).contains(count)), "{counts:?}");
    });
}

#[test]
fn ports_name_the_worker_that_has_the_flow() {
    let owners = sluice_tables::OwnerMap::even(WORKERS);
    both_families(|sources| {
        assert!(sources.iter().all(|(_, port, worker)| owners.of_l4_port(*port) == *worker));
    });
}

#[test]
fn ports_cannot_be_guessed_from_the_ones_before() {
    both_families(|sources| {
        // Of 14,488 ports a worker: all parts of the range, and steps of any
        // size in both directions.
        let mut tenths = [0; 10];
        for (_, port, _) in sources {
            assert!((1_024..30_000).contains(port));
            tenths[usize::from(port - 1_024) * 10 / 28_976] += 1;
        }
        assert!(tenths.iter().all(|count| (130..=270).contains(count)), "{tenths:?}");
        let steps = sources.windows(2).map(|pair| i32::from(pair[1].1) - i32::from(pair[0].1));
        let near = steps.clone().filter(|step| step.abs() < 256).count();
        let up = steps.filter(|step| *step > 0).count();
        assert!(near < 100, "{near} steps are short");
        assert!((850..=1_150).contains(&up), "{up} steps go up");
    });
}

#[test]
fn a_service_that_runs_out_of_ports_shows_it() {
    for (family, v6) in [false, true].into_iter().enumerate() {
        let gateway = gateway(v6, 1, (2_000, 2_255));
        let mut refused = 0;
        for worker in 0..WORKERS {
            let counters = gateway.counters(worker).unwrap();
            assert_eq!(counters.snat_capacity[family].get(), 128);
            let full = counters.loads.backends().iter().filter(|load| load.snat.get() > 0);
            let full: Vec<_> = full.map(|load| (load.snat.get(), load.family())).collect();
            assert_eq!(full, [(128, family)]);
            let services = (0..64).filter_map(|id| counters.loads.service(ServiceId(id)));
            refused += services.map(|load| load.snat_refused.get()).sum::<u32>();
        }
        assert_eq!(refused, u32::from(FLOWS) - 256);
    }
}
