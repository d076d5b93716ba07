//! Requests through TCP, TLS and HTTP of a worker, all in memory.

use crate::lab::{Lab, POD_PORT, Side, pod};
use crossbeam_channel::bounded;
use sluice_l7::asks::Ask;
use sluice_l7::http::{Activity, Clients, Observer, Record, Spoken};
use sluice_l7::serving::{Serving, ServingOptions};
use sluice_l7::tcp::{ConnId, TcpConn, TcpState};
use sluice_l7::tls::{Handshakes, TlsConfig};
use sluice_tables::BackendId;
use sluice_tables::http_routes::{Conditions, Host, HttpRoutes, Match, Path};
use sluice_tables::l7::{
    BackendProtocol, Endpoint, HttpRoute, L7, Listener, RouteAction, RouteTable, Upstream,
    UpstreamId,
};
use sluice_tables::policy::Verdict;
use sluice_testkit::gateway::policy::{Direction, Policy, Rule};
use sluice_testkit::gateway::topology::Prefix;
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Statuses of the requests that are over.
#[derive(Default)]
struct Statuses(RefCell<Vec<u16>>);

impl Observer for Statuses {
    fn request(&self, record: &Record<'_>) {
        self.0.borrow_mut().push(record.status);
    }
}

fn tables(is_v4: bool) -> L7 {
    let upstream = UpstreamId(0);
    let routes = HttpRoutes::new([Match {
        host: Host::Exact("shop.example".into()),
        path: Path::Prefix("/".into()),
        conditions: Conditions::default(),
        route: sluice_tables::http_routes::HttpRouteId(0),
    }]);
    let route = HttpRoute {
        object: "Ingress shop/web".into(),
        place: "spec.rules[0].http.paths[0]".into(),
        action: RouteAction::Forward(upstream),
        https_redirect: false,
        client_auth: None,
        rewrite: None,
        body_bytes_max: Some(1 << 20),
        connect_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(60),
        send_timeout: Duration::from_secs(60),
    };
    let mut table = RouteTable { matches: routes.unwrap(), ..RouteTable::default() };
    table.routes.set(0, Some(Arc::new(route)));
    let listener = Listener {
        name: "ingress-http".into(),
        certificates: None,
        routes: Arc::new(table),
        trusted: Arc::default(),
    };
    // The lab's listener is the fourth.
    let listeners = Arc::new(vec![None, None, None, Some(Arc::new(listener))]);
    let mut l7 = L7 { listeners, ..L7::default() };
    let endpoint = Endpoint { addr: SocketAddr::new(pod(is_v4), POD_PORT), id: BackendId::NONE };
    let upstream = Upstream {
        id: upstream,
        name: "shop/web:80".into(),
        protocol: BackendProtocol::Http,
        sends_proxy_protocol: false,
        endpoints: [endpoint].into(),
    };
    l7.upstreams.set(0, Some(Arc::new(upstream)));
    l7
}

fn lab(is_v4: bool, statuses: &Rc<Statuses>) -> Lab {
    let handshakes = Handshakes::start(TlsConfig::default()).unwrap();
    let mut lab = Lab::with(is_v4, 1, |net| {
        let options = ServingOptions::default();
        Serving::new(net, &options, &handshakes, statuses.clone(), 1).unwrap()
    });
    lab.publish(|tables| tables.l7 = self::tables(is_v4));
    lab
}

/// Reads from a side until there is something that ends like this.
fn read_until(lab: &mut Lab, from: (Side, ConnId), end: &str) -> String {
    let mut all = Vec::new();
    lab.run(|lab| {
        all.extend(lab.read(from).unwrap_or_default());
        all.ends_with(end.as_bytes())
    });
    String::from_utf8(all).unwrap()
}

#[test]
fn requests_of_a_connection_go_to_a_pod_one_after_the_other() {
    for is_v4 in [true, false] {
        let statuses = Rc::new(Statuses::default());
        let mut lab = lab(is_v4, &statuses);
        let client = (Side::Client, lab.connect(40_000));
        let mut pod = None;
        for number in 0..3 {
            let request = format!("GET /{number} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
            lab.run(|lab| lab.write(client, request.as_bytes()) > 0);
            lab.run(|lab| {
                pod = pod.or_else(|| lab.pod.accept());
                pod.is_some()
            });
            let pod = (Side::Pod, pod.unwrap());
            let asked = read_until(&mut lab, pod, "\r\n\r\n");
            assert!(asked.starts_with(&format!("GET /{number} HTTP/1.1\r\n")), "{asked}");
            let from = crate::lab::client(is_v4);
            assert!(asked.contains(&format!("x-forwarded-for: {from}\r\n")), "{asked}");
            lab.write(pod, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
            let answer = read_until(&mut lab, client, "hello");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
        lab.run(|lab| lab.write(client, b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n") > 0);
        let answer = read_until(&mut lab, client, "no_route\n");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        // All over one connection of each side.
        assert_eq!((lab.client.counters().connected, lab.pod.counters().accepted), (1, 1));
        assert_eq!(*statuses.0.borrow(), [200, 200, 200, 404]);
        lab.step(Duration::from_secs(1));
        let told = lab.told[0].lock().unwrap().clone();
        assert_eq!(told.panics, 0);
        assert_eq!(told.served.upstreams.reused, 2);
        lab.gateway.close().unwrap();
    }
}

#[test]
fn the_answer_of_a_pod_that_does_not_read_and_hangs_up_is_whole() {
    for is_v4 in [true, false] {
        let statuses = Rc::new(Statuses::default());
        let mut lab = lab(is_v4, &statuses);
        let client = (Side::Client, lab.connect(40_000));
        let head = "POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 1000000\r\n\r\n";
        let upload = [head.as_bytes(), &[b'x'; 1_000_000]].concat();
        let mut sent = 0;
        for _ in 0..100 {
            sent += lab.write(client, &upload[sent..]);
            lab.step(Duration::from_millis(10));
        }
        assert!(sent < upload.len(), "nothing waits to be sent");
        let pod = lab.pod.accept().unwrap();
        let answer = [&b"HTTP/1.1 413 No\r\nContent-Length: 12000\r\n\r\n"[..], &[b'y'; 12_000]];
        let answer = answer.concat();
        assert_eq!(lab.write((Side::Pod, pod), &answer), answer.len());
        lab.hang_up(pod);
        let answer = read_until(&mut lab, client, &"y".repeat(12_000));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert_eq!(*statuses.0.borrow(), [413]);
        assert_eq!(lab.pod.counters().aborts_sent, 1);
        lab.gateway.close().unwrap();
    }
}

#[test]
fn a_pod_that_is_not_there_is_told_of() {
    let statuses = Rc::new(Statuses::default());
    let mut lab = lab(true, &statuses);
    lab.pod_listens = false;
    let client = (Side::Client, lab.connect(40_000));
    lab.run(|lab| lab.write(client, b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n") > 0);
    let answer = read_until(&mut lab, client, "connect_failed\n");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    lab.gateway.close().unwrap();
}

#[test]
fn the_end_is_told_to_clients_and_waits_for_what_has_begun() {
    let statuses = Rc::new(Statuses::default());
    let mut lab = lab(true, &statuses);
    let client = (Side::Client, lab.connect(40_000));
    lab.run(|lab| lab.write(client, b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n") > 0);
    let mut pod = None;
    lab.run(|lab| {
        pod = pod.or_else(|| lab.pod.accept());
        pod.is_some()
    });
    let pod = (Side::Pod, pod.unwrap());
    read_until(&mut lab, pod, "\r\n\r\n");
    lab.ends_at_ns.store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
    lab.step(Duration::from_millis(10));
    lab.write(pod, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let answer = read_until(&mut lab, client, "hello");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    lab.run(|lab| lab.read(client).is_none());
    // Nobody is let in any more.
    let late = lab.connect(40_001);
    lab.run(|lab| lab.client.conn(late).unwrap().state() == TcpState::Closed);
    lab.gateway.close().unwrap();
}

#[test]
fn who_is_connected_is_told_to_those_who_ask() {
    for is_v4 in [true, false] {
        let statuses = Rc::new(Statuses::default());
        let mut lab = lab(is_v4, &statuses);
        let ask = |lab: &mut Lab, client, max| -> Clients {
            let (reply, answer) = bounded(1);
            lab.asks[0].try_send(Ask::Clients { client, max, reply }).unwrap();
            lab.step(Duration::from_millis(300));
            lab.step(Duration::from_millis(1));
            answer.try_recv().unwrap()
        };
        assert!(ask(&mut lab, None, 10).shown.is_empty());
        let served = (Side::Client, lab.connect(40_000));
        let request = "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n";
        lab.run(|lab| lab.write(served, request.as_bytes()) > 0);
        let answer = read_until(&mut lab, served, "no_route\n");
        let half = (Side::Client, lab.connect(40_001));
        lab.run(|lab| lab.write(half, b"GET / HTTP/1.1\r\n") > 0);
        let own = crate::lab::client(is_v4);
        let mut all = ask(&mut lab, Some(own), 10);
        assert_eq!((all.shown.len(), all.left_out), (2, 0));
        all.shown.sort_by_key(|of| of.client);
        let [first, second] = &all.shown[..] else { panic!("{all:?}") };
        assert_eq!((first.activity, second.activity), (Activity::Idle, Activity::Reading));
        assert_eq!((first.requests, second.requests), (1, 0));
        assert_eq!(first.bytes, [request.len() as u64, answer.len() as u64]);
        for (of, port) in [(first, 40_000), (second, 40_001)] {
            assert_eq!(of.client, SocketAddr::new(own, port));
            assert_eq!((&*of.listener, of.spoken, &of.tls), ("ingress-http", Spoken::Http1, &None));
            assert!(of.age_ns >= 300_000_000, "{of:?}");
        }
        let bounded = ask(&mut lab, None, 1);
        assert_eq!((bounded.shown.len(), bounded.left_out), (1, 1));
        let others = ask(&mut lab, Some("198.51.100.1".parse().unwrap()), 10);
        assert_eq!((others.shown.len(), others.left_out), (0, 0));
        lab.gateway.close().unwrap();
    }
}

/// Nobody is slower for those who ask too much, or do not wait for their answers.
#[test]
fn questions_that_nobody_takes_are_bounded() {
    let mut lab = lab(true, &Rc::default());
    let mut answers = Vec::new();
    loop {
        let (reply, answer) = bounded(1);
        if lab.asks[0].try_send(Ask::Ejected { reply }).is_err() {
            break;
        }
        answers.push(answer);
        assert!(answers.len() < 100);
    }
    // Who has gone is nobody's concern.
    answers.pop();
    for _ in 0..=answers.len() {
        lab.step(Duration::from_millis(300));
    }
    lab.step(Duration::from_millis(1));
    for answer in &answers {
        assert_eq!(answer.try_recv(), Ok(Vec::new()));
    }
    lab.gateway.close().unwrap();
}

#[test]
fn policies_are_asked_about_the_client_of_each_request() {
    for is_v4 in [true, false] {
        let statuses = Rc::new(Statuses::default());
        let mut lab = lab(is_v4, &statuses);
        let len = if is_v4 { 32 } else { 128 };
        let let_in = |lab: &mut Lab, addr: IpAddr| {
            let peer = Some(Prefix { addr, len });
            let rule = Rule { verdict: Verdict::Allow, peer, ports: Vec::new() };
            let policy = Policy { rules: vec![rule], otherwise: Verdict::Deny };
            lab.topology.policies.insert((pod(is_v4), Direction::Ingress), policy);
            lab.publish(|tables| tables.l7 = self::tables(is_v4));
        };
        // The gateway itself is in no block.
        let_in(&mut lab, crate::lab::client(is_v4));
        let client = (Side::Client, lab.connect(40_000));
        let ask = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";
        let mut server = None;
        for _ in 0..2 {
            lab.run(|lab| lab.write(client, ask) > 0);
            lab.run(|lab| {
                server = server.or_else(|| lab.pod.accept());
                server.is_some()
            });
            let server = (Side::Pod, server.unwrap());
            read_until(&mut lab, server, "\r\n\r\n");
            lab.write(server, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
            read_until(&mut lab, client, "hello");
        }
        // It is in none any more: the connection to the pod stays, and is not used.
        let own = lab.topology.snat.addresses[usize::from(!is_v4)];
        let_in(&mut lab, own);
        lab.run(|lab| lab.write(client, ask) > 0);
        let answer = read_until(&mut lab, client, "policy_denied\n");
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        let_in(&mut lab, crate::lab::client(is_v4));
        lab.run(|lab| lab.write(client, ask) > 0);
        let server = (Side::Pod, server.unwrap());
        read_until(&mut lab, server, "\r\n\r\n");
        lab.write(server, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        read_until(&mut lab, client, "hello");
        assert_eq!(*statuses.0.borrow(), [200, 200, 403, 200]);
        lab.step(Duration::from_secs(1));
        let told = lab.told[0].lock().unwrap().clone();
        let upstreams = told.served.upstreams;
        assert_eq!((upstreams.opened, upstreams.policy_denied, upstreams.policy_cut), (1, 1, 0));
        assert_eq!(lab.gateway.counts().get("drop.policy_ingress"), 0);
        lab.gateway.close().unwrap();
    }
}
