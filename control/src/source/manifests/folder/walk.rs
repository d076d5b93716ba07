use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Deepest folder.
const DEPTH_MAX: usize = 32;

/// What a file looked like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    /// In bytes.
    pub(super) size: u64,
    pub(super) modified_ns: i128,
    pub(super) changed_ns: i128,
    /// False: it was read while it was young, or could not be read.
    pub(super) is_settled: bool,
}

impl Stamp {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            is_settled: false,
        }
    }

    /// The same, known not to change without a new time stamp.
    pub(super) fn settled(self) -> Self {
        Stamp { is_settled: true, ..self }
    }

    /// Whether it is the same file, changed or not.
    pub(super) fn is_same_file(&self, other: &Stamp) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether more than its owner, its mode or its links have changed.
    pub(super) fn differs_in_data(&self, other: &Stamp) -> bool {
        (self.size, self.modified_ns) != (other.size, other.modified_ns)
    }
}

/// What one walk through a folder found, by paths relative to it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) files: BTreeMap<Arc<str>, Stamp>,
    /// Files and folders that cannot be looked at, and why.
    pub(super) failed: BTreeMap<Arc<str>, String>,
    visited: HashSet<(u64, u64)>,
}

/// Walks through a folder.
pub(super) fn walk(root: &Path) -> Found {
    let mut found = Found::default();
    if let Ok(metadata) = fs::metadata(root) {
        found.visited.insert((metadata.dev(), metadata.ino()));
    }
    found.add(root, "", 0);
    found
}

impl Found {
    /// Adds the files below `folder`, which has the relative path `relative`.
    fn add(&mut self, folder: &Path, relative: &str, depth: usize) {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            // Gone since its parent was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return,
            Err(error) => return drop(self.failed.insert(relative.into(), error.to_string())),
        };
        // Of two ways to a folder, always the same one is taken.
        entries.sort_by_cached_key(DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            let relative =
                if relative.is_empty() { name.to_string() } else { format!("{relative}/{name}") };
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                // Gone, or a link that leads nowhere, which is the same.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.failed.insert(relative.into(), error.to_string());
                    continue;
                }
            };
            if metadata.is_dir() {
                if depth < DEPTH_MAX && self.visited.insert((metadata.dev(), metadata.ino())) {
                    self.add(&path, &relative, depth + 1);
                }
            } else if metadata.is_file() && is_manifest(&name) {
                self.files.insert(relative.into(), Stamp::of(&metadata));
            }
        }
    }
}

/// Whether a file of this name is read.
pub(in crate::source::manifests) fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}
