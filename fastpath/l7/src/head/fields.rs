use super::{FRAMING, Framing, ROUTING, RequestLine, Version};
use crate::L7Reason;
use crate::chars::{is_host, is_token};
use crate::names::is_spelled;

/// What headers say that is of consequence for where a request ends and goes.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) hosts: usize,
    pub(super) host: &'a [u8],
    length: Option<u64>,
    is_chunked: bool,
    pub(super) expects_continue: bool,
    pub(super) has_upgrade: bool,
    pub(super) closes: bool,
    pub(super) keeps_alive: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), L7Reason> {
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

    pub(super) fn framing(&self, version: Version) -> Result<Framing, L7Reason> {
        if !self.is_chunked {
            return Ok(Framing::Length(self.length.unwrap_or(0)));
        }
        if self.length.is_some() || version == Version::Http10 {
            return Err(L7Reason::TwoLengths);
        }
        Ok(Framing::Chunked)
    }

    pub(super) fn check_host(&self, line: &RequestLine<'_>) -> Result<(), L7Reason> {
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
    name.contains(&b'_') && FRAMING.iter().any(|one| is_spelled(name, one))
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
