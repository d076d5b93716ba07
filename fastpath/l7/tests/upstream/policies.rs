//! Network policies: which clients' requests come to an endpoint.

use super::servers::{Server, answer, closed, head};
use super::{
    Answer, TERMS, TestBody, World, get, get2, http, request, run, text, until, upgrade, upstream,
};
use http::{Method, Request};
use http_body_util::BodyExt;
use sluice_l7::L7Reason;
use sluice_l7::http::Terms;
use sluice_l7::upstream::AnswerError;
use sluice_tables::l7::{BackendProtocol, Upstream};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const FRIEND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const STRANGER: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));

impl World {
    async fn send_for(
        &self,
        client: IpAddr,
        upstream: &Arc<Upstream>,
        request: Request<TestBody>,
    ) -> Answer {
        self.upstreams.send_to(upstream, request, Terms { client, ..TERMS }).await
    }

    async fn get_for(&self, client: IpAddr, upstream: &Arc<Upstream>) -> Result<String, L7Reason> {
        let sent = self.send_for(client, upstream, get()).await;
        text(sent.map_err(|refusal| refusal.reason)?.response).await
    }
}

#[test]
fn a_connection_that_is_kept_carries_requests_of_those_alone_who_are_let() {
    run(|world| async move {
        let server = Server::named("a").await;
        let upstream = http(&[server.addr]);
        world.net.deny(&[STRANGER]);
        for _ in 0..2 {
            assert_eq!(world.get_for(FRIEND, &upstream).await.unwrap(), "a");
            let refusal = world.send_for(STRANGER, &upstream, get()).await.unwrap_err();
            assert_eq!(refusal.reason, L7Reason::PolicyDenied);
            assert_eq!((refusal.endpoint, refusal.attempts), (Some(server.addr), 1));
        }
        let state = world.state(server.addr);
        assert_eq!((server.accepted(), state.connections, state.outstanding), (1, 1, 0));
        let counters = world.counters();
        assert_eq!((counters.policy_denied, counters.policy_cut, counters.retries), (2, 0, 0));
        // Nobody is denied any more.
        world.net.deny(&[]);
        assert_eq!(world.get_for(STRANGER, &upstream).await.unwrap(), "a");
        assert_eq!(server.accepted(), 1);
        // What would be denied by those that are tried out is counted.
        world.net.audit();
        world.net.deny(&[FRIEND]);
        assert_eq!(world.get_for(FRIEND, &upstream).await.unwrap(), "a");
        assert_eq!(world.counters().policy_audited, 1);
    });
}

#[test]
fn streams_of_one_connection_are_judged_each_by_its_client() {
    run(|world| async move {
        let server = Server::new(|_, stream| async move {
            super::servers::http2(stream, 8, |_| async { http::Response::default() }).await;
        })
        .await;
        let upstream = upstream(BackendProtocol::H2c, &[server.addr]);
        world.net.deny(&[STRANGER]);
        for _ in 0..2 {
            assert!(world.send_for(FRIEND, &upstream, get2()).await.is_ok());
            let refusal = world.send_for(STRANGER, &upstream, get2()).await.unwrap_err();
            assert_eq!(refusal.reason, L7Reason::PolicyDenied);
        }
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn an_answer_that_runs_is_cut_when_it_is_no_longer_let() {
    run(|world| async move {
        let server = Server::new(|_, mut stream| async move {
            head(&mut stream).await;
            let begin = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello";
            stream.write_all(begin).await.unwrap();
            closed(&mut stream).await;
        })
        .await;
        let upstream = http(&[server.addr]);
        let mut sent = world.send_for(FRIEND, &upstream, get()).await.unwrap();
        let body = sent.response.body_mut();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        // Others are denied: it goes on.
        world.net.deny(&[STRANGER]);
        let pending = tokio::time::timeout(std::time::Duration::from_millis(5), body.frame()).await;
        assert!(pending.is_err());
        world.net.deny(&[FRIEND]);
        let cut = body.frame().await.unwrap().unwrap_err();
        assert_eq!(cut, AnswerError(L7Reason::PolicyDenied));
        until("it is closed", || world.state(server.addr).connections == 0).await;
        let counters = world.counters();
        assert_eq!((counters.policy_denied, counters.policy_cut, counters.cut_off), (0, 1, 0));
    });
}

#[test]
fn a_body_that_runs_is_cut_when_it_is_no_longer_let() {
    run(|world| async move {
        let server = Server::silent().await;
        let upstream = http(&[server.addr]);
        let (parts, body) = TestBody::parts();
        parts.send("some");
        let sending = {
            let (world, upstream) = (world.clone(), upstream.clone());
            tokio::task::spawn_local(async move {
                world.send_for(FRIEND, &upstream, request(Method::POST, body)).await
            })
        };
        until("it is connected", || server.accepted() == 1).await;
        world.net.deny(&[FRIEND]);
        parts.send("more");
        let refusal = sending.await.unwrap().unwrap_err();
        assert_eq!(refusal.reason, L7Reason::PolicyDenied);
        assert!(parts.is_dropped());
    });
}

#[test]
fn a_tunnel_is_cut_when_it_is_no_longer_let() {
    run(|world| async move {
        let server = Server::echo("").await;
        let sent = world.send_for(FRIEND, &http(&[server.addr]), upgrade()).await.unwrap();
        let mut tunnel = sent.upgrade.unwrap().await.unwrap();
        let mut echo = [0; 2];
        for clients in [&[][..], &[STRANGER]] {
            world.net.deny(clients);
            tunnel.write_all(b"hi").await.unwrap();
            tunnel.read_exact(&mut echo).await.unwrap();
        }
        world.net.deny(&[FRIEND]);
        assert!(tunnel.write_all(b"hi").await.is_err());
        drop(tunnel);
        until("it is closed", || world.state(server.addr).connections == 0).await;
        assert_eq!(world.counters().policy_cut, 1);
    });
}

#[test]
fn an_answer_that_begins_when_it_is_no_longer_let_is_left_out() {
    run(|world| async move {
        let net = world.net.clone();
        let server = Server::new(move |_, mut stream| {
            let net = net.clone();
            async move {
                head(&mut stream).await;
                net.deny(&[FRIEND]);
                answer(&mut stream, "secret").await;
                closed(&mut stream).await;
            }
        })
        .await;
        let denied = world.get_for(FRIEND, &http(&[server.addr])).await;
        assert_eq!(denied, Err(L7Reason::PolicyDenied));
        assert_eq!(world.counters().policy_cut, 1);
    });
}
