//! `sluice run`: from a configuration to a running gateway, and back.

use crate::cli::check;
use crate::control::{ControlHandle, REQUESTS_MAX};
use crate::gateway::{Gateway, Parts};
use crate::l7::L7;
use crate::observe::view::Names;
use crate::observe::{Observer, Setup};
use crate::{log, metrics};
use anyhow::Context;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use sluice_config::{Backend, Config, Errors, Loaded};
use sluice_control::election::Elector;
use sluice_control::kubernetes::Access;
use sluice_control::source::kubernetes::Kubernetes;
use sluice_control::source::manifests::Manifests;
use sluice_control::{Control, PortFacts, Source, SystemClock};
use sluice_fastpath::events::{EventReceiver, EventSender, events as event_rings};
use sluice_fastpath::{WorkerCounters, mesh};
use sluice_io::{FrameCache, Port};
use sluice_tables::mailbox::{ControlEnd, WorkerEnd, mailbox};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The thread of control.
mod control;
/// Devices of the ports: what they must be.
pub mod devices;
/// Devices of DPDK's.
mod dpdk;
/// The election of who announces VIPs.
mod election;
/// From the configuration to the options of ports and workers.
pub mod options;
/// Ports, open.
mod ports;
/// Threads of the workers.
pub mod threads;

/// The gateway as a Node of the cluster.
mod own_node;
/// SIGHUP.
mod reload;
/// The thread of metrics and admin socket.
mod serve;
/// The thread that writes back.
mod status;
/// The way out.
mod stop;
/// Workers that are stuck.
mod watchdog;

use devices::Found;
use serve::Servers;
use threads::{Seat, WorkerState};
use watchdog::{LOOK_INTERVAL, Watchdog};

/// Free frames that a worker keeps at hand.
const CACHE_FRAMES: usize = 1024;

/// What the main thread waits for.
#[derive(Debug)]
pub enum Event {
    /// A signal came.
    Signal(i32),
    /// The thread of a worker has ended.
    WorkerEnded {
        /// Which.
        id: usize,
        /// The panic's message, if it was one.
        panic: Option<String>,
    },
    /// The control thread has ended.
    ControlEnded {
        /// Why, if it was not told to.
        error: Option<String>,
    },
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let loaded = match check::load(path) {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    log::start(&loaded.config.logging);
    warn(&loaded);
    let found = match devices::inspect(&loaded) {
        Ok(found) => found,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let (event_sender, events) = unbounded();
    // From here on a signal ends the gateway in order, also while it starts.
    watch_signals(event_sender.clone())?;
    let running = match Running::start(loaded, found, event_sender) {
        // They name their places themselves.
        Err(error) if error.is::<Errors>() => {
            eprintln!("{error}");
            return Ok(ExitCode::FAILURE);
        }
        running => running?,
    };
    let outcome = running.wait(path, &events);
    Ok(running.stop(outcome, &events))
}

/// Forwards signals as events, on a thread of its own.
fn watch_signals(events: Sender<Event>) -> anyhow::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])
        .context("cannot handle signals")?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// A gateway and its threads.
struct Running {
    config: Config,
    gateway: Arc<Gateway>,
    workers: Vec<JoinHandle<()>>,
    control: JoinHandle<()>,
    servers: Servers,
    /// The part in the election of who announces VIPs, if there is one.
    elector: Option<Elector>,
    observer: Observer,
    /// Between two looks at the workers' loops.
    look_interval: Duration,
}

/// Why the gateway stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It was told to.
    Asked,
    /// A thread that must run has ended.
    Failed,
}

impl Running {
    /// Starts everything, from what fails early and without a trace to what
    /// takes the devices.
    fn start(loaded: Loaded, found: Found, events: Sender<Event>) -> anyhow::Result<Self> {
        let config = own_node::named(loaded.config);
        let Found { cores, devices } = found;
        // An address of the kernel's on a device of DPDK's is there when that is open.
        let listen = config.metrics.listen;
        let is_early = config.io.backend != Backend::Dpdk
            || !config.ports.iter().any(|port| port.kernel_addresses.contains(&listen.ip()));
        let listener = is_early.then(|| metrics::http::bind(listen)).transpose()?;
        let socket = crate::admin::server::Socket::bind(&config.admin.socket)?;
        let opened = ports::open(&config, &loaded.places, devices)?;
        let listener = listener.map_or_else(|| metrics::http::bind(listen), Ok)?;

        let started = Instant::now();
        let (ends, mailboxes) = mailboxes(config.workers.count)?;
        let mut control = new_control(&config, &opened.facts, ends)?;
        let elector = election::start(&config, &own_node::name(&config))?.map(|(elector, seat)| {
            control.set_election(seat);
            elector
        });
        status::start(&config, &own_node::name(&config), &mut control, elector.as_ref())?;
        let (requests, taken) = bounded(REQUESTS_MAX);
        let handle = ControlHandle::new(requests, &control);
        let is_up = Arc::clone(&handle.is_up);
        let states: Vec<Arc<WorkerState>> = cores
            .iter()
            .map(|core| {
                let services = config.metrics.services_max as usize;
                let counters = Arc::new(WorkerCounters::new(config.ports.len(), services));
                Arc::new(WorkerState::new(*core, counters))
            })
            .collect();
        let l7 = L7::start(&config, started)?;
        let gateway = Arc::new(Gateway::new(Parts {
            node: own_node::name(&config),
            started,
            ports: opened.states,
            workers: states,
            umem: opened.umem,
            flows_max: config.flows.max,
            attached: Some(opened.attached),
            control: handle,
            needs_pool: config.snat.from_node.is_some(),
            l7,
        }));
        let (ends, receivers) = with_rings(mailboxes);
        let observer = start_observer(&config, &gateway, receivers)?;
        let workers = start_workers(&config, &gateway, opened.queues, ends, &events)?;
        let control = control::start(control, taken, is_up, events)?;
        let health_checks = config.services.health_check_addresses.clone();
        let servers = Servers::start(listener, socket, health_checks, Arc::clone(&gateway))?;
        own_node::keep(&config)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            node = gateway.node,
            workers = config.workers.count,
            metrics = %config.metrics.listen,
            admin = %config.admin.socket.display(),
            "the gateway runs"
        );
        let look_interval = LOOK_INTERVAL;
        Ok(Running { config, gateway, workers, control, servers, elector, observer, look_interval })
    }

    /// Waits until it is to stop.
    fn wait(&self, path: &Path, events: &Receiver<Event>) -> Outcome {
        use signal_hook::consts::SIGHUP;
        let mut watchdog = Watchdog::new(self.gateway.workers.len());
        let mut look_at = Instant::now() + self.look_interval;
        loop {
            match events.recv_deadline(look_at) {
                Ok(Event::Signal(SIGHUP)) => {
                    self.gateway.hub.reopen();
                    if let Some(l7) = &self.gateway.l7 {
                        l7.reopen();
                    }
                    reload::reload(path, &self.config, &self.gateway);
                }
                Ok(Event::Signal(signal)) => {
                    let name = signal_hook::low_level::signal_name(signal).unwrap_or("?");
                    tracing::info!(signal = name, "told to stop");
                    return self.drain(events);
                }
                Ok(event) => {
                    if let Some(outcome) = self.lost(&event) {
                        return outcome;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    look_at = Instant::now() + self.look_interval;
                    let loops = self.gateway.workers.iter().map(|one| one.counters.loops.get());
                    if let Some(id) = watchdog.look(loops) {
                        tracing::error!(worker = id, "a worker's loop does not turn; stopping");
                        return Outcome::Failed;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Outcome::Failed,
            }
        }
    }

    /// Says which thread has ended, and whether it cannot be done without.
    fn lost(&self, event: &Event) -> Option<Outcome> {
        match event {
            Event::Signal(_) => return None,
            Event::WorkerEnded { id, panic: Some(panic) } => {
                tracing::error!(worker = id, panic, "a worker has panicked; stopping");
            }
            Event::WorkerEnded { id, panic: None } => {
                tracing::error!(worker = id, "a worker has ended; stopping");
            }
            Event::ControlEnded { error } => {
                tracing::error!(error, "control has ended; the workers go on with what they have");
                return None;
            }
        }
        Some(Outcome::Failed)
    }
}

/// A pair of mailbox ends for each worker.
fn mailboxes(workers: usize) -> anyhow::Result<(Vec<ControlEnd>, Vec<WorkerEnd>)> {
    let pairs: std::io::Result<Vec<_>> = (0..workers).map(|_| mailbox()).collect();
    Ok(pairs.context("cannot make the workers' mailboxes")?.into_iter().unzip())
}

/// The workers' ends with rings for their events, and the other ends of those.
fn with_rings(mailboxes: Vec<WorkerEnd>) -> (Vec<(WorkerEnd, EventSender)>, Vec<EventReceiver>) {
    let with_ring = |mailbox| {
        let (sender, receiver) = event_rings();
        ((mailbox, sender), receiver)
    };
    mailboxes.into_iter().map(with_ring).unzip()
}

/// Control, not running yet.
fn new_control(
    config: &Config,
    facts: &[PortFacts],
    ends: Vec<ControlEnd>,
) -> anyhow::Result<Control> {
    let clock = Arc::new(SystemClock::default());
    let has_ingresses = config.has_ingresses();
    let source: Box<dyn Source> = match &config.source {
        sluice_config::Source::Manifests(manifests) => {
            let manifests = Manifests::new(&manifests.path, clock.clone());
            Box::new(if has_ingresses { manifests.with_ingresses() } else { manifests })
        }
        sluice_config::Source::Kubernetes(kubernetes) => {
            let access = Access::new(kubernetes, &config.cluster.service_cidrs);
            let overlay = config.overlay_mode();
            let kubernetes = Kubernetes::new(kubernetes, overlay, access, clock.clone());
            Box::new(if has_ingresses { kubernetes.with_ingresses() } else { kubernetes })
        }
    };
    Ok(Control::new(config.clone(), facts, source, ends, clock)?)
}

fn start_workers(
    config: &Config,
    gateway: &Gateway,
    ports: Vec<Vec<Box<dyn Port>>>,
    ends: Vec<(WorkerEnd, EventSender)>,
    events: &Sender<Event>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let seed = RandomState::new().build_hasher().finish();
    let wakers: Vec<_> = ends.iter().map(|(mailbox, _)| mailbox.waker().clone()).collect();
    let meshes = mesh(&wakers, config.workers.handoff_ring_len as usize);
    ports
        .into_iter()
        .zip(ends)
        .zip(meshes)
        .enumerate()
        .map(|(id, ((ports, (mailbox, sender)), mesh))| {
            let seat = Seat {
                options: options::worker(config, id, seed),
                idle: options::idle(config),
                ports,
                cache: FrameCache::new(&gateway.umem, CACHE_FRAMES),
                mailbox,
                mesh,
                events: sender,
                state: Arc::clone(&gateway.workers[id]),
                l7: gateway.l7.clone(),
            };
            seat.start(gateway.started, events.clone())
                .with_context(|| format!("cannot start worker {id}"))
        })
        .collect()
}

/// Starts what reads the workers' events.
fn start_observer(
    config: &Config,
    gateway: &Gateway,
    receivers: Vec<EventReceiver>,
) -> anyhow::Result<Observer> {
    let counters = gateway.workers.iter().map(|worker| Arc::clone(&worker.counters));
    let setup = Setup {
        hub: Arc::clone(&gateway.hub),
        workers: receivers.into_iter().zip(counters).collect(),
        names: Names {
            control: gateway.control.clone(),
            ports: config.ports.iter().map(|port| port.name.to_string()).collect(),
            started: gateway.started,
        },
        flow_log: config.observe.flow_log.clone(),
    };
    Observer::start(setup).context("cannot start the observer")
}

/// Logs what is suspicious in a configuration.
fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests;
