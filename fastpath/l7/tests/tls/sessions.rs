use super::world::{Authority, asking, block_on, builder, default_only, handshakes, met, refused};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use sluice_l7::tls::{Handshakes, Negotiated, TlsRefusal};
use sluice_tables::l7::{Certificates, ClientAuthMode};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connection on which a byte goes each way, so that the client has its tickets.
async fn visit(
    handshakes: &Handshakes,
    certificates: &Arc<Certificates>,
    client: &Arc<ClientConfig>,
) -> Negotiated {
    let (mut stream, agreed, mut connected) =
        met(handshakes, certificates, client, "shop.example").await;
    connected.write_all(b"?").await.unwrap();
    connected.flush().await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'?');
    stream.write_all(b"!").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(connected.read_u8().await.unwrap(), b'!');
    agreed
}

#[test]
fn a_session_goes_on_in_both_versions_and_across_a_reload() {
    let authority = Authority::new("authority");
    let certificate = authority.certificate(&["shop.example"]);
    for version in [&TLS12, &TLS13] {
        let (client, handshakes) = (Arc::new(authority.client_with(version)), handshakes());
        block_on(async {
            for n in 0..4 {
                // New tables each time, and another certificate beside this one.
                let mut certificates = Certificates::clone(&default_only(&certificate));
                let other = authority.certificate(&["other.example"]);
                certificates.exact.insert("other.example".into(), other);
                let agreed = visit(&handshakes, &Arc::new(certificates), &client).await;
                assert_eq!(agreed.was_resumed, n > 0, "{version:?}");
                assert_eq!(agreed.server_name.as_deref(), Some("shop.example"));
            }
        });
        let counters = handshakes.counters();
        assert_eq!((counters.clients.done, counters.clients.resumed), (4, 3));
    }
}

#[test]
fn a_session_ends_with_its_certificate() {
    let authority = Authority::new("authority");
    let old = default_only(&authority.certificate(&["shop.example"]));
    let new = default_only(&authority.certificate(&["shop.example"]));
    for version in [&TLS12, &TLS13] {
        let (client, handshakes) = (Arc::new(authority.client_with(version)), handshakes());
        block_on(async {
            visit(&handshakes, &old, &client).await;
            assert!(!visit(&handshakes, &new, &client).await.was_resumed);
            assert!(visit(&handshakes, &new, &client).await.was_resumed);
        });
    }
}

#[test]
fn a_session_without_a_client_certificate_is_none_where_one_is_asked_for() {
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let certificate = authority.certificate(&["shop.example"]);
    let open = default_only(&certificate);
    let closed = |mode| asking(&default_only(&certificate), clients.client_auth(mode));
    let (required, optional) = (closed(ClientAuthMode::Required), closed(ClientAuthMode::Optional));
    for version in [&TLS12, &TLS13] {
        let handshakes = handshakes();
        block_on(async {
            for begun in [&open, &optional] {
                let client = Arc::new(authority.client_with(version));
                visit(&handshakes, begun, &client).await;
                assert!(visit(&handshakes, begun, &client).await.was_resumed);
                let (refusal, _) = refused(&handshakes, &required, &client, "shop.example").await;
                assert_eq!(refusal, TlsRefusal::Certificate, "{version:?}");
            }
        });
    }
}

#[test]
fn a_session_with_a_client_certificate_goes_on_with_it_and_with_those_who_are_trusted() {
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let others = Authority::new("others");
    let certificate = authority.certificate(&["shop.example"]);
    let asks = |who: &Authority| {
        asking(&default_only(&certificate), who.client_auth(ClientAuthMode::Required))
    };
    for version in [&TLS12, &TLS13] {
        let (der, key) = clients.issue(&["client"]);
        let client = builder(&[version])
            .with_root_certificates(authority.roots())
            .with_client_auth_cert(vec![der.clone()], key)
            .unwrap();
        let (client, handshakes) = (Arc::new(client), handshakes());
        block_on(async {
            for n in 0..2 {
                let agreed = visit(&handshakes, &asks(&clients), &client).await;
                assert_eq!(agreed.was_resumed, n > 0);
                assert_eq!(*agreed.client.unwrap().der, *der);
            }
            let (refusal, _) = refused(&handshakes, &asks(&others), &client, "shop.example").await;
            assert_eq!(refusal, TlsRefusal::Certificate);
        });
    }
}

#[test]
fn connections_go_on_when_their_tables_and_the_helpers_have_gone() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let (client, handshakes) = (Arc::new(authority.client()), handshakes());
    block_on(async {
        let (mut stream, _, mut connected) =
            met(&handshakes, &certificates, &client, "shop.example").await;
        drop((certificates, handshakes));
        for n in 0..100 {
            connected.write_u8(n).await.unwrap();
            connected.flush().await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), n);
        }
    });
}
