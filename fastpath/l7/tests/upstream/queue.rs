//! As many connections as may be.

use super::servers::{Server, answer, head};
use super::{TERMS, get, http, run_with, text, until};
use sluice_l7::L7Reason;
use sluice_l7::upstream::UpstreamConfig;

fn small() -> UpstreamConfig {
    UpstreamConfig {
        connections_per_endpoint_max: 2,
        waiting_per_endpoint_max: 3,
        ..Default::default()
    }
}

#[test]
fn requests_wait_for_a_connection_in_their_order() {
    run_with(small(), |world| async move {
        let server = Server::new(|_, mut stream| async move {
            while let Some(head) = head(&mut stream).await {
                let path = head.split(' ').nth(1).unwrap();
                answer(&mut stream, path).await;
            }
        })
        .await;
        let upstream = http(&[server.addr]);
        let held = [
            world.send(&upstream, get()).await.unwrap(),
            world.send(&upstream, get()).await.unwrap(),
        ];
        let mut waiting = Vec::new();
        for path in ["/0", "/1", "/2"] {
            let mut request = get();
            *request.uri_mut() = path.parse().unwrap();
            waiting.push(world.begin(&upstream, request));
            until("it waits", || world.state(server.addr).waiting == waiting.len()).await;
        }
        let refusal = world.send(&upstream, get()).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.attempts), (L7Reason::UpstreamOverflow, 1));
        assert_eq!((world.counters().waited, world.counters().overflow), (3, 1));
        // One that is not waited for any more makes room.
        waiting.remove(1).abort();
        until("it has gone", || world.state(server.addr).waiting == 2).await;
        waiting.push(world.begin(&upstream, get()));
        until("it waits", || world.state(server.addr).waiting == 3).await;

        let [first, second] = held;
        text(first.response).await.unwrap();
        let sent = waiting.remove(0).await.unwrap().unwrap();
        assert_eq!(text(sent.response).await.unwrap(), "/0");
        // A connection that ends makes room for one.
        drop(second);
        for (waiting, path) in waiting.into_iter().zip(["/2", "/"]) {
            let sent = waiting.await.unwrap().unwrap();
            assert_eq!(text(sent.response).await.unwrap(), path);
        }
        let state = world.state(server.addr);
        assert_eq!((state.outstanding, state.waiting), (0, 0));
        assert!(state.connections <= 2 && server.accepted() <= 3);
    });
}

#[test]
fn who_waits_for_too_long_is_refused() {
    run_with(small(), |world| async move {
        let server = Server::named("a").await;
        let upstream = http(&[server.addr]);
        let _held = [
            world.send(&upstream, get()).await.unwrap(),
            world.send(&upstream, get()).await.unwrap(),
        ];
        let waiting = world.begin(&upstream, get());
        until("it waits", || world.state(server.addr).waiting == 1).await;
        world.net.pass(TERMS.connect_timeout);
        let refusal = waiting.await.unwrap().unwrap_err();
        assert_eq!(refusal.reason, L7Reason::ConnectTimeout);
        assert_eq!(world.state(server.addr).ejected_until_ns, None);
    });
}

#[test]
fn who_waits_for_an_endpoint_that_goes_is_sent_to_another() {
    run_with(small(), |world| async move {
        let (a, b) = (Server::named("a").await, Server::named("b").await);
        let upstream = http(&[a.addr]);
        let _held = [
            world.send(&upstream, get()).await.unwrap(),
            world.send(&upstream, get()).await.unwrap(),
        ];
        let waiting = world.begin(&upstream, get());
        until("it waits", || world.state(a.addr).waiting == 1).await;
        world.get(&http(&[b.addr])).await.unwrap();
        let sent = waiting.await.unwrap().unwrap();
        assert_eq!(sent.endpoint, b.addr);
        assert_eq!(text(sent.response).await.unwrap(), "b");
    });
}
