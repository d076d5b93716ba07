use super::aid::{
    Client2, PREFACE, Reply, Upstreams, World, get_of_stream, h2_request, listener, pass, route,
    run, tables,
};
use sluice_l7::L7Reason;
use sluice_l7::http::{Limit, ProxyOptions};
use std::time::Duration;

#[test]
fn routes_change_under_connections_that_stay() {
    run(async {
        let world = World::new(
            ProxyOptions::default(),
            vec![listener("http").route(route("", "/old")), listener("other")],
        );
        let mut client = world.client();
        let mut two = Client2::new(&world.net, world.client()).await;
        assert_eq!(client.get("a", "/old").await.status, 200);
        assert_eq!(two.ask(h2_request("GET", "http://a/old", &[], "")).await.0, 200);
        let before = world.proxy.set_tables(tables(vec![
            listener("renamed").route(route("", "/new")),
            listener("other"),
        ]));
        assert_eq!(&*before.listeners[0].as_ref().unwrap().name, "http");
        for (path, status) in [("/old", 404), ("/new", 200)] {
            assert_eq!(client.get("a", path).await.status, status);
            let uri = format!("http://a{path}");
            assert_eq!(two.ask(h2_request("GET", &uri, &[], "")).await.0, status);
        }
        assert_eq!(world.proxy.counts().connections, 2);
        assert_eq!(world.log.closed.get(), 0);
    });
}

#[test]
fn a_request_goes_on_as_it_has_begun() {
    run(async {
        let upstreams = Upstreams::deciding(|_| async {
            pass(Duration::from_secs(5)).await;
            Reply::text("done")
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        pass(Duration::from_secs(1)).await;
        drop(world.proxy.set_tables(tables(vec![listener("http")])));
        assert_eq!(client.answer().await.text(), "done");
        assert_eq!(client.get("a", "/").await.status, 404);
    });
}

#[test]
fn connections_of_a_listener_that_has_gone_are_drained() {
    run(async {
        let upstreams = Upstreams::deciding(|request| async move {
            let seconds = request.uri().path().trim_matches('/').parse().unwrap();
            pass(Duration::from_secs(seconds)).await;
            Reply::text("done")
        });
        let listeners =
            vec![listener("http").route(route("", "/")), listener("other").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let (mut idle, mut busy, mut slow) = (world.client(), world.client(), world.client());
        let mut other = world.client_of(1, "192.0.2.1:1");
        for client in [&mut idle, &mut other] {
            assert_eq!(client.get("a", "/0").await.status, 200);
        }
        let request = "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n";
        busy.send(format!("GET /5 HTTP/1.1\r\nHost: a\r\n\r\n{request}")).await;
        slow.send("GET /300 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        pass(Duration::from_secs(1)).await;
        let left = vec![listener("").gone(), listener("other").route(route("", "/"))];
        drop(world.proxy.set_tables(tables(left)));
        idle.is_ended().await;
        let answer = busy.answer().await;
        assert_eq!((answer.text(), answer.all("connection")), ("done", vec!["close"]));
        busy.is_ended().await;
        world.client().is_cut_behind("").await;
        assert_eq!(world.proxy.counts().limits(Limit::Stopped), 1);
        assert_eq!(other.get("a", "/0").await.status, 200);
        slow.is_cut_behind("").await;
        assert_eq!(world.proxy.counts().limits(Limit::DrainTime), 1);
    });
}

/// A stream of HTTP/2 that was sent before the client knew of the end is answered.
#[test]
fn requests_to_a_listener_that_has_gone_are_told_so() {
    run(async {
        let world =
            World::new(ProxyOptions::default(), vec![listener("http").route(route("", "/"))]);
        let mut client = world.client();
        client.send(PREFACE).await;
        pass(Duration::from_millis(1)).await;
        client.send(get_of_stream(1)).await;
        drop(world.proxy.set_tables(tables(vec![])));
        pass(Duration::from_millis(1)).await;
        let logged = world.logged().pop().unwrap();
        let expected = (L7Reason::Stopping.status(), Some(L7Reason::Stopping));
        assert_eq!((logged.status, logged.reason), expected);
        assert_eq!(world.proxy.counts().answers(L7Reason::Stopping), 1);
        assert!(world.seen().is_empty());
    });
}
