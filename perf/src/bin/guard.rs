//! Counts the instructions of the main paths and compares them with a baseline:
//! a number that no neighbor on the machine disturbs.

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use sluice_perf::baseline::{Baseline, COMPILER, Cost, TOLERANCE, grown};
use sluice_perf::callgrind;
use sluice_perf::cases::Check;
use sluice_perf::workloads;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Rounds that are counted.
const ROUNDS: usize = 4;
/// Functions and files that a report of growth names.
const NAMED: usize = 6;

/// Counts the instructions of the main paths and compares them with a baseline.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Internal>,
    /// Writes the counts as the new baseline; with --only, those of the others stay.
    #[arg(long, requires = "why")]
    update: bool,
    /// Why the baseline changes; kept in the file.
    #[arg(long, requires = "update")]
    why: Option<String>,
    /// Only workloads whose name contains one of these words.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The baseline.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/guard/baseline.json"))]
    baseline: PathBuf,
}

#[derive(Subcommand)]
enum Internal {
    /// Runs one workload: what is run under valgrind.
    #[command(hide = true)]
    Workload {
        /// Its name.
        name: String,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Some(Internal::Workload { name }) => workload(name).map(|()| true),
        None => guard(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("guard: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn workload(name: &str) -> Result<()> {
    let mut case = workloads::make(name)?;
    case.round(Check::All)?;
    workloads::begin();
    for _ in 0..ROUNDS {
        case.round(Check::Sample)?;
    }
    println!("{}", ROUNDS * case.units());
    Ok(())
}

/// Measures and compares (or writes); false when something has grown.
fn guard(args: &Args) -> Result<bool> {
    let version = valgrind().arg("--version").stderr(Stdio::null()).output();
    ensure!(
        version.is_ok_and(|output| output.status.success()),
        "valgrind is missing; install it (apt-get install valgrind)"
    );
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|w| name.contains(w));
    let folder = std::env::temp_dir().join(format!("sluice-guard-{}", std::process::id()));
    std::fs::create_dir_all(&folder).context("cannot make a folder for profiles")?;
    let mut costs = BTreeMap::new();
    let mut measure_all = || -> Result<()> {
        for (name, _) in workloads::ALL.into_iter().filter(|(name, _)| wanted(name)) {
            costs.insert(name.to_owned(), measure(name, &folder)?);
        }
        Ok(())
    };
    let measured = measure_all();
    std::fs::remove_dir_all(&folder).ok();
    measured?;
    ensure!(!costs.is_empty(), "no workload has such a name");
    let update = args.why.as_deref();
    if let Some(why) = update.filter(|_| args.only.is_empty()) {
        let compiler = COMPILER.to_owned();
        let baseline = Baseline { compiler, why: why.to_owned(), workloads: costs };
        baseline.write(&args.baseline)?;
        print(&baseline.workloads, None);
        return Ok(true);
    }
    let mut baseline = Baseline::read(&args.baseline)?;
    ensure!(
        baseline.compiler == COMPILER,
        "the baseline holds for {}, this program was built by {COMPILER}: look at the change of \
         compiler by itself, then make a new baseline with --update --why REASON",
        baseline.compiler
    );
    let good = print(&costs, Some(&baseline));
    if let Some(why) = update {
        baseline.why = format!("{} {why}", baseline.why);
        baseline.workloads.extend(costs);
        baseline.write(&args.baseline)?;
        return Ok(true);
    }
    Ok(good)
}

/// valgrind without an environment: that lies above the stack, as the arguments
/// do, and moves it. What lies near a page's end takes libc half as many
/// instructions again to compare, and the same code would count otherwise.
fn valgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.env_clear();
    command
}

/// Runs a workload under callgrind. Only what the workers do is counted, and
/// only once the workload is set up and warm.
fn measure(name: &str, folder: &Path) -> Result<Cost> {
    let file = folder.join(name);
    let program = std::env::current_exe().context("cannot find this program")?;
    let (Some(at), Some(program)) = (program.parent(), program.file_name()) else {
        bail!("{} is not a file in a folder", program.display());
    };
    // Called the same wherever it lies: see `valgrind`.
    let output = valgrind()
        .current_dir(at)
        .args(["--tool=callgrind", "--quiet"])
        .arg("--toggle-collect=sluice_perf::cases::drive")
        .arg("--toggle-collect=sluice_perf::cases::turn")
        .arg("--zero-before=sluice_perf::workloads::begin")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(Path::new(".").join(program))
        .args(["workload", name])
        .output()
        .context("cannot run valgrind")?;
    if !output.status.success() {
        bail!("{name} fails: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let units = String::from_utf8_lossy(&output.stdout).trim().parse();
    let units: usize = units.with_context(|| format!("{name} does not say what it did"))?;
    let text = std::fs::read_to_string(&file).context("valgrind has written no profile")?;
    let profile = callgrind::parse(&text).with_context(|| format!("profile of {name}"))?;
    ensure!(profile.total > 0, "{name}: nothing was counted; is the program stripped?");
    Ok(Cost::of(&profile, units))
}

/// Prints the costs against the baseline; false when one has grown.
fn print(costs: &BTreeMap<String, Cost>, baseline: Option<&Baseline>) -> bool {
    let mut good = true;
    println!("{:<14} {:>12} {:>10}", "workload", "instructions", "change");
    for (name, cost) in costs {
        let before = baseline.and_then(|baseline| baseline.workloads.get(name));
        let Some(before) = before else {
            println!("{name:<14} {:>12.1} {:>10}", cost.total, "new");
            continue;
        };
        let growth = cost.growth(before);
        println!("{name:<14} {:>12.1} {:>+9.1}%", cost.total, growth * 100.0);
        if growth > TOLERANCE {
            good = false;
            for (kind, from, to) in [
                ("function", &before.functions, &cost.functions),
                ("file", &before.files, &cost.files),
            ] {
                for (what, before, after) in grown(from, to).into_iter().take(NAMED) {
                    println!("    {kind:<8} {before:>8.1} -> {after:>8.1}  {what}");
                }
            }
        }
    }
    if !good {
        println!(
            "more than {:.0}% above the baseline ({}); if it has to be: --update --why REASON",
            TOLERANCE * 100.0,
            baseline.map_or("", |baseline| baseline.why.as_str())
        );
    }
    good
}
