use super::aid::{Client2, Reply, Upstreams, World, h2_request, listener, pass, route, run};
use http_body_util::BodyExt;
use sluice_l7::http::{Limit, ProxyOptions};
use sluice_l7::net::Net;
use std::time::Duration;

/// Answers take so many seconds as the path says.
fn slow() -> World {
    let upstreams = Upstreams::deciding(|request| async move {
        let seconds = request.uri().path().trim_matches('/').parse().unwrap_or(0);
        pass(Duration::from_secs(seconds)).await;
        Reply::text("done")
    });
    let listeners = vec![listener("http").route(route("", "/"))];
    World::with(ProxyOptions::default(), listeners, upstreams)
}

fn drain(world: &World, seconds: u64) {
    world.proxy.drain(world.net.now_ns() + seconds * 1_000_000_000);
}

#[test]
fn what_has_begun_is_ended_in_order() {
    run(async {
        let world = slow();
        let (mut idle, mut busy) = (world.client(), world.client());
        assert_eq!(idle.get("a", "/").await.status, 200);
        busy.send("GET /5 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut two = Client2::new(&world.net, world.client()).await;
        let asked = two.send(h2_request("GET", "http://a/5", &[], ""));
        let (answer, ()) = tokio::join!(asked, async {
            pass(Duration::from_secs(1)).await;
            drain(&world, 20);
            // Whoever is idle, or comes now, has one more answer.
            for mut client in [idle, world.client()] {
                client.send("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await;
                let answer = client.answer().await;
                assert_eq!((answer.text(), answer.all("connection")), ("done", vec!["close"]));
                client.is_ended().await;
            }
            let mut other = Client2::new(&world.net, world.client()).await;
            let answer = other.send(h2_request("GET", "http://a/1", &[], "")).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "done");
            pass(Duration::from_millis(1)).await;
            assert!(other.is_over.get(), "told to go elsewhere");
            let answer = busy.answer().await;
            assert_eq!((answer.text(), answer.all("connection")), ("done", vec!["close"]));
            busy.is_ended().await;
        });
        let body = answer.unwrap().into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "done");
        drop(busy);
        world.proxy.ended().await;
        assert!(two.is_over.get());
        assert!(two.send(h2_request("GET", "http://a/", &[], "")).await.is_err());
        assert_eq!(world.proxy.counts().limits(Limit::DrainTime), 0);
        assert_eq!(world.proxy.counts().limits(Limit::Stopped), 0);
    });
}

/// Of those who are idle nobody loses anything.
#[test]
fn who_is_idle_at_the_end_is_let_go_of() {
    run(async {
        let world = slow();
        let (mut asked, mut silent) = (world.client(), world.client());
        assert_eq!(asked.get("a", "/0").await.status, 200);
        drain(&world, 5);
        pass(Duration::from_millis(4_900)).await;
        assert_eq!(world.proxy.connections(), 2);
        asked.is_ended().await;
        // Of one that has said nothing it is not known what it would understand.
        silent.is_cut_behind("").await;
        world.proxy.ended().await;
        assert_eq!(world.proxy.counts().limits(Limit::DrainTime), 1);
        world.client().is_cut_behind("").await;
        assert_eq!(world.proxy.counts().limits(Limit::Stopped), 1);
    });
}

#[test]
fn what_takes_longer_is_cut() {
    run(async {
        let world = slow();
        let mut busy = world.client();
        busy.send("GET /30 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        pass(Duration::from_secs(1)).await;
        drain(&world, 20);
        pass(Duration::from_secs(19)).await;
        assert_eq!(world.proxy.connections(), 1);
        busy.is_cut_behind("").await;
        world.proxy.ended().await;
        assert_eq!(world.proxy.counts().limits(Limit::DrainTime), 1);
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.status, logged.is_aborted), (0, true));
    });
}

/// In whatever it has begun with.
#[test]
fn a_connection_without_a_request_ends_in_time_too() {
    run(async {
        let of = |name| listener(name).trusts("10.0.0.0", 8).speaks_proxy().route(route("", "/"));
        let listeners = vec![of("http"), of("https").certificates(&[""])];
        let world = World::new(ProxyOptions::default(), listeners);
        let mut waiting = Vec::new();
        for (listener, from, begun) in [
            (0, "192.0.2.1:1", &b""[..]),
            (0, "192.0.2.1:2", b"PRI"),
            (0, "192.0.2.1:3", b"GET / HT"),
            (0, "10.0.0.1:4", b"PROXY "),
            (1, "192.0.2.1:5", b""),
            (1, "192.0.2.1:6", &[22, 1]),
        ] {
            let mut client = world.client_of(listener, from);
            client.send(begun).await;
            waiting.push(client);
        }
        pass(Duration::from_millis(1)).await;
        assert_eq!(world.proxy.connections(), 6);
        drain(&world, 1);
        pass(Duration::from_millis(1005)).await;
        assert_eq!(world.proxy.connections(), 0);
        assert_eq!(world.proxy.counts().limits(Limit::DrainTime), 6);
    });
}
