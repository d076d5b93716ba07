use super::turn::{self, End, Turn};
use super::{Handshakes, TlsRefusal, TlsStream, keys};
use crate::Alpn;
use crate::net::Stream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, Connection, DigitallySignedStruct, Error, SignatureScheme};
use std::future::Future;
use std::io;
use std::sync::Arc;

/// Names of backends whose sessions are remembered.
const SESSIONS_MAX: usize = 1024;

/// Which certificates of backends are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Any. What is sent can be read by whoever the connection leads to, and by nobody
    /// else.
    Nothing,
    /// One that these vouch for, each in DER, and that is for the backend's name.
    Roots(Box<[Box<[u8]>]>),
}

/// Makes handshakes with backends. Cloning it copies pointers.
///
/// Sessions are remembered by the backend's name, apart from those of other connectors:
/// one that was begun without looking at the certificate goes on only where nobody would
/// look.
#[derive(Clone)]
pub struct Connector {
    handshakes: Handshakes,
    config: Arc<ClientConfig>,
}

impl Connector {
    /// With the helpers, and the bounds, of some handshakes.
    ///
    /// # Errors
    /// None of the roots can be read.
    pub fn new(handshakes: &Handshakes, verify: &Verify) -> io::Result<Self> {
        let provider = keys::provider(handshakes.0.config.key_exchange);
        let config = config(provider, verify).map_err(io::Error::other)?;
        Ok(Connector { handshakes: handshakes.clone(), config: Arc::new(config) })
    }

    /// Makes the handshake with a backend of a name; without one it is known by its
    /// address, and not told whom it is taken for. It may be given up at any time by
    /// dropping the future.
    ///
    /// # Errors
    /// Why there is none. A backend that does not say that it speaks HTTP/2 does not
    /// (RFC 9113 section 3.2); of HTTP/1.1 nobody has to say so.
    pub fn connect<S: Stream>(
        &self,
        mut stream: S,
        name: Option<&str>,
        alpn: Alpn,
    ) -> impl Future<Output = Result<TlsStream<S>, TlsRefusal>> + 'static + use<S> {
        let connector = self.clone();
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned()).ok(),
            None => Some(ServerName::from(stream.remote().ip())),
        };
        async move {
            let counts = &connector.handshakes.0.counts.backends;
            match connector.handshake(&mut stream, name, alpn).await {
                Ok(tls) => {
                    let kind = tls.handshake_kind();
                    counts.count_done(kind == Some(rustls::HandshakeKind::Resumed));
                    Ok(TlsStream::new(stream, tls).await)
                }
                Err(refusal) => {
                    counts.count_refused(refusal);
                    Err(refusal)
                }
            }
        }
    }

    async fn handshake<S: Stream>(
        &self,
        stream: &mut S,
        name: Option<ServerName<'static>>,
        alpn: Alpn,
    ) -> Result<Connection, TlsRefusal> {
        let name = name.ok_or(TlsRefusal::Internal)?;
        let pool = &self.handshakes.0.pool;
        let under_way = pool.enter()?;
        let config = Arc::clone(&self.config);
        let first = move || {
            let offered = vec![alpn.name().into()];
            match ClientConnection::new_with_alpn(config, name, offered) {
                Ok(tls) => Turn::take(tls.into(), &[]),
                Err(error) => Turn::refused(TlsRefusal::from(&error), Vec::new()),
            }
        };
        let first = pool.begin(&under_way, first).await?;
        let tls = turn::make(pool, &under_way, stream, first, End::Client).await?;
        match tls.alpn_protocol().and_then(Alpn::of) {
            None if alpn == Alpn::H2 => Err(TlsRefusal::NoAlpn),
            _ => Ok(tls),
        }
    }
}

fn config(provider: Arc<CryptoProvider>, verify: &Verify) -> Result<ClientConfig, Error> {
    let algorithms = provider.signature_verification_algorithms;
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match verify {
        Verify::Nothing => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Any(algorithms)))
        }
        Verify::Roots(ders) => builder.with_root_certificates(keys::roots(ders)?),
    };
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(config)
}

/// Takes any certificate, but the handshake has to be signed with its key.
#[derive(Debug)]
struct Any(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
