//! Requests that are given up at any time.

use super::servers::{Server, answer, head, http2, reset};
use super::{TestBody, get, get2, request, run_with, until, upstream};
use http::{Method, Response};
use http_body_util::{BodyExt, Full};
use sluice_l7::upstream::UpstreamConfig;
use sluice_tables::l7::BackendProtocol;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;

fn small() -> UpstreamConfig {
    UpstreamConfig {
        connections_per_endpoint_max: 4,
        waiting_per_endpoint_max: 8,
        idle_per_endpoint_max: 2,
        ..Default::default()
    }
}

/// An endpoint that does anything.
async fn erratic(seed: u64) -> Server {
    let random = Rc::new(RefCell::new(fastrand::Rng::with_seed(seed)));
    Server::new(move |_, mut stream| {
        let random = random.clone();
        async move {
            while head(&mut stream).await.is_some() {
                let what = random.borrow_mut().u8(..10);
                match what {
                    0 => return,
                    1 => return reset(stream),
                    2 => {
                        let part = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
                        let _ = stream.write_all(part).await;
                        return;
                    }
                    3 => {
                        let _ = stream.write_all(b"HTTP/1.1 nonsense\r\n\r\n").await;
                        return;
                    }
                    4 => return std::future::pending().await,
                    _ => {
                        for _ in 0..what {
                            tokio::task::yield_now().await;
                        }
                        answer(&mut stream, "hello").await;
                    }
                }
            }
        }
    })
    .await
}

async fn storm(world: super::World, protocol: BackendProtocol, servers: &[Server], seed: u64) {
    let addrs: Vec<_> = servers.iter().map(|server| server.addr).collect();
    let upstream = upstream(protocol, &addrs);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut running, mut endless) = (Vec::new(), Vec::new());
    for turn in 0..600 {
        let (world, upstream) = (world.clone(), upstream.clone());
        let request = match random.u8(..4) {
            0 => {
                let (parts, body) = TestBody::parts();
                parts.send("some");
                request(Method::POST, body)
            }
            1 => {
                let (parts, body) = TestBody::parts();
                parts.send("never");
                endless.push(parts);
                request(Method::PUT, body)
            }
            _ => get(),
        };
        let request = if protocol.is_http2() { for_http2(request) } else { request };
        let frames = random.usize(..4);
        running.push(tokio::task::spawn_local(async move {
            if let Ok(mut sent) = world.send(&upstream, request).await {
                for _ in 0..frames {
                    let _ = sent.response.body_mut().frame().await;
                }
            }
        }));
        for _ in 0..random.u8(..20) {
            tokio::task::yield_now().await;
        }
        if random.bool() {
            running.swap_remove(random.usize(..running.len())).abort();
        }
        if turn % 50 == 0 {
            world_passes(&running).await;
        }
    }
    // Those that are left wait for an endpoint that never answers.
    running.iter().for_each(|running| running.abort());
    until("nothing is left", || {
        world.upstreams.endpoints().iter().all(|state| {
            (state.outstanding, state.waiting) == (0, 0) && state.connections == state.idle
        })
    })
    .await;
    until("no body is left", || endless.iter().all(super::Parts::is_dropped)).await;
    let counters = world.counters();
    let busy = if protocol.is_http2() { counters.reused } else { counters.opened };
    assert!(busy > 50, "{counters:?}");
}

fn for_http2(mut request: http::Request<TestBody>) -> http::Request<TestBody> {
    request.headers_mut().clear();
    *request.uri_mut() = get2().uri().clone();
    *request.version_mut() = http::Version::HTTP_2;
    request
}

async fn world_passes(running: &[tokio::task::JoinHandle<()>]) {
    for _ in 0..200 {
        if running.iter().all(tokio::task::JoinHandle::is_finished) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn nothing_of_a_request_that_is_given_up_is_left() {
    for seed in 0..6 {
        run_with(small(), |world| async move {
            let servers = [erratic(seed).await, erratic(seed + 100).await];
            storm(world, BackendProtocol::Http, &servers, seed).await;
        });
    }
}

#[test]
fn nothing_of_a_stream_that_is_given_up_is_left() {
    for seed in 0..4 {
        run_with(small(), |world| async move {
            let serve = |_, stream| {
                http2(stream, 3, |_| async {
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    Response::new(Full::new(vec![b'x'; 200_000].into()))
                })
            };
            let servers = [Server::new(serve).await, Server::new(serve).await];
            storm(world, BackendProtocol::H2c, &servers, seed).await;
        });
    }
}
