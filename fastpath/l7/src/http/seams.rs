//! What the proxy is put together with: who ends TLS, and who sends requests on.

use super::RequestBody;
use crate::net::Stream;
use crate::{Alpn, L7Reason};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use sluice_tables::l7::{Certificates, ClientAuth, Upstream};
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Sends requests to endpoints.
pub trait Forward: Clone + 'static {
    /// The body of an answer. Whoever drops it before its end wants no more of it.
    type Body: Body<Data = Bytes, Error = Self::Failure> + Unpin + 'static;

    /// Why a body ended before its end.
    type Failure: Into<L7Reason> + 'static;

    /// Sends a request to one of an upstream's endpoints. To give up, drop the future.
    ///
    /// The request is as the upstream's protocol has it, and goes out as it is: for
    /// HTTP/1.1 with a path for its target, and Host; for HTTP/2 with scheme and
    /// authority, and without Host. No header of it is for one hop alone, but for
    /// `TE: trailers`, and for `Connection` and `Upgrade` where another protocol is asked
    /// for: that is never so in HTTP/2. If the answer is 101 then, the connection comes with it
    /// ([`Sent::upgrade`]).
    ///
    /// A body that has been asked for a part cannot be sent once more; one that is
    /// [`RequestBody::is_empty`] can ([`RequestBody::empty`]).
    fn send(
        &self,
        upstream: &Arc<Upstream>,
        request: Request<RequestBody>,
        terms: Terms,
    ) -> impl Future<Output = Result<Sent<Self::Body>, Refusal>> + 'static;
}

/// On what terms a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the endpoint may send nothing while it is waited for.
    pub read_timeout: Duration,
    /// How long the endpoint may take nothing of what is sent.
    pub send_timeout: Duration,
    /// The client: what policies judge, and what may say which endpoint it is.
    pub client: IpAddr,
    /// The ends of the client's connection, as far as is known: the client's, and what it has
    /// connected to.
    pub ends: (SocketAddr, SocketAddr),
}

/// A request was sent, and an endpoint has begun to answer.
#[derive(Debug)]
pub struct Sent<B> {
    /// The answer, as it came: also what in it is for one hop alone.
    pub response: Response<B>,
    /// Who answers.
    pub endpoint: SocketAddr,
    /// To how many endpoints it was sent, this one included.
    pub attempts: u8,
    /// The connection, if another protocol was asked for.
    pub upgrade: Option<Upgrade>,
}

/// A connection that goes on with another protocol.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// A connection, as soon as HTTP is over on it; `None`: it has ended with it.
pub struct Upgrade(Pin<Box<dyn Future<Output = Upgraded>>>);

type Upgraded = Option<Box<dyn Duplex>>;

impl Upgrade {
    /// What a future comes to.
    pub fn new(upgrade: impl Future<Output = Option<Box<dyn Duplex>>> + 'static) -> Self {
        Upgrade(Box::pin(upgrade))
    }
}

impl Future for Upgrade {
    type Output = Upgraded;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrade")
    }
}

/// A request was not sent, or nobody has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: L7Reason,
    /// The endpoint that was asked last.
    pub endpoint: Option<SocketAddr>,
    /// How many were.
    pub attempts: u8,
}

/// Ends TLS.
pub trait Accept: Clone + 'static {
    /// A connection in TLS.
    type Stream<S: Stream>: Stream;

    /// Makes the handshake with a client that has begun one. It is given up after a
    /// while by dropping the future.
    fn accept<S: Stream>(
        &self,
        stream: S,
        certificates: &Arc<Certificates>,
        source: IpAddr,
    ) -> impl Future<Output = Result<(Self::Stream<S>, Negotiated), NotAccepted>> + 'static;
}

/// What was agreed on in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// What is spoken in it; `None`: nothing was said, which is HTTP/1.1.
    pub protocol: Option<Alpn>,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// What the client was asked to show, and has shown if it had to.
    pub client_auth: Option<Arc<ClientAuth>>,
    /// The version of TLS.
    pub version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    /// Its name in output.
    pub fn label(self) -> &'static str {
        match self {
            TlsVersion::Tls12 => "TLSv1.2",
            TlsVersion::Tls13 => "TLSv1.3",
        }
    }
}

/// Why there was no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// There is no certificate for the name that the client asked for.
    NoCertificate,
    /// It failed: the two sides have nothing in common, or what came is not TLS.
    Failed,
    /// As many as may be are under way, of its source or at all.
    TooMany,
    /// The client has gone.
    Closed,
}
