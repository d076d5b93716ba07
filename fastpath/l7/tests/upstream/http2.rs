//! Endpoints that speak HTTP/2.

use super::servers::{Gate, Server, closed, http2};
use super::{TERMS, TestBody, World, get2, run, run_with, settle, text, until, upstream};
use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use sluice_l7::L7Reason;
use sluice_l7::upstream::UpstreamConfig;
use sluice_tables::l7::BackendProtocol::H2c;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn said(text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    Response::new(Full::new(text.into()))
}

/// Answers when it is let, and tells how many it has at once.
struct Held {
    server: Server,
    gate: Gate,
    now: Rc<Cell<usize>>,
}

impl Held {
    async fn new(streams_max: u32) -> Self {
        let (gate, now) = (Gate::shut(), Rc::new(Cell::new(0)));
        let (lets, counts) = (gate.clone(), now.clone());
        let server = Server::new(move |_, stream| {
            let (lets, counts) = (lets.clone(), counts.clone());
            http2(stream, streams_max, move |_| {
                let (lets, counts) = (lets.clone(), counts.clone());
                async move {
                    counts.set(counts.get() + 1);
                    lets.pass().await;
                    said("done")
                }
            })
        })
        .await;
        Held { server, gate, now }
    }
}

async fn finish(running: Vec<tokio::task::JoinHandle<super::Answer>>) {
    for running in running {
        let sent = running.await.unwrap().unwrap();
        assert_eq!(text(sent.response).await.unwrap(), "done");
    }
}

#[test]
fn requests_share_a_connection() {
    run(|world| async move {
        let held = Held::new(100).await;
        let upstream = upstream(H2c, &[held.server.addr]);
        let running: Vec<_> = (0..50).map(|_| world.begin(&upstream, get2())).collect();
        until("all are there", || held.now.get() == 50).await;
        assert_eq!(held.server.accepted(), 1);
        assert_eq!(world.state(held.server.addr).outstanding, 50);
        held.gate.open(50);
        finish(running).await;
        let state = world.state(held.server.addr);
        assert_eq!((state.outstanding, state.connections, state.idle), (0, 1, 1));
        world.net.pass(Duration::from_secs(49));
        assert_eq!(world.state(held.server.addr).idle, 1);
        for _ in 0..20 {
            world.net.pass(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        until("it is closed", || world.state(held.server.addr).connections == 0).await;
        assert_eq!((world.counters().opened, world.counters().idle_closed), (1, 1));
    });
}

#[test]
fn more_are_opened_when_one_is_full() {
    let config = UpstreamConfig { connections_per_endpoint_max: 3, ..Default::default() };
    run_with(config, |world| async move {
        let held = Held::new(4).await;
        let upstream = upstream(H2c, &[held.server.addr]);
        let first = world.begin(&upstream, get2());
        until("it is there", || held.now.get() == 1).await;
        let mut running: Vec<_> = (0..19).map(|_| world.begin(&upstream, get2())).collect();
        running.push(first);
        // Three connections of four streams; the others wait for a stream.
        until("all that may be are there", || held.now.get() == 12).await;
        until("the others wait", || world.state(held.server.addr).waiting == 8).await;
        assert_eq!((held.server.accepted(), held.now.get()), (3, 12));
        held.gate.open(20);
        finish(running).await;
        assert_eq!((held.server.accepted(), held.now.get()), (3, 20));
        assert_eq!(world.counters().stale, 0);
    });
}

#[test]
fn the_request_is_as_it_came() {
    run(|world| async move {
        let server = Server::new(|_, stream| {
            http2(stream, 10, |request| async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap();
                let trailers = body.trailers().is_some();
                let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                said(format!("{} {} {:?} {body} {trailers}", head.method, head.uri, head.headers))
            })
        })
        .await;
        let upstream = upstream(H2c, &[server.addr]);
        let (parts, body) = TestBody::parts();
        parts.send("ab");
        parts.send("cd");
        drop(parts);
        let request = Request::builder()
            .method(Method::POST)
            .uri("http://shop.example/a?b=c")
            .version(Version::HTTP_2)
            .header("te", "trailers")
            .body(body)
            .unwrap();
        let sent = world.send(&upstream, request).await.unwrap();
        assert_eq!(
            text(sent.response).await.unwrap(),
            "POST http://shop.example/a?b=c {\"te\": \"trailers\"} abcd false"
        );
    });
}

/// Frames, as they are on the wire.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// `:status 200`, at the end of a stream.
fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, 5, stream, &[0x88])
}

fn go_away(last: u32) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend([0; 4]);
    frame(GOAWAY, 0, 0, &payload)
}

/// An endpoint that answers the requests of its first connection with frames of a test,
/// and those of the others with 200.
async fn scripted(first: impl Fn(u32) -> Vec<u8> + 'static) -> Server {
    let first = Rc::new(first);
    Server::new(move |number, mut stream| {
        let first = first.clone();
        async move {
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
            loop {
                let mut head = [0; 9];
                if stream.read_exact(&mut head).await.is_err() {
                    return;
                }
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let mut payload = vec![0; length];
                if stream.read_exact(&mut payload).await.is_err() {
                    return;
                }
                let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                let answer = match (head[3], head[4] & 1) {
                    (SETTINGS, 0) => frame(SETTINGS, 1, 0, &[]),
                    (HEADERS, _) if number == 0 => first(id),
                    (HEADERS, _) => ok(id),
                    _ => continue,
                };
                if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

async fn post2(world: &World, upstream: &std::sync::Arc<sluice_tables::l7::Upstream>) -> u16 {
    let mut request = get2();
    *request.method_mut() = Method::POST;
    match world.send(upstream, request).await {
        Ok(sent) => sent.response.status().as_u16(),
        Err(refusal) => refusal.reason.status(),
    }
}

#[test]
fn an_endpoint_that_goes_away_is_connected_to_anew() {
    run(|world| async move {
        // The third request was not seen, it says; the first two were answered.
        let server = scripted(|id| if id < 5 { ok(id) } else { go_away(3) }).await;
        let upstream = upstream(H2c, &[server.addr]);
        for _ in 0..6 {
            // Not even what may not be done twice fails.
            assert_eq!(post2(&world, &upstream).await, 200);
        }
        assert_eq!(server.accepted(), 2);
        let counters = world.counters();
        assert_eq!((counters.stale, counters.reset, counters.retries), (1, 0, 0));
    });
}

#[test]
fn a_connection_that_is_going_away_takes_no_more_requests() {
    run(|world| async move {
        // The first is answered, with word that it was the last one.
        let server = scripted(|id| [go_away(1), ok(id)].concat()).await;
        let upstream = upstream(H2c, &[server.addr]);
        for _ in 0..4 {
            assert_eq!(post2(&world, &upstream).await, 200);
        }
        assert_eq!(server.accepted(), 2);
        assert_eq!(world.counters().reset, 0);
    });
}

#[test]
fn what_runs_on_a_connection_that_is_going_away_ends_in_peace() {
    run(|world| async move {
        let server = scripted(|id| match id {
            1 => frame(HEADERS, 4, 1, &[0x88]),
            _ => [go_away(1), frame(DATA, 1, 1, b"in peace")].concat(),
        })
        .await;
        let upstream = upstream(H2c, &[server.addr]);
        let first = world.send(&upstream, get2()).await.unwrap();
        assert_eq!(post2(&world, &upstream).await, 200);
        assert_eq!(text(first.response).await.unwrap(), "in peace");
        assert_eq!((server.accepted(), world.counters().stale), (2, 1));
        until("the first is closed", || world.state(server.addr).connections == 1).await;
    });
}

#[test]
fn a_stream_that_is_refused_is_sent_once_more() {
    run(|world| async move {
        let refused = Rc::new(Cell::new(0));
        let count = refused.clone();
        let server = scripted(move |id| {
            count.set(count.get() + 1);
            if count.get() == 1 { frame(RST_STREAM, 0, id, &7_u32.to_be_bytes()) } else { ok(id) }
        })
        .await;
        let upstream = upstream(H2c, &[server.addr]);
        assert_eq!(post2(&world, &upstream).await, 200);
        assert_eq!((server.accepted(), refused.get()), (1, 2));
        assert_eq!(world.state(server.addr).outstanding, 0);
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_may_end_its_stream() {
    run(|world| async move {
        let reset = |id| frame(RST_STREAM, 0, id, &[0; 4]);
        let server = scripted(move |id| match id {
            1 => [frame(HEADERS, 4, id, &[0x88]), frame(DATA, 1, id, b"whole"), reset(id)].concat(),
            3 => [ok(id), reset(id)].concat(),
            _ => [frame(HEADERS, 4, id, &[0x88]), frame(DATA, 0, id, b"half"), reset(id)].concat(),
        })
        .await;
        let upstream = upstream(H2c, &[server.addr]);
        for expected in [Ok("whole"), Ok(""), Err(L7Reason::UpstreamReset)] {
            // More than the endpoint ever takes.
            let (parts, body) = TestBody::parts();
            (0..8).for_each(|_| parts.send(vec![0; 64 << 10]));
            let mut post = get2().map(|_| body);
            *post.method_mut() = Method::POST;
            let sent = world.send(&upstream, post).await.unwrap();
            assert_eq!(text(sent.response).await, expected.map(str::to_owned));
            until("the body is let go", || parts.is_dropped()).await;
        }
        assert_eq!((server.accepted(), world.counters().cut_off), (1, 1));
        assert_eq!(world.state(server.addr).outstanding, 0);
    });
}

#[test]
fn an_endpoint_that_refuses_every_stream_is_given_up() {
    run(|world| async move {
        let server = scripted(|id| frame(RST_STREAM, 0, id, &7_u32.to_be_bytes())).await;
        let refusal = world.send(&upstream(H2c, &[server.addr]), get2()).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.attempts), (L7Reason::UpstreamReset, 4));
    });
}

#[test]
fn a_stream_that_is_reset_fails_unless_it_may_be_done_twice() {
    run(|world| async move {
        let cancel = |id| frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
        let servers = [scripted(cancel).await, scripted(cancel).await];
        let upstream = upstream(H2c, &[servers[0].addr, servers[1].addr]);
        assert_eq!(post2(&world, &upstream).await, 502);
        assert_eq!((world.counters().reset, world.counters().retries), (1, 0));
        let refusal = world.send(&upstream, get2()).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.attempts), (L7Reason::UpstreamReset, 2));
        assert_eq!((world.counters().reset, world.counters().retries), (3, 1));
    });
}

#[test]
fn what_is_no_http2_is_an_error() {
    run(|world| async move {
        let server = Server::named("HTTP/1.1").await;
        let talks = Server::new(|_, mut stream| async move {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            closed(&mut stream).await;
        })
        .await;
        let refusal = world.send(&upstream(H2c, &[talks.addr]), get2()).await.unwrap_err();
        assert_eq!(refusal.reason, L7Reason::UpstreamProtocol);
        // One that only reads ends the connection in the end.
        drop(server);
    });
}

#[test]
fn a_connection_that_has_died_is_left() {
    run(|world| async move {
        let held = Held::new(100).await;
        let upstream = upstream(H2c, &[held.server.addr]);
        let running = world.begin(&upstream, get2());
        until("it is there", || held.now.get() == 1).await;
        settle().await;
        // What came before does not count.
        let second = world.begin(&upstream, get2());
        until("it is there", || held.now.get() == 2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let third = world.begin(&upstream, get2());
        until("it is there", || held.now.get() == 3).await;
        world.net.pass(TERMS.read_timeout);
        for running in [running, second, third] {
            let refusal = running.await.unwrap().unwrap_err();
            assert_eq!(refusal.reason, L7Reason::UpstreamTimeout);
        }
        let fresh = world.begin(&upstream, get2());
        until("another is opened", || held.server.accepted() == 2).await;
        held.gate.open(10);
        finish(vec![fresh]).await;
        assert_eq!(world.counters().read_timed_out, 3);
    });
}

#[test]
fn a_body_that_is_dropped_resets_its_stream_alone() {
    run(|world| async move {
        let server =
            Server::new(|_, stream| http2(stream, 100, |_| async { said(vec![b'x'; 300_000]) }))
                .await;
        let upstream = upstream(H2c, &[server.addr]);
        for _ in 0..20 {
            let mut sent = world.send(&upstream, get2()).await.unwrap();
            sent.response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(world.state(server.addr).outstanding, 1);
        }
        let sent = world.send(&upstream, get2()).await.unwrap();
        assert_eq!(text(sent.response).await.unwrap().len(), 300_000);
        assert_eq!(server.accepted(), 1);
        assert_eq!(world.state(server.addr).outstanding, 0);
    });
}
