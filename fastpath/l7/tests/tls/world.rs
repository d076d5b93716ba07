//! A gateway's end of TLS, clients, and the pipes between them.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    SignatureAlgorithm, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ConfigBuilder, NamedGroup, RootCertStore, SupportedProtocolVersion, WantsVerifier,
};
use sluice_l7::net::Stream;
use sluice_l7::tls::{Handshakes, Negotiated, Refused, TlsConfig, TlsRefusal, TlsStream};
use sluice_tables::l7::{
    Certificate, Certificates, ClientAuth, ClientAuthMode, ClientAuths, PrivateKey,
};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

/// The source of handshakes where it does not matter.
pub const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// Both ends at once, on one thread, as they are on a worker.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The gateway's end of a connection.
#[derive(Debug)]
pub struct End<T = DuplexStream> {
    pub io: T,
    /// Bytes that are read or written at once, at most.
    pub step: usize,
}

/// A pipe with so many bytes of room each way: the gateway's end and the other.
pub fn pipe(room: usize) -> (End, DuplexStream) {
    let (io, far) = duplex(room);
    (End { io, step: usize::MAX }, far)
}

/// One through which bytes come and go one by one.
pub fn drip() -> (End, DuplexStream) {
    let (io, far) = duplex(64);
    (End { io, step: 1 }, far)
}

impl<T: AsyncRead + Unpin> AsyncRead for End<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let step = self.step;
        let mut few = buf.take(step);
        let begin = few.filled().len();
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut few))?;
        let len = few.filled().len() - begin;
        // What `take` gives shares the bytes, and not the count.
        buf.initialize_unfilled_to(len);
        buf.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for End<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let few = &buf[..buf.len().min(self.step)];
        Pin::new(&mut self.io).poll_write(cx, few)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Stream for End<T> {
    fn local(&self) -> SocketAddr {
        "192.0.2.1:443".parse().unwrap()
    }

    fn remote(&self) -> SocketAddr {
        SocketAddr::new(SOURCE, 40_000)
    }

    fn abort(&mut self) {}
}

/// Who vouches for certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub der: Box<[u8]>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec().into();
        Authority { issuer: Issuer::new(params, key), der }
    }

    /// One that it vouches for.
    pub fn below(&self, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec().into();
        Authority { issuer: Issuer::new(params, key), der }
    }

    /// A certificate of some names, and its key.
    pub fn issue(&self, names: &[&str]) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        self.issue_until(names, 2100)
    }

    pub fn issue_until(
        &self,
        names: &[&str],
        year: i32,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        self.issue_with(names, year, &PKCS_ECDSA_P256_SHA256)
    }

    pub fn issue_with(
        &self,
        names: &[&str],
        year: i32,
        algorithm: &'static SignatureAlgorithm,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        (der, PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    /// The row of a table for a certificate of some names.
    pub fn certificate(&self, names: &[&str]) -> Arc<Certificate> {
        row(self.issue(names))
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.der.to_vec())).unwrap();
        roots
    }

    /// What clients have to show.
    pub fn client_auth(&self, mode: ClientAuthMode) -> Arc<ClientAuth> {
        let roots = Arc::new([self.der.clone()]);
        Arc::new(ClientAuth { mode, depth_max: 1, roots, prepared: OnceLock::new() })
    }

    /// A client that trusts it, and nobody else.
    pub fn client(&self) -> ClientConfig {
        client_of(self.roots(), &[&rustls::version::TLS13, &rustls::version::TLS12])
    }

    pub fn client_with(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        client_of(self.roots(), &[version])
    }
}

/// Of a client that prefers what browsers do.
pub fn builder(
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let mut provider = default_provider();
    provider.kx_groups.sort_by_key(|group| group.name() != NamedGroup::X25519MLKEM768);
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
}

pub fn client_of(
    roots: RootCertStore,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    builder(versions).with_root_certificates(roots).with_no_client_auth()
}

/// The row of a table.
pub fn row((der, key): (CertificateDer<'static>, PrivateKeyDer<'static>)) -> Arc<Certificate> {
    let PrivateKeyDer::Pkcs8(key) = key else { panic!("rcgen gives PKCS #8") };
    Arc::new(Certificate {
        name: "Secret shop/tls".into(),
        not_after: 4_102_444_800,
        chain: Box::new([der.to_vec().into()]),
        key: PrivateKey::Pkcs8(key.secret_pkcs8_der().into()),
        prepared: OnceLock::new(),
    })
}

/// A certificate for all names.
pub fn default_only(certificate: &Arc<Certificate>) -> Arc<Certificates> {
    Arc::new(Certificates { default: Some(Arc::clone(certificate)), ..Default::default() })
}

/// Without limits of sources, so that tests of other things do not meet them.
pub fn handshakes() -> Handshakes {
    Handshakes::start(TlsConfig { per_source: None, ..TlsConfig::default() }).unwrap()
}

pub type Accepted = Result<(TlsStream<End>, Negotiated), Refused<End>>;
pub type Connected = io::Result<tokio_rustls::client::TlsStream<DuplexStream>>;

/// A handshake of a client, seen from both ends.
pub async fn meet(
    handshakes: &Handshakes,
    certificates: &Arc<Certificates>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> (Accepted, Connected) {
    meet_over(pipe(64 << 10), handshakes, certificates, client, name).await
}

pub async fn meet_over(
    (near, far): (End, DuplexStream),
    handshakes: &Handshakes,
    certificates: &Arc<Certificates>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> (Accepted, Connected) {
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(client));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    tokio::join!(handshakes.accept(near, certificates, SOURCE, 0), connector.connect(name, far),)
}

/// The two ends of a handshake that is over.
pub async fn met(
    handshakes: &Handshakes,
    certificates: &Arc<Certificates>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> (TlsStream<End>, Negotiated, tokio_rustls::client::TlsStream<DuplexStream>) {
    let (accepted, connected) = meet(handshakes, certificates, client, name).await;
    let (stream, agreed) = accepted.unwrap();
    (stream, agreed, connected.unwrap())
}

/// Why a handshake came to nothing, and what its client says.
pub async fn refused(
    handshakes: &Handshakes,
    certificates: &Arc<Certificates>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> (TlsRefusal, String) {
    let (accepted, connected) = meet(handshakes, certificates, client, name).await;
    let refusal = accepted.unwrap_err().refusal;
    // A client of TLS 1.3 is done before the server has looked at its certificate.
    let error = match connected {
        Err(error) => error,
        Ok(mut connected) => tokio::io::AsyncReadExt::read_u8(&mut connected).await.unwrap_err(),
    };
    (refusal, error.to_string())
}

/// What a client begins with.
pub fn hello(client: &Arc<ClientConfig>, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Polls once, without waiting.
pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}

/// The same certificates for clients that have to show something.
pub fn asking(certificates: &Certificates, client_auth: Arc<ClientAuth>) -> Arc<Certificates> {
    let client_auths = ClientAuths { default: Some(client_auth), ..ClientAuths::default() };
    Arc::new(Certificates { client_auths: Arc::new(client_auths), ..certificates.clone() })
}
