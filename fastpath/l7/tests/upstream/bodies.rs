//! Bodies, both ways.

use super::servers::{Server, answer, closed, head, whole};
use super::{TERMS, TestBody, http, request, run, settle, text, until};
use http::Method;
use http_body_util::BodyExt;
use sluice_l7::L7Reason;
use sluice_l7::upstream::AnswerError;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn how_long_a_body_is_is_said() {
    run(|world| async move {
        // Answers with the head that it read.
        let server = Server::new(|_, mut stream| async move {
            while let Some(head) = head(&mut stream).await {
                if head.contains("transfer-encoding") {
                    let mut body = Vec::new();
                    while !body.ends_with(b"0\r\n\r\n") {
                        body.push(stream.read_u8().await.unwrap());
                    }
                } else if head.contains("content-length: 4") {
                    stream.read_exact(&mut [0; 4]).await.unwrap();
                }
                answer(&mut stream, &head).await;
            }
        })
        .await;
        let upstream = http(&[server.addr]);
        let unknown = || {
            let (parts, body) = TestBody::parts();
            parts.send("abcd");
            body
        };
        for (method, body, said, expected) in [
            (Method::GET, TestBody::Empty, None, ""),
            (Method::POST, TestBody::Empty, None, "content-length: 0\r\n"),
            (Method::PUT, TestBody::Empty, Some(0), "content-length: 0\r\n"),
            (Method::GET, TestBody::Empty, Some(4), ""),
            (Method::POST, TestBody::Empty, Some(4), "content-length: 0\r\n"),
            (Method::POST, TestBody::whole("abcd"), None, "content-length: 4\r\n"),
            (Method::GET, TestBody::whole("abcd"), None, "content-length: 4\r\n"),
            (Method::POST, unknown(), None, "transfer-encoding: chunked\r\n"),
            (Method::GET, unknown(), None, "transfer-encoding: chunked\r\n"),
            (Method::DELETE, unknown(), Some(4), "content-length: 4\r\n"),
        ] {
            let what = format!("{method} {said:?} {expected:?}");
            let line = format!("{method} / HTTP/1.1\r\n");
            let mut request = request(method, body);
            if let Some(said) = said {
                request.headers_mut().insert("content-length", said.into());
            }
            let sent = world.send(&upstream, request).await.unwrap();
            let read = text(sent.response).await.unwrap();
            let length: String = read
                .split_inclusive("\r\n")
                .filter(|line| line.starts_with("content-length") || line.starts_with("transfer"))
                .collect();
            assert_eq!(length, expected, "{what}");
            assert!(read.starts_with(&line) && read.contains("host: shop.example\r\n"), "{read}");
        }
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn large_bodies_pass_both_ways() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            while let Some((_, body)) = whole(&mut stream).await {
                answer(&mut stream, &body).await;
            }
        })
        .await;
        let upstream = http(&[server.addr]);
        for length in [1, 64 << 10, 3 << 20] {
            let (parts, body) = TestBody::parts();
            let mut post = request(Method::POST, body);
            post.headers_mut().insert("content-length", length.into());
            let all: String = (0..length).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
            for part in all.as_bytes().chunks(30_000) {
                parts.send(part.to_vec());
            }
            let sent = world.send(&upstream, post).await.unwrap();
            assert!(text(sent.response).await.unwrap() == all);
        }
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn an_answer_that_stops_is_cut_off() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            let part = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
            stream.write_all(part).await.unwrap();
            closed(&mut stream).await;
        })
        .await;
        let mut sent = world.send(&http(&[server.addr]), super::get()).await.unwrap();
        let body = sent.response.body_mut();
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "abc");
        // As long as it is not read, nobody waits.
        world.net.pass(TERMS.read_timeout * 2);
        {
            let mut next = std::pin::pin!(body.frame());
            assert!(
                std::future::poll_fn(|context| {
                    std::task::Poll::Ready(next.as_mut().poll(context).is_pending())
                })
                .await
            );
            world.net.pass(TERMS.read_timeout);
            let failed = next.await.unwrap().unwrap_err();
            assert_eq!(failed, AnswerError(L7Reason::UpstreamTimeout));
        }
        assert!(body.frame().await.is_none());
        assert_eq!(world.counters().read_timed_out, 1);
        assert_eq!(world.state(server.addr).outstanding, 0);
        until("it is closed", || world.state(server.addr).connections == 0).await;
    });
}

#[test]
fn an_answer_that_goes_on_slowly_passes() {
    run(|world| async move {
        let (parts, told) = tokio::sync::mpsc::unbounded_channel::<()>();
        let told = std::rc::Rc::new(tokio::sync::Mutex::new(told));
        let server = Server::new(move |_, mut stream| {
            let told = told.clone();
            async move {
                head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
                for byte in b"hello" {
                    told.lock().await.recv().await;
                    stream.write_all(&[*byte]).await.unwrap();
                }
                closed(&mut stream).await;
            }
        })
        .await;
        let sent = world.send(&http(&[server.addr]), super::get()).await.unwrap();
        let read = tokio::task::spawn_local(text(sent.response));
        for _ in 0..5 {
            settle().await;
            world.net.pass(TERMS.read_timeout - Duration::from_millis(1));
            parts.send(()).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(read.await.unwrap().unwrap(), "hello");
        assert_eq!(world.state(server.addr).idle, 1);
    });
}

#[test]
fn an_answer_that_is_dropped_ends_its_connection() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            while head(&mut stream).await.is_some() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
            }
        })
        .await;
        let upstream = http(&[server.addr]);
        for _ in 0..3 {
            let sent = world.send(&upstream, super::get()).await.unwrap();
            assert_eq!(world.state(server.addr).outstanding, 1);
            drop(sent);
            assert_eq!(world.state(server.addr).outstanding, 0);
            until("it is closed", || world.state(server.addr).connections == 0).await;
        }
        assert_eq!(world.counters().reused, 0);
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_passes_and_ends_the_connection() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            answer(&mut stream, "too large").await;
            closed(&mut stream).await;
        })
        .await;
        let (parts, body) = TestBody::parts();
        parts.send("some");
        let sent = world.send(&http(&[server.addr]), request(Method::POST, body)).await.unwrap();
        assert!(!parts.is_dropped());
        assert_eq!(text(sent.response).await.unwrap(), "too large");
        until("the body is let go", || parts.is_dropped()).await;
        until("it is closed", || world.state(server.addr).connections == 0).await;
        assert_eq!(world.state(server.addr).idle, 0);
    });
}
