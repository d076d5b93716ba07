use crate::mutate::{Random, mutate};
use crate::{Target, corpus};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Runs of a failing input to make it shorter.
const SHORTEN_RUNS_MAX: usize = 2_000;

/// When a session ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many mutated inputs.
    Inputs(u64),
    /// After so long.
    Time(Duration),
}

/// An input that made a target fail.
#[derive(Debug)]
pub struct Failure {
    /// The target.
    pub target: &'static str,
    /// Where the input lies.
    pub file: PathBuf,
    /// What the target said.
    pub why: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Failure { target, file, why } = self;
        let file = file.display();
        write!(
            f,
            "{target} failed: {why}\n  input:  {file}\n  replay: cargo run -p sluice-fuzz --bin fuzz -- {target} {file}"
        )
    }
}

/// What a session did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Inputs of the corpus.
    pub replayed: u64,
    /// Mutated inputs.
    pub mutated: u64,
}

/// Replays the corpus of a target, then runs mutations of it. Panics of the
/// target are caught; nothing is printed.
///
/// # Errors
/// The first input that fails, shortened and written to the corpus's crashes.
pub fn session(target: &Target, seed: u64, until: Until) -> Result<Done, Failure> {
    let io_failure = |error: io::Error| Failure {
        target: target.name,
        file: corpus::folder(target.name),
        why: format!("cannot read the corpus: {error}"),
    };
    let inputs = corpus::load(target.name).map_err(io_failure)?;
    let mut done = Done::default();
    for (file, input) in &inputs {
        let fail = |why| Failure { target: target.name, file: file.clone(), why };
        run(target, input).map_err(fail)?;
        done.replayed += 1;
    }
    let mut pool: Vec<Vec<u8>> = inputs.into_iter().map(|(_, input)| input).collect();
    if pool.is_empty() {
        pool.push(Vec::new());
    }
    let mut random = Random(seed);
    let began = Instant::now();
    let goes_on = |done: &Done| match until {
        Until::Inputs(count) => done.mutated < count,
        Until::Time(time) => began.elapsed() < time,
    };
    while goes_on(&done) {
        let seed = random.below(pool.len());
        let other = random.below(pool.len());
        let input = mutate(target, &mut random, &pool[seed], &pool[other]);
        if let Err(why) = run(target, &input) {
            return Err(report(target, input, why));
        }
        done.mutated += 1;
        // Without coverage to go by, some mutants take the place of others, so
        // that changes add up; the corpus itself stays.
        if random.below(8) == 0 {
            keep(&mut pool, &mut random, done.replayed as usize, input);
        }
    }
    Ok(done)
}

/// Mutants kept beside the corpus.
const KEPT_MAX: usize = 256;

fn keep(pool: &mut Vec<Vec<u8>>, random: &mut Random, corpus: usize, input: Vec<u8>) {
    if pool.len() < corpus + KEPT_MAX {
        pool.push(input);
    } else {
        let at = corpus + random.below(KEPT_MAX);
        pool[at] = input;
    }
}

/// Runs one input.
///
/// # Errors
/// What the target panicked with.
pub fn run(target: &Target, input: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "a panic without words".to_owned())
    })
}

fn report(target: &Target, input: Vec<u8>, why: String) -> Failure {
    let (input, why) = shorten(target, input, why);
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let file = corpus::crashes(target.name).join(format!("{:016x}", hasher.finish()));
    let written = write(&file, &input);
    let why = match written {
        Ok(()) => why,
        Err(error) => format!("{why} (and the input could not be written: {error})"),
    };
    Failure { target: target.name, file, why }
}

/// Writes an input, its folder included.
///
/// # Errors
/// When the file system refuses.
pub fn write(file: &Path, input: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, input)
}

/// Leaves pieces out as long as the input still fails.
fn shorten(target: &Target, mut input: Vec<u8>, mut why: String) -> (Vec<u8>, String) {
    let mut runs = 0;
    let mut piece = input.len().div_ceil(2);
    while piece > 0 && runs < SHORTEN_RUNS_MAX {
        let mut from = 0;
        while from < input.len() && runs < SHORTEN_RUNS_MAX {
            runs += 1;
            let mut fewer = input.clone();
            fewer.drain(from..(from + piece).min(input.len()));
            match run(target, &fewer) {
                Err(still) => (input, why) = (fewer, still),
                Ok(()) => from += piece,
            }
        }
        piece /= 2;
    }
    (input, why)
}
