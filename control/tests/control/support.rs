//! A control thread on a folder of manifests, and workers that do nothing but
//! use the tables.

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use sluice_config::Config;
use sluice_control::source::manifests::Manifests;
use sluice_control::view::{BackendView, ServiceView, VersionsView};
use sluice_control::{
    Clock, Control, Diagnostic, HealthChecks, PortFacts, Request, ServiceNames, SystemClock,
};
use sluice_tables::Tables;
use sluice_tables::mailbox::{FromWorker, ToWorker, WorkerEnd, mailbox};
use sluice_tables::record::{Conflict, FlowRecord};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

pub fn config() -> Config {
    parse(include_str!("config.yaml"))
}

fn parse(text: &str) -> Config {
    sluice_config::parse("config.yaml", text).unwrap_or_else(|errors| panic!("{errors}")).config
}

/// The configuration with other sections, one a line.
pub fn config_with(sections: &str) -> Config {
    let mut lines: Vec<&str> = Vec::new();
    let mut is_replaced = false;
    let key = |line: &str| line.split_once(':').map(|(key, _)| key.to_owned());
    for line in include_str!("config.yaml").lines() {
        if !line.starts_with(' ') {
            is_replaced = sections.lines().any(|other| key(other) == key(line));
        }
        if !is_replaced {
            lines.push(line);
        }
    }
    lines.extend(sections.lines());
    parse(&lines.join("\n"))
}

pub fn facts() -> Vec<PortFacts> {
    (0..2).map(|i| PortFacts { mac: [2, 0, 0, 0, 0, i], mtu: 1500 }).collect()
}

/// The system's clock, but that the time of day is what one sets.
#[derive(Debug, Default)]
pub struct SetClock {
    system: SystemClock,
    pub unix_s: AtomicU64,
}

impl Clock for SetClock {
    fn now(&self) -> Duration {
        self.system.now()
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.unix_s.load(Ordering::Relaxed))
    }
}

/// The tables that a worker uses now.
pub type InUse = Arc<Mutex<Option<Arc<Tables>>>>;

/// The flows that every worker tells of, if asked.
pub type Flows = Arc<Vec<FlowRecord>>;

/// VIPs that workers were told to announce unasked, each time.
pub type Told = Arc<Mutex<Vec<IpAddr>>>;

pub struct Harness {
    requests: Sender<Request>,
    stop: Arc<AtomicBool>,
    control: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    pub in_use: Vec<InUse>,
    pub told: Told,
    /// What a worker hears of others.
    heard: Sender<Conflict>,
    pub names: ServiceNames,
    pub health: HealthChecks,
}

impl Harness {
    pub fn start(folder: &Path) -> Self {
        Self::with_flows(folder, Flows::default())
    }

    pub fn with_flows(folder: &Path, flows: Flows) -> Self {
        Self::with(folder, config(), flows)
    }

    pub fn with(folder: &Path, config: Config, flows: Flows) -> Self {
        Self::with_clock(folder, config, flows, Arc::new(SystemClock::default()))
    }

    pub fn with_clock(folder: &Path, config: Config, flows: Flows, clock: Arc<dyn Clock>) -> Self {
        let source = Manifests::new(folder, clock.clone());
        let source = if config.has_ingresses() { source.with_ingresses() } else { source };
        let source = Box::new(source);
        let (ends, worker_ends): (Vec<_>, Vec<_>) = (0..2).map(|_| mailbox().unwrap()).unzip();
        let mut control = Control::new(config, &facts(), source, ends, clock).unwrap();
        let names = control.service_names();
        let health = control.health_checks();
        let in_use: Vec<InUse> = (0..2).map(|_| InUse::default()).collect();
        let told = Told::default();
        let (heard, hears) = unbounded();
        let workers = worker_ends
            .into_iter()
            .zip(in_use.clone())
            .map(|(end, in_use)| {
                let flows = flows.clone();
                let (told, hears) = (told.clone(), hears.clone());
                std::thread::spawn(move || work(end, &in_use, &flows, &told, &hears))
            })
            .collect();
        let (requests, receiver): (_, Receiver<Request>) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let control =
            std::thread::spawn(move || control.run(&stopped, &receiver).expect("control runs"));
        Harness {
            requests,
            stop,
            control: Some(control),
            workers,
            in_use,
            told,
            heard,
            names,
            health,
        }
    }

    /// A worker hears that somebody else claims a VIP.
    pub fn hear(&self, conflict: Conflict) {
        self.heard.send(conflict).unwrap();
    }

    pub fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> T {
        let (reply, answer) = bounded(1);
        self.requests.send(request(reply)).unwrap();
        answer.recv_timeout(DEADLINE).expect("an answer")
    }

    pub fn services(&self) -> Vec<ServiceView> {
        self.ask(|reply| Request::Services { reply })
    }

    pub fn backends(&self) -> Vec<BackendView> {
        self.ask(|reply| Request::Backends { reply })
    }

    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.ask(|reply| Request::Diagnostics { reply })
    }

    pub fn versions(&self) -> VersionsView {
        self.ask(|reply| Request::Versions { reply })
    }

    /// Waits until something is true.
    pub fn wait(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_true(self) {
            assert!(
                start.elapsed() < DEADLINE,
                "not in time: {what}\nservices: {:#?}\nbackends: {:#?}\ndiagnostics: {:#?}",
                self.services(),
                self.backends(),
                self.diagnostics()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until what was published last is live.
    pub fn wait_live(&self) {
        self.wait("live", |harness| {
            let versions = harness.versions();
            versions.published > 0 && versions.live == versions.published
        });
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(control) = self.control.take() {
            let result = control.join();
            for worker in self.workers.drain(..) {
                let _ = worker.join();
            }
            if !std::thread::panicking() {
                result.expect("control does not panic");
            }
        }
    }
}

/// Uses the tables it gets until it is told to stop, or control has gone.
fn work(
    mut end: WorkerEnd,
    in_use: &InUse,
    flows: &[FlowRecord],
    told: &Told,
    hears: &Receiver<Conflict>,
) {
    let mut idle = 0;
    while idle < 60_000 {
        match end.receive() {
            Some(ToWorker::Tables(tables)) => {
                let version = tables.version;
                let old = in_use.lock().unwrap().replace(tables);
                end.send(FromWorker::Live { version }).unwrap();
                if let Some(old) = old {
                    end.send(FromWorker::Retired(old)).unwrap();
                }
            }
            Some(ToWorker::DumpFlows { cursor, mut buffer }) => {
                let rest = &flows[cursor as usize..];
                let told = rest.len().min(buffer.capacity());
                buffer.extend_from_slice(&rest[..told]);
                let next = (told < rest.len()).then_some(cursor + told as u64);
                end.send(FromWorker::Flows { next, buffer }).unwrap();
            }
            Some(ToWorker::DumpNeighbors { buffer }) => {
                end.send(FromWorker::Neighbors { buffer }).unwrap();
            }
            Some(ToWorker::Announce { vips }) => {
                told.lock().unwrap().extend(&vips);
                end.send(FromWorker::Announced { vips }).unwrap();
            }
            Some(ToWorker::Observe(observe)) => end.send(FromWorker::Unobserved(observe)).unwrap(),
            // These workers hold no answers.
            Some(ToWorker::Answers(_) | ToWorker::Release { .. }) => {}
            Some(ToWorker::Stop) => return,
            None => {
                if let Ok(conflict) = hears.try_recv() {
                    end.send(FromWorker::Conflict(conflict)).unwrap();
                }
                idle += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
