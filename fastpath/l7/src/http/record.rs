use super::seams::Negotiated;
use crate::L7Reason;
use sluice_tables::l7::HttpRoute;
use std::net::{IpAddr, SocketAddr};

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When it began, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The client, as far as the connection tells.
    pub client: SocketAddr,
    /// The client, as trusted proxies have told it.
    pub real_client: IpAddr,
    /// The name of the listener.
    pub listener: &'a str,
    /// Empty, like the following ones, if the head was none.
    pub method: &'a str,
    /// The host that was asked for, with its port if it has one. Hostile, like all bytes
    /// here.
    pub host: &'a [u8],
    /// The path as the client has written it.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: Option<&'a str>,
    /// Such as `HTTP/1.1`.
    pub protocol: &'static str,
    /// The status of the answer; 0: there was none.
    pub status: u16,
    /// Why the gateway itself has answered, or has cut the answer short.
    pub reason: Option<L7Reason>,
    /// The answer has not been sent to its end.
    pub is_aborted: bool,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// How long it took until an endpoint answered.
    pub upstream_ns: Option<u64>,
    /// The name of the upstream that it went to.
    pub upstream: Option<&'a str>,
    /// The endpoint that answered, or was asked last.
    pub endpoint: Option<SocketAddr>,
    /// How many endpoints were asked.
    pub attempts: u8,
    /// The route that it took.
    pub route: Option<&'a HttpRoute>,
    /// Its `X-Request-ID`.
    pub request_id: &'a [u8],
    /// Its `User-Agent`.
    pub user_agent: &'a [u8],
    /// Its `Referer`.
    pub referer: &'a [u8],
    /// What was agreed on, if it came in TLS.
    pub tls: Option<&'a Negotiated>,
}

/// A connection that begins or is over.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionRecord<'a> {
    /// The name of its listener.
    pub listener: &'a str,
    /// The other end.
    pub peer: SocketAddr,
    /// How many requests it has had.
    pub requests: u32,
}

/// Is told of everything that is over. It must not panic.
pub trait Observer {
    /// A request is over.
    fn request(&self, record: &Record<'_>);

    /// A connection begins to be served.
    fn connection_opened(&self, _: &ConnectionRecord<'_>) {}

    /// A connection is over.
    fn connection_closed(&self, _: &ConnectionRecord<'_>) {}
}
