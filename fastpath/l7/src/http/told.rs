//! What trusted proxies say of where a request comes from. The address of the client is
//! that of X-Forwarded-For where it is given, else that of Forwarded (RFC 7239), else that
//! of X-Real-IP. Whether it came in TLS is what X-Forwarded-Proto says where it is given,
//! else what Forwarded says. A Forwarded that is malformed anywhere says nothing.

use super::elements::{self, Node};
use super::forwarded::{FOR, PROTO, REAL_IP};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sluice_tables::l7::TrustedSources;
use std::net::{IpAddr, SocketAddr};

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
    let says_proto = headers.contains_key(PROTO);
    let by_list = by_x_forwarded_for(headers, trusted);
    let by_elements = match by_list {
        Some(_) if says_proto => None,
        _ => by_forwarded(headers, trusted),
    };
    let found = by_list.or(by_elements.filter(|found| found.says_from));
    let client = match found {
        Some(found) => found.client,
        None => headers.get(REAL_IP).and_then(|value| addr(value.as_bytes())),
    };
    let is_encrypted = match says_proto {
        true => is_https(headers, found.map_or(0, |found| found.at)),
        false => by_elements.and_then(|found| found.is_encrypted).unwrap_or(is_encrypted),
    };
    Told { client: client.unwrap_or(peer), is_trusted: true, is_encrypted }
}

/// Where a walk from the last proxy to the client ended: at the last one that is no trusted
/// proxy, or whose address is not told; at the first one of all if they all are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// Who is there; of who hides, the proxy that has it from there. `None`: the peer has.
    client: Option<IpAddr>,
    /// So many are behind it.
    at: usize,
    /// What is said there of TLS.
    is_encrypted: Option<bool>,
    /// The list says of somebody who they are.
    says_from: bool,
}

/// The walk through X-Forwarded-For.
fn by_x_forwarded_for(headers: &HeaderMap, trusted: &TrustedSources) -> Option<Found> {
    let mut found: Option<Found> = None;
    for (at, one) in from_last(headers, FOR).enumerate() {
        let addr = addr(one);
        let client = addr.or(found.and_then(|found| found.client));
        found = Some(Found { client, at, is_encrypted: None, says_from: true });
        if !addr.is_some_and(|addr| trusted.contains(addr)) {
            break;
        }
    }
    found
}

/// The walk through Forwarded. It is read from its beginning, since only that tells what is
/// in quotes: where the walk ends is the last place at which it may.
fn by_forwarded(headers: &HeaderMap, trusted: &TrustedSources) -> Option<Found> {
    let mut found: Option<Found> = None;
    let (mut count, mut says_from) = (0, false);
    let mut each = |element: elements::Element| {
        let addr = element.from.addr();
        says_from |= element.from != Node::Unsaid;
        if let Some(found) = found.as_mut().filter(|found| found.at + 1 == count) {
            found.client = found.client.or(addr);
        }
        if found.is_none() || !addr.is_some_and(|addr| trusted.contains(addr)) {
            let is_encrypted = element.is_encrypted;
            found = Some(Found { client: addr, at: count, is_encrypted, says_from });
        }
        count += 1;
    };
    for value in headers.get_all(header::FORWARDED) {
        elements::read(value.as_bytes(), &mut each).ok()?;
    }
    found.map(|found| Found { at: count - 1 - found.at, says_from, ..found })
}

/// Whether X-Forwarded-Proto says that the client came in TLS. Of a list, the element that
/// has as many behind it as the client has in its own: proxies add to both. A list that is
/// shorter is nobody's but the first one's.
fn is_https(headers: &HeaderMap, at: usize) -> bool {
    let of_client = from_last(headers, PROTO).take(at + 1).last();
    of_client.is_some_and(|proto| proto.trim_ascii().eq_ignore_ascii_case(b"https"))
}

/// The elements of a list, however many headers it is in, from the last one on.
fn from_last(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(name).into_iter().rev().map(HeaderValue::as_bytes);
    values.flat_map(|value| value.rsplit(|byte| *byte == b','))
}

/// An address, with a port or without.
fn addr(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t', '"']);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().map(|addr: SocketAddr| addr.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|addr: IpAddr| addr.to_canonical())
}
