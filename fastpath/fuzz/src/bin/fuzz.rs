//! Fuzzes without a nightly toolchain.

use sluice_fuzz::drive::{Until, run, session};
use sluice_fuzz::{TARGETS, Target, target};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
Usage: fuzz [--seconds N | --inputs N] [--seed N] [TARGET...]
       fuzz TARGET FILE...

Replays the corpus of each TARGET (default: of all), then runs mutations of it
for N seconds (default 60) or N inputs. With FILEs: runs these and nothing else.
An input that fails is written to corpus/TARGET/crashes/.";

struct Arguments {
    targets: Vec<Target>,
    files: Vec<String>,
    until: Until,
    seed: u64,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        targets: Vec::new(),
        files: Vec::new(),
        until: Until::Time(Duration::from_secs(60)),
        seed: 1,
    };
    let mut rest = std::env::args().skip(1);
    while let Some(argument) = rest.next() {
        let mut number = || {
            let value = rest.next().unwrap_or_default();
            value.parse::<u64>().map_err(|_| format!("{argument} {value}: expected a number"))
        };
        match argument.as_str() {
            "--seconds" => parsed.until = Until::Time(Duration::from_secs(number()?)),
            "--inputs" => parsed.until = Until::Inputs(number()?),
            "--seed" => parsed.seed = number()?,
            "-h" | "--help" => return Err(USAGE.to_owned()),
            name => match target(name) {
                Some(target) => parsed.targets.push(target),
                None if parsed.targets.len() == 1 => parsed.files.push(argument),
                None => {
                    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                    return Err(format!("no target {name}; expected one of {}", names.join(", ")));
                }
            },
        }
    }
    if parsed.targets.is_empty() {
        parsed.targets = TARGETS.to_vec();
    }
    Ok(parsed)
}

fn replay(target: &Target, files: &[String]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let result = match std::fs::read(file) {
            Ok(input) => run(target, &input),
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok(()) => println!("{file}: passes"),
            Err(why) => {
                println!("{file}: {why}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    if !arguments.files.is_empty() {
        return replay(&arguments.targets[0], &arguments.files);
    }
    // Failures are reported at the end, once, not while they are shortened.
    std::panic::set_hook(Box::new(|_| {}));
    let mut code = ExitCode::SUCCESS;
    for target in &arguments.targets {
        match session(target, arguments.seed, arguments.until) {
            Ok(done) => {
                println!("{}: {} replayed, {} mutated", target.name, done.replayed, done.mutated);
            }
            Err(failure) => {
                println!("{failure}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
