//! Headers that are for one connection alone (RFC 9110 section 7.6.1).

use crate::L7Reason;
use crate::names::{Names, first};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
/// The most common value of Connection.
const ALIVE: &[u8] = b"keep-alive";
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// Takes them out of a request that has such headers, but for trailers that are understood.
/// What is answered is the protocols that the client asks to go on with.
pub(super) fn strip_request(headers: &mut HeaderMap, has: Names) -> Option<HeaderValue> {
    let upgrade = upgrade(headers, has).filter(|_| names(headers, "upgrade"));
    let upgrade = upgrade.filter(may_be_asked_for);
    let takes_trailers = has.has(Names::TE) && has_token(headers, &header::TE, "trailers");
    strip(headers, has);
    if has.has(Names::HTTP2_SETTINGS) {
        headers.remove(HTTP2_SETTINGS);
    }
    if has.has(Names::TE) {
        headers.remove(header::TE);
    }
    if takes_trailers {
        headers.insert(header::TE, TRAILERS);
    }
    upgrade
}

/// Counts the hop to an endpoint, of a request that asks for few: OPTIONS or TRACE (RFC 9110
/// section 7.6.2). What is answered is the status of the gateway's own answer, if the request
/// goes no further.
///
/// # Errors
/// `BadMethod`: it would have to be shown as it came, with what proxies have added.
pub(super) fn count_hop(
    method: &Method,
    headers: &mut HeaderMap,
) -> Result<Option<StatusCode>, L7Reason> {
    if *method != Method::OPTIONS && *method != Method::TRACE {
        return Ok(None);
    }
    let left = headers.get(header::MAX_FORWARDS).map_or(&b""[..], HeaderValue::as_bytes);
    // What is no number says nothing.
    if left.is_empty() || !left.iter().all(u8::is_ascii_digit) {
        return Ok(None);
    }
    let add = |left: u32, digit: &u8| left.saturating_mul(10).saturating_add((digit - b'0').into());
    match left.iter().fold(0, add).checked_sub(1) {
        Some(left) => {
            headers.insert(header::MAX_FORWARDS, left.into());
            Ok(None)
        }
        None if *method == Method::TRACE => Err(L7Reason::BadMethod),
        None => Ok(Some(StatusCode::OK)),
    }
}

/// Takes them out of an answer that has such headers. What is answered is the protocol that
/// it switches to.
pub(super) fn strip_response(headers: &mut HeaderMap, has: Names) -> Option<HeaderValue> {
    let upgrade = upgrade(headers, has);
    strip(headers, has);
    if has.has(Names::TE) {
        headers.remove(header::TE);
    }
    upgrade
}

/// Takes them out of trailers, with what says where an answer ends.
pub(super) fn strip_trailers(trailers: &mut HeaderMap) {
    let has = Names::of(trailers);
    strip(trailers, has);
    trailers.remove(header::CONTENT_LENGTH);
    trailers.remove(header::TRAILER);
}

/// Asks for other protocols, or agrees to one.
pub(super) fn set_upgrade(headers: &mut HeaderMap, upgrade: HeaderValue) {
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, upgrade);
}

fn upgrade(headers: &HeaderMap, has: Names) -> Option<HeaderValue> {
    if has.has(Names::UPGRADE) { first(headers, &header::UPGRADE).cloned() } else { None }
}

fn strip(headers: &mut HeaderMap, has: Names) {
    if !has.has(Names::HOPS) {
        return;
    }
    if has.has(Names::CONNECTION) {
        let values: Vec<_> = headers.get_all(header::CONNECTION).iter().cloned().collect();
        // What most say there is taken out below, or is none.
        let named = values.iter().filter(|value| !value.as_bytes().eq_ignore_ascii_case(ALIVE));
        for name in named.filter_map(|value| value.to_str().ok()).flat_map(tokens) {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    for (one, name) in [
        (Names::KEEP_ALIVE, KEEP_ALIVE),
        (Names::PROXY_CONNECTION, PROXY_CONNECTION),
        (Names::TRANSFER_ENCODING, header::TRANSFER_ENCODING),
        (Names::UPGRADE, header::UPGRADE),
    ] {
        if has.has(one) {
            headers.remove(name);
        }
    }
}

fn tokens(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|token| token.trim_matches([' ', '\t'])).filter(|token| !token.is_empty())
}

fn names(headers: &HeaderMap, name: &str) -> bool {
    has_token(headers, &header::CONNECTION, name)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| tokens(value).any(|one| one.eq_ignore_ascii_case(token)))
}

/// No other version of HTTP, in which requests would get past the gateway.
fn may_be_asked_for(upgrade: &HeaderValue) -> bool {
    let is_http = |token: &str| {
        let name = token.split('/').next().unwrap_or_default().trim_ascii();
        ["http", "h2", "h2c", "h3", "tls"].iter().any(|one| name.eq_ignore_ascii_case(one))
    };
    upgrade.to_str().is_ok_and(|value| !value.is_empty() && !tokens(value).any(is_http))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_is_for_one_hop_does_not_go_on() {
        let mut of_request = headers(&[
            ("connection", "keep-alive, X-One,\t x-two ,, not a name"),
            ("connection", "x-three"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("x-four", "4"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, Trailers;q=1"),
            ("transfer-encoding", "chunked"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("trailer", "checksum"),
        ]);
        let has = Names::of(&of_request);
        assert_eq!(strip_request(&mut of_request, has), None);
        assert_eq!(of_request, headers(&[("x-four", "4"), ("trailer", "checksum")]));
        let mut of_grpc = headers(&[("te", "trailers")]);
        let has = Names::of(&of_grpc);
        strip_request(&mut of_grpc, has);
        assert_eq!(of_grpc, headers(&[("te", "trailers")]));
    }

    #[test]
    fn hops_are_counted_of_requests_that_ask_for_few() {
        for (method, few, answer, left) in [
            (Method::OPTIONS, "0", Ok(Some(StatusCode::OK)), "0"),
            (Method::TRACE, "00", Err(L7Reason::BadMethod), "00"),
            (Method::OPTIONS, "1", Ok(None), "0"),
            (Method::TRACE, "10", Ok(None), "9"),
            (Method::TRACE, "99999999999", Ok(None), "4294967294"),
            (Method::OPTIONS, "-1", Ok(None), "-1"),
            (Method::OPTIONS, "", Ok(None), ""),
            (Method::GET, "0", Ok(None), "0"),
        ] {
            let mut of = headers(&[("max-forwards", few)]);
            assert_eq!(count_hop(&method, &mut of), answer, "{method} {few}");
            assert_eq!(of, headers(&[("max-forwards", left)]));
        }
        assert_eq!(count_hop(&Method::TRACE, &mut HeaderMap::new()), Ok(None));
    }

    #[test]
    fn protocols_are_asked_for_but_for_http() {
        for (connection, upgrade, is_asked_for) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "SPDY/3.1", true),
            ("keep-alive", "websocket", false),
            ("upgrade", "", false),
            ("upgrade, http2-settings", "h2c", false),
            ("upgrade", "websocket, H2C", false),
            ("upgrade", "HTTP/2.0", false),
            ("upgrade", "TLS/1.2", false),
        ] {
            let mut of = headers(&[("connection", connection), ("upgrade", upgrade)]);
            let has = Names::of(&of);
            let asked = strip_request(&mut of, has);
            assert_eq!(asked.is_some(), is_asked_for, "{connection}: {upgrade}");
            assert!(of.is_empty());
        }
    }

    #[test]
    fn trailers_say_nothing_of_where_an_answer_ends() {
        let mut of = headers(&[("content-length", "1"), ("connection", "x"), ("grpc-status", "0")]);
        strip_trailers(&mut of);
        assert_eq!(of, headers(&[("grpc-status", "0")]));
    }
}
