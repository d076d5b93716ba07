//! TLS 1.2 and 1.3, with clients and with backends.
//!
//! A handshake takes a hundred microseconds and more, which a polling thread cannot
//! spare: everything in it that costs is done by helper threads. The worker reads and
//! writes the connection; bytes go to a helper and come back, a turn of the handshake at
//! a time. Once it is over, the worker encrypts and decrypts records itself
//! ([`TlsStream`]).
//!
//! All is bounded: handshakes under way, those that wait for a helper, and those of one
//! source; the ClientHello, and all that the other end sends before it is known.
//!
//! Sessions go on from before by tickets alone, which no server has to remember. A ticket
//! is good for 12 hours at most, at any listener that would have chosen the same
//! certificate for the same name and asks the same of clients: so it survives a reload
//! that does not touch these, and is worth nothing elsewhere. A client's certificate is
//! looked at in full handshakes: one that expires is taken until its tickets do.

mod bounded;
mod client;
mod counters;
mod keys;
mod pool;
mod refusal;
mod server;
mod sources;
mod stream;
mod turn;

pub use client::{Connector, Verify};
pub use counters::{SideCounters, TlsCounters};
pub use refusal::{Refused, TlsRefusal};
pub use rustls::{CipherSuite, NamedGroup, ProtocolVersion};
pub use server::{ClientCertificate, Handshakes, Negotiated};
pub use sources::SourceLimits;
pub use stream::TlsStream;

/// How handshakes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Helper threads.
    pub helpers: usize,
    /// Handshakes that wait for their first turn with a helper. More are shed.
    pub queue_max: usize,
    /// Handshakes under way, with clients and backends together. More are shed.
    pub under_way_max: usize,
    /// What one source of handshakes may do; `None`: anything.
    pub per_source: Option<SourceLimits>,
    /// How keys are agreed on.
    pub key_exchange: KeyExchange,
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig {
            helpers: 1,
            queue_max: 1024,
            under_way_max: 16 << 10,
            per_source: Some(SourceLimits::default()),
            key_exchange: KeyExchange::default(),
        }
    }
}

/// How keys are agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyExchange {
    /// With X25519MLKEM768 where the other end has it, else with elliptic curves.
    #[default]
    Hybrid,
    /// With elliptic curves.
    Classical,
}
