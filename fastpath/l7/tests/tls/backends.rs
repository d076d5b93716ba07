use super::world::{Authority, End, block_on, default_only, drip, handshakes, meet, pipe};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use sluice_l7::Alpn;
use sluice_l7::tls::{Connector, Handshakes, TlsRefusal, TlsStream, Verify};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

fn backend(
    (der, key): (CertificateDer<'static>, PrivateKeyDer<'static>),
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

type Served = std::io::Result<tokio_rustls::server::TlsStream<DuplexStream>>;

async fn reach_over(
    (near, far): (End, DuplexStream),
    connector: &Connector,
    backend: &Arc<ServerConfig>,
    name: Option<&str>,
    alpn: Alpn,
) -> (Result<TlsStream<End>, TlsRefusal>, Served) {
    tokio::join!(
        connector.connect(near, name, alpn),
        TlsAcceptor::from(Arc::clone(backend)).accept(far),
    )
}

fn reach(
    connector: &Connector,
    backend: &Arc<ServerConfig>,
    name: Option<&str>,
    alpn: Alpn,
) -> (Result<TlsStream<End>, TlsRefusal>, Served) {
    block_on(reach_over(pipe(64 << 10), connector, backend, name, alpn))
}

fn connector(handshakes: &Handshakes, authority: Option<&Authority>) -> Connector {
    let verify = match authority {
        None => Verify::Nothing,
        Some(authority) => Verify::Roots(Box::new([authority.der.clone()])),
    };
    Connector::new(handshakes, &verify).unwrap()
}

#[test]
fn any_certificate_is_taken_where_none_is_looked_at() {
    let authority = Authority::new("nobody knows it");
    let handshakes = handshakes();
    let connector = connector(&handshakes, None);
    for versions in [[&TLS12], [&TLS13]] {
        for (issued, name) in [
            (authority.issue(&["other.example"]), Some("shop.example")),
            (authority.issue_until(&["shop.example"], 2001), Some("shop.example")),
            (authority.issue(&["shop.example"]), None),
        ] {
            let backend = backend(issued, &versions, &[]);
            let (near, far) = reach(&connector, &backend, name, Alpn::Http11);
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            assert_eq!(far.get_ref().1.server_name(), name, "an address is not told");
            block_on(async {
                near.write_all(b"GET").await.unwrap();
                near.shutdown().await.unwrap();
                let mut read = Vec::new();
                far.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, b"GET");
                far.write_all(b"200").await.unwrap();
                far.shutdown().await.unwrap();
                read.clear();
                near.read_to_end(&mut read).await.unwrap();
                assert_eq!(read, b"200");
            });
        }
    }
    assert_eq!(handshakes.counters().backends.done, 6);
    assert_eq!(handshakes.counters().clients.done, 0);
}

#[test]
fn where_it_is_looked_at_it_has_to_be_the_backends() {
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let handshakes = handshakes();
    let connector = connector(&handshakes, Some(&authority));
    for (issued, name, is_fine) in [
        (authority.issue(&["shop.example"]), Some("shop.example"), true),
        (authority.issue(&["192.0.2.7"]), None, true),
        (authority.issue(&["other.example"]), Some("shop.example"), false),
        (authority.issue(&["192.0.2.8"]), None, false),
        (authority.issue_until(&["shop.example"], 2001), Some("shop.example"), false),
        (other.issue(&["shop.example"]), Some("shop.example"), false),
    ] {
        let (near, far) = reach(&connector, &backend(issued, BOTH, &[]), name, Alpn::Http11);
        assert_eq!(near.err(), (!is_fine).then_some(TlsRefusal::Certificate));
        assert_eq!(far.is_ok(), is_fine, "the backend is told");
    }
    assert_eq!(handshakes.counters().backends.refused(TlsRefusal::Certificate), 4);
    let unreadable = Verify::Roots(Box::new([vec![1, 2, 3].into()]));
    assert!(Connector::new(&handshakes, &unreadable).is_err());
}

/// Shows one certificate and signs with the key of another.
#[derive(Debug)]
struct Impostor(SingleCertAndKey);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.resolve(hello)
    }
}

#[test]
fn who_has_not_the_key_is_not_taken_even_where_no_certificate_is_looked_at() {
    let authority = Authority::new("authority");
    let ((shown, _), (_, key)) =
        (authority.issue(&["shop.example"]), authority.issue(&["shop.example"]));
    let handshakes = handshakes();
    let connector = connector(&handshakes, None);
    for versions in [[&TLS12], [&TLS13]] {
        let key = default_provider().key_provider.load_private_key(key.clone_key()).unwrap();
        let impostor = SingleCertAndKey::from(CertifiedKey::new(vec![shown.clone()], key));
        let backend = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Impostor(impostor)));
        let (near, _) = reach(&connector, &Arc::new(backend), Some("shop.example"), Alpn::Http11);
        assert_eq!(near.unwrap_err(), TlsRefusal::Certificate);
    }
}

#[test]
fn http_2_has_to_be_agreed_on_and_http_1_need_not() {
    let authority = Authority::new("authority");
    let connector = connector(&handshakes(), None);
    for (spoken, alpn, expected) in [
        (&["h2", "http/1.1"][..], Alpn::H2, None),
        (&["h2", "http/1.1"], Alpn::Http11, None),
        (&["http/1.1"], Alpn::H2, Some(TlsRefusal::PeerAlert)),
        (&["h2"], Alpn::Http11, Some(TlsRefusal::PeerAlert)),
        (&[], Alpn::H2, Some(TlsRefusal::NoAlpn)),
        (&[], Alpn::Http11, None),
    ] {
        let backend = backend(authority.issue(&["shop.example"]), BOTH, spoken);
        let (near, far) = reach(&connector, &backend, Some("shop.example"), alpn);
        assert_eq!(near.err(), expected, "{spoken:?} {alpn:?}");
        if let (None, Ok(far)) = (expected, far) {
            let agreed = far.get_ref().1.alpn_protocol();
            assert_eq!(agreed, (!spoken.is_empty()).then_some(alpn.name().as_bytes()));
        }
    }
}

#[test]
fn a_session_goes_on_with_the_same_connector_alone() {
    let authority = Authority::new("authority");
    for versions in [[&TLS12], [&TLS13]] {
        let handshakes = handshakes();
        let (one, other) = (connector(&handshakes, None), connector(&handshakes, Some(&authority)));
        let backend = backend(authority.issue(&["shop.example"]), &versions, &[]);
        for (connector, resumed) in [(&one, 0), (&one, 1), (&other, 1), (&other, 2), (&one, 3)] {
            let (near, far) = reach(connector, &backend, Some("shop.example"), Alpn::Http11);
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            block_on(async {
                far.write_all(b"x").await.unwrap();
                far.flush().await.unwrap();
                assert_eq!(near.read_u8().await.unwrap(), b'x');
            });
            assert_eq!(handshakes.counters().backends.resumed, resumed);
        }
    }
}

#[test]
fn what_is_no_backend_of_tls_is_refused() {
    let handshakes = handshakes();
    let connector = connector(&handshakes, None);
    for (said, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], TlsRefusal::Protocol),
        (&[21, 3, 3, 0, 2, 2, 40], TlsRefusal::PeerAlert),
        (&[22, 3, 3, 0, 4, 2, 0, 0, 0], TlsRefusal::Protocol),
        (&[22, 3], TlsRefusal::Closed),
        (&[], TlsRefusal::Closed),
    ] {
        let (near, mut far) = pipe(64 << 10);
        let refusal = block_on(async {
            far.write_all(said).await.unwrap();
            far.shutdown().await.unwrap();
            connector.connect(near, Some("shop.example"), Alpn::Http11).await.unwrap_err()
        });
        assert_eq!(refusal, expected, "{said:?}");
    }
    let connect = |name: &str| connector.connect(pipe(1).0, Some(name), Alpn::Http11);
    assert_eq!(block_on(connect("no name")).unwrap_err(), TlsRefusal::Internal);
    handshakes.stop();
    assert_eq!(block_on(connect("shop.example")).unwrap_err(), TlsRefusal::Stopping);
}

#[test]
fn the_gateway_can_talk_to_itself_byte_by_byte() {
    let authority = Authority::new("authority");
    let certificates = default_only(&authority.certificate(&["shop.example"]));
    let handshakes = handshakes();
    let connector = connector(&handshakes, Some(&authority));
    let (near, far) = drip();
    let far = End { io: far, step: 1 };
    block_on(async {
        let source = super::world::SOURCE;
        let (accepted, connected) = tokio::join!(
            handshakes.accept(near, &certificates, source, 0),
            connector.connect(far, Some("shop.example"), Alpn::H2),
        );
        assert_eq!(accepted.unwrap().1.alpn, Some(Alpn::H2));
        connected.map(drop).unwrap();
        let client = Arc::new(authority.client());
        let (accepted, _) = meet(&handshakes, &certificates, &client, "shop.example").await;
        assert_eq!(accepted.unwrap().1.alpn, None);
    });
}
