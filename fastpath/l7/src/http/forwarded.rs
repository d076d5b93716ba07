//! What backends are told of where a request comes from: `X-Forwarded-*` and `X-Real-IP`,
//! which everybody reads, and Forwarded (RFC 7239). Trusted proxies in front are believed
//! and added to; what anybody else says of it goes no further.

use super::connection::Connection;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sluice_tables::l7::TrustedSources;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// What ingress-nginx tells backends of client certificates.
const CERTIFICATE: [HeaderName; 4] = [
    HeaderName::from_static("ssl-client-cert"),
    HeaderName::from_static("ssl-client-verify"),
    HeaderName::from_static("ssl-client-subject-dn"),
    HeaderName::from_static("ssl-client-issuer-dn"),
];

/// What trusted proxies say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The client: the last one that is no such proxy.
    pub(super) client: IpAddr,
    /// They are believed.
    pub(super) is_trusted: bool,
    /// It came to the first one of them in TLS.
    pub(super) is_encrypted: bool,
}

/// What is told of a request that comes from `peer`, in TLS or not.
pub(super) fn told(
    headers: &HeaderMap,
    peer: IpAddr,
    is_encrypted: bool,
    trusted: &TrustedSources,
) -> Told {
    if !trusted.contains(peer) {
        return Told { client: peer, is_trusted: false, is_encrypted };
    }
    let told = headers.get(PROTO).map(HeaderValue::as_bytes);
    let is_encrypted = told.map_or(is_encrypted, |proto| proto.eq_ignore_ascii_case(b"https"));
    Told { client: client(headers, trusted, peer), is_trusted: true, is_encrypted }
}

/// The last client that is no trusted proxy; the first one of all if they all are.
fn client(headers: &HeaderMap, trusted: &TrustedSources, peer: IpAddr) -> IpAddr {
    let mut client = peer;
    let mut is_told = false;
    for value in headers.get_all(FOR).iter().rev() {
        for one in value.as_bytes().rsplit(|byte| *byte == b',') {
            let Some(addr) = addr(one) else { return client };
            (client, is_told) = (addr, true);
            if !trusted.contains(client) {
                return client;
            }
        }
    }
    match headers.get(REAL_IP).and_then(|value| addr(value.as_bytes())) {
        Some(real) if !is_told => real,
        _ => client,
    }
}

/// An address, with a port or without.
fn addr(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t', '"']);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().map(|addr: SocketAddr| addr.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

/// Takes out what a client says of its certificate: backends may believe that the gateway
/// has said it.
pub(super) fn strip_certificate(headers: &mut HeaderMap) {
    for name in CERTIFICATE {
        headers.remove(name);
    }
}

/// Tells a backend of it.
pub(super) fn tell(
    headers: &mut HeaderMap,
    connection: &Connection,
    told: Told,
    host: Option<&HeaderValue>,
) {
    let ends = connection.ends.get();
    let names = &mut *connection.names.borrow_mut();
    let client = || value(format_args!("{}", ends.client.ip()));
    let client = names.client.get_or_insert_with(client).clone();
    let port = || value(format_args!("{}", ends.local.port()));
    let port = names.port.get_or_insert_with(port).clone();
    let proto = if connection.is_encrypted() { HTTPS } else { HTTP };
    let host = host.cloned().unwrap_or(const { HeaderValue::from_static("") });
    let forwarded = match &names.forwarded {
        Some((of, forwarded)) if *of == host => forwarded.clone(),
        _ => {
            let forwarded = forwarded(ends.client.ip(), &proto, &host);
            // A copy: the value itself is a part of what was read, and would keep all of it.
            let of = value(format_args!("{}", host.to_str().unwrap_or_default()));
            names.forwarded.insert((of, forwarded)).1.clone()
        }
    };
    if !told.is_trusted {
        headers.insert(FOR, client.clone());
        headers.insert(REAL_IP, client);
        headers.insert(HOST, host);
        headers.insert(PORT, port);
        headers.insert(PROTO, proto);
        headers.insert(header::FORWARDED, forwarded);
        return;
    }
    append(headers, FOR, &client);
    append(headers, header::FORWARDED, &forwarded);
    headers.insert(REAL_IP, value(format_args!("{}", told.client)));
    for (name, value) in [(HOST, host), (PORT, port), (PROTO, proto)] {
        headers.entry(name).or_insert(value);
    }
}

/// Adds to a list, however many headers it is in.
fn append(headers: &mut HeaderMap, name: HeaderName, last: &HeaderValue) {
    let mut list = Vec::new();
    for value in headers.get_all(&name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last.as_bytes());
    // It is made of values.
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(list)) {
        headers.insert(name, value);
    }
}

/// One element of Forwarded. The host is in quotes: it may have a colon.
fn forwarded(client: IpAddr, proto: &HeaderValue, host: &HeaderValue) -> HeaderValue {
    let (proto, host) = (proto.to_str().unwrap_or_default(), host.to_str().unwrap_or_default());
    match client {
        IpAddr::V4(addr) => value(format_args!("for={addr};host=\"{host}\";proto={proto}")),
        IpAddr::V6(addr) => value(format_args!("for=\"[{addr}]\";host=\"{host}\";proto={proto}")),
    }
}

/// What is made of visible characters.
fn value(text: std::fmt::Arguments<'_>) -> HeaderValue {
    let mut out = String::with_capacity(64);
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
    HeaderValue::from_maybe_shared(Bytes::from(out))
        .unwrap_or(const { HeaderValue::from_static("") })
}
