use crate::clock::Clock;
use crate::object::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a kind must have failed for the API to count as away: a watch that
/// ends and comes back is ordinary.
const AWAY_AFTER: Duration = Duration::from_secs(3);

/// How the source gets on with the API server, kept up to date. Clones share.
#[derive(Clone, Debug)]
pub struct SourceHealth {
    clock: Arc<dyn Clock>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    kinds: BTreeMap<Kind, Of>,
    refused: usize,
    /// When the snapshot that is in force was true, in the clock's time.
    snapshot_at: Option<Duration>,
    snapshot_age_then: Duration,
    is_synced: bool,
    /// A snapshot is kept on disk, if one shall be.
    is_kept: Option<bool>,
}

#[derive(Debug, Default)]
struct Of {
    failing_since: Option<Duration>,
    error: Option<String>,
    errors: u64,
    lists: u64,
    events: u64,
    is_complete: bool,
}

/// How the source gets on with the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    /// Each kind is watched.
    pub connected: bool,
    /// For how many seconds the API server has been away, if it is.
    pub away_s: Option<u64>,
    /// What went wrong last, if the API server is away.
    pub error: Option<String>,
    /// By kind.
    pub kinds: BTreeMap<String, SourceKindView>,
    /// Objects that cannot be used.
    pub refused_objects: usize,
    /// The age in seconds of the snapshot that is in force, if one is.
    pub snapshot_age_s: Option<u64>,
    /// Whether a snapshot is kept on disk, if one shall be.
    pub snapshot_kept: Option<bool>,
}

/// How the objects of one kind come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceKindView {
    /// The last request was answered.
    pub connected: bool,
    /// All objects have been delivered once.
    pub complete: bool,
    /// Requests that failed, and watches that broke off.
    pub errors: u64,
    /// Lists that were begun.
    pub lists: u64,
    /// Objects that came, of lists too.
    pub events: u64,
}

impl SourceHealth {
    pub(super) fn new(kinds: &[Kind], clock: Arc<dyn Clock>) -> Self {
        let kinds = kinds.iter().map(|kind| (*kind, Of::default())).collect();
        let shared = Shared { kinds, ..Shared::default() };
        SourceHealth { clock, shared: Arc::new(Mutex::new(shared)) }
    }

    pub(super) fn answered(&self, kind: Kind) {
        self.of(kind, |of, _| (of.failing_since, of.error) = (None, None));
    }

    pub(super) fn failed(&self, kind: Kind, error: &str) {
        self.of(kind, |of, now| {
            of.errors += 1;
            of.failing_since.get_or_insert(now);
            of.error = Some(error.to_owned());
        });
    }

    pub(super) fn listed(&self, kind: Kind) {
        self.of(kind, |of, _| of.lists += 1);
    }

    pub(super) fn came(&self, kind: Kind) {
        self.of(kind, |of, _| of.events += 1);
    }

    pub(super) fn update(&self, complete: impl Iterator<Item = (Kind, bool)>, refused: usize) {
        let mut shared = self.lock();
        for (kind, is_complete) in complete {
            shared.kinds.entry(kind).or_default().is_complete = is_complete;
        }
        shared.refused = refused;
        shared.is_synced = shared.kinds.values().all(|of| of.is_complete);
        if shared.is_synced {
            shared.snapshot_at = None;
        }
    }

    pub(super) fn restored(&self, age: Duration) {
        let mut shared = self.lock();
        shared.snapshot_at = Some(self.clock.now());
        shared.snapshot_age_then = age;
    }

    pub(super) fn kept(&self, is_kept: bool) {
        self.lock().is_kept = Some(is_kept);
    }

    /// For how long the API server has been away, and what it said last.
    pub fn away(&self) -> Option<(Duration, String)> {
        let now = self.clock.now();
        let shared = self.lock();
        let failing = shared.kinds.values().filter_map(|of| Some((of.failing_since?, &of.error)));
        let (since, error) = failing.min_by_key(|(since, _)| *since)?;
        let age = now.saturating_sub(since);
        (age >= AWAY_AFTER).then(|| (age, error.clone().unwrap_or_default()))
    }

    /// As plain data.
    pub fn view(&self) -> SourceView {
        let away = self.away();
        let now = self.clock.now();
        let shared = self.lock();
        let view = |of: &Of| SourceKindView {
            connected: of.failing_since.is_none(),
            complete: of.is_complete,
            errors: of.errors,
            lists: of.lists,
            events: of.events,
        };
        let age = shared.snapshot_at.map(|at| now.saturating_sub(at) + shared.snapshot_age_then);
        SourceView {
            connected: shared.kinds.values().all(|of| of.failing_since.is_none()),
            away_s: away.as_ref().map(|(age, _)| age.as_secs()),
            error: away.map(|(_, error)| error),
            kinds: shared.kinds.iter().map(|(k, of)| (k.as_str().to_owned(), view(of))).collect(),
            refused_objects: shared.refused,
            snapshot_age_s: age.map(|age| age.as_secs()),
            snapshot_kept: shared.is_kept,
        }
    }

    fn of(&self, kind: Kind, f: impl FnOnce(&mut Of, Duration)) {
        let now = self.clock.now();
        if let Some(of) = self.lock().kinds.get_mut(&kind) {
            f(of, now);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
