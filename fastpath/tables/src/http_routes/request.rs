/// What of a request routes are told by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// The host that it is for, with its port if it has one.
    pub host: &'a str,
    /// Its path, as [`normal`](super::Path::normal) leaves it.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: &'a str,
    /// Its headers: names in lower case, and values.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What a match asks of a request beside its host and path; everything has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Its method.
    pub method: Option<Box<str>>,
    /// Headers, by their names in lower case, and the value that each has to have.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Query parameters, and the value that the first one of the name has to have.
    pub query: Vec<(Box<str>, Box<str>)>,
}

impl Conditions {
    /// The greater goes first.
    pub(super) fn weight(&self) -> (bool, usize, usize) {
        (self.method.is_some(), self.headers.len(), self.query.len())
    }

    /// True for a request of which everything holds.
    pub fn hold(&self, request: &Request<'_>) -> bool {
        let has = |(name, value): &(Box<str>, Box<str>)| {
            // Several headers of a name are one, of a list (RFC 9110 section 5.3).
            let mut values = request.headers.iter().filter(|header| header.0 == &**name);
            match (values.next(), values.next()) {
                (Some(only), None) => only.1 == &**value,
                (Some(_), Some(_)) => {
                    let all = request.headers.iter().filter(|header| header.0 == &**name);
                    all.map(|header| header.1).collect::<Vec<_>>().join(",") == **value
                }
                (None, _) => false,
            }
        };
        let asks = |(name, value): &(Box<str>, Box<str>)| {
            let pairs = request.query.split('&');
            let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs.find(|pair| pair.0 == &**name).is_some_and(|pair| pair.1 == &**value)
        };
        self.method.as_deref().is_none_or(|method| method == request.method)
            && self.headers.iter().all(has)
            && self.query.iter().all(asks)
    }
}
