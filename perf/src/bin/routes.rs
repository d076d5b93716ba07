//! Control and a worker with traffic while one of many Ingresses changes: how long that
//! takes to be live, and the memory of all. No file is read and no API asked;
//! `perf/http/routes` measures the whole program from outside.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use crossbeam_channel::{Sender, bounded};
use serde::Serialize;
use sluice_control::object::Object;
use sluice_control::source::{Batch, Event};
use sluice_perf::cpu;
use sluice_perf::scale::config::{NO_SOURCE, config};
use sluice_perf::scale::feed::Feed;
use sluice_perf::scale::objects::Size;
use sluice_perf::scale::rig::{Phase, Rig};
use sluice_perf::scale::routes::{L7, around, ingress};
use sluice_perf::scale::usage::resident_mib;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Objects in a batch, as of a source.
const BATCH: usize = 512;

/// Measures how a change of one of many Ingresses comes to a worker.
#[derive(Parser)]
struct Args {
    /// Ingresses, each with a host of its own.
    #[arg(long, default_value_t = 5_000)]
    routes: u32,
    /// Changes of one of them.
    #[arg(long, default_value_t = 1_000)]
    edits: u32,
    /// Changes a second.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// The core of the worker.
    #[arg(long, default_value_t = 1)]
    worker_cpu: usize,
    /// The core of everything else.
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// A file for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    processor: String,
    routes: u32,
    resident_without_mib: f64,
    resident_with_mib: f64,
    /// Until all were live.
    all_seconds: f64,
    edits: Phase,
}

/// The source's end: each change is a batch.
struct Source<'a> {
    rig: &'a Rig,
    events: Sender<Batch>,
}

impl Source<'_> {
    fn send(&self, objects: Vec<Object>, is_all: bool) -> Result<()> {
        let applied = objects.into_iter().map(|object| Event::Applied { object, origin: None });
        let events = applied.chain(is_all.then_some(Event::Synced)).collect();
        self.events.send(Batch { at: self.rig.now(), events }).context("control is gone")
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.routes > 0 && args.rate > 0, "nothing to change");
    // Threads that are made later are on this core, too; the worker moves.
    cpu::pin(args.cpu)?;
    let size = Size { services: 100, nodes: 10, ..Size::LARGE };
    let (events, feed) = bounded(16);
    let rig = Rig::start(
        config(&format!("{NO_SOURCE}\n{L7}"))?,
        |_| Box::new(Feed(feed)),
        size.services,
        size.nodes,
        args.worker_cpu,
    )?;
    let source = Source { rig: &rig, events };
    let objects = size.objects().collect::<Result<Vec<_>>>()?;
    source.send(objects.into_iter().chain(around()?).collect(), true)?;
    let before = rig.wait_live(1)?;
    // Clients make themselves known first.
    sleep(Duration::from_secs(2));
    let without_mib = resident_mib()?.0;

    let begin = Instant::now();
    let all: Vec<u32> = (0..args.routes).collect();
    for numbers in all.chunks(BATCH) {
        let objects = numbers.iter().map(|number| ingress(*number, false));
        source.send(objects.collect::<Result<_>>()?, false)?;
    }
    rig.wait_live(before.version + 1)?;
    // What is sent last is published when control has taken it.
    sleep(Duration::from_secs(1));
    rig.wait_live(before.version + 1)?;
    let all_time = begin.elapsed().saturating_sub(Duration::from_secs(1));
    let with_mib = resident_mib()?.0;

    let before = rig.moment()?;
    let begin = Instant::now();
    for edit in 0..args.edits {
        // Neighbors are far apart, and each is another one than it was.
        let number = edit.wrapping_mul(7919) % args.routes;
        let is_other = (edit / args.routes).is_multiple_of(2);
        let object = ingress(number, is_other)?;
        let due = begin + Duration::from_secs(1) * edit / args.rate;
        sleep(due.saturating_duration_since(Instant::now()));
        source.send(vec![object], false)?;
    }
    sleep(Duration::from_millis(100));
    rig.wait_live(1)?;
    let edits = rig.since(&before)?;
    println!(
        "{} routes: {without_mib:.1} MiB without, {with_mib:.1} with them, {:.1} more; all are live \
         after {:.2} s",
        args.routes,
        with_mib - without_mib,
        all_time.as_secs_f64()
    );
    println!("edits: {edits}");
    let report = Report {
        processor: cpu::model(),
        routes: args.routes,
        resident_without_mib: without_mib,
        resident_with_mib: with_mib,
        all_seconds: all_time.as_secs_f64(),
        edits,
    };
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    drop(source);
    rig.stop()
}
