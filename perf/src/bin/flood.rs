//! A SYN flood from random sources on one core against a worker on another:
//! what a SYN costs, and what is left for established flows and new clients.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use sluice_perf::flood::{self, Offer, Options};
use sluice_perf::site::Family;
use std::path::PathBuf;
use std::time::Duration;

/// Measures what a SYN flood costs, and what it leaves to others.
#[derive(Parser)]
struct Args {
    /// The family of everything.
    #[arg(long)]
    family: Version,
    /// The core of the worker.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// The core of the generator.
    #[arg(long, default_value_t = 0)]
    generator_cpu: usize,
    /// Rates of the flood, one phase for each, in percent of the measured
    /// capacity.
    #[arg(long, value_delimiter = ',', default_values_t = [80.0, 200.0])]
    percent: Vec<f64>,
    /// More phases, with these rates of the flood in SYNs a second.
    #[arg(long, value_delimiter = ',')]
    rates: Vec<f64>,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 24)]
    seconds: u64,
    /// Seconds at the end of a phase in which no honest client begins.
    #[arg(long, default_value_t = 8)]
    patience: u64,
    /// Established flows.
    #[arg(long, default_value_t = 1000)]
    established: u32,
    /// Data segments a second of each.
    #[arg(long, default_value_t = 100.0)]
    established_rate: f64,
    /// Honest clients a second.
    #[arg(long, default_value_t = 200.0)]
    honest_rate: f64,
    /// Pods do not answer SYNs of the flood.
    #[arg(long)]
    silent_pods: bool,
    /// The gate against floods stays open
    #[arg(long)]
    no_gate: bool,
    /// Flows that the worker may own.
    #[arg(long, default_value_t = 1 << 20)]
    flows_max: usize,
    /// A file for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    V4,
    V6,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let family = match args.family {
        Version::V4 => Family::V4,
        Version::V6 => Family::V6,
    };
    let shares = args.percent.iter().map(|percent| Offer::OfCapacity(percent / 100.0));
    let rates = args.rates.iter().map(|&rate| Offer::Rate(rate));
    let outcome = flood::run(&Options {
        family,
        cpus: Some([args.cpu, args.generator_cpu]),
        flows_max: args.flows_max,
        established: args.established,
        established_rate: args.established_rate,
        honest_rate: args.honest_rate,
        pods_answer: !args.silent_pods,
        syn_gate: !args.no_gate,
        warm_up: Duration::from_secs(3),
        capacity: (Duration::from_secs(5), 250),
        phase: Duration::from_secs(args.seconds),
        patience: Duration::from_secs(args.patience),
        loads: shares.chain(rates).collect(),
    })?;
    print!("{}", outcome.text());
    if let Some(path) = &args.json {
        outcome.write(path)?;
    }
    Ok(())
}
