//! The requests that servers have been known to read in more than one way, end to end:
//! those that are refused have the status of their reason, and nothing of them, or behind
//! them, reaches an endpoint.

use super::aid::{Reply, Upstreams, World, answers_of, listener, route, run};
use sluice_l7::L7Reason;
use sluice_l7::http::ProxyOptions;
use sluice_testkit::corpus::{Example, examples};
use std::collections::BTreeMap;

/// A request that nobody may get to see: it comes behind the one that is refused.
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: smuggled\r\n\r\n";

fn reason_of(label: &str) -> Option<L7Reason> {
    L7Reason::ALL.iter().copied().find(|reason| reason.label() == label)
}

/// Sends an example in one piece, or byte by byte.
async fn send(world: &World, bytes: &[u8], is_whole: bool) -> Vec<super::aid::Answer> {
    let mut client = world.client();
    if is_whole {
        client.send(bytes).await;
    } else {
        for byte in bytes {
            client.send([*byte]).await;
            tokio::task::yield_now().await;
        }
    }
    client.shut().await;
    let came = client.rest().await;
    let text = String::from_utf8(came.clone()).unwrap();
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    answers_of(text.replace(interim, "").into_bytes())
}

fn world() -> World {
    let upstreams = Upstreams::answering(|_| Reply::text("hello"));
    let listeners = vec![listener("http").route(route("", "/"))];
    World::with(ProxyOptions::default(), listeners, upstreams)
}

#[test]
fn what_is_refused_reaches_nobody() {
    let mut refused: BTreeMap<L7Reason, u32> = BTreeMap::new();
    for Example { name, outcome, bytes } in examples() {
        let Some(reason) = reason_of(&outcome) else { continue };
        // Without TLS that is no request of HTTP/1.1, but how HTTP/2 begins.
        if name == "the preface of HTTP/2" {
            continue;
        }
        *refused.entry(reason).or_default() += 1;
        run(async {
            let world = world();
            for is_whole in [true, false] {
                let bytes = [&bytes[..], SMUGGLED].concat();
                let answers = send(&world, &bytes, is_whole).await;
                let last = answers.last().expect(&name);
                assert_eq!(last.status, reason.status(), "{name}");
                assert_eq!(last.text(), format!("{} {outcome}\n", reason.status()), "{name}");
                assert_eq!(last.all("connection"), ["close"], "{name}");
                let good = answers.iter().filter(|answer| answer.status == 200).count();
                assert_eq!(good, answers.len() - 1, "{name}");
                let seen = world.seen();
                assert!(seen.iter().all(|seen| seen.uri != "/smuggled"), "{name}: {seen:?}");
                assert_eq!(seen.len(), if is_whole { good } else { 2 * good }, "{name}: {seen:?}");
            }
            assert_eq!(world.proxy.counts().answers(reason), 2, "{name}");
        });
    }
    assert!(refused.len() > 10 && refused.values().sum::<u32>() > 70, "{refused:?}");
}

#[test]
fn what_passes_is_answered_request_by_request() {
    let mut passed = 0;
    for Example { name, outcome, bytes } in examples() {
        let Ok(requests) = outcome.parse::<usize>() else { continue };
        passed += 1;
        run(async {
            let world = world();
            for is_whole in [true, false] {
                let answers = send(&world, &bytes, is_whole).await;
                assert_eq!(answers.len(), requests, "{name}");
                // An asterisk is no path: there is no route for it.
                let status = if name == "an asterisk" { 404 } else { 200 };
                assert!(answers.iter().all(|answer| answer.status == status), "{name}");
            }
            assert_eq!(world.logged().len(), 2 * requests, "{name}");
        });
    }
    assert!(passed > 15, "{passed}");
}

/// Whatever byte is in a target or a host, it is either served or refused with a reason:
/// nothing gets past the guard that the library behind would refuse without one.
#[test]
fn no_request_is_refused_without_a_reason() {
    run(async {
        let world = world();
        let mut served = 0;
        for byte in 0..=255_u8 {
            for (before, between, after) in [
                (&b"GET /a"[..], &b"b"[..], &b"d HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
                (b"GET /a?b", b"c", b"d HTTP/1.1\r\nHost: a\r\n\r\n"),
                (b"GET http://a", b"b/ HTTP/1.1\r\nHost: a", b"b\r\n\r\n"),
                (b"GET / HTTP/1.1\r\nHost: a", b"b\r\nX-Y: a", b"b\r\n\r\n"),
                (b"A", b" / HTTP/1.1\r\nHost: a\r\nX-", b": b\r\n\r\n"),
            ] {
                let request = [before, &[byte], between, &[byte], after].concat();
                let text = String::from_utf8_lossy(&request).into_owned();
                let logged = world.logged().len();
                let answers = send(&world, &request, true).await;
                assert_eq!(answers.len(), 1, "{text:?}");
                let logged = &world.logged()[logged..];
                assert_eq!(logged.len(), 1, "{text:?}");
                assert_eq!(logged[0].status, answers[0].status, "{text:?}");
                assert_eq!(logged[0].bytes.1, answers[0].body.len() as u64, "{text:?}");
                match answers[0].status {
                    200 => served += 1,
                    status => {
                        assert_eq!(logged[0].reason.map(L7Reason::status), Some(status), "{text:?}")
                    }
                }
            }
        }
        assert!(served > 300, "{served}");
    });
}
