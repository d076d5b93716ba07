//! Endpoints that are told of clients by the PROXY protocol.

use super::servers::{Server, answer, head};
use super::{TERMS, World, get, get2, run, run_with, text, until, upstream};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use sluice_l7::L7Reason;
use sluice_l7::http::Terms;
use sluice_l7::upstream::UpstreamConfig;
use sluice_tables::l7::{BackendProtocol, Upstream};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const GATEWAY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 80);

/// The client that a header tells.
async fn client(stream: &mut TcpStream) -> Option<String> {
    let mut header = [0; 28];
    stream.read_exact(&mut header).await.ok()?;
    assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    assert_eq!((&header[20..24], &header[26..]), (&[10, 0, 0, 1][..], &[0, 80][..]));
    let [a, b, c, d] = [16, 17, 18, 19].map(|at| header[at]);
    let port = u16::from_be_bytes([header[24], header[25]]);
    Some(SocketAddr::new([a, b, c, d].into(), port).to_string())
}

/// Answers each request with whom its connection's header tells.
async fn server() -> Server {
    Server::new(|_, mut stream| async move {
        let Some(client) = client(&mut stream).await else { return };
        while head(&mut stream).await.is_some() {
            answer(&mut stream, &client).await;
        }
    })
    .await
}

fn proxied(protocol: BackendProtocol, addr: SocketAddr) -> Arc<Upstream> {
    let upstream = (*upstream(protocol, &[addr])).clone();
    Arc::new(Upstream { sends_proxy_protocol: true, ..upstream })
}

fn of(client: &str) -> Terms {
    let client: SocketAddr = client.parse().unwrap();
    Terms { client: client.ip(), ends: (client, GATEWAY), ..TERMS }
}

async fn ask(world: &World, upstream: &Arc<Upstream>, client: &str) -> Result<String, L7Reason> {
    let request = if upstream.protocol.is_http2() { get2() } else { get() };
    let sent = world.upstreams.send_to(upstream, request, of(client)).await;
    text(sent.map_err(|refusal| refusal.reason)?.response).await
}

const CLIENTS: [&str; 3] = ["192.0.2.1:40000", "192.0.2.1:40001", "192.0.2.2:40000"];

#[test]
fn each_connection_carries_the_requests_of_one_clients_connection() {
    run(|world| async move {
        let server = server().await;
        let upstream = proxied(BackendProtocol::Http, server.addr);
        for _ in 0..3 {
            for client in CLIENTS {
                assert_eq!(ask(&world, &upstream, client).await.unwrap(), client);
            }
        }
        assert_eq!(server.accepted(), 3);
        // Those that are told no more are not used for what is not told.
        let plain = Server::named("plain").await;
        let mut changed = (*upstream).clone();
        changed.endpoints = [plain.addr]
            .map(|addr| sluice_tables::l7::Endpoint { addr, id: sluice_tables::BackendId::NONE })
            .into();
        changed.sends_proxy_protocol = false;
        assert_eq!(world.get(&Arc::new(changed)).await.unwrap(), "plain");
        until("they are closed", || world.upstreams.connections() == 1).await;
    });
}

#[test]
fn so_do_those_for_http2() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            let Some(client) = client(&mut stream).await else { return };
            let respond = move |_| {
                let body = Full::new(Bytes::from(client.clone()));
                async move { Response::new(body) }
            };
            super::servers::http2(stream, 8, respond).await;
        })
        .await;
        let upstream = proxied(BackendProtocol::H2c, server.addr);
        for _ in 0..3 {
            for client in CLIENTS {
                assert_eq!(ask(&world, &upstream, client).await.unwrap(), client);
            }
        }
        assert_eq!(server.accepted(), 3);
    });
}

#[test]
fn what_others_keep_makes_room() {
    let config = UpstreamConfig { connections_per_endpoint_max: 2, ..UpstreamConfig::default() };
    run_with(config, |world| async move {
        let server = server().await;
        let upstream = proxied(BackendProtocol::Http, server.addr);
        for client in CLIENTS.iter().cycle().take(9) {
            assert_eq!(ask(&world, &upstream, client).await.unwrap(), *client);
            assert!(world.state(server.addr).connections <= 2);
        }
    });
}
