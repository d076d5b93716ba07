use super::aid::{
    Client2, Reply, Upstreams, World, answers_of, h2_request, listener, pass, route, run,
};
use http_body_util::BodyExt;
use sluice_l7::http::{Limit, ProxyOptions};
use sluice_l7::tcp::Pressure;
use sluice_l7::{HeadLimits, L7Reason};
use std::time::Duration;
use tokio::time::Instant;

fn world(options: ProxyOptions) -> World {
    World::new(options, vec![listener("http").route(route("", "/"))])
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_listener_has_so_many_connections() {
    run(async {
        let options = ProxyOptions { connections_max: 2, ..ProxyOptions::default() };
        let listeners =
            vec![listener("one").route(route("", "/")), listener("two").route(route("", "/"))];
        let world = World::new(options, listeners);
        let (mut first, mut second) = (world.client(), world.client());
        assert_eq!(first.get("a", "/").await.status, 200);
        assert_eq!(second.get("a", "/").await.status, 200);
        world.client().is_cut_behind("").await;
        assert_eq!(world.proxy.counts().limits(Limit::Connections), 1);
        assert_eq!(world.client_of(1, "192.0.2.1:1").get("a", "/").await.status, 200);
        drop(first);
        pass(Duration::from_millis(1)).await;
        assert_eq!(world.client().get("a", "/").await.status, 200);
        assert_eq!(world.proxy.counts().limits(Limit::Connections), 1);
        assert_eq!(world.proxy.counts().connections, 4);
    });
}

#[test]
fn a_connection_has_so_many_requests() {
    run(async {
        let world = world(ProxyOptions { requests_max: 3, ..ProxyOptions::default() });
        let mut client = world.client();
        for number in 1..=3 {
            let answer = client.get("a", "/").await;
            let closes = answer.all("connection") == ["close"];
            assert_eq!((answer.status, closes), (200, number == 3));
        }
        client.is_ended().await;
        let mut two = Client2::new(&world.net, world.client()).await;
        for _ in 1..=3 {
            assert_eq!(two.ask(h2_request("GET", "http://a/", &[], "")).await.0, 200);
        }
        pass(Duration::from_millis(1)).await;
        assert!(two.is_over.get());
        assert_eq!(world.proxy.counts().limits(Limit::Requests), 2);
        assert_eq!(world.proxy.counts().requests, 6);
    });
}

#[test]
fn without_memory_requests_are_refused_and_then_connections_end() {
    run(async {
        let world = world(ProxyOptions::default());
        let pressure = world.net.pressure.clone();
        let mut client = world.client();
        let mut two = Client2::new(&world.net, world.client()).await;
        let ask = || h2_request("GET", "http://a/", &[], "");
        for (step, status, closes) in [
            (Pressure::None, 200, false),
            (Pressure::Windows, 200, false),
            (Pressure::Connections, 200, false),
            (Pressure::Requests, 503, false),
            (Pressure::None, 200, false),
            (Pressure::Ends, 503, true),
        ] {
            pressure.set(step);
            let answer = client.get("a", "/").await;
            let says_close = answer.all("connection") == ["close"];
            assert_eq!((answer.status, says_close), (status, closes), "{step:?}");
            assert_eq!(two.ask(ask()).await.0, status, "{step:?}");
        }
        client.is_ended().await;
        pass(Duration::from_millis(1)).await;
        assert!(two.is_over.get());
        let counts = world.proxy.counts();
        assert_eq!(counts.limits(Limit::Memory), 2);
        assert_eq!(counts.answers(L7Reason::OutOfMemory), 4);
        // Whoever comes later is served when there is memory.
        pressure.set(Pressure::Connections);
        assert_eq!(world.client().get("a", "/").await.status, 200);
    });
}

/// A client that sends a byte now and then has as long as one that sends none.
#[test]
fn a_head_has_to_come_in_time() {
    run(async {
        let world = world(ProxyOptions::default());
        let start = Instant::now();
        let mut slow = world.client();
        for byte in GET.bytes() {
            slow.send([byte]).await;
            pass(Duration::from_millis(999)).await;
            if start.elapsed() > Duration::from_secs(11) {
                break;
            }
        }
        let answers = answers_of(slow.rest().await);
        assert_eq!(answers[0].text(), "408 request_timeout\n");
        assert_eq!(world.proxy.counts().answers(L7Reason::RequestTimeout), 1);
        assert_eq!(world.proxy.counts().limits(Limit::HeadTime), 1);
        assert_eq!(world.logged().pop().unwrap().status, 408);
        // One that sends nothing at all has nothing that could be answered.
        let start = Instant::now();
        let mut silent = world.client();
        assert!(silent.rest().await.is_empty());
        assert!((10..11).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(world.proxy.counts().limits(Limit::HeadTime), 2);
        // A later one has the time for itself.
        let mut client = world.client();
        assert_eq!(client.get("a", "/").await.status, 200);
        pass(Duration::from_secs(60)).await;
        let start = Instant::now();
        client.send("GET / HT").await;
        assert_eq!(answers_of(client.rest().await)[0].status, 408);
        assert!((10..13).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(world.proxy.counts().limits(Limit::HeadTime), 3);
    });
}

#[test]
fn a_connection_may_be_idle_for_so_long() {
    run(async {
        let world = world(ProxyOptions::default());
        let mut client = world.client();
        for _ in 0..3 {
            assert_eq!(client.get("a", "/").await.status, 200);
            pass(Duration::from_secs(74)).await;
        }
        let start = Instant::now();
        assert_eq!(client.get("a", "/").await.status, 200);
        client.is_ended().await;
        assert!((75..76).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(world.proxy.counts().limits(Limit::IdleTime), 1);
        let mut two = Client2::new(&world.net, world.client()).await;
        assert_eq!(two.ask(h2_request("GET", "http://a/", &[], "")).await.0, 200);
        pass(Duration::from_secs(74)).await;
        assert!(!two.is_over.get());
        pass(Duration::from_secs(2)).await;
        assert!(two.is_over.get());
        assert_eq!(world.proxy.counts().limits(Limit::IdleTime), 2);
    });
}

#[test]
fn a_body_has_to_go_on() {
    run(async {
        let world = world(ProxyOptions::default());
        let mut client = world.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n").await;
        for byte in ["a", "b", "c"] {
            pass(Duration::from_secs(59)).await;
            client.send(byte).await;
        }
        let start = Instant::now();
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.all("connection")), (408, vec!["close"]));
        assert_eq!(start.elapsed().as_secs(), 60);
        assert_eq!(world.proxy.counts().answers(L7Reason::RequestTimeout), 1);
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.reason, logged.bytes.0), (Some(L7Reason::RequestTimeout), 3));
        assert!(world.seen().is_empty());
    });
}

/// Nobody waits for the gateway because it waits for an endpoint.
#[test]
fn an_endpoint_that_takes_long_is_not_the_clients_fault() {
    run(async {
        let upstreams = Upstreams::deciding(|request| async move {
            pass(Duration::from_secs(300)).await;
            drop(request.into_body().collect().await.unwrap());
            Reply::text("late")
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na").await;
        assert_eq!(client.answer().await.text(), "late");
        client.send(GET).await;
        assert_eq!(client.answer().await.text(), "late");
    });
}

#[test]
fn a_client_has_to_take_its_answers() {
    run(async {
        let upstreams = Upstreams::answering(|_| {
            let frame = || Ok(http_body::Frame::data(vec![7; 100_000].into()));
            Reply::frames((0..10).map(|_| frame()).collect())
        });
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        client.send(GET).await;
        pass(Duration::from_secs(59)).await;
        assert_eq!(world.proxy.connections(), 1);
        pass(Duration::from_secs(2)).await;
        assert_eq!(world.proxy.connections(), 0);
        assert_eq!(world.proxy.counts().limits(Limit::SendTime), 1);
        let logged = world.logged().pop().unwrap();
        assert!(logged.is_aborted && logged.status == 200);
    });
}

#[test]
fn heads_and_bodies_are_bounded() {
    run(async {
        let options = ProxyOptions {
            head: HeadLimits { bytes: 400, target_bytes: 100, headers: 8 },
            body_bytes_max: Some(10),
            ..ProxyOptions::default()
        };
        let world = world(options);
        let head = |more: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n");
        for (request, reason) in [
            (head(&"X: x\r\n".repeat(8)), L7Reason::TooManyHeaders),
            (head(&format!("X: {}\r\n", "x".repeat(400))), L7Reason::HeadTooLarge),
            (head("Content-Length: 11\r\n"), L7Reason::BodyTooLarge),
            (GET.replacen('/', &format!("/{}", "x".repeat(100)), 1), L7Reason::TargetTooLong),
        ] {
            let mut client = world.client();
            client.send(&request).await;
            let answers = answers_of(client.rest().await);
            assert_eq!(answers[0].status, reason.status(), "{request}");
            assert_eq!(world.proxy.counts().answers(reason), 1, "{request}");
        }
        assert_eq!(world.proxy.counts().requests, 0);
        let mut client = world.client();
        client.send(head("Transfer-Encoding: chunked\r\n") + "b\r\n").await;
        assert_eq!(answers_of(client.rest().await)[0].text(), "413 body_too_large\n");
    });
}

#[test]
fn a_client_that_is_hung_up_on_does_not_stay_for_ever() {
    run(async {
        let world = world(ProxyOptions::default());
        let mut client = world.client();
        client.send("GET /\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 400);
        pass(Duration::from_millis(1900)).await;
        assert_eq!(world.proxy.connections(), 1);
        pass(Duration::from_millis(200)).await;
        assert_eq!(world.proxy.connections(), 0);
    });
}
