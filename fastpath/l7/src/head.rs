//! The head of a request, checked.

use crate::L7Reason;
use crate::chars::{is_host, is_target, is_token, is_value};
use ::http::Method;
use ::http::request::Parts;
use ::http::uri::Scheme;

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
    while let Some(step) = bytes[at..].iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
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
    let lines = section.split(|byte| *byte == b'\n');
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

/// Whether a name says neither where a request ends nor where it goes.
pub(crate) fn may_be_trailer(name: &[u8]) -> bool {
    !FRAMING.iter().chain(ROUTING).any(|one| name.eq_ignore_ascii_case(one))
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
        fields.take(name, value.as_bytes().trim_ascii())?;
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
    if !value.iter().all(|byte| is_value(*byte)) {
        return Err(L7Reason::BadHeaderValue);
    }
    Ok((&line[..colon], value.trim_ascii()))
}

/// What a request line says.
struct RequestLine<'a> {
    version: Version,
    /// The authority of an absolute target.
    authority: Option<&'a [u8]>,
}

impl<'a> RequestLine<'a> {
    fn parse(line: &'a [u8], limits: &HeadLimits) -> Result<Self, L7Reason> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(L7Reason::BadRequestLine);
        };
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(L7Reason::BadRequestLine);
        }
        let version = match version {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            other if is_version(other) => return Err(L7Reason::BadVersion),
            _ => return Err(L7Reason::BadRequestLine),
        };
        if method == b"CONNECT" || !method.iter().all(|byte| is_of_method(*byte)) {
            return Err(L7Reason::BadMethod);
        }
        if target.len() > limits.target_bytes {
            return Err(L7Reason::TargetTooLong);
        }
        if !is_target_of(target) {
            return Err(L7Reason::BadTarget);
        }
        let authority = match target {
            [b'/', ..] => None,
            b"*" if method == b"OPTIONS" => None,
            _ => Some(absolute(target).ok_or(L7Reason::BadTarget)?),
        };
        Ok(RequestLine { version, authority })
    }
}

/// Whether all characters of a target may be where they are. Browsers send a grave accent
/// as it is in a query, and never in a path.
fn is_target_of(target: &[u8]) -> bool {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    target.iter().all(|byte| is_target(*byte)) && !path.contains(&b'`')
}

/// Letters of methods that are registered (RFC 9110 section 16.1), and digits.
fn is_of_method(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
}

/// `HTTP/` and two digits.
fn is_version(word: &[u8]) -> bool {
    matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// The authority of an absolute http or https URI.
fn absolute(target: &[u8]) -> Option<&[u8]> {
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })?;
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    (end > 0).then(|| &rest[..end])
}

/// What headers say that is of consequence for where a request ends and goes.
#[derive(Default)]
struct Fields<'a> {
    hosts: usize,
    host: &'a [u8],
    length: Option<u64>,
    is_chunked: bool,
    expects_continue: bool,
    has_upgrade: bool,
    closes: bool,
    keeps_alive: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), L7Reason> {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is(b"host") => {
                self.hosts += 1;
                self.host = value;
            }
            6 if is(b"expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(L7Reason::BadExpectation);
                }
                self.expects_continue = true;
            }
            7 if is(b"upgrade") => self.has_upgrade = true,
            10 if is(b"connection") => self.take_connection(value)?,
            14 if is(b"content-length") => {
                let length = content_length(value).ok_or(L7Reason::BadContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(L7Reason::BadContentLength);
                }
            }
            17 if is(b"transfer-encoding") => {
                if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(L7Reason::BadTransferEncoding);
                }
                self.is_chunked = true;
            }
            _ if is_taken_for_framing(name) => return Err(L7Reason::BadHeaderName),
            _ => {}
        }
        Ok(())
    }

    /// What Connection names is taken away on the way: nothing that matters may be.
    fn take_connection(&mut self, value: &[u8]) -> Result<(), L7Reason> {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let is = |other: &[u8]| option.eq_ignore_ascii_case(other);
            if !option.iter().all(|byte| is_token(*byte))
                || FRAMING.iter().chain(ROUTING).any(|name| is(name))
            {
                return Err(L7Reason::BadConnectionHeader);
            }
            self.closes |= is(b"close");
            self.keeps_alive |= is(b"keep-alive");
        }
        Ok(())
    }

    fn framing(&self, version: Version) -> Result<Framing, L7Reason> {
        if !self.is_chunked {
            return Ok(Framing::Length(self.length.unwrap_or(0)));
        }
        if self.length.is_some() || version == Version::Http10 {
            return Err(L7Reason::TwoLengths);
        }
        Ok(Framing::Chunked)
    }

    fn check_host(&self, line: &RequestLine<'_>) -> Result<(), L7Reason> {
        let is_right = match (self.hosts, line.version) {
            (0, Version::Http10) => line.authority.is_none_or(is_authority),
            (1, _) => {
                let same = |other: &[u8]| other.eq_ignore_ascii_case(self.host);
                is_authority(self.host) && line.authority.is_none_or(same)
            }
            _ => false,
        };
        if is_right { Ok(()) } else { Err(L7Reason::BadHost) }
    }
}

/// Names that some servers take for headers which say where a request ends: with `_`
/// for `-`.
fn is_taken_for_framing(name: &[u8]) -> bool {
    let is = |other: &&[u8]| {
        let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-');
        name.len() == other.len() && name.iter().zip(*other).all(same)
    };
    name.contains(&b'_') && FRAMING.iter().any(is)
}

/// Digits and nothing else, of a number that fits 63 bits.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 {
        return None;
    }
    value.iter().try_fold(0_u64, |length, digit| {
        digit.is_ascii_digit().then(|| length * 10 + u64::from(digit - b'0'))
    })
}

/// A host and, if there is a colon, a port (RFC 3986 section 3.2.2 and 3.2.3).
fn is_authority(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let inside = std::str::from_utf8(&rest[..end]).unwrap_or_default();
            if inside.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (&b"v6"[..], &rest[end + 1..])
        }
        _ => value.split_at(value.iter().position(|byte| *byte == b':').unwrap_or(value.len())),
    };
    let port_is_right = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    !host.is_empty() && host.iter().all(|byte| is_host(*byte)) && port_is_right
}
