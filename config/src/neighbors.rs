//! `neighbors`: ARP and ND.

use std::time::Duration;

use crate::read::{Fields, Reader, Reported, integer, seconds};
use crate::schema::{Default, Key, Section};

/// The neighbor table (ARP, RFC 826, and ND, RFC 4861).
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbors {
    /// Most neighbors over all ports, per worker: each has a table of its own.
    pub max: u32,
    /// How long a confirmed neighbor is used before it is probed again.
    pub reachable: Duration,
    /// Most packets that wait for an answer, over all neighbors, per worker;
    /// a quarter of them may wait for one.
    pub queue_len: u32,
    /// Requests without an answer before a neighbor counts as unreachable.
    pub retries: u32,
}

pub(crate) static SECTION: Section = Section {
    path: "neighbors",
    keys: &[
        Key {
            name: "max",
            kind: "integer, 16 to 1048576",
            default: Default::Value("4096"),
            meaning: "most neighbors over all ports, per worker: each has a table of its own",
        },
        Key {
            name: "reachable_s",
            kind: "integer, 1 to 86400 seconds",
            default: Default::Value("30"),
            meaning: "how long a confirmed neighbor is used before it is probed again",
        },
        Key {
            name: "queue_len",
            kind: "integer, 1 to 4096",
            default: Default::Value("256"),
            meaning: "most packets that wait for an answer, per worker; a quarter of them for one neighbor",
        },
        Key {
            name: "retries",
            kind: "integer, 1 to 10",
            default: Default::Value("3"),
            meaning: "requests without an answer before a neighbor counts as unreachable",
        },
    ],
};

impl Neighbors {
    /// Reads `neighbors`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "neighbors", &SECTION)?;
        let max = fields.defaulted(reader, "max", integer(16..=1_048_576));
        let reachable = fields.defaulted(reader, "reachable_s", seconds(1..=86400));
        let queue_len = fields.defaulted(reader, "queue_len", integer(1..=4096));
        let retries = fields.defaulted(reader, "retries", integer(1..=10));
        Ok(Self {
            max: max?.value,
            reachable: reachable?.value,
            queue_len: queue_len?.value,
            retries: retries?.value,
        })
    }
}
