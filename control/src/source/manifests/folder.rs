use super::watch::{Seen, Write};
use crate::clock::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

mod walk;

pub(super) use walk::is_manifest;
use walk::{Stamp, walk};

/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 64 << 20;

/// A file that changed less than this before it was read may change again
/// without a new time stamp; it is read once more.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// A file that is being written is read when it is closed, or has not changed
/// for this long.
const QUIET: Duration = Duration::from_secs(2);

/// A file that has become empty is taken at its word after this long: a shell
/// empties it long before a slow command writes to it.
const EMPTY: Duration = Duration::from_secs(10);

/// A change of a file, named relative to the folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is new or has changed: its text.
    Read(Arc<str>, String),
    /// It is being written, and is not read before that is done: why.
    Held(Arc<str>, String),
    /// It, or what is in it if it is a folder, cannot be read: why.
    Unreadable(Arc<str>, String),
    /// It can be read again, and need not be.
    Readable(Arc<str>),
    /// It is gone.
    Gone(Arc<str>),
}

/// A folder, and what its files looked like when they were last read.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    stamps: BTreeMap<Arc<str>, Stamp>,
    /// Files that are being written.
    held: BTreeMap<Arc<str>, Held>,
    /// Paths that could not be read, and why.
    failed: BTreeMap<Arc<str>, String>,
    is_readable: bool,
}

/// A file that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// What it looks like.
    stamp: Stamp,
    /// Since when ([`Clock::now`]).
    since: Duration,
    why: Why,
}

/// Why a file is not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Written,
    Emptied,
}

impl Why {
    /// How long the file must stay as it is before it is read all the same.
    fn limit(self) -> Duration {
        match self {
            Why::Written => QUIET,
            Why::Emptied => EMPTY,
        }
    }

    fn text(self) -> String {
        let s = self.limit().as_secs();
        match self {
            Why::Written => format!(
                "it is being written; what was read before stays in force until it is closed, or \
                 has not changed for {s} seconds"
            ),
            Why::Emptied => format!(
                "it has become empty; what was read before stays in force for {s} seconds, in case \
                 something is about to write it"
            ),
        }
    }
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Folder {
            root,
            stamps: BTreeMap::new(),
            held: BTreeMap::new(),
            failed: BTreeMap::new(),
            is_readable: false,
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the last scan could read the folder itself.
    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// When a file that is being written is to be looked at again at the latest
    /// ([`Clock::now`]).
    pub(super) fn due(&self) -> Option<Duration> {
        self.held.values().map(|held| held.since + held.why.limit()).min()
    }

    /// Reads a file.
    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(file))
    }

    /// Walks through the folder and reads what has changed. `seen` is what was
    /// known of the files' writers before.
    pub(super) fn scan(&mut self, clock: &dyn Clock, seen: &Seen) -> Vec<Change> {
        let found = walk(&self.root);
        self.is_readable = !found.failed.contains_key("");
        let wall_ns = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = clock.now();
        let mut failed = found.failed.clone();
        let mut held = BTreeMap::new();
        let mut changes = Vec::new();
        // What was said of a file that is not read now must not stay.
        let readable = |file: &Arc<str>| {
            let was_not = self.failed.contains_key(file) || self.held.contains_key(file);
            was_not.then(|| Change::Readable(file.clone()))
        };
        for (file, stamp) in &found.files {
            if self.stamps.get(file) == Some(&stamp.settled()) {
                changes.extend(readable(file));
                continue;
            }
            if let Some(hold) = self.hold(file, stamp, now, seen) {
                held.insert(file.clone(), hold);
                continue;
            }
            let age_ns = wall_ns as i128 - stamp.modified_ns.max(stamp.changed_ns);
            let mut read = *stamp;
            read.is_settled = age_ns > SETTLED_AFTER.as_nanos() as i128;
            match self.read_checked(file, stamp) {
                Ok(Text::Whole(text)) => changes.push(Change::Read(file.clone(), text)),
                Ok(Text::Changing(stamp)) => {
                    held.insert(file.clone(), Held { stamp, since: now, why: Why::Written });
                    continue;
                }
                // Gone since the walk.
                Ok(Text::Gone) => {
                    changes.extend(readable(file));
                    continue;
                }
                Err(reason) => {
                    read.is_settled = false;
                    failed.insert(file.clone(), reason);
                }
            }
            self.stamps.insert(file.clone(), read);
        }
        let known = self.stamps.keys().chain(self.held.keys()).chain(self.failed.keys());
        let missing: BTreeSet<Arc<str>> = known
            .filter(|path| !found.files.contains_key(*path) && !found.failed.contains_key(*path))
            .cloned()
            .collect();
        for path in missing {
            if !is_below_any(&path, &found.failed) {
                self.stamps.remove(&path);
                changes.push(Change::Gone(path));
                continue;
            }
            // It may still be there.
            if let Some(reason) = self.failed.get(&path) {
                failed.insert(path, reason.clone());
            } else if let Some(hold) = self.held.get(&path) {
                held.insert(path, Held { since: now, ..*hold });
            }
        }
        for (path, reason) in &failed {
            if self.failed.get(path) != Some(reason) {
                changes.push(Change::Unreadable(path.clone(), reason.clone()));
            }
        }
        for (path, hold) in &held {
            if self.held.get(path).map(|old| old.why) != Some(hold.why) {
                changes.push(Change::Held(path.clone(), hold.why.text()));
            }
        }
        (self.failed, self.held) = (failed, held);
        changes
    }

    /// Whether a file is to be left alone for now. One that was put in place
    /// by a rename never is, unless it is empty.
    fn hold(&self, file: &str, stamp: &Stamp, now: Duration, seen: &Seen) -> Option<Held> {
        let old = self.stamps.get(file);
        if old.is_some_and(|old| old.settled() == stamp.settled()) {
            return None;
        }
        let is_emptied = stamp.size == 0 && old.is_some_and(|old| old.size > 0);
        let is_written = match seen.of(&self.root.join(file)) {
            Some(Write::Open) => true,
            Some(Write::Whole) => false,
            // Its writer is not seen: behind a link, or on a file system that
            // tells nothing.
            None => old.is_some_and(|old| old.is_same_file(stamp) && old.differs_in_data(stamp)),
        };
        let why = match (is_emptied, is_written) {
            (true, _) => Why::Emptied,
            (false, true) => Why::Written,
            (false, false) => return None,
        };
        let before = self.held.get(file).filter(|held| held.stamp == *stamp && held.why == why);
        let since = before.map_or(now, |held| held.since);
        (now.saturating_sub(since) < why.limit()).then_some(Held { stamp: *stamp, since, why })
    }

    fn read_checked(&self, path: &str, stamp: &Stamp) -> Result<Text, String> {
        if stamp.size > FILE_MAX {
            let size = stamp.size;
            return Err(format!("it has {size} bytes; files of up to {FILE_MAX} bytes are read"));
        }
        let read = || -> io::Result<(Vec<u8>, Stamp)> {
            let mut file = fs::File::open(self.root.join(path))?;
            let mut bytes = Vec::new();
            Read::by_ref(&mut file).take(FILE_MAX).read_to_end(&mut bytes)?;
            Ok((bytes, Stamp::of(&file.metadata()?)))
        };
        match read() {
            // What was read may be part of the old and part of the new.
            Ok((_, after)) if after != *stamp && self.stamps.contains_key(path) => {
                Ok(Text::Changing(after))
            }
            Ok((bytes, _)) => String::from_utf8(bytes)
                .map(Text::Whole)
                .map_err(|error| format!("it is no UTF-8 text ({})", error.utf8_error())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Text::Gone),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What reading a file gave.
enum Text {
    Whole(String),
    /// It changed while it was read: what it looks like now.
    Changing(Stamp),
    Gone,
}

fn is_below_any(file: &str, failed: &BTreeMap<Arc<str>, String>) -> bool {
    let parents = file.match_indices('/').map(|(end, _)| &file[..end]);
    parents.chain(["", file]).any(|path| failed.contains_key(path))
}

#[cfg(test)]
mod tests;
