//! `l7.limits`: how much of everything there may be.

use crate::read::{Fields, Reader, Reported, integer};
use crate::schema::{Default, Key, Section};

/// How much of everything there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L7Limits {
    /// Most connections of clients at a time, over all workers.
    pub connections: u32,
    /// Most requests of a connection; after that many it is closed.
    pub requests_per_connection: u32,
    /// Most bytes of the head of a request.
    pub header_bytes: u32,
    /// Most headers of a request.
    pub headers: u32,
}

pub(crate) static SECTION: Section = Section {
    path: "l7.limits",
    keys: &[
        Key {
            name: "connections",
            kind: "integer, 16 to 1048576",
            default: Default::Value("65536"),
            meaning: "most connections of clients at a time, over all workers",
        },
        Key {
            name: "requests_per_connection",
            kind: "integer, 1 to 1000000000",
            default: Default::Value("1000"),
            meaning: "most requests of a connection; after that many it is closed",
        },
        Key {
            name: "header_bytes",
            kind: "integer, 1024 to 262144 bytes",
            default: Default::Value("32768"),
            meaning: "most bytes of the head of a request, its first line included",
        },
        Key {
            name: "headers",
            kind: "integer, 16 to 128",
            default: Default::Value("100"),
            meaning: "most headers of a request",
        },
    ],
};

impl L7Limits {
    /// Reads `l7.limits`.
    pub(super) fn read(reader: &mut Reader<'_>, l7: &Fields<'_>) -> Result<Self, Reported> {
        let fields = l7.section(reader, "limits", &SECTION)?;
        let connections = fields.defaulted(reader, "connections", integer(16..=1_048_576));
        let requests =
            fields.defaulted(reader, "requests_per_connection", integer(1..=1_000_000_000));
        let header_bytes = fields.defaulted(reader, "header_bytes", integer(1024..=262_144));
        let headers = fields.defaulted(reader, "headers", integer(16..=128));
        Ok(Self {
            connections: connections?.value,
            requests_per_connection: requests?.value,
            header_bytes: header_bytes?.value,
            headers: headers?.value,
        })
    }
}
