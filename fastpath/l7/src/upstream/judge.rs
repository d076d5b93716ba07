use super::sent::content_length;
use crate::names::Names;
use http::header::{self, HeaderMap};
use http::{StatusCode, response};
use std::error::Error;
use std::io;

/// Why there is no answer, or no more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not HTTP.
    Malformed,
    /// The connection or stream ended.
    Ended,
    /// The endpoint says that it has not seen the request (RFC 9113 section 8.7).
    Unseen,
}

/// What hyper's error means.
pub(super) fn fault(error: &hyper::Error) -> Fault {
    if error.is_parse() {
        return Fault::Malformed;
    }
    let Some(source) = error.source() else { return Fault::Ended };
    if let Some(error) = source.downcast_ref::<h2::Error>() {
        return of_http2(error);
    }
    let kind = source.downcast_ref::<io::Error>().map(io::Error::kind);
    match kind {
        // So hyper calls chunks that are none.
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Fault::Malformed,
        _ => Fault::Ended,
    }
}

fn of_http2(error: &h2::Error) -> Fault {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) if error.is_reset() => Fault::Unseen,
        Some(h2::Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => Fault::Unseen,
        _ if error.is_library() => Fault::Malformed,
        _ => Fault::Ended,
    }
}

/// Whether the head of an answer can be read in one way alone. What hyper lets through is
/// refused here: a Transfer-Encoding beside a Content-Length or other than `chunked`,
/// several lengths, a length where there is no body, a switch that nobody asked for.
pub(super) fn is_right(head: &response::Parts, is_http2: bool, asks_upgrade: bool) -> bool {
    let headers = &head.headers;
    let has = Names::of(headers);
    let is_chunked = has.has(Names::TRANSFER_ENCODING);
    let has_length = has.has(Names::CONTENT_LENGTH);
    let length = if has_length { content_length(headers) } else { None };
    if (is_chunked && (has_length || is_http2 || !is_chunked_alone(headers)))
        || (has_length && length.is_none())
    {
        return false;
    }
    match head.status {
        StatusCode::SWITCHING_PROTOCOLS => asks_upgrade && !is_chunked && !has_length,
        StatusCode::NO_CONTENT => !is_chunked && length.unwrap_or(0) == 0,
        status => !status.is_informational(),
    }
}

fn is_chunked_alone(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    values.next().is_some_and(is_chunked) && values.next().is_none()
}
