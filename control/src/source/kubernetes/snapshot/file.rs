use super::{FORMAT, Line, event_of, files};
use crate::object::{Key, Kind};
use hashbrown::HashMap;
use kube::runtime::watcher::Event;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What may be written for nothing, in bytes, beside what is needed.
const SLACK: u64 = 16 << 20;

/// Writes a snapshot: a new file beside the one in force until it is complete,
/// then that one itself. It is written anew when half of it is history, or what
/// may be.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    file: BufWriter<File>,
    is_complete: bool,
    bytes: u64,
    /// How much of [`Writer::bytes`] took the place of nothing when it was
    /// written: all that there was when the file was written anew, and what
    /// first lists brought.
    needed: u64,
    /// The kinds that have been listed; true in the middle of the first list.
    lists: BTreeMap<String, bool>,
    /// [`SLACK`], but in tests.
    slack: u64,
}

impl Writer {
    /// Begins a new file, of a server, in a folder, which is made if need be.
    pub fn create(folder: &Path, server: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let [_, path, _] = files(folder);
        let mut writer = Writer::at(folder, &path)?;
        writer.append(&Line::Header { format: FORMAT, server: server.to_owned() })?;
        Ok(writer)
    }

    fn at(folder: &Path, path: &Path) -> io::Result<Self> {
        Ok(Writer {
            folder: folder.to_owned(),
            file: BufWriter::new(private(path)?),
            is_complete: false,
            bytes: 0,
            needed: 0,
            lists: BTreeMap::new(),
            slack: SLACK,
        })
    }

    /// Appends a line.
    pub fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        let bytes = self.append(line)?;
        match line {
            Line::List { kind } => {
                let is_first = !self.lists.contains_key(kind);
                self.lists.insert(kind.clone(), is_first);
            }
            Line::Done { kind } => drop(self.lists.insert(kind.clone(), false)),
            Line::Listed { kind, .. } if self.lists.get(kind) == Some(&true) => {
                self.needed += bytes;
            }
            _ => {}
        }
        if self.is_complete {
            self.file.flush()?;
        }
        if self.bytes >= 2 * self.needed + self.slack { self.compact() } else { Ok(()) }
    }

    fn append(&mut self, line: &Line<'_>) -> io::Result<u64> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        let bytes = text.len() as u64;
        self.bytes += bytes;
        Ok(bytes)
    }

    /// Puts the new file in the place of the one in force.
    pub fn complete(&mut self) -> io::Result<()> {
        self.sync()?;
        let [file, new, _] = files(&self.folder);
        fs::rename(new, file)?;
        self.is_complete = true;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }

    /// Makes the file as young as it is true.
    pub fn confirm(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().set_modified(SystemTime::now())
    }

    /// Writes the file anew, without its history. Lists may be under way.
    fn compact(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let [file, new, compact] = files(&self.folder);
        let path = if self.is_complete { file } else { new };
        let kinds = last_lines(&path)?;
        let mut next = Writer::at(&self.folder, &compact)?;
        let header = BufReader::new(File::open(&path)?).lines().next().transpose()?;
        next.append(&serde_json::from_str(&header.unwrap_or_default())?)?;
        let whole = kinds.iter().filter_map(|(kind, of)| Some((*kind, of.whole.as_ref()?)));
        let whole: Vec<(Kind, &Lines)> = whole.collect();
        next.copy(&path, &whole)?;
        for (kind, _) in whole {
            next.append(&Line::Done { kind: kind.as_str().to_owned() })?;
        }
        let parts = kinds.iter().filter_map(|(kind, of)| Some((*kind, of.part.as_ref()?)));
        next.copy(&path, &parts.collect::<Vec<_>>())?;
        next.sync()?;
        fs::rename(compact, path)?;
        (self.file, self.bytes, self.needed) = (next.file, next.bytes, next.bytes);
        Ok(())
    }

    /// Begins a list of each of some kinds, of lines of a file.
    fn copy(&mut self, path: &Path, kinds: &[(Kind, &Lines)]) -> io::Result<()> {
        for (kind, _) in kinds {
            self.append(&Line::List { kind: kind.as_str().to_owned() })?;
        }
        let mut wanted: Vec<usize> =
            kinds.iter().flat_map(|(_, of)| of.values()).copied().collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        for (number, line) in BufReader::new(File::open(path)?).lines().enumerate() {
            let line = line?;
            if wanted.next_if_eq(&number).is_none() {
                continue;
            }
            if let Line::Listed { kind, object } | Line::Applied { kind, object } =
                serde_json::from_str(&line)?
            {
                self.append(&Line::Listed { kind, object })?;
            }
        }
        Ok(())
    }

    /// Takes the files away: what is in them would only get older.
    pub fn remove(&self) {
        for file in files(&self.folder) {
            // It may be gone, or the disk may be.
            let _ = fs::remove_file(file);
        }
    }
}

/// The number of the line that has the last version of each object.
type Lines = HashMap<Key, usize>;

/// What a file has of a kind.
#[derive(Default)]
struct Of {
    /// By the last list that was whole, and what came after it.
    whole: Option<Lines>,
    /// Of the list under way.
    part: Option<Lines>,
}

fn last_lines(path: &Path) -> io::Result<BTreeMap<Kind, Of>> {
    let mut kinds: BTreeMap<Kind, Of> = BTreeMap::new();
    for (number, line) in BufReader::new(File::open(path)?).lines().enumerate().skip(1) {
        let Some((kind, event)) = event_of(&line?) else { break };
        let of = kinds.entry(kind).or_default();
        match event {
            Event::Init => of.part = Some(Lines::new()),
            Event::InitApply(raw) => {
                let part = of.part.get_or_insert_default();
                part.insert(Key::of(kind, &raw.metadata), number);
            }
            Event::InitDone => of.whole = of.part.take(),
            Event::Apply(raw) => {
                let whole = of.whole.get_or_insert_default();
                whole.insert(Key::of(kind, &raw.metadata), number);
            }
            Event::Delete(raw) => {
                let key = Key::of(kind, &raw.metadata);
                of.whole.as_mut().and_then(|whole| whole.remove(&key));
            }
        }
    }
    Ok(kinds)
}

/// A new file that only its owner reads.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests;
