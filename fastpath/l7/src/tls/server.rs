use super::counters::{Counts, add};
use super::keys::{self, ServerKeys};
use super::pool::Pool;
use super::sources::{Admission, Admitted, Sources};
use super::turn::{self, End, Turn};
use super::{Refused, TlsConfig, TlsCounters, TlsRefusal, TlsStream};
use crate::Alpn;
use crate::net::Stream;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{CipherSuite, Connection, HandshakeKind, NamedGroup, ProtocolVersion};
use sluice_tables::l7::{Certificate, Certificates, ClientAuth};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// Bytes until the end of the ClientHello: one record of the longest.
const HELLO_MAX: usize = 18 << 10;

/// The type of a record that carries a handshake: the first byte of TLS.
const HANDSHAKE: u8 = 22;

/// Alerts (RFC 8446 section 6.2).
const DECODE_ERROR: u8 = 50;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;

/// Makes handshakes. One serves all workers: cloning it copies a pointer.
///
/// Its helpers end with the last clone, or when they are told to: whoever drops that one
/// waits for what they are at.
#[derive(Clone)]
pub struct Handshakes(pub(super) Arc<Shared>);

/// What handshakes are made with.
pub(super) struct Shared {
    pub pool: Pool,
    pub counts: Arc<Counts>,
    pub config: TlsConfig,
    keys: Arc<ServerKeys>,
    sources: Option<Sources>,
}

/// What was agreed on in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// What is spoken; `None`: nothing was said, which is HTTP/1.1.
    pub alpn: Option<Alpn>,
    /// The name that the client asked for, in lower case.
    pub server_name: Option<Box<str>>,
    /// The version of TLS.
    pub version: ProtocolVersion,
    /// What records are encrypted with.
    pub cipher: CipherSuite,
    /// How keys were agreed on; `None` in a session of TLS 1.2 from before.
    pub key_exchange: Option<NamedGroup>,
    /// A session from before goes on.
    pub was_resumed: bool,
    /// What the client was asked to show.
    pub client_auth: Option<Arc<ClientAuth>>,
    /// The client's certificate, if it was asked for one and has shown it.
    pub client: Option<ClientCertificate>,
}

/// A certificate that a client has shown, and that is to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// It itself, in DER.
    pub der: Box<[u8]>,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
}

impl Handshakes {
    /// Starts the helpers.
    ///
    /// # Errors
    /// No thread can be started, or there are no random numbers for the keys of tickets.
    pub fn start(config: TlsConfig) -> io::Result<Self> {
        let keys = ServerKeys::new(config.key_exchange).map_err(io::Error::other)?;
        let counts = Arc::default();
        Ok(Handshakes(Arc::new(Shared {
            pool: Pool::start(&config, &counts)?,
            counts,
            config,
            keys: Arc::new(keys),
            sources: config.per_source.map(Sources::new),
        })))
    }

    /// Ends the helpers, each after what it is at: no handshake succeeds any more.
    /// Connections go on.
    pub fn stop(&self) {
        self.0.pool.stop();
    }

    /// What has come of handshakes.
    pub fn counters(&self) -> TlsCounters {
        self.0.counts.read()
    }

    /// Makes the handshake with a client. It may be given up at any time by dropping the
    /// future. The time is of one clock for all who share these handshakes.
    ///
    /// # Errors
    /// Why there is none, and the connection: its client has been told by an alert, but for
    /// [`TlsRefusal::NotTls`] and what has nothing to do with what it sent.
    pub fn accept<S: Stream>(
        &self,
        mut stream: S,
        certificates: &Arc<Certificates>,
        source: IpAddr,
        now_ns: u64,
    ) -> impl Future<Output = Result<(TlsStream<S>, Negotiated), Refused<S>>> + 'static + use<S>
    {
        let (shared, certificates) = (Arc::clone(&self.0), Arc::clone(certificates));
        async move {
            let made = shared.accept(&mut stream, certificates, source, now_ns).await;
            let made = made.and_then(|(tls, client_auth)| {
                let agreed = negotiated(&tls, client_auth).ok_or(TlsRefusal::Internal)?;
                Ok((tls, agreed))
            });
            match made {
                Ok((tls, agreed)) => {
                    shared.counts.clients.count_done(agreed.was_resumed);
                    Ok((TlsStream::new(stream, tls).await, agreed))
                }
                Err(refusal) => {
                    shared.counts.clients.count_refused(refusal);
                    Err(Refused { refusal, stream })
                }
            }
        }
    }
}

/// A connection, and what its client was asked to show.
type Made = (Connection, Option<Arc<ClientAuth>>);

impl Shared {
    async fn accept<S: Stream>(
        &self,
        stream: &mut S,
        certificates: Arc<Certificates>,
        source: IpAddr,
        now_ns: u64,
    ) -> Result<Made, TlsRefusal> {
        let _admitted = self.admit(source, now_ns)?;
        let made = self.handshake(stream, certificates).await;
        let (refusal, alert) = match made {
            Ok(made) => return Ok(made),
            Err(refused) => refused,
        };
        // Who has gone cannot be told.
        let _ = turn::send(stream, &alert).await;
        Err(refusal)
    }

    /// What is made of it, or why there is nothing and the alert that is still to be sent.
    async fn handshake<S: Stream>(
        &self,
        stream: &mut S,
        certificates: Arc<Certificates>,
    ) -> Result<Made, (TlsRefusal, Vec<u8>)> {
        let (hello, rest) = read_hello(stream).await?;
        let name = hello.client_hello().server_name().map(str::to_owned);
        let certificate = certificates.find(name.as_deref()).cloned();
        let unknown = || (TlsRefusal::UnknownName, alert(UNRECOGNIZED_NAME));
        let certificate = certificate.ok_or_else(unknown)?;
        let shed = |refusal| (refusal, alert(INTERNAL_ERROR));
        let under_way = self.pool.enter().map_err(shed)?;
        let keys = Arc::clone(&self.keys);
        let client_auth = certificates.client_auths.find(name.as_deref()).cloned();
        let asked = client_auth.clone();
        let end = End::Server { asks_client: asked.is_some() };
        // The certificates are let go of there, should they be the last of an old table.
        let first = move || {
            let _certificates = certificates;
            first_turn(&keys, &certificate, asked.as_deref(), hello, &rest)
        };
        let first = self.pool.begin(&under_way, first).await.map_err(shed)?;
        let made = turn::make(&self.pool, &under_way, stream, first, end).await;
        made.map(|tls| (tls, client_auth)).map_err(|refusal| (refusal, Vec::new()))
    }

    fn admit(&self, source: IpAddr, now_ns: u64) -> Result<Option<Admitted<'_>>, TlsRefusal> {
        let Some(sources) = &self.sources else {
            return Ok(None);
        };
        match sources.enter(source, now_ns) {
            Admission::Admitted(admitted) => Ok(Some(admitted)),
            Admission::Untracked => {
                add(&self.counts.sources_untracked, 1);
                Ok(None)
            }
            Admission::Refused => Err(TlsRefusal::SourceLimit),
        }
    }
}

/// Reads until the ClientHello is whole: it, and what came behind it.
async fn read_hello<S: Stream>(
    stream: &mut S,
) -> Result<(Accepted, Vec<u8>), (TlsRefusal, Vec<u8>)> {
    let (mut acceptor, mut bytes, mut received) = (Acceptor::default(), Vec::new(), 0);
    while received <= HELLO_MAX {
        bytes.clear();
        turn::read(stream, &mut bytes).await.map_err(|refusal| (refusal, Vec::new()))?;
        if received == 0 && bytes.first() != Some(&HANDSHAKE) {
            return Err((TlsRefusal::NotTls, Vec::new()));
        }
        received += bytes.len();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            if !acceptor.read_tls(&mut rest).is_ok_and(|len| len > 0) {
                return Err((TlsRefusal::Protocol, alert(DECODE_ERROR)));
            }
            match acceptor.accept() {
                Ok(Some(hello)) => return Ok((hello, rest.to_vec())),
                Ok(None) => {}
                Err((error, said)) => {
                    let said = Some(written(said)).filter(|said| !said.is_empty());
                    let said = said.unwrap_or_else(|| alert(DECODE_ERROR));
                    return Err((TlsRefusal::from(&error), said));
                }
            }
        }
    }
    Err((TlsRefusal::HelloTooLong, alert(DECODE_ERROR)))
}

/// What a helper makes of a ClientHello.
fn first_turn(
    keys: &ServerKeys,
    certificate: &Certificate,
    client_auth: Option<&ClientAuth>,
    hello: Accepted,
    rest: &[u8],
) -> Turn {
    let Ok(config) = keys.config(certificate, client_auth) else {
        return Turn::refused(TlsRefusal::Internal, alert(INTERNAL_ERROR));
    };
    match hello.into_connection(config) {
        Ok(tls) => Turn::take(tls.into(), rest),
        Err((error, alert)) => Turn::refused(TlsRefusal::from(&error), written(alert)),
    }
}

/// A fatal alert, as it is sent before keys are agreed on.
fn alert(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}

fn written(mut alert: AcceptedAlert) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a `Vec` does not fail.
    let _ = alert.write_all(&mut bytes);
    bytes
}

fn negotiated(tls: &Connection, client_auth: Option<Arc<ClientAuth>>) -> Option<Negotiated> {
    let name = match tls {
        Connection::Server(tls) => tls.server_name(),
        Connection::Client(_) => None,
    };
    let client = tls.peer_certificates().and_then(|chain| chain.first());
    Some(Negotiated {
        alpn: tls.alpn_protocol().and_then(Alpn::of),
        server_name: name.map(Box::from),
        version: tls.protocol_version()?,
        cipher: tls.negotiated_cipher_suite()?.suite(),
        key_exchange: tls.negotiated_key_exchange_group().map(|group| group.name()),
        was_resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        client_auth,
        client: client.map(|der| ClientCertificate {
            der: der.to_vec().into(),
            sha256: keys::fingerprint(der),
        }),
    })
}
