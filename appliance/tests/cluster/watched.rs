//! The Kubernetes source by itself, and what it says of a cluster.

use crossbeam_channel::{Receiver, Sender, bounded};
use sluice_config::OverlayMode;
use sluice_control::kubernetes::Access;
use sluice_control::object::Object;
use sluice_control::source::kubernetes::{Kubernetes, SourceHealth};
use sluice_control::source::{Batch, Event, Source};
use sluice_control::{Diagnostic, SystemClock};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long [`Watched::until`] waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// The source, and what is in force by it.
pub struct Watched {
    pub objects: BTreeMap<String, Object>,
    pub is_synced: bool,
    /// Batches since it began; each is one change.
    pub batches: usize,
    pub diagnostics: Vec<Diagnostic>,
    pub health: SourceHealth,
    events: Receiver<Batch>,
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Watched {
    pub fn start(kubeconfig: &Path, snapshot: Option<&Path>) -> Watched {
        let max_age = Duration::from_secs(3600);
        let snapshot =
            snapshot.map(|path| sluice_config::Snapshot { path: path.to_owned(), max_age });
        let config = sluice_config::Kubernetes {
            kubeconfig: Some(kubeconfig.to_owned()),
            snapshot,
            ..Default::default()
        };
        Self::with(&config, OverlayMode::Plain)
    }

    pub fn with(config: &sluice_config::Kubernetes, mode: OverlayMode) -> Watched {
        let clock = Arc::new(SystemClock::default());
        let source = Kubernetes::new(config, mode, Access::new(config, &[]), clock);
        Self::of(source)
    }

    /// Watches by a source.
    pub fn of(source: Kubernetes) -> Watched {
        let source = Box::new(source);
        let health = source.health().unwrap();
        let (sender, events) = bounded(16);
        let (stop, stopped) = bounded(0);
        let thread = std::thread::spawn(move || source.run(&sender, &stopped));
        Watched {
            objects: BTreeMap::new(),
            is_synced: false,
            batches: 0,
            diagnostics: Vec::new(),
            health,
            events,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Takes what comes until the condition holds; false if it never does.
    pub fn comes(&mut self, limit: Duration, mut f: impl FnMut(&Watched) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        while !f(self) {
            match self
                .events
                .recv_deadline(deadline.min(Instant::now() + Duration::from_millis(100)))
            {
                Ok(batch) => self.take(batch),
                Err(_) if Instant::now() >= deadline => return false,
                Err(_) => {}
            }
        }
        true
    }

    /// Takes what comes until the condition holds.
    pub fn until(&mut self, what: &str, f: impl FnMut(&Watched) -> bool) {
        let came = self.comes(PATIENCE, f);
        assert!(came, "never came: {what}: {:?} {:?}", self.health.view(), self.diagnostics);
    }

    fn take(&mut self, batch: Batch) {
        self.batches += 1;
        for event in batch.events {
            match event {
                Event::Applied { object, .. } => {
                    self.objects.insert(object.key().to_string(), object);
                }
                Event::Deleted(key) | Event::Refused { key, .. } => {
                    self.objects.remove(&key.to_string());
                }
                Event::Diagnostics(all) => self.diagnostics = all,
                Event::Synced => self.is_synced = true,
                Event::Confirmed => {}
                Event::Moved { .. } => panic!("the API has no files"),
            }
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.objects.contains_key(key)
    }

    /// What is wrong, as text.
    pub fn said(&self) -> String {
        self.diagnostics.iter().map(|d| format!("{d}\n")).collect()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A source that waits for room sees the receiver go.
        self.events = crossbeam_channel::never();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
