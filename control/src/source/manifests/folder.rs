use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 64 << 20;

/// Deepest folder.
const DEPTH_MAX: usize = 32;

/// A file that changed less than this before it was read may change again
/// without a new time stamp; it is read once more.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// A change of a file, named relative to the folder.
#[derive(Debug)]
pub(super) enum Change {
    /// It is new or has changed: its text.
    Read(Arc<str>, String),
    /// It, or what is in it if it is a folder, cannot be read: why.
    Unreadable(Arc<str>, String),
    /// It is gone.
    Gone(Arc<str>),
}

/// A folder, and what its files looked like when they were last read.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    stamps: BTreeMap<Arc<str>, Stamp>,
    /// Paths that could not be read, and why.
    failed: BTreeMap<Arc<str>, String>,
    is_readable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
    /// False: it was read while it was young.
    is_settled: bool,
}

/// What one walk through the folder found.
#[derive(Default)]
struct Found {
    files: BTreeMap<Arc<str>, Stamp>,
    failed: BTreeMap<Arc<str>, String>,
    visited: HashSet<(u64, u64)>,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Folder { root, stamps: BTreeMap::new(), failed: BTreeMap::new(), is_readable: false }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the last scan could read the folder itself.
    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Reads a file.
    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(file))
    }

    /// Walks through the folder and reads what has changed.
    pub(super) fn scan(&mut self, wall: SystemTime) -> Vec<Change> {
        let mut found = Found::default();
        walk(&self.root, "", 0, &mut found);
        self.is_readable = !found.failed.contains_key("");
        let wall_ns = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i128;
        let mut changes = Vec::new();
        for (file, stamp) in &found.files {
            let settled = Stamp { is_settled: true, ..*stamp };
            if self.stamps.get(file) == Some(&settled) {
                continue;
            }
            let age_ns = wall_ns - stamp.modified_ns.max(stamp.changed_ns);
            let is_settled = age_ns > SETTLED_AFTER.as_nanos() as i128;
            match self.read_checked(file, stamp.size) {
                Ok(Some(text)) => {
                    self.stamps.insert(file.clone(), Stamp { is_settled, ..*stamp });
                    changes.push(Change::Read(file.clone(), text));
                }
                // Gone since the walk.
                Ok(None) => {}
                Err(reason) => {
                    self.stamps.remove(file);
                    found.failed.insert(file.clone(), reason);
                }
            }
        }
        let gone: Vec<_> =
            self.stamps.keys().filter(|file| !found.files.contains_key(*file)).cloned().collect();
        for file in gone {
            if !is_below_any(&file, &found.failed) {
                self.stamps.remove(&file);
                changes.push(Change::Gone(file));
            }
        }
        self.report_failures(found, &mut changes);
        changes
    }

    fn report_failures(&mut self, found: Found, changes: &mut Vec<Change>) {
        for (path, reason) in &found.failed {
            if self.failed.get(path) != Some(reason) {
                changes.push(Change::Unreadable(path.clone(), reason.clone()));
            }
        }
        let read: BTreeSet<Arc<str>> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Read(file, _) => Some(file.clone()),
                _ => None,
            })
            .collect();
        for path in self.failed.keys() {
            if !found.failed.contains_key(path) && !read.contains(path) {
                changes.push(Change::Gone(path.clone()));
            }
        }
        self.failed = found.failed;
    }

    fn read_checked(&self, file: &str, size: u64) -> Result<Option<String>, String> {
        if size > FILE_MAX {
            return Err(format!("it has {size} bytes; files of up to {FILE_MAX} bytes are read"));
        }
        match fs::read(self.root.join(file)) {
            Ok(bytes) => String::from_utf8(bytes)
                .map(Some)
                .map_err(|error| format!("it is no UTF-8 text ({})", error.utf8_error())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn is_below_any(file: &str, failed: &BTreeMap<Arc<str>, String>) -> bool {
    let parents = file.match_indices('/').map(|(end, _)| &file[..end]);
    parents.chain(["", file]).any(|path| failed.contains_key(path))
}

/// Adds the files below `folder`, which has the relative path `relative`.
fn walk(folder: &Path, relative: &str, depth: usize, found: &mut Found) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Gone since its parent was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return,
        Err(error) => {
            found.failed.insert(relative.into(), error.to_string());
            return;
        }
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        // Follows symbolic links; one that leads nowhere is not there.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let relative =
            if relative.is_empty() { name.to_string() } else { format!("{relative}/{name}") };
        if metadata.is_dir() {
            if depth < DEPTH_MAX && found.visited.insert((metadata.dev(), metadata.ino())) {
                walk(&path, &relative, depth + 1, found);
            }
        } else if metadata.is_file() && is_manifest(&name) {
            found.files.insert(relative.into(), Stamp::of(&metadata));
        }
    }
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
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
}
