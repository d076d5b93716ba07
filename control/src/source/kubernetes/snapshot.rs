//! What is known of the cluster, on disk: a log of what the watches brought, in
//! which a list takes the place of what was before it.

use super::intake::Intake;
use super::raw::Raw;
use crate::object::{Kind, Object};
use crate::source::Event;
use crossbeam_channel::{Sender, bounded};
use kube::runtime::watcher;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

mod file;

use file::Writer;

/// Lines that wait to be written.
const LINES: usize = 4096;

/// How long a list may wait for the disk, a line.
const LIST_PATIENCE: Duration = Duration::from_secs(1);

/// How often the snapshot is confirmed while nothing changes.
const CONFIRM: Duration = Duration::from_secs(30);

/// The file in force, and the one that takes its place once it is complete.
const FILE: &str = "objects.jsonl";
const NEW_FILE: &str = "objects.jsonl.new";

/// The version of the format.
const FORMAT: u32 = 1;

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
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
/// cluster's changes.
#[derive(Debug)]
pub struct Keeper {
    lines: Sender<Order>,
    is_broken: bool,
    is_complete: bool,
    confirmed_at: Duration,
}

/// What the thread is told.
#[derive(Debug)]
enum Order {
    Write(String),
    /// The new file takes the place of the old one.
    Complete,
    /// What is there is still true.
    Confirm,
}

impl Keeper {
    /// Starts to keep a snapshot in a folder; `None`, with a word about it, if
    /// that cannot be.
    pub fn start(folder: &Path, server: &str) -> Option<Self> {
        let header = Line::Header { format: FORMAT, server: server.to_owned() };
        let opened = serde_json::to_string(&header)
            .map_err(std::io::Error::from)
            .and_then(|header| Writer::create(folder, header));
        let mut writer = match opened {
            Ok(writer) => writer,
            Err(error) => {
                let folder = folder.display();
                tracing::error!("source.kubernetes.snapshot.path: {folder}: {error}; none is kept");
                return None;
            }
        };
        let (lines, orders) = bounded(LINES);
        let thread = std::thread::Builder::new().name("sluice-snapshot".to_owned());
        let run = move || {
            for order in orders {
                let done = match order {
                    Order::Write(line) => writer.write(&line),
                    Order::Complete => writer.complete(),
                    Order::Confirm => writer.confirm(),
                };
                if let Err(error) = done.and_then(|()| writer.compact_if_due()) {
                    tracing::error!(%error, "the snapshot cannot be written; none is kept");
                    writer.remove();
                    return;
                }
            }
        };
        thread.spawn(run).ok()?;
        Some(Keeper { lines, is_broken: false, is_complete: false, confirmed_at: Duration::ZERO })
    }

    /// Keeps what a watch brought.
    pub fn keep(&mut self, kind: Kind, event: &watcher::Event<Raw>) {
        let kind = kind.as_str().to_owned();
        let object = |raw: &'_ Raw| Cow::Owned(raw.text.clone());
        let line = match event {
            watcher::Event::Init => Line::List { kind },
            watcher::Event::InitApply(raw) => Line::Listed { kind, object: object(raw) },
            watcher::Event::InitDone => Line::Done { kind },
            watcher::Event::Apply(raw) => Line::Applied { kind, object: object(raw) },
            watcher::Event::Delete(raw) => Line::Deleted { kind, object: object(raw) },
        };
        if let Ok(line) = serde_json::to_string(&line) {
            self.order(Order::Write(line));
        }
    }

    /// All kinds have been listed.
    pub fn complete(&mut self) {
        if !std::mem::replace(&mut self.is_complete, true) {
            self.order(Order::Complete);
        }
    }

    /// What is there is still true.
    pub fn confirm(&mut self, now: Duration) {
        if self.is_complete && now.saturating_sub(self.confirmed_at) >= CONFIRM {
            self.confirmed_at = now;
            self.order(Order::Confirm);
        }
    }

    fn order(&mut self, order: Order) {
        if self.is_broken {
            return;
        }
        let sent = match self.is_complete {
            true => self.lines.try_send(order).is_ok(),
            false => self.lines.send_timeout(order, LIST_PATIENCE).is_ok(),
        };
        if !sent {
            self.is_broken = true;
            // The thread ends when it has written what it has; the file ages.
            self.lines = bounded(0).0;
            tracing::error!("the disk is too slow for the snapshot; it is no longer kept");
        }
    }
}

/// What a snapshot has.
#[derive(Debug)]
pub struct Restored {
    /// The objects, as they were.
    pub objects: Vec<Object>,
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
    for line in lines {
        let Ok(line) = line else { break };
        // The last line may be torn; what follows one cannot be trusted.
        let Some((kind, event)) = event_of(&line) else { break };
        let mut events = Vec::new();
        intake.take(kind, event, &mut events);
        for event in events {
            match event {
                Event::Applied { object, .. } => drop(objects.insert(object.key(), object)),
                Event::Deleted(key) => drop(objects.remove(&key)),
                _ => {}
            }
        }
    }
    if !intake.is_synced() {
        return Err(refuse("it is not complete".to_owned()));
    }
    Ok(Restored { objects: objects.into_values().collect(), age })
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

/// The two files of a folder.
fn files(folder: &Path) -> [PathBuf; 2] {
    [FILE, NEW_FILE].map(|file| folder.join(file))
}
