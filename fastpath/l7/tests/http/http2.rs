use super::aid::{
    Client2, PREFACE, Reply, Upstreams, World, get_of_stream, h2_request, listener, pass, route,
    run,
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use sluice_l7::L7Reason;
use sluice_l7::http::{Http2Options, ProxyOptions};
use std::time::Duration;

fn world() -> World {
    let options = ProxyOptions { shows_reason: true, ..ProxyOptions::default() };
    World::new(options, vec![listener("http").route(route("", "/"))])
}

#[test]
fn requests_are_as_strict_as_those_of_http1() {
    run(async {
        let world = world();
        let long = format!("http://a/{}", "x".repeat(9000));
        let many: Vec<_> = (0..101).map(|_| ("x", "y")).collect();
        let none: &[(&str, &str)] = &[];
        for (method, uri, headers, reason) in [
            ("GET", "http://a/", &[("host", "b")][..], L7Reason::BadHost),
            ("GET", "http://a/", &[("host", "a"), ("host", "a")], L7Reason::BadHost),
            ("GET", "http://user@a/", none, L7Reason::BadHost),
            ("GET", "http://a:99999999/", none, L7Reason::BadHost),
            ("CONNECT", "a:443", none, L7Reason::BadMethod),
            ("get", "http://a/", none, L7Reason::BadMethod),
            ("GET", "ftp://a/", none, L7Reason::BadTarget),
            ("GET", &long, none, L7Reason::TargetTooLong),
            ("POST", "http://a/", &[("expect", "more")], L7Reason::BadExpectation),
            ("POST", "http://a/", &[("content_length", "1")], L7Reason::BadHeaderName),
            ("GET", "http://a/", &[("x", " 1")], L7Reason::BadHeaderValue),
            ("GET", "http://a/", &[("x", "1\t")], L7Reason::BadHeaderValue),
            ("GET", "http://a/", &many, L7Reason::TooManyHeaders),
            ("GET", "http://a/../x", none, L7Reason::BadPath),
        ] {
            let mut client = Client2::new(&world.net, world.client()).await;
            let before = world.proxy.counts().answers(reason);
            let (status, headers, ..) = client.ask(h2_request(method, uri, headers, "")).await;
            assert_eq!(headers["x-sluice-reason"], reason.label(), "{method} {uri}");
            assert_eq!(status, reason.status(), "{method} {uri}");
            assert_eq!(world.proxy.counts().answers(reason), before + 1);
        }
        assert!(world.seen().is_empty());
        let mut client = Client2::new(&world.net, world.client()).await;
        let headers = [("host", "A.example"), ("x", "1 \t2"), ("y", "")];
        let same = h2_request("GET", "http://a.example/", &headers, "");
        assert_eq!(client.ask(same).await.0, 200);
        assert_eq!(world.seen()[0].all("host"), ["A.example"]);
    });
}

#[test]
fn answers_to_head_have_no_body() {
    run(async {
        let world = World::new(ProxyOptions::default(), vec![listener("http")]);
        let mut client = Client2::new(&world.net, world.client()).await;
        let (status, headers, body, _) = client.ask(h2_request("HEAD", "http://a/", &[], "")).await;
        assert_eq!((status, body.len()), (404, 0));
        assert_eq!(headers["content-length"], "13");
    });
}

#[test]
fn requests_are_answered_beside_each_other() {
    run(async {
        let upstreams = Upstreams::deciding(|request| async move {
            let is_slow = request.uri().path() == "/slow";
            pass(Duration::from_secs(if is_slow { 50 } else { 1 })).await;
            Reply::text(if is_slow { "slow" } else { "fast" })
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = Client2::new(&world.net, world.client()).await;
        let mut other = Client2 { sender: client.sender.clone(), is_over: client.is_over.clone() };
        let start = tokio::time::Instant::now();
        let slow = client.ask(h2_request("GET", "http://a/slow", &[], ""));
        let fast = async {
            let answer = other.ask(h2_request("GET", "http://a/fast", &[], "")).await;
            assert_eq!(start.elapsed().as_secs(), 1);
            answer
        };
        let (slow, fast) = tokio::join!(slow, fast);
        assert_eq!((&*slow.2, &*fast.2), (&b"slow"[..], &b"fast"[..]));
    });
}

#[test]
fn a_request_that_is_given_up_is_given_up_behind_the_gateway() {
    run(async {
        let upstreams = Upstreams::answering(|_| {
            let frame = || Ok(Frame::data(Bytes::from_static(&[7; 10_000])));
            Reply::slowly((0..100).map(|_| frame()).collect())
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = Client2::new(&world.net, world.client()).await;
        let mut body = client.send(h2_request("GET", "http://a/", &[], "")).await.unwrap();
        assert!(body.body_mut().frame().await.unwrap().is_ok());
        drop(body);
        pass(Duration::from_secs(5)).await;
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.status, logged.is_aborted), (200, true));
        assert!(!client.is_over.get());
    });
}

/// HTTP/2 Rapid Reset (CVE-2023-44487).
#[test]
fn requests_that_are_given_up_at_once_end_the_connection() {
    run(async {
        let http2 = Http2Options { pending_resets_max: 5, ..Http2Options::default() };
        let options = ProxyOptions { http2, ..ProxyOptions::default() };
        let world = World::new(options, vec![listener("http").route(route("", "/"))]);
        let mut client = world.client();
        client.send(PREFACE).await;
        let mut flood = Vec::new();
        for stream in (1..200_u32).step_by(2) {
            flood.extend(get_of_stream(stream));
            // RST_STREAM, CANCEL.
            flood.extend([0, 0, 4, 3, 0]);
            flood.extend(stream.to_be_bytes());
            flood.extend([0, 0, 0, 8]);
        }
        client.send(flood).await;
        let came = client.rest().await;
        // GOAWAY, and why: ENHANCE_YOUR_CALM.
        let goaway = came.windows(17).any(|frame| frame[3] == 7 && frame[16] == 11);
        assert!(goaway, "{came:?}");
        assert!(world.seen().len() <= 6, "{}", world.seen().len());
    });
}

#[test]
fn a_client_that_does_not_answer_pings_is_left() {
    run(async {
        let world = world();
        let mut client = world.client();
        client.send(PREFACE).await;
        let start = tokio::time::Instant::now();
        client.rest().await;
        let seconds = start.elapsed().as_secs();
        assert!((49..55).contains(&seconds), "{seconds}");
    });
}
