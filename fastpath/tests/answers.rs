//! What control is told of DNS answers that wait.

use sluice_tables::policy::Verdict;
use sluice_testkit::gateway::policy::{Direction, Policy, Rule};
use sluice_testkit::gateway::topology::{Prefix, Topology};
use sluice_testkit::gateway::{Compiler, Gateway, GatewayOptions};
use sluice_testkit::packet::{self, Defaults, Mac};
use std::net::IpAddr;
use std::time::Duration;

const CLIENTS: [&str; 2] = ["10.244.1.5", "10.244.1.6"];
const SERVER: &str = "10.244.2.53";

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn send(gateway: &mut Gateway, node: u8, inner: &str) {
    let mac = |last: u8| Mac([2, 0, 0, 0, 0, last]);
    let defaults = Defaults {
        src: mac(0x10 + node),
        dst: mac(0xb0),
        inner_src: mac(0x20 + node),
        inner_dst: mac(0xc0),
        ..Defaults::default()
    };
    let outer = format!("ip 10.10.0.{} > 10.10.0.1 / udp 50000 > 4789 nosum", 10 + node);
    let line = format!("{outer} / vxlan vni 4096 / {inner}");
    let frame = packet::parse(&line, &defaults).unwrap_or_else(|error| panic!("{line}: {error}"));
    gateway.inject(1, 0, &frame).unwrap();
    gateway.settle().unwrap();
}

fn answer(gateway: &mut Gateway, client: &str, data: &str) {
    send(gateway, 2, &format!("ip {SERVER} > {client} / udp 53 > 40000 / data {data}"));
}

/// Two pods may ask a third one, and have done so.
fn gateway() -> Gateway {
    let mut topology = Topology::standard();
    topology.names_wanted = true;
    topology.dns_servers = vec![Prefix { addr: addr(SERVER), len: 32 }];
    for client in CLIENTS {
        let peer = Some(Prefix { addr: addr(SERVER), len: 32 });
        let rule = Rule { verdict: Verdict::Allow, peer, ports: Vec::new() };
        let policy = Policy { rules: vec![rule], otherwise: Verdict::Deny };
        topology.policies.insert((addr(client), Direction::Egress), policy);
    }
    let mut gateway = Gateway::new(&GatewayOptions::default()).unwrap();
    gateway.publish(Compiler::new(1).compile(&topology)).unwrap();
    for node in [11, 12] {
        let mac = |last: u8| Mac([2, 0, 0, 0, 0, last]);
        let line = format!("arp 10.10.0.{node} is-at 02:..:{node} to 10.10.0.1 02:..:b0");
        let defaults = Defaults { src: mac(node + 6), dst: mac(0xb0), ..Defaults::default() };
        gateway.inject(1, 0, &packet::parse(&line, &defaults).unwrap()).unwrap();
        gateway.settle().unwrap();
    }
    for client in CLIENTS {
        send(&mut gateway, 1, &format!("ip {client} > {SERVER} / udp 40000 > 53 / data 24"));
    }
    gateway
}

#[test]
fn the_whole_message_is_told_and_who_asked_whom() {
    let mut gateway = gateway();
    answer(&mut gateway, CLIENTS[0], "0x000102030405060708090a0b0c0d");
    let [(0, told)] = gateway.answers() else { panic!("{:?}", gateway.answers()) };
    assert_eq!((told.client, told.server), (addr(CLIENTS[0]), addr(SERVER)));
    assert_eq!(told.message, (0..=13).collect::<Vec<u8>>());
    gateway.release().unwrap();
    gateway.close().unwrap();
}

#[test]
fn the_release_of_one_that_has_given_up_releases_no_other() {
    let mut gateway = gateway();
    answer(&mut gateway, CLIENTS[0], "40");
    gateway.advance(Duration::from_millis(600)).unwrap();
    let late = gateway.answers().len();
    // It takes the place that has become free.
    answer(&mut gateway, CLIENTS[0], "40");
    assert_eq!((late, gateway.answers().len()), (1, 2));
    assert_ne!(gateway.answers()[0].1.id, gateway.answers()[1].1.id);
    gateway.release().unwrap();
    let counts = gateway.counts();
    assert_eq!((counts.get("answers_overdue"), counts.get("held")), (1, 0));
    gateway.close().unwrap();
}

#[test]
fn a_client_that_fills_its_share_leaves_room_for_others_and_buffers_come_back() {
    let mut gateway = gateway();
    for round in 1..=3 {
        for _ in 0..100 {
            answer(&mut gateway, CLIENTS[0], "40");
        }
        answer(&mut gateway, CLIENTS[1], "40");
        let counts = gateway.counts();
        assert_eq!((counts.get("held"), counts.get("answers_unread")), (65, 36 * round));
        // All buffers are with control: the last one is told of when one comes back.
        assert_eq!(gateway.answers().len(), 64);
        gateway.release().unwrap();
        assert_eq!(gateway.answers().len(), 1);
        gateway.release().unwrap();
        assert_eq!(gateway.counts().get("held"), 0);
    }
    gateway.close().unwrap();
}
