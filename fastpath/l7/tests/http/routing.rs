use super::aid::{Client2, Reply, Upstreams, World, h2_request, listener, route, run};
use sluice_l7::L7Reason;
use sluice_l7::http::ProxyOptions;

fn answering() -> Upstreams {
    Upstreams::answering(|_| Reply::text("hello"))
}

#[test]
fn requests_go_where_their_routes_lead() {
    run(async {
        let listeners = vec![
            listener("http")
                .route(route("shop.example", "/"))
                .route(route("shop.example", "/cart"))
                .route(route("shop.example", "/beta").header("x-beta", "1"))
                .route(route("", "/any")),
            listener("other").route(route("other.example", "/")),
        ];
        let world = World::with(ProxyOptions::default(), listeners, answering());
        let mut client = world.client();
        for (host, path, upstream) in [
            ("shop.example", "/", "shop.example/"),
            ("SHOP.example.:80", "/cart/1?a=b", "shop.example/cart"),
            ("shop.example", "/a/../%63art", "shop.example/cart"),
            ("shop.example", "/beta", "shop.example/"),
            ("else.example", "/any", "/any"),
        ] {
            let answer = client.get(host, path).await;
            assert_eq!((answer.status, answer.text()), (200, "hello"), "{host}{path}");
            let seen = world.seen().pop().unwrap();
            assert_eq!(seen.upstream, upstream, "{host}{path}");
            assert_eq!(seen.all("host"), [host]);
            let logged = world.logged().pop().unwrap();
            assert_eq!((logged.status, logged.reason), (200, None));
            assert_eq!(logged.upstream.as_deref(), Some(upstream));
            assert_eq!(logged.bytes, (0, 5));
        }
        client.send("GET /beta HTTP/1.1\r\nHost: shop.example\r\nX-Beta: 1\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(world.seen().pop().unwrap().upstream, "shop.example/beta");
        // The other listener has routes of its own.
        let mut other = world.client_of(1, "192.0.2.9:1");
        assert_eq!(other.get("other.example", "/").await.status, 200);
        assert_eq!(other.get("shop.example", "/").await.status, 404);
    });
}

#[test]
fn what_has_no_route_is_told_why() {
    run(async {
        let listeners = vec![
            listener("http")
                .route(route("shop.example", "/cart"))
                .route(route("shop.example", "/odd").unsupported()),
        ];
        let options = ProxyOptions { shows_reason: true, ..ProxyOptions::default() };
        let world = World::with(options, listeners, answering());
        let mut client = world.client();
        for (host, path, reason) in [
            ("shop.example", "/", L7Reason::NoRoute),
            ("else.example", "/cart", L7Reason::NoRoute),
            ("shop.example", "/cartoon", L7Reason::NoRoute),
            ("shop.example", "/cart/../..", L7Reason::BadPath),
            ("shop.example", "/cart/%2", L7Reason::BadPath),
            ("shop.example", "/odd", L7Reason::RouteUnsupported),
        ] {
            let before = world.proxy.counts().answers(reason);
            let answer = client.get(host, path).await;
            assert_eq!(answer.status, reason.status(), "{path}");
            assert_eq!(answer.text(), format!("{} {}\n", reason.status(), reason.label()));
            assert_eq!(answer.all("x-sluice-reason"), [reason.label()]);
            assert_eq!(answer.all("date").len(), 1);
            assert_eq!(world.proxy.counts().answers(reason), before + 1);
            let logged = world.logged().pop().unwrap();
            assert_eq!((logged.status, logged.reason), (reason.status(), Some(reason)));
            assert_eq!(logged.path, path);
        }
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = client.answer_to_head().await;
        assert_eq!((answer.status, answer.all("content-length")), (404, vec!["13"]));
        assert_eq!(client.get("shop.example", "/cart").await.status, 200, "the connection stays");
        assert_eq!(world.seen().len(), 1);
    });
}

#[test]
fn reasons_are_not_shown_unless_asked_for() {
    run(async {
        let world = World::with(ProxyOptions::default(), vec![listener("http")], answering());
        let answer = world.client().get("a", "/").await;
        assert_eq!((answer.status, answer.all("x-sluice-reason").len()), (404, 0));
    });
}

#[test]
fn clients_are_redirected_to_tls() {
    run(async {
        let routes = || route("", "/").redirect();
        let listeners = vec![
            listener("http").trusts("192.0.2.128", 25).route(routes()),
            listener("https").certificates(&[""]).route(routes()),
        ];
        let world = World::with(ProxyOptions::default(), listeners, answering());
        let answer = world.client().get("Shop.example:80", "/a%20b?c=d").await;
        assert_eq!(answer.status, 308);
        assert_eq!(answer.all("location"), ["https://Shop.example/a%20b?c=d"]);
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.status, logged.reason), (308, None));
        // A body that nobody reads is not taken for the next request.
        let mut client = world.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nGET /").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.all("connection")), (308, vec!["close"]));
        client.is_ended().await;
        // A proxy in front says that its client has come in TLS; others are not believed.
        let told = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n";
        for (from, status) in [("192.0.2.129:1", 200), ("192.0.2.1:1", 308)] {
            let mut client = world.client_from(from);
            client.send(told).await;
            assert_eq!(client.answer().await.status, status);
        }
        let mut client = world.client_of(1, "192.0.2.1:1");
        client.send(super::aid::client_hello(1)).await;
        assert_eq!(client.get("a", "/").await.status, 200);
        // Nobody knows where to go without a host.
        let mut client = world.client();
        client.send("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 400);
        assert_eq!(world.proxy.counts().answers(L7Reason::BadHost), 1);
    });
}

/// RFC 9110 section 7.4.
#[test]
fn https_is_not_asked_for_without_tls() {
    run(async {
        let listeners = vec![
            listener("http").trusts("192.0.2.128", 25).speaks_proxy().route(route("", "/")),
            listener("https").certificates(&[""]).route(route("", "/")),
            listener("http").trusts("192.0.2.128", 25).route(route("", "/")),
        ];
        let world = World::with(ProxyOptions::default(), listeners, answering());
        let request = |uri: &str| format!("GET {uri} HTTP/1.1\r\nHost: a\r\n\r\n");
        let line = "PROXY TCP4 203.0.113.5 198.51.100.1 12345 81\r\n";
        for (listener, from, before, uri, status) in [
            (0, "192.0.2.1:1", "", "https://a/x", 421),
            (0, "192.0.2.1:1", "", "HTTPS://a", 421),
            (0, "192.0.2.1:1", "", "http://a/x", 200),
            // Proxies may have it from a client in TLS.
            (0, "192.0.2.129:1", line, "https://a/x", 200),
            (2, "192.0.2.129:1", "", "https://a/x", 200),
            (1, "192.0.2.1:1", "\x16\x01\0", "https://a/x", 200),
            (1, "192.0.2.1:1", "\x16\x01\0", "http://a/x", 200),
        ] {
            let mut client = world.client_of(listener, from);
            client.send(format!("{before}{}", request(uri))).await;
            assert_eq!(client.answer().await.status, status, "{listener} {from} {uri}");
        }
        let mut client = Client2::new(&world.net, world.client()).await;
        let answer = client.ask(h2_request("GET", "https://a/x", &[], "")).await;
        assert_eq!(answer.0, L7Reason::MisdirectedRequest.status());
        assert_eq!(world.proxy.counts().answers(L7Reason::MisdirectedRequest), 3);
    });
}

#[test]
fn backends_are_asked_for_other_paths() {
    run(async {
        let listeners = vec![
            listener("http")
                .route(route("", "/api").rewrite("^/api(/|$)(.*)", "/v1/$2"))
                .route(route("", "/dots").rewrite("^/dots/(.*)", "/..$1")),
        ];
        let world = World::with(ProxyOptions::default(), listeners, answering());
        let mut client = world.client();
        for (path, expected) in
            [("/api/users?a=b", "/v1/users?a=b"), ("/api", "/v1/"), ("/api/%7e?", "/v1/~?")]
        {
            assert_eq!(client.get("a", path).await.status, 200, "{path}");
            assert_eq!(world.seen().pop().unwrap().uri, expected);
        }
        assert_eq!(client.get("a", "/dots//x").await.status, 400);
        assert_eq!(world.proxy.counts().answers(L7Reason::BadPath), 1);
    });
}

#[test]
fn what_an_upstream_says_is_what_the_client_is_told() {
    run(async {
        let reasons = [
            L7Reason::NoEndpoint,
            L7Reason::PolicyDenied,
            L7Reason::ConnectTimeout,
            L7Reason::UpstreamReset,
        ];
        for reason in reasons {
            let upstreams = Upstreams::answering(move |_| Reply::refused(reason));
            let routes = vec![listener("http").route(route("", "/"))];
            let world = World::with(ProxyOptions::default(), routes, upstreams);
            let answer = world.client().get("a", "/").await;
            assert_eq!(answer.status, reason.status());
            assert_eq!(world.proxy.counts().answers(reason), 1);
            let logged = world.logged().pop().unwrap();
            assert_eq!((logged.reason, logged.attempts), (Some(reason), 2));
            assert_eq!(logged.endpoint, Some("10.1.0.7:8080".parse().unwrap()));
        }
    });
}
