//! L7 in workers of a gateway in memory: what comes by frames, is served by tasks and goes
//! on to pods through the journey.

mod lab;
mod requests;

use lab::{Lab, POD_PORT, Side};
use sluice_l7::net::Net;
use sluice_l7::serving::Serving;
use sluice_l7::tcp::{ConnId, TcpConn, TcpState};
use sluice_l7::worker::WorkerNet;
use sluice_tables::policy::Verdict;
use sluice_testkit::gateway::policy::{Direction, Policy, Rule};
use sluice_testkit::gateway::topology::Prefix;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Opens a connection and waits for that of the gateway to the pod.
fn open(lab: &mut Lab, l4_port: u16) -> ((Side, ConnId), (Side, ConnId)) {
    let client = lab.connect(l4_port);
    let mut pod = None;
    lab.run(|lab| {
        pod = pod.or_else(|| lab.pod.accept());
        pod.is_some()
    });
    ((Side::Client, client), (Side::Pod, pod.unwrap()))
}

fn data(len: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

fn both(test: impl Fn(bool)) {
    test(true);
    test(false);
}

#[test]
fn a_client_speaks_with_a_pod_through_two_connections() {
    both(|is_v4| {
        let mut lab = Lab::new(is_v4, 1);
        let (client, pod) = open(&mut lab, 40_000);
        let seen = lab.pod.conn(pod.1).unwrap().remote();
        assert_eq!(seen.ip(), lab.topology.snat.addresses[usize::from(!is_v4)]);
        assert_eq!(lab.pod.conn(pod.1).unwrap().local().port(), POD_PORT);
        lab.transfer(client, pod, &data(200_000, 1));
        lab.transfer(pod, client, &data(300_000, 2));
        // Each side is told what its path carries.
        assert_eq!(lab.longest, [1_500, 1_450]);
        lab.pod.conn(pod.1).unwrap().shutdown();
        lab.run(|lab| lab.read(client).is_none());
        lab.client.conn(client.1).unwrap().shutdown();
        lab.run(|lab| lab.read(pod).is_none());
        lab.step(Duration::from_secs(1));
        let told = lab.told[0].lock().unwrap().clone();
        assert_eq!((told.tcp.accepted, told.tcp.connected, told.connections), (1, 1, 0));
        assert_eq!((told.panics, told.too_large), (0, 0));
        assert_eq!(lab.gateway.counts().get("flows_created"), 1, "the one to the pod");
        lab.gateway.close().unwrap();
    });
}

#[test]
fn answers_that_come_to_another_worker_are_handed_over() {
    both(|is_v4| {
        let mut lab = Lab::new(is_v4, 2);
        lab.spread = true;
        let mut all = Vec::new();
        for number in 0..16 {
            all.push(open(&mut lab, 40_000 + number));
        }
        for (number, (client, pod)) in all.iter().enumerate() {
            lab.transfer(*client, *pod, &data(20_000, number as u64));
            lab.transfer(*pod, *client, &data(20_000, 99));
        }
        lab.step(Duration::from_secs(1));
        for told in &lab.told {
            let told = told.lock().unwrap();
            assert!(told.tcp.accepted > 0 && told.tcp.accepted == told.tcp.connected);
        }
        assert!(lab.gateway.counts().get("handed_in") > 100);
        lab.gateway.close().unwrap();
    });
}

#[test]
fn a_pod_that_refuses_is_heard() {
    both(|is_v4| {
        let mut lab = Lab::new(is_v4, 1);
        lab.pod_listens = false;
        let client = lab.connect(40_000);
        lab.run(|lab| lab.failed.get() == 1);
        lab.run(|lab| lab.client.conn(client).unwrap().state() == TcpState::Closed);
        lab.gateway.close().unwrap();
    });
}

#[test]
fn what_nobody_listens_for_is_refused() {
    both(|is_v4| {
        let mut lab = Lab::new(is_v4, 1);
        let (running, pod) = open(&mut lab, 40_000);
        lab.publish(lab::forget_listeners);
        let client = lab.connect(40_001);
        lab.run(|lab| lab.client.conn(client).unwrap().state() == TcpState::Closed);
        // The one that ran does not know what became of its listener: it is told.
        assert!(lab.write(running, b"x") == 1);
        lab.run(|lab| lab.client.conn(running.1).unwrap().state() == TcpState::Closed);
        assert!(lab.gateway.counts().get("drop.vip_port_unused") >= 2);
        let _ = pod;
        lab.gateway.close().unwrap();
    });
}

#[test]
fn policies_are_asked_about_the_gateways_own_connections() {
    both(|is_v4| {
        for allowed in [true, false] {
            let mut lab = Lab::new(is_v4, 1);
            let own = lab.topology.snat.addresses[usize::from(!is_v4)];
            let peer = Some(Prefix { addr: own, len: if is_v4 { 32 } else { 128 } });
            let rule = Rule { verdict: Verdict::Allow, peer, ports: Vec::new() };
            let rules = if allowed { vec![rule] } else { Vec::new() };
            let policy = Policy { rules, otherwise: Verdict::Deny };
            lab.topology.policies.insert((lab::pod(is_v4), Direction::Ingress), policy);
            lab.publish(|_| {});
            if allowed {
                let (client, pod) = open(&mut lab, 40_000);
                lab.transfer(client, pod, &data(1_000, 3));
            } else {
                lab.connect(40_000);
                lab.run(|lab| lab.failed.get() == 1);
                assert!(lab.gateway.counts().get("drop.policy_ingress") > 1, "SYNs are repeated");
            }
            lab.gateway.close().unwrap();
        }
    });
}

#[test]
fn a_way_that_gets_narrower_is_told_to_the_connection() {
    both(|is_v4| {
        let mut lab = Lab::new(is_v4, 1);
        let (client, pod) = open(&mut lab, 40_000);
        lab.transfer(client, pod, &data(50_000, 4));
        // What was sent before has come, and its acknowledgment.
        lab.step(Duration::from_millis(10));
        lab.topology.vxlan.mtu = 1_300;
        lab.publish(|tables| tables.route_epoch += 1);
        lab.longest = [0; 2];
        lab.transfer(client, pod, &data(50_000, 5));
        assert_eq!(lab.longest[1], 1_300);
        assert!(lab.gateway.counts().get("drop.too_big") >= 1);
        lab.gateway.close().unwrap();
    });
}

#[test]
fn the_end_lets_go_of_everything() {
    let mut lab = Lab::new(true, 1);
    for number in 0..8 {
        let (client, pod) = open(&mut lab, 40_000 + number);
        lab.transfer(client, pod, &data(5_000, 6));
        lab.write(pod, &data(10_000, 7));
    }
    lab.connect(50_000);
    // Frames that are missing are told of.
    lab.gateway.close().unwrap();
}

#[test]
fn the_time_of_day_is_what_others_say() {
    let nets: Rc<RefCell<Vec<WorkerNet>>> = Rc::default();
    let mut lab = Lab::with(true, 1, |net| {
        nets.borrow_mut().push(net);
        None::<Serving<WorkerNet>>
    });
    let net = nets.borrow()[0].clone();
    for unix_ms in [1_700_000_000_000, 1_600_000_000_000, 1_800_000_000_000] {
        lab.unix_ms.store(unix_ms, Ordering::Relaxed);
        let passed_ms = net.now_ns() / 1_000_000;
        assert_eq!(net.unix_ms(), unix_ms + passed_ms);
        lab.step(Duration::from_secs(2));
        assert!((2_000..2_100).contains(&(net.unix_ms() - unix_ms - passed_ms)));
    }
    lab.gateway.close().unwrap();
}
