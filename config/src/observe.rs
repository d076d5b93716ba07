//! `metrics`, `admin`, `logging`: how the outside sees Sluice.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::read::{Fields, Located, Reader, Reported, choice, integer, path, socket_address};
use crate::schema::{Default, Key, Section};

/// The HTTP server for Prometheus and health checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Address and TCP port; a kernel socket.
    pub listen: SocketAddr,
    /// Most Services with counters of their own.
    pub services_max: u32,
}

/// The socket that `sluice show` and `sluice status` talk to.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Path of the unix socket; a relative path in the file is taken from the configuration
    /// file's folder.
    pub socket: PathBuf,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Logging {
    /// How a line looks.
    pub format: LogFormat,
    /// The least severe level that is logged.
    pub level: LogLevel,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Severity of a log line, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something is suspicious.
    Warn,
    /// Starts, stops and changes.
    Info,
    /// Decisions.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level's name as in the file, and as `tracing` knows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Longest path of a unix socket in bytes (`sun_path` without its NUL).
const SOCKET_PATH_MAX: usize = 107;

pub(crate) static METRICS: Section = Section {
    path: "metrics",
    keys: &[
        Key {
            name: "listen",
            kind: "address and TCP port",
            default: Default::Value("127.0.0.1:9090"),
            meaning: "where Prometheus scrapes; a kernel socket, so none of Sluice's addresses",
        },
        Key {
            name: "services_max",
            kind: "integer, 0 to 100000",
            default: Default::Value("1024"),
            meaning: "most Services with counters of their own; the rest share one",
        },
    ],
};

pub(crate) static ADMIN: Section = Section {
    path: "admin",
    keys: &[Key {
        name: "socket",
        kind: "path of at most 107 bytes",
        default: Default::Value("/run/sluice/sluice.sock"),
        meaning: "unix socket of `sluice show` and `sluice status`; a relative path is taken from \
                  this file's folder",
    }],
};

pub(crate) static LOGGING: Section = Section {
    path: "logging",
    keys: &[
        Key {
            name: "format",
            kind: "`text` or `json`",
            default: Default::Value("text"),
            meaning: "lines for people, or one JSON object a line",
        },
        Key {
            name: "level",
            kind: "`error`, `warn`, `info`, `debug` or `trace`",
            default: Default::Value("info"),
            meaning: "the least severe level that is logged; what libraries say of what clients \
                      send is logged at `debug` and `trace` alone",
        },
    ],
};

/// `metrics` as read, its address not yet checked against Sluice's.
pub(crate) struct RawMetrics {
    pub listen: Located<SocketAddr>,
    services_max: u32,
}

impl RawMetrics {
    /// Reads `metrics`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "metrics", &METRICS)?;
        let listen = fields.defaulted(reader, "listen", socket_address);
        let services_max = fields.defaulted(reader, "services_max", integer(0..=100_000));
        Ok(Self { listen: listen?, services_max: services_max?.value })
    }

    /// The server as it will be used.
    pub(crate) fn build(self) -> Metrics {
        Metrics { listen: self.listen.value, services_max: self.services_max }
    }
}

impl Admin {
    /// Reads `admin`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "admin", &ADMIN)?;
        let socket = fields.defaulted(reader, "socket", path)?;
        let length = socket.value.as_os_str().len();
        if length > SOCKET_PATH_MAX {
            let message = format!("found a path of {length} bytes");
            let expected = format!("a path of at most {SOCKET_PATH_MAX} bytes, with its folder");
            return Err(reader.error(&socket.spot, message, &*expected));
        }
        Ok(Self { socket: socket.value })
    }
}

impl Logging {
    /// Reads `logging`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "logging", &LOGGING)?;
        let formats = choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let format = fields.defaulted(reader, "format", formats);
        let levels = choice(&[
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ]);
        let level = fields.defaulted(reader, "level", levels);
        Ok(Self { format: format?.value, level: level?.value })
    }
}
