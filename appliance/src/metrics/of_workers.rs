use super::family::Families;
use crate::gateway::Gateway;
use sluice_fastpath::counters::{Counter, SWAP_BOUNDS_NS};
use sluice_fastpath::{DropReason, WorkerCounters};

/// A counter of each worker: name, help, where it is.
type OfWorker = (&'static str, &'static str, fn(&WorkerCounters) -> &Counter);

const COUNTERS: [OfWorker; 16] = [
    (
        "sluice_originated_total",
        "Packets that the gateway made itself: answers, errors, probes, fragments.",
        |counters| &counters.originated,
    ),
    ("sluice_consumed_total", "Packets that ended at the gateway.", |counters| &counters.consumed),
    (
        "sluice_errors_limited_total",
        "ICMP errors and resets not sent because of the rate limit.",
        |counters| &counters.errors_limited,
    ),
    (
        "sluice_neighbor_news_lost_total",
        "News of neighbors that found another worker's ring full.",
        |counters| &counters.neighbor_news_lost,
    ),
    (
        "sluice_announcements_total",
        "VIPs announced to everybody on a port's link, unasked: one packet each.",
        |counters| &counters.announcements,
    ),
    (
        "sluice_vip_conflicts_total",
        "ARP and ND packets of others that claim a VIP which is announced here.",
        |counters| &counters.vip_conflicts,
    ),
    (
        "sluice_affinities_forgotten_total",
        "Clients with session affinity that were forgotten before their time, for want of room.",
        |counters| &counters.affinities_forgotten,
    ),
    (
        "sluice_affinity_news_lost_total",
        "Where a client went, told to a worker whose ring was full.",
        |counters| &counters.affinity_news_lost,
    ),
    ("sluice_flows_revalidated_total", "Flows judged again because tables changed.", |counters| {
        &counters.revalidated
    }),
    (
        "sluice_resets_ignored_total",
        "Ends of connections that their receivers do not believe: passed on, the flow stays.",
        |counters| &counters.resets_ignored,
    ),
    (
        "sluice_masqueraded_flows_total",
        "Connections to Services from the tunnel address of a node: of pods that it hides, or of \
         its host network.",
        |counters| &counters.masqueraded.flows,
    ),
    (
        "sluice_dns_answers_overdue_total",
        "DNS answers that went on before their addresses were known to every worker.",
        |counters| &counters.answers_overdue,
    ),
    (
        "sluice_dns_answers_unread_total",
        "DNS answers that went on unread: too many waited, in all or of their client.",
        |counters| &counters.answers_unread,
    ),
    ("sluice_worker_loops_total", "Turns of the worker's loop.", |counters| &counters.loops),
    ("sluice_worker_loops_busy_total", "Turns of the worker's loop that found work.", |counters| {
        &counters.loops_busy
    }),
    ("sluice_worker_sleeps_total", "Times that the worker slept.", |counters| &counters.sleeps),
];

const GAUGES: [OfWorker; 5] = [
    (
        "sluice_held_packets",
        "Packets that wait: for a neighbor, for a first fragment, or to be learned from.",
        |counters| &counters.held,
    ),
    ("sluice_dns_answers_held", "DNS answers among the packets that wait.", |counters| {
        &counters.answers_held
    }),
    (
        "sluice_syn_gate_closed",
        "1 while there is a flood of SYNs and they are let in at their second try only.",
        |counters| &counters.syn_gate_closed,
    ),
    (
        "sluice_tables_version",
        "Version of the tables that the worker uses; 0: none yet.",
        |counters| &counters.tables_version,
    ),
    ("sluice_worker_frames", "Free frames that the worker keeps at hand.", |counters| {
        &counters.frames_cached
    }),
];

/// Nanosecond counts, shown in seconds.
const SECONDS: [OfWorker; 2] = [
    (
        "sluice_worker_busy_seconds_total",
        "Time spent in turns of the loop that found work.",
        |counters| &counters.busy_ns,
    ),
    ("sluice_worker_seconds_total", "Time since the worker started.", |counters| {
        &counters.total_ns
    }),
];

/// A pair of counters of each worker, by family: name, help, where they are.
type OfFamily = (&'static str, &'static str, fn(&WorkerCounters) -> &[Counter; 2]);

const FAMILY_COUNTERS: [OfFamily; 2] = [
    ("sluice_flows_created_total", "Flows ever tracked.", |counters| &counters.flows_created),
    ("sluice_flows_removed_total", "Flows that expired or made room for others.", |counters| {
        &counters.flows_removed
    }),
];

const FAMILY_GAUGES: [OfFamily; 3] = [
    ("sluice_flows", "Flows tracked now.", |counters| &counters.flows),
    ("sluice_snat_ports_in_use", "Flows that hold a port of a SNAT address.", |counters| {
        &counters.snat_ports
    }),
    (
        "sluice_snat_ports_capacity",
        "Flows to one endpoint that there are SNAT ports for.",
        |counters| &counters.snat_capacity,
    ),
];

/// Workers and their flows.
pub(super) fn add(gateway: &Gateway, families: &mut Families) {
    let workers: Vec<(String, &WorkerCounters)> = gateway
        .workers
        .iter()
        .enumerate()
        .map(|(id, worker)| (id.to_string(), &*worker.counters))
        .collect();
    let mut up = families.gauge("sluice_worker_up", "1 while the worker's thread runs.");
    for ((id, _), worker) in workers.iter().zip(&gateway.workers) {
        up.count(&[("worker", id)], u64::from(worker.is_up()));
    }
    drops(&workers, families);
    for (name, help, of) in COUNTERS {
        let mut family = families.counter(name, help);
        for (id, counters) in &workers {
            family.count(&[("worker", id)], of(counters).get());
        }
    }
    for (name, help, of) in GAUGES {
        let mut family = families.gauge(name, help);
        for (id, counters) in &workers {
            family.count(&[("worker", id)], of(counters).get());
        }
    }
    for (name, help, of) in SECONDS {
        let mut family = families.counter(name, help);
        for (id, counters) in &workers {
            family.add(&[("worker", id)], seconds(of(counters)));
        }
    }
    let mut longest = families
        .gauge("sluice_worker_longest_poll_seconds", "Longest turn of the worker's loop so far.");
    for (id, counters) in &workers {
        longest.add(&[("worker", id)], seconds(&counters.poll_longest_ns));
    }
    swaps(&workers, families);
    audited(&workers, families);
    by_family(&workers, families);
    families
        .gauge("sluice_flows_max", "Most flows that are tracked at once, over all workers.")
        .count(&[], u64::from(gateway.flows_max));
    handoffs(&workers, families);
}

fn swaps(workers: &[(String, &WorkerCounters)], families: &mut Families) {
    let mut swaps = families.histogram(
        "sluice_worker_swap_seconds",
        "Time for which a worker's packets waited while it took over other tables.",
    );
    for (id, counters) in workers {
        let swaps_of = &counters.swaps;
        let mut count = 0;
        let mut buckets = Vec::new();
        for (bucket, observed) in swaps_of.counts.iter().enumerate() {
            count += observed.get();
            buckets.extend(SWAP_BOUNDS_NS.get(bucket).map(|&bound| (bound as f64 / 1e9, count)));
        }
        swaps.observe(&[("worker", id)], buckets.into_iter(), seconds(&swaps_of.sum_ns), count);
    }
}

fn audited(workers: &[(String, &WorkerCounters)], families: &mut Families) {
    let mut audited = families.counter(
        "sluice_policy_audited_total",
        "Flows that passed, and packets that make none, although a policy that is only tried out \
         would deny them, at the source (egress) or the destination (ingress); flows again after \
         a change of policies.",
    );
    for (id, counters) in workers {
        for (direction, count) in ["egress", "ingress"].into_iter().zip(&counters.policy_audited) {
            audited.count(&[("direction", direction), ("worker", id)], count.get());
        }
    }
}

fn seconds(ns: &Counter) -> f64 {
    ns.get() as f64 / 1e9
}

fn drops(workers: &[(String, &WorkerCounters)], families: &mut Families) {
    let mut drops = families.counter("sluice_drops_total", "Packets dropped, by reason.");
    for (id, counters) in workers {
        for reason in DropReason::ALL {
            drops.count(&[("reason", reason.label()), ("worker", id)], counters.dropped(*reason));
        }
    }
    let mut refused = families.counter(
        "sluice_snat_ports_refused_total",
        "Flows refused because no port of a SNAT address was free (also a drop reason).",
    );
    for (id, counters) in workers {
        refused.count(&[("worker", id)], counters.dropped(DropReason::SnatPortsExhausted));
    }
}

fn by_family(workers: &[(String, &WorkerCounters)], families: &mut Families) {
    for (is_counter, (name, help, of)) in FAMILY_COUNTERS
        .into_iter()
        .map(|metric| (true, metric))
        .chain(FAMILY_GAUGES.into_iter().map(|metric| (false, metric)))
    {
        let mut family =
            if is_counter { families.counter(name, help) } else { families.gauge(name, help) };
        for (id, counters) in workers {
            for (version, count) in ["ipv4", "ipv6"].into_iter().zip(of(counters)) {
                family.count(&[("family", version), ("worker", id)], count.get());
            }
        }
    }
}

fn handoffs(workers: &[(String, &WorkerCounters)], families: &mut Families) {
    let mut handoffs =
        families.counter("sluice_handoffs_total", "Packets that went from one worker to another.");
    for (id, counters) in workers {
        for (direction, count) in [("in", &counters.handed_in), ("out", &counters.handed_out)] {
            handoffs.count(&[("worker", id), ("direction", direction)], count.get());
        }
    }
}
