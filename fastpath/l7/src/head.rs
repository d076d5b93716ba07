//! The head of a request, checked.

use crate::L7Reason;
use crate::chars::is_token;
use crate::names::{is_lookalike, is_spelled};
use ::http::Method;
use ::http::request::Parts;
use ::http::uri::Scheme;
use fields::Fields;
use request_line::{RequestLine, is_of_method, is_target_of};

/// What headers say of where a request ends and goes.
mod fields;
/// The first line, of HTTP/1.1.
mod request_line;
mod scan;

/// What a head may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of a whole head.
    pub bytes: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// Headers.
    pub headers: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits { bytes: 32 << 10, target_bytes: 8 << 10, headers: 100 }
    }
}

/// A version of HTTP in a request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How long the body of a request is (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; none, if nothing is said.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What the head of a request says of where it ends and what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the head, its last line break included.
    pub len: usize,
    /// Its version.
    pub version: Version,
    /// How long the body is.
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The client asks for another protocol.
    pub upgrades: bool,
    /// The connection ends with it: nothing that follows is a request (RFC 9112
    /// section 9.3).
    pub is_last: bool,
}

/// Where a head ends: after its first empty line. Every line ends with CR LF; neither
/// is anywhere else.
///
/// # Errors
/// `BareLineBreak`.
pub(crate) fn end(bytes: &[u8], from: usize) -> Result<End, L7Reason> {
    let mut at = from;
    while let Some(step) = scan::line_break(&bytes[at..]) {
        at += step;
        match bytes[at..] {
            [b'\r'] => return Ok(End::After(at)),
            [b'\r', b'\n', ..] => {}
            _ => return Err(L7Reason::BareLineBreak),
        }
        if at == 0 || bytes[..at].ends_with(b"\r\n") {
            return Ok(End::At(at + 2));
        }
        at += 2;
    }
    Ok(End::After(bytes.len()))
}

/// Where a head ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Behind so many bytes.
    At(usize),
    /// Not in the first so many bytes: they need not be looked at again.
    After(usize),
}

/// Lines of a whole head or trailer section, without their line breaks.
fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(section);
    let lines = std::iter::from_fn(move || {
        let bytes = rest.take()?;
        let Some(end) = scan::line_feed(bytes) else { return Some(bytes) };
        rest = Some(&bytes[end + 1..]);
        Some(&bytes[..end])
    });
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).take_while(|line| !line.is_empty())
}

/// Checks the whole head of a request, its end included.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(head: &[u8], limits: &HeadLimits) -> Result<RequestHead, L7Reason> {
    let mut lines = lines(head);
    let line = RequestLine::parse(lines.next().unwrap_or_default(), limits)?;
    let mut fields = Fields::default();
    for (number, line) in lines.enumerate() {
        if number == limits.headers {
            return Err(L7Reason::TooManyHeaders);
        }
        let (name, value) = field(line)?;
        fields.take(name, value)?;
    }
    let framing = fields.framing(line.version)?;
    fields.check_host(&line)?;
    Ok(RequestHead {
        len: head.len(),
        version: line.version,
        framing,
        expects_continue: fields.expects_continue && line.version == Version::Http11,
        upgrades: fields.has_upgrade && line.version == Version::Http11,
        is_last: fields.closes || (line.version == Version::Http10 && !fields.keeps_alive),
    })
}

/// Checks the trailers of a chunked body: they may not say what its head has said.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn check_trailers(section: &[u8], limits: &HeadLimits) -> Result<(), L7Reason> {
    for (number, line) in lines(section).enumerate() {
        if number == limits.headers {
            return Err(L7Reason::TooManyHeaders);
        }
        let (name, _) = field(line)?;
        if !may_be_trailer(name) {
            return Err(L7Reason::BadTrailer);
        }
    }
    Ok(())
}

/// Whether a name says neither where a request ends nor where it goes, and nobody takes it
/// for one that does.
pub(crate) fn may_be_trailer(name: &[u8]) -> bool {
    !FRAMING.iter().chain(ROUTING).any(|one| is_spelled(name, one)) && !is_lookalike(name)
}

/// Checks the head of a request of HTTP/2 as that of one of HTTP/1.1 (RFC 9113 section 8.3.1
/// and 10.3): what is read in more than one way there would be so behind the gateway.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_parts(head: &Parts, limits: &HeadLimits) -> Result<(), L7Reason> {
    let method = head.method.as_str().as_bytes();
    if head.method == Method::CONNECT || !method.iter().all(|byte| is_of_method(*byte)) {
        return Err(L7Reason::BadMethod);
    }
    let target = head.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes();
    if target.len() > limits.target_bytes {
        return Err(L7Reason::TargetTooLong);
    }
    let is_path = target.first() == Some(&b'/');
    let is_asterisk = target == b"*" && head.method == Method::OPTIONS;
    let is_http =
        head.uri.scheme().is_none_or(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    if !(is_path || is_asterisk) || !is_http || !is_target_of(target) {
        return Err(L7Reason::BadTarget);
    }
    if head.headers.len() > limits.headers {
        return Err(L7Reason::TooManyHeaders);
    }
    let mut fields = Fields::default();
    for (name, value) in &head.headers {
        let name = name.as_str().as_bytes();
        if HOP_BY_HOP.contains(&name) {
            return Err(L7Reason::BadConnectionHeader);
        }
        let value = value.as_bytes();
        // It would be another value in HTTP/1.1 (RFC 9113 section 8.2.1).
        if value.trim_ascii().len() != value.len() {
            return Err(L7Reason::BadHeaderValue);
        }
        fields.take(name, value)?;
    }
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    // The one of the two stands for the other.
    if let (0, Some(authority)) = (fields.hosts, authority) {
        (fields.hosts, fields.host) = (1, authority);
    }
    fields.check_host(&RequestLine { version: Version::Http11, authority })
}

/// Headers that are in no request of HTTP/2 (RFC 9113 section 8.2.2).
const HOP_BY_HOP: &[&[u8]] =
    &[b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];

/// Headers that say where a request ends,
const FRAMING: &[&[u8]] = &[b"content-length", b"transfer-encoding", b"trailer"];

/// and where it goes, or from where it is said to come.
const ROUTING: &[&[u8]] = &[
    b"host",
    b"authorization",
    b"cookie",
    b"expect",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-forwarded-proto",
    b"x-real-ip",
];

/// A header: its name, and its value without spaces around it.
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), L7Reason> {
    let colon = line.iter().position(|byte| !is_token(*byte)).ok_or(L7Reason::BadHeaderName)?;
    if colon == 0 || line[colon] != b':' {
        return Err(L7Reason::BadHeaderName);
    }
    let value = &line[colon + 1..];
    if !scan::is_value(value) {
        return Err(L7Reason::BadHeaderValue);
    }
    Ok((&line[..colon], value.trim_ascii()))
}
