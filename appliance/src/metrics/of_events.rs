use super::family::Families;
use crate::gateway::Gateway;
use sluice_fastpath::events::{EventCounters, EventKind};
use std::sync::atomic::Ordering;

/// What is lost at a worker: stream, cause, where it is counted.
type Lost = (&'static str, &'static str, fn(&EventCounters) -> u64);

const LOST: [Lost; 4] = [
    ("follow", "limit", |events| events.follows.iter().map(|of| of.limited.get()).sum()),
    ("flow_log", "limit", |events| events.flow_log.limited.get()),
    ("events", "ring_full", |events| events.lost.get()),
    ("capture", "ring_full", |events| events.captured_lost.get()),
];

/// What is told of single packets.
pub(super) fn add(gateway: &Gateway, families: &mut Families) {
    let workers = || gateway.workers.iter().map(|worker| &worker.counters.events);
    let mut told = families.counter(
        "sluice_events_total",
        "What workers have told of single packets and flows, by kind.",
    );
    for (worker, events) in workers().enumerate() {
        let worker = worker.to_string();
        let kinds = EventKind::LABELS.into_iter().zip(&events.told);
        for (kind, count) in kinds.chain([("capture", &events.captured)]) {
            told.count(&[("kind", kind), ("worker", &worker)], count.get());
        }
    }
    let mut lost = families.counter(
        "sluice_events_lost_total",
        "What was not told of single packets and flows: beyond a limit per second, a ring full, \
         a reader too slow, a file that was not written.",
    );
    for (stream, cause, count) in LOST {
        lost.count(&[("stream", stream), ("cause", cause)], workers().map(count).sum());
    }
    let losses = &gateway.hub.losses;
    for (stream, cause, count) in [
        ("follow", "slow_reader", &losses.followers),
        ("capture", "slow_reader", &losses.captures),
        ("flow_log", "file_error", &losses.flow_log.failed),
        ("flow_log", "slow_reader", &losses.flow_log.full),
    ] {
        lost.count(&[("stream", stream), ("cause", cause)], count.load(Ordering::Relaxed));
    }
    let mut watchers = families.gauge(
        "sluice_watchers",
        "Those who follow drops or capture packets over the admin socket now.",
    );
    for (stream, count) in ["follow", "capture"].into_iter().zip(gateway.hub.watchers()) {
        watchers.count(&[("stream", stream)], count as u64);
    }
}
