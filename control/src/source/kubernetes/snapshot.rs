//! What is known of the cluster, on disk: a log of what the watches brought, in
//! which a list takes the place of what was before it. It has the keys of certificates, too,
//! so that HTTPS is served while the API is away: only its owner may read it.

use super::intake::{Intake, RefusedPolicy};
use super::raw::Raw;
use crate::object::{Key, Kind, Object};
use crate::source::Event;
use crossbeam_channel::{Sender, TrySendError, bounded};
use kube::runtime::watcher;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

mod file;

use file::Writer;

/// Lines that wait to be written.
const LINES: usize = 4096;

/// How long the first lists may wait for the disk, all in all.
const LIST_PATIENCE: Duration = Duration::from_secs(10);

/// How long after a failure the snapshot is begun anew: that asks the API for
/// everything once more.
const AGAIN: Duration = Duration::from_secs(300);

/// How often the snapshot is confirmed while nothing changes.
const CONFIRM: Duration = Duration::from_secs(30);

/// The file in force, the one that takes its place once it is complete, and one
/// that takes the place of either, without its history.
const FILE: &str = "objects.jsonl";
const NEW_FILE: &str = "objects.jsonl.new";
const COMPACT_FILE: &str = "objects.jsonl.compact";

/// The version of the format.
const FORMAT: u32 = 1;

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a> {
    /// The first one: of which cluster this is.
    Header { format: u32, server: String },
    /// A list begins.
    List { kind: String },
    /// An object, of a list or by itself.
    Listed {
        kind: String,
        #[serde(borrow)]
        object: Cow<'a, RawValue>,
    },
    /// An object that is new or has changed.
    Applied {
        kind: String,
        #[serde(borrow)]
        object: Cow<'a, RawValue>,
    },
    /// The list is done.
    Done { kind: String },
    /// An object that is gone.
    Deleted {
        kind: String,
        #[serde(borrow)]
        object: Cow<'a, RawValue>,
    },
}

/// Keeps the snapshot, on a thread of its own: a slow disk must not hold up the
/// cluster's changes. If the disk fails, or falls behind by too much, the
/// snapshot is given up, and begun anew later.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    server: String,
    kinds: usize,
    /// To the thread; `None` while no snapshot is kept.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    /// Kinds that have been listed since it was begun.
    listed: BTreeSet<Kind>,
    /// What is left of [`LIST_PATIENCE`].
    patience: Duration,
    broken_since: Option<Duration>,
    confirmed_at: Duration,
}

/// What the thread is told.
enum Order {
    Write(Line<'static>),
    /// The new file takes the place of the old one.
    Complete,
    /// What is there is still true.
    Confirm,
}

impl Keeper {
    /// Begins to keep a snapshot of so many kinds in a folder.
    pub fn new(folder: &Path, server: &str, kinds: usize) -> Self {
        let mut keeper = Keeper {
            folder: folder.to_owned(),
            server: server.to_owned(),
            kinds,
            orders: None,
            thread: None,
            listed: BTreeSet::new(),
            patience: LIST_PATIENCE,
            broken_since: None,
            confirmed_at: Duration::ZERO,
        };
        keeper.begin();
        keeper
    }

    fn begin(&mut self) {
        (self.listed, self.patience, self.broken_since) = (BTreeSet::new(), LIST_PATIENCE, None);
        let begun = Writer::create(&self.folder, &self.server).and_then(|mut writer| {
            let (orders, received) = bounded(LINES);
            let run = move || {
                for order in received {
                    if let Err(error) = carry_out(&mut writer, &order) {
                        tracing::error!(%error, "the snapshot cannot be written; none is kept");
                        writer.remove();
                        return;
                    }
                }
            };
            let thread = std::thread::Builder::new().name("sluice-snapshot".to_owned());
            Ok((orders, thread.spawn(run)?))
        });
        match begun {
            Ok((orders, thread)) => (self.orders, self.thread) = (Some(orders), Some(thread)),
            Err(error) => {
                let folder = self.folder.display();
                tracing::error!("source.kubernetes.snapshot.path: {folder}: {error}; none is kept");
            }
        }
    }

    /// Whether a snapshot is kept.
    pub fn is_kept(&self) -> bool {
        self.orders.is_some()
    }

    /// Begins anew if that is due: then everything must be listed again.
    pub fn begin_anew(&mut self, now: Duration) -> bool {
        if self.is_kept() {
            return false;
        }
        let since = *self.broken_since.get_or_insert(now);
        // A thread that hangs on its disk is the only one to do so.
        let is_over = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        if !is_over || now.saturating_sub(since) < AGAIN {
            return false;
        }
        self.begin();
        self.is_kept()
    }

    /// Keeps what a watch brought. Once all kinds have been listed, that is the
    /// snapshot.
    pub fn keep(&mut self, kind: Kind, event: &watcher::Event<Raw>) {
        let name = kind.as_str().to_owned();
        let object = |raw: &Raw| Cow::Owned(raw.text.clone());
        let line = match event {
            watcher::Event::Init => Line::List { kind: name },
            watcher::Event::InitApply(raw) => Line::Listed { kind: name, object: object(raw) },
            watcher::Event::InitDone => Line::Done { kind: name },
            watcher::Event::Apply(raw) => Line::Applied { kind: name, object: object(raw) },
            watcher::Event::Delete(raw) => Line::Deleted { kind: name, object: object(raw) },
        };
        let was_complete = self.is_complete();
        self.order(Order::Write(line), !was_complete);
        if matches!(event, watcher::Event::InitDone) {
            self.listed.insert(kind);
        }
        if self.is_complete() && !was_complete {
            self.order(Order::Complete, true);
        }
    }

    fn is_complete(&self) -> bool {
        self.listed.len() == self.kinds
    }

    /// What is there is still true.
    pub fn confirm(&mut self, now: Duration) {
        if self.is_complete() && now.saturating_sub(self.confirmed_at) >= CONFIRM {
            self.confirmed_at = now;
            self.order(Order::Confirm, false);
        }
    }

    fn order(&mut self, order: Order, may_wait: bool) {
        let Some(orders) = &self.orders else { return };
        let sent = match orders.try_send(order) {
            Err(TrySendError::Full(order)) if may_wait => {
                let begun = Instant::now();
                let sent = orders.send_timeout(order, self.patience);
                self.patience = self.patience.saturating_sub(begun.elapsed());
                sent.map_err(|error| error.is_timeout())
            }
            sent => sent.map_err(|error| error.is_full()),
        };
        let Err(is_slow) = sent else { return };
        // A thread that is slow ends when it has written what it has; until the
        // snapshot is begun anew, the file ages.
        self.orders = None;
        if is_slow {
            tracing::error!("the disk is too slow for the snapshot; for now none is kept");
        }
    }
}

fn carry_out(writer: &mut Writer, order: &Order) -> io::Result<()> {
    match order {
        Order::Write(line) => writer.write(line),
        Order::Complete => writer.complete(),
        Order::Confirm => writer.confirm(),
    }
}

/// What a snapshot has.
#[derive(Debug)]
pub struct Restored {
    /// The objects, as they were.
    pub objects: Vec<Object>,
    /// The network policies of which no good version was known.
    pub refused: Vec<RefusedPolicy>,
    /// The time since it was last known to be true.
    pub age: Duration,
}

/// Reads a snapshot.
///
/// # Errors
/// Why there is none that can be used, in words.
pub fn restore(
    folder: &Path,
    max_age: Duration,
    server: &str,
    kinds: &[Kind],
) -> Result<Restored, String> {
    let path = folder.join(FILE);
    let refuse = |why: String| format!("{}: {why}", path.display());
    let file = File::open(&path).map_err(|error| refuse(error.to_string()))?;
    let written = file.metadata().and_then(|metadata| metadata.modified());
    let written = written.map_err(|error| refuse(error.to_string()))?;
    // A clock that was set back makes it young, not unusable.
    let age = SystemTime::now().duration_since(written).unwrap_or_default();
    if age > max_age {
        let (age, max) = (age.as_secs(), max_age.as_secs());
        return Err(refuse(format!("it is {age} s old, more than the {max} s of `max_age_s`")));
    }
    let mut lines = BufReader::new(file).lines();
    let header = lines.next().and_then(Result::ok).unwrap_or_default();
    match serde_json::from_str(&header) {
        Ok(Line::Header { format: FORMAT, server: of }) if of == server => {}
        Ok(Line::Header { format: FORMAT, server: of }) => {
            return Err(refuse(format!("it is of {of}, not of {server}")));
        }
        _ => return Err(refuse("it is not of a form that is known".to_owned())),
    }
    let mut intake = Intake::new(kinds);
    let mut objects = BTreeMap::new();
    let mut refused: BTreeMap<Key, Option<Object>> = BTreeMap::new();
    // One from before a kind was read is whole without it, if a cluster is.
    let may_lack = |kind: &&Kind| kind.is_optional() || kind.is_of_ingresses();
    for kind in kinds.iter().filter(may_lack) {
        intake.take(*kind, watcher::Event::Init, &mut Vec::new());
        intake.take(*kind, watcher::Event::InitDone, &mut Vec::new());
    }
    for line in lines {
        let Ok(line) = line else { break };
        // The last line may be torn; what follows one cannot be trusted.
        let Some((kind, event)) = event_of(&line) else { break };
        let mut events = Vec::new();
        intake.take(kind, event, &mut events);
        for event in events {
            match event {
                Event::Applied { object, .. } => {
                    refused.remove(&object.key());
                    objects.insert(object.key(), object);
                }
                Event::Refused { key, rest } => {
                    objects.remove(&key);
                    refused.insert(key, rest);
                }
                Event::Deleted(key) => {
                    refused.remove(&key);
                    objects.remove(&key);
                }
                _ => {}
            }
        }
    }
    if !intake.is_synced() {
        return Err(refuse("it is not complete".to_owned()));
    }
    let with_reasons = |(key, rest)| {
        let diagnostics = intake.refused(&key).to_vec();
        RefusedPolicy { key, rest, diagnostics }
    };
    let refused = refused.into_iter().map(with_reasons).collect();
    Ok(Restored { objects: objects.into_values().collect(), refused, age })
}

fn event_of(line: &str) -> Option<(Kind, watcher::Event<Raw>)> {
    let raw = |object: Cow<'_, RawValue>| serde_json::from_str::<Raw>(object.get()).ok();
    let kind_of = |name: String| Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
    Some(match serde_json::from_str(line).ok()? {
        Line::Header { .. } => return None,
        Line::List { kind } => (kind_of(kind)?, watcher::Event::Init),
        Line::Listed { kind, object } => (kind_of(kind)?, watcher::Event::InitApply(raw(object)?)),
        Line::Done { kind } => (kind_of(kind)?, watcher::Event::InitDone),
        Line::Applied { kind, object } => (kind_of(kind)?, watcher::Event::Apply(raw(object)?)),
        Line::Deleted { kind, object } => (kind_of(kind)?, watcher::Event::Delete(raw(object)?)),
    })
}

/// The files of a folder.
fn files(folder: &Path) -> [PathBuf; 3] {
    [FILE, NEW_FILE, COMPACT_FILE].map(|file| folder.join(file))
}
