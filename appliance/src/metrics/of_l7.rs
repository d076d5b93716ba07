use super::family::Families;
use crate::gateway::Gateway;
use crate::l7::L7;
use sluice_l7::L7Reason;
use sluice_l7::http::Limit;
use sluice_l7::stats::{BOUNDS_NS, Subject, Subjects};
use sluice_l7::tcp::TcpCounters;
use sluice_l7::tls::{SideCounters, TlsRefusal};
use sluice_l7::upstream::UpstreamCounters;
use sluice_l7::worker::L7Told;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// A counter of a worker's TCP: what happened, and where it is.
type OfTcp = (&'static str, fn(&TcpCounters) -> u64);

const TCP: [OfTcp; 31] = [
    ("accepted", |tcp| tcp.accepted),
    ("connected", |tcp| tcp.connected),
    ("malformed", |tcp| tcp.malformed),
    ("refused_closed", |tcp| tcp.refused_closed),
    ("refused_half_open", |tcp| tcp.refused_half_open),
    ("refused_connections", |tcp| tcp.refused_connections),
    ("resets_sent", |tcp| tcp.resets_sent),
    ("aborts_sent", |tcp| tcp.aborts_sent),
    ("resets_received", |tcp| tcp.resets_received),
    ("challenges_sent", |tcp| tcp.challenges_sent),
    ("answers_limited", |tcp| tcp.answers_limited),
    ("cookies_sent", |tcp| tcp.cookies_sent),
    ("cookies_taken", |tcp| tcp.cookies_taken),
    ("cookies_refused", |tcp| tcp.cookies_refused),
    ("half_open_timeouts", |tcp| tcp.half_open_timeouts),
    ("connect_timeouts", |tcp| tcp.connect_timeouts),
    ("idle_timeouts", |tcp| tcp.idle_timeouts),
    ("fin_timeouts", |tcp| tcp.fin_timeouts),
    ("time_wait_recycled", |tcp| tcp.time_wait_recycled),
    ("time_wait_evicted", |tcp| tcp.time_wait_evicted),
    ("retransmissions", |tcp| tcp.retransmissions),
    ("recoveries", |tcp| tcp.recoveries),
    ("recoveries_undone", |tcp| tcp.recoveries_undone),
    ("timeouts", |tcp| tcp.timeouts),
    ("tail_probes", |tcp| tcp.tail_probes),
    ("window_probes", |tcp| tcp.window_probes),
    ("stamps_refused", |tcp| tcp.stamps_refused),
    ("scattered", |tcp| tcp.scattered),
    ("refused_memory", |tcp| tcp.refused_memory),
    ("windows_held", |tcp| tcp.windows_held),
    ("refused_pressure", |tcp| tcp.refused_pressure),
];

/// A counter of a worker's upstreams.
type OfUpstreams = (&'static str, fn(&UpstreamCounters) -> u64);

const UPSTREAMS: [OfUpstreams; 15] = [
    ("opened", |of| of.opened),
    ("reused", |of| of.reused),
    ("connect_failed", |of| of.connect_failed),
    ("connect_timed_out", |of| of.connect_timed_out),
    ("tls_failed", |of| of.tls_failed),
    ("reset", |of| of.reset),
    ("stale", |of| of.stale),
    ("malformed", |of| of.malformed),
    ("read_timed_out", |of| of.read_timed_out),
    ("send_timed_out", |of| of.send_timed_out),
    ("cut_off", |of| of.cut_off),
    ("ejections", |of| of.ejections),
    ("policy_denied", |of| of.policy_denied),
    ("policy_cut", |of| of.policy_cut),
    ("policy_audited", |of| of.policy_audited),
];

/// Adds what is counted of requests that end here.
pub(super) fn add(gateway: &Gateway, families: &mut Families) {
    let Some(l7) = &gateway.l7 else { return };
    let workers = l7.workers();
    let told: Vec<_> = workers.iter().map(|(told, _)| told).collect();
    of_workers(&told, families);
    of_http(&told, families);
    let routes = sums(workers.iter().map(|(_, stats)| stats.routes()));
    subjects("route", "by the object of the route", &routes, families);
    let upstreams = sums(workers.iter().map(|(_, stats)| stats.upstreams()));
    subjects("upstream", "by the Service's port that they went to", &upstreams, families);
    of_tls(l7, families);
    families
        .counter("sluice_l7_access_log_lost_total", "Lines of the access log that were lost.")
        .count(&[("reason", "file_error")], l7.losses.failed.load(Ordering::Relaxed))
        .count(&[("reason", "slow_reader")], l7.losses.full.load(Ordering::Relaxed));
}

fn of_workers(told: &[&L7Told], families: &mut Families) {
    let ids: Vec<String> = (0..told.len()).map(|id| id.to_string()).collect();
    let each = || ids.iter().zip(told);
    let mut family = families.gauge(
        "sluice_l7_connections",
        "TCP connections that end here: of clients, to endpoints, and with a handshake that is \
         not over.",
    );
    for (id, told) in each() {
        for (kind, count) in [
            ("client", told.served.clients),
            ("endpoint", told.served.endpoints),
            ("half_open", told.half_open),
        ] {
            family.count(&[("worker", id), ("kind", kind)], count as u64);
        }
    }
    let mut family = families
        .counter("sluice_l7_packets_total", "Packets of connections that end here, by worker.");
    for (id, told) in each() {
        for (direction, count) in [("in", told.packets.0), ("out", told.packets.1)] {
            family.count(&[("worker", id), ("direction", direction)], count);
        }
    }
    let mut family = families.gauge(
        "sluice_l7_buffered_bytes",
        "Memory that TCP connections which end here hold for what waits to be read or sent.",
    );
    for (id, told) in each() {
        family.count(&[("worker", id)], told.buffered_bytes as u64);
    }
    let mut family =
        families.counter("sluice_l7_tcp_total", "What happened to TCP that ends here.");
    for (id, told) in each() {
        for (event, of) in TCP {
            family.count(&[("worker", id), ("event", event)], of(&told.tcp));
        }
    }
    let mut family = families.counter(
        "sluice_l7_slices_full_total",
        "Turns in which requests had more to do than packets leave them time for.",
    );
    for (id, told) in each() {
        family.count(&[("worker", id)], told.slices_full);
    }
    let mut family =
        families.counter("sluice_l7_panics_total", "Tasks that panicked: each ended by itself.");
    for (id, told) in each() {
        family.count(&[("worker", id)], told.panics);
    }
}

fn of_http(told: &[&L7Told], families: &mut Families) {
    let counts: Vec<_> = told.iter().filter_map(|told| told.served.http).collect();
    let mut family = families.counter(
        "sluice_l7_refusals_total",
        "Answers that the gateway itself has given, and answers cut short, by why.",
    );
    for reason in L7Reason::ALL {
        let sum = counts.iter().map(|counts| counts.answers(*reason)).sum();
        family.count(&[("reason", reason.label())], sum);
    }
    let mut family = families.counter(
        "sluice_l7_limits_total",
        "Clients' connections that a limit has ended, by which.",
    );
    for limit in Limit::ALL {
        let sum = counts.iter().map(|counts| counts.limits(*limit)).sum();
        family.count(&[("limit", limit.label())], sum);
    }
    let mut family =
        families.counter("sluice_l7_endpoints_total", "What happened to connections to endpoints.");
    for (event, of) in UPSTREAMS {
        let sum = told.iter().map(|told| of(&told.served.upstreams)).sum();
        family.count(&[("event", event)], sum);
    }
    let sum =
        |of: fn(&UpstreamCounters) -> u64| told.iter().map(|told| of(&told.served.upstreams)).sum();
    families
        .counter("sluice_l7_retries_total", "Requests that were to go to another endpoint.")
        .count(&[("result", "sent")], sum(|of| of.retries))
        .count(&[("result", "over_budget")], sum(|of| of.retries_refused));
}

/// What all workers have counted of one subject.
#[derive(Default)]
struct Sums {
    answers: [u64; 6],
    bytes: [u64; 2],
    buckets: [u64; BOUNDS_NS.len() + 1],
    duration_ns: u64,
}

impl Sums {
    fn add(&mut self, subject: &Subject) {
        let of = |counters: &[sluice_fastpath::counters::Counter], into: &mut [u64]| {
            into.iter_mut().zip(counters).for_each(|(sum, counter)| *sum += counter.get());
        };
        of(&subject.answers, &mut self.answers);
        of(&subject.bytes, &mut self.bytes);
        of(&subject.buckets, &mut self.buckets);
        self.duration_ns += subject.duration_ns.get();
    }
}

fn sums(workers: impl Iterator<Item = Subjects>) -> BTreeMap<String, Sums> {
    let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
    for (name, subject) in workers.flatten() {
        sums.entry(name.to_string()).or_default().add(&subject);
    }
    sums
}

/// What an answer's first digit is called.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

fn subjects(kind: &'static str, by: &str, sums: &BTreeMap<String, Sums>, families: &mut Families) {
    let prefix = if kind == "route" { "sluice_l7" } else { "sluice_l7_upstream" };
    let mut family = families.counter(
        &format!("{prefix}_requests_total"),
        &format!(
            "Requests that are over, {by} and the status of the answer; none: nobody answered."
        ),
    );
    for (name, sums) in sums {
        for (class, count) in CLASSES.iter().zip(sums.answers) {
            family.count(&[(kind, name), ("code", class)], count);
        }
    }
    let mut family = families.counter(
        &format!("{prefix}_body_bytes_total"),
        &format!("Bytes of bodies, {by}: of requests in, of answers out."),
    );
    for (name, sums) in sums {
        for (direction, bytes) in ["in", "out"].iter().zip(sums.bytes) {
            family.count(&[(kind, name), ("direction", direction)], bytes);
        }
    }
    let mut family = families.histogram(
        &format!("{prefix}_request_duration_seconds"),
        &format!("How long requests took, {by}; to an endpoint: until it began to answer."),
    );
    for (name, sums) in sums {
        let mut cumulative = 0;
        let buckets = BOUNDS_NS.iter().zip(sums.buckets).map(|(bound, count)| {
            cumulative += count;
            (*bound as f64 / 1e9, cumulative)
        });
        let count = sums.buckets.iter().sum();
        family.observe(&[(kind, name)], buckets, sums.duration_ns as f64 / 1e9, count);
    }
}

fn of_tls(l7: &L7, families: &mut Families) {
    let counters = l7.handshakes();
    let sides = [("client", &counters.clients), ("endpoint", &counters.backends)];
    let mut family = families.counter(
        "sluice_l7_tls_handshakes_total",
        "TLS handshakes that are over, with clients and endpoints; resumed: a session from before \
         went on.",
    );
    for (side, counters) in sides {
        let SideCounters { done, resumed, .. } = counters;
        family
            .count(&[("side", side), ("kind", "full")], done.saturating_sub(*resumed))
            .count(&[("side", side), ("kind", "resumed")], *resumed);
    }
    let mut family = families
        .counter("sluice_l7_tls_refusals_total", "TLS handshakes that came to nothing, by why.");
    for (side, counters) in sides {
        for refusal in TlsRefusal::ALL {
            let count = counters.refused(*refusal);
            family.count(&[("side", side), ("reason", refusal.label())], count);
        }
    }
    families
        .counter("sluice_l7_tls_helper_seconds_total", "Time that helpers of handshakes worked.")
        .add(&[], counters.helper_ns as f64 / 1e9);
}
