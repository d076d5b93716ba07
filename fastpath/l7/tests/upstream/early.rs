//! Endpoints that answer before they have been sent everything, and hang up.

use super::net::TestNet;
use super::servers::{Gate, Server, answer, head};
use super::tls::{Untrusting, acceptor};
use super::{
    Answer, Parts, TERMS, TestBody, World, get, http, request, run, settle, text, until, upgrade,
    upstream,
};
use http::{Method, Request};
use http_body_util::BodyExt;
use sluice_l7::L7Reason;
use sluice_l7::upstream::Upstreams;
use sluice_tables::l7::BackendProtocol;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Bytes of an answer: more than is read at once.
const LONG: usize = 40_000;

fn long() -> Vec<u8> {
    let head = format!("HTTP/1.1 413 Content Too Large\r\ncontent-length: {LONG}\r\n\r\n");
    [head.as_bytes(), &[b'x'; LONG]].concat()
}

/// A request with more of a body than any buffer on the way takes.
fn upload() -> (Parts, Request<TestBody>) {
    let (parts, body) = TestBody::parts();
    for _ in 0..256 {
        parts.send(vec![0; 64 << 10]);
    }
    (parts, request(Method::POST, body))
}

#[test]
fn the_answer_of_an_endpoint_that_hangs_up_is_whole() {
    run(|world| async move {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let server = Server::at(addr, |number, mut stream| async move {
                head(&mut stream).await;
                if number > 0 {
                    return answer(&mut stream, "another").await;
                }
                // What is not read makes the kernel reset it.
                stream.readable().await.unwrap();
                stream.write_all(&long()).await.unwrap();
            })
            .await;
            let upstream = http(&[server.addr]);
            let (parts, post) = upload();
            let sent = world.send(&upstream, post).await.unwrap();
            assert_eq!((sent.response.status().as_u16(), sent.attempts), (413, 1));
            assert_eq!(text(sent.response).await.unwrap().len(), LONG);
            until("the body is let go", || parts.is_dropped()).await;
            until("it is closed", || world.state(server.addr).connections == 0).await;
            assert_eq!(world.get(&upstream).await.unwrap(), "another");
            assert_eq!(server.accepted(), 2);
        }
        let counters = world.counters();
        assert_eq!((counters.reset, counters.stale, counters.cut_off), (0, 0, 0));
    });
}

#[test]
fn so_it_is_in_tls() {
    run(|_| async move {
        let (acceptor, _) = acceptor(&[]);
        let server = Server::new(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                // Nothing is to be left to be sent when it is reset.
                stream.set_nodelay(true).unwrap();
                let mut stream = acceptor.accept(stream).await.unwrap();
                head(&mut stream).await.unwrap();
                stream.get_ref().0.readable().await.unwrap();
                stream.write_all(&long()).await.unwrap();
                stream.flush().await.unwrap();
            }
        })
        .await;
        let net = TestNet::default();
        let upstreams =
            Upstreams::<_, _, TestBody>::new(net, Untrusting::new(), Default::default(), 1);
        let (parts, post) = upload();
        let upstream = upstream(BackendProtocol::Https, &[server.addr]);
        let sent = upstreams.send_to(&upstream, post, TERMS).await.unwrap();
        assert_eq!(sent.response.status(), 413);
        let body = sent.response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes().len(), LONG);
        until("the body is let go", || parts.is_dropped()).await;
        until("it is closed", || upstreams.connections() == 0).await;
    });
}

/// An endpoint that has read the head of a request, and does what it does then when it is let.
struct Slow {
    server: Server,
    gate: Gate,
    asked: Rc<Cell<usize>>,
}

impl Slow {
    async fn new(then: &'static [u8]) -> Self {
        let (gate, asked) = (Gate::shut(), Rc::new(Cell::new(0)));
        let (lets, counts) = (gate.clone(), asked.clone());
        let server = Server::new(move |_, mut stream| {
            let (lets, counts) = (lets.clone(), counts.clone());
            async move {
                while head(&mut stream).await.is_some() {
                    counts.set(counts.get() + 1);
                    lets.pass().await;
                    if then.is_empty() {
                        return;
                    }
                    stream.write_all(then).await.unwrap();
                }
            }
        })
        .await;
        Slow { server, gate, asked }
    }

    /// Sends it a request to which a write fails behind the head, `is_whole`: the last one.
    async fn broken(
        &self,
        world: &World,
        is_whole: bool,
    ) -> (Option<Parts>, tokio::task::JoinHandle<Answer>) {
        let asked = self.asked.get();
        let (parts, body) = TestBody::parts();
        let sent = world.begin(&http(&[self.server.addr]), request(Method::POST, body));
        until("it is asked", || self.asked.get() > asked).await;
        let failed = world.net.failed_writes();
        world.net.fail_writes(Some(self.server.addr));
        parts.send("some");
        let parts = (!is_whole).then_some(parts);
        until("a write has failed", || world.net.failed_writes() > failed).await;
        settle().await;
        world.net.fail_writes(None);
        assert!(!sent.is_finished());
        (parts, sent)
    }
}

#[test]
fn an_answer_is_waited_for_where_a_write_has_failed() {
    run(|world| async move {
        let slow = Slow::new(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").await;
        for (number, is_whole) in [false, true].into_iter().enumerate() {
            let (_parts, sent) = slow.broken(&world, is_whole).await;
            world.net.pass(TERMS.read_timeout - Duration::from_millis(1));
            slow.gate.open(1);
            let sent = sent.await.unwrap().unwrap();
            assert_eq!(text(sent.response).await.unwrap(), "late");
            // Nothing can be sent on it any more.
            until("it is closed", || world.state(slow.server.addr).connections == 0).await;
            assert_eq!(slow.server.accepted(), number + 1);
        }
        assert_eq!(world.counters().reused, 0);
    });
}

#[test]
fn without_an_answer_it_is_as_if_the_connection_had_been_reset() {
    run(|world| async move {
        let slow = Slow::new(b"").await;
        let (_parts, sent) = slow.broken(&world, false).await;
        slow.gate.open(1);
        let refusal = sent.await.unwrap().unwrap_err();
        assert_eq!((refusal.reason, refusal.attempts), (L7Reason::UpstreamReset, 1));
        let counters = world.counters();
        assert_eq!((counters.reset, counters.stale, counters.retries), (1, 0, 0));
        until("it is closed", || world.state(slow.server.addr).connections == 0).await;
    });
}

#[test]
fn without_an_answer_what_may_be_done_twice_is() {
    run(|world| async move {
        let gate = Gate::shut();
        let lets = gate.clone();
        let ends = Server::new(move |_, stream| {
            let lets = lets.clone();
            async move {
                lets.pass().await;
                drop(stream);
            }
        })
        .await;
        let other = Server::named("other").await;
        let upstream = http(&[ends.addr, other.addr]);
        world.net.fail_writes(Some(ends.addr));
        let mut failed = 0;
        for _ in 0..8 {
            let sent = world.begin(&upstream, get());
            until("it is over, or a write has failed", || {
                sent.is_finished() || world.net.failed_writes() > failed
            })
            .await;
            if !sent.is_finished() {
                failed += 1;
                gate.open(1);
            }
            let sent = sent.await.unwrap().unwrap();
            assert_eq!(text(sent.response).await.unwrap(), "other");
        }
        let counters = world.counters();
        assert!(failed > 0);
        assert_eq!((counters.reset, counters.retries, counters.stale), (failed, failed, 0));
    });
}

#[test]
fn nor_is_an_answer_waited_for_longer_than_any() {
    run(|world| async move {
        let slow = Slow::new(b"").await;
        for is_whole in [false, true] {
            let (_parts, sent) = slow.broken(&world, is_whole).await;
            for time in [TERMS.send_timeout, TERMS.send_timeout - Duration::from_millis(1)] {
                world.net.pass(time);
                settle().await;
                assert!(!sent.is_finished());
            }
            world.net.pass(Duration::from_millis(1));
            let refusal = sent.await.unwrap().unwrap_err();
            assert_eq!((refusal.reason, refusal.attempts), (L7Reason::UpstreamTimeout, 1));
            until("it is closed", || world.state(slow.server.addr).connections == 0).await;
        }
        let counters = world.counters();
        assert_eq!((counters.read_timed_out, counters.send_timed_out, counters.reset), (2, 0, 0));
    });
}

#[test]
fn a_connection_that_is_used_again_and_breaks_is_stale() {
    run(|world| async move {
        let gate = Gate::shut();
        let lets = gate.clone();
        let server = Server::new(move |number, mut stream| {
            let lets = lets.clone();
            async move {
                head(&mut stream).await;
                answer(&mut stream, ["first", "second"][number]).await;
                lets.pass().await;
            }
        })
        .await;
        let upstream = http(&[server.addr]);
        assert_eq!(world.get(&upstream).await.unwrap(), "first");
        world.net.fail_writes(Some(server.addr));
        let sent = world.begin(&upstream, get());
        until("a write has failed", || world.net.failed_writes() == 1).await;
        world.net.fail_writes(None);
        assert!(!sent.is_finished());
        gate.open(1);
        assert_eq!(text(sent.await.unwrap().unwrap().response).await.unwrap(), "second");
        let counters = world.counters();
        assert_eq!((counters.reset, counters.stale, counters.retries), (0, 1, 0));
        assert_eq!((server.accepted(), counters.opened), (2, 2));
    });
}

#[test]
fn a_tunnel_is_told_that_a_write_has_failed() {
    run(|world| async move {
        let server = Server::echo("").await;
        let sent = world.send(&http(&[server.addr]), upgrade()).await.unwrap();
        let mut tunnel = sent.upgrade.unwrap().await.unwrap();
        world.net.fail_writes(Some(server.addr));
        let failure = tunnel.write_all(b"hello").await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::ConnectionReset);
    });
}
