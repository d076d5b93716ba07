use rustls::Error;

/// Defines [`TlsRefusal`] from one list: variant, label, help.
macro_rules! tls_refusals {
    ($($(#[doc = $help:literal])+ $variant:ident = $label:literal,)+) => {
        /// Why a handshake came to nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum TlsRefusal { $($(#[doc = $help])+ $variant,)+ }

        impl TlsRefusal {
            /// Every refusal.
            pub const ALL: &[TlsRefusal] = &[$(TlsRefusal::$variant,)+];

            /// Its name in metrics and output.
            pub const fn label(self) -> &'static str {
                match self { $(TlsRefusal::$variant => $label,)+ }
            }

            /// One sentence that says what happened.
            pub fn help(self) -> &'static str {
                match self { $(TlsRefusal::$variant => concat!($($help),+).trim_start(),)+ }
            }
        }
    };
}

tls_refusals! {
    /// The client's address has begun more handshakes than it may, or has as many under
    /// way as it may.
    SourceLimit = "source_limit",
    /// As many handshakes as may be are under way, or wait for a helper.
    Shed = "shed",
    /// The helpers are stopped.
    Stopping = "stopping",
    /// What came is no TLS: plain HTTP, say.
    NotTls = "not_tls",
    /// A ClientHello that is longer than any client's is.
    HelloTooLong = "hello_too_long",
    /// There is no certificate for the name that the client asks for.
    UnknownName = "unknown_name",
    /// The other end has no version, cipher suite or key exchange in common with us.
    Incompatible = "incompatible",
    /// No application protocol in common: neither h2 nor HTTP/1.1.
    NoAlpn = "no_alpn",
    /// The other end's certificate is missing, or is not one to trust.
    Certificate = "certificate",
    /// The other end sent what the protocol does not allow.
    Protocol = "protocol",
    /// The other end gave up with an alert: it does not trust our certificate, say.
    PeerAlert = "peer_alert",
    /// The connection ended before the handshake did.
    Closed = "closed",
    /// The gateway's own fault: a certificate or key that cannot be used.
    Internal = "internal",
}

impl From<&Error> for TlsRefusal {
    fn from(error: &Error) -> Self {
        match error {
            Error::PeerIncompatible(_) => TlsRefusal::Incompatible,
            Error::NoApplicationProtocol => TlsRefusal::NoAlpn,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
                TlsRefusal::Certificate
            }
            Error::AlertReceived(_) => TlsRefusal::PeerAlert,
            Error::FailedToGetCurrentTime
            | Error::FailedToGetRandomBytes
            | Error::EncryptError
            | Error::InconsistentKeys(_)
            | Error::General(_)
            | Error::Other(_) => TlsRefusal::Internal,
            _ => TlsRefusal::Protocol,
        }
    }
}

/// A handshake that came to nothing, and the connection that it was on: what tells the
/// other end, if anything, has been written to it.
#[derive(Debug)]
pub struct Refused<S> {
    /// Why.
    pub refusal: TlsRefusal,
    /// The connection. To be dropped, but for [`TlsRefusal::NotTls`]: then it can be told
    /// in its own words.
    pub stream: S,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_refusal_has_a_label_of_its_own_and_a_sentence() {
        let labels: BTreeSet<_> = TlsRefusal::ALL.iter().map(|one| one.label()).collect();
        assert_eq!(labels.len(), TlsRefusal::ALL.len());
        assert!(TlsRefusal::ALL.iter().all(|one| one.help().ends_with('.')));
    }
}
