use super::config::facts;
use super::traffic::{Seen, TrafficPort};
use crate::cluster::{Cluster, UDP};
use crate::cpu;
use crate::gateway::{GatewayOptions, MESH_RING_LEN, SERVICES_COUNTED, worker_options};
use crate::site::Family;
use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Sender, bounded};
use serde::Serialize;
use sluice_config::Config;
use sluice_control::publish::Histogram;
use sluice_control::publish::histogram::BOUNDS_US;
use sluice_control::view::ControlMetrics;
use sluice_control::{Clock, Control, Request, Source, SystemClock};
use sluice_fastpath::counters::SWAP_BOUNDS_NS;
use sluice_fastpath::idle::{Idle, IdleMode};
use sluice_fastpath::{DropReason, Nanos, Worker, WorkerCounters, mesh};
use sluice_io::{FrameCache, Port, Umem};
use sluice_tables::mailbox::mailbox;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// Flows of clients that send all the time.
const FLOWS: u32 = 20_000;
/// Flows that the worker may own.
const FLOWS_MAX: usize = 1 << 17;
/// Frames of the worker.
const FRAMES: usize = 4096;
/// How long control may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Control and a worker, as shipped, each on a core; traffic flows as soon as
/// there are tables.
pub struct Rig {
    requests: Sender<Request>,
    counters: Arc<WorkerCounters>,
    seen: Arc<Seen>,
    clock: Arc<SystemClock>,
    control: JoinHandle<()>,
    worker: JoinHandle<()>,
}

/// What is counted, at one moment.
#[derive(Clone, Debug)]
pub struct Moment {
    at: Duration,
    metrics: ControlMetrics,
    swaps: Vec<u64>,
    swap_ns: u64,
    sent: u64,
    drops: u64,
}

/// What happened between two moments.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// Its length in seconds.
    pub seconds: f64,
    /// Tables that were published.
    pub publications: u64,
    /// Processor time of each publication.
    pub compile: Buckets,
    /// From the notice of a change until the worker had it.
    pub event_to_live: Buckets,
    /// For how long the worker's packets waited for a swap of tables.
    pub swap: Buckets,
    /// Millions of packets a second that the worker sent into the overlay.
    pub mpps: f64,
    /// Packets that it dropped.
    pub drops: u64,
}

/// A histogram: upper bounds that cover so much of it, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Buckets {
    /// Observations.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half of them are not above it.
    pub p50_at_most_us: f64,
    /// 99 of 100 are not above it.
    pub p99_at_most_us: f64,
    /// None is above it.
    pub max_at_most_us: f64,
    /// Observations by upper bound in microseconds, empty ones left out.
    pub buckets: BTreeMap<String, u64>,
}

impl Buckets {
    fn of(bounds_us: &[f64], before: &[u64], after: &[u64], sum_us: f64) -> Self {
        let counts: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        let bound = |bucket: usize| bounds_us.get(bucket).copied().unwrap_or(f64::INFINITY);
        let count: u64 = counts.iter().sum();
        let rank = |percent: u64| {
            let mut sum = 0;
            let wanted = (count * percent).div_ceil(100);
            let mut buckets = counts.iter().enumerate();
            let found = buckets.find(|(_, count)| {
                sum += **count;
                sum >= wanted
            });
            found.map_or(f64::NAN, |(bucket, _)| bound(bucket))
        };
        let buckets = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        Buckets {
            count,
            mean_us: sum_us / count.max(1) as f64,
            p50_at_most_us: rank(50),
            p99_at_most_us: rank(99),
            max_at_most_us: rank(100),
            buckets: buckets.map(|(bucket, n)| (format!("{}", bound(bucket)), *n)).collect(),
        }
    }

    fn of_control(before: &Histogram, after: &Histogram) -> Self {
        let bounds = BOUNDS_US.map(|us| us as f64);
        let sum = (after.sum_us - before.sum_us) as f64;
        Self::of(&bounds, &before.counts, &after.counts, sum)
    }
}

impl std::fmt::Display for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Buckets { count, mean_us, p50_at_most_us, p99_at_most_us, max_at_most_us, .. } = self;
        write!(
            f,
            "{count} times, mean {mean_us:.1} us, p50 <= {p50_at_most_us} us, \
             p99 <= {p99_at_most_us} us, max <= {max_at_most_us} us"
        )
    }
}

impl Rig {
    /// Starts a worker on one core and control on another, fed by a source.
    ///
    /// # Errors
    /// When memory, threads or descriptors are short.
    pub fn start(
        config: Config,
        source: impl FnOnce(Arc<SystemClock>) -> Box<dyn Source>,
        services: u32,
        nodes: u32,
        worker_cpu: usize,
    ) -> Result<Self> {
        let clock = Arc::new(SystemClock::default());
        let (end, mailbox) = mailbox()?;
        let mesh = mesh(&[end.waker()], MESH_RING_LEN).pop().context("mesh")?;
        let mut control =
            Control::new(config, &facts(), source(clock.clone()), vec![end], clock.clone())?;
        let seen = Arc::new(Seen::default());
        let ports: Vec<Box<dyn Port>> = vec![
            Box::new(TrafficPort::cluster(nodes, seen.clone())?),
            Box::new(TrafficPort::uplink(FLOWS, services, seen.clone())?),
        ];
        let counters = Arc::new(WorkerCounters::new(ports.len(), SERVICES_COUNTED));
        let of_worker = counters.clone();
        let worker = std::thread::Builder::new().name("worker-0".to_owned()).spawn(move || {
            if let Err(error) = work(ports, mailbox, mesh, of_worker, worker_cpu) {
                eprintln!("the worker: {error:#}");
            }
        })?;
        let (requests, receiver) = bounded(64);
        let control = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            if let Err(error) = control.run(&AtomicBool::new(false), &receiver) {
                eprintln!("control: {error}");
            }
        })?;
        Ok(Rig { requests, counters, seen, clock, control, worker })
    }

    /// The clock of control.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Asks control.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> Result<T> {
        let (reply, answer) = bounded(1);
        self.requests.send(request(reply)).context("control is gone")?;
        answer.recv_timeout(PATIENCE).context("control does not answer")
    }

    /// Waits until what was published last is live, after at least `version`, and
    /// lets clients send.
    ///
    /// # Errors
    /// When that does not come.
    pub fn wait_live(&self, version: u64) -> Result<ControlMetrics> {
        let begin = Instant::now();
        loop {
            let metrics = self.ask(|reply| Request::Metrics { reply })?;
            if metrics.version >= version && metrics.live_version == metrics.version {
                self.seen.is_open.store(true, Ordering::Relaxed);
                return Ok(metrics);
            }
            anyhow::ensure!(begin.elapsed() < PATIENCE, "tables do not come");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What is counted now.
    ///
    /// # Errors
    /// When control does not answer.
    pub fn moment(&self) -> Result<Moment> {
        Ok(Moment {
            at: self.now(),
            metrics: self.ask(|reply| Request::Metrics { reply })?,
            swaps: self.counters.swaps.counts.iter().map(|count| count.get()).collect(),
            swap_ns: self.counters.swaps.sum_ns.get(),
            sent: self.seen.sent[0].load(Ordering::Relaxed),
            drops: self.counters.drops.iter().map(|count| count.get()).sum(),
        })
    }

    /// What happened since a moment.
    ///
    /// # Errors
    /// When control does not answer, or a packet was wrong.
    pub fn since(&self, before: &Moment) -> Result<Phase> {
        let after = self.moment()?;
        let wrong = self.seen.wrong.load(Ordering::Relaxed);
        anyhow::ensure!(wrong == 0, "{wrong} frames were wrong");
        let seconds = (after.at - before.at).as_secs_f64();
        let bounds = SWAP_BOUNDS_NS.map(|ns| ns as f64 / 1e3);
        let swap_us = (after.swap_ns - before.swap_ns) as f64 / 1e3;
        let (metrics, old) = (&after.metrics, &before.metrics);
        Ok(Phase {
            seconds,
            publications: metrics.publications - old.publications,
            compile: Buckets::of_control(&old.compile, &metrics.compile),
            event_to_live: Buckets::of_control(&old.event_to_live, &metrics.event_to_live),
            swap: Buckets::of(&bounds, &before.swaps, &after.swaps, swap_us),
            mpps: (after.sent - before.sent) as f64 / seconds / 1e6,
            drops: after.drops - before.drops,
        })
    }

    /// The drops of the worker so far, by reason.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        let all = DropReason::ALL.iter();
        let all = all.map(|reason| (reason.label(), self.counters.dropped(*reason)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Ends everything.
    ///
    /// # Errors
    /// When a thread has panicked.
    pub fn stop(self) -> Result<()> {
        self.ask(|reply| Request::Stop { reply })?;
        self.control.join().map_err(|_| anyhow!("control has panicked"))?;
        self.worker.join().map_err(|_| anyhow!("the worker has panicked"))
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Phase { seconds, publications, compile, event_to_live, swap, mpps, drops } = self;
        writeln!(f, "{seconds:.2} s, {publications} publications, {mpps:.2} Mpps, {drops} drops")?;
        writeln!(f, "  compile       {compile}")?;
        writeln!(f, "  event to live {event_to_live}")?;
        write!(f, "  swap          {swap}")
    }
}

fn work(
    ports: Vec<Box<dyn Port>>,
    mailbox: sluice_tables::mailbox::WorkerEnd,
    mesh: sluice_fastpath::MeshEnd,
    counters: Arc<WorkerCounters>,
    core: usize,
) -> Result<()> {
    cpu::pin(core)?;
    let cluster = Cluster { protocol: UDP, ..Cluster::new(Family::V4, 1) };
    let options = GatewayOptions {
        cluster,
        workers: 1,
        flows_max: FLOWS_MAX,
        frames: FRAMES,
        udp_timeout_ms: 60_000,
    };
    let umem = Umem::new(FRAMES)?;
    let cache = FrameCache::new(&umem, FRAMES / 4);
    let options = worker_options(0, &options);
    let mut worker = Worker::new(options, ports, cache, mailbox, mesh, counters);
    let started = Instant::now();
    let clock = || Nanos(Nanos::SECOND) + started.elapsed();
    // It sleeps until there is traffic; from then on there always is some.
    let idle = IdleMode::Adaptive { spin_ns: 50_000, sleep_ns_max: 1_000_000 };
    worker.run(clock, Idle::new(idle));
    Ok(())
}

/// Asks for metrics all the time, as an impatient Prometheus would, while
/// something goes on; the longest that it took.
pub fn longest_answer<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    rig: &'scope Rig,
    stop: &'scope AtomicBool,
) -> ScopedJoinHandle<'scope, Result<Duration>> {
    scope.spawn(move || {
        let mut longest = Duration::ZERO;
        while !stop.load(Ordering::Acquire) {
            let begin = Instant::now();
            rig.ask(|reply| Request::Metrics { reply })?;
            longest = longest.max(begin.elapsed());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(longest)
    })
}
