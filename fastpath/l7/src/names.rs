//! Which headers a message has, of those that are asked for. A map hashes a name for each
//! question, which takes longer than to look at all names that a message commonly has.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Some headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(u16);

impl Names {
    pub(crate) const CONNECTION: Names = Names(1);
    pub(crate) const KEEP_ALIVE: Names = Names(1 << 1);
    pub(crate) const PROXY_CONNECTION: Names = Names(1 << 2);
    pub(crate) const TRANSFER_ENCODING: Names = Names(1 << 3);
    pub(crate) const UPGRADE: Names = Names(1 << 4);
    pub(crate) const TE: Names = Names(1 << 5);
    pub(crate) const HTTP2_SETTINGS: Names = Names(1 << 6);
    pub(crate) const HOST: Names = Names(1 << 7);
    pub(crate) const EXPECT: Names = Names(1 << 8);
    pub(crate) const COOKIE: Names = Names(1 << 9);
    pub(crate) const CONTENT_LENGTH: Names = Names(1 << 10);
    pub(crate) const DATE: Names = Names(1 << 11);
    /// Those that say in other words where a request comes from, and how.
    pub(crate) const CLAIMS: Names = Names(1 << 12);
    /// Those that some servers take for others ([`is_lookalike`]).
    pub(crate) const LOOKALIKES: Names = Names(1 << 13);
    /// Those that are for one connection alone, or name such.
    pub(crate) const HOPS: Names = Names((1 << 7) - 1);
    const NONE: Names = Names(0);

    /// Those that a message has.
    pub(crate) fn of(headers: &HeaderMap) -> Names {
        headers.keys().fold(Names::NONE, |all, name| Names(all.0 | Names::from(name).0))
    }

    /// Whether any of these is among them.
    pub(crate) fn has(self, names: Names) -> bool {
        self.0 & names.0 != 0
    }
}

impl From<&HeaderName> for Names {
    fn from(name: &HeaderName) -> Names {
        match *name {
            header::CONNECTION => Names::CONNECTION,
            header::TRANSFER_ENCODING => Names::TRANSFER_ENCODING,
            header::UPGRADE => Names::UPGRADE,
            header::TE => Names::TE,
            header::HOST => Names::HOST,
            header::EXPECT => Names::EXPECT,
            header::COOKIE => Names::COOKIE,
            header::CONTENT_LENGTH => Names::CONTENT_LENGTH,
            header::DATE => Names::DATE,
            ref other => match other.as_str() {
                "keep-alive" => Names::KEEP_ALIVE,
                "proxy-connection" => Names::PROXY_CONNECTION,
                "http2-settings" => Names::HTTP2_SETTINGS,
                name if CLAIMS.contains(&name) => Names::CLAIMS,
                name if is_lookalike(name.as_bytes()) => Names::LOOKALIKES,
                _ => Names::NONE,
            },
        }
    }
}

/// What proxies say of where a request comes from, and how, that the gateway neither reads
/// nor says: Rack and others believe it.
pub(crate) const CLAIMS: [&str; 4] =
    ["x-scheme", "x-forwarded-scheme", "x-forwarded-ssl", "x-original-forwarded-for"];

/// Whether a name is with `_` for `-` one that only the gateway or a trusted proxy may have
/// said: CGI (RFC 3875 section 4.1.18), WSGI, Rack and PHP take the two for the same.
pub(crate) fn is_lookalike(name: &[u8]) -> bool {
    const BEGIN: [&[u8]; 2] = [b"x-forwarded-", b"ssl-client-"];
    const ARE: [&[u8]; 4] =
        [b"x-real-ip", b"x-request-id", b"x-scheme", b"x-original-forwarded-for"];
    // So do all of them begin, and few others that there are.
    let may_be = matches!(
        name,
        [b'x' | b'X', b'-' | b'_', ..] | [b's' | b'S', b's' | b'S', b'l' | b'L', ..]
    );
    may_be
        && name.contains(&b'_')
        && (ARE.iter().any(|one| is_spelled(name, one))
            || BEGIN.iter().any(|one| name.get(..one.len()).is_some_and(|of| is_spelled(of, one))))
}

/// Whether a name is another one, but for `_` in the place of `-`.
pub(crate) fn is_spelled(name: &[u8], other: &[u8]) -> bool {
    let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-');
    name.len() == other.len() && name.iter().zip(other).all(same)
}

/// The first value of a header.
pub(crate) fn first<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    headers.iter().find_map(|(one, value)| (one == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_they_are() {
        let all = [
            ("connection", Names::CONNECTION),
            ("keep-alive", Names::KEEP_ALIVE),
            ("proxy-connection", Names::PROXY_CONNECTION),
            ("transfer-encoding", Names::TRANSFER_ENCODING),
            ("upgrade", Names::UPGRADE),
            ("te", Names::TE),
            ("http2-settings", Names::HTTP2_SETTINGS),
            ("host", Names::HOST),
            ("expect", Names::EXPECT),
            ("cookie", Names::COOKIE),
            ("content-length", Names::CONTENT_LENGTH),
            ("date", Names::DATE),
            ("x-forwarded-scheme", Names::CLAIMS),
            ("x_forwarded_for", Names::LOOKALIKES),
        ];
        for (name, is) in all {
            let mut headers = HeaderMap::new();
            headers.append("accept", HeaderValue::from_static("*/*"));
            assert_eq!(Names::of(&headers), Names::NONE);
            headers.append(name, HeaderValue::from_static("1"));
            headers.append(name, HeaderValue::from_static("2"));
            headers.append("x-other", HeaderValue::from_static("3"));
            assert_eq!(Names::of(&headers), is, "{name}");
            let name = HeaderName::from_static(name);
            assert_eq!(first(&headers, &name), headers.get(&name));
            for (_, other) in all {
                assert_eq!(Names::of(&headers).has(other), is == other);
            }
        }
        assert_eq!(first(&HeaderMap::new(), &header::HOST), None);
    }

    #[test]
    fn names_with_low_lines_may_be_taken_for_others() {
        for name in [
            "x_forwarded_for",
            "X-Forwarded_Proto",
            "x_forwarded_anything",
            "x_real-ip",
            "x-request_id",
            "X_Scheme",
            "x_original_forwarded_for",
            "ssl_client_verify",
            "SSL-Client-Subject_DN",
        ] {
            assert!(is_lookalike(name.as_bytes()), "{name}");
        }
        for name in [
            "x-forwarded-for",
            "x-real-ip",
            "x_forwardedfor",
            "x_real_ip_2",
            "my_x_real_ip",
            "ssl_session",
            "ssl-client-cert",
            "trace_parent",
            "x",
            "",
        ] {
            assert!(!is_lookalike(name.as_bytes()), "{name}");
        }
    }
}
