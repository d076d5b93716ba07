//! What is foreseen of requests is what becomes of them.

use super::aid::{Reply, Upstreams, World, listener, route, run, tables};
use sluice_l7::http::{Outcome, ProxyOptions, Supposed, considered, foresee};
use sluice_tables::BackendId;
use sluice_tables::http_routes::Fit;
use sluice_tables::l7::{Endpoint, L7, ListenerId};
use std::sync::Arc;

const LISTENER: ListenerId = ListenerId(0);

fn shop() -> L7 {
    let of = |path| route("shop.example", path);
    let mut tables = tables(vec![
        listener("http")
            .trusts("198.51.100.0", 28)
            .route(of("/"))
            .route(of("/cart").header("x-beta", "1"))
            .route(of("/cart"))
            .route(of("/cart/small").body_max(10))
            .route(of("/odd").unsupported())
            .route(of("/old").rewrite("^/old/?(.*)", "/new/$1"))
            .route(of("/dots").rewrite("^/dots(.*)", "/.$1"))
            .route(route("secure.example", "/").redirect())
            .route(route("", "/any")),
    ]);
    // Requests go on to what the tests have in place of endpoints.
    for id in 0..16 {
        let Some(Some(upstream)) = tables.upstreams.get(id).cloned() else { continue };
        let mut upstream = (*upstream).clone();
        let addr = "10.1.0.7:8080".parse().unwrap();
        upstream.endpoints = [Endpoint { addr, id: BackendId::NONE }].into();
        tables.upstreams.set(id, Some(Arc::new(upstream)));
    }
    tables
}

/// Random requests, right and wrong, sent and foreseen.
#[test]
fn what_is_foreseen_is_what_becomes_of_a_request() {
    run(async {
        let options = ProxyOptions { shows_reason: true, ..ProxyOptions::default() };
        let upstreams = Upstreams::answering(|_| Reply::text("hello"));
        let world = World::with(options.clone(), Vec::new(), upstreams);
        let tables = shop();
        drop(world.proxy.set_tables(tables.clone()));
        let mut random = fastrand::Rng::with_seed(443);
        let pick = |random: &mut fastrand::Rng, of: &[&'static str]| of[random.usize(..of.len())];
        let mut answered = 0;
        let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
        for _ in 0..3_000 {
            let method = pick(&mut random, &["GET", "POST", "OPTIONS", "TRACE", "CONNECT", "get"]);
            let host = pick(
                &mut random,
                &["shop.example", "SHOP.example.:80", "secure.example", "other.example", "a b"],
            );
            let target = pick(
                &mut random,
                &[
                    "/",
                    "/cart",
                    "/cart/",
                    "/cartoon",
                    "/cart/small/x?y=z",
                    "/odd",
                    "/old/a/b",
                    "/old",
                    "/dots./x",
                    "/dots",
                    "/any?a",
                    "/../x",
                    "/a/%zz",
                    "/a|b",
                    "//x",
                    "/c%61rt",
                    "*",
                ],
            );
            let mut headers = Vec::new();
            for _ in 0..random.usize(..3) {
                let header = pick(
                    &mut random,
                    &[
                        "x-beta: 1",
                        "x-beta: 2",
                        "content-length: 0",
                        "content-length: x",
                        "transfer-encoding: gzip",
                        "x-forwarded-proto: https",
                        "x-forwarded-for: 203.0.113.9",
                        "forwarded: for=203.0.113.9;proto=https",
                        "expect: x",
                        "max-forwards: 0",
                    ],
                );
                let (name, value) = header.split_once(": ").unwrap();
                headers.push((name.to_owned(), value.to_owned()));
            }
            let peer = pick(&mut random, &["192.0.2.1", "198.51.100.1"]);
            let supposed = Supposed {
                peer: peer.parse().unwrap(),
                is_encrypted: false,
                server_name: None,
                method,
                target,
                host,
                headers: &headers,
            };
            let foreseen = foresee(&tables, LISTENER, &options, &supposed).unwrap();
            let lines: String =
                headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let mut client = world.client_from(&format!("{peer}:40000"));
            client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")).await;
            let answer = client.answer().await;
            let about = format!("{method} {target} of {host}, {headers:?}: {foreseen:?}");
            *statuses.entry(answer.status).or_default() += 1;
            match &foreseen.outcome {
                Outcome::Sent { target } => {
                    assert_eq!(answer.status, 200, "{about}");
                    let seen = world.seen().pop().unwrap();
                    assert_eq!(
                        (&seen.uri, seen.all("x-real-ip")),
                        (target, vec![&*foreseen.client.to_string()]),
                        "{about}"
                    );
                    let upstream = foreseen.upstream.unwrap();
                    assert_eq!(seen.upstream, &*upstream.name, "{about}");
                }
                Outcome::Refused(reason) => {
                    assert_eq!(answer.status, reason.status(), "{about}");
                    assert_eq!(answer.all("x-sluice-reason"), [reason.label()], "{about}");
                }
                Outcome::Redirected { status, location } => {
                    assert_eq!(
                        (answer.status, answer.all("location")),
                        (*status, vec![&**location])
                    );
                }
                Outcome::Answered { status } => {
                    assert_eq!((answer.status, &*answer.body), (*status, &b""[..]), "{about}");
                    answered += 1;
                }
                Outcome::NoCertificate => panic!("{about}"),
            }
            // What is taken is the first that fits.
            let all = considered(&tables, LISTENER, &options, &supposed);
            let first = all.iter().find(|(of, _)| of.fit == Fit::Fits);
            if let Some(route) = &foreseen.route {
                assert!(first.is_some_and(|(_, first)| Arc::ptr_eq(first, route)), "{about}");
            }
        }
        assert!(answered > 5, "{answered}");
        for status in [200, 308, 400, 404, 417, 501, 503] {
            assert!(statuses.get(&status).is_some_and(|count| *count > 10), "{statuses:?}");
        }
    });
}

#[test]
fn a_handshake_is_foreseen() {
    let tables = tables(vec![
        listener("https").certificates(&["shop.example"]).route(route("", "/")),
        listener("http").route(route("", "/")),
    ]);
    let options = ProxyOptions::default();
    let ask = |listener, server_name, is_encrypted| {
        let supposed = Supposed {
            peer: "192.0.2.1".parse().unwrap(),
            is_encrypted,
            server_name,
            method: "GET",
            target: "/",
            host: "shop.example",
            headers: &[],
        };
        let foreseen = foresee(&tables, ListenerId(listener), &options, &supposed)?;
        let certificate = foreseen.certificate.map(|of| of.name.to_string());
        Some((certificate.unwrap_or_default(), foreseen.outcome))
    };
    use sluice_l7::L7Reason::{BadRequestLine, NoEndpoint, NotTls};
    let refused = |name: &str, reason| Some((name.to_owned(), Outcome::Refused(reason)));
    assert_eq!(ask(0, Some("shop.example"), true), refused("shop.example", NoEndpoint));
    assert_eq!(ask(0, Some("x.example"), true), Some((String::new(), Outcome::NoCertificate)));
    assert_eq!(ask(0, None, true), Some((String::new(), Outcome::NoCertificate)));
    assert_eq!(ask(0, None, false), refused("", NotTls));
    assert_eq!(ask(1, None, true), refused("", BadRequestLine));
    assert_eq!(ask(2, None, false), None);
}
