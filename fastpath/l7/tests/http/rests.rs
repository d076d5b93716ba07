//! Connections that nothing is asked of for a while, and then something is.

use super::aid::{Client, Reply, Upstreams, World, listener, pass, route, run};
use sluice_l7::http::{Limit, ProxyOptions};
use sluice_l7::net::Net;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Longer than a connection waits before it rests.
const LONG: Duration = Duration::from_secs(5);

async fn rested(world: &World) -> Client {
    let mut client = world.client();
    assert_eq!(client.get("a", "/").await.status, 200);
    pass(LONG).await;
    client
}

#[test]
fn a_connection_is_served_after_each_rest() {
    run(async {
        let world = World::simple();
        let mut client = rested(&world).await;
        let long = "x".repeat(5_000);
        for (parts, answers) in [
            (vec![GET.to_owned()], 1),
            (vec![GET.repeat(3)], 3),
            // One byte, then the others; an empty line before it.
            (vec![GET[..1].to_owned(), GET[1..].to_owned()], 1),
            (vec![format!("\r\n{GET}")], 1),
            (vec!["\r\n".to_owned(), GET.to_owned()], 1),
            (vec![format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n")], 1),
            (
                vec![
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n".to_owned(),
                    long.clone(),
                ],
                1,
            ),
            (vec![format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n{long}")], 1),
        ] {
            for part in &parts {
                client.send(part).await;
                pass(Duration::from_millis(10)).await;
            }
            for _ in 0..answers {
                assert_eq!(client.answer().await.status, 200, "{parts:?}");
            }
            pass(LONG).await;
        }
        assert_eq!(world.proxy.connections(), 1);
        assert_eq!(world.proxy.counts().requests, 11);
        let bodies: Vec<_> =
            world.seen().iter().map(|seen| seen.body.len()).filter(|len| *len > 0).collect();
        assert_eq!(bodies, [5_000, 5_000]);
    });
}

#[test]
fn what_is_wrong_after_a_rest_is_refused_as_ever() {
    run(async {
        let world = World::simple();
        let mut client = rested(&world).await;
        client.send("GET / HTTP/1.1\nHost: a\n\n").await;
        assert_eq!(client.answer().await.status, 400);
        client.is_ended().await;
        // A head that does not come to its end.
        let mut client = rested(&world).await;
        client.send(&GET[..5]).await;
        pass(Duration::from_secs(9)).await;
        assert_eq!(world.proxy.counts().limits(Limit::HeadTime), 0);
        assert_eq!(client.answer().await.status, 408);
        client.is_ended().await;
        assert_eq!(world.proxy.counts().limits(Limit::HeadTime), 1);
    });
}

#[test]
fn a_connection_that_rests_ends_as_others_do() {
    run(async {
        let world = World::simple();
        // The client ends it.
        let mut client = rested(&world).await;
        client.shut().await;
        client.is_ended().await;
        // It was idle for too long.
        let mut client = rested(&world).await;
        pass(Duration::from_secs(69)).await;
        assert_eq!(world.proxy.counts().limits(Limit::IdleTime), 0);
        client.is_ended().await;
        assert_eq!(world.proxy.counts().limits(Limit::IdleTime), 1);
        // The gateway ends.
        let mut client = rested(&world).await;
        world.proxy.drain(world.net.now_ns() + 1_000_000);
        client.is_ended().await;
        drop(client);
        world.proxy.ended().await;
    });
}

#[test]
fn an_answer_that_is_waited_for_is_no_rest() {
    run(async {
        let late = Upstreams::deciding(|_| async {
            tokio::time::sleep(LONG).await;
            Reply::text("late")
        });
        let world = World::with(
            ProxyOptions::default(),
            vec![listener("http").route(route("", "/"))],
            late,
        );
        let mut client = world.client();
        for _ in 0..3 {
            assert_eq!(client.get("a", "/").await.text(), "late");
        }
    });
}
