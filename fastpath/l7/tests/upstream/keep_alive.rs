//! Connections that carry more than one request.

use super::servers::{Server, answer, closed, head, reset, whole};
use super::{TestBody, http, request, run, run_with, text, until};
use http::Method;
use sluice_l7::L7Reason;
use sluice_l7::upstream::UpstreamConfig;
use std::time::Duration;

#[test]
fn requests_one_after_the_other_share_a_connection() {
    run(|world| async move {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let server = Server::at(addr, |_, mut stream| async move {
                while head(&mut stream).await.is_some() {
                    answer(&mut stream, "hello").await;
                }
            })
            .await;
            let upstream = http(&[server.addr]);
            for _ in 0..10 {
                assert_eq!(world.get(&upstream).await.unwrap(), "hello");
            }
            assert_eq!(server.accepted(), 1);
            let state = world.state(server.addr);
            assert_eq!((state.outstanding, state.connections, state.idle), (0, 1, 1));
        }
        let counters = world.counters();
        assert_eq!((counters.opened, counters.reused), (2, 18));
    });
}

#[test]
fn the_connection_that_was_used_last_is_used_first() {
    run(|world| async move {
        let server = Server::new(|number, mut stream| async move {
            while head(&mut stream).await.is_some() {
                answer(&mut stream, &number.to_string()).await;
            }
        })
        .await;
        let upstream = http(&[server.addr]);
        let first = world.send(&upstream, super::get()).await.unwrap();
        let second = world.send(&upstream, super::get()).await.unwrap();
        assert_eq!(text(second.response).await.unwrap(), "1");
        assert_eq!(text(first.response).await.unwrap(), "0");
        for _ in 0..3 {
            assert_eq!(world.get(&upstream).await.unwrap(), "0");
        }
        assert_eq!(world.state(server.addr).idle, 2);
    });
}

#[test]
fn a_connection_without_a_request_is_closed_after_a_while() {
    run(|world| async move {
        let server = Server::named("a").await;
        let upstream = http(&[server.addr]);
        world.get(&upstream).await.unwrap();
        world.net.pass(Duration::from_millis(3900));
        world.get(&upstream).await.unwrap();
        assert_eq!(world.counters().opened, 1);
        // Nobody but the one who looks after them comes by.
        for _ in 0..5 {
            world.net.pass(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        until("it is closed", || world.state(server.addr).connections == 0).await;
        assert_eq!(world.counters().idle_closed, 1);
        // One that is too old is not used, even if nobody came by.
        world.get(&upstream).await.unwrap();
        world.net.pass(Duration::from_secs(4));
        world.get(&upstream).await.unwrap();
        assert_eq!((world.counters().opened, world.counters().reused), (3, 1));
    });
}

#[test]
fn at_the_end_none_is_left_open() {
    run(|world| async move {
        let server = Server::named("a").await;
        let upstream = http(&[server.addr]);
        let one = world.send(&upstream, super::get()).await.unwrap();
        let other = world.send(&upstream, super::get()).await.unwrap();
        text(other.response).await.unwrap();
        assert_eq!((world.state(server.addr).connections, world.state(server.addr).idle), (2, 1));
        world.upstreams.drain();
        until("the one without a request is closed", || world.state(server.addr).connections == 1)
            .await;
        text(one.response).await.unwrap();
        until("the other one is closed", || world.state(server.addr).connections == 0).await;
        // What is asked for yet is done, and nothing stays of it either.
        world.get(&upstream).await.unwrap();
        until("the last one is closed", || world.state(server.addr).connections == 0).await;
    });
}

#[test]
fn as_many_are_kept_as_may_be() {
    let config = UpstreamConfig { idle_per_endpoint_max: 2, idle_max: 3, ..Default::default() };
    run_with(config, |world| async move {
        let (a, b) = (Server::named("a").await, Server::named("b").await);
        for (server, kept) in [(&a, 2), (&b, 1)] {
            let upstream = http(&[server.addr]);
            // Not the same upstream: what is kept counts in all.
            let mut upstream = (*upstream).clone();
            upstream.id.0 = u32::from(server.addr.port());
            let upstream = std::sync::Arc::new(upstream);
            let mut sent = Vec::new();
            for _ in 0..4 {
                sent.push(world.send(&upstream, super::get()).await.unwrap().response);
            }
            for response in sent {
                text(response).await.unwrap();
            }
            until("the others are closed", || world.state(server.addr).connections == kept).await;
            assert_eq!(world.state(server.addr).idle, kept);
        }
        assert_eq!(world.counters().idle_closed, 2 + 3);
    });
}

#[test]
fn a_connection_that_the_endpoint_closes_is_not_used_again() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            if head(&mut stream).await.is_some() {
                answer(&mut stream, "once").await;
            }
        })
        .await;
        let upstream = http(&[server.addr]);
        for _ in 0..5 {
            world.get(&upstream).await.unwrap();
            until("it is seen", || world.state(server.addr).connections == 0).await;
        }
        let counters = world.counters();
        assert_eq!((counters.opened, counters.reused, counters.stale), (5, 0, 0));
    });
}

#[test]
fn an_endpoint_that_says_close_is_believed() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx";
            tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
            closed(&mut stream).await;
        })
        .await;
        let upstream = http(&[server.addr]);
        for _ in 0..3 {
            assert_eq!(world.get(&upstream).await.unwrap(), "x");
        }
        assert_eq!((world.counters().opened, world.counters().reused), (3, 0));
    });
}

/// The server answers one request of each connection, reads the next one and ends.
async fn forgetful(ends_with_reset: bool) -> Server {
    Server::new(move |_, mut stream| async move {
        let Some(first) = whole(&mut stream).await else { return };
        answer(&mut stream, if first.1.is_empty() { "first" } else { "body" }).await;
        if whole(&mut stream).await.is_some() && ends_with_reset {
            reset(stream);
        }
    })
    .await
}

#[test]
fn a_request_that_meets_the_end_of_its_connection_is_sent_once_more() {
    run(|world| async move {
        for ends_with_reset in [false, true] {
            let server = forgetful(ends_with_reset).await;
            let upstream = http(&[server.addr]);
            for _ in 0..6 {
                assert_eq!(world.get(&upstream).await.unwrap(), "first");
            }
            // Each second request met the end, over and over, and was sent once more.
            assert_eq!(server.accepted(), 6);
            assert_eq!(world.state(server.addr).ejected_until_ns, None);
        }
        let counters = world.counters();
        assert_eq!((counters.stale, counters.reset, counters.retries), (10, 0, 0));
    });
}

#[test]
fn what_may_not_be_done_twice_is_not_sent_twice() {
    run(|world| async move {
        let server = forgetful(false).await;
        let upstream = http(&[server.addr]);
        for (method, body) in [(Method::POST, TestBody::Empty), (Method::PUT, TestBody::whole("x"))]
        {
            world.get(&upstream).await.unwrap();
            let refusal = world.send(&upstream, request(method, body)).await.unwrap_err();
            assert_eq!((refusal.reason, refusal.attempts), (L7Reason::UpstreamReset, 1));
        }
        assert_eq!((world.counters().stale, world.counters().reset), (2, 0));
    });
}
