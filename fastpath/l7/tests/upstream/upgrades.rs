//! Connections that go on with another protocol.

use super::servers::Server;
use super::{http, run, text, until, upgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_tunnel_is_handed_through_and_counts_as_long_as_it_lasts() {
    run(|world| async move {
        let server = Server::echo("hello ").await;
        let upstream = http(&[server.addr]);
        let sent = world.send(&upstream, upgrade()).await.unwrap();
        assert_eq!(sent.response.status(), 101);
        drop(sent.response);
        let mut tunnel = sent.upgrade.unwrap().await.unwrap();
        tunnel.write_all(b"world").await.unwrap();
        let mut echo = [0; 11];
        tunnel.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello world");
        let state = world.state(server.addr);
        assert_eq!((state.outstanding, state.connections, state.idle), (1, 1, 0));
        assert_eq!(world.counters().upgraded, 1);
        drop(tunnel);
        let state = world.state(server.addr);
        assert_eq!((state.outstanding, state.connections, state.idle), (0, 0, 0));
    });
}

#[test]
fn a_tunnel_that_nobody_takes_ends() {
    run(|world| async move {
        let server = Server::echo("").await;
        let sent = world.send(&http(&[server.addr]), upgrade()).await.unwrap();
        drop(sent);
        until("it is closed", || world.state(server.addr).connections == 0).await;
        assert_eq!(world.state(server.addr).outstanding, 0);
    });
}

#[test]
fn an_endpoint_that_stays_with_http_is_asked_again() {
    run(|world| async move {
        let server = Server::named("no").await;
        let upstream = http(&[server.addr]);
        for _ in 0..2 {
            let sent = world.send(&upstream, upgrade()).await.unwrap();
            assert_eq!(text(sent.response).await.unwrap(), "no");
        }
        assert_eq!(server.accepted(), 1);
    });
}
