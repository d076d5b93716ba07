//! Control and a worker with traffic while a large cluster changes: how long a
//! change takes to be live, and what it costs.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use crossbeam_channel::{Sender, bounded};
use serde::Serialize;
use sluice_control::kubernetes::Access;
use sluice_control::source::kubernetes::Kubernetes;
use sluice_control::source::{Batch, Event};
use sluice_perf::cpu;
use sluice_perf::scale::api;
use sluice_perf::scale::config::{NO_SOURCE, config};
use sluice_perf::scale::feed::Feed;
use sluice_perf::scale::objects::Size;
use sluice_perf::scale::rig::{Phase, Rig, longest_answer};
use sluice_perf::scale::usage::{process_time, resident_mib};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Objects in a batch, as of a source.
const BATCH: usize = 512;

/// Measures how changes of a large cluster come to a worker with traffic.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// Services, each with 10 endpoints.
    #[arg(long, global = true, default_value_t = Size::LARGE.services)]
    services: u32,
    /// The core of the worker.
    #[arg(long, global = true, default_value_t = 1)]
    worker_cpu: usize,
    /// The core of everything else, of `feed`.
    #[arg(long, global = true, default_value_t = 0)]
    cpu: usize,
    /// A file for the results as JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Changes come from this very process: no API server.
    Feed {
        /// Seconds of a phase.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Changes come from an API server. Each line on standard input ends a phase
    /// and names it; the end of it ends the run.
    Api {
        /// How it is reached.
        #[arg(long)]
        kubeconfig: PathBuf,
    },
    /// Creates the cluster's objects at an API server.
    Create {
        /// How it is reached.
        #[arg(long)]
        kubeconfig: PathBuf,
    },
    /// Changes single endpoints at an API server.
    Change {
        /// How it is reached.
        #[arg(long)]
        kubeconfig: PathBuf,
        /// Changes a second.
        #[arg(long, default_value_t = 100)]
        rate: u32,
        /// For how many seconds.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
}

#[derive(Serialize)]
struct Report {
    processor: String,
    services: u32,
    endpoints: u32,
    nodes: u32,
    /// Before the source has brought anything.
    resident_before_mib: f64,
    /// Until the first tables were live.
    sync_seconds: f64,
    /// Processor time of this process until then, in seconds.
    sync_processor_seconds: f64,
    resident_synced_mib: f64,
    resident_max_mib: f64,
    phases: BTreeMap<String, Phase>,
    /// The longest that control took to answer, by phase, in milliseconds.
    answers_max_ms: BTreeMap<String, f64>,
    drops: BTreeMap<&'static str, u64>,
}

impl Report {
    fn new(size: &Size) -> Result<Self> {
        Ok(Report {
            processor: cpu::model(),
            services: size.services,
            endpoints: size.services * size.endpoints,
            nodes: size.nodes,
            resident_before_mib: resident_mib()?.0,
            sync_seconds: 0.0,
            sync_processor_seconds: 0.0,
            resident_synced_mib: 0.0,
            resident_max_mib: 0.0,
            phases: BTreeMap::new(),
            answers_max_ms: BTreeMap::new(),
            drops: BTreeMap::new(),
        })
    }

    fn synced(&mut self, took: Duration) -> Result<()> {
        self.sync_seconds = took.as_secs_f64();
        self.sync_processor_seconds = process_time().as_secs_f64();
        (self.resident_synced_mib, self.resident_max_mib) = resident_mib()?;
        println!(
            "in force after {:.2} s, {:.2} s of processor time; {:.0} MiB, at most {:.0} (before: {:.0})",
            self.sync_seconds,
            self.sync_processor_seconds,
            self.resident_synced_mib,
            self.resident_max_mib,
            self.resident_before_mib
        );
        Ok(())
    }

    fn phase(&mut self, name: &str, phase: Phase) {
        println!("{name}: {phase}");
        self.phases.insert(name.to_owned(), phase);
    }

    fn finish(&mut self, rig: &Rig, json: Option<&Path>) -> Result<()> {
        self.drops = rig.drops().into_iter().collect();
        self.resident_max_mib = resident_mib()?.1;
        println!("drops: {:?}; at most {:.0} MiB", self.drops, self.resident_max_mib);
        if let Some(path) = json {
            std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let size = Size { services: args.services, ..Size::LARGE };
    match &args.command {
        Command::Feed { seconds } => {
            // Threads that are made later are on this core, too; the worker moves.
            cpu::pin(args.cpu)?;
            feed(&args, &size, Duration::from_secs(*seconds))
        }
        Command::Api { kubeconfig } => of_api(&args, &size, kubeconfig),
        Command::Create { kubeconfig } => run(async {
            let begin = Instant::now();
            api::create(&api::client(kubeconfig).await?, &size).await?;
            println!("created in {:.1} s", begin.elapsed().as_secs_f64());
            Ok(())
        }),
        Command::Change { kubeconfig, rate, seconds } => run(async {
            let client = api::client(kubeconfig).await?;
            let time = Duration::from_secs(*seconds);
            println!("{} changes", api::change(&client, &size, *rate, time).await?);
            Ok(())
        }),
    }
}

fn run(future: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

fn of_api(args: &Args, size: &Size, kubeconfig: &Path) -> Result<()> {
    let mut report = Report::new(size)?;
    let config = config(&format!("{{kubernetes: {{kubeconfig: \"{}\"}}}}", kubeconfig.display()))?;
    let sluice_config::Source::Kubernetes(of) = config.source.clone() else { bail!("source") };
    let overlay = config.overlay_mode();
    let access = Access::new(&of, &config.cluster.service_cidrs);
    let begin = Instant::now();
    let rig = Rig::start(
        config,
        |clock| Box::new(Kubernetes::new(&of, overlay, access, clock)),
        size.services,
        size.nodes,
        args.worker_cpu,
    )?;
    rig.wait_live(1)?;
    report.synced(begin.elapsed())?;
    let mut before = rig.moment()?;
    for line in std::io::stdin().lines() {
        let name = line?;
        report.phase(&name, rig.since(&before)?);
        before = rig.moment()?;
    }
    report.finish(&rig, args.json.as_deref())?;
    rig.stop()
}

fn feed(args: &Args, size: &Size, time: Duration) -> Result<()> {
    let mut report = Report::new(size)?;
    let (events, feed) = bounded(16);
    let rig = Rig::start(
        config(NO_SOURCE)?,
        |_| Box::new(Feed(feed)),
        size.services,
        size.nodes,
        args.worker_cpu,
    )?;
    let begin = Instant::now();
    let mut batch = Vec::new();
    for object in size.objects() {
        batch.push(Event::Applied { object: object?, origin: None });
        if batch.len() == BATCH {
            send(&rig, &events, std::mem::take(&mut batch))?;
        }
    }
    batch.push(Event::Synced);
    send(&rig, &events, batch)?;
    rig.wait_live(1)?;
    report.synced(begin.elapsed())?;
    // Clients make themselves known first.
    sleep(Duration::from_secs(2));

    let applied = |number| -> Result<Event> {
        Ok(Event::Applied { object: size.change(number)?, origin: None })
    };
    let mut number = 0;
    for (name, rate) in [("quiet", 0), ("100 a second", 100), ("1000 a second", 1000)] {
        let before = rig.moment()?;
        let begin = Instant::now();
        while begin.elapsed() < time {
            if rate == 0 {
                sleep(time);
                continue;
            }
            let event = applied(number)?;
            number += 1;
            let due = begin + Duration::from_secs(1) * number / rate;
            sleep(due.saturating_duration_since(Instant::now()));
            send(&rig, &events, vec![event])?;
        }
        number = 0;
        report.phase(name, rig.since(&before)?);
    }

    let stop = AtomicBool::new(false);
    let burst = size.services.min(10_000);
    let all = (0..burst).map(|n| applied(2 * n)).collect::<Result<Vec<_>>>()?;
    let again = (0..burst).map(|n| applied(2 * n + 1)).collect::<Result<Vec<_>>>()?;
    for (name, events_of) in [("burst, one by one", all), ("burst, batches", again)] {
        let in_batch = if name.ends_with("batches") { BATCH } else { 1 };
        let before = rig.moment()?;
        let longest = std::thread::scope(|scope| -> Result<Duration> {
            let longest = longest_answer(scope, &rig, &stop);
            let mut events_of = events_of.into_iter();
            loop {
                let batch: Vec<_> = events_of.by_ref().take(in_batch).collect();
                if batch.is_empty() {
                    break;
                }
                send(&rig, &events, batch)?;
            }
            // Control has taken the last batch once it answers after it.
            sleep(Duration::from_millis(50));
            rig.wait_live(1)?;
            stop.store(true, Ordering::Release);
            longest.join().map_err(|_| anyhow::anyhow!("panicked"))?
        })?;
        stop.store(false, Ordering::Release);
        report.phase(name, rig.since(&before)?);
        report.answers_max_ms.insert(name.to_owned(), longest.as_secs_f64() * 1e3);
        println!("  longest answer {longest:?}");
    }
    report.finish(&rig, args.json.as_deref())?;
    drop(events);
    rig.stop()
}

fn send(rig: &Rig, events: &Sender<Batch>, batch: Vec<Event>) -> Result<()> {
    events.send(Batch { at: rig.now(), events: batch }).context("control is gone")
}
