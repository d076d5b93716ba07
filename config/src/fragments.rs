//! `fragments`: IP fragments of what is translated.

use std::time::Duration;

use crate::read::{Fields, Reader, Reported, integer, seconds};
use crate::schema::{Default, Key, Section};

/// How much is done for fragments that must be translated: only a first one has ports, the others
/// need what it tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragments {
    /// Most packets of each family, per worker, of which not every fragment has come.
    pub max: u32,
    /// Most fragments of each family, per worker, that wait for the first one of their packet; a
    /// quarter of them may be of one packet, half of them of one source.
    pub held: u32,
    /// How long a packet's fragments may take to come.
    pub timeout: Duration,
}

pub(crate) static SECTION: Section = Section {
    path: "fragments",
    keys: &[
        Key {
            name: "max",
            kind: "integer, 8 to 32768",
            default: Default::Value("1024"),
            meaning: "most packets of each family, per worker, of which not every fragment has come",
        },
        Key {
            name: "held",
            kind: "integer, 16 to 16384",
            default: Default::Value("256"),
            meaning: "most fragments of each family, per worker, that wait for a first one; a quarter of them of one packet, half of one source",
        },
        Key {
            name: "timeout_s",
            kind: "integer, 1 to 60 seconds",
            default: Default::Value("5"),
            meaning: "how long a packet's fragments may take to come",
        },
    ],
};

impl Fragments {
    /// Reads `fragments`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "fragments", &SECTION)?;
        let max = fields.defaulted(reader, "max", integer(8..=32_768));
        let held = fields.defaulted(reader, "held", integer(16..=16_384));
        let timeout = fields.defaulted(reader, "timeout_s", seconds(1..=60));
        Ok(Self { max: max?.value, held: held?.value, timeout: timeout?.value })
    }
}
