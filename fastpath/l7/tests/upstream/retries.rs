//! What is sent once more, and to whom.

use super::servers::{Server, head, refusing, reset};
use super::{TestBody, World, http, request, run, run_with, text};
use http::Method;
use sluice_l7::L7Reason;
use sluice_l7::upstream::UpstreamConfig;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

/// When an endpoint fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// It refuses the connection.
    Refused,
    /// Before it has read anything.
    Accepted,
    /// When it has the head of the request.
    Asked,
    /// When it has answered a part of a head.
    Answering,
    /// When it has answered the head.
    Answered,
    /// It answers 503.
    Unavailable,
}

async fn failing(moment: Moment) -> (Option<Server>, SocketAddr) {
    if moment == Moment::Refused {
        return (None, refusing().await);
    }
    let server = Server::new(move |_, mut stream| async move {
        if moment != Moment::Accepted {
            head(&mut stream).await;
        }
        let answer: &[u8] = match moment {
            Moment::Answering => b"HTTP/1.1 2",
            Moment::Answered => b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            Moment::Unavailable => b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
            _ => b"",
        };
        let _ = stream.write_all(answer).await;
        if matches!(moment, Moment::Accepted | Moment::Asked) {
            reset(stream);
        }
    })
    .await;
    let addr = server.addr;
    (Some(server), addr)
}

/// Sends a request that goes to an endpoint that fails first, then perhaps to another.
async fn outcome(method: Method, body: TestBody, moment: Moment) -> String {
    let (_failing, failing) = failing(moment).await;
    let good = Server::named("good").await;
    let upstream = http(&[failing, good.addr]);
    let mut body = Some(body);
    for seed in 0.. {
        let world = World::new(UpstreamConfig::default());
        // A seed whose first choice is the one that fails.
        let upstreams = sluice_l7::upstream::Upstreams::new(
            world.net.clone(),
            super::Pretended,
            UpstreamConfig::default(),
            seed,
        );
        let first = upstreams.send_to(&upstream, super::get(), super::TERMS).await;
        let is_failing = match &first {
            Ok(sent) => sent.attempts == 2 || sent.endpoint == failing,
            Err(refusal) => refusal.endpoint == Some(failing),
        };
        if !is_failing {
            continue;
        }
        drop(first);
        let upstreams = sluice_l7::upstream::Upstreams::new(
            world.net.clone(),
            super::Pretended,
            UpstreamConfig::default(),
            seed,
        );
        let request = request(method, body.take().unwrap());
        return match upstreams.send_to(&upstream, request, super::TERMS).await {
            Err(refusal) => format!("{} after {}", refusal.reason.label(), refusal.attempts),
            Ok(sent) => {
                let (status, attempts) = (sent.response.status().as_u16(), sent.attempts);
                match text(sent.response).await {
                    Ok(text) => format!("{status} {text} after {attempts}"),
                    Err(reason) => format!("{status} {} after {attempts}", reason.label()),
                }
            }
        };
    }
    unreachable!()
}

#[test]
fn only_what_is_safe_is_sent_once_more() {
    run(|_| async move {
        let again = "200 good after 2";
        let lost = "upstream_reset after 1";
        let cut = "200 upstream_reset after 1";
        let no = "503  after 1";
        let empty = || TestBody::Empty;
        let full = || TestBody::whole("body");
        use Moment::{Accepted, Answered, Answering, Asked, Refused, Unavailable};
        for (method, body, moment, expected) in [
            (Method::GET, empty(), Refused, again),
            (Method::POST, full(), Refused, again),
            (Method::PATCH, empty(), Refused, again),
            (Method::GET, empty(), Accepted, again),
            (Method::GET, empty(), Asked, again),
            (Method::HEAD, empty(), Asked, "200  after 2"),
            (Method::OPTIONS, empty(), Asked, again),
            (Method::PUT, empty(), Asked, again),
            (Method::DELETE, empty(), Asked, again),
            (Method::GET, full(), Asked, lost),
            (Method::PUT, full(), Asked, lost),
            (Method::POST, empty(), Asked, lost),
            (Method::POST, full(), Asked, lost),
            (Method::PATCH, empty(), Asked, lost),
            (Method::GET, empty(), Answering, lost),
            (Method::PUT, empty(), Answering, lost),
            (Method::GET, empty(), Answered, cut),
            (Method::GET, empty(), Unavailable, no),
            (Method::PUT, empty(), Unavailable, no),
        ] {
            let what = format!("{method} {moment:?}");
            assert_eq!(outcome(method, body, moment).await, expected, "{what}");
        }
    });
}

#[test]
fn no_more_than_three_endpoints_are_asked() {
    run(|world| async move {
        let mut addrs = Vec::new();
        for _ in 0..6 {
            addrs.push(refusing().await);
        }
        let refusal = world.send(&http(&addrs), super::get()).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.attempts), (L7Reason::ConnectFailed, 3));
        assert_eq!((world.counters().connect_failed, world.counters().retries), (3, 2));
        // Each once: there is no other when there are two.
        let refusal = world.send(&http(&addrs[..2]), super::get()).await.unwrap_err();
        assert_eq!(refusal.attempts, 2);
    });
}

#[test]
fn when_too_many_are_sent_once_more_no_more_are() {
    let config = UpstreamConfig {
        retries_burst: 4,
        retries_per_s: 3,
        retries_per_cent: 20,
        failures_max: u32::MAX,
        ..Default::default()
    };
    run_with(config, |world| async move {
        let addrs = [refusing().await, refusing().await];
        let upstream = http(&addrs);
        for _ in 0..20 {
            world.send(&upstream, super::get()).await.unwrap_err();
        }
        // Four at first, and a fifth of those that came: the first found it full.
        assert_eq!(world.counters().retries, 4 + 3);
        assert_eq!(world.counters().retries_refused, 20 - 7);
        world.net.pass(std::time::Duration::from_secs(1));
        for _ in 0..4 {
            world.send(&upstream, super::get()).await.unwrap_err();
        }
        assert_eq!(world.counters().retries, 4 + 3 + 4);
    });
}
