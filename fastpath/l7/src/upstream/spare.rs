use super::sent::SentBody;
use super::shared::Shared;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use std::rc::Rc;

/// Bytes of a header, of most.
const HEADER_BYTES: usize = 48;

/// A request to be sent once more, if it has to be: few have. So its headers are kept as
/// text, which takes less than a map does.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    headers: Text,
}

/// Headers: of each the name, a colon (a space, if its value is to be kept out of tables),
/// the value and a line break. No name has the former, and no value the latter.
struct Text(Vec<u8>);

impl From<&HeaderMap> for Text {
    fn from(headers: &HeaderMap) -> Self {
        let mut text = Vec::with_capacity(headers.len() * HEADER_BYTES);
        for (name, value) in headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(if value.is_sensitive() { b' ' } else { b':' });
            text.extend_from_slice(value.as_bytes());
            text.push(b'\n');
        }
        Text(text)
    }
}

impl From<&Text> for HeaderMap {
    fn from(Text(text): &Text) -> Self {
        let mut headers = HeaderMap::new();
        for line in text.split(|byte| *byte == b'\n') {
            let mark = line.iter().position(|byte| matches!(byte, b':' | b' '));
            let Some(mark) = mark else { continue };
            let name = HeaderName::from_bytes(&line[..mark]);
            // They were a name and a value before.
            if let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_bytes(&line[mark + 1..])) {
                value.set_sensitive(line[mark] == b' ');
                headers.append(name, value);
            }
        }
        headers
    }
}

impl Spare {
    /// The same request, if it may be sent twice: it has no body, and to do it twice is to do
    /// it once (RFC 9110 section 9.2.2), or its endpoint says whether it has seen it.
    pub(super) fn of<B>(request: &Request<SentBody<B>>, is_http2: bool) -> Option<Self> {
        if request.body().has_body() || !(is_http2 || request.method().is_idempotent()) {
            return None;
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let headers = request.headers().into();
        Some(Spare { method, uri, version: request.version(), headers })
    }

    /// To do it twice is to do it once.
    pub(super) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// The request, to be sent.
    pub(super) fn again<B>(self, shared: &Rc<Shared>) -> Request<SentBody<B>> {
        let mut request = Request::new(SentBody::empty(shared.clone()));
        *request.headers_mut() = (&self.headers).into();
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_the_same() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", &b"shop.example:80"[..]),
            ("x-any", b"a: b"),
            ("x-any", b""),
            ("cookie", b"a=\xff\t:"),
            ("x-any", b"c"),
            ("authorization", b"secret"),
        ] {
            let mut value = HeaderValue::from_bytes(value).unwrap();
            value.set_sensitive(name == "authorization");
            headers.append(name, value);
        }
        let same = HeaderMap::from(&Text::from(&headers));
        assert_eq!(same, headers);
        let sensitive = same.iter().filter(|(_, value)| value.is_sensitive());
        assert_eq!(sensitive.map(|(name, _)| name).collect::<Vec<_>>(), ["authorization"]);
    }
}
