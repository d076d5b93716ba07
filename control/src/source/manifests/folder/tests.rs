use super::*;
use std::collections::HashMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Mutex;
use std::time::SystemTime;
use tempfile::TempDir;

/// Time that stands still, long after everything that is written.
#[derive(Debug, Default)]
struct At(Mutex<Duration>);

impl Clock for At {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(3600)
    }
}

struct Subject {
    tempdir: TempDir,
    folder: Folder,
    clock: At,
    writes: HashMap<PathBuf, Write>,
}

impl Subject {
    fn new() -> Self {
        let tempdir = tempfile::tempdir().unwrap();
        let folder = Folder::new(tempdir.path().to_owned());
        Subject { tempdir, folder, clock: At::default(), writes: HashMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tempdir.path().join(name)
    }

    /// Writes in place, as the watcher sees it.
    fn write(&mut self, name: &str, text: &str, write: Option<Write>) {
        fs::write(self.path(name), text).unwrap();
        self.writes.clear();
        let path = fs::canonicalize(self.path(name)).unwrap();
        self.writes.extend(write.map(|write| (path, write)));
    }

    fn pass(&self, seconds: u64) {
        *self.clock.0.lock().unwrap() += Duration::from_secs(seconds);
    }

    /// Scans; the changes in short.
    fn scan(&mut self) -> Vec<String> {
        let seen = Seen(std::mem::take(&mut self.writes));
        let changes = self.folder.scan(&self.clock, &seen);
        let short = |change| match change {
            Change::Read(file, text) => format!("{file}={text}"),
            Change::Held(file, why) => format!("{file} held: {}", &why[..why.find(';').unwrap()]),
            Change::Unreadable(file, why) => format!("{file} unreadable: {why}"),
            Change::Readable(file) => format!("{file} readable"),
            Change::Gone(file) => format!("{file} gone"),
        };
        changes.into_iter().map(short).collect()
    }
}

#[test]
fn a_file_that_is_open_is_read_when_it_is_closed_or_quiet() {
    let mut subject = Subject::new();
    subject.write("a.yaml", "1", None);
    assert_eq!(subject.scan(), ["a.yaml=1"]);
    subject.write("a.yaml", "12", Some(Write::Open));
    assert_eq!(subject.scan(), ["a.yaml held: it is being written"]);
    assert_eq!(subject.folder.due(), Some(QUIET));
    subject.pass(1);
    subject.write("a.yaml", "123", Some(Write::Open));
    assert!(subject.scan().is_empty(), "said already");
    subject.write("a.yaml", "1234", Some(Write::Whole));
    assert_eq!(subject.scan(), ["a.yaml=1234"]);
    assert_eq!(subject.folder.due(), None);

    subject.write("a.yaml", "12345", Some(Write::Open));
    subject.scan();
    subject.pass(1);
    assert!(subject.scan().is_empty());
    subject.pass(1);
    assert_eq!(subject.scan(), ["a.yaml=12345"], "quiet for two seconds");
    subject.write("a.yaml", "1", Some(Write::Open));
    subject.scan();
    fs::remove_file(subject.path("a.yaml")).unwrap();
    assert_eq!(subject.scan(), ["a.yaml gone"]);
    assert_eq!(subject.folder.due(), None);
    subject.write("new.yaml", "1", Some(Write::Open));
    assert_eq!(subject.scan(), ["new.yaml held: it is being written"]);
    fs::remove_file(subject.path("new.yaml")).unwrap();
    assert_eq!(subject.scan(), ["new.yaml gone"]);
}

#[test]
fn a_writer_that_is_not_seen_is_told_by_the_file() {
    let mut subject = Subject::new();
    subject.write("a.yaml", "1", None);
    subject.scan();
    subject.write("a.yaml", "12", None);
    assert_eq!(subject.scan(), ["a.yaml held: it is being written"]);
    subject.pass(1);
    subject.write("a.yaml", "123", None);
    assert!(subject.scan().is_empty());
    subject.pass(1);
    assert!(subject.scan().is_empty(), "quiet counts from the last change");
    subject.pass(1);
    assert_eq!(subject.scan(), ["a.yaml=123"]);
    // A link or a mode is no text. Time stamps have ticks of some milliseconds.
    std::thread::sleep(Duration::from_millis(20));
    fs::hard_link(subject.path("a.yaml"), subject.path("a.link")).unwrap();
    assert_eq!(subject.scan(), ["a.yaml=123"]);
    // Another file in its place is complete.
    subject.write("b.tmp", "2", None);
    fs::rename(subject.path("b.tmp"), subject.path("a.yaml")).unwrap();
    assert_eq!(subject.scan(), ["a.yaml=2"]);
}

#[test]
fn an_emptied_file_is_waited_for_longer() {
    let mut subject = Subject::new();
    subject.write("a.yaml", "1", None);
    subject.write("empty.yaml", "", None);
    assert_eq!(subject.scan(), ["a.yaml=1", "empty.yaml="]);
    for write in [Some(Write::Open), Some(Write::Whole), None] {
        subject.write("a.yaml", "", write);
        subject.scan();
        assert_eq!(subject.folder.due(), Some(subject.clock.now() + EMPTY));
        subject.pass(9);
        assert!(subject.scan().is_empty());
        subject.pass(1);
        assert_eq!(subject.scan(), ["a.yaml="]);
        subject.write("a.yaml", "1", Some(Write::Whole));
        assert_eq!(subject.scan(), ["a.yaml=1"]);
    }
    fs::write(subject.path("b.tmp"), "").unwrap();
    fs::rename(subject.path("b.tmp"), subject.path("a.yaml")).unwrap();
    assert_eq!(subject.scan(), ["a.yaml held: it has become empty"]);
}

#[test]
fn only_what_is_not_there_is_gone() {
    let mut subject = Subject::new();
    fs::create_dir(subject.path("sub")).unwrap();
    for file in ["a.yaml", "sub/b.yaml", "sub/c.yaml"] {
        fs::write(subject.path(file), "1").unwrap();
    }
    assert_eq!(subject.scan(), ["a.yaml=1", "sub/b.yaml=1", "sub/c.yaml=1"]);
    // A link to itself: ELOOP.
    fs::remove_file(subject.path("a.yaml")).unwrap();
    symlink("a.yaml", subject.path("a.yaml")).unwrap();
    let said = subject.scan();
    assert!(said.len() == 1 && said[0].starts_with("a.yaml unreadable: "), "{said:?}");
    assert!(subject.scan().is_empty());
    // A link that leads nowhere.
    fs::remove_file(subject.path("a.yaml")).unwrap();
    symlink("nowhere", subject.path("a.yaml")).unwrap();
    assert_eq!(subject.scan(), ["a.yaml gone"]);
    assert!(subject.scan().is_empty());
    // A folder in place of itself.
    fs::rename(subject.path("sub"), subject.path(".sub")).unwrap();
    symlink("sub", subject.path("sub")).unwrap();
    let said = subject.scan();
    assert!(said.len() == 1 && said[0].starts_with("sub unreadable: "), "{said:?}");
    fs::remove_file(subject.path("sub")).unwrap();
    fs::remove_file(subject.path(".sub/c.yaml")).unwrap();
    fs::rename(subject.path(".sub"), subject.path("sub")).unwrap();
    assert_eq!(subject.scan(), ["sub gone", "sub/c.yaml gone"], "and b.yaml as it was");
}

#[test]
fn what_could_not_be_read_is_not_gone_when_its_folder_cannot_be_read() {
    let mut subject = Subject::new();
    fs::create_dir(subject.path("sub")).unwrap();
    for file in ["sub/a.yaml", "sub/b.yaml", "sub/c.yaml"] {
        fs::write(subject.path(file), "1").unwrap();
    }
    subject.scan();
    for file in ["a", "b"] {
        fs::write(subject.path(".tmp"), b"\xff\xfe").unwrap();
        fs::rename(subject.path(".tmp"), subject.path(&format!("sub/{file}.yaml"))).unwrap();
    }
    subject.write("sub/c.yaml", "12", None);
    let said = subject.scan();
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(said[2], "sub/c.yaml held: it is being written");
    fs::rename(subject.path("sub"), subject.path(".sub")).unwrap();
    symlink("sub", subject.path("sub")).unwrap();
    let said = subject.scan();
    assert!(said.len() == 1 && said[0].starts_with("sub unreadable: "), "{said:?}");
    subject.pass(5);
    assert!(subject.scan().is_empty());
    assert!(subject.folder.due() > Some(subject.clock.now()), "nothing spins");
    fs::remove_file(subject.path("sub")).unwrap();
    fs::remove_file(subject.path(".sub/a.yaml")).unwrap();
    fs::rename(subject.path(".sub"), subject.path("sub")).unwrap();
    subject.pass(2);
    assert_eq!(subject.scan(), ["sub/c.yaml=12", "sub gone", "sub/a.yaml gone"]);
}

#[test]
fn a_file_that_is_back_as_it_was_is_readable() {
    let mut subject = Subject::new();
    fs::create_dir(subject.path(".far")).unwrap();
    fs::write(subject.path(".far/a.yaml"), "1").unwrap();
    symlink(".far/a.yaml", subject.path("a.yaml")).unwrap();
    assert_eq!(subject.scan(), ["a.yaml=1"]);
    // Its folder is a file for a while: ENOTDIR.
    fs::rename(subject.path(".far"), subject.path(".away")).unwrap();
    fs::write(subject.path(".far"), "").unwrap();
    let said = subject.scan();
    assert!(said.len() == 1 && said[0].starts_with("a.yaml unreadable: "), "{said:?}");
    fs::remove_file(subject.path(".far")).unwrap();
    fs::rename(subject.path(".away"), subject.path(".far")).unwrap();
    assert_eq!(subject.scan(), ["a.yaml readable"]);
    assert!(subject.scan().is_empty());
}

#[test]
fn an_emptied_file_that_is_back_as_it_was_is_readable() {
    let mut subject = Subject::new();
    fs::write(subject.path(".full"), "1").unwrap();
    fs::write(subject.path(".empty"), "").unwrap();
    let link_to = |target: &str, subject: &Subject| {
        symlink(target, subject.path(".link")).unwrap();
        fs::rename(subject.path(".link"), subject.path("a.yaml")).unwrap();
    };
    link_to(".full", &subject);
    assert_eq!(subject.scan(), ["a.yaml=1"]);
    link_to(".empty", &subject);
    assert_eq!(subject.scan(), ["a.yaml held: it has become empty"]);
    link_to(".full", &subject);
    assert_eq!(subject.scan(), ["a.yaml readable"]);
    assert_eq!(subject.folder.due(), None);
    assert!(subject.scan().is_empty());
}

#[test]
fn a_folder_without_permission_keeps_what_it_had() {
    // The super-user may read everything; then there is nothing to see.
    let mut subject = Subject::new();
    fs::create_dir(subject.path("sub")).unwrap();
    fs::write(subject.path("sub/a.yaml"), "1").unwrap();
    subject.scan();
    let sub = subject.path("sub");
    let set = |mode| fs::set_permissions(&sub, fs::Permissions::from_mode(mode));
    set(0).unwrap();
    let is_refused = fs::read_dir(&sub).is_err();
    let changes = subject.folder.scan(&subject.clock, &Seen::default());
    set(0o755).unwrap();
    assert!(!changes.contains(&Change::Gone("sub/a.yaml".into())), "{changes:?}");
    assert_eq!(changes.iter().any(|c| matches!(c, Change::Unreadable(..))), is_refused);
}

#[test]
fn loops_are_walked_once() {
    let mut subject = Subject::new();
    fs::create_dir(subject.path("sub")).unwrap();
    fs::write(subject.path("sub/a.yaml"), "1").unwrap();
    fs::write(subject.path("b.yaml"), "1").unwrap();
    symlink(".", subject.path("loop")).unwrap();
    symlink("..", subject.path("sub/up")).unwrap();
    symlink("sub", subject.path("zsub")).unwrap();
    assert_eq!(subject.scan(), ["b.yaml=1", "sub/a.yaml=1"]);
}
