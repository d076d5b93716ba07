use crate::ids::BackendId;
use std::net::SocketAddr;
use std::sync::Arc;

/// The number of an upstream. Stable while there is one, and quarantined before reuse:
/// workers keep connections to its endpoints under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamId(pub u32);

/// A port of a Service, as requests are sent to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its number.
    pub id: UpstreamId,
    /// Its name in output and metrics, such as `shop/web:80`.
    pub name: Arc<str>,
    /// What endpoints speak.
    pub protocol: BackendProtocol,
    /// Connections to endpoints begin with a PROXY protocol header, version 2, which tells the
    /// ends of the client's connection: each carries requests of one such alone.
    pub sends_proxy_protocol: bool,
    /// Those that requests may go to; the best that there are: while none is ready, those
    /// that end and still serve.
    pub endpoints: Box<[Endpoint]>,
}

/// Somebody who serves requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address and port.
    pub addr: SocketAddr,
    /// Its number, if it is an endpoint of a Service.
    pub id: BackendId,
}

/// What is spoken to endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 in TLS.
    Https,
    /// HTTP/2 without TLS (prior knowledge, RFC 9113 section 3.3), as gRPC needs it.
    H2c,
    /// HTTP/2 in TLS.
    H2,
}

impl BackendProtocol {
    /// Whether it is in TLS.
    pub fn is_encrypted(self) -> bool {
        matches!(self, BackendProtocol::Https | BackendProtocol::H2)
    }

    /// Whether it is HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, BackendProtocol::H2c | BackendProtocol::H2)
    }
}
