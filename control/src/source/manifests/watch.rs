use crossbeam_channel::Sender;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

mod writes;

pub(super) use writes::{Seen, Write, Writes};

/// Most links on the way to the folder, as in Linux's path walk.
const LINKS_MAX: usize = 40;

/// Tells that something in the folder has changed; what, the scan finds out.
pub(super) struct Watch {
    changed: Sender<()>,
    writes: Arc<Writes>,
    current: Option<Current>,
    has_warned: bool,
}

struct Current {
    _watcher: RecommendedWatcher,
    target: Target,
}

/// What is watched.
#[derive(Clone, PartialEq, Eq)]
struct Target {
    /// Device and inode of the folder.
    identity: (u64, u64),
    /// Links on the way to it: one that is swapped makes it another folder.
    links: Vec<PathBuf>,
}

impl Watch {
    /// `changed` holds one message: several changes are one.
    pub(super) fn new(changed: Sender<()>, writes: Arc<Writes>) -> Self {
        Watch { changed, writes, current: None, has_warned: false }
    }

    /// Watches the folder that now has this path, if it does not do so yet.
    /// False: it cannot be watched.
    pub(super) fn ensure(&mut self, root: &Path) -> bool {
        let Ok(metadata) = std::fs::metadata(root) else {
            self.current = None;
            return false;
        };
        let identity = (metadata.dev(), metadata.ino());
        let target = Target { identity, links: links(root) };
        if self.current.as_ref().is_some_and(|current| current.target == target) {
            return true;
        }
        self.current = None;
        self.writes.forget();
        match self.start(root, &target) {
            Ok(watcher) => {
                self.current = Some(Current { _watcher: watcher, target });
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

    fn start(&self, root: &Path, target: &Target) -> notify::Result<RecommendedWatcher> {
        let (changed, writes) = (self.changed.clone(), self.writes.clone());
        let root = std::path::absolute(root)?;
        let (folder, links) = (root.clone(), target.links.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<_>| {
            let is_ours = match &event {
                Ok(event) => is_change(event) && concerns(event, &folder, &links),
                Err(_) => true,
            };
            match &event {
                Ok(event) => writes.note(event),
                Err(_) => writes.forget(),
            }
            if is_ours {
                // Full: a scan is due anyway.
                let _ = changed.try_send(());
            }
        })?;
        watcher.watch(&root, RecursiveMode::Recursive)?;
        let folders: BTreeSet<_> = target.links.iter().filter_map(|link| link.parent()).collect();
        for folder in folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
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

/// Whether it is about the folder, and not about a neighbor of one of the links.
fn concerns(event: &notify::Event, folder: &Path, links: &[PathBuf]) -> bool {
    let is_ours = |path: &PathBuf| path.starts_with(folder) || links.contains(path);
    event.paths.is_empty() || event.paths.iter().any(is_ours)
}

/// The links that a path leads through, those behind other links included.
fn links(path: &Path) -> Vec<PathBuf> {
    let mut links = Vec::new();
    let Ok(path) = std::path::absolute(path) else { return links };
    let mut rest = steps(&path);
    let mut at = PathBuf::new();
    while let Some(step) = rest.pop() {
        if step == Path::new("..") {
            at.pop();
            continue;
        }
        let next = at.join(step);
        match std::fs::read_link(&next) {
            Ok(target) if links.len() < LINKS_MAX => {
                rest.extend(steps(&target));
                links.push(next);
            }
            _ => at = next,
        }
    }
    links
}

/// The steps of a path, the last first.
fn steps(path: &Path) -> Vec<PathBuf> {
    let is_step = |component: &Component<'_>| *component != Component::CurDir;
    let steps = path.components().filter(is_step).map(|c| PathBuf::from(c.as_os_str()));
    steps.rev().collect()
}

#[cfg(test)]
mod tests;
