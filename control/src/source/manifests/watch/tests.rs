use super::*;
use crossbeam_channel::{Receiver, bounded};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::time::Duration;
use tempfile::TempDir;

/// How long an event may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(30);

struct Subject {
    tempdir: TempDir,
    watch: Watch,
    writes: Arc<Writes>,
    changes: Receiver<()>,
}

impl Subject {
    fn new() -> Self {
        let (changed, changes) = bounded(1);
        let writes = Arc::new(Writes::default());
        let watch = Watch::new(changed, writes.clone());
        Subject { tempdir: tempfile::tempdir().unwrap(), watch, writes, changes }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tempdir.path().join(name)
    }

    /// Waits until a file's writer is known to be so far.
    fn wait(&self, file: &Path, write: Write) {
        while self.writes.take().of(file) != Some(write) {
            self.changes.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no {write:?}"));
        }
    }
}

#[test]
fn writers_are_seen_to_begin_and_to_end() {
    let mut subject = Subject::new();
    let file = subject.path("a.yaml");
    fs::write(&file, "1").unwrap();
    assert!(subject.watch.ensure(subject.tempdir.path()));
    let mut open = File::create(&file).unwrap();
    subject.wait(&file, Write::Open);
    assert_eq!(subject.writes.take().of(&file), Some(Write::Open), "as long as it is open");
    open.write_all(b"2").unwrap();
    drop(open);
    subject.wait(&file, Write::Whole);
    assert_eq!(subject.writes.take().of(&file), None, "said once");
    // By another way to the file, and beside it.
    symlink("a.yaml", subject.path("link.yaml")).unwrap();
    let open = File::options().append(true).open(subject.path("link.yaml")).unwrap();
    (&open).write_all(b"3").unwrap();
    subject.wait(&subject.path("link.yaml"), Write::Open);
    fs::write(subject.path("beside"), "4").unwrap();
    fs::rename(subject.path("beside"), &file).unwrap();
    subject.wait(&file, Write::Whole);
}

#[test]
fn what_is_put_in_place_is_not_being_written() {
    let mut subject = Subject::new();
    fs::create_dir(subject.path("in")).unwrap();
    fs::write(subject.path("old.yaml"), "1").unwrap();
    assert!(subject.watch.ensure(&subject.path("in")));
    fs::hard_link(subject.path("old.yaml"), subject.path("in/hard.yaml")).unwrap();
    symlink("../old.yaml", subject.path("in/soft.yaml")).unwrap();
    fs::write(subject.path("in/last.yaml"), "1").unwrap();
    subject.wait(&subject.path("in/last.yaml"), Write::Whole);
    let seen = subject.writes.take();
    assert_eq!(seen.of(&subject.path("in/hard.yaml")), None);
    assert_eq!(seen.of(&subject.path("in/soft.yaml")), None);
}

#[test]
fn a_link_on_the_way_is_watched() {
    let mut subject = Subject::new();
    for version in ["v1", "v2"] {
        fs::create_dir_all(subject.path(version).join("manifests")).unwrap();
    }
    symlink("v1", subject.path("current")).unwrap();
    symlink("current/./manifests", subject.path("root")).unwrap();
    assert_eq!(links(&subject.path("root")), [subject.path("root"), subject.path("current")]);
    assert!(subject.watch.ensure(&subject.path("root")));
    fs::write(subject.path("neighbor"), "1").unwrap();
    assert!(subject.changes.recv_timeout(Duration::from_millis(50)).is_err(), "a neighbor");
    symlink("v2", subject.path("next")).unwrap();
    fs::rename(subject.path("next"), subject.path("current")).unwrap();
    subject.changes.recv_timeout(DEADLINE).expect("the link is swapped");
    assert!(subject.watch.ensure(&subject.path("root")));
    while subject.changes.try_recv().is_ok() {}
    fs::write(subject.path("v2/manifests/a.yaml"), "1").unwrap();
    subject.changes.recv_timeout(DEADLINE).expect("the new folder is watched");
    symlink("loop", subject.path("loop")).unwrap();
    assert_eq!(links(&subject.path("loop")).len(), LINKS_MAX);
}
