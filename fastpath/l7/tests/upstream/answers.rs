//! What answers have to be.

use super::servers::{Server, closed, head};
use super::{TestBody, http, request, run, text};
use http::Method;
use http_body_util::BodyExt;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;

/// What becomes of an answer.
async fn judged(world: &super::World, method: Method, answer: &[u8]) -> String {
    let answer: Rc<[u8]> = answer.into();
    let server = Server::new(move |_, mut stream| {
        let answer = answer.clone();
        async move {
            head(&mut stream).await;
            stream.write_all(&answer).await.unwrap();
            stream.shutdown().await.unwrap();
            closed(&mut stream).await;
        }
    })
    .await;
    match world.send(&http(&[server.addr]), request(method, TestBody::Empty)).await {
        Err(refusal) => refusal.reason.label().to_string(),
        Ok(sent) => {
            let status = sent.response.status().as_u16();
            match text(sent.response).await {
                Ok(text) => format!("{status} {text}"),
                Err(reason) => format!("{status} {}", reason.label()),
            }
        }
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_not_passed_on() {
    let bad = "upstream_protocol";
    run(|world| async move {
        let mut malformed = 0;
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "200 ok"),
            ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", "200 ok"),
            ("HTTP/1.1 200 OK\r\n\r\nto the end", "200 to the end"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200 ok"),
            ("HTTP/1.1 204 No Content\r\n\r\n", "204 "),
            ("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", "204 "),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "304 "),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1", "200 1"),
            (
                "HTTP/1.1 103 Hints\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                "200 ",
            ),
            // Two lengths.
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk", bad),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", bad),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", bad),
            ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", bad),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok", bad),
            ("HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\nok", bad),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nok", bad),
            ("HTTP/1.1 304 No\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", bad),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\n\r\n",
                bad,
            ),
            // Other codings.
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx", bad),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", bad),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", bad),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n\
                 0\r\n\r\n",
                bad,
            ),
            ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", bad),
            ("HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", bad),
            ("HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok", bad),
            // Lines.
            ("HTTP/1.1 200 OK\r\nx: a\rcontent-length: 5\r\n\r\n", bad),
            ("HTTP/1.1 200 OK\r\nx: a\r\r\ncontent-length: 0\r\n\r\n", bad),
            ("HTTP/1.1 200 O\rK\r\ncontent-length: 0\r\n\r\n", bad),
            ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n", bad),
            ("HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n", bad),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", bad),
            ("HTTP/1.1 200 OK\r\nx: \0\r\n\r\n", bad),
            // What is no HTTP.
            ("HTTP/2.0 200 OK\r\n\r\n", bad),
            ("HTTP/1.1 2000 OK\r\n\r\n", bad),
            ("HTTP/1.1 20\r\n\r\n", bad),
            ("SSH-2.0-OpenSSH_9.2\r\n", bad),
            ("\0\0\0\x04\0\0\0\0\0", bad),
            ("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", bad),
            // Bodies.
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", "200 upstream_reset"),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
                "200 upstream_reset",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n",
                "200 upstream_protocol",
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokk",
                "200 upstream_protocol",
            ),
        ] {
            assert_eq!(
                judged(&world, Method::GET, answer.as_bytes()).await,
                expected,
                "{answer:?}"
            );
            malformed += u64::from(expected.ends_with(bad));
        }
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "200 "),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "200 "),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n",
                "upstream_protocol",
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n", "upstream_protocol"),
        ] {
            let judged = judged(&world, Method::HEAD, answer.as_bytes()).await;
            assert_eq!(judged, expected, "HEAD {answer:?}");
            malformed += u64::from(expected.ends_with(bad));
        }
        let mut large = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        large.extend(vec![b'x'; 70 << 10]);
        large.extend(b"\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(judged(&world, Method::GET, &large).await, bad);
        let counters = world.counters();
        assert_eq!((counters.malformed, counters.cut_off), (malformed + 1, 2));
        assert_eq!((counters.reset, counters.retries), (0, 0));
    });
}

#[test]
fn bytes_behind_an_answer_are_not_the_next_one() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            let twice = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na".to_string()
                + "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
            stream.write_all(twice.as_bytes()).await.unwrap();
            closed(&mut stream).await;
        })
        .await;
        let upstream = http(&[server.addr]);
        for _ in 0..5 {
            assert_eq!(world.get(&upstream).await.unwrap(), "a");
        }
        assert_eq!(server.accepted(), 5);
    });
}

#[test]
fn trailers_pass() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            while head(&mut stream).await.is_some() {
                let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\
                    \r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        })
        .await;
        let upstream = http(&[server.addr]);
        for _ in 0..3 {
            let mut asked = super::get();
            asked.headers_mut().insert("te", "trailers".parse().unwrap());
            let sent = world.send(&upstream, asked).await.unwrap();
            let body = sent.response.into_body().collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["x-sum"], "7");
        }
        assert_eq!(server.accepted(), 1);
    });
}
