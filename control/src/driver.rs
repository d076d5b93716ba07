use crate::clock::Clock;
use crate::cluster::{Changes, Cluster, Policy};
use crate::compile::{Compiler, PortFacts, SetupError};
use crate::object::Kind;
use crate::publish::{Histogram, Publisher};
use crate::source::Source;
use crate::source::kubernetes::SourceHealth;
use crate::status::{Board, StatusConfig, StatusMetrics};
use crossbeam_channel::{Receiver, never, select};
use sluice_config::Config;
use sluice_tables::mailbox::ControlEnd;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod diagnostics;
mod domain_names;
mod election;
mod health;
mod heartbeat;
mod names;
mod pace;
mod requests;
mod source;

pub use health::HealthChecks;
pub use heartbeat::Heartbeat;
pub use names::{NodeNames, PodNames, RuleNames, ServiceLabel, ServiceNames};
pub use requests::Request;

use domain_names::Names;
use election::Announcing;
use pace::Pace;
use requests::Pending;
use source::{Running, SourceState};

/// Least pause while VIPs are to be told of again.
const TELL_PAUSE: Duration = Duration::from_millis(5);

/// Batches that wait until they are taken, and that are taken in one turn.
const BATCHES: usize = 16;

/// The control thread: takes what the source and the requests bring, and keeps
/// the workers' tables up to date.
#[derive(Debug)]
pub struct Control {
    config: Config,
    clock: Arc<dyn Clock>,
    cluster: Cluster,
    compiler: Compiler,
    publisher: Publisher,
    source: SourceState,
    /// What was noticed first of the changes that are not compiled yet.
    event_at: Option<Duration>,
    published_unix_ms: Option<u64>,
    names: ServiceNames,
    pod_names: PodNames,
    node_names: NodeNames,
    rule_names: RuleNames,
    health: HealthChecks,
    health_version: u64,
    heartbeat: Heartbeat,
    announcing: Announcing,
    domain_names: Names,
    pending: Pending,
    /// Processor time of the changes that are not published yet.
    spent: Duration,
    compile: Histogram,
    /// Where to leave what is to be written back, if there is somewhere.
    board: Option<Board>,
}

impl Control {
    /// Prepares control of the workers at the other ends of `ends`, in order.
    /// `facts` are the devices of `config.ports`, in order.
    ///
    /// # Errors
    /// When the configuration does not fit the ports.
    pub fn new(
        config: Config,
        facts: &[PortFacts],
        source: Box<dyn Source>,
        ends: Vec<ControlEnd>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let seed = RandomState::new().build_hasher().finish();
        let mut cluster = Cluster::default();
        cluster.set_policy(Policy::of(&config.services));
        cluster.set_overlay(config.overlay_mode());
        Ok(Control {
            compiler: Compiler::new(&config, facts, seed)?,
            config,
            heartbeat: Heartbeat::new(clock.clone()),
            clock,
            cluster,
            publisher: Publisher::new(ends),
            source: SourceState {
                description: source.describe(),
                health: source.health(),
                source: Some(source),
                is_synced: false,
                diagnostics: Vec::new(),
            },
            event_at: None,
            published_unix_ms: None,
            names: ServiceNames::default(),
            pod_names: PodNames::default(),
            node_names: NodeNames::default(),
            rule_names: RuleNames::default(),
            health: HealthChecks::default(),
            health_version: 0,
            announcing: Announcing::default(),
            domain_names: Names::default(),
            pending: Pending::default(),
            spent: Duration::ZERO,
            compile: Histogram::default(),
            board: None,
        })
    }

    /// Leaves on `board` what is to be written back, from now on.
    pub fn set_board(&mut self, board: Board) {
        board.configure(StatusConfig::of(&self.config));
        self.board = Some(board);
    }

    /// What is written back, in numbers, if anything is.
    pub fn status_metrics(&self) -> Option<StatusMetrics> {
        self.board.as_ref().map(|board| board.metrics().clone())
    }

    /// The names of Services by their numbers, kept up to date.
    pub fn service_names(&self) -> ServiceNames {
        self.names.clone()
    }

    /// The names of pods by their addresses, kept up to date.
    pub fn pod_names(&self) -> PodNames {
        self.pod_names.clone()
    }

    /// The names of nodes by their tunnels' numbers, kept up to date.
    pub fn node_names(&self) -> NodeNames {
        self.node_names.clone()
    }

    /// The names of rules by their numbers, kept up to date.
    pub fn rule_names(&self) -> RuleNames {
        self.rule_names.clone()
    }

    /// What those are told who ask about Services, kept up to date.
    pub fn health_checks(&self) -> HealthChecks {
        self.health.clone()
    }

    /// How the source gets on with whom it asks, if it asks anybody.
    pub fn source_health(&self) -> Option<SourceHealth> {
        self.source.health.clone()
    }

    /// When it last turned its loop, kept up to date.
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    /// Runs until `stop` is set or [`Request::Stop`] comes; then tells the
    /// workers to finish, and returns.
    ///
    /// # Errors
    /// When no thread can be started for the source.
    pub fn run(&mut self, stop: &AtomicBool, requests: &Receiver<Request>) -> std::io::Result<()> {
        let running = self.start_source()?;
        let mut batches = running.batches.clone();
        let mut requests = requests.clone();
        let mut pace = Pace::default();
        let election = self.election_bell();
        let answers = self.publisher.bell().clone();
        while !stop.load(Ordering::Acquire) && !self.pending.is_stopping() {
            let now = self.clock.now();
            self.heartbeat.beat(now);
            let received = self.publisher.received();
            let finished = self.publisher.pump(now);
            self.answer(finished);
            if self.publisher.has_retired() {
                self.spend(|control| control.publisher.free());
            }
            if self.publisher.received() > received {
                // The next answer of a dump is as near as this one was.
                pace.reset();
            }
            self.tell_election(now);
            self.expire_names(now);
            self.notice_time(now);
            if self.take_answers(now) && self.publish() {
                pace.reset();
            }
            self.release_answers(now);
            let wait = pace.next(self.publisher.is_busy());
            // VIPs to be told of again are no answer to wait for.
            let wait = wait.min(self.publisher.wait(now).map_or(wait, |due| due.max(TELL_PAUSE)));
            select! {
                recv(batches) -> batch => match batch {
                    Ok(batch) => {
                        // What comes faster than it is taken keeps nobody else
                        // waiting.
                        let more = batches.try_iter().take(BATCHES);
                        self.spend(|control| {
                            std::iter::once(batch).chain(more).for_each(|b| control.take(b));
                        });
                    }
                    Err(_) => {
                        self.source_ended();
                        batches = never();
                    }
                },
                // What workers have told is taken at the top.
                recv(answers) -> _ => pace.reset(),
                recv(election) -> _ => {
                    self.elected();
                    pace.reset();
                }
                recv(requests) -> request => match request {
                    Ok(request) => {
                        self.request(request);
                        pace.reset();
                    }
                    Err(_) => requests = never(),
                },
                default(wait) => {}
            }
            if self.publish() {
                pace.reset();
            }
        }
        drop(batches);
        self.stop(running);
        Ok(())
    }

    /// For after [`Control::run`] has failed or panicked: the workers go on with
    /// the tables they have, until [`Request::Stop`] comes; then tells them to
    /// finish, and returns. All else stays unanswered.
    pub fn wait_for_stop(&mut self, requests: &Receiver<Request>) {
        self.pending = Pending::default();
        while let Ok(request) = requests.recv() {
            if let Request::Stop { reply } = request {
                self.publisher.stop();
                let _ = reply.try_send(());
                return;
            }
        }
    }

    fn stop(&mut self, running: Running) {
        self.publisher.stop();
        self.board.iter().for_each(Board::close);
        // The source sees either of them go.
        drop((running.batches, running.stop));
        if running.thread.join().is_err() {
            tracing::error!("the source has panicked");
        }
        self.pending.finish();
    }

    /// Has those certificates looked at whose time has come, or is over.
    fn notice_time(&mut self, now: Duration) {
        if self.compiler.set_unix_time(unix_s(self.clock.wall())) {
            self.event_at.get_or_insert(now);
        }
    }

    /// Compiles and publishes what has changed; true if something has.
    fn publish(&mut self) -> bool {
        let Some(event_at) = self.event_at.filter(|_| self.source.is_synced) else {
            return false;
        };
        self.event_at = None;
        let is_published = self.spend(|control| control.compile(event_at));
        // What changes no table is no part of the next one's cost.
        let spent = std::mem::take(&mut self.spent);
        if is_published {
            self.compile.record(spent);
        }
        is_published
    }

    /// Counts the processor time of what `f` does with changes.
    fn spend<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let begin = self.clock.processor();
        let result = f(self);
        self.spent += self.clock.processor().saturating_sub(begin);
        result
    }

    fn compile(&mut self, event_at: Duration) -> bool {
        let changes: Changes = self.cluster.take_changes();
        self.pod_names.update(&self.cluster, &changes.pods);
        let now = self.clock.now();
        let live = self.publisher.live();
        self.compiler.set_unix_time(unix_s(self.clock.wall()));
        let tables = self.compiler.compile(&self.cluster, &changes, now, live);
        self.rule_names.update(self.compiler.take_renamed_rules());
        for (name, is_ours) in self.compiler.take_served() {
            self.board.iter().for_each(|board| board.serves(name.clone(), is_ours));
        }
        self.log_findings();
        if self.health_version != self.compiler.health_version() {
            self.health_version = self.compiler.health_version();
            self.health.update(self.compiler.health_checks());
        }
        self.note_order();
        self.note_names();
        let Some(tables) = tables else { return false };
        tracing::debug!(version = tables.version, "tables are published");
        let unix = self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.published_unix_ms = u64::try_from(unix.as_millis()).ok();
        let version = tables.version;
        self.node_names.update(&tables.vteps);
        self.publisher.publish(tables, event_at);
        self.publisher.announce(version, self.compiler.announced().iter().copied());
        self.names.update(&self.compiler);
        true
    }

    fn objects(&self) -> BTreeMap<String, usize> {
        let count = |kind: Kind| (kind.as_str().to_owned(), self.cluster.count(kind));
        Kind::ALL.into_iter().map(count).collect()
    }
}

/// A time in seconds since 1970.
pub(crate) fn unix_s(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
