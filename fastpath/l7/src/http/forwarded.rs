//! What backends are told of where a request comes from: `X-Forwarded-*` and `X-Real-IP`,
//! which everybody reads, and Forwarded (RFC 7239). Trusted proxies in front are believed
//! and added to; what anybody else says of it goes no further.

use super::connection::Connection;
use super::told::Told;
use crate::names::{CLAIMS, Names, is_lookalike};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::fmt::Write;
use std::net::IpAddr;

pub(super) const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// What ingress-nginx tells backends of client certificates.
const CERTIFICATE: [HeaderName; 4] = [
    HeaderName::from_static("ssl-client-cert"),
    HeaderName::from_static("ssl-client-verify"),
    HeaderName::from_static("ssl-client-subject-dn"),
    HeaderName::from_static("ssl-client-issuer-dn"),
];

/// Takes out what a client says of its certificate: backends may believe that the gateway
/// has said it.
pub(super) fn strip_certificate(headers: &mut HeaderMap) {
    for name in CERTIFICATE {
        headers.remove(name);
    }
}

/// Takes out what is nobody's to say: whatever some backends take for what the gateway tells
/// them, and of those who are not trusted what is told in yet other words.
pub(super) fn strip_claims(headers: &mut HeaderMap, has: Names, told: Told) {
    if has.has(Names::LOOKALIKES) {
        let lookalikes = headers.keys().filter(|name| is_lookalike(name.as_str().as_bytes()));
        for name in lookalikes.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }
    if has.has(Names::CLAIMS) && !told.is_trusted {
        for name in CLAIMS {
            headers.remove(name);
        }
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
    if told.client != ends.client.ip() && !headers.contains_key(FOR) {
        // They have told it in other words, which not everybody reads.
        headers.insert(FOR, value(format_args!("{}", told.client)));
    }
    append(headers, FOR, &client);
    append(headers, header::FORWARDED, &forwarded);
    headers.insert(REAL_IP, value(format_args!("{}", told.client)));
    let proto = if told.is_encrypted { HTTPS } else { HTTP };
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
