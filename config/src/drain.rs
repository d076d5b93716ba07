//! `drain`: what happens between the order to stop and the end.

use std::time::Duration;

use crate::read::{Fields, Reader, Reported, seconds};
use crate::schema::{Default, Key, Section};

/// How Sluice takes leave.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain {
    /// How long packets are still forwarded after the order to stop, while `/readyz` says 503.
    pub wait: Duration,
}

pub(crate) static SECTION: Section = Section {
    path: "drain",
    keys: &[Key {
        name: "wait_s",
        kind: "integer, 0 to 3600 seconds",
        default: Default::Value("1"),
        meaning: "how long SIGTERM leaves traffic going on while `/readyz` says 503: longer than \
                  whoever sends traffic here takes to notice",
    }],
};

impl Drain {
    /// Reads `drain`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "drain", &SECTION)?;
        let wait = fields.defaulted(reader, "wait_s", seconds(0..=3600))?;
        Ok(Self { wait: wait.value })
    }
}
