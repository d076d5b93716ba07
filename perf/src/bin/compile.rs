//! What a change of a large cluster costs control: the objects reduced, the
//! tables compiled, published, and the old ones freed.

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;
use sluice_control::cluster::{Cluster, Policy};
use sluice_control::compile::Compiler;
use sluice_control::object::{Key, Object};
use sluice_control::publish::Publisher;
use sluice_control::{HealthChecks, ServiceNames};
use sluice_perf::cpu;
use sluice_perf::scale::config::{NO_SOURCE, config, facts};
use sluice_perf::scale::objects::{Size, State};
use sluice_perf::scale::samples::Spread;
use sluice_perf::scale::usage::{resident_mib, thread_time};
use sluice_perf::site::Family;
use sluice_tables::Tables;
use sluice_tables::mailbox::{FromWorker, ToWorker, WorkerEnd, mailbox};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first number of a stray pod that comes and goes.
const STRAY: u32 = 50_000;

/// Bytes that are touched to empty the caches.
const RUBBISH: usize = 96 << 20;

/// Measures what changes of a large cluster cost control.
#[derive(Parser)]
struct Args {
    /// Services, each with 10 endpoints.
    #[arg(long, default_value_t = Size::LARGE.services)]
    services: u32,
    /// Changes of each kind.
    #[arg(long, default_value_t = 3000)]
    changes: u32,
    /// The core to run on.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// Empty the caches before each change.
    #[arg(long)]
    cold: bool,
    /// A pod behind each endpoint as well.
    #[arg(long)]
    pods: bool,
    /// Pods outside of their nodes' ranges as well.
    #[arg(long, default_value_t = 0)]
    strays: u32,
    /// Only changes whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// A file for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Control, step by step, and what stands for a worker.
struct Bench {
    cluster: Cluster,
    compiler: Compiler,
    publisher: Publisher,
    health: HealthChecks,
    health_version: u64,
    names: ServiceNames,
    worker: WorkerEnd,
    held: Arc<Tables>,
    now: Duration,
    /// More than the caches hold; empty: they stay as they are.
    rubbish: Vec<u8>,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    what: &'static str,
    cpu: Spread,
}

#[derive(Serialize)]
struct Report {
    processor: String,
    services: u32,
    endpoints: u32,
    nodes: u32,
    reduce_ms: f64,
    compile_ms: f64,
    resident_mib: f64,
    resident_max_mib: f64,
    rows: Vec<Row>,
}

impl Bench {
    fn new() -> Result<Self> {
        let config = config(NO_SOURCE)?;
        let mut cluster = Cluster::default();
        cluster.set_policy(Policy::of(&config.services));
        let (end, worker) = mailbox()?;
        Ok(Bench {
            cluster,
            compiler: Compiler::new(&config, &facts(), 0)?,
            publisher: Publisher::new(vec![end]),
            health: HealthChecks::default(),
            health_version: 0,
            names: ServiceNames::default(),
            worker,
            held: Arc::new(Tables::empty(1)),
            now: Duration::ZERO,
            rubbish: Vec::new(),
        })
    }

    fn apply(&mut self, object: &Object) {
        self.cluster.apply(object, None);
    }

    /// Publishes what has changed, as control does.
    fn publish(&mut self) {
        let changes = self.cluster.take_changes();
        let live = self.publisher.live();
        let tables = self.compiler.compile(&self.cluster, &changes, self.now, live);
        if self.health_version != self.compiler.health_version() {
            self.health_version = self.compiler.health_version();
            self.health.update(self.compiler.health_checks());
        }
        self.cluster.take_new_findings();
        self.compiler.take_new_findings();
        if let Some(tables) = tables {
            self.publisher.publish(tables, self.now);
            self.names.update(&self.compiler);
        }
    }

    /// The worker takes tables over and sends the old ones back.
    fn swap(&mut self) {
        while let Some(ToWorker::Tables(tables)) = self.worker.receive() {
            let version = tables.version;
            let old = std::mem::replace(&mut self.held, tables);
            let _ = self.worker.send(FromWorker::Live { version });
            let _ = self.worker.send(FromWorker::Retired(old));
        }
    }

    /// Processor time of `change`, its publication, and freeing what is old.
    fn measure(&mut self, change: impl FnOnce(&mut Self)) -> Duration {
        self.now += Duration::from_millis(10);
        for line in self.rubbish.chunks_mut(64) {
            line[0] = line[0].wrapping_add(1);
        }
        let begin = thread_time();
        change(self);
        self.publish();
        let published = thread_time();
        self.swap();
        let swapped = thread_time();
        self.publisher.pump(self.now);
        self.publisher.free();
        published - begin + (thread_time() - swapped)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    cpu::pin(args.cpu)?;
    let size = Size { services: args.services, ..Size::LARGE };
    let mut bench = Bench::new()?;
    let mut reduce = Duration::ZERO;
    let pods = (0..if args.pods { size.services } else { 0 })
        .flat_map(|service| (0..size.endpoints).map(move |endpoint| (service, endpoint)))
        .map(|(service, endpoint)| size.pod(service, endpoint, true));
    let strays = (0..args.strays).map(|number| size.stray(number, true));
    for object in size.objects().chain(pods).chain(strays) {
        let object = object?;
        let begin = Instant::now();
        bench.apply(&object);
        reduce += begin.elapsed();
    }
    let begin = Instant::now();
    bench.publish();
    let compile = begin.elapsed();
    bench.swap();
    bench.publisher.pump(bench.now);
    let findings: Vec<_> = bench.compiler.findings().collect();
    // Each address of a stray pod is one.
    let is_expected = findings.len() == 2 * args.strays as usize;
    anyhow::ensure!(is_expected, "{:?}", findings.first());
    if args.cold {
        bench.rubbish = vec![0; RUBBISH];
    }
    let frontends = bench.held.v4.frontends.len() + bench.held.v6.frontends.len();
    anyhow::ensure!(frontends == 2 * size.services as usize, "{frontends} frontends");
    let (resident_mib, resident_max_mib) = resident_mib()?;
    let mut report = Report {
        processor: cpu::model(),
        services: size.services,
        endpoints: size.services * size.endpoints,
        nodes: size.nodes,
        reduce_ms: reduce.as_secs_f64() * 1e3,
        compile_ms: compile.as_secs_f64() * 1e3,
        resident_mib,
        resident_max_mib,
        rows: Vec::new(),
    };
    println!(
        "{} Services: reduced in {:.0} ms, compiled in {:.0} ms, {resident_mib:.0} MiB (at most {resident_max_mib:.0})",
        size.services, report.reduce_ms, report.compile_ms
    );
    type Make = fn(&Size, u32) -> Result<(Vec<Object>, Vec<Key>)>;
    let mut kinds: Vec<(&'static str, &'static str, u32, Make)> = vec![
        ("ready", "an endpoint stops or starts to be ready", 1, |size, n| {
            let state = if n.is_multiple_of(2) { State::NotReady } else { State::Ready };
            Ok((vec![one(size, n / 2, Family::V4, state)?], vec![]))
        }),
        ("ready-v6", "the same of IPv6", 1, |size, n| {
            let state = if n.is_multiple_of(2) { State::NotReady } else { State::Ready };
            Ok((vec![one(size, n / 2, Family::V6, state)?], vec![]))
        }),
        ("replaced", "a pod takes another's place", 1, |size, n| {
            let state = if n.is_multiple_of(2) { State::Replaced } else { State::Ready };
            Ok((vec![one(size, n / 2, Family::V4, state)?], vec![]))
        }),
        ("service", "a Service and its slices come or go", 10, |size, n| {
            let service = n / 2 * 7 % size.services;
            let none = (u32::MAX, State::Ready);
            let objects = vec![
                size.service(service)?,
                size.slice(service, Family::V4, none)?,
                size.slice(service, Family::V6, none)?,
            ];
            Ok(if n.is_multiple_of(2) {
                (vec![], objects.iter().map(Object::key).collect())
            } else {
                (objects, vec![])
            })
        }),
        ("node", "a node's tunnel gets another MAC", 100, |size, n| {
            Ok((vec![size.node(n / 2 % size.nodes, n.is_multiple_of(2))?], vec![]))
        }),
    ];
    if args.pods {
        kinds.push((
            "pod",
            "a pod stops or starts to be ready, as told of itself",
            1,
            |size, n| {
                let (service, endpoint) = (n / 2 * 7 % size.services, n / 2 % size.endpoints);
                Ok((vec![size.pod(service, endpoint, !n.is_multiple_of(2))?], vec![]))
            },
        ));
    }
    if args.strays > 0 {
        kinds.push(("stray", "a pod outside of its node's ranges comes or goes", 4, |size, n| {
            let stray = size.stray(STRAY + n / 2, true)?;
            let key = stray.key();
            Ok(if n.is_multiple_of(2) { (vec![stray], vec![]) } else { (vec![], vec![key]) })
        }));
    }
    for (name, what, rarer, make) in kinds {
        if args.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let mut samples = Vec::new();
        for n in 0..(args.changes / rarer).max(2) {
            let (objects, keys) = make(&size, n)?;
            let before = bench.held.version;
            samples.push(bench.measure(|bench| {
                objects.iter().for_each(|object| bench.apply(object));
                keys.iter().for_each(|key| bench.cluster.delete(key));
            }));
            let is_new = bench.held.version > before;
            // Slices, not pods, say what is ready.
            anyhow::ensure!(is_new != (name == "pod"), "{name}: {is_new}");
        }
        let cpu = Spread::of(&mut samples).context("no sample")?;
        println!(
            "{name:<12} p50 {:>8.1} us  p99 {:>8.1} us  max {:>8.1} us  {what}",
            cpu.p50_us, cpu.p99_us, cpu.max_us
        );
        report.rows.push(Row { name, what, cpu });
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    Ok(())
}

fn one(size: &Size, n: u32, family: Family, state: State) -> Result<Object> {
    // Neighbors in this order are far apart in every other one.
    let service = n.wrapping_mul(7919) % size.services;
    size.slice(service, family, (n % size.endpoints, state))
}
