//! New flows to more Services than are near a core: what is asked for ahead of a burst
//! changes nothing of where they go.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sluice_fastpath::flow::FlowTable;
use sluice_fastpath::wire::ip::Ip;
use sluice_testkit::gateway::topology::{PORT_MACS, ServiceKey};
use sluice_testkit::gateway::{Compiler, Gateway, GatewayOptions, Topology};
use sluice_testkit::packet::{Defaults, parse};

const UDP: u8 = 17;
const SERVICES: u16 = 1_500;
/// Endpoints of a Service, by its number: none, as few as are compared, as many as have a
/// table.
const ENDPOINTS: [u8; 4] = [0, 1, 10, 40];

fn vip(v6: bool, number: u16) -> IpAddr {
    match v6 {
        false => Ipv4Addr::from_bits(0x0a60_0100 + u32::from(number)).into(),
        true => Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 1, number).into(),
    }
}

fn endpoints(v6: bool, number: u16) -> Vec<(IpAddr, u16)> {
    let count = ENDPOINTS[usize::from(number) % ENDPOINTS.len()];
    let endpoint = |host: u8| -> IpAddr {
        match v6 {
            false => Ipv4Addr::new(10, 244, 1, host).into(),
            true => Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, host.into()).into(),
        }
    };
    (1..=count).map(|host| (endpoint(host), 1_000 + number)).collect()
}

fn topology(v6: bool) -> Topology {
    let mut topology = Topology::standard();
    topology.snat.addresses = match v6 {
        false => vec![Ipv4Addr::new(10, 244, 255, 1).into()],
        true => vec![Ipv6Addr::new(0xfd00, 0x10, 0x244, 0xff, 0, 0, 0, 1).into()],
    };
    for number in 0..SERVICES {
        let addr = vip(v6, number);
        topology.vips.insert(addr, true);
        let key = ServiceKey { addr, l4_port: 53, protocol: UDP };
        topology.services.insert(key, endpoints(v6, number));
    }
    topology
}

/// Where flows go: by the client's port, which is 10,000 and the Service's number.
fn chosen<F: Ip>(table: &FlowTable<F>) -> Vec<(u16, IpAddr, u16)> {
    let mut chosen = Vec::new();
    table.scan(0, usize::MAX, 0, |_, [original, _], _, _| {
        let number = original.key.src_port - 10_000;
        chosen.push((number, F::to_ip(original.new_dst), original.new_dst_port));
        true
    });
    chosen
}

#[test]
fn new_flows_go_to_endpoints_of_their_service() {
    for v6 in [false, true] {
        let options = GatewayOptions { flows_max: 4_096, ..GatewayOptions::default() };
        let mut gateway = Gateway::new(&options).unwrap();
        gateway.publish(Compiler::new(1).compile(&topology(v6))).unwrap();
        let (layer, client) = if v6 { ("ip6", "2001:db8:51::7") } else { ("ip", "198.51.100.7") };
        let mut send = |l4: &str, to: IpAddr| {
            let line = format!("eth 02:..:fe > {} / {layer} {client} > {to} / {l4}", PORT_MACS[0]);
            let frame = parse(&line, &Defaults::default()).unwrap();
            gateway.inject(0, 0, &frame).unwrap();
        };
        // Whole bursts, of which one packet in eight asks for something else.
        for number in 0..SERVICES {
            let to = vip(v6, number);
            send(&format!("udp {} > 53", 10_000 + number), to);
            if number % 8 == 0 {
                send(&format!("udp {} > 54", 10_000 + number), to);
            }
        }
        gateway.settle().unwrap();
        let flows = gateway.workers()[0].flows();
        let chosen = if v6 { chosen(&flows.v6) } else { chosen(&flows.v4) };
        for (number, addr, l4_port) in &chosen {
            assert!(endpoints(v6, *number).contains(&(*addr, *l4_port)), "{number}: {addr}");
        }
        let numbers: BTreeSet<u16> = chosen.iter().map(|(number, ..)| *number).collect();
        let with_endpoints = (0..SERVICES).filter(|number| !endpoints(v6, *number).is_empty());
        assert_eq!(numbers, with_endpoints.collect());
        gateway.check_balance().unwrap();
        gateway.close().unwrap();
    }
}
