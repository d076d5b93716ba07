//! What proxies and strangers say of where requests come from.

use super::aid::{Client, World, listener, route, run};
use sluice_l7::http::ProxyOptions;

/// A gateway that trusts 10.0.0.0/8, and sends others to TLS.
fn world() -> World {
    let routes = [route("", "/"), route("secure.example", "/").redirect()];
    let listener = routes.into_iter().fold(listener("http"), |all, one| all.route(one));
    World::new(ProxyOptions::default(), vec![listener.trusts("10.0.0.0", 8)])
}

/// What a pod is told of the client of a request with such headers.
async fn client_of(world: &World, client: &mut Client, claims: &[&str]) -> String {
    let lines: String = claims.iter().map(|claim| format!("{claim}\r\n")).collect();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
    assert_eq!(client.answer().await.status, 200, "{claims:?}");
    let seen = world.seen().pop().unwrap();
    let told = seen.terms.client.to_string();
    assert_eq!(world.logged().pop().unwrap().real_client, told, "{claims:?}");
    assert_eq!(seen.all("x-real-ip"), [&*told], "{claims:?}");
    told
}

#[test]
fn the_real_client_is_that_of_forwarded() {
    run(async {
        let world = world();
        let mut client = world.client_from("10.0.0.8:5000");
        for (claim, expected) in [
            ("for=203.0.113.5", "203.0.113.5"),
            ("For=\"203.0.113.5:1234\";proto=https, for=10.1.2.3", "203.0.113.5"),
            ("for=198.51.100.7, for=203.0.113.5, for=10.0.0.9", "203.0.113.5"),
            ("for=\"[2001:db8::7]:99\"", "2001:db8::7"),
            ("for=\"[::ffff:203.0.113.5]\"", "203.0.113.5"),
            ("for=10.3.3.3, for=10.2.2.2", "10.3.3.3"),
            ("for=203.0.113.5, for=unknown, for=10.2.2.2", "10.2.2.2"),
            ("for=203.0.113.5, for=_hidden", "10.0.0.8"),
            ("for=203.0.113.5, by=10.0.0.8", "10.0.0.8"),
            // Malformed somewhere is malformed.
            ("for=\", for=203.0.113.5", "10.0.0.8"),
            ("nonsense, for=203.0.113.5", "10.0.0.8"),
            ("for=203.0.113.5; proto=https", "10.0.0.8"),
        ] {
            let claim = format!("Forwarded: {claim}");
            assert_eq!(client_of(&world, &mut client, &[&claim]).await, expected, "{claim}");
        }
        for (claims, expected) in [
            (&["Forwarded: for=203.0.113.5", "Forwarded: for=10.0.0.9"][..], "203.0.113.5"),
            (&["Forwarded: for=203.0.113.5", "Forwarded: for"], "10.0.0.8"),
            // Where both are, it is that of X-Forwarded-For; X-Real-IP is the last.
            (&["Forwarded: for=203.0.113.5", "X-Forwarded-For: 203.0.113.6"], "203.0.113.6"),
            (&["Forwarded: for=203.0.113.5", "X-Forwarded-For: unknown"], "10.0.0.8"),
            (&["Forwarded: for=203.0.113.5", "X-Real-IP: 203.0.113.7"], "203.0.113.5"),
            (&["Forwarded: for=unknown", "X-Real-IP: 203.0.113.7"], "10.0.0.8"),
            (&["Forwarded: proto=https", "X-Real-IP: 203.0.113.7"], "203.0.113.7"),
            (&["Forwarded: for=x y", "X-Real-IP: 203.0.113.7"], "203.0.113.7"),
        ] {
            assert_eq!(client_of(&world, &mut client, claims).await, expected, "{claims:?}");
        }
        // Strangers are not believed.
        let mut client = world.client();
        let told = client_of(&world, &mut client, &["Forwarded: for=203.0.113.5"]).await;
        assert_eq!(told, "192.0.2.1");
    });
}

#[test]
fn pods_are_told_it_in_the_words_that_they_read() {
    run(async {
        let world = world();
        let mut client = world.client_from("10.0.0.8:5000");
        let claims = ["Forwarded: for=203.0.113.5;proto=https, for=10.0.0.9;proto=http"];
        client_of(&world, &mut client, &claims).await;
        let seen = world.seen().pop().unwrap();
        assert_eq!(seen.all("x-forwarded-for"), ["203.0.113.5, 10.0.0.8"]);
        assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
        let added = "for=10.0.0.8;host=\"a\";proto=http";
        let all = ["for=203.0.113.5;proto=https, for=10.0.0.9;proto=http", added].join(", ");
        assert_eq!(seen.all("forwarded"), [&*all]);
    });
}

#[test]
fn proxies_say_whether_their_client_came_in_tls() {
    run(async {
        let world = world();
        let mut client = world.client_from("10.0.0.8:5000");
        for (claims, is_encrypted) in [
            (&["X-Forwarded-Proto: https"][..], true),
            (&["X-Forwarded-Proto: http"], false),
            // The element of the client, whoever it is.
            (&["X-Forwarded-For: 203.0.113.5, 10.0.0.9", "X-Forwarded-Proto: https, http"], true),
            (&["X-Forwarded-For: 203.0.113.5, 10.0.0.9", "X-Forwarded-Proto: http, https"], false),
            (&["X-Forwarded-For: 10.0.0.7,10.0.0.9", "X-Forwarded-Proto: https,http"], true),
            (&["X-Forwarded-For: 10.0.0.7,10.0.0.9", "X-Forwarded-Proto: https"], true),
            // What a client has made up before that of its own.
            (&["X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https, http"], false),
            (&["X-Forwarded-For: 1.1.1.1, 203.0.113.5", "X-Forwarded-Proto: https, http"], false),
            (&["X-Forwarded-Proto: https, http"], false),
            (&["X-Forwarded-Proto: http", "X-Forwarded-Proto: https"], true),
            (&["Forwarded: proto=HTTPS"], true),
            (&["Forwarded: for=203.0.113.5;proto=https"], true),
            (&["Forwarded: for=203.0.113.5;proto=https, for=10.0.0.9;proto=http"], true),
            (&["Forwarded: for=203.0.113.5;proto=http, for=10.0.0.9;proto=https"], false),
            (&["Forwarded: for=1.1.1.1;proto=https, for=203.0.113.5;proto=http"], false),
            (&["Forwarded: for=203.0.113.5, for=10.0.0.9;proto=https"], false),
            (&["Forwarded: proto=https, for="], false),
            (&["Forwarded: proto=https", "X-Forwarded-Proto: http"], false),
            (&["Forwarded: proto=http", "X-Forwarded-Proto: https"], true),
            (&["Forwarded: for=203.0.113.5;proto=https", "X-Forwarded-For: 203.0.113.5"], true),
            (&["Forwarded: for=1.1.1.1, for=10.0.0.9", "X-Forwarded-Proto: https, http"], true),
        ] {
            let lines: String = claims.iter().map(|claim| format!("{claim}\r\n")).collect();
            client.send(format!("GET / HTTP/1.1\r\nHost: secure.example\r\n{lines}\r\n")).await;
            let status = client.answer().await.status;
            assert_eq!(status, if is_encrypted { 200 } else { 308 }, "{claims:?}");
        }
    });
}

/// Many servers behind take `_` and `-` for the same.
#[test]
fn nobody_says_with_low_lines_what_the_gateway_says() {
    run(async {
        let world = world();
        let lookalikes = [
            "x_forwarded_for",
            "X-Forwarded_Host",
            "X_FORWARDED_PROTO",
            "x_forwarded_port",
            "x_forwarded_ssl",
            "x_real_ip",
            "x_request-id",
            "x_scheme",
            "ssl_client_verify",
            "ssl_client_subject_dn",
        ];
        let claims =
            ["X-Scheme", "X-Forwarded-Scheme", "X-Forwarded-SSL", "X-Original-Forwarded-For"];
        let others = ["x_other", "x-forwarded-prefix", "traceparent", "my_header"];
        let all = lookalikes.iter().chain(&claims).chain(&others);
        let lines: String = all.map(|name| format!("{name}: 1\r\n{name}: 2\r\n")).collect();
        for (from, is_trusted) in [("192.0.2.1:1", false), ("10.0.0.8:1", true)] {
            let mut client = world.client_from(from);
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
            assert_eq!(client.answer().await.status, 200);
            let seen = world.seen().pop().unwrap();
            for name in lookalikes {
                assert!(seen.all(&name.to_ascii_lowercase()).is_empty(), "{name}");
            }
            for name in claims {
                let is_there = !seen.all(&name.to_ascii_lowercase()).is_empty();
                assert_eq!(is_there, is_trusted, "{name}");
            }
            for name in others {
                assert_eq!(seen.all(name), ["1", "2"], "{name}");
            }
            // Neither are they said behind a body.
            let trailer = "1\r\na\r\n0\r\nX_Real_IP: 1\r\n\r\n";
            let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            client.send(format!("{head}{trailer}")).await;
            assert_eq!(client.answer().await.status, 400);
        }
    });
}
