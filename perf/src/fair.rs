//! L4 forwarding and L7 on one worker: what each leaves to the other.

mod answer;
/// Clients with requests.
mod clients;
mod conn;
/// Frames that are forwarded.
mod forwarding;
/// Who plays clients and pods.
mod generator;
/// How long things take.
pub mod latency;
mod pods;
mod port;
/// What was found.
pub mod report;
/// Requests by the guard's clock.
pub mod requests;
mod segment;
/// L7 as it is shipped, and its tables.
mod serving;
mod shakers;
/// Clients with handshakes.
mod tls;
mod wires;

use crate::cluster::Cluster;
use crate::cpu;
use crate::flood::subject::Subject;
use crate::site::{CLUSTER, Family};
use crate::tsc::{Rate, ticks};
use anyhow::{Context, Result};
use clients::Clients;
use forwarding::Forwarding;
use generator::{Generator, Load};
use port::StampedPort;
use report::{Outcome, Report, Row, Worked};
use serving::{Issued, Telling};
use shakers::Shakers;
use sluice_fastpath::{DropReason, WorkerCounters};
use sluice_io::Port;
use sluice_l7::tls::{Handshakes, TlsConfig};
use std::time::Duration;
use tls::Tls;
use wires::Wires;

/// Flows that the worker may own.
const FLOWS_MAX: usize = 1 << 16;
/// How long the worker's L7 takes to tell of itself, at most.
const TOLD_AFTER: Duration = Duration::from_millis(300);
/// Of what is forwarded at most.
const HALF: f64 = 0.5;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cores of the worker, the generator and the helpers of TLS; anywhere, if `None`.
    /// Helpers on the generator's core have it while that one naps.
    pub cpus: Option<[usize; 3]>,
    /// Clients with requests.
    pub clients: usize,
    /// Handshakes under way at once.
    pub handshakes: usize,
    /// Naps of the generator in rows with handshakes, where it shares its core.
    pub nap: Duration,
    /// Rounds in which it is measured how much is forwarded at most.
    pub rounds: usize,
    /// How long tasks of L7 run in one turn.
    pub slice: Duration,
    /// Frames a second instead of half of that, and all of it.
    pub frames: Option<f64>,
    /// Time of a row before anything is measured, and
    pub warm_up: Duration,
    /// in which it is.
    pub time: Duration,
}

/// Measures everything, family by family.
///
/// # Errors
/// When something cannot be set up, or something is wrong that the worker has sent.
pub fn run(options: &Options, families: &[Family]) -> Result<Report> {
    let rate = Rate::calibrate();
    let outcomes = families.iter().map(|&family| of_family(options, family, rate));
    Ok(Report {
        cpu: cpu::model(),
        tsc_ghz: rate.ghz(),
        cpus: options.cpus,
        outcomes: outcomes.collect::<Result<_>>()?,
    })
}

fn of_family(options: &Options, family: Family, rate: Rate) -> Result<Outcome> {
    let cluster = Cluster::new(family, 1);
    // Threads have the cores of those that start them.
    if let Some([_, _, helpers]) = options.cpus {
        cpu::pin(helpers)?;
    }
    let issued = Issued::new()?;
    let handshakes = Handshakes::start(TlsConfig::default())?;
    let shakers = Shakers::start(issued.root.clone())?;
    if let Some([_, generator, _]) = options.cpus {
        cpu::pin(generator)?;
    }
    let mut stamps = None;
    let tables = serving::tables(&cluster, Some(&issued))?;
    let subject = Subject::with_ports(cluster, tables, FLOWS_MAX, true, |port| {
        if usize::from(port.info().id.0) != CLUSTER {
            return Box::new(port);
        }
        let (port, noted) = StampedPort::new(port);
        stamps = Some(noted);
        Box::new(port)
    });
    let (subject, peers, cache) = subject?;
    let wires = Wires::new(family, peers, stamps.context("no port of the cluster")?, cache);
    let generator = Generator::new(
        wires,
        Forwarding::new(cluster, rate),
        Clients::new(family, options.clients),
        Tls::new(family, shakers),
        rate,
    );
    let telling = Telling::default();
    let equip = |worker: &mut _| serving::equip(worker, &handshakes, &telling, options.slice);
    let mut trial = Trial { options, rate, generator, handshakes: &handshakes, telling: &telling };
    let cpu = options.cpus.map(|[worker, ..]| worker);
    subject.with_equipped(cpu, equip, move |counters| {
        let outcome = trial.measure(family, counters);
        trial.generator.close();
        outcome
    })
}

struct Trial<'a> {
    options: &'a Options,
    rate: Rate,
    generator: Generator,
    handshakes: &'a Handshakes,
    telling: &'a Telling,
}

impl Trial<'_> {
    fn measure(&mut self, family: Family, counters: &WorkerCounters) -> Result<Outcome> {
        let options = self.options;
        self.generator.open()?;
        let waiting = self.generator.capacity(options.rounds)?;
        let offered = options.frames.unwrap_or(waiting);
        let capacity = self.streamed(offered)?;
        let [half, full] = match options.frames {
            Some(frames) => [frames; 2],
            None => [capacity * HALF, capacity],
        };
        let shares = options.cpus.is_none_or(|[_, generator, helpers]| generator == helpers);
        let nap = shares.then_some(options.nap);
        let handshakes = options.handshakes;
        let none = Load::default();
        let loads = [
            ("l4", "frames at half of what is forwarded at most", Load { frames: half, ..none }),
            ("http", "all clients ask all the time", Load { requests: u64::MAX, ..none }),
            ("l4+http", "both of them", Load { frames: half, requests: u64::MAX, ..none }),
            (
                "l4x2+http",
                "frames as many as are forwarded at most, and requests",
                Load { frames: full, requests: u64::MAX, ..none },
            ),
            (
                "l4-naps",
                "frames at half, their sender as in the rows with handshakes",
                Load { frames: half, nap, ..none },
            ),
            ("rsa", "full handshakes with RSA-4096", Load { handshakes, nap, ..none }),
            (
                "l4+rsa",
                "frames at half, and handshakes",
                Load { frames: half, handshakes, nap, ..none },
            ),
        ];
        let rows = loads.iter().map(|(name, what, load)| {
            self.row(name, what, load, counters).with_context(|| format!("row {name}"))
        });
        let rows = rows.collect::<Result<_>>()?;
        let seconds = options.time.as_secs_f64();
        let family = family.label();
        let mut outcome = Outcome { family, waiting, capacity, seconds, rows, aims: Vec::new() };
        outcome.judge();
        Ok(outcome)
    }

    /// Frames a second that are forwarded if so many are offered, one after the other.
    fn streamed(&mut self, frames: f64) -> Result<f64> {
        let load = Load { frames, ..Load::default() };
        self.generator.run(&load, self.options.warm_up)?;
        let (before, begun) = (self.generator.forwarding.counts.came, ticks());
        self.generator.run(&load, self.options.time)?;
        let seconds = self.rate.nanos(ticks() - begun) / 1e9;
        let came = self.generator.forwarding.counts.came - before;
        self.generator.run(&Load::default(), TOLD_AFTER)?;
        Ok(came as f64 / seconds)
    }

    fn row(
        &mut self,
        name: &'static str,
        what: &'static str,
        load: &Load,
        counters: &WorkerCounters,
    ) -> Result<Row> {
        // Whoever shares a core is to be there in time.
        let is_first = load.nap.is_some() && self.options.cpus.is_some();
        if is_first {
            cpu::run_first(true)?;
        }
        let row = self.row_of(name, what, load, counters);
        if is_first {
            cpu::run_first(false)?;
        }
        row
    }

    fn row_of(
        &mut self,
        name: &'static str,
        what: &'static str,
        load: &Load,
        counters: &WorkerCounters,
    ) -> Result<Row> {
        self.generator.run(load, self.options.warm_up)?;
        for latencies in [
            &mut self.generator.forwarding.latencies,
            &mut self.generator.forwarding.late,
            &mut self.generator.clients.latencies,
            &mut self.generator.tls.latencies,
        ] {
            latencies.clear();
        }
        let before = Seen::now(self, counters);
        let begun = ticks();
        self.generator.run(load, self.options.time)?;
        let seconds = self.rate.nanos(ticks() - begun) / 1e9;
        let generator = &self.generator;
        let latency = generator.forwarding.latencies.spread();
        let (late, request_latency) =
            (generator.forwarding.late.spread(), generator.clients.latencies.spread());
        let handshake_latency = generator.tls.latencies.spread();
        let now = Seen::now(self, counters);
        self.generator.finish()?;
        self.generator.run(&Load::default(), TOLD_AFTER)?;
        let last = Seen::now(self, counters);
        let each = |count: u64| count as f64 / seconds;
        let (frames, all) = (now.frames - before.frames, last.frames - before.frames);
        let drops = last.drops.iter().zip(&before.drops);
        let drops = drops.map(|((reason, now), (_, before))| (*reason, now - before));
        Ok(Row {
            name,
            what,
            frames_offered: each(frames.offered),
            frames: each(frames.came),
            ring_full: frames.ring_full,
            frames_lost: (all.offered - all.ring_full).saturating_sub(all.came),
            missed: frames.missed,
            latency,
            late,
            requests: each(now.requests - before.requests),
            requests_failed: last.requests_failed - before.requests_failed,
            request_latency,
            handshakes: each(now.handshakes - before.handshakes),
            handshakes_failed: last.handshakes_failed - before.handshakes_failed,
            handshake_latency,
            helpers_busy: (now.helper_ns - before.helper_ns) as f64 / seconds / 1e9,
            segments_lost: last.segments_lost - before.segments_lost,
            worked: Worked {
                busy: (now.busy_ns - before.busy_ns) as f64 / seconds / 1e9,
                slices_full: each(last.slices_full - before.slices_full),
                drops: drops.filter(|(_, count)| *count > 0).collect(),
            },
        })
    }
}

/// What everybody has counted.
struct Seen {
    frames: forwarding::Counts,
    requests: u64,
    requests_failed: u64,
    handshakes: u64,
    handshakes_failed: u64,
    helper_ns: u64,
    segments_lost: u64,
    busy_ns: u64,
    slices_full: u64,
    drops: Vec<(&'static str, u64)>,
}

impl Seen {
    fn now(trial: &Trial<'_>, counters: &WorkerCounters) -> Self {
        let generator = &trial.generator;
        let handshakes = trial.handshakes.counters();
        Seen {
            frames: generator.forwarding.counts,
            requests: generator.clients.requests,
            requests_failed: generator.clients.failed,
            handshakes: generator.tls.done,
            handshakes_failed: generator.tls.failed,
            helper_ns: handshakes.helper_ns,
            segments_lost: generator.segments_lost(),
            busy_ns: counters.busy_ns.get(),
            slices_full: trial.telling.told().slices_full,
            drops: DropReason::ALL
                .iter()
                .map(|&reason| (reason.label(), counters.dropped(reason)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
