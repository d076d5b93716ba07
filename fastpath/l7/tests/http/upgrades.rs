use super::aid::{Reply, TestNet, Upstreams, World, listener, pass, route, run};
use sluice_l7::L7Reason;
use sluice_l7::http::{Limit, ProxyOptions};
use sluice_l7::kernel::KernelNet;
use sluice_tables::l7::BackendProtocol;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

async fn head(pipe: &mut DuplexStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let byte = pipe.read_u8().await.unwrap();
        bytes.push(byte);
    }
    String::from_utf8(bytes).unwrap().to_lowercase()
}

/// An endpoint that switches, says hello, and sends back what comes until nothing more
/// does.
async fn echo(mut pipe: DuplexStream) {
    let head = head(&mut pipe).await;
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-key: x\r\n"), "{head}");
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\nhello ";
    pipe.write_all(answer.as_bytes()).await.unwrap();
    let mut bytes = [0; 1000];
    while let Ok(read @ 1..) = pipe.read(&mut bytes).await {
        pipe.write_all(&bytes[..read]).await.unwrap();
    }
    // Nobody may be there any more.
    let _ = pipe.write_all(b" bye").await;
}

fn world<S>(serve: impl Fn(DuplexStream) -> S + 'static) -> World
where
    S: Future<Output = ()> + 'static,
{
    let net = TestNet::new(KernelNet::new());
    let upstreams = Upstreams::wired(net.clone(), serve);
    let listeners = vec![
        listener("http")
            .route(route("", "/"))
            .route(route("", "/h2").protocol(BackendProtocol::H2c)),
    ];
    World::on(net, ProxyOptions::default(), listeners, upstreams)
}

#[test]
fn two_ends_speak_another_protocol() {
    run(async {
        let world = world(echo);
        let mut client = world.client();
        // What the client says before it is answered goes on when that is known.
        client.send([UPGRADE.as_bytes(), b"early\n"].concat()).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 101);
        assert_eq!(answer.all("upgrade"), ["websocket"]);
        assert_eq!(answer.all("connection"), ["upgrade"]);
        assert_eq!(answer.all("sec-websocket-accept"), ["y"]);
        pass(Duration::from_secs(50)).await;
        // Longer than all buffers together, and nothing of HTTP.
        let long = vec![b'\n'; 500_000];
        let (pipe, mut came) = client.into_parts();
        let (mut from, mut to) = tokio::io::split(pipe);
        let sending = async {
            to.write_all(&long).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(sending, from.read_to_end(&mut came));
        read.unwrap();
        let expected = [b"hello early\n", &*long, b" bye"].concat();
        assert!(came == expected, "{} bytes", came.len());
        world.proxy.ended().await;
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.status, logged.is_aborted), (101, false));
        assert_eq!(logged.bytes, (500_006, 500_016));
        assert_eq!(world.log.closed.get(), 1);
    });
}

#[test]
fn a_protocol_that_is_refused_leaves_the_connection_as_it_was() {
    run(async {
        let world = world(|mut pipe| async move {
            head(&mut pipe).await;
            pipe.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        });
        let mut client = world.client();
        // The next request waits behind the answer.
        client.send([UPGRADE, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
        assert_eq!(client.answer().await.text(), "no");
        assert_eq!(client.answer().await.text(), "no");
        client.send([UPGRADE, "\x01\x02\r\n\r\n"].concat()).await;
        assert_eq!(client.answer().await.text(), "no");
        assert_eq!(client.answer().await.text(), "400 bad_request_line\n");
    });
}

#[test]
fn who_does_not_ask_does_not_switch() {
    run(async {
        let world = world(|mut pipe| async move {
            let head = head(&mut pipe).await;
            assert!(!head.contains("upgrade"), "{head}");
            let answer =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
            pipe.write_all(answer.as_bytes()).await.unwrap();
        });
        for asks in ["", "Upgrade: websocket\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\n"] {
            let mut client = world.client();
            client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{asks}\r\n")).await;
            assert_eq!(client.answer().await.status, 502, "{asks}");
        }
        // There is no way to ask in HTTP/2.
        let mut client = world.client();
        client.send(UPGRADE.replace("/chat", "/h2")).await;
        assert_eq!(client.answer().await.status, 502);
        let counts = world.proxy.counts();
        let reasons = [L7Reason::UpstreamProtocol, L7Reason::UpstreamReset];
        assert_eq!(reasons.iter().map(|reason| counts.answers(*reason)).sum::<u64>(), 4);
    });
}

#[test]
fn two_ends_that_say_nothing_are_parted() {
    run(async {
        let world = world(echo);
        let mut client = world.client();
        client.send(UPGRADE).await;
        assert_eq!(client.answer().await.status, 101);
        for _ in 0..3 {
            pass(Duration::from_secs(59)).await;
            client.send("x").await;
        }
        client.is_cut_behind("hello xxx").await;
        assert_eq!(world.proxy.counts().limits(Limit::TunnelTime), 1);
        assert!(world.logged().pop().unwrap().is_aborted);
    });
}

#[test]
fn two_ends_have_as_long_as_there_is_when_the_gateway_ends() {
    run(async {
        let world = world(echo);
        let mut client = world.client();
        client.send(UPGRADE).await;
        assert_eq!(client.answer().await.status, 101);
        pass(Duration::from_millis(1)).await;
        world.proxy.drain(15_000_000_000);
        pass(Duration::from_secs(14)).await;
        client.send("still there").await;
        client.is_cut_behind("hello still there").await;
        assert_eq!(world.proxy.counts().limits(Limit::DrainTime), 1);
        let logged = world.logged().pop().unwrap();
        assert_eq!((logged.is_aborted, logged.bytes), (true, (11, 17)));
    });
}

/// RFC 9110 section 7.8.
#[test]
fn http_1_0_knows_of_no_other_protocol() {
    run(async {
        let upstreams = Upstreams::answering(|_| Reply::text("hello"));
        let listeners = vec![listener("http").route(route("", "/"))];
        let world = World::with(ProxyOptions::default(), listeners, upstreams);
        let mut client = world.client();
        client.send(UPGRADE.replace("HTTP/1.1", "HTTP/1.0")).await;
        assert_eq!(client.answer().await.status, 200);
        let seen = world.seen().pop().unwrap();
        assert!(seen.all("upgrade").is_empty() && seen.all("connection").is_empty());
        // What follows is a request as any other.
        assert_eq!(client.get("a", "/").await.status, 200);
    });
}
