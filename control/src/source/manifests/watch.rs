use crossbeam_channel::Sender;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Tells that something in the folder has changed; what, the scan finds out.
pub(super) struct Watch {
    changed: Sender<()>,
    /// The watcher, and the device and inode of the folder that it watches.
    current: Option<(RecommendedWatcher, (u64, u64))>,
    has_warned: bool,
}

impl Watch {
    /// `changed` holds one message: several changes are one.
    pub(super) fn new(changed: Sender<()>) -> Self {
        Watch { changed, current: None, has_warned: false }
    }

    /// Watches the folder that now has this path, if it does not do so yet.
    /// False: it cannot be watched.
    pub(super) fn ensure(&mut self, root: &Path) -> bool {
        let Ok(metadata) = std::fs::metadata(root) else {
            self.current = None;
            return false;
        };
        let identity = (metadata.dev(), metadata.ino());
        if self.current.as_ref().is_some_and(|(_, watched)| *watched == identity) {
            return true;
        }
        self.current = None;
        match self.start(root) {
            Ok(watcher) => {
                self.current = Some((watcher, identity));
                self.has_warned = false;
                true
            }
            Err(error) => {
                if !self.has_warned {
                    self.has_warned = true;
                    tracing::warn!(folder = %root.display(), %error,
                        "cannot watch the folder of manifests; it is looked through every second");
                }
                false
            }
        }
    }

    fn start(&self, root: &Path) -> notify::Result<RecommendedWatcher> {
        let changed = self.changed.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<_>| {
            if event.as_ref().map_or(true, is_change) {
                // Full: a scan is due anyway.
                let _ = changed.try_send(());
            }
        })?;
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(watcher)
    }
}

/// Reading is an event too, and the scan reads.
fn is_change(event: &notify::Event) -> bool {
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
