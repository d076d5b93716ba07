use std::borrow::Cow;

/// The hosts of a route. Names are in lower case and without a point at their end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// All.
    Any,
    /// This one.
    Exact(Box<str>),
    /// Those with one label before this, which begins with a point (Kubernetes, Ingress,
    /// "Hostname wildcards": `*.foo.com` is not `baz.bar.foo.com`).
    OneLabel(Box<str>),
    /// Those with any labels before this, which begins with a point (Gateway API,
    /// `Hostname`).
    Labels(Box<str>),
}

/// A host as routes have it: without its port and its last point, in lower case.
pub(super) fn normal(host: &str) -> Cow<'_, str> {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']').map_or(host.len(), |end| end + 2),
        None => host.find(':').unwrap_or(host.len()),
    };
    let host = &host[..end.min(host.len())];
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

/// What may follow the asterisk of a wildcard that is for a host, the longest first, and
/// whether one label comes before it.
pub(super) fn suffixes(host: &str) -> impl Iterator<Item = (&str, bool)> {
    let points = host.bytes().enumerate().filter(|(at, byte)| *byte == b'.' && *at > 0);
    points.enumerate().map(|(number, (at, _))| (&host[at..], number == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_however_it_is_written() {
        for (written, expected) in [
            ("shop.example", "shop.example"),
            ("Shop.EXAMPLE:8080", "shop.example"),
            ("shop.example.", "shop.example"),
            ("shop.example.:80", "shop.example"),
            ("[2001:DB8::1]:80", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("[2001:db8::1", "[2001:db8::1"),
            ("", ""),
            (".", ""),
        ] {
            assert_eq!(normal(written), expected, "{written}");
        }
    }

    #[test]
    fn wildcards_for_a_host_are_looked_for_from_the_longest_on() {
        let of = |host| suffixes(host).collect::<Vec<_>>();
        assert_eq!(of("a.b.c"), [(".b.c", true), (".c", false)]);
        assert_eq!(of("a"), []);
        assert_eq!(of(".a.b"), [(".b", true)]);
    }
}
