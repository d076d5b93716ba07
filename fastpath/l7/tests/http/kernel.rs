//! On sockets of the kernel, by its own time: nothing here depends on how long anything
//! takes.

use super::aid::{FakeTls, Log, Reply, Upstreams, answers_of, listener, route, tables};
use sluice_l7::http::{Limit, Proxy, ProxyOptions};
use sluice_l7::kernel::{self, KernelNet, KernelServer};
use sluice_l7::net::{Net, Stream};
use sluice_tables::l7::ListenerId;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

type Served = Proxy<KernelNet, Upstreams, FakeTls>;

fn proxy(net: &KernelNet, upstreams: Upstreams) -> Served {
    let log = Rc::new(Log::default());
    let proxy = Proxy::new(net.clone(), ProxyOptions::default(), upstreams, FakeTls, log);
    let of = |name, path| listener(name).route(route("", path));
    drop(proxy.set_tables(tables(vec![of("v4", "/four"), of("v6", "/six")])));
    proxy
}

async fn exchange(net: &KernelNet, to: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = net.connect(to).await.unwrap();
    assert_eq!(stream.remote(), to);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut came = Vec::new();
    stream.read_to_end(&mut came).await.unwrap();
    came
}

#[test]
fn clients_of_both_families_are_served_until_the_end() {
    kernel::run(|net| async move {
        let proxy = proxy(&net, Upstreams::answering(|_| Reply::text("hello")));
        let addrs = ["127.0.0.1:0", "[::1]:0"].map(|addr| addr.parse().unwrap());
        let listeners = [(addrs[0], ListenerId(0)), (addrs[1], ListenerId(1))];
        let server = KernelServer::bind(&net, listeners).unwrap();
        let addrs = server.addrs().unwrap();
        let failures = server.failures();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.serve(
            proxy.clone(),
            async {
                let _ = stopped.await;
            },
            Duration::from_secs(5),
        );
        let clients = async {
            for (addr, path) in [(addrs[0], "/four"), (addrs[1], "/six")] {
                for (path, status) in [(path, 200), ("/", 404)] {
                    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n");
                    let last = format!("{head}Connection: close\r\n\r\n");
                    let came = exchange(&net, addr, &last).await;
                    assert_eq!(answers_of(came)[0].status, status, "{addr}{path}");
                }
                let came = exchange(&net, addr, "GET /\r\n\r\n").await;
                assert_eq!(answers_of(came)[0].status, 400);
            }
            // One that is idle when the end comes.
            let mut idle = net.connect(addrs[0]).await.unwrap();
            idle.write_all(b"GET /four HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            idle.read_u8().await.unwrap();
            stop.send(()).unwrap();
            let mut rest = Vec::new();
            idle.read_to_end(&mut rest).await.unwrap();
            assert!(rest.ends_with(b"hello"));
            drop(idle);
        };
        tokio::join!(serving, clients);
        assert_eq!(proxy.connections(), 0);
        assert_eq!(proxy.counts().connections, 7);
        assert_eq!(proxy.counts().limits(Limit::DrainTime), 0);
        assert_eq!(failures.get(), 0);
        let refused = net.connect(addrs[0]).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    })
    .unwrap();
}

#[test]
fn several_threads_may_listen_at_the_same_address() {
    kernel::run(|net| async move {
        let first = KernelServer::bind(&net, [("127.0.0.1:0".parse().unwrap(), ListenerId(0))]);
        let addr = first.as_ref().unwrap().addrs().unwrap()[0];
        assert!(KernelServer::bind(&net, [(addr, ListenerId(0))]).is_ok());
        let nobodys = "192.0.2.1:80".parse().unwrap();
        assert!(KernelServer::bind(&net, [(nobodys, ListenerId(0))]).is_err());
    })
    .unwrap();
}

#[test]
fn what_came_before_a_reset_is_read_and_a_reset_is_no_end() {
    kernel::run(|net| async move {
        for (addr, has_fin) in
            [("127.0.0.1:0", false), ("127.0.0.1:0", true), ("[::1]:0", false), ("[::1]:0", true)]
        {
            let listener = TcpListener::bind(addr).await.unwrap();
            let addr = listener.local_addr().unwrap();
            let (stream, accepted) = tokio::join!(net.connect(addr), listener.accept());
            let (mut stream, (mut other, _)) = (stream.unwrap(), accepted.unwrap());
            other.write_all(&[1; 40_000]).await.unwrap();
            if has_fin {
                other.shutdown().await.unwrap();
            }
            stream.write_all(b"nobody reads it").await.unwrap();
            other.readable().await.unwrap();
            drop(other);
            while stream.write_all(b"more").await.is_ok() {}
            let mut came = Vec::new();
            let end = stream.read_to_end(&mut came).await.map_err(|error| error.kind());
            let expected = (!has_fin).then_some(std::io::ErrorKind::ConnectionReset);
            assert_eq!((came.len(), end.err()), (40_000, expected));
        }
    })
    .unwrap();
}

#[test]
fn an_aborted_connection_is_reset() {
    kernel::run(|net| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stream, accepted) = tokio::join!(net.connect(addr), listener.accept());
        let (mut stream, (mut other, from)) = (stream.unwrap(), accepted.unwrap());
        assert_eq!((stream.local(), stream.remote()), (from, addr));
        stream.abort();
        let failure = other.read_u8().await.unwrap_err();
        assert_eq!(failure.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(stream.write_all(b"x").await.is_err() && stream.read_u8().await.is_err());
    })
    .unwrap();
}

#[test]
fn what_a_client_has_asked_for_is_given_up_when_it_is_gone() {
    kernel::run(|net| async move {
        let upstreams = Upstreams::deciding(|_| std::future::pending());
        let proxy = proxy(&net, upstreams.clone());
        let server = KernelServer::bind(&net, [("127.0.0.1:0".parse().unwrap(), ListenerId(0))]);
        let server = server.unwrap();
        let addr = server.addrs().unwrap()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        let told = async {
            let _ = stopped.await;
        };
        let serving = server.serve(proxy.clone(), told, Duration::from_secs(600));
        let client = async {
            let mut client = net.connect(addr).await.unwrap();
            client.write_all(b"GET /four HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            while upstreams.begun.get() == 0 {
                tokio::task::yield_now().await;
            }
            client.abort();
            proxy.ended().await;
            stop.send(()).unwrap();
        };
        tokio::join!(serving, client);
        assert_eq!(proxy.counts().requests, 1);
    })
    .unwrap();
}

#[test]
fn time_goes_on_between_tasks_and_not_within_them() {
    super::aid::run(async {
        let net = KernelNet::new();
        let (told, tell) = oneshot::channel();
        let of_task = net.clone();
        net.spawn(async move {
            let start = of_task.now_ns();
            tokio::time::advance(Duration::from_secs(1)).await;
            let after = of_task.now_ns();
            of_task.sleep_until(after + 5_000_000_000).await;
            let _ = told.send((start, after, of_task.now_ns(), of_task.unix_ms()));
        });
        let before_ms = net.unix_ms();
        let (start, after, woken, _) = tell.await.unwrap();
        assert_eq!(after - start, 1_000_000_000);
        assert!((5_000_000_000..5_002_000_000).contains(&(woken - after)), "{}", woken - after);
        assert!(before_ms > 1_600_000_000_000);
    });
}
