/// A protocol in TLS (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1`.
    Http11,
    /// `h2`.
    H2,
}

impl Alpn {
    /// Its name in a handshake.
    pub const fn name(self) -> &'static str {
        match self {
            Alpn::Http11 => "http/1.1",
            Alpn::H2 => "h2",
        }
    }

    /// The protocol of a name.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        [Alpn::Http11, Alpn::H2].into_iter().find(|alpn| alpn.name().as_bytes() == name)
    }
}
