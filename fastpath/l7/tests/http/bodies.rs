use super::aid::{
    Client2, Reply, TestNet, Upstreams, World, h2_request, listener, pass, route, run, served_by,
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt;
use sluice_l7::L7Reason;
use sluice_l7::http::ProxyOptions;
use sluice_l7::kernel::KernelNet;
use sluice_tables::l7::BackendProtocol;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn bodies_and_trailers_pass_both_ways() {
    run(async {
        let upstreams = Upstreams::answering(|_| {
            let mut trailers = HeaderMap::new();
            trailers.insert("checksum", "2".parse().unwrap());
            trailers.insert("connection", "x".parse().unwrap());
            let frames = vec![
                Ok(Frame::data(Bytes::from_static(b"hello, "))),
                Ok(Frame::data(Bytes::from_static(b"world"))),
                Ok(Frame::trailers(trailers)),
            ];
            Reply::frames(frames).header("trailer", "checksum, connection")
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        client
            .send(
                "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
                3;x=y\r\nabc\r\n4\r\ndefg\r\n0\r\nChecksum: 1\r\n\r\n",
            )
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.text(), "hello, world");
        assert_eq!(answer.trailers, [("checksum".to_owned(), "2".to_owned())]);
        let seen = world.seen().pop().unwrap();
        assert_eq!((&*seen.method, &*seen.body), ("POST", &b"abcdefg"[..]));
        assert_eq!(seen.trailers.unwrap()["checksum"], "1");
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.bytes, logged.is_aborted), ((7, 12), false));
        // Clients of HTTP/2 get them too, without having asked.
        let mut two = Client2::new(&world.net, world.client()).await;
        let request = h2_request("POST", "http://a/", &[], "abc");
        let (status, _, body, trailers) = two.ask(request).await;
        assert_eq!((status, &*body), (200, &b"hello, world"[..]));
        assert_eq!(trailers.unwrap()["checksum"], "2");
    });
}

/// An endpoint of gRPC: it answers with the method's name, and its status behind.
#[test]
fn grpc_passes_from_end_to_end() {
    run(async {
        let net = TestNet::new(KernelNet::new());
        let of_endpoint = net.clone();
        let upstreams = Upstreams::wired(net.clone(), move |pipe| {
            served_by(of_endpoint.clone(), pipe, true, |request| async move {
                assert_eq!(request.headers()["te"], "trailers");
                assert_eq!(request.uri().authority().unwrap(), "grpc.example");
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                Reply::frames(vec![Ok(Frame::data(body)), Ok(Frame::trailers(trailers))])
                    .header("content-type", "application/grpc")
            })
        });
        let listeners = vec![listener("http").route(route("", "/").protocol(BackendProtocol::H2c))];
        let world = World::on(net, ProxyOptions::default(), listeners, upstreams);
        let mut client = Client2::new(&world.net, world.client()).await;
        for text in ["\0\0\0\0\x01a", "\0\0\0\0\x02bc"] {
            let headers = [("te", "trailers"), ("content-type", "application/grpc")];
            let request = h2_request("POST", "http://grpc.example/a.B/C", &headers, text);
            let (status, headers, body, trailers) = client.ask(request).await;
            assert_eq!((status, &*body), (200, text.as_bytes()));
            assert_eq!(headers["content-type"], "application/grpc");
            assert_eq!(trailers.unwrap()["grpc-status"], "0");
        }
    });
}

/// What goes out over a wire of HTTP/1.1, whatever the client says it in.
#[test]
fn a_body_of_unknown_length_goes_out_in_chunks_whatever_the_method() {
    run(async {
        let net = TestNet::new(KernelNet::new());
        let came: Rc<RefCell<Vec<String>>> = Rc::default();
        let into = came.clone();
        let upstreams = Upstreams::wired(net.clone(), move |mut pipe| {
            let into = into.clone();
            async move {
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"0\r\n\r\n") && !bytes.ends_with(b"abc") {
                    if pipe.read_buf(&mut bytes).await.unwrap() == 0 {
                        break;
                    }
                }
                into.borrow_mut().push(String::from_utf8(bytes).unwrap());
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                pipe.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::on(net, ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        for method in ["GET", "POST", "DELETE"] {
            let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n");
            let chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
            client.send(format!("{head}{chunks}")).await;
            assert_eq!(client.answer().await.text(), "ok");
            let sent = came.borrow_mut().pop().unwrap().to_lowercase();
            assert!(sent.contains("transfer-encoding: chunked\r\n"), "{sent}");
            assert!(sent.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{sent}");
            client.send(format!("{head}Content-Length: 3\r\n\r\nabc")).await;
            assert_eq!(client.answer().await.text(), "ok");
            let sent = came.borrow_mut().pop().unwrap().to_lowercase();
            assert!(sent.contains("content-length: 3\r\n"), "{sent}");
            assert!(sent.ends_with("\r\n\r\nabc"), "{sent}");
        }
    });
}

#[test]
fn a_body_is_asked_for_when_somebody_wants_it() {
    run(async {
        let upstreams = Upstreams::deciding(|request| async move {
            if request.uri().path() == "/early" {
                return Reply::status(403);
            }
            assert!(!request.headers().contains_key("expect"));
            assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "abc");
            Reply::text("taken")
        });
        let listeners =
            vec![listener("http").route(route("", "/")).route(route("", "/max").body_max(2))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let expecting = |path: &str| {
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
            format!("{head}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        };
        let mut client = world.client();
        client.send(expecting("/")).await;
        assert_eq!(client.answer().await.status, 100);
        client.send("abc").await;
        assert_eq!(client.answer().await.text(), "taken");
        // Those who answer without it do not ask for it, and neither does the gateway.
        for (path, status) in [("/early", 403), ("/max", 413)] {
            let mut client = world.client();
            client.send(expecting(path)).await;
            assert_eq!(client.answer().await.status, status);
            client.is_ended().await;
        }
    });
}

#[test]
fn a_body_is_as_long_as_its_route_lets_it_be() {
    run(async {
        let listeners = vec![listener("http").route(route("", "/").body_max(5))];
        let world = World::new(ProxyOptions::default(), listeners);
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (request, status) in [
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde".to_owned(), 200),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef".to_owned(), 413),
            (format!("{chunked}5\r\nabcde\r\n0\r\n\r\n"), 200),
            (format!("{chunked}5\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n"), 413),
        ] {
            let mut client = world.client();
            client.send(&request).await;
            let answer = client.answer().await;
            assert_eq!(answer.status, status, "{request}");
            if status == 413 {
                assert_eq!(answer.all("connection"), ["close"]);
                client.is_ended().await;
            }
        }
        assert_eq!(world.proxy.counts().answers(L7Reason::BodyTooLarge), 2);
        assert_eq!(world.seen().len(), 2);
    });
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    run(async {
        let upstreams = Upstreams::answering(|_| {
            Reply::slowly(vec![
                Ok(Frame::data(Bytes::from_static(b"begun"))),
                Err(L7Reason::UpstreamTimeout),
            ])
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.is_cut_behind("5\r\nbegun\r\n").await;
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.status, logged.is_aborted), (200, true));
        assert_eq!(logged.reason, Some(L7Reason::UpstreamTimeout));
        // In HTTP/2 it is that answer alone.
        let mut two = Client2::new(&world.net, world.client()).await;
        let response = two.send(h2_request("GET", "http://a/", &[], "")).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
        assert!(two.sender.ready().await.is_ok());
    });
}

#[test]
fn answers_without_bodies_are_whole() {
    run(async {
        let upstreams = Upstreams::answering(|seen| match &*seen.uri {
            "/204" => Reply::status(204),
            "/304" => Reply::status(304).header("etag", "\"1\""),
            _ => Reply::status(200).header("content-length", "1000"),
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        assert_eq!(client.get("a", "/204").await.status, 204);
        assert_eq!(client.get("a", "/304").await.all("etag"), ["\"1\""]);
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.answer_to_head().await.all("content-length"), ["1000"]);
        assert_eq!(client.get("a", "/204").await.status, 204, "nothing came behind it");
        assert!(world.logged().iter().all(|logged| !logged.is_aborted));
    });
}

#[test]
fn a_client_that_goes_in_the_middle_is_not_answered() {
    run(async {
        let world = World::simple();
        let mut client = world.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").await;
        pass(Duration::from_millis(1)).await;
        client.shut().await;
        assert!(client.rest().await.is_empty());
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.status, logged.reason, logged.is_aborted), (0, None, true));
        assert!(world.seen().is_empty());
    });
}

#[test]
fn a_client_may_end_its_side_before_it_is_answered() {
    run(async {
        let upstreams = Upstreams::deciding(|_| async {
            pass(Duration::from_secs(5)).await;
            Reply::text("late")
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.shut().await;
        assert_eq!(client.answer().await.text(), "late");
        client.is_ended().await;
    });
}
