//! `l7.access_log`: one line a request.

use crate::flow_log::{BYTES_MAX, FlowLogTarget};
use crate::read::{Field, Fields, Reader, Reported, choice, integer};
use crate::schema::{Default, Key, Section};

/// One line a request.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where the lines go.
    pub to: FlowLogTarget,
    /// How they look.
    pub format: AccessLogFormat,
    /// Most bytes of the file: one that is full is kept as `PATH.1` until the next is.
    pub bytes_max: u64,
}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// One JSON object.
    Json,
    /// The combined format of Apache's and nginx's logs.
    Combined,
}

pub(crate) static SECTION: Section = Section {
    path: "l7.access_log",
    keys: &[
        Key {
            name: "path",
            kind: "path, or `stdout`",
            default: Default::Required,
            meaning: "the file, which SIGHUP opens again; a relative path is taken from this \
                      file's folder",
        },
        Key {
            name: "format",
            kind: "`json` or `combined`",
            default: Default::Value("json"),
            meaning: "one JSON object a line, or lines as Apache and nginx write them",
        },
        Key {
            name: "bytes_max",
            kind: "integer, 1048576 to 1099511627776 bytes",
            default: Default::Value("1073741824"),
            meaning: "most bytes of the file; one that is full is kept as `PATH.1`, in place of \
                      the last such, and a new one begun",
        },
    ],
};

impl AccessLog {
    /// Reads `l7.access_log`.
    pub(super) fn read(reader: &mut Reader<'_>, field: Field<'_>) -> Result<Self, Reported> {
        let fields = Fields::open(reader, field, &SECTION)?;
        let to = fields.required(reader, "path", FlowLogTarget::read);
        let formats =
            choice(&[("json", AccessLogFormat::Json), ("combined", AccessLogFormat::Combined)]);
        let format = fields.defaulted(reader, "format", formats);
        let bytes_max = fields.defaulted(reader, "bytes_max", integer(BYTES_MAX));
        Ok(Self { to: to?.value, format: format?.value, bytes_max: bytes_max?.value })
    }
}
