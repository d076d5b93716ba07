//! L4 forwarding and L7 on one worker, on one core: what each leaves to the other, by a
//! generator on another core.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use sluice_l7::worker::SLICE;
use sluice_perf::fair::{self, Options};
use sluice_perf::limits;
use sluice_perf::site::Family;
use std::path::PathBuf;
use std::time::Duration;

/// Measures how forwarding and L7 share a worker.
#[derive(Parser)]
struct Args {
    /// The family of everything; more than once, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [Version::V4, Version::V6])]
    family: Vec<Version>,
    /// The core of the worker.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// The core of the generator.
    #[arg(long, default_value_t = 0)]
    generator_cpu: usize,
    /// The core of the helpers of TLS and of the clients' ends of it. On the generator's,
    /// that one naps in rows with handshakes, and has to be allowed to run before all.
    #[arg(long, default_value_t = 0)]
    helper_cpu: usize,
    /// Clients with requests.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Handshakes under way at once.
    #[arg(long, default_value_t = 16)]
    handshakes: usize,
    /// Microseconds of a nap.
    #[arg(long, default_value_t = 50)]
    nap: u64,
    /// Microseconds that tasks of L7 run in one turn; as shipped, if not given.
    #[arg(long)]
    slice: Option<u64>,
    /// Seconds of a row that are measured.
    #[arg(long, default_value_t = 3.0, value_parser = limits::seconds,
        allow_negative_numbers = true)]
    seconds: f64,
    /// A file for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    V4,
    V6,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Family::from(*self).label())
    }
}

impl From<Version> for Family {
    fn from(version: Version) -> Self {
        match version {
            Version::V4 => Family::V4,
            Version::V6 => Family::V6,
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let families: Vec<Family> = args.family.iter().map(|&version| version.into()).collect();
    let options = Options {
        cpus: Some([args.cpu, args.generator_cpu, args.helper_cpu]),
        clients: args.clients,
        handshakes: args.handshakes,
        nap: Duration::from_micros(args.nap),
        rounds: 1000,
        slice: args.slice.map_or(SLICE, Duration::from_micros),
        frames: None,
        warm_up: Duration::from_millis(500),
        time: Duration::from_secs_f64(args.seconds),
    };
    let report = fair::run(&options, &families)?;
    print!("{}", report.text());
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_time() {
        let read = |seconds| {
            let args = Args::try_parse_from(["fair", "--seconds", seconds]);
            args.map(|args| args.seconds).map_err(|error| error.to_string())
        };
        assert_eq!(read("0.5"), Ok(0.5));
        for wrong in ["-1", "0", "nan", "1e9"] {
            let error = read(wrong).unwrap_err();
            let says = format!("invalid value '{wrong}' for '--seconds <SECONDS>': expected");
            assert!(error.contains(&says), "{error}");
        }
    }
}
