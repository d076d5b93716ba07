use super::{Line, event_of, files};
use crate::object::{Key, Kind};
use hashbrown::HashMap;
use kube::runtime::watcher::Event;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What may be written for nothing, in bytes, beside what is needed.
const SLACK: u64 = 16 << 20;

/// Writes a snapshot: a new file beside the one in force until it is complete,
/// then that one itself, which is written anew when half of it is history.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    header: String,
    file: BufWriter<File>,
    is_complete: bool,
    bytes: u64,
    /// [`Writer::bytes`] of when nothing was history.
    needed: u64,
}

impl Writer {
    /// Begins a new file in a folder, which is made if need be.
    pub fn create(folder: &Path, header: String) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = BufWriter::new(private(&files(folder)[1])?);
        let mut writer = Writer {
            folder: folder.to_owned(),
            header,
            file,
            is_complete: false,
            bytes: 0,
            needed: 0,
        };
        writer.write(&writer.header.clone())?;
        Ok(writer)
    }

    /// Appends a line.
    pub fn write(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.bytes += line.len() as u64 + 1;
        if self.is_complete { self.file.flush() } else { Ok(()) }
    }

    /// Puts the new file in the place of the one in force.
    pub fn complete(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        let [file, new] = files(&self.folder);
        fs::rename(new, file)?;
        self.is_complete = true;
        self.needed = self.bytes;
        Ok(())
    }

    /// Makes the file as young as it is true.
    pub fn confirm(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().set_modified(SystemTime::now())
    }

    /// Writes the file anew if half of it is history.
    pub fn compact_if_due(&mut self) -> io::Result<()> {
        if !self.is_complete || self.bytes < 2 * self.needed + SLACK {
            return Ok(());
        }
        self.compact()
    }

    fn compact(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let [path, _] = files(&self.folder);
        let Some(last) = last_lines(&path)? else { return Ok(()) };
        let mut next = Writer::create(&self.folder, self.header.clone())?;
        for (kind, lines) in last {
            let kind = kind.as_str().to_owned();
            next.write(&serde_json::to_string(&Line::List { kind: kind.clone() })?)?;
            let mut wanted = lines.into_iter().peekable();
            for (number, line) in BufReader::new(File::open(&path)?).lines().enumerate() {
                if wanted.next_if_eq(&number).is_none() {
                    continue;
                }
                let line = line?;
                if let Line::Listed { object, .. } | Line::Applied { object, .. } =
                    serde_json::from_str(&line)?
                {
                    let object = Cow::Owned(object.into_owned());
                    let line = Line::Listed { kind: kind.clone(), object };
                    next.write(&serde_json::to_string(&line)?)?;
                }
            }
            next.write(&serde_json::to_string(&Line::Done { kind })?)?;
        }
        next.complete()?;
        *self = next;
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

/// The numbers of the lines that have the last version of each object, by kind;
/// `None` in the middle of a list.
fn last_lines(path: &Path) -> io::Result<Option<BTreeMap<Kind, Vec<usize>>>> {
    /// A kind's objects, the line and the list that had each last; its lists;
    /// whether one is under way.
    #[derive(Default)]
    struct Of {
        lines: HashMap<Key, (usize, u32)>,
        lists: u32,
        is_listing: bool,
    }
    let mut kinds: BTreeMap<Kind, Of> = BTreeMap::new();
    for (number, line) in BufReader::new(File::open(path)?).lines().enumerate().skip(1) {
        let Some((kind, event)) = event_of(&line?) else { break };
        let of = kinds.entry(kind).or_default();
        match event {
            Event::Init => (of.lists, of.is_listing) = (of.lists + 1, true),
            Event::InitApply(raw) | Event::Apply(raw) => {
                of.lines.insert(Key::of(kind, &raw.metadata), (number, of.lists));
            }
            Event::InitDone => {
                let list = of.lists;
                of.lines.retain(|_, (_, of)| *of == list);
                of.is_listing = false;
            }
            Event::Delete(raw) => drop(of.lines.remove(&Key::of(kind, &raw.metadata))),
        }
    }
    if kinds.values().any(|of| of.is_listing) {
        return Ok(None);
    }
    let sorted = |of: Of| {
        let mut lines: Vec<usize> = of.lines.into_values().map(|(line, _)| line).collect();
        lines.sort_unstable();
        lines
    };
    Ok(Some(kinds.into_iter().map(|(kind, of)| (kind, sorted(of))).collect()))
}

/// A new file that only its owner reads.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::super::{Keeper, restore};
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    const KINDS: [Kind; 2] = [Kind::Namespace, Kind::Service];

    fn raw(name: &str, port: u32) -> super::super::Raw {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "d", "resourceVersion": port.to_string()},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": port}]},
        });
        serde_json::from_str(&object.to_string()).unwrap()
    }

    /// Names and ports of what a folder's snapshot has.
    fn kept(folder: &Path) -> Result<Vec<(String, i32)>, String> {
        let restored = restore(folder, Duration::from_secs(60), "here", &KINDS)?;
        let port = |object: &crate::object::Object| match object {
            crate::object::Object::Service(service) => {
                let ports = service.spec.as_ref().unwrap().ports.as_ref().unwrap();
                (object.key().name.to_string(), ports[0].port)
            }
            other => (other.key().name.to_string(), 0),
        };
        Ok(restored.objects.iter().map(port).collect())
    }

    fn filled(folder: &Path) -> Writer {
        let header = Line::Header { format: 1, server: "here".to_owned() };
        let mut writer = Writer::create(folder, serde_json::to_string(&header).unwrap()).unwrap();
        let mut add = |event: &str, kind: Kind, raw: Option<super::super::Raw>| {
            let object = raw.map(|raw| format!(r#","object":{}"#, raw.text.get()));
            let object = object.unwrap_or_default();
            writer
                .write(&format!(r#"{{"{event}":{{"kind":"{}"{object}}}}}"#, kind.as_str()))
                .unwrap();
        };
        add("list", Kind::Namespace, None);
        add("done", Kind::Namespace, None);
        add("list", Kind::Service, None);
        add("listed", Kind::Service, Some(raw("a", 80)));
        add("listed", Kind::Service, Some(raw("b", 80)));
        add("done", Kind::Service, None);
        add("applied", Kind::Service, Some(raw("a", 81)));
        add("applied", Kind::Service, Some(raw("c", 82)));
        add("deleted", Kind::Service, Some(raw("b", 80)));
        writer
    }

    #[test]
    fn what_was_last_is_what_is_restored() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = filled(folder.path());
        assert!(kept(folder.path()).unwrap_err().contains("No such file"), "not yet complete");
        writer.complete().unwrap();
        let expected = vec![("a".to_owned(), 81), ("c".to_owned(), 82)];
        assert_eq!(kept(folder.path()).as_ref(), Ok(&expected));
        writer.compact().unwrap();
        assert_eq!(kept(folder.path()).as_ref(), Ok(&expected));
        let lines = fs::read_to_string(folder.path().join("objects.jsonl")).unwrap();
        assert_eq!(lines.lines().count(), 1 + 2 + 4, "nothing is history");
        // What follows goes to the new file; a torn line is no harm.
        writer.write(r#"{"deleted":{"kind":"Service","object":{"metadata":{"name":"a","namespace":"d"}}}}"#).unwrap();
        writer.write(r#"{"applied":{"kind":"Serv"#).unwrap();
        assert_eq!(kept(folder.path()).unwrap(), vec![("c".to_owned(), 82)]);
    }

    #[test]
    fn what_cannot_be_trusted_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path()).complete().unwrap();
        let why = |max: u64, server: &str| {
            restore(folder.path(), Duration::from_secs(max), server, &KINDS).unwrap_err()
        };
        assert!(why(60, "there").contains("it is of here, not of there"));
        let path = folder.path().join("objects.jsonl");
        let old = SystemTime::now() - Duration::from_secs(100);
        OpenOptions::new().append(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(why(60, "here").contains("more than the 60 s"));
        let text = fs::read_to_string(&path).unwrap();
        let half: Vec<&str> = text.lines().take(5).collect();
        fs::write(&path, half.join("\n")).unwrap();
        assert!(why(60, "here").contains("not complete"));
        fs::write(&path, "{}\n").unwrap();
        assert!(why(60, "here").contains("form"));
    }

    #[test]
    fn the_keeper_writes_what_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::start(folder.path(), "here").unwrap();
        for kind in KINDS {
            keeper.keep(kind, &Event::Init);
            if kind == Kind::Service {
                keeper.keep(kind, &Event::InitApply(raw("a", 80)));
            }
            keeper.keep(kind, &Event::InitDone);
        }
        keeper.complete();
        keeper.keep(Kind::Service, &Event::Apply(raw("b", 81)));
        let expected = Ok(vec![("a".to_owned(), 80), ("b".to_owned(), 81)]);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while kept(folder.path()) != expected && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(kept(folder.path()), expected);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(folder.path().join("objects.jsonl")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Keeper::start(Path::new("/proc/nowhere"), "here").is_none());
    }
}
