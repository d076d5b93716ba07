//! `observe`: what is told of single packets and flows while Sluice runs.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::read::{Field, Fields, Reader, Reported, integer, path};
use crate::schema::{Default, Key, Section};

/// What is told of single packets and flows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observe {
    /// The flow log, if there is one.
    pub flow_log: Option<FlowLog>,
}

/// Begins and ends of flows, drops and audits, as JSON lines.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowLog {
    /// Where the lines go.
    pub to: FlowLogTarget,
    /// One flow in so many is told of, its begin and its end alike; at least 1.
    pub sample: u32,
    /// Most events a second over all workers, of flows, of dropped packets and of audited
    /// ones each.
    pub per_second: u32,
    /// Most bytes of the file: one that is full is kept as `PATH.1` until the next is.
    pub bytes_max: u64,
}

/// Where the lines of a log go.
#[derive(Clone, Debug, PartialEq)]
pub enum FlowLogTarget {
    /// Standard output.
    Stdout,
    /// A file that is appended to; a relative path in the configuration is taken from its
    /// folder. SIGHUP opens it again.
    File(PathBuf),
}

/// How large a file may be.
pub(crate) const BYTES_MAX: RangeInclusive<u64> = 1 << 20..=1 << 40;

pub(crate) static SECTION: Section = Section {
    path: "observe",
    keys: &[Key {
        name: "flow_log",
        kind: "section",
        default: Default::Words("none"),
        meaning: "begins and ends of flows, drops and audits, one JSON object a line",
    }],
};

pub(crate) static FLOW_LOG: Section = Section {
    path: "observe.flow_log",
    keys: &[
        Key {
            name: "path",
            kind: "path, or `stdout`",
            default: Default::Required,
            meaning: "the file, which SIGHUP opens again; a relative path is taken from this \
                      file's folder",
        },
        Key {
            name: "sample",
            kind: "integer, 1 to 1000000",
            default: Default::Value("1"),
            meaning: "one flow in so many is told of, its begin and its end alike",
        },
        Key {
            name: "per_second",
            kind: "integer, 1 to 100000",
            default: Default::Value("1000"),
            meaning: "most events a second over all workers, of flows, of dropped packets and \
                      of audited ones each; what is left out is counted",
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

impl Observe {
    /// Reads `observe`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "observe", &SECTION)?;
        let flow_log = fields.get("flow_log").map(|field| FlowLog::read(reader, field));
        Ok(Self { flow_log: flow_log.transpose()? })
    }
}

impl FlowLogTarget {
    /// Reads a path, or `stdout`.
    pub(crate) fn read(reader: &mut Reader<'_>, field: Field<'_>) -> Result<Self, Reported> {
        let stdout = reader.resolve("stdout");
        Ok(match path(reader, field)? {
            path if path == stdout => FlowLogTarget::Stdout,
            path => FlowLogTarget::File(path),
        })
    }
}

impl FlowLog {
    fn read(reader: &mut Reader<'_>, field: Field<'_>) -> Result<Self, Reported> {
        let fields = Fields::open(reader, field, &FLOW_LOG)?;
        let to = fields.required(reader, "path", FlowLogTarget::read);
        let sample = fields.defaulted(reader, "sample", integer(1..=1_000_000));
        let per_second = fields.defaulted(reader, "per_second", integer(1..=100_000));
        let bytes_max = fields.defaulted(reader, "bytes_max", integer(BYTES_MAX));
        Ok(Self {
            to: to?.value,
            sample: sample?.value,
            per_second: per_second?.value,
            bytes_max: bytes_max?.value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(text: &str) -> Observe {
        let text = format!(
            "ports: [{{name: a, device: eth1, addresses: [192.0.2.1/24]}}]
snat: {{addresses: [10.244.255.0/28]}}
source: {{manifests: {{path: x}}}}
{text}"
        );
        let loaded = crate::parse("etc/test.yaml", &text);
        loaded.unwrap_or_else(|errors| panic!("{errors}")).config.observe
    }

    #[test]
    fn there_is_no_flow_log_unless_it_is_asked_for() {
        assert_eq!(observe(""), Observe::default());
        assert_eq!(observe("observe: {flow_log: null}"), Observe::default());
    }

    #[test]
    fn a_flow_log_goes_to_a_file_or_to_standard_output() {
        let log = observe("observe: {flow_log: {path: flows.log, sample: 100}}").flow_log.unwrap();
        let to = FlowLogTarget::File("etc/flows.log".into());
        let bytes_max = 1 << 30;
        assert_eq!(log, FlowLog { to, sample: 100, per_second: 1000, bytes_max });
        let log = observe("observe: {flow_log: {path: stdout, per_second: 7}}").flow_log.unwrap();
        let to = FlowLogTarget::Stdout;
        assert_eq!(log, FlowLog { to, sample: 1, per_second: 7, bytes_max });
        let log = observe("observe: {flow_log: {path: /var/log/stdout}}").flow_log.unwrap();
        assert_eq!(log.to, FlowLogTarget::File("/var/log/stdout".into()));
    }
}
