//! Which files are being written, as far as the kernel tells.

use crate::source::manifests::folder::is_manifest;
use notify::EventKind;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far the writing of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source::manifests) enum Write {
    /// It has changed, and is not closed yet.
    Open,
    /// It was closed, or put in place by a rename.
    Whole,
}

/// What the watcher has seen of the files' writers. Files go by their real
/// path: an event may name another one than the scan, where links are.
#[derive(Debug, Default)]
pub(in crate::source::manifests) struct Writes {
    files: Mutex<HashMap<PathBuf, Write>>,
}

/// What was known when a scan began.
#[derive(Debug, Default)]
pub(in crate::source::manifests) struct Seen(
    pub(in crate::source::manifests) HashMap<PathBuf, Write>,
);

impl Writes {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Write>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the watcher says.
    pub(super) fn note(&self, event: &notify::Event) {
        if event.need_rescan() {
            return self.forget();
        }
        let write = match event.kind {
            // Links have no writer, and what they lead to may be old.
            EventKind::Create(CreateKind::File) if !event.paths.iter().all(|p| is_new(p)) => return,
            EventKind::Create(CreateKind::File) | EventKind::Modify(ModifyKind::Data(_)) => {
                Some(Write::Open)
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Write::Whole),
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => None,
            _ => return,
        };
        for path in &event.paths {
            let Some(path) = real(path) else { continue };
            match write {
                Some(write) => drop(self.lock().insert(path, write)),
                None => drop(self.lock().remove(&path)),
            }
        }
    }

    /// Forgets everything: events were lost.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// What is known now. That a file is whole is said once: it may be opened
    /// again at any time.
    pub(in crate::source::manifests) fn take(&self) -> Seen {
        let mut files = self.lock();
        let seen = files.clone();
        files.retain(|path, write| *write == Write::Open && path.exists());
        Seen(seen)
    }
}

impl Seen {
    /// What is known of a file, links followed.
    pub(in crate::source::manifests) fn of(&self, path: &Path) -> Option<Write> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&fs::canonicalize(path).ok()?).copied()
    }
}

fn is_new(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1)
}

/// The path without links in its folders; `None` if it is no manifest's. The
/// file itself may be gone.
fn real(path: &Path) -> Option<PathBuf> {
    let name = path.file_name().filter(|name| name.to_str().is_some_and(is_manifest))?;
    Some(fs::canonicalize(path.parent()?).ok()?.join(name))
}
