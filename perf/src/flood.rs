//! A SYN flood from random sources against one worker on a core of its own, and
//! what it leaves to established flows and to new clients.

mod counts;
/// What clients, attackers and pods send and expect.
mod generator;
/// When what is sent.
pub(crate) mod load;
pub(crate) mod people;
/// What was found.
pub mod report;
/// Ports between two cores.
pub(crate) mod ring;
pub(crate) mod shape;
pub(crate) mod shapes;
/// A worker between two such ports.
pub(crate) mod subject;

use crate::cluster::{self, Cluster};
use crate::cpu;
use crate::limits::check_rate;
use crate::site::{Family, UPLINK};
use crate::tsc::{Rate, ticks};
use anyhow::{Result, anyhow, ensure};
use generator::Generator;
use load::{Flood, Load};
pub use people::ESTABLISHED_MAX;
use report::{Capacity, Outcome, Phase, Waits, Worked};
use sluice_fastpath::WorkerCounters;
use std::time::{Duration, Instant};
use subject::Subject;

/// How long the generator offers to nobody but a thread that frees frames.
const SELF_TEST: Duration = Duration::from_millis(500);
/// Rounds in which established flows are begun, and how long each is waited for.
const OPEN_ROUNDS: usize = 20;
const OPEN_FOR: Duration = Duration::from_millis(250);
/// Time in which the flood must have filled the table.
const FILL_MAX: Duration = Duration::from_secs(60);
/// A part of the time in which fewer SYNs were taken tells nothing.
const SLICE_MIN: u64 = 4096;
/// Time for what is on its way to arrive.
const DRAIN: Duration = Duration::from_millis(50);

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// The family of everything.
    pub family: Family,
    /// Cores of the worker and of the generator; anywhere, if `None`.
    pub cpus: Option<[usize; 2]>,
    /// Flows that the worker may own: more than fit the rings, or a SNAT port is
    /// somebody else's before the answer to it has come.
    pub flows_max: usize,
    /// Established flows, at most [`ESTABLISHED_MAX`].
    pub established: u32,
    /// Segments a second of each.
    pub established_rate: f64,
    /// Honest clients a second.
    pub honest_rate: f64,
    /// Pods answer SYNs of the flood.
    pub pods_answer: bool,
    /// The gate against floods may close (not while the capacity is measured).
    pub syn_gate: bool,
    /// Time of the flood before anything is measured: this long, and again until
    /// the table is full.
    pub warm_up: Duration,
    /// Time over which the capacity is measured, and in how many parts.
    pub capacity: (Duration, u32),
    /// Time of each phase after that.
    pub phase: Duration,
    /// The last part of it, in which no honest client begins.
    pub patience: Duration,
    /// Rates of the flood in those phases.
    pub loads: Vec<Offer>,
}

/// A rate of a flood.
#[derive(Clone, Copy, Debug)]
pub enum Offer {
    /// A share of the measured capacity.
    OfCapacity(f64),
    /// SYNs a second.
    Rate(f64),
}

/// Measures capacity, then every load.
///
/// # Errors
/// When something cannot be set up, or a byte is wrong that the worker has sent.
pub fn run(options: &Options) -> Result<Outcome> {
    ensure!(options.established <= ESTABLISHED_MAX, "at most {ESTABLISHED_MAX} flows");
    let data = f64::from(options.established) * options.established_rate;
    check_rate(data).map_err(|expected| {
        let Options { established, established_rate, .. } = options;
        anyhow!("established rate: {established_rate} of {established} flows each; {expected}")
    })?;
    if let Some([_, generator]) = options.cpus {
        cpu::pin(generator)?;
    }
    let rate = Rate::calibrate();
    let family = options.family;
    let cluster = Cluster { protocol: cluster::TCP, ..Cluster::new(family, 1) };
    let offer_max = subject::offer_max(cluster, options.cpus, rate, SELF_TEST)?;
    // What a worker can take is measured without the gate: with it, it takes none.
    let (subject, trial) = Trial::new(options, cluster, rate, false)?;
    let memory = subject.memory();
    let (capacity, memory) = trial.run(subject, |trial, counters| {
        let capacity = trial.capacity(counters)?;
        let mut memory = memory.clone();
        memory.grown(counters.flows.iter().map(|flows| flows.get()).sum())?;
        Ok((capacity, memory))
    })?;
    let (subject, trial) = Trial::new(options, cluster, rate, options.syn_gate)?;
    let phases = trial.run(subject, |trial, counters| {
        let loads = options.loads.iter();
        loads.map(|&offer| trial.phase(counters, offer, capacity.syns_per_second)).collect()
    })?;
    Ok(Outcome {
        cpu: cpu::model(),
        family: family.label(),
        pods_answer: options.pods_answer,
        tsc_ghz: rate.ghz(),
        offer_max,
        capacity,
        phases,
        memory,
    })
}

struct Trial<'a> {
    options: &'a Options,
    rate: Rate,
    generator: Generator,
}

impl<'a> Trial<'a> {
    fn new(
        options: &'a Options,
        cluster: Cluster,
        rate: Rate,
        syn_gate: bool,
    ) -> Result<(Subject, Self)> {
        let (subject, peers, cache) = Subject::start(cluster, options.flows_max, syn_gate)?;
        let answer = options.pods_answer;
        let generator = Generator::new(cluster, peers, cache, options.established, answer, rate);
        Ok((subject, Trial { options, rate, generator }))
    }

    /// Opens the established flows and measures.
    fn run<T>(
        mut self,
        subject: Subject,
        measure: impl FnOnce(&mut Self, &WorkerCounters) -> Result<T>,
    ) -> Result<T> {
        let cpu = self.options.cpus.map(|[worker, _]| worker);
        // The generator goes inside, and its frames with it: they are counted then.
        subject.with_worker(cpu, move |counters| {
            let outcome = self.open_flows().and_then(|()| measure(&mut self, counters));
            self.generator.close();
            outcome
        })
    }

    fn idle(&mut self, time: Duration) -> Result<()> {
        self.generator.run(&Load::default(), time, Duration::ZERO)
    }

    fn open_flows(&mut self) -> Result<()> {
        for _ in 0..OPEN_ROUNDS {
            if self.generator.unopened() == 0 {
                return Ok(());
            }
            self.generator.open_flows()?;
            self.idle(OPEN_FOR)?;
        }
        let left = self.generator.unopened();
        ensure!(left == 0, "{left} established flows could not be opened");
        Ok(())
    }

    /// The flood alone, as fast as the worker takes it.
    fn capacity(&mut self, counters: &WorkerCounters) -> Result<Capacity> {
        let full = self.options.flows_max as u64;
        let deadline = Instant::now() + FILL_MAX;
        loop {
            self.generator.flood_for(self.options.warm_up)?;
            let flows: u64 = counters.flows.iter().map(|flows| flows.get()).sum();
            if flows >= full {
                break;
            }
            ensure!(Instant::now() < deadline, "{flows} flows do not fill the table");
        }
        let (time, parts) = self.options.capacity;
        let part = time / parts.max(1);
        let so_far = || (counters.busy_ns.get(), counters.ports[UPLINK].rx_packets.get());
        let before = Worked::now(counters);
        let mut slices = Vec::new();
        for _ in 0..parts.max(1) {
            let (busy, syns) = so_far();
            self.generator.flood_for(part)?;
            let (busy, syns) = (so_far().0 - busy, so_far().1 - syns);
            // With fewer the worker was not given its core, or is in the middle
            // of a turn that is not counted yet.
            if syns >= SLICE_MIN {
                slices.push(busy as f64 / syns as f64);
            }
        }
        let worked = Worked::now(counters) - before;
        self.idle(DRAIN)?;
        if slices.is_empty() {
            slices.push(worked.busy_ns as f64 / worked.syns.max(1) as f64);
        }
        Ok(Capacity::new(slices, worked))
    }

    fn phase(&mut self, counters: &WorkerCounters, offer: Offer, capacity: f64) -> Result<Phase> {
        let options = self.options;
        let flood = match offer {
            Offer::OfCapacity(share) => share * capacity,
            Offer::Rate(rate) => rate,
        };
        let load = Load {
            flood: Flood::Rate(flood),
            established: options.established_rate,
            honest: options.honest_rate,
        };
        let (before, worked) = (self.generator.counts, Worked::now(counters));
        let honest = self.generator.honest.clients.len();
        let honest_for = options.phase.saturating_sub(options.patience);
        let begun = ticks();
        self.generator.run(&load, options.phase, honest_for)?;
        let seconds = self.rate.nanos(ticks() - begun) / 1e9;
        let worked = Worked::now(counters) - worked;
        self.generator.honest.give_up();
        self.idle(DRAIN)?;
        let counts = self.generator.counts - before;
        let (waits, failed) = self.generator.honest.waits(honest);
        Ok(Phase::new(offer, flood, seconds, &counts, worked, &Waits { waits, failed }))
    }
}

#[cfg(test)]
mod tests;
