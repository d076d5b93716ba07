//! A request as an endpoint gets it.

use super::body::RequestBody;
use crate::L7Reason;
use crate::names::Names;
use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header};
use http_body::Body;
use sluice_tables::http_routes::Rewrite;
use sluice_tables::l7::Upstream;
use std::borrow::Cow;

pub(super) const CLOSE: HeaderValue = HeaderValue::from_static("close");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");
const EMPTY: HeaderValue = HeaderValue::from_static("");

/// The path and query that the endpoint is asked for.
///
/// # Errors
/// `BadPath`.
pub(super) fn target(
    uri: &Uri,
    path: Cow<'_, str>,
    rewrite: Option<&Rewrite>,
) -> Result<PathAndQuery, L7Reason> {
    let path = match rewrite {
        Some(rewrite) => Cow::Owned(rewrite.path(&path).ok_or(L7Reason::BadPath)?),
        None => path,
    };
    let mut target = match (path, uri.path_and_query()) {
        // As the client has written it.
        (Cow::Borrowed(path), Some(target)) if target.path() == path => return Ok(target.clone()),
        (path, _) => path.into_owned(),
    };
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| L7Reason::BadPath)
}

/// Puts a request together for an upstream.
///
/// # Errors
/// `BadHost`, `BadPath`.
pub(super) fn request(
    (mut head, has): (Parts, Names),
    target: PathAndQuery,
    host: Option<HeaderValue>,
    upstream: &Upstream,
    body: RequestBody,
) -> Result<Request<RequestBody>, L7Reason> {
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(target);
    if has.has(Names::EXPECT) {
        head.headers.remove(header::EXPECT);
    }
    if upstream.protocol.is_http2() {
        let host = host.ok_or(L7Reason::BadHost)?;
        let authority = Authority::try_from(host.as_bytes()).map_err(|_| L7Reason::BadHost)?;
        uri.authority = Some(authority);
        let is_encrypted = upstream.protocol.is_encrypted();
        uri.scheme = Some(if is_encrypted { Scheme::HTTPS } else { Scheme::HTTP });
        head.headers.remove(header::HOST);
        head.version = Version::HTTP_2;
    } else {
        // No host at all is an empty one (RFC 9112 section 3.2). It stays where there is one:
        // nobody may name it in Connection.
        if !has.has(Names::HOST) {
            head.headers.insert(header::HOST, host.unwrap_or(EMPTY));
        }
        if has.has(Names::COOKIE) {
            join_cookies(&mut head.headers);
        }
        head.version = Version::HTTP_11;
    }
    head.uri = Uri::from_parts(uri).map_err(|_| L7Reason::BadPath)?;
    head.extensions = Extensions::new();
    Ok(Request::from_parts(head, body))
}

/// Cookies are in one header, unless in HTTP/2 (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    // It is made of values.
    if let Ok(joined) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        headers.insert(header::COOKIE, joined);
    }
}

/// A body whose length nobody has told goes in chunks, whatever the method.
pub(super) fn set_body(headers: &mut HeaderMap, body: &RequestBody, upstream: &Upstream) {
    let is_told = body.size_hint().exact().is_some();
    if !body.is_empty() && !is_told && !upstream.protocol.is_http2() {
        headers.insert(header::TRANSFER_ENCODING, CHUNKED);
    }
}

/// Gives a request an id, unless a trusted proxy has. What is answered is the id.
pub(super) fn set_request_id(headers: &mut HeaderMap, is_trusted: bool) -> Option<HeaderValue> {
    if is_trusted && let Some(id) = headers.get(REQUEST_ID).filter(|id| !id.is_empty()) {
        return Some(id.clone());
    }
    // It is made of visible characters, and has two owners from its beginning on.
    let id = Bytes::from_owner(uuid(fastrand::u128(..)));
    let id = HeaderValue::from_maybe_shared(id).ok()?;
    headers.insert(REQUEST_ID, id.clone());
    Some(id)
}

/// Where the digits of each byte of a UUID are.
const UUID_PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// A random UUID (RFC 9562 section 5.4).
fn uuid(random: u128) -> [u8; 36] {
    let bits = random & !(0xf << 76) & !(3 << 62) | 4 << 76 | 2 << 62;
    let mut text = [b'-'; 36];
    let digit = |bits: u8| b"0123456789abcdef"[usize::from(bits & 0xf)];
    for (at, byte) in UUID_PLACES.into_iter().zip(bits.to_be_bytes()) {
        [text[at], text[at + 1]] = [digit(byte >> 4), digit(byte)];
    }
    text
}

/// A host without its port.
pub(super) fn without_port(host: &str) -> &str {
    match host.starts_with('[') {
        true => host.find(']').map_or(host, |end| &host[..=end]),
        false => host.split(':').next().unwrap_or_default(),
    }
}

/// Where a client is sent that shall come in TLS.
///
/// # Errors
/// `BadHost`: it has told none.
pub(super) fn https_location(uri: &Uri, host: &str) -> Result<HeaderValue, L7Reason> {
    let host = without_port(host);
    if host.is_empty() {
        return Err(L7Reason::BadHost);
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = if target.starts_with('/') { target } else { "/" };
    let location = Bytes::from(["https://", host, target].concat());
    HeaderValue::from_maybe_shared(location).map_err(|_| L7Reason::BadTarget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_uuids() {
        let text = |random| String::from_utf8(uuid(random).to_vec()).unwrap();
        assert_eq!(text(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(text(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(
            text(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            "01234567-89ab-4def-8123-456789abcdef"
        );
    }

    #[test]
    fn clients_are_sent_to_the_same_place_in_tls() {
        let location = |uri: &'static str, host| {
            let location = https_location(&Uri::from_static(uri), host);
            location.map(|value| value.to_str().unwrap().to_owned())
        };
        for (uri, host, expected) in [
            ("/a/b?c=d", "shop.example:8080", "https://shop.example/a/b?c=d"),
            ("/", "[2001:db8::1]:80", "https://[2001:db8::1]/"),
            ("http://shop.example", "shop.example", "https://shop.example/"),
            ("//evil.example/", "shop.example", "https://shop.example//evil.example/"),
            ("*", "shop.example", "https://shop.example/"),
        ] {
            assert_eq!(location(uri, host).as_deref(), Ok(expected));
        }
        assert_eq!(location("/", ""), Err(L7Reason::BadHost));
    }

    #[test]
    fn cookies_are_one_header() {
        let mut headers = HeaderMap::new();
        for cookie in ["a=1", "b=2; c=3", "d=4"] {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        join_cookies(&mut headers);
        let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
    }
}
