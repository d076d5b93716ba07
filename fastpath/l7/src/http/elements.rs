//! What Forwarded says (RFC 7239), element by element.

use arrayvec::ArrayVec;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a value that are looked at: no address with a port has as many.
const VALUE_MAX: usize = 64;

/// What a proxy says of the connection by which a request came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) from: Node,
    /// Whether it was encrypted, if that is said.
    pub(super) is_encrypted: Option<bool>,
}

/// Whose connection it was (RFC 7239 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Nothing is said of it.
    Unsaid,
    /// That of somebody whose address is not known, or is not to be.
    Hidden,
    Addr(IpAddr),
}

impl Node {
    /// The address, if it is told.
    pub(super) fn addr(self) -> Option<IpAddr> {
        match self {
            Node::Addr(addr) => Some(addr),
            Node::Unsaid | Node::Hidden => None,
        }
    }

    fn of(text: &[u8]) -> Node {
        let Ok(text) = std::str::from_utf8(text) else { return Node::Hidden };
        let (addr, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            Some((addr, port)) => (addr.parse::<Ipv6Addr>().map(IpAddr::V6), port),
            None => {
                let (addr, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (addr.parse::<Ipv4Addr>().map(IpAddr::V4), port)
            }
        };
        match addr {
            Ok(addr) if is_port(port) => Node::Addr(addr.to_canonical()),
            _ => Node::Hidden,
        }
    }
}

/// Nothing, or a port behind a colon: digits, or a name that hides them.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    let hidden = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(hidden),
        None => matches!(port.len(), 1..=5) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// It is not as section 4 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the elements of one header, from the first one on.
///
/// # Errors
/// It is malformed: what has been read of it is not to be believed either.
pub(super) fn read(value: &[u8], each: &mut impl FnMut(Element)) -> Result<(), Malformed> {
    let mut rest = Rest(value);
    loop {
        rest.skip_spaces();
        if let Some(element) = rest.element()? {
            each(element);
        }
        rest.skip_spaces();
        match rest.next() {
            None => return Ok(()),
            Some(b',') => {}
            Some(_) => return Err(Malformed),
        }
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.0.first() == Some(&byte);
        if is_next {
            self.next();
        }
        is_next
    }

    fn skip_spaces(&mut self) {
        while self.take(b' ') || self.take(b'\t') {}
    }

    /// Pairs with semicolons between them; `None`: there are none, which a list may have.
    fn element(&mut self) -> Result<Option<Element>, Malformed> {
        let mut element = Element { from: Node::Unsaid, is_encrypted: None };
        // No parameter is there twice.
        let mut has = [false; 4];
        let mut is_empty = true;
        loop {
            let name = self.token();
            if !name.is_empty() {
                is_empty = false;
                if !self.take(b'=') {
                    return Err(Malformed);
                }
                let value = self.value()?;
                let names = [&b"for"[..], b"proto", b"by", b"host"];
                if let Some(at) = names.iter().position(|one| name.eq_ignore_ascii_case(one)) {
                    if std::mem::replace(&mut has[at], true) {
                        return Err(Malformed);
                    }
                    match at {
                        0 => element.from = Node::of(&value),
                        1 => element.is_encrypted = Some(value.eq_ignore_ascii_case(b"https")),
                        _ => {}
                    }
                }
            }
            if !self.take(b';') {
                return Ok((!is_empty).then_some(element));
            }
        }
    }

    fn token(&mut self) -> ArrayVec<u8, VALUE_MAX> {
        let len = self.0.iter().take_while(|byte| crate::chars::is_token(**byte)).count();
        let (token, rest) = self.0.split_at(len);
        self.0 = rest;
        token.iter().copied().take(VALUE_MAX).collect()
    }

    /// A token or a quoted string (RFC 9110 section 5.6), as much of it as matters.
    fn value(&mut self) -> Result<ArrayVec<u8, VALUE_MAX>, Malformed> {
        if !self.take(b'"') {
            let token = self.token();
            return if token.is_empty() { Err(Malformed) } else { Ok(token) };
        }
        let mut value = ArrayVec::new();
        loop {
            let byte = match self.next().ok_or(Malformed)? {
                b'"' => return Ok(value),
                b'\\' => self.next().ok_or(Malformed)?,
                byte => byte,
            };
            // The rest of a longer one is nothing that could be understood.
            let _ = value.try_push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(value: &str) -> Result<Vec<Element>, Malformed> {
        let mut all = Vec::new();
        read(value.as_bytes(), &mut |element| all.push(element)).map(|()| all)
    }

    #[test]
    fn nodes_are_addresses_or_hide_them() {
        for (node, addr) in [
            ("192.0.2.43", Some("192.0.2.43")),
            ("\"192.0.2.43\"", Some("192.0.2.43")),
            ("\"192.0.2.43:47011\"", Some("192.0.2.43")),
            ("\"192.0.2.43:_port\"", Some("192.0.2.43")),
            (r#""1\92.0.2.43""#, Some("192.0.2.43")),
            ("\"[2001:db8:cafe::17]\"", Some("2001:db8:cafe::17")),
            ("\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::17")),
            ("\"[::ffff:192.0.2.43]\"", Some("192.0.2.43")),
            ("unknown", None),
            ("_hidden", None),
            ("\"_hidden:80\"", None),
            ("\"\"", None),
            ("192.0.2.256", None),
            ("\"192.0.2.43:\"", None),
            ("\"192.0.2.43:123456\"", None),
            ("\"192.0.2.43:_\"", None),
            ("\"2001:db8:cafe::17\"", None),
            ("\"[2001:db8:cafe::17]4711\"", None),
            ("\"[192.0.2.43]\"", None),
        ] {
            let expected = addr.map_or(Node::Hidden, |addr| Node::Addr(addr.parse().unwrap()));
            let read = elements(&format!("for={node}")).unwrap();
            assert_eq!(read, [Element { from: expected, is_encrypted: None }], "{node}");
        }
        let long = format!("for=\"192.0.2.43{}\"", "x".repeat(1000));
        assert_eq!(elements(&long).unwrap()[0].from, Node::Hidden);
    }

    #[test]
    fn elements_are_pairs_in_a_list() {
        let addr = |text: &str| Node::Addr(text.parse().unwrap());
        let one = |from, is_encrypted| Element { from, is_encrypted };
        for (value, expected) in [
            ("", vec![]),
            (" , ,", vec![]),
            ("proto=https", vec![one(Node::Unsaid, Some(true))]),
            (
                "For=192.0.2.1;PROTO=HTTPS;by=203.0.113.43;host=\"a,b;c\" ,\t,for=unknown;;proto=http",
                vec![one(addr("192.0.2.1"), Some(true)), one(Node::Hidden, Some(false))],
            ),
            ("for=192.0.2.1;more=\"\\\"\"", vec![one(addr("192.0.2.1"), None)]),
        ] {
            assert_eq!(elements(value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_is_malformed_is_said_to_be() {
        for value in [
            "for",
            "for=",
            "=192.0.2.1",
            "for =192.0.2.1",
            "for=192.0.2.1 proto=https",
            "for=192.0.2.1; proto=https",
            "for=192.0.2.1:80",
            "for=[2001:db8::1]",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\\",
            "for=\"192.0.2.1\"x",
            "for=192.0.2.1;for=192.0.2.2",
            "host=a;Host=b",
            "192.0.2.1",
            "for=192.0.2.1, /",
        ] {
            assert_eq!(elements(value), Err(Malformed), "{value}");
        }
    }
}
