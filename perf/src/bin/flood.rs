//! A SYN flood from random sources on one core against a worker on another:
//! what a SYN costs, and what is left for established flows and new clients.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use sluice_perf::flood::{self, Offer, Options};
use sluice_perf::limits;
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
    #[arg(long, value_delimiter = ',', default_values_t = [80.0, 200.0],
        value_parser = limits::percent, allow_negative_numbers = true)]
    percent: Vec<f64>,
    /// More phases, with these rates of the flood in SYNs a second.
    #[arg(long, value_delimiter = ',', value_parser = limits::rate,
        allow_negative_numbers = true)]
    rates: Vec<f64>,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 24,
        value_parser = clap::value_parser!(u64).range(1..=limits::SECONDS_MAX))]
    seconds: u64,
    /// Seconds at the end of a phase in which no honest client begins.
    #[arg(long, default_value_t = 8,
        value_parser = clap::value_parser!(u64).range(..=limits::SECONDS_MAX))]
    patience: u64,
    /// Established flows.
    #[arg(long, default_value_t = 1000)]
    established: u32,
    /// Data segments a second of each.
    #[arg(long, default_value_t = 100.0, value_parser = limits::rate,
        allow_negative_numbers = true)]
    established_rate: f64,
    /// Honest clients a second.
    #[arg(long, default_value_t = 200.0, value_parser = limits::rate,
        allow_negative_numbers = true)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_that_cannot_be_are_refused_by_their_options() {
        let read = |options: &[&str]| {
            let command = ["flood", "--family", "v4"].iter().chain(options);
            Args::try_parse_from(command).map_err(|error| error.to_string())
        };
        let args = read(&["--rates", "0,1e6", "--percent", "50"]).ok().unwrap();
        assert_eq!((args.rates, args.percent), (vec![0.0, 1e6], vec![50.0]));
        for (option, value, wrong) in [
            ("--rates", "-5", "-5"),
            ("--rates", "1000,nan", "nan"),
            ("--rates", "1e15", "1e15"),
            ("--percent", "-80", "-80"),
            ("--established-rate", "-1", "-1"),
            ("--honest-rate", "inf", "inf"),
            ("--seconds", "0", "0"),
            ("--patience", "3601", "3601"),
        ] {
            let error = read(&[option, value]).err().unwrap();
            let says = format!("invalid value '{wrong}' for '{option} <");
            assert!(error.contains(&says), "{option} {value}: {error}");
        }
    }
}
