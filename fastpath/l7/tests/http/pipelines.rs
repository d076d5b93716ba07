use super::aid::{Reply, Upstreams, World, answers_of, listener, pass, route, run};
use bytes::Bytes;
use http_body::Frame;
use sluice_l7::L7Reason;
use sluice_l7::http::ProxyOptions;
use std::time::Duration;

#[test]
fn requests_in_a_row_are_answered_in_a_row() {
    run(async {
        let upstreams = Upstreams::answering(|seen| match &*seen.uri {
            "/1" => Reply::text("first"),
            "/2" => Reply::text("second"),
            _ => Reply::text("third"),
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        client
            .send(
                "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
                POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            )
            .await;
        let answers = answers_of(client.rest().await);
        let texts: Vec<_> = answers.iter().map(|answer| answer.text()).collect();
        assert_eq!(texts, ["first", "second", "third"]);
        assert_eq!(answers[2].all("connection"), ["close"]);
        drop(client);
        world.proxy.ended().await;
        assert_eq!((world.log.opened.get(), world.log.closed.get()), (1, 1));
    });
}

/// An attempt to smuggle a request behind a good one: the good one is answered, the
/// attempt is refused, and nothing of it or behind it goes anywhere.
#[test]
fn what_is_wrong_behind_a_good_request_does_not_touch_it() {
    run(async {
        let upstreams = Upstreams::deciding(|_| async {
            // The attempt has come long before there is an answer.
            pass(Duration::from_secs(1)).await;
            Reply::text("good")
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let attempt = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\
            Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
        for is_at_once in [true, false] {
            let mut client = world.client();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            if !is_at_once {
                pass(Duration::from_millis(500)).await;
            }
            client.send(attempt).await;
            let answers = answers_of(client.rest().await);
            let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
            assert_eq!(statuses, [200, 400], "{is_at_once}");
            assert_eq!(answers[0].text(), "good");
            assert_eq!(answers[1].text(), "400 two_lengths\n");
            assert_eq!(answers[1].all("connection"), ["close"]);
        }
        assert_eq!(world.upstreams.begun.get(), 2);
        assert_eq!(world.proxy.counts().answers(L7Reason::TwoLengths), 2);
        let logged = world.logged();
        assert_eq!((logged[1].status, logged[1].reason), (400, Some(L7Reason::TwoLengths)));
        assert_eq!((&*logged[1].method, &*logged[1].path), ("", ""));
    });
}

/// What is wrong in a body is the answer to its own request, once.
#[test]
fn what_is_wrong_in_a_body_is_its_own_requests() {
    run(async {
        let world = World::simple();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (chunks, reason) in [
            ("3\r\nabcd\r\n0\r\n\r\n", L7Reason::BadChunk),
            ("3\nabc\r\n0\r\n\r\n", L7Reason::BareLineBreak),
            ("3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n", L7Reason::BadTrailer),
        ] {
            let mut client = world.client();
            client.send(format!("{head}{chunks}GET / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            let answers = answers_of(client.rest().await);
            assert_eq!(answers.len(), 1, "{chunks}");
            assert_eq!(answers[0].status, reason.status(), "{chunks}");
            assert!(answers[0].text().contains(reason.label()), "{chunks}");
            assert_eq!(world.proxy.counts().answers(reason), 1, "{chunks}");
            assert_eq!(world.logged().pop().unwrap().method, "POST");
        }
        assert!(world.seen().is_empty());
    });
}

#[test]
fn answers_that_are_long_come_whole() {
    run(async {
        let upstreams = Upstreams::answering(|seen| {
            let bytes: usize = seen.all("x-bytes")[0].parse().unwrap();
            let frames = (0..bytes / 1000)
                .map(|at| Ok(http_body::Frame::data(vec![at as u8; 1000].into())))
                .collect();
            Reply::frames(frames)
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        for bytes in [1000, 1_000_000] {
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Bytes: {bytes}\r\n\r\n")).await;
            let answer = client.answer().await;
            assert_eq!(answer.body.len(), bytes);
            assert!(answer.body.chunks(1000).enumerate().all(|(at, one)| one[999] == at as u8));
        }
    });
}

/// It knows of no chunks (RFC 9112 section 6.3), and is told so (section 9.6).
#[test]
fn to_http_1_0_an_answer_of_unknown_length_is_the_last_one() {
    run(async {
        let upstreams = Upstreams::answering(|seen| match &*seen.uri {
            "/known" => Reply::text("hello"),
            _ => Reply::frames(vec![Ok(Frame::data(Bytes::from_static(b"hello")))]),
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        let request = |path: &str| {
            format!("GET {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        };
        client.send(request("/known")).await;
        let answer = client.answer().await;
        assert_eq!((answer.text(), answer.all("connection")), ("hello", vec!["keep-alive"]));
        client.send(request("/unknown")).await;
        let rest = String::from_utf8(client.rest().await).unwrap().to_lowercase();
        assert!(rest.contains("\r\nconnection: close\r\n"), "{rest}");
        assert!(!rest.contains("keep-alive") && !rest.contains("chunked"), "{rest}");
        assert!(rest.ends_with("\r\n\r\nhello"), "{rest}");
        // So is one whose request has a body that nobody reads.
        let mut client = world.client();
        let request = request("/../x").replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\n");
        client.send(request).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.all("connection")), (400, vec!["close"]));
        client.is_ended().await;
    });
}
