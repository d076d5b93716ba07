//! How evenly backends share connections, and how many move when one comes,
//! goes, or gets another weight.

use clap::Parser;
use sluice_perf::shares::{CHANGES, Shares, measure};

/// Measures shares of backends, and what moves when one changes.
#[derive(Parser)]
struct Args {
    /// Numbers of backends.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 16, 17, 50, 100, 500, 1000])]
    backends: Vec<u32>,
    /// Sets of addresses for each number.
    #[arg(long, default_value_t = 10)]
    sets: u32,
    /// Connections, in thousands.
    #[arg(long, default_value_t = 4000)]
    connections: u32,
}

fn main() {
    let args = Args::parse();
    println!("moved: % of connections; in brackets: of these, from or to none that changed\n");
    print!("{:>8} {:>8} {:>8} {:>8}", "backends", "sd %", "least %", "most %");
    CHANGES.iter().for_each(|change| print!(" {:>16}", format!("{change:?}")));
    println!();
    for backends in args.backends {
        let sets: Vec<Shares> =
            (0..args.sets).map(|seed| measure(backends, args.connections * 1000, seed)).collect();
        let mean = |of: &dyn Fn(&Shares) -> f64| {
            100.0 * sets.iter().map(of).sum::<f64>() / f64::from(args.sets)
        };
        let least = sets.iter().map(|set| set.extremes[0]).fold(f64::INFINITY, f64::min);
        let most = sets.iter().map(|set| set.extremes[1]).fold(0.0, f64::max);
        let deviation = mean(&|set| set.deviation);
        let [least, most] = [least, most].map(|part| 100.0 * (part - 1.0));
        print!("{backends:>8} {deviation:>8.2} {least:>+8.2} {most:>+8.2}");
        for i in 0..CHANGES.len() {
            let (moved, beyond) = (mean(&|set| set.moved[i]), mean(&|set| set.beyond[i]));
            print!(" {:>16}", format!("{moved:.3} ({beyond:.3})"));
        }
        println!();
    }
}
