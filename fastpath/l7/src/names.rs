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
                _ => Names::NONE,
            },
        }
    }
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
}
