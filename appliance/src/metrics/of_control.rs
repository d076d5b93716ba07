use super::family::Families;
use crate::gateway::Gateway;
use sluice_control::Request;
use sluice_control::election::ElectionView;
use sluice_control::publish::Histogram;
use sluice_control::publish::histogram::BOUNDS_US;
use sluice_control::source::kubernetes::SourceView;
use sluice_control::status::{StatusMetrics, WriteResult};
use std::time::Duration;

/// How long a scrape waits for control: less than Prometheus waits for us.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How control is, and what it knows; only the former when it does not answer.
pub(super) fn add(gateway: &Gateway, families: &mut Families) {
    let control = &gateway.control;
    let trouble = control.trouble();
    families
        .gauge("sluice_control_up", "1 while control takes what changes in the cluster.")
        .count(&[], u64::from(trouble.is_none()));
    families
        .gauge("sluice_control_beat_age_seconds", "Time since control last turned its loop.")
        .add(&[], control.heartbeat.age().as_secs_f64());
    if let Some(status) = &control.status {
        add_status(status, families);
    }
    if trouble.is_some() {
        return;
    }
    let metrics = match control.ask_within(ANSWER_TIMEOUT, |reply| Request::Metrics { reply }) {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::warn!(%error, "metrics lack what control knows");
            return;
        }
    };
    families
        .gauge("sluice_synced", "1 once everything that exists has been read.")
        .count(&[], u64::from(metrics.synced));
    families
        .counter("sluice_updates_total", "Changes of the cluster published to the workers.")
        .count(&[], metrics.publications);
    families
        .gauge("sluice_published_version", "Version of the tables that was published last.")
        .count(&[], metrics.version);
    if let Some(api) = &metrics.api {
        add_api(api, families);
    }
    if let Some(election) = &metrics.election {
        add_election(election, families);
    }
    families
        .counter(
            "sluice_announcements_left_out_total",
            "VIPs that were not announced unasked, or not as often, because too many waited.",
        )
        .count(&[], metrics.tellings_left_out);
    let mut objects = families.gauge("sluice_objects", "Objects of the cluster, by kind.");
    for (kind, count) in &metrics.objects {
        objects.count(&[("kind", kind)], *count as u64);
    }
    let mut diagnostics = families
        .gauge("sluice_diagnostics", "What is wrong with objects, as sluice status lists it.");
    for (severity, count) in &metrics.diagnostics {
        diagnostics.count(&[("severity", severity)], *count as u64);
    }
    let mut quarantined = families
        .gauge("sluice_ids_quarantined", "Numbers of things that are gone, not used again yet.");
    for (kind, count) in &metrics.quarantined {
        quarantined.count(&[("kind", kind)], *count as u64);
    }
    if !metrics.certificates.is_empty() {
        let mut family = families.gauge(
            "sluice_l7_certificate_expiry_seconds",
            "When the certificate of a Secret that is used ends, in seconds since 1970.",
        );
        for (secret, end) in &metrics.certificates {
            family.add(&[("secret", secret)], *end as f64);
        }
    }
    let policy = &metrics.policy;
    let mut compiled = families
        .gauge("sluice_policy_compiled", "What has been compiled of network policies, by kind.");
    for (kind, count) in [
        ("policy", policy.policies),
        ("attribute", policy.attributes),
        ("subject", policy.subjects),
        ("classifier", policy.classifiers),
        ("program", policy.programs),
        ("rule", policy.rules),
        ("peer", policy.peers),
        ("page", policy.pages),
    ] {
        compiled.count(&[("kind", kind)], count as u64);
    }
    families
        .gauge("sluice_policy_tables_bytes", "Memory of what network policies say, in the tables.")
        .count(&[], policy.bytes as u64);
    let names = &metrics.names;
    families
        .gauge("sluice_policy_names", "Domain names that are known, of those that policies name.")
        .count(&[], names.names as u64);
    families
        .gauge("sluice_policy_name_addresses", "Addresses of all domain names that are known.")
        .count(&[], names.addresses as u64);
    families
        .gauge(
            "sluice_policy_name_addresses_lapsed",
            "Addresses that domain names have lost, and that flows which run may still use.",
        )
        .count(&[], names.lapsed as u64);
    let help = "DNS answers that were read, by what was learned from them, or why nothing was.";
    let mut answers = families.counter("sluice_dns_answers_total", help);
    for (result, count) in &names.answers {
        answers.count(&[("result", result)], *count);
    }
    families
        .counter(
            "sluice_policy_name_addresses_left_out_total",
            "Addresses in DNS answers that were not learned: too many of a name, or in all.",
        )
        .count(&[], names.addresses_left_out);
    families
        .counter(
            "sluice_policy_name_addresses_refused_total",
            "Addresses in DNS answers that the name may not have: of nodes, Services, pods.",
        )
        .count(&[], names.addresses_refused);
    families
        .counter(
            "sluice_policy_names_given_up_total",
            "Domain names that were forgotten before their time, for want of room.",
        )
        .count(&[], names.given_up);
    for (name, help, taken) in [
        (
            "sluice_dns_answer_held_seconds",
            "How long DNS answers waited for their addresses to be live on every worker.",
            &names.held,
        ),
        (
            "sluice_control_compile_seconds",
            "Processor time of each publication of tables, from its changes on.",
            &metrics.compile,
        ),
        (
            "sluice_event_to_live_seconds",
            "Time from the notice of a change until every worker had it.",
            &metrics.event_to_live,
        ),
    ] {
        let sum = taken.sum_us as f64 / 1e6;
        families.histogram(name, help).observe(&[], cumulative(taken), sum, taken.count);
    }
}

/// What is written back.
fn add_status(status: &StatusMetrics, families: &mut Families) {
    let help = "Attempts to write the status of a Service, by what became of them.";
    let mut writes = families.counter("sluice_status_writes_total", help);
    for result in WriteResult::ALL {
        writes.count(&[("result", result.as_str())], status.writes(result));
    }
    families
        .gauge("sluice_status_pending", "Services whose status is to be written.")
        .count(&[], status.pending());
    families
        .counter("sluice_status_events_total", "Events made at objects, or counted again.")
        .count(&[], status.events());
    let help = "Events not made: repeated, too many of one object or of all, or refused.";
    families
        .counter("sluice_status_events_suppressed_total", help)
        .count(&[], status.events_suppressed());
    let help = "Addresses for load balancers; only where this gateway gives them.";
    let mut pools = families.gauge("sluice_pool_addresses", help);
    for pool in status.pools() {
        let labels = |state| [("pool", &*pool.pool), ("family", pool.family.as_str()), state];
        pools.add(&labels(("state", "free")), pool.free as f64);
        pools.count(&labels(("state", "used")), pool.used);
    }
}

/// How the source gets on with the API server.
fn add_api(api: &SourceView, families: &mut Families) {
    families
        .gauge(
            "sluice_api_away_seconds",
            "For how long the API server has been away; 0: it is not.",
        )
        .count(&[], api.away_s.unwrap_or(0));
    families
        .gauge(
            "sluice_api_snapshot_age_seconds",
            "Age of the snapshot in force until the API server has been heard; 0: none is.",
        )
        .count(&[], api.snapshot_age_s.unwrap_or(0));
    if let Some(is_kept) = api.snapshot_kept {
        families
            .gauge(
                "sluice_api_snapshot_kept",
                "1 while a snapshot is kept on disk; 0: the disk fails, or is too slow.",
            )
            .count(&[], u64::from(is_kept));
    }
    families
        .gauge("sluice_api_refused_objects", "Objects of the API that cannot be used.")
        .count(&[], api.refused_objects as u64);
    let mut connected = families
        .gauge("sluice_api_connected", "1 while the API server answers for objects of the kind.");
    for (kind, of) in &api.kinds {
        connected.count(&[("kind", kind)], u64::from(of.connected));
    }
    let help = "Requests for objects of the kind that failed, and watches that broke off.";
    let mut errors = families.counter("sluice_api_errors_total", help);
    for (kind, of) in &api.kinds {
        errors.count(&[("kind", kind)], of.errors);
    }
    let mut lists = families
        .counter("sluice_api_lists_total", "Lists of all objects of the kind that were begun.");
    for (kind, of) in &api.kinds {
        lists.count(&[("kind", kind)], of.lists);
    }
    let mut events =
        families.counter("sluice_api_events_total", "Objects of the kind that came, of lists too.");
    for (kind, of) in &api.kinds {
        events.count(&[("kind", kind)], of.events);
    }
}

/// How the election of who announces VIPs stands.
fn add_election(election: &ElectionView, families: &mut Families) {
    for (name, help, count) in [
        ("sluice_election_groups", "Groups of VIPs that there are.", u64::from(election.groups)),
        (
            "sluice_election_groups_held",
            "Groups whose VIPs are announced here.",
            election.held.len() as u64,
        ),
        (
            "sluice_election_member",
            "1 while this gateway's Lease is valid.",
            u64::from(election.member),
        ),
        (
            "sluice_election_leader",
            "1 while this gateway does what only one may, such as to hand out addresses.",
            u64::from(election.leader),
        ),
    ] {
        families.gauge(name, help).count(&[], count);
    }
    for (name, help, count) in [
        (
            "sluice_election_renew_failures_total",
            "Renewals of this gateway's Lease that failed.",
            election.renew_failures,
        ),
        (
            "sluice_election_taken_total",
            "Groups of VIPs, and leaderships, taken over.",
            election.taken,
        ),
        (
            "sluice_election_given_total",
            "Groups of VIPs, and leaderships, given up or lost.",
            election.given,
        ),
        (
            "sluice_election_fenced_total",
            "Gateways found dead by this one: their Leases ended.",
            election.fenced,
        ),
        (
            "sluice_election_yielded_total",
            "Groups given up, while the API was away, to others that announce their VIPs.",
            election.yielded,
        ),
    ] {
        families.counter(name, help).count(&[], count);
    }
}

/// Buckets as Prometheus counts them: each with all below it.
fn cumulative(histogram: &Histogram) -> impl Iterator<Item = (f64, u64)> {
    BOUNDS_US.iter().zip(histogram.counts).scan(0, |sum, (bound, count)| {
        *sum += count;
        Some((*bound as f64 / 1e6, *sum))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_has_all_below_it() {
        let mut histogram = Histogram::default();
        for ms in [1, 1, 50, 60_000] {
            histogram.record(Duration::from_millis(ms));
        }
        let buckets: Vec<(f64, u64)> = cumulative(&histogram).collect();
        assert_eq!(buckets.len(), BOUNDS_US.len());
        assert_eq!(buckets[6], (0.001, 2));
        assert_eq!(buckets[11], (0.05, 3));
        assert_eq!(buckets.last(), Some(&(5.0, 3)));
    }
}
