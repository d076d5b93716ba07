//! What network policy costs control: a large cluster compiled from nothing, and
//! changes of it, each compiled and published.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::Serialize;
use sluice_control::cluster::Cluster;
use sluice_control::compile::Compiler;
use sluice_control::object::Object;
use sluice_perf::cpu;
use sluice_perf::scale::config::{NO_SOURCE, config, facts};
use sluice_perf::scale::policies::Policed;
use sluice_perf::scale::samples::Spread;
use sluice_perf::scale::usage::{resident_mib, thread_time};
use sluice_tables::Tables;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Measures what network policy costs control.
#[derive(Parser)]
struct Args {
    /// Namespaces.
    #[arg(long, default_value_t = Policed::LARGE.namespaces)]
    namespaces: u32,
    /// Pods.
    #[arg(long, default_value_t = Policed::LARGE.pods)]
    pods: u32,
    /// Policies.
    #[arg(long, default_value_t = Policed::LARGE.policies)]
    policies: u32,
    /// Changes of each kind.
    #[arg(long, default_value_t = 1000)]
    changes: u32,
    /// The core to run on.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    /// A file for the results as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
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
    namespaces: u32,
    pods: u32,
    policies: u32,
    reduce_ms: f64,
    compile_ms: f64,
    tables_mib: f64,
    resident_mib: f64,
    rows: Vec<Row>,
}

struct Bench {
    cluster: Cluster,
    compiler: Compiler,
    held: Arc<Tables>,
    now: Duration,
}

impl Bench {
    /// Processor time of taking objects in, compiling, and freeing what is old.
    fn measure(&mut self, objects: &[Object]) -> Result<Duration> {
        self.now += Duration::from_millis(10);
        let begin = thread_time();
        for object in objects {
            self.cluster.apply(object, None);
        }
        let changes = self.cluster.take_changes();
        let live = self.held.version;
        let tables = self.compiler.compile(&self.cluster, &changes, self.now, live);
        let old = std::mem::replace(&mut self.held, tables.context("nothing has changed")?);
        drop(old);
        Ok(thread_time() - begin)
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    cpu::pin(args.cpu)?;
    let Args { namespaces, pods, policies, .. } = args;
    let policed = Policed { namespaces, pods, policies, ..Policed::LARGE };
    let mut bench = Bench {
        cluster: Cluster::default(),
        compiler: Compiler::new(&config(NO_SOURCE)?, &facts(), 0)?,
        held: Arc::new(Tables::empty(1)),
        now: Duration::ZERO,
    };
    let objects = policed.objects().collect::<Result<Vec<_>>>()?;
    let begin = thread_time();
    for object in &objects {
        bench.cluster.apply(object, None);
    }
    let reduce = thread_time() - begin;
    drop(objects);
    let compile = bench.measure(&[])?;
    let findings: Vec<_> = bench.cluster.findings().collect();
    ensure!(findings.is_empty(), "{:?}", findings.first());
    let sizes = bench.compiler.policy_sizes();
    let (resident, _) = resident_mib()?;
    let mut report = Report {
        processor: cpu::model(),
        namespaces,
        pods,
        policies,
        reduce_ms: reduce.as_secs_f64() * 1e3,
        compile_ms: compile.as_secs_f64() * 1e3,
        tables_mib: sizes.bytes as f64 / f64::from(1 << 20),
        resident_mib: resident,
        rows: Vec::new(),
    };
    println!(
        "{policies} policies, {pods} pods, {namespaces} namespaces: reduced in {:.0} ms, compiled \
         in {:.0} ms, rows {:.1} MiB, all {resident:.0} MiB; {sizes:?}",
        report.reduce_ms, report.compile_ms, report.tables_mib
    );
    type Make = fn(&Policed, u32) -> Result<Object>;
    let kinds: [(&'static str, &'static str, u32, Make); 3] = [
        ("pod", "a pod's label changes, and what selects it", 1, |policed, n| {
            policed.pod(n / 2 * 7919 % policed.pods, 1 - n % 2)
        }),
        ("policy", "a policy's ports or peers change", 1, |policed, n| {
            // Those of the first kinds stay as they are.
            let policy = (policed.policies * 6 / 10) + n / 2 * 7919 % (policed.policies * 4 / 10);
            policed.policy(policy, 1 - n % 2)
        }),
        ("namespace", "a namespace's label changes", 10, |policed, n| {
            policed.namespace(n / 2 * 7919 % policed.namespaces, 1 - n % 2)
        }),
    ];
    for (name, what, rarer, make) in kinds {
        let mut samples = Vec::new();
        for n in 0..(args.changes / rarer).max(2) {
            let object = make(&policed, n)?;
            samples.push(bench.measure(&[object])?);
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
