use http::{HeaderName, HeaderValue, Method, Uri};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use thiserror::Error;

/// The request that is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestAsked {
    /// What is asked for.
    pub url: Url,
    /// How.
    pub method: Verb,
    /// Headers beside Host.
    pub headers: Vec<Header>,
    /// Who sends it; `None`: anybody who is no trusted proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// The gateway's address that it comes to; `None`: one that listens at the URL's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<IpAddr>,
}

impl RequestAsked {
    /// The host that it says it is for, with its port if it has one: that of the URL, unless
    /// there is a header.
    pub fn host(&self) -> String {
        let of_header = self.headers.iter().find(|header| header.name == "host");
        of_header.map_or_else(|| self.url.authority(), |header| header.value.clone())
    }
}

/// A URL of http or https.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Url {
    /// It is of https.
    pub is_encrypted: bool,
    /// The host; an IPv6 address is in brackets.
    pub host: String,
    /// The port, if it is another than the scheme's own.
    pub port: Option<u16>,
    /// The path, with a query perhaps.
    pub target: String,
}

/// A text that says no URL.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}; expected such as 'https://shop.example/cart?id=7' or 'http://[2001:db8::1]:8080/'")]
pub struct BadUrl(String);

impl Url {
    /// The port that is meant.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(own_port(self.is_encrypted))
    }

    /// The address that the host is, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        bare.unwrap_or(&self.host).parse().ok()
    }

    /// Host and port as Host has them: the scheme's own port is left out.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

/// The port of a scheme (RFC 9110 section 4.2).
fn own_port(is_encrypted: bool) -> u16 {
    if is_encrypted { 443 } else { 80 }
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let bad = |what: &str| BadUrl(format!("{text:?} {what}"));
        let uri: Uri = text.parse().map_err(|error| bad(&format!("is no URL: {error}")))?;
        let is_encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err(bad("is of another scheme than http and https")),
            None => return Err(bad("has no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| bad("has no host"))?;
        let rest = authority.as_str().strip_prefix(authority.host());
        let port = match rest {
            // With a user before it, the host is not at the beginning.
            None => return Err(bad("names a user, which no request does")),
            Some("" | ":") => None,
            Some(rest) => {
                let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
                Some(port.filter(|port| *port != 0).ok_or_else(|| bad("has a port that is none"))?)
            }
        };
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(bad("has no host, or a user before it"));
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let port = port.filter(|port| *port != own_port(is_encrypted));
        Ok(Url { is_encrypted, host: authority.host().to_ascii_lowercase(), port, target })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

impl TryFrom<String> for Url {
    type Error = BadUrl;

    fn try_from(text: String) -> Result<Self, BadUrl> {
        text.parse()
    }
}

impl From<Url> for String {
    fn from(url: Url) -> String {
        url.to_string()
    }
}

/// A method, such as `GET`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Verb(pub String);

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let method = Method::from_bytes(text.as_bytes());
        method.map(|_| Verb(text.to_owned())).map_err(|_| {
            format!("{text:?} is no method; expected such as GET or POST, in capital letters")
        })
    }
}

impl TryFrom<String> for Verb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Verb> for String {
    fn from(verb: Verb) -> String {
        verb.0
    }
}

/// A header of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Header {
    /// Its name, in lower case.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("{text:?} {what}; expected 'name: value'");
        let (name, value) = text.split_once(':').ok_or_else(|| bad("has no colon"))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes());
        let name = name.map_err(|_| bad("has a name that no header has"))?;
        let value = HeaderValue::from_str(value.trim());
        let value = value.ok().and_then(|value| value.to_str().ok().map(str::to_owned));
        let value = value.ok_or_else(|| bad("has a value that no header has"))?;
        Ok(Header { name: name.as_str().to_owned(), value })
    }
}

impl TryFrom<String> for Header {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Header> for String {
    fn from(header: Header) -> String {
        format!("{}: {}", header.name, header.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_written() {
        for (text, written, port, authority) in [
            ("http://shop.example", "http://shop.example/", 80, "shop.example"),
            ("https://Shop.Example:443/a?b#c", "https://shop.example/a?b", 443, "shop.example"),
            ("http://shop.example:/", "http://shop.example/", 80, "shop.example"),
            ("http://x:8080/a", "http://x:8080/a", 8080, "x:8080"),
            ("https://x:80?q=1", "https://x:80/?q=1", 80, "x:80"),
            ("http://[2001:db8::1]:81/", "http://[2001:db8::1]:81/", 81, "[2001:db8::1]:81"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.to_string(), written, "{text}");
            assert_eq!((url.port(), url.authority()), (port, authority.to_owned()), "{text}");
            assert_eq!(written.parse(), Ok(url), "{text}");
        }
        let of = |text: &str| text.parse::<Url>().unwrap().address().map(|addr| addr.to_string());
        assert_eq!(of("http://203.0.113.80/"), Some("203.0.113.80".to_owned()));
        assert_eq!(of("http://[2001:db8::1]:81/"), Some("2001:db8::1".to_owned()));
        assert_eq!(of("http://shop.example/"), None);
    }

    #[test]
    fn what_is_none_is_refused_with_an_example() {
        for (text, why) in [
            ("", "is no URL"),
            ("ftp://shop.example/", "is of another scheme"),
            ("shop.example", "has no scheme"),
            ("/a", "has no scheme"),
            ("http://shop.example/a b", "is no URL"),
            ("http://shop.example:70000/", "has a port that is none"),
            ("http://shop.example:0/", "has a port that is none"),
            ("http://user@shop.example/", "a user"),
            ("http:///a", "is no URL"),
        ] {
            let error = text.parse::<Url>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.contains("expected such as 'https://shop.example/cart?id=7'"), "{error}");
        }
        for (text, why) in [
            ("x", "has no colon"),
            ("a b: c", "has a name that no header has"),
            ("a: b\r\nc: d", "has a value that no header has"),
            (": c", "has a name that no header has"),
        ] {
            let error = text.parse::<Header>().unwrap_err();
            assert!(error.contains(why) && error.ends_with("expected 'name: value'"), "{error}");
        }
        let header: Header = "X-Canary:  always ".parse().unwrap();
        assert_eq!((&*header.name, &*header.value), ("x-canary", "always"));
        assert!("G E T".parse::<Verb>().is_err());
        assert_eq!("PATCH".parse(), Ok(Verb("PATCH".to_owned())));
    }
}
