//! Every reason why there is no answer.

use super::servers::{Server, answer, closed, head, refusing, reset};
use super::{TERMS, TestBody, http, request, run, settle, text, until};
use http::Method;
use sluice_l7::L7Reason;
use sluice_l7::http::{BodyError, Forward, RequestBody};
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[test]
fn without_endpoints() {
    run(|world| async move {
        let refusal = world.send(&http(&[]), super::get()).await.unwrap_err();
        assert_eq!(refusal.reason, L7Reason::NoEndpoint);
        assert_eq!((refusal.endpoint, refusal.attempts), (None, 0));
    });
}

#[test]
fn refused() {
    run(|world| async move {
        let addr = refusing().await;
        let refusal = world.send(&http(&[addr]), super::get()).await.unwrap_err();
        assert_eq!(refusal.reason, L7Reason::ConnectFailed);
        assert_eq!((refusal.endpoint, refusal.attempts), (Some(addr), 1));
        assert_eq!((world.counters().connect_failed, world.counters().opened), (1, 0));
    });
}

#[test]
fn what_the_net_says_of_a_connection() {
    run(|world| async move {
        let addr = refusing().await;
        for (kind, reason) in [
            (io::ErrorKind::HostUnreachable, L7Reason::ConnectFailed),
            (io::ErrorKind::TimedOut, L7Reason::ConnectTimeout),
            (io::ErrorKind::AddrNotAvailable, L7Reason::ConnectFailed),
            (io::ErrorKind::OutOfMemory, L7Reason::OutOfMemory),
        ] {
            world.net.break_with(Some(kind));
            let refusal = world.send(&http(&[addr]), super::get()).await.unwrap_err();
            assert_eq!(refusal.reason, reason, "{kind:?}");
        }
        assert_eq!(world.counters().connect_failed, 4);
    });
}

#[test]
fn nobody_answers_a_connection() {
    run(|world| async move {
        let addr = refusing().await;
        world.net.silence(addr);
        let sent = world.begin(&http(&[addr]), super::get());
        until("it waits", || {
            world.upstreams.endpoints().first().is_some_and(|state| state.connections == 1)
        })
        .await;
        world.net.pass(TERMS.connect_timeout - Duration::from_millis(1));
        tokio::task::yield_now().await;
        assert!(!sent.is_finished());
        world.net.pass(Duration::from_millis(1));
        let refusal = sent.await.unwrap().unwrap_err();
        assert_eq!(refusal.reason, L7Reason::ConnectTimeout);
        assert_eq!(world.counters().connect_timed_out, 1);
        assert_eq!(world.state(addr).connections, 0);
    });
}

#[test]
fn ended_before_an_answer() {
    run(|world| async move {
        for ends_with_reset in [false, true] {
            let server = Server::new(move |_, mut stream| async move {
                head(&mut stream).await;
                if ends_with_reset {
                    reset(stream);
                }
            })
            .await;
            let refusal = world.send(&http(&[server.addr]), super::get()).await.unwrap_err();
            assert_eq!(refusal.reason, L7Reason::UpstreamReset);
        }
        assert_eq!(world.counters().reset, 2);
    });
}

#[test]
fn ended_amid_the_head() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nconte").await.unwrap();
        })
        .await;
        let other = Server::named("other").await;
        // Whatever was begun to be answered was done: nobody else is asked.
        for _ in 0..8 {
            match world.send(&http(&[server.addr, other.addr]), super::get()).await {
                Ok(sent) => assert_eq!(text(sent.response).await.unwrap(), "other"),
                Err(refusal) => {
                    assert_eq!((refusal.reason, refusal.attempts), (L7Reason::UpstreamReset, 1))
                }
            }
        }
        assert!(world.counters().reset > 0);
        assert_eq!(world.counters().retries, 0);
    });
}

#[test]
fn no_answer_in_time() {
    run(|world| async move {
        let server = Server::silent().await;
        let upstream = http(&[server.addr]);
        let sent = world.begin(&upstream, super::get());
        until("it is sent", || server.accepted() == 1).await;
        until("it is open", || world.counters().opened == 1).await;
        settle().await;
        world.net.pass(TERMS.read_timeout - Duration::from_millis(1));
        settle().await;
        assert!(!sent.is_finished());
        world.net.pass(Duration::from_millis(1));
        let refusal = sent.await.unwrap().unwrap_err();
        assert_eq!((refusal.reason, refusal.attempts), (L7Reason::UpstreamTimeout, 1));
        assert_eq!(world.counters().read_timed_out, 1);
        until("it is closed", || world.state(server.addr).connections == 0).await;
    });
}

#[test]
fn each_request_of_a_connection_has_its_own_time() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            for _ in 0..3 {
                head(&mut stream).await;
                answer(&mut stream, "x").await;
            }
            // Word that an answer will come is none.
            head(&mut stream).await;
            for _ in 0..3 {
                stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.unwrap();
            }
            closed(&mut stream).await;
        })
        .await;
        let upstream = http(&[server.addr]);
        for _ in 0..3 {
            world.get(&upstream).await.unwrap();
            world.net.pass(Duration::from_secs(3));
        }
        let sent = world.begin(&upstream, super::get());
        tokio::time::sleep(Duration::from_millis(50)).await;
        // When the first request of the connection would have been too late.
        for _ in 0..2 {
            world.net.pass(TERMS.read_timeout / 2 - Duration::from_millis(1));
            settle().await;
            assert!(!sent.is_finished());
        }
        world.net.pass(Duration::from_millis(2));
        assert_eq!(sent.await.unwrap().unwrap_err().reason, L7Reason::UpstreamTimeout);
        assert_eq!(world.counters().opened, 1);
    });
}

#[test]
fn nothing_of_the_body_is_taken_in_time() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            std::future::pending::<()>().await;
        })
        .await;
        let (parts, body) = TestBody::parts();
        let sent = world.begin(&http(&[server.addr]), request(Method::POST, body));
        // More than any buffer on the way.
        for _ in 0..1024 {
            parts.send(vec![0; 64 << 10]);
        }
        until("it is open", || world.counters().opened == 1).await;
        // What is taken is taken, then nothing is any more.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!sent.is_finished());
        world.net.pass(TERMS.send_timeout);
        let refusal = sent.await.unwrap().unwrap_err();
        assert_eq!(refusal.reason, L7Reason::UpstreamTimeout);
        assert_eq!((world.counters().send_timed_out, world.counters().read_timed_out), (1, 0));
        until("the body is let go", || parts.is_dropped()).await;
    });
}

#[test]
fn a_slow_client_is_not_the_endpoints_fault() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            let mut body = [0; 10];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await.unwrap();
            answer(&mut stream, std::str::from_utf8(&body).unwrap()).await;
            closed(&mut stream).await;
        })
        .await;
        let (parts, body) = TestBody::parts();
        let mut post = request(Method::POST, body);
        post.headers_mut().insert("content-length", 10.into());
        let sent = world.begin(&http(&[server.addr]), post);
        until("it is open", || world.counters().opened == 1).await;
        for part in ["01", "23", "45", "67", "89"] {
            settle().await;
            world.net.pass(Duration::from_secs(50));
            world.net.pass(Duration::from_secs(50));
            assert!(!sent.is_finished());
            parts.send(part);
        }
        let sent = sent.await.unwrap().unwrap();
        assert_eq!(text(sent.response).await.unwrap(), "0123456789");
    });
}

#[test]
fn a_body_that_fails_says_why() {
    run(|world| async move {
        let server = Server::silent().await;
        let upstream = http(&[server.addr]);
        let (parts, body) = TestBody::parts();
        let sent = world.begin(&upstream, request(Method::POST, body));
        parts.send("abc");
        parts.fail(BodyError(Some(L7Reason::BodyTooLarge)));
        let refusal = sent.await.unwrap().unwrap_err();
        assert_eq!(refusal.reason, L7Reason::BodyTooLarge);
        until("it is closed", || world.state(server.addr).connections == 0).await;
        assert_eq!(world.counters().reset, 0);
    });
}

#[test]
fn the_proxy_sends_through_its_own_door() {
    run(|world| async move {
        let server = Server::named("a").await;
        let upstreams = sluice_l7::upstream::Upstreams::<_, _, RequestBody>::new(
            world.net.clone(),
            super::Pretended,
            Default::default(),
            1,
        );
        let request = http::Request::get("/").header("host", "a").body(RequestBody::empty());
        let sent = upstreams.send(&http(&[server.addr]), request.unwrap(), TERMS).await.unwrap();
        assert_eq!((sent.endpoint, sent.attempts), (server.addr, 1));
        assert_eq!(sent.response.status(), 200);
    });
}
