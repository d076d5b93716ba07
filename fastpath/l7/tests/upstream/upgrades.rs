//! Connections that go on with another protocol.

use super::servers::{Server, closed, head};
use super::{http, run, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_tunnel_is_handed_through_and_counts_as_long_as_it_lasts() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            let asked = head(&mut stream).await.unwrap();
            assert!(asked.contains("upgrade: echo\r\n") && asked.contains("connection: upgrade"));
            // The first bytes of the other protocol come with the answer.
            let answer = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\n\
                connection: upgrade\r\n\r\nhello ";
            stream.write_all(answer).await.unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        })
        .await;
        let upstream = http(&[server.addr]);
        let mut asked = super::get();
        asked.headers_mut().insert("upgrade", "echo".parse().unwrap());
        asked.headers_mut().insert("connection", "upgrade".parse().unwrap());
        let sent = world.send(&upstream, asked).await.unwrap();
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
        let server = Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            let answer = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\n\
                connection: upgrade\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            closed(&mut stream).await;
        })
        .await;
        let mut asked = super::get();
        asked.headers_mut().insert("upgrade", "echo".parse().unwrap());
        asked.headers_mut().insert("connection", "upgrade".parse().unwrap());
        let sent = world.send(&http(&[server.addr]), asked).await.unwrap();
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
            let mut asked = super::get();
            asked.headers_mut().insert("upgrade", "echo".parse().unwrap());
            asked.headers_mut().insert("connection", "upgrade".parse().unwrap());
            let sent = world.send(&upstream, asked).await.unwrap();
            assert_eq!(super::text(sent.response).await.unwrap(), "no");
        }
        assert_eq!(server.accepted(), 1);
    });
}
