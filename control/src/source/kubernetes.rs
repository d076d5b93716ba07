use super::{Batch, Event, Source};
use crate::clock::Clock;
use crate::diagnostic::{Diagnostic, Severity};
use crate::kubernetes::{Access, Connection, Observer};
use crate::object::Kind;
use crossbeam_channel::{Receiver, Sender, TryRecvError};
use futures_util::StreamExt;
use futures_util::stream::select_all;
use sluice_config::OverlayMode;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

mod health;
mod intake;
mod raw;
mod secrets;
mod snapshot;
mod watch;

pub use health::{SourceHealth, SourceKindView, SourceView};

pub(crate) use raw::resource;

use intake::Intake;
use snapshot::{Keeper, Restored};

/// Most events that are handed on at once.
const CHUNK: usize = 512;

/// How often what is not an event is looked after.
const TICK: Duration = Duration::from_millis(100);

/// How long the API server may fail before a snapshot is used.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kinds that are watched in an overlay, without those for Ingresses.
fn kinds(overlay: OverlayMode) -> impl Iterator<Item = Kind> {
    let is_there = move |kind: &Kind| !kind.is_calico() || overlay == OverlayMode::Calico;
    Kind::ALL.into_iter().filter(|kind| !kind.is_of_ingresses()).filter(is_there)
}

/// The API of a Kubernetes cluster: each kind is listed and watched, by
/// streaming lists where the server has them (Kubernetes API concepts,
/// "Efficient detection of changes").
#[derive(Debug)]
pub struct Kubernetes {
    access: Access,
    snapshot: Option<sluice_config::Snapshot>,
    health: SourceHealth,
    kinds: Vec<Kind>,
    clock: Arc<dyn Clock>,
}

impl Kubernetes {
    /// By a configuration. Nothing is sent before the source runs.
    pub fn new(
        config: &sluice_config::Kubernetes,
        overlay: OverlayMode,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let kinds: Vec<Kind> = kinds(overlay).collect();
        Kubernetes {
            access,
            snapshot: config.snapshot.clone(),
            health: SourceHealth::new(&kinds, clock.clone()),
            kinds,
            clock,
        }
    }

    /// Watches Ingresses, too, and what belongs to them: the Secrets of all namespaces that
    /// have a certificate, or say whose certificates are to be trusted.
    pub fn with_ingresses(mut self) -> Self {
        self.kinds.extend(Kind::ALL.into_iter().filter(|kind| kind.is_of_ingresses()));
        self.health = SourceHealth::new(&self.kinds, self.clock.clone());
        self
    }

    async fn drive(self, events: &Sender<Batch>, stop: &Receiver<Infallible>) {
        let observer = observer(self.kinds.clone(), self.health.clone());
        let connection = Connection::open(self.access.clone(), Some(observer)).await;
        let client = connection.client();
        let watch = |kind| watch::watch(kind, client.clone(), self.health.clone());
        let begin = || select_all(self.kinds.iter().copied().map(watch)).ready_chunks(CHUNK);
        let mut watches = begin();
        let mut drive = Driving {
            intake: Intake::new(&self.kinds),
            keeper: None,
            restorable: self.snapshot.clone(),
            said: Vec::new(),
            source: &self,
            connection,
        };
        if let Some(snapshot) = &self.snapshot {
            let server = self.access.describe();
            drive.keeper = Some(Keeper::new(&snapshot.path, &server, self.kinds.len()));
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let batch = tokio::select! {
                Some(chunk) = watches.next() => drive.chunk(chunk),
                _ = tick.tick() => {
                    if matches!(stop.try_recv(), Err(TryRecvError::Disconnected)) {
                        return;
                    }
                    if drive.keeps_anew() {
                        watches = begin();
                    }
                    drive.tick()
                }
            };
            if !batch.events.is_empty() && events.send(batch).is_err() {
                return;
            }
        }
    }
}

/// What is at hand while the source runs.
struct Driving<'a> {
    source: &'a Kubernetes,
    connection: Connection,
    intake: Intake,
    keeper: Option<Keeper>,
    /// The snapshot to use, if it comes to that.
    restorable: Option<sluice_config::Snapshot>,
    /// The diagnostics that were sent last.
    said: Vec<Diagnostic>,
}

impl Driving<'_> {
    fn chunk(&mut self, chunk: Vec<(Kind, kube::runtime::watcher::Event<raw::Raw>)>) -> Batch {
        let at = self.source.clock.now();
        let mut events = Vec::with_capacity(chunk.len());
        for (kind, event) in chunk {
            if let Some(keeper) = &mut self.keeper {
                keeper.keep(kind, &event);
            }
            self.intake.take(kind, event, &mut events);
        }
        if self.intake.is_synced() {
            self.restorable = None;
        }
        self.say(&mut events);
        Batch { at, events }
    }

    fn tick(&mut self) -> Batch {
        let at = self.source.clock.now();
        let mut events = Vec::new();
        let away = self.source.health.away();
        if away.is_some_and(|(time, _)| time >= PATIENCE)
            && let Some(snapshot) = self.restorable.take()
        {
            self.restore(&snapshot, &mut events);
        }
        if self.source.health.away().is_none()
            && let Some(keeper) = &mut self.keeper
        {
            keeper.confirm(at);
        }
        self.say(&mut events);
        Batch { at, events }
    }

    /// Whether a snapshot has been begun in the place of one that could not be
    /// kept: it needs everything once more.
    fn keeps_anew(&mut self) -> bool {
        let Some(keeper) = &mut self.keeper else { return false };
        let health = &self.source.health;
        let is_good_time = self.intake.is_synced() && health.away().is_none();
        let is_begun = is_good_time && keeper.begin_anew(self.source.clock.now());
        health.kept(keeper.is_kept());
        is_begun
    }

    fn restore(&mut self, snapshot: &sluice_config::Snapshot, events: &mut Vec<Event>) {
        let server = self.source.access.describe();
        match snapshot::restore(&snapshot.path, snapshot.max_age, &server, &self.source.kinds) {
            Ok(Restored { objects, refused, age }) => {
                let seconds = age.as_secs();
                tracing::warn!(
                    age_s = seconds,
                    objects = objects.len(),
                    "the API server is away: what was last known of the cluster is in force"
                );
                self.source.health.restored(age);
                events.extend(self.intake.restore(objects, refused));
            }
            Err(why) => tracing::warn!("the API server is away, and no snapshot is used: {why}"),
        }
    }

    /// Sends the diagnostics if they are others than before.
    fn say(&mut self, events: &mut Vec<Event>) {
        let health = &self.source.health;
        health.update(self.intake.complete(), self.intake.refused_len());
        let mut general = Vec::new();
        if let Some(trouble) = self.connection.trouble() {
            general.push(Diagnostic::general(Severity::Error, trouble));
        } else if let Some((_, error)) = health.away() {
            let message = format!("the API server is away; what is in force stays: {error}");
            general.push(Diagnostic::general(Severity::Error, message));
        }
        let view = health.view();
        if view.snapshot_age_s.is_some() {
            let message = "a snapshot is in force until the API server has been heard";
            general.push(Diagnostic::general(Severity::Warning, message));
        }
        if view.snapshot_kept == Some(false) {
            let message = "no snapshot is kept: the disk fails, or is too slow";
            general.push(Diagnostic::general(Severity::Warning, message));
        }
        if self.intake.take_refused_new() || general != self.said {
            let mut all = general.clone();
            all.extend(self.intake.diagnostics());
            if general.is_empty() && !self.said.is_empty() {
                tracing::info!("the API server is there, and what it says is in force");
            }
            self.said = general;
            events.push(Event::Diagnostics(all));
        }
    }
}

/// Tells `health` how requests for lists and watches fare.
fn observer(kinds: Vec<Kind>, health: SourceHealth) -> Observer {
    Arc::new(move |path, outcome| {
        let plural = path.rsplit('/').next().unwrap_or_default();
        let is_of = |kind: &Kind| raw::resource(*kind, 0).plural == plural;
        // Errors are told by the watches themselves, with their causes.
        if let (Some(kind), true) = (kinds.iter().copied().find(is_of), outcome) {
            health.answered(kind);
        }
    })
}

impl Source for Kubernetes {
    fn describe(&self) -> String {
        self.access.describe()
    }

    fn health(&self) -> Option<SourceHealth> {
        Some(self.health.clone())
    }

    fn run(self: Box<Self>, events: &Sender<Batch>, stop: &Receiver<Infallible>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.drive(events, stop)),
            Err(error) => tracing::error!(%error, "the source cannot start"),
        }
    }
}
