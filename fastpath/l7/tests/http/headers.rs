use super::aid::{
    Client2, Reply, Upstreams, World, client_hello, h2_request, listener, route, run,
};
use sluice_l7::L7Reason;
use sluice_l7::http::ProxyOptions;
use sluice_tables::l7::BackendProtocol;

/// A gateway that trusts 10.0.0.0/8.
fn world() -> World {
    let listeners = vec![
        listener("http").trusts("10.0.0.0", 8).route(route("", "/")),
        listener("https").certificates(&[""]).route(route("", "/")),
    ];
    World::new(ProxyOptions::default(), listeners)
}

const CLAIMS: &str = "X-Forwarded-For: 198.51.100.7, 203.0.113.5\r\n\
    X-Forwarded-For: 10.0.0.9\r\n\
    X-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: public.example\r\n\
    X-Forwarded-Port: 443\r\n\
    X-Real-IP: 198.51.100.7\r\n\
    Forwarded: for=198.51.100.7\r\n\
    X-Request-ID: theirs\r\n";

#[test]
fn what_strangers_say_of_themselves_goes_no_further() {
    run(async {
        let world = world();
        let mut client = world.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: a.example:80\r\n{CLAIMS}\r\n")).await;
        assert_eq!(client.answer().await.status, 200);
        let seen = world.seen().pop().unwrap();
        for (name, expected) in [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.example:80"),
            ("x-forwarded-port", "80"),
            ("x-real-ip", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1;host=\"a.example:80\";proto=http"),
        ] {
            assert_eq!(seen.all(name), [expected], "{name}");
        }
        let id = seen.all("x-request-id")[0].to_owned();
        assert!(id.len() == 36 && id.as_bytes()[14] == b'4', "{id}");
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.real_client.as_str(), &logged.request_id), ("192.0.2.1", &id));
        assert_eq!(seen.terms.client.to_string(), "192.0.2.1");
        // The next one has another id, and another host.
        client.get("b.example", "/").await;
        let next = world.seen().pop().unwrap();
        assert_ne!(next.all("x-request-id"), [&*id]);
        assert_eq!(next.all("forwarded"), ["for=192.0.2.1;host=\"b.example\";proto=http"]);
    });
}

#[test]
fn trusted_proxies_are_believed_and_added_to() {
    run(async {
        let world = world();
        let mut client = world.client_from("10.0.0.8:5000");
        client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{CLAIMS}\r\n")).await;
        assert_eq!(client.answer().await.status, 200);
        let seen = world.seen().pop().unwrap();
        for (name, expected) in [
            ("x-forwarded-for", "198.51.100.7, 203.0.113.5, 10.0.0.9, 10.0.0.8"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public.example"),
            ("x-forwarded-port", "443"),
            // The last one that is no trusted proxy: what it says itself may be made up.
            ("x-real-ip", "203.0.113.5"),
            ("forwarded", "for=198.51.100.7, for=10.0.0.8;host=\"a.example\";proto=http"),
            ("x-request-id", "theirs"),
        ] {
            assert_eq!(seen.all(name), [expected], "{name}");
        }
        assert_eq!(seen.terms.client.to_string(), "203.0.113.5");
        assert_eq!(world.logged().pop().unwrap().real_client, "203.0.113.5");
        // One who says nothing of its client speaks for itself.
        client.get("a.example", "/").await;
        let seen = world.seen().pop().unwrap();
        assert_eq!(seen.all("x-forwarded-for"), ["10.0.0.8"]);
        assert_eq!(seen.all("x-real-ip"), ["10.0.0.8"]);
        assert_eq!(seen.all("x-request-id")[0].len(), 36);
    });
}

#[test]
fn the_real_client_is_found_however_it_is_written() {
    run(async {
        let world = world();
        let mut client = world.client_from("10.0.0.8:5000");
        for (claim, expected) in [
            ("X-Forwarded-For: 203.0.113.5:1234, 10.1.2.3", "203.0.113.5"),
            ("X-Forwarded-For: [2001:db8::7]:99", "2001:db8::7"),
            ("X-Forwarded-For: 2001:db8::7", "2001:db8::7"),
            ("X-Forwarded-For: ::ffff:203.0.113.5, ::ffff:10.1.2.3", "203.0.113.5"),
            ("X-Forwarded-For: 10.3.3.3,10.2.2.2", "10.3.3.3"),
            ("X-Forwarded-For: unknown, 10.2.2.2", "10.2.2.2"),
            ("X-Forwarded-For: unknown", "10.0.0.8"),
            ("X-Real-IP: 203.0.113.9", "203.0.113.9"),
            ("X-Real-IP: nobody", "10.0.0.8"),
        ] {
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{claim}\r\n\r\n")).await;
            assert_eq!(client.answer().await.status, 200);
            assert_eq!(world.seen().pop().unwrap().terms.client.to_string(), expected, "{claim}");
        }
    });
}

#[test]
fn clients_in_tls_and_of_ipv6_are_told_as_such() {
    run(async {
        let world = world();
        let mut client = world.client_of(1, "[2001:db8::1]:40000");
        client.send(client_hello(1)).await;
        assert_eq!(client.get("a.example", "/").await.status, 200);
        let seen = world.seen().pop().unwrap();
        assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
        assert_eq!(seen.all("x-forwarded-for"), ["2001:db8::1"]);
        let forwarded = "for=\"[2001:db8::1]\";host=\"a.example\";proto=https";
        assert_eq!(seen.all("forwarded"), [forwarded]);
    });
}

#[test]
fn headers_of_one_hop_do_not_go_on_and_others_do() {
    run(async {
        let upstreams = Upstreams::answering(|_| {
            Reply::text("hello")
                .header("connection", "x-hop, keep-alive")
                .header("x-hop", "1")
                .header("keep-alive", "timeout=5")
                .header("upgrade", "h2c")
                .header("x-kept", "1")
                .header("x-kept", "2")
                .header("date", "Thu, 01 Jan 1970 00:00:00 GMT")
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        client
            .send(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
                Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers, gzip\r\n\
                Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
                traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
                tracestate: a=1,b=2\r\nVia: 1.0 fred\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
            )
            .await;
        let answer = client.answer().await;
        let seen = world.seen().pop().unwrap();
        for gone in
            ["connection", "x-hop", "keep-alive", "proxy-connection", "upgrade", "http2-settings"]
        {
            assert!(seen.all(gone).is_empty(), "{gone}");
            assert!(answer.all(gone).is_empty(), "{gone}");
        }
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (name, expected) in [
            ("te", "trailers"),
            ("traceparent", trace),
            ("tracestate", "a=1,b=2"),
            ("via", "1.0 fred"),
            ("cookie", "a=1; b=2"),
        ] {
            assert_eq!(seen.all(name), [expected], "{name}");
        }
        assert_eq!(answer.all("x-kept"), ["1", "2"]);
        assert_eq!(answer.all("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
        assert!(answer.all("via").is_empty());
    });
}

#[test]
fn http2_and_http1_are_said_each_in_its_own_words() {
    run(async {
        let listeners = vec![
            listener("http")
                .route(route("", "/"))
                .route(route("", "/h2c").protocol(BackendProtocol::H2c))
                .route(route("", "/h2").protocol(BackendProtocol::H2)),
        ];
        let world = World::new(ProxyOptions::default(), listeners);
        let mut one = world.client();
        let mut two = Client2::new(&world.net, world.client()).await;
        for (path, target, version, host) in [
            ("/a?b", "/a?b", http::Version::HTTP_11, vec!["shop.example"]),
            ("/h2c?b", "http://shop.example/h2c?b", http::Version::HTTP_2, vec![]),
            ("/h2", "https://shop.example/h2", http::Version::HTTP_2, vec![]),
        ] {
            let cookies = [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")];
            let uri = format!("http://shop.example{path}");
            let (status, headers, ..) = two.ask(h2_request("GET", &uri, &cookies, "")).await;
            assert_eq!((status, headers.len()), (200, 2), "{headers:?}");
            let of_two = world.seen().pop().unwrap();
            one.send(format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n")).await;
            assert_eq!(one.answer().await.status, 200);
            let of_one = world.seen().pop().unwrap();
            for seen in [&of_one, &of_two] {
                assert_eq!((&*seen.uri, seen.version), (target, version));
                assert_eq!(seen.all("host"), host);
                assert_eq!(seen.all("x-forwarded-host"), ["shop.example"]);
            }
            assert_eq!(of_two.all("te"), ["trailers"]);
            let is_http2 = version == http::Version::HTTP_2;
            let joined = if is_http2 { vec!["a=1", "b=2"] } else { vec!["a=1; b=2"] };
            assert_eq!(of_two.all("cookie"), joined);
        }
        assert_eq!(world.logged()[0].protocol, "HTTP/2.0");
    });
}

/// RFC 9110 section 7.6.2.
#[test]
fn requests_that_may_go_no_further_are_answered_here() {
    run(async {
        let world = world();
        let mut client = world.client();
        for (method, few, status, left) in [
            ("OPTIONS", "0", 200, None),
            ("TRACE", "0", 501, None),
            ("OPTIONS", "1", 200, Some("0")),
            ("TRACE", "7", 200, Some("6")),
            ("GET", "0", 200, Some("0")),
            ("OPTIONS", "x", 200, Some("x")),
        ] {
            let before = world.seen().len();
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {few}\r\n\r\n");
            client.send(request).await;
            let answer = client.answer().await;
            assert_eq!(answer.status, status, "{method} {few}");
            assert_eq!(world.logged().pop().unwrap().status, status);
            let seen = world.seen();
            let passed = seen.get(before).map(|seen| seen.all("max-forwards"));
            assert_eq!(passed, left.map(|left| vec![left]), "{method} {few}");
            if left.is_none() && status == 200 {
                assert_eq!((answer.text(), answer.all("content-length")), ("", vec!["0"]));
            }
        }
        assert_eq!(world.proxy.counts().answers(L7Reason::BadMethod), 1);
    });
}
