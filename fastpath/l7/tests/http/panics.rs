use super::aid::{Client2, Reply, Upstreams, World, h2_request, listener, route, run};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use sluice_l7::L7Reason;
use sluice_l7::http::ProxyOptions;

/// A panic at `/panic`, and one in the middle of the answer at `/half`.
fn world() -> World {
    let upstreams = Upstreams::answering(|seen| match &*seen.uri {
        "/panic" => panic!("on purpose"),
        "/half" => {
            let panics = std::iter::from_fn(|| panic!("on purpose"));
            Reply::lazily([Ok(Frame::data(Bytes::from_static(b"half")))].into_iter().chain(panics))
        }
        _ => Reply::text("hello"),
    });
    let listeners = vec![listener("http").route(route("", "/"))];
    World::with(ProxyOptions::default(), listeners, upstreams)
}

#[test]
fn a_panic_ends_its_own_request() {
    run(async {
        let world = world();
        let mut client = world.client();
        assert_eq!(client.get("a", "/panic").await.text(), "500 internal\n");
        assert_eq!(client.get("a", "/").await.text(), "hello");
        let mut two = Client2::new(&world.net, world.client()).await;
        let (panics, other) = (h2_request("GET", "http://a/panic", &[], ""), "http://a/");
        assert_eq!(two.ask(panics).await.0, 500);
        assert_eq!(two.ask(h2_request("GET", other, &[], "")).await.0, 200);
        assert_eq!(world.proxy.counts().answers(L7Reason::Internal), 2);
        let logged = &world.logged()[0];
        assert_eq!((logged.status, logged.reason), (500, Some(L7Reason::Internal)));
        assert_eq!(logged.path, "/panic");
    });
}

#[test]
fn a_panic_in_an_answer_breaks_it_off() {
    run(async {
        let world = world();
        let mut client = world.client();
        client.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.is_cut_behind("").await;
        let mut two = Client2::new(&world.net, world.client()).await;
        let is_broken = match two.send(h2_request("GET", "http://a/half", &[], "")).await {
            Ok(half) => half.into_body().collect().await.is_err(),
            Err(_) => true,
        };
        assert!(is_broken);
        assert_eq!(two.ask(h2_request("GET", "http://a/", &[], "")).await.0, 200);
        let logged = &world.logged()[0];
        assert_eq!((logged.reason, logged.is_aborted), (Some(L7Reason::Internal), true));
    });
}
