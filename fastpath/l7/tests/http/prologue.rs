use super::aid::{
    Client2, World, answers_of, client_hello, client_hello_of, h2_request, listener, pass, route,
    run,
};
use sluice_l7::L7Reason;
use sluice_l7::http::{Limit, ProxyOptions};
use std::time::Duration;

/// One listener without TLS and one with, behind proxies in 10.0.0.0/8.
fn world() -> World {
    let of = |name| listener(name).trusts("10.0.0.0", 8).speaks_proxy().route(route("", "/"));
    World::new(ProxyOptions::default(), vec![of("http"), of("https").certificates(&[""])])
}

const PROXY: &str = "10.0.0.8:5000";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn proxies_in_front_speak_for_their_clients() {
    run(async {
        let world = world();
        let binary =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x05\xc6\x33\x64\x01\x30\x39\0\x51";
        let line = b"PROXY TCP4 203.0.113.5 198.51.100.1 12345 81\r\n";
        for (header, client, port) in [
            (&line[..], "203.0.113.5", "81"),
            (binary, "203.0.113.5", "81"),
            (b"PROXY UNKNOWN\r\n", "10.0.0.8", "80"),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "10.0.0.8", "80"),
        ] {
            // However it comes in pieces.
            for pieces in [header.len(), 1] {
                let mut of_proxy = world.client_from(PROXY);
                for piece in header.chunks(pieces) {
                    of_proxy.send(piece).await;
                    pass(Duration::from_millis(1)).await;
                }
                assert_eq!(of_proxy.get("a", "/").await.status, 200);
                let seen = world.seen().pop().unwrap();
                assert_eq!(seen.all("x-forwarded-for"), [client]);
                assert_eq!(seen.all("x-forwarded-port"), [port]);
                assert_eq!(world.logged().pop().unwrap().real_client, client);
            }
        }
        // What the client says of itself is no more believed for its proxy's sake.
        let mut of_proxy = world.client_from(PROXY);
        of_proxy.send(line).await;
        of_proxy.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n").await;
        assert_eq!(of_proxy.answer().await.status, 200);
        assert_eq!(world.seen().pop().unwrap().all("x-forwarded-for"), ["203.0.113.5"]);
        // In front of TLS too, and in HTTP/2.
        let mut of_proxy = world.client_of(1, PROXY);
        of_proxy.send([&line[..], &client_hello(1)].concat()).await;
        assert_eq!(of_proxy.get("a", "/").await.status, 200);
        assert_eq!(world.seen().pop().unwrap().all("x-forwarded-for"), ["203.0.113.5"]);
        let mut of_proxy = world.client_from(PROXY);
        of_proxy.send(line).await;
        let mut two = Client2::new(&world.net, of_proxy).await;
        assert_eq!(two.ask(h2_request("GET", "http://a/", &[], "")).await.0, 200);
        assert_eq!(world.seen().pop().unwrap().all("x-forwarded-for"), ["203.0.113.5"]);
    });
}

#[test]
fn strangers_do_not_speak_for_others() {
    run(async {
        let world = world();
        // To a stranger it is no request.
        let mut stranger = world.client();
        stranger.send(format!("PROXY TCP4 203.0.113.5 198.51.100.1 1 2\r\n{GET}")).await;
        let answers = answers_of(stranger.rest().await);
        assert_eq!((answers.len(), answers[0].status), (1, 400));
        assert_eq!(world.client().get("a", "/").await.status, 200);
        assert_eq!(world.proxy.counts().limits(Limit::ProxyHeader), 0);
    });
}

#[test]
fn proxies_that_do_not_say_for_whom_they_speak_are_refused() {
    run(async {
        let world = world();
        let mut silent = world.client_from(PROXY);
        silent.send(GET).await;
        let answers = answers_of(silent.rest().await);
        assert_eq!(answers[0].text(), "400 bad_proxy_header\n");
        assert_eq!(world.proxy.counts().answers(L7Reason::BadProxyHeader), 1);
        assert_eq!(world.logged().pop().unwrap().reason, Some(L7Reason::BadProxyHeader));
        // In TLS there is nothing that could be said.
        let mut silent = world.client_of(1, PROXY);
        silent.send(client_hello(1)).await;
        silent.is_cut_behind("").await;
        // One who takes its time,
        let mut slow = world.client_from(PROXY);
        slow.send("PROXY TCP4 ").await;
        slow.is_cut_behind("").await;
        // and one who goes.
        let mut gone = world.client_from(PROXY);
        gone.send("PROXY TCP4 ").await;
        gone.shut().await;
        gone.is_cut_behind("").await;
        assert_eq!(world.proxy.counts().limits(Limit::ProxyHeader), 4);
        assert!(world.seen().is_empty());
    });
}

#[test]
fn the_version_of_http_is_agreed_on_in_tls() {
    run(async {
        let world = world();
        let mut one = world.client_of(1, "192.0.2.1:1");
        one.send(client_hello(1)).await;
        assert_eq!(one.get("a", "/").await.status, 200);
        let mut two = world.client_of(1, "192.0.2.1:1");
        two.send(client_hello(2)).await;
        let mut two = Client2::new(&world.net, two).await;
        assert_eq!(two.ask(h2_request("GET", "https://a/", &[], "")).await.0, 200);
        let seen = world.seen();
        assert!(seen.iter().all(|seen| seen.all("x-forwarded-proto") == ["https"]));
    });
}

#[test]
fn requests_without_tls_are_told_so() {
    run(async {
        let world = world();
        let mut client = world.client_of(1, "192.0.2.1:1");
        client.send(GET).await;
        let answers = answers_of(client.rest().await);
        assert_eq!(answers[0].text(), "400 not_tls\n");
        assert_eq!(world.proxy.counts().answers(L7Reason::NotTls), 1);
    });
}

#[test]
fn handshakes_fail_or_take_too_long() {
    run(async {
        let world = world();
        let mut wrong = world.client_of(1, "192.0.2.1:1");
        wrong.send([22, 9, 0]).await;
        assert!(wrong.rest().await.is_empty());
        assert_eq!(world.proxy.counts().limits(Limit::Handshake), 1);
        for begun in [&[22, 1][..], &[]] {
            let mut slow = world.client_of(1, "192.0.2.1:1");
            slow.send(begun).await;
            assert!(slow.rest().await.is_empty());
        }
        assert_eq!(world.proxy.counts().limits(Limit::HandshakeTime), 2);
        assert_eq!(world.proxy.connections(), 0);
    });
}

#[test]
fn hosts_with_certificates_of_their_own_have_connections_of_their_own() {
    run(async {
        let names = ["", "a.example", "b.example"];
        let listeners = vec![listener("https").certificates(&names).route(route("", "/"))];
        let world = World::new(ProxyOptions::default(), listeners);
        for (name, host, status) in [
            ("a.example", "a.example", 200),
            ("a.example", "A.example:443", 200),
            ("a.example", "b.example", 421),
            // There is no certificate for it: it is served as well here as anywhere.
            ("a.example", "c.example", 200),
            ("c.example", "b.example", 421),
            // Who says no name may not know about them.
            ("", "b.example", 200),
        ] {
            let mut client = world.client();
            client.send(client_hello_of(1, name)).await;
            assert_eq!(client.get(host, "/").await.status, status, "{name}: {host}");
            let logged = world.logged().pop().unwrap();
            assert_eq!(logged.server_name.unwrap_or_default(), name);
        }
        assert_eq!(world.proxy.counts().answers(L7Reason::MisdirectedRequest), 2);
    });
}

#[test]
fn what_begins_like_http2_and_is_not_is_a_request_that_is_wrong() {
    run(async {
        let world = world();
        for begun in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "PRI * HTTP/2.0\r\n\r\n"] {
            let mut client = world.client();
            client.send(begun).await;
            client.shut().await;
            let answers = answers_of(client.rest().await);
            assert_eq!(answers[0].text(), "505 bad_version\n");
        }
        let mut client = world.client();
        client.send("P").await;
        pass(Duration::from_millis(1)).await;
        client.send("OST / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    });
}
