//! `flows`: the connection table.

use std::time::Duration;

use crate::read::{Fields, Reader, Reported, boolean, integer, seconds};
use crate::schema::{Default, Key, Section};

/// The connection table.
#[derive(Clone, Debug, PartialEq)]
pub struct Flows {
    /// Most flows over all workers.
    pub max: u32,
    /// Whether SYNs are let in at their second try only, in a flood of them.
    pub syn_gate: bool,
    /// Most flows of one source and of one Service.
    pub limits: FlowLimits,
    /// How long an idle flow is kept.
    pub timeouts: FlowTimeouts,
}

/// Most flows of one source and of one Service, over all workers: each worker holds to its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Flows of an IPv4 address or an IPv6 /64.
    pub per_source: u32,
    /// Half-open flows of one.
    pub per_source_half_open: u32,
    /// Flows of a port of a Service; [`u32::MAX`] for any number.
    pub per_service: u32,
    /// Half-open flows of one; [`u32::MAX`] for any number.
    pub per_service_half_open: u32,
}

/// How long an idle flow is kept, by protocol and state.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowTimeouts {
    /// TCP: both directions acknowledged.
    pub tcp_established: Duration,
    /// TCP and SCTP: picked up in the middle, and nobody has answered yet.
    pub tcp_unanswered: Duration,
    /// TCP: the receiver of a FIN has not closed yet.
    pub tcp_close_wait: Duration,
    /// TCP: SYN seen.
    pub tcp_syn_sent: Duration,
    /// TCP: SYN and ACK seen.
    pub tcp_syn_recv: Duration,
    /// TCP: first FIN seen.
    pub tcp_fin_wait: Duration,
    /// TCP: last FIN seen, its acknowledgment not yet.
    pub tcp_last_ack: Duration,
    /// TCP: both FINs acknowledged.
    pub tcp_time_wait: Duration,
    /// TCP: RST seen.
    pub tcp_close: Duration,
    /// SCTP: INIT seen.
    pub sctp_init: Duration,
    /// SCTP: COOKIE ECHO seen.
    pub sctp_cookie: Duration,
    /// SCTP: COOKIE ACK seen.
    pub sctp_established: Duration,
    /// SCTP: SHUTDOWN seen.
    pub sctp_shutdown: Duration,
    /// SCTP: ABORT or SHUTDOWN COMPLETE seen.
    pub sctp_closed: Duration,
    /// UDP seen in one direction.
    pub udp: Duration,
    /// UDP seen in both directions.
    pub udp_stream: Duration,
    /// ICMP and ICMPv6 echo.
    pub icmp: Duration,
    /// Any other protocol.
    pub generic: Duration,
}

/// Most flows there may be.
const FLOWS_MAX: u32 = 67_108_864;

/// Longest timeout in seconds: a week.
const TIMEOUT_MAX_S: u32 = 604_800;

pub(crate) static SECTION: Section = Section {
    path: "flows",
    keys: &[
        Key {
            name: "max",
            kind: "integer, 1024 to 67108864",
            default: Default::Value("1048576"),
            meaning: "most flows over all workers",
        },
        Key {
            name: "syn_gate",
            kind: "boolean",
            default: Default::Value("true"),
            meaning: "let SYNs in at their second try only, while more come than can be taken \
                      and a sixteenth of a worker's flows is half open",
        },
        Key {
            name: "limits",
            kind: "section",
            default: Default::Words("its defaults"),
            meaning: "most flows of one source and of one Service",
        },
        Key {
            name: "timeouts",
            kind: "section",
            default: Default::Words("its defaults"),
            meaning: "how long an idle flow is kept",
        },
    ],
};

/// Far from what honest use comes to, even behind one address of a carrier's NAT, and low enough
/// that nobody can fill the table alone.
pub(crate) static LIMITS: Section = Section {
    path: "flows.limits",
    keys: &[
        limit(
            "per_source",
            "a quarter of `flows.max`",
            "most flows of a source, that is an IPv4 address or an IPv6 /64",
        ),
        limit(
            "per_source_half_open",
            "a sixteenth of `flows.max`",
            "most flows of a source that nobody has answered or whose handshake is not over",
        ),
        limit("per_service", "none", "most flows of a port of a Service"),
        limit(
            "per_service_half_open",
            "none",
            "most half-open flows of a port of a Service; a new one then takes the place of an \
             older one",
        ),
    ],
};

const fn limit(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kind: "integer, 1 to `flows.max`", default: Default::Words(default), meaning }
}

/// The kernel's defaults, with the two that kube-proxy sets (established and CLOSE_WAIT). SCTP's
/// established is TCP's: not every association sends heartbeats; its handshakes and shutdowns last as
/// long as a lost chunk may wait to be sent again (RTO.Max, RFC 9260 section 16).
pub(crate) static TIMEOUTS: Section = Section {
    path: "flows.timeouts",
    keys: &[
        timeout("tcp_established_s", "86400", "TCP, both directions acknowledged"),
        timeout("tcp_unanswered_s", "300", "TCP or SCTP, seen from its middle in one direction"),
        timeout("tcp_close_wait_s", "3600", "TCP, the receiver of a FIN has not closed yet"),
        timeout("tcp_syn_sent_s", "120", "TCP, SYN seen"),
        timeout("tcp_syn_recv_s", "60", "TCP, SYN and ACK seen"),
        timeout("tcp_fin_wait_s", "120", "TCP, first FIN seen"),
        timeout("tcp_last_ack_s", "30", "TCP, last FIN seen, its acknowledgment not yet"),
        timeout("tcp_time_wait_s", "120", "TCP, both FINs acknowledged"),
        timeout("tcp_close_s", "10", "TCP, RST seen"),
        timeout("sctp_init_s", "60", "SCTP, INIT seen"),
        timeout("sctp_cookie_s", "60", "SCTP, COOKIE ECHO seen"),
        timeout("sctp_established_s", "86400", "SCTP, COOKIE ACK seen"),
        timeout("sctp_shutdown_s", "60", "SCTP, SHUTDOWN seen"),
        timeout("sctp_closed_s", "10", "SCTP, ABORT or SHUTDOWN COMPLETE seen"),
        timeout("udp_s", "30", "UDP seen in one direction"),
        timeout("udp_stream_s", "120", "UDP seen in both directions"),
        timeout("icmp_s", "30", "ICMP and ICMPv6 echo"),
        timeout("generic_s", "600", "any other protocol"),
    ],
};

const fn timeout(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    let kind = "integer, 1 to 604800 seconds";
    Key { name, kind, default: Default::Value(default), meaning }
}

impl Flows {
    /// Reads `flows`.
    pub(crate) fn read(reader: &mut Reader<'_>, root: &Fields<'_>) -> Result<Self, Reported> {
        let fields = root.section(reader, "flows", &SECTION)?;
        let max = fields.defaulted(reader, "max", integer(1024..=FLOWS_MAX));
        let syn_gate = fields.defaulted(reader, "syn_gate", boolean);
        let timeouts = FlowTimeouts::read(reader, &fields);
        let limits = FlowLimits::read(reader, &fields, max.as_ref().map_or(FLOWS_MAX, |m| m.value));
        Ok(Self {
            max: max?.value,
            syn_gate: syn_gate?.value,
            limits: limits?,
            timeouts: timeouts?,
        })
    }
}

impl FlowLimits {
    fn read(reader: &mut Reader<'_>, flows: &Fields<'_>, flows_max: u32) -> Result<Self, Reported> {
        let fields = flows.section(reader, "limits", &LIMITS)?;
        // As with timeouts: what is wrong is reported, and the file refused.
        let mut read = |name, otherwise| match fields.optional(reader, name, integer(1..=flows_max))
        {
            Ok(Some(limit)) => limit.value,
            Ok(None) | Err(_) => otherwise,
        };
        Ok(Self {
            per_source: read("per_source", flows_max / 4),
            per_source_half_open: read("per_source_half_open", flows_max / 16),
            per_service: read("per_service", u32::MAX),
            per_service_half_open: read("per_service_half_open", u32::MAX),
        })
    }
}

impl FlowTimeouts {
    fn read(reader: &mut Reader<'_>, flows: &Fields<'_>) -> Result<Self, Reported> {
        let fields = flows.section(reader, "timeouts", &TIMEOUTS)?;
        // A wrong timeout is reported and the next one read: `Reader::finish` refuses the file.
        let mut read = |name| match fields.defaulted(reader, name, seconds(1..=TIMEOUT_MAX_S)) {
            Ok(timeout) => timeout.value,
            Err(_) => Duration::ZERO,
        };
        Ok(Self {
            tcp_established: read("tcp_established_s"),
            tcp_unanswered: read("tcp_unanswered_s"),
            tcp_close_wait: read("tcp_close_wait_s"),
            tcp_syn_sent: read("tcp_syn_sent_s"),
            tcp_syn_recv: read("tcp_syn_recv_s"),
            tcp_fin_wait: read("tcp_fin_wait_s"),
            tcp_last_ack: read("tcp_last_ack_s"),
            tcp_time_wait: read("tcp_time_wait_s"),
            tcp_close: read("tcp_close_s"),
            sctp_init: read("sctp_init_s"),
            sctp_cookie: read("sctp_cookie_s"),
            sctp_established: read("sctp_established_s"),
            sctp_shutdown: read("sctp_shutdown_s"),
            sctp_closed: read("sctp_closed_s"),
            udp: read("udp_s"),
            udp_stream: read("udp_stream_s"),
            icmp: read("icmp_s"),
            generic: read("generic_s"),
        })
    }
}
