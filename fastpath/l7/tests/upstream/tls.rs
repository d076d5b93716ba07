//! TLS as a real handshake makes it, and what was agreed on.

use super::net::{TestNet, TestStream};
use super::servers::{Server, answer, head, http2};
use super::{TERMS, TestBody, get, get2, until, upstream};
use http::Response;
use http_body_util::{BodyExt, Full};
use sluice_l7::Alpn;
use sluice_l7::L7Reason;
use sluice_l7::net::Stream;
use sluice_l7::tls::{Connector, Handshakes, TlsConfig, TlsStream, Verify};
use sluice_l7::upstream::{Encrypt, Upstreams};
use sluice_tables::l7::{BackendProtocol, Upstream};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;

/// Offers what the upstream speaks, and trusts one certificate.
struct Trusting(rustls::RootCertStore);

struct Tls(tokio_rustls::client::TlsStream<TestStream>);

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Stream for Tls {
    fn local(&self) -> SocketAddr {
        self.0.get_ref().0.local()
    }

    fn remote(&self) -> SocketAddr {
        self.0.get_ref().0.remote()
    }

    fn abort(&mut self) {
        self.0.get_mut().0.abort();
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Encrypt<TestStream> for Trusting {
    type Stream = Tls;

    fn connect(
        &self,
        stream: TestStream,
        upstream: &Arc<Upstream>,
    ) -> impl Future<Output = io::Result<(Tls, Option<Alpn>)>> + 'static {
        let config = rustls::ClientConfig::builder_with_provider(provider());
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(self.0.clone());
        let mut config = config.with_no_client_auth();
        let offered: &[u8] = if upstream.protocol.is_http2() { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![offered.to_vec()];
        async move {
            let name = "shop.example".try_into().unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let stream = connector.connect(name, stream).await?;
            let alpn = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Some(Alpn::H2),
                Some(_) => Some(Alpn::Http11),
                None => None,
            };
            Ok((Tls(stream), alpn))
        }
    }
}

/// The gateway's own TLS, which looks at no certificate.
pub struct Untrusting(Connector);

impl Untrusting {
    pub fn new() -> Self {
        let handshakes = Handshakes::start(TlsConfig::default()).unwrap();
        Untrusting(Connector::new(&handshakes, &Verify::Nothing).unwrap())
    }
}

impl Encrypt<TestStream> for Untrusting {
    type Stream = TlsStream<TestStream>;

    fn connect(
        &self,
        stream: TestStream,
        _: &Arc<Upstream>,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<Alpn>)>> + 'static {
        let made = self.0.connect(stream, None, Alpn::Http11);
        async move { Ok((made.await.map_err(|_| io::ErrorKind::InvalidData)?, None)) }
    }
}

/// Makes handshakes with these protocols, with a certificate that is trusted in.
pub fn acceptor(alpn: &[&str]) -> (TlsAcceptor, rustls::RootCertStore) {
    let key = rcgen::generate_simple_self_signed(vec!["shop.example".to_string()]).unwrap();
    let certificate = key.cert.der().clone();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider());
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certificate], private.unwrap()).unwrap();
    config.alpn_protocols = alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), roots)
}

/// Speaks TLS with these protocols; answers `tls`.
async fn server(alpn: &[&str]) -> (Server, rustls::RootCertStore) {
    let (acceptor, roots) = acceptor(alpn);
    let server = Server::new(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                return http2(stream, 10, |_| async { Response::new(Full::new("tls".into())) })
                    .await;
            }
            while head(&mut stream).await.is_some() {
                answer(&mut stream, "tls").await;
            }
        }
    })
    .await;
    (server, roots)
}

#[test]
fn what_is_agreed_on_is_what_is_spoken() {
    super::run(|_| async move {
        let refused = Err(L7Reason::UpstreamTls);
        for (protocol, alpn, trusts, expected) in [
            (BackendProtocol::Https, &[][..], true, Ok("tls")),
            (BackendProtocol::Https, &["http/1.1"], true, Ok("tls")),
            (BackendProtocol::Https, &["h2", "http/1.1"], true, Ok("tls")),
            (BackendProtocol::H2, &["h2", "http/1.1"], true, Ok("tls")),
            // An endpoint that says nothing does not speak HTTP/2.
            (BackendProtocol::H2, &[], true, refused),
            (BackendProtocol::H2, &["http/1.1"], true, refused),
            (BackendProtocol::Https, &["h2"], true, refused),
            (BackendProtocol::Https, &[], false, refused),
        ] {
            let (server, roots) = server(alpn).await;
            let roots = if trusts { roots } else { rustls::RootCertStore::empty() };
            let net = TestNet::default();
            let upstreams =
                Upstreams::<_, _, TestBody>::new(net, Trusting(roots), Default::default(), 1);
            let upstream = upstream(protocol, &[server.addr]);
            for _ in 0..2 {
                let request = if protocol.is_http2() { get2() } else { get() };
                let answered = match upstreams.send_to(&upstream, request, TERMS).await {
                    Err(refusal) => Err(refusal.reason),
                    Ok(sent) => Ok(sent.response.into_body().collect().await.unwrap().to_bytes()),
                };
                assert_eq!(answered, expected.map(Into::into), "{protocol:?} {alpn:?}");
            }
            let counters = upstreams.counters();
            match expected {
                Ok(_) => assert_eq!((counters.opened, counters.reused), (1, 1)),
                Err(_) => {
                    assert_eq!((counters.opened, counters.tls_failed), (0, 2));
                    until("it is closed", || upstreams.connections() == 0).await;
                }
            }
        }
    });
}
