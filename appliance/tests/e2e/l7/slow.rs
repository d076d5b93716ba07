//! Clients that take their time or say too much: they get no more than their share, and
//! nobody else notices.

use super::report::report;
use super::shop::{Shop, WEB, address, gateway};
use super::wire::{connect, exchange, rest};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, eventually};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// Slow connections of each kind and family.
const SLOW: usize = 50;

/// Bytes that each of them sends, five a second: it takes as long as a head may.
const BYTES: usize = 50;

#[test]
fn slow_and_loud_clients_are_bounded() {
    let limits = "  limits: {header_bytes: 4096, headers: 20, requests_per_connection: 30}\n";
    let Some(shop) = Shop::open(&[], limits) else { return };
    shop.certificate("shop", &["shop.example"]);
    shop.lab.write_manifest("ingress.yaml", WEB);
    let gateway = gateway(&shop);
    for family in &FAMILIES {
        shop.until(family, "http://shop.example/", 200);
        shop.until(family, "https://shop.example/", 200);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| shop.lab.within("client", slow));
        // All of them are there, and others are served as ever.
        eventually("the slow clients", || {
            let there = gateway.metric("sluice_l7_connections", &["kind=\"client\""]);
            (there >= (2 * SLOW * FAMILIES.len()) as f64).then_some(())
        });
        for family in &FAMILIES {
            loud(&shop, &gateway, family);
            assert_eq!(shop.get(family, "https://shop.example/", &[]).0, 200);
        }
    });
    for (limit, least) in [("head_time", SLOW), ("handshake_time", SLOW), ("requests", 1)] {
        let limit = format!("limit=\"{limit}\"");
        eventually(&limit, || {
            let ended = gateway.metric("sluice_l7_limits_total", &[&limit]);
            (ended >= (least * FAMILIES.len()) as f64).then_some(())
        });
    }
    report(&gateway, "slow clients");
    gateway.stop();
}

/// Slowloris: heads and handshakes of which a byte comes now and then. Each is ended.
fn slow() {
    let open = |port: u16, first: &'static [u8]| {
        let families = FAMILIES.iter().cycle().take(SLOW * FAMILIES.len());
        families.map(move |family| {
            let mut stream = connect(address(family), port);
            stream.write_all(first).unwrap();
            stream
        })
    };
    let mut heads: Vec<TcpStream> = open(80, b"GET / HTTP/1.1\r\nHost: shop.exa").collect();
    // A record of TLS that announces more than comes.
    let mut handshakes: Vec<TcpStream> = open(443, b"\x16\x03\x01\x01\x00\x01").collect();
    for _ in 0..BYTES {
        for stream in heads.iter_mut().chain(&mut handshakes) {
            // Whose time is over has been hung up on.
            let _ = stream.write_all(b"m");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    for stream in &mut heads {
        let answer = String::from_utf8_lossy(&rest(stream)).into_owned();
        // Bytes that came after the answer may have had it thrown away by a reset.
        let is_told = answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("request_timeout\n");
        assert!(is_told || answer.is_empty(), "{answer}");
    }
    for stream in &mut handshakes {
        assert_eq!(rest(stream), b"", "no answer to half a handshake");
    }
}

/// Heads that are too large in each way; what was refused is counted by its reason.
fn loud(shop: &Shop, gateway: &Gateway<'_>, family: &Family) {
    let requests = [
        ("head_too_large", 431, format!("X-Long: {}\r\n", "x".repeat(4096))),
        ("too_many_headers", 431, (0..20).map(|id| format!("X-{id}: 1\r\n")).collect()),
    ];
    for (reason, status, headers) in requests {
        let label = format!("reason=\"{reason}\"");
        let refused = || gateway.metric("sluice_l7_refusals_total", &[&label]);
        let before = refused();
        let request = format!("GET / HTTP/1.1\r\nHost: shop.example\r\n{headers}\r\n");
        let answer = shop.lab.within("client", || exchange(address(family), request.as_bytes()));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{reason}: {answer}");
        assert!(answer.ends_with(&format!("{status} {reason}\n")), "{reason}: {answer}");
        eventually(reason, || (refused() == before + 1.0).then_some(()));
    }
    // In HTTP/2 as well.
    let long = format!("X-Long: {}", "x".repeat(8000));
    let more = ["--http2-prior-knowledge", "-H", &long];
    assert_eq!(shop.get(family, "http://shop.example/", &more).0, 431);
    // A connection has so many requests, and no more: the client makes another one.
    let more = ["-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n"];
    let text = shop.curl(family, "http://shop.example/?[1-40]", &more);
    let new = text.lines().filter(|line| *line == "200 1").count();
    let kept = text.lines().filter(|line| *line == "200 0").count();
    assert_eq!((new, kept), (2, 38), "{text}");
}
