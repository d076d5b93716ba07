use super::super::{AGAIN, Keeper, Order, restore};
use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::os::unix::fs::MetadataExt;
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

/// A line, with an object of a name and a port.
fn add(writer: &mut Writer, event: &str, kind: Kind, object: Option<(&str, u32)>) {
    let object = object.map(|(name, port)| format!(r#","object":{}"#, raw(name, port).text.get()));
    let object = object.unwrap_or_default();
    let line = format!(r#"{{"{event}":{{"kind":"{}"{object}}}}}"#, kind.as_str());
    writer.write(&serde_json::from_str(&line).unwrap()).unwrap();
}

fn filled(folder: &Path) -> Writer {
    let mut writer = Writer::create(folder, "here").unwrap();
    add(&mut writer, "list", Kind::Namespace, None);
    add(&mut writer, "done", Kind::Namespace, None);
    add(&mut writer, "list", Kind::Service, None);
    add(&mut writer, "listed", Kind::Service, Some(("a", 80)));
    add(&mut writer, "listed", Kind::Service, Some(("b", 80)));
    add(&mut writer, "done", Kind::Service, None);
    add(&mut writer, "applied", Kind::Service, Some(("a", 81)));
    add(&mut writer, "applied", Kind::Service, Some(("c", 82)));
    add(&mut writer, "deleted", Kind::Service, Some(("b", 80)));
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
    add(&mut writer, "deleted", Kind::Service, Some(("a", 81)));
    writer.file.write_all(br#"{"applied":{"kind":"Serv"#).unwrap();
    writer.file.flush().unwrap();
    assert_eq!(kept(folder.path()).unwrap(), vec![("c".to_owned(), 82)]);
}

#[test]
fn refused_policies_are_restored_as_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path(), "here").unwrap();
    let kind = Kind::NetworkPolicy;
    let mut policy = |event: &str, name: &str, version: u32, types: &[&str]| {
        let object = json!({
            "metadata": {"name": name, "namespace": "d", "resourceVersion": version.to_string()},
            "spec": {"podSelector": {}, "policyTypes": types},
        });
        let line = json!({event: {"kind": kind.as_str(), "object": object}}).to_string();
        writer.write(&serde_json::from_str(&line).unwrap()).unwrap();
    };
    policy("listed", "bad", 1, &["x"]);
    policy("listed", "good", 1, &["Egress"]);
    policy("listed", "gone", 1, &["x"]);
    policy("listed", "mended", 1, &["x"]);
    policy("applied", "good", 2, &["x"]);
    policy("applied", "mended", 2, &["Egress"]);
    policy("deleted", "gone", 1, &["x"]);
    add(&mut writer, "done", kind, None);
    writer.complete().unwrap();
    // A snapshot of a time at which a kind was not read that clusters may lack.
    let kinds = [kind, Kind::ClusterNetworkPolicy];
    let restored = restore(folder.path(), Duration::from_secs(60), "here", &kinds).unwrap();
    let names: Vec<_> = restored.objects.iter().map(|one| one.key().name.to_string()).collect();
    assert_eq!(names, ["good", "mended"]);
    let [refused] = &restored.refused[..] else { panic!("{:?}", restored.refused) };
    assert_eq!(refused.key.to_string(), "NetworkPolicy d/bad");
    assert!(refused.rest.is_some());
    assert_eq!(refused.diagnostics[0].path, "spec.policyTypes[0]");
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

/// The file of a folder, by its inode, and its size.
fn file(folder: &Path, name: &str) -> (u64, u64) {
    let metadata = fs::metadata(folder.join(name)).unwrap();
    (metadata.ino(), metadata.len())
}

#[test]
fn a_file_is_written_anew_when_it_has_grown_not_at_each_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = filled(folder.path());
    writer.complete().unwrap();
    writer.slack = 2000;
    // A list that breaks off again and again grows without end, and so do changes.
    let (mut inodes, mut lines) = (Vec::new(), 0);
    for port in 100..130 {
        add(&mut writer, "list", Kind::Service, None);
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            add(&mut writer, "listed", Kind::Service, Some((name, port)));
            let (inode, len) = file(folder.path(), "objects.jsonl");
            assert!(len < 2 * 5000 + 2000, "{len}");
            lines += 1;
            inodes.push(inode);
        }
    }
    inodes.dedup();
    assert!(inodes.len() > 1 && inodes.len() * 8 < lines, "{} of {lines}", inodes.len());
}

#[test]
fn first_lists_are_no_history() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path(), "here").unwrap();
    writer.slack = 2000;
    let first = file(folder.path(), "objects.jsonl.new").0;
    add(&mut writer, "list", Kind::Service, None);
    for i in 0..50 {
        add(&mut writer, "listed", Kind::Service, Some((&format!("s{i}"), 80)));
        assert_eq!(file(folder.path(), "objects.jsonl.new").0, first);
    }
    add(&mut writer, "done", Kind::Service, None);
    // A kind that never comes is no reason to keep all changes of the others.
    (1..500).for_each(|port| add(&mut writer, "applied", Kind::Service, Some(("s0", port))));
    let (_, len) = file(folder.path(), "objects.jsonl.new");
    assert!(len < 40_000, "{len}");
    add(&mut writer, "list", Kind::Namespace, None);
    add(&mut writer, "done", Kind::Namespace, None);
    writer.complete().unwrap();
    let kept = kept(folder.path()).unwrap();
    assert_eq!((kept.len(), &kept[0]), (50, &("s0".to_owned(), 499)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Lists, whole or not, and changes: what is restored is the same, whether
    /// the file was written anew in between or not.
    #[test]
    fn nothing_is_lost_when_a_file_is_written_anew(
        lines in proptest::collection::vec((0..5usize, 0..4u32, any::<bool>()), 1..40),
        completed in 0..40usize,
    ) {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut writers = folders.each_ref().map(|f| Writer::create(f.path(), "here").unwrap());
        for writer in &mut writers {
            add(writer, "list", Kind::Namespace, None);
            add(writer, "done", Kind::Namespace, None);
        }
        // Changes come by a watch, which a list precedes.
        let (mut is_listing, mut is_watching) = (false, false);
        for (number, (step, name, is_compacted)) in lines.into_iter().enumerate() {
            let event = match step {
                0 | 1 if is_listing => "listed",
                2 if is_listing => "done",
                0..=2 if is_watching => "applied",
                3 if is_watching => "deleted",
                _ => "list",
            };
            is_listing = event == "list" || is_listing && event != "done";
            is_watching = event != "list" && (is_watching || event == "done");
            let object = (format!("s{name}"), number as u32 + 1);
            let object = (!matches!(event, "list" | "done")).then_some((&*object.0, object.1));
            for writer in &mut writers {
                add(writer, event, Kind::Service, object);
                if number == completed {
                    writer.complete().unwrap();
                }
            }
            if is_compacted {
                writers[1].compact().unwrap();
            }
            let [all, compacted] = folders.each_ref().map(|folder| kept(folder.path()).ok());
            prop_assert_eq!(all, compacted);
        }
    }
}

/// Lists a Service of a port.
fn list(keeper: &mut Keeper, port: u32) {
    for kind in KINDS {
        keeper.keep(kind, &Event::Init);
        if kind == Kind::Service {
            keeper.keep(kind, &Event::InitApply(raw("a", port)));
        }
        keeper.keep(kind, &Event::InitDone);
    }
}

/// Waits until a folder's snapshot is this.
fn comes(folder: &Path, expected: &[(&str, i32)]) {
    let expected = expected.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while kept(folder).as_ref() != Ok(&expected) && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(kept(folder), Ok(expected));
}

#[test]
fn the_keeper_writes_what_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path(), "here", KINDS.len());
    list(&mut keeper, 80);
    keeper.keep(Kind::Service, &Event::Apply(raw("b", 81)));
    comes(folder.path(), &[("a", 80), ("b", 81)]);
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(folder.path().join("objects.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_could_not_be_kept_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path(), "here", KINDS.len());
    list(&mut keeper, 80);
    comes(folder.path(), &[("a", 80)]);
    // A disk that takes one line, and no more.
    let (orders, hanging) = crossbeam_channel::bounded::<Order>(1);
    keeper.orders = Some(orders);
    keeper.keep(Kind::Service, &Event::Apply(raw("b", 81)));
    assert!(keeper.is_kept());
    keeper.keep(Kind::Service, &Event::Apply(raw("b", 82)));
    assert!(!keeper.is_kept());
    drop(hanging);
    while !keeper.thread.as_ref().unwrap().is_finished() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let now = Duration::from_secs(1000);
    assert!(!keeper.begin_anew(now) && !keeper.begin_anew(now + AGAIN / 2));
    assert!(keeper.begin_anew(now + AGAIN) && keeper.is_kept() && !keeper.begin_anew(now + AGAIN));
    comes(folder.path(), &[("a", 80)]);
    // Changes before the lists are whole are no snapshot yet.
    keeper.confirm(now + AGAIN);
    list(&mut keeper, 83);
    comes(folder.path(), &[("a", 83)]);
}

#[test]
fn a_folder_that_is_not_there_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("snapshot");
    fs::write(&blocked, "no folder").unwrap();
    let mut keeper = Keeper::new(&blocked, "here", KINDS.len());
    assert!(!keeper.is_kept() && !keeper.begin_anew(Duration::ZERO));
    assert!(!keeper.begin_anew(AGAIN), "still not");
    fs::remove_file(&blocked).unwrap();
    assert!(!keeper.begin_anew(AGAIN + AGAIN / 2), "not yet");
    assert!(keeper.begin_anew(3 * AGAIN));
    list(&mut keeper, 80);
    comes(&blocked, &[("a", 80)]);
}
