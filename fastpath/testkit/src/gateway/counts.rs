//! Counts of workers, by name.

use std::collections::BTreeMap;
use std::fmt;

use sluice_fastpath::{DropReason, WorkerCounters};

/// Counts by name; those that are zero are left out.
///
/// `rx`, `tx`, `originated`, `consumed`, `handed_in`, `handed_out`, `held`, `errors_limited`,
/// `neighbor_news_lost`, `announcements`, `vip_conflicts`, `affinities_forgotten`,
/// `affinity_news_lost`, `flows`, `flows_created`, `flows_removed`, `snat_ports`, `revalidated`,
/// `audited_egress`, `audited_ingress`, `resets_ignored`, `masqueraded`, `answers_overdue`,
/// `answers_unread`, and `drop.REASON` with the reason's label. Both families are counted together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<String, u64>);

/// What is a state rather than a sum of events.
const GAUGES: [&str; 3] = ["held", "flows", "snat_ports"];

/// All names but those of drops, in the order of the journey.
const NAMES: [&str; 24] = [
    "rx",
    "tx",
    "originated",
    "consumed",
    "handed_in",
    "handed_out",
    "held",
    "errors_limited",
    "neighbor_news_lost",
    "announcements",
    "vip_conflicts",
    "affinities_forgotten",
    "affinity_news_lost",
    "flows",
    "flows_created",
    "flows_removed",
    "snat_ports",
    "revalidated",
    "audited_egress",
    "audited_ingress",
    "resets_ignored",
    "masqueraded",
    "answers_overdue",
    "answers_unread",
];

impl Counts {
    /// Adds a worker's counts.
    pub fn add(&mut self, counters: &WorkerCounters) {
        let ports = counters.ports.iter();
        let rx = ports.clone().map(|port| port.rx_packets.get()).sum();
        let tx = ports.map(|port| port.tx_packets.get()).sum();
        let both = |pair: &[sluice_fastpath::counters::Counter; 2]| pair[0].get() + pair[1].get();
        let values = [
            rx,
            tx,
            counters.originated.get(),
            counters.consumed.get(),
            counters.handed_in.get(),
            counters.handed_out.get(),
            counters.held.get(),
            counters.errors_limited.get(),
            counters.neighbor_news_lost.get(),
            counters.announcements.get(),
            counters.vip_conflicts.get(),
            counters.affinities_forgotten.get(),
            counters.affinity_news_lost.get(),
            both(&counters.flows),
            both(&counters.flows_created),
            both(&counters.flows_removed),
            both(&counters.snat_ports),
            counters.revalidated.get(),
            counters.policy_audited[0].get(),
            counters.policy_audited[1].get(),
            counters.resets_ignored.get(),
            counters.masqueraded.flows.get(),
            counters.answers_overdue.get(),
            counters.answers_unread.get(),
        ];
        for (name, value) in NAMES.into_iter().zip(values) {
            self.increase(name, value);
        }
        for reason in DropReason::ALL {
            self.increase(&format!("drop.{}", reason.label()), counters.dropped(*reason));
        }
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Counts) {
        for (name, value) in &other.0 {
            self.increase(name, *value);
        }
    }

    fn increase(&mut self, name: &str, by: u64) {
        if by > 0 {
            *self.0.entry(name.to_owned()).or_default() += by;
        }
    }

    /// Sets a count.
    ///
    /// # Errors
    /// When there is no count of that name.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), String> {
        let reason = name.strip_prefix("drop.");
        let known = match reason {
            Some(label) => DropReason::ALL.iter().any(|reason| reason.label() == label),
            None => NAMES.contains(&name),
        };
        if !known {
            return Err(format!(
                "there is no counter `{name}`; expected {} or drop.REASON",
                NAMES.join(", ")
            ));
        }
        if value > 0 {
            self.0.insert(name.to_owned(), value);
        } else {
            self.0.remove(name);
        }
        Ok(())
    }

    /// The count of that name.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// What was counted since `earlier`; gauges as they are.
    pub fn since(&self, earlier: &Counts) -> Counts {
        let mut counts = Counts::default();
        for (name, value) in &self.0 {
            let before = if GAUGES.contains(&name.as_str()) { 0 } else { earlier.get(name) };
            counts.increase(name, value.saturating_sub(before));
        }
        counts
    }

    /// What differs from `expected`, such as `tx: expected 2, is 1`.
    pub fn differences(&self, expected: &Counts) -> Vec<String> {
        let mut names: Vec<&String> = self.0.keys().chain(expected.0.keys()).collect();
        names.sort();
        names.dedup();
        names
            .into_iter()
            .filter(|name| self.get(name) != expected.get(name))
            .map(|name| format!("{name}: expected {}, is {}", expected.get(name), self.get(name)))
            .collect()
    }
}

impl fmt::Display for Counts {
    /// As a `counters` line writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = NAMES.iter().map(|name| (*name).to_owned());
        let drops = DropReason::ALL.iter().map(|reason| format!("drop.{}", reason.label()));
        let parts: Vec<String> = named
            .chain(drops)
            .filter(|name| self.get(name) > 0)
            .map(|name| format!("{name} {}", self.get(&name)))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

/// Checks that a worker has accounted for every packet:
/// `rx + originated + handed_in = tx + dropped + consumed + handed_out + held`.
///
/// # Errors
/// Both sides, when they differ.
pub fn balance(counters: &WorkerCounters) -> Result<(), String> {
    let mut counts = Counts::default();
    counts.add(counters);
    let sum = |names: &[&str]| names.iter().map(|name| counts.get(name)).sum::<u64>();
    let dropped: u64 = DropReason::ALL.iter().map(|reason| counters.dropped(*reason)).sum();
    let entered = sum(&["rx", "originated", "handed_in"]);
    let left = dropped + sum(&["tx", "consumed", "handed_out", "held"]);
    if entered == left {
        return Ok(());
    }
    Err(format!(
        "packets are not conserved: rx + originated + handed_in = {entered}, \
         tx + dropped + consumed + handed_out + held = {left}; {counts}"
    ))
}
