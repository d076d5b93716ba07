use super::{HeadLimits, Version};
use crate::L7Reason;
use crate::chars::{is_target, is_token};

/// What a request line says.
pub(super) struct RequestLine<'a> {
    pub(super) version: Version,
    /// The authority of an absolute target.
    pub(super) authority: Option<&'a [u8]>,
}

impl<'a> RequestLine<'a> {
    pub(super) fn parse(line: &'a [u8], limits: &HeadLimits) -> Result<Self, L7Reason> {
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
pub(super) fn is_target_of(target: &[u8]) -> bool {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    target.iter().all(|byte| is_target(*byte)) && !path.contains(&b'`')
}

/// Letters of methods that are registered (RFC 9110 section 16.1), and digits.
pub(super) fn is_of_method(byte: u8) -> bool {
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
