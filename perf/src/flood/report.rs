use super::Offer;
use super::counts::Counts;
use super::people::Kind;
use anyhow::{Context, Result};
use serde::Serialize;
use sluice_fastpath::{DropReason, WorkerCounters};
use std::fmt::Write;
use std::ops::Sub;
use std::path::Path;

const UPLINK: usize = crate::site::UPLINK;

/// What the worker's counters say.
#[derive(Clone, Debug, Serialize)]
pub struct Worked {
    /// Frames received on the uplink: SYNs, while there is nothing else.
    pub syns: u64,
    /// Flows begun.
    pub created: u64,
    /// Flows that expired or were given up.
    pub removed: u64,
    /// Nanoseconds of turns that found work.
    pub busy_ns: u64,
    /// Nanoseconds.
    pub total_ns: u64,
    /// Frames dropped, by reason.
    pub drops: Vec<(&'static str, u64)>,
}

impl Worked {
    /// Since the start.
    pub fn now(counters: &WorkerCounters) -> Self {
        let sum = |pair: &[sluice_fastpath::counters::Counter; 2]| pair[0].get() + pair[1].get();
        let drop = |&reason: &DropReason| (reason.label(), counters.dropped(reason));
        Worked {
            syns: counters.ports[UPLINK].rx_packets.get(),
            created: sum(&counters.flows_created),
            removed: sum(&counters.flows_removed),
            busy_ns: counters.busy_ns.get(),
            total_ns: counters.total_ns.get(),
            drops: DropReason::ALL.iter().map(drop).collect(),
        }
    }

    /// The share of its time that it was busy.
    pub fn busy(&self) -> f64 {
        self.busy_ns as f64 / self.total_ns.max(1) as f64
    }
}

impl Sub for Worked {
    type Output = Worked;

    fn sub(mut self, before: Worked) -> Worked {
        for (drop, (_, count)) in self.drops.iter_mut().zip(before.drops) {
            drop.1 -= count;
        }
        self.drops.retain(|(_, count)| *count > 0);
        Worked {
            syns: self.syns - before.syns,
            created: self.created - before.created,
            removed: self.removed - before.removed,
            busy_ns: self.busy_ns - before.busy_ns,
            total_ns: self.total_ns - before.total_ns,
            drops: self.drops,
        }
    }
}

/// What the worker can take of a flood alone, its table full of it.
#[derive(Clone, Debug, Serialize)]
pub struct Capacity {
    /// Nanoseconds that the worker is busy for a SYN, everything that follows from
    /// it included: the best part of the time.
    pub ns_min: f64,
    /// The middle one.
    pub ns_median: f64,
    /// SYNs a second, from the median.
    pub syns_per_second: f64,
    /// What the worker did.
    pub worked: Worked,
}

impl Capacity {
    /// From the nanoseconds of a SYN in each part of the time, at least one.
    pub(super) fn new(mut slices: Vec<f64>, worked: Worked) -> Self {
        slices.sort_by(f64::total_cmp);
        let (ns_min, ns_median) = (slices[0], slices[slices.len() / 2]);
        Capacity { ns_min, ns_median, syns_per_second: 1e9 / ns_median, worked }
    }
}

/// Memory of the flow tables.
#[derive(Clone, Debug, Serialize)]
pub struct Memory {
    /// Bytes of the tables by their own account, IPv4 and IPv6, once full.
    pub tables: [usize; 2],
    /// Resident bytes of the process before the worker was there.
    pub before: u64,
    /// By how many they have grown at [`Memory::flows`] flows.
    pub growth: u64,
    /// Flows that were there then.
    pub flows: u64,
}

impl Memory {
    /// As it is before there is a worker.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(super) fn before() -> Result<Self> {
        Ok(Memory { tables: [0; 2], before: resident()?, growth: 0, flows: 0 })
    }

    /// Notes what is there with `flows` flows.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(super) fn grown(&mut self, flows: u64) -> Result<()> {
        self.growth = resident()?.saturating_sub(self.before);
        self.flows = flows;
        Ok(())
    }
}

/// Resident bytes of this process.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? * 1024)
}

/// How long honest clients waited.
pub(super) struct Waits {
    /// Seconds of those that were connected, in order.
    pub waits: Vec<f64>,
    /// Those that never were.
    pub failed: usize,
}

impl Waits {
    /// The wait that a share of all stays within; `None` when they do not.
    fn quantile(&self, share: f64) -> Option<f64> {
        let all = self.waits.len() + self.failed;
        let rank = (all as f64 * share).ceil().max(1.0) as usize;
        self.waits.get(rank - 1).copied()
    }
}

/// What honest clients saw.
#[derive(Clone, Debug, Serialize)]
pub struct Connects {
    /// Clients that began.
    pub begun: usize,
    /// Those that were not connected by the end.
    pub failed: usize,
    /// Seconds from the first SYN to the SYN-ACK: half of all; none if more than
    /// that failed.
    pub p50: Option<f64>,
    /// 99% of all.
    pub p99: Option<f64>,
    /// 99.9% of all.
    pub p999: Option<f64>,
}

/// One load, and what became of everybody.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// The flood as a share of the capacity, if that is how it was asked for.
    pub of_capacity: Option<f64>,
    /// SYNs a second that were asked for.
    pub asked: f64,
    /// SYNs a second that were offered.
    pub offered: f64,
    /// The share of everything offered that found the receive ring full.
    pub ring_full: f64,
    /// The share of the flood that came to pods.
    pub flood_to_pods: f64,
    /// Data segments of established flows that were offered.
    pub data: u64,
    /// The share of them that came to pods.
    pub data_to_pods: f64,
    /// Of these, the share whose acknowledgment came back.
    pub acks_to_clients: f64,
    /// What established flows have of everything that came to pods, by what they
    /// have of everything offered.
    pub share_kept: f64,
    /// Pods' answers that found the receive ring of the cluster's port full.
    pub answers_lost: u64,
    /// Pods that were told that their client is not known (any more).
    pub resets: u64,
    /// SYNs of the flood that the generator came too late for.
    pub missed: u64,
    /// Honest clients.
    pub connects: Connects,
    /// What the worker did.
    pub worked: Worked,
}

impl Phase {
    pub(super) fn new(
        offer: Offer,
        asked: f64,
        seconds: f64,
        counts: &Counts,
        worked: Worked,
        waits: &Waits,
    ) -> Self {
        let part = |a: u64, b: u64| a as f64 / b.max(1) as f64;
        let all = |counts: &[u64; 3]| counts.iter().sum::<u64>();
        let [flood, _, established] = Kind::ALL.map(|kind| kind as usize);
        let share = |counts: &[u64; 3]| part(counts[established], all(counts));
        let of_capacity = match offer {
            Offer::OfCapacity(share) => Some(share),
            Offer::Rate(_) => None,
        };
        Phase {
            of_capacity,
            asked,
            offered: counts.offered[flood] as f64 / seconds,
            ring_full: part(all(&counts.ring_full), all(&counts.offered)),
            flood_to_pods: part(counts.to_pods[flood], counts.offered[flood]),
            data: counts.data,
            data_to_pods: part(counts.data_to_pods, counts.data),
            acks_to_clients: part(counts.data_acked, counts.data_to_pods),
            share_kept: share(&counts.to_pods) / share(&counts.offered).max(f64::MIN_POSITIVE),
            answers_lost: counts.answers_ring_full,
            resets: counts.resets,
            missed: counts.missed,
            connects: Connects {
                begun: waits.waits.len() + waits.failed,
                failed: waits.failed,
                p50: waits.quantile(0.5),
                p99: waits.quantile(0.99),
                p999: waits.quantile(0.999),
            },
            worked,
        }
    }

    /// The share of established flows' data that was acknowledged.
    pub fn kept(&self) -> f64 {
        self.data_to_pods * self.acks_to_clients
    }
}

/// Everything that a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The processor.
    pub cpu: String,
    /// Ticks of the time stamp counter per nanosecond.
    pub tsc_ghz: f64,
    /// The family of everything.
    pub family: &'static str,
    /// Pods answer SYNs of the flood.
    pub pods_answer: bool,
    /// SYNs a second that the generator can offer.
    pub offer_max: f64,
    /// The worker's capacity.
    pub capacity: Capacity,
    /// What happened at each load.
    pub phases: Vec<Phase>,
    /// Memory of the flow tables.
    pub memory: Memory,
}

/// How much shares of some million segments differ by chance.
const SHARE_NOISE: f64 = 0.001;
const MIB: f64 = (1 << 20) as f64;

impl Outcome {
    /// The outcome as text.
    pub fn text(&self) -> String {
        let mut text = format!("{}, TSC {:.3} GHz\n\n", self.cpu, self.tsc_ghz);
        let mut row = |what: &str, value: String| {
            let _ = writeln!(text, "{}  {what:<52} {value}", self.family);
        };
        let Capacity { ns_min, ns_median, syns_per_second, worked } = &self.capacity;
        row("the generator can offer, M SYNs/s", format!("{:.2}", self.offer_max / 1e6));
        row("flood alone, ns/SYN, min / median", format!("{ns_min:.0} / {ns_median:.0}"));
        row("capacity, M SYNs/s", format!("{:.2}", syns_per_second / 1e6));
        row("  drops", format!("{:?}", worked.drops));
        let [v4, v6] = self.memory.tables.map(|bytes| bytes as f64 / MIB);
        row("table of IPv4 / IPv6 by its own account, MiB", format!("{v4:.1} / {v6:.1}"));
        let Memory { growth, flows, .. } = self.memory;
        row("resident memory grown by, MiB", format!("{:.1}", growth as f64 / MIB));
        row("  with flows", format!("{flows}"));
        for phase in &self.phases {
            let title = match phase.of_capacity {
                Some(share) => format!("flood at {:.0}% of capacity, M SYNs/s", share * 100.0),
                None => "flood, M SYNs/s".to_owned(),
            };
            row(&title, format!("{:.2} (asked: {:.2})", phase.offered / 1e6, phase.asked / 1e6));
            let percent = |share: f64| format!("{:.3}%", share * 100.0);
            row("  of everything, dropped by the full ring", percent(phase.ring_full));
            row("  of the flood, came to pods", percent(phase.flood_to_pods));
            let Phase { data_to_pods, acks_to_clients, share_kept, .. } = *phase;
            row("  established: data that came to pods", percent(data_to_pods));
            row("  established: of that, acknowledged to clients", percent(acks_to_clients));
            row("  established: share kept / share offered", format!("{share_kept:.4}"));
            row("  answers lost before the worker", format!("{}", phase.answers_lost));
            let Connects { begun, failed, p50, p99, p999 } = phase.connects;
            row("  resets to pods, SYNs not offered in time", {
                format!("{}, {}", phase.resets, phase.missed)
            });
            row("  honest clients, failed of", format!("{failed} of {begun}"));
            let times = [p50, p99, p999].map(|seconds| match seconds {
                Some(seconds) => format!("{seconds:.4}"),
                None => "never".to_owned(),
            });
            row("  honest clients, s to connect, p50 / p99 / p99.9", times.join(" / "));
            row("  worker busy", percent(phase.worked.busy()));
            row("  drops", format!("{:?}", phase.worked.drops));
        }
        text.push('\n');
        for (what, value, aim, met) in self.aims() {
            let _ = writeln!(
                text,
                "{what:<64} {aim:>8} {value:>8}  {}",
                if met { "yes" } else { "no" }
            );
        }
        text
    }

    /// What is aimed at: (what, value, aim, whether it is met).
    fn aims(&self) -> Vec<(String, String, &'static str, bool)> {
        let mut aims = Vec::new();
        for phase in &self.phases {
            let Some(share) = phase.of_capacity else { continue };
            let at = format!("at {:.0}% of capacity", share * 100.0);
            let kept = phase.kept();
            if share < 1.0 {
                let what = format!("{at}, established flows keep");
                aims.push((what, format!("{:.2}%", kept * 100.0), ">= 99%", kept >= 0.99));
            } else {
                let what = format!("{at}, share established flows keep by share they offer");
                let value = format!("{:.4}", phase.share_kept);
                aims.push((what, value, ">= 1", phase.share_kept >= 1.0 - SHARE_NOISE));
            }
            let p99 = phase.connects.p99.unwrap_or(f64::INFINITY);
            aims.push((format!("{at}, honest p99, s"), format!("{p99:.3}"), "< 3", p99 < 3.0));
        }
        let [v4, v6] = self.memory.tables.map(|bytes| bytes as f64 / MIB);
        for (family, mib) in [("v4", v4), ("v6", v6)] {
            let what = format!("a table of {family}, MiB");
            aims.push((what, format!("{mib:.0}"), "<= 256", mib <= 256.0));
        }
        aims
    }

    /// Writes the outcome as JSON.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path, json + "\n")
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
