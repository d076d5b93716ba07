//! `icmp`: the ICMP and ICMPv6 errors that Sluice sends.

use crate::read::{Fields, Reader, Reported, integer};
use crate::schema::{Default, Key, Section};

/// Limits on the ICMP and ICMPv6 errors that Sluice sends (RFC 4443, section 2.4 f).
#[derive(Clone, Debug, PartialEq)]
pub struct Icmp {
    /// Most errors a second over all workers.
    pub errors_per_second: u32,
}

pub(crate) static SECTION: Section = Section {
    path: "icmp",
    keys: &[Key {
        name: "errors_per_second",
        kind: "integer, 1 to 1000000",
        default: Default::Value("1000"),
        meaning: "most ICMP and ICMPv6 errors that Sluice sends, over all workers",
    }],
};

impl Icmp {
    /// Reads `icmp`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "icmp", &SECTION)?;
        let errors = fields.defaulted(reader, "errors_per_second", integer(1..=1_000_000))?;
        Ok(Self { errors_per_second: errors.value })
    }
}
