use super::{Batch, Event, Source};
use crate::clock::Clock;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

mod document;
mod folder;
mod store;
mod watch;
mod yaml;

use folder::Folder;
use store::Store;
use watch::{Watch, Writes};

/// Quiet time after a change before the folder is read: editors and `kubectl`
/// write in several steps.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Longest time that a change waits for quiet.
const DEBOUNCE_MAX: Duration = Duration::from_millis(200);

/// How often the folder is looked through without a reason: a safety net for
/// file systems that report no changes.
const RESCAN: Duration = Duration::from_secs(10);

/// The same, while the folder cannot be watched or read.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(1);

/// A folder of Kubernetes manifests: every `*.yaml`, `*.yml` and `*.json` in
/// it and in its folders, hidden ones (`.git`, `..data`) left out. Symbolic
/// links are followed, so that mounted ConfigMaps can be read. A file that is
/// written in place is read when it is complete, as far as can be told.
#[derive(Debug)]
pub struct Manifests {
    folder: Folder,
    store: Store,
    writes: Arc<Writes>,
    clock: Arc<dyn Clock>,
    synced: bool,
}

impl Manifests {
    /// A folder. It is read when the source runs.
    pub fn new(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Manifests {
            folder: Folder::new(path.into()),
            store: Store::default(),
            writes: Arc::default(),
            clock,
            synced: false,
        }
    }

    /// Reads Ingresses, too, and what belongs to them.
    pub fn with_ingresses(mut self) -> Self {
        self.store = Store::with_ingresses();
        self
    }

    /// Looks through the folder once and returns what has changed since the
    /// last time.
    pub fn scan(&mut self) -> Vec<Event> {
        let changes = self.folder.scan(&*self.clock, &self.writes.take());
        let folder = &self.folder;
        let mut events = self.store.update(changes, &|file| folder.read(file).ok());
        if !self.synced && self.folder.is_readable() {
            self.synced = true;
            events.push(Event::Synced);
        }
        events
    }
}

/// What the text of one file means, as if it were the only one. For fuzzing: no
/// text may make it panic.
pub fn decode_text(text: &str) -> Vec<Event> {
    let changes = vec![folder::Change::Read("text".into(), text.to_owned())];
    Store::with_ingresses().update(changes, &|_| None)
}

impl Source for Manifests {
    fn describe(&self) -> String {
        format!("manifests in {}", self.folder.root().display())
    }

    fn run(mut self: Box<Self>, events: &Sender<Batch>, stop: &Receiver<Infallible>) {
        let (changed, changes) = bounded(1);
        let mut watch = Watch::new(changed, self.writes.clone());
        let mut at = self.clock.now();
        loop {
            // Before the scan, so that nothing falls between the two.
            let is_watched = watch.ensure(self.folder.root());
            let batch = Batch { at, events: self.scan() };
            if !batch.events.is_empty() && events.send(batch).is_err() {
                return;
            }
            let rescan = if is_watched && self.synced { RESCAN } else { RESCAN_UNWATCHED };
            let due = self.folder.due().map(|due| due.saturating_sub(self.clock.now()));
            let rescan = due.map_or(rescan, |due| due.min(rescan));
            select! {
                recv(stop) -> _ => return,
                recv(changes) -> _ => {
                    at = self.clock.now();
                    if !wait_for_quiet(&*self.clock, at, &changes, stop) {
                        return;
                    }
                }
                default(rescan) => at = self.clock.now(),
            }
        }
    }
}

/// Waits until no change has come for [`DEBOUNCE`]. False: stop.
fn wait_for_quiet(
    clock: &dyn Clock,
    start: Duration,
    changes: &Receiver<()>,
    stop: &Receiver<Infallible>,
) -> bool {
    while clock.now().saturating_sub(start) < DEBOUNCE_MAX {
        select! {
            recv(stop) -> _ => return false,
            recv(changes) -> _ => {}
            default(DEBOUNCE) => return true,
        }
    }
    true
}
