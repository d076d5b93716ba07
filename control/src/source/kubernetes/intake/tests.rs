use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

const KINDS: [Kind; 2] = [Kind::Namespace, Kind::Service];

fn raw(kind: Kind, name: &str, version: u32, port: serde_json::Value) -> Raw {
    let spec = match kind {
        Kind::Service => json!({"clusterIP": "10.96.0.1", "ports": [{"port": port}]}),
        _ => json!({}),
    };
    let object = json!({
        "apiVersion": kind.api_version(), "kind": kind.as_str(), "spec": spec,
        "metadata": {"name": name, "namespace": "d", "resourceVersion": version.to_string()},
    });
    serde_json::from_value::<serde_json::Value>(object)
        .and_then(|value| serde_json::from_str(&value.to_string()))
        .unwrap()
}

/// What events bring about.
#[derive(Debug, Default)]
struct World {
    objects: BTreeMap<String, String>,
    synced: usize,
}

impl World {
    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Applied { object, .. } => {
                    let version = object.metadata().resource_version.clone().unwrap();
                    self.objects.insert(object.key().to_string(), version);
                }
                Event::Deleted(key) => drop(self.objects.remove(&key.to_string())),
                Event::Synced => self.synced += 1,
                _ => {}
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).collect()
    }
}

fn send(intake: &mut Intake, world: &mut World, kind: Kind, event: watcher::Event<Raw>) {
    let mut out = Vec::new();
    intake.take(kind, event, &mut out);
    world.take(out);
}

fn list(intake: &mut Intake, world: &mut World, kind: Kind, objects: &[(&str, u32)]) {
    send(intake, world, kind, watcher::Event::Init);
    for (name, version) in objects {
        let raw = raw(kind, name, *version, 80.into());
        send(intake, world, kind, watcher::Event::InitApply(raw));
    }
}

#[test]
fn nothing_is_synced_before_each_kind_is_there() {
    let (mut intake, mut world) = (Intake::new(&KINDS), World::default());
    list(&mut intake, &mut world, Kind::Service, &[("a", 1)]);
    send(&mut intake, &mut world, Kind::Service, watcher::Event::InitDone);
    assert_eq!((world.synced, intake.is_synced()), (0, false));
    list(&mut intake, &mut world, Kind::Namespace, &[]);
    assert_eq!(world.synced, 0);
    send(&mut intake, &mut world, Kind::Namespace, watcher::Event::InitDone);
    assert_eq!((world.synced, intake.is_synced()), (1, true));
}

#[test]
fn a_list_that_breaks_off_takes_nothing_away() {
    let (mut intake, mut world) = (Intake::new(&[Kind::Service]), World::default());
    list(&mut intake, &mut world, Kind::Service, &[("a", 1), ("b", 1)]);
    send(&mut intake, &mut world, Kind::Service, watcher::Event::InitDone);
    list(&mut intake, &mut world, Kind::Service, &[("b", 2), ("c", 2)]);
    assert_eq!(world.names(), ["Service d/a", "Service d/b"], "not in whole yet");
    list(&mut intake, &mut world, Kind::Service, &[("b", 3)]);
    assert_eq!(world.objects["Service d/b"], "1");
    send(&mut intake, &mut world, Kind::Service, watcher::Event::InitDone);
    assert_eq!(world.names(), ["Service d/b"]);
    assert_eq!(world.objects["Service d/b"], "3");
}

#[test]
fn what_cannot_be_used_stalls_only_itself() {
    let (mut intake, mut world) = (Intake::new(&[Kind::Service]), World::default());
    list(&mut intake, &mut world, Kind::Service, &[("a", 1), ("b", 1)]);
    send(&mut intake, &mut world, Kind::Service, watcher::Event::InitDone);
    for port in [json!("80"), json!(0), json!({"x": [1]})] {
        let bad = raw(Kind::Service, "a", 2, port);
        send(&mut intake, &mut world, Kind::Service, watcher::Event::Apply(bad));
        let good = raw(Kind::Service, "b", 2, 80.into());
        send(&mut intake, &mut world, Kind::Service, watcher::Event::Apply(good));
        assert_eq!((&*world.objects["Service d/a"], &*world.objects["Service d/b"]), ("1", "2"));
        let said = intake.diagnostics();
        assert_eq!(said[0].object.as_deref(), Some("Service d/a"));
        assert!(said[0].path.starts_with("spec.ports[0].port"), "{said:?}");
        assert!(intake.take_refused_new());
        let gone = raw(Kind::Service, "a", 3, 80.into());
        send(&mut intake, &mut world, Kind::Service, watcher::Event::Apply(gone));
        assert!(intake.diagnostics().is_empty() && intake.take_refused_new());
        let back = raw(Kind::Service, "a", 1, 80.into());
        send(&mut intake, &mut world, Kind::Service, watcher::Event::Apply(back));
    }
    let gone = raw(Kind::Service, "a", 9, json!("x"));
    send(&mut intake, &mut world, Kind::Service, watcher::Event::Delete(gone));
    assert_eq!(world.names(), ["Service d/b"]);
}

#[test]
fn a_snapshot_is_in_force_until_everything_is_there() {
    let (mut intake, mut world) = (Intake::new(&KINDS), World::default());
    let object = |kind, name| decode(kind, raw(kind, name, 1, 80.into()).text.get()).unwrap();
    let snapshot = vec![object(Kind::Service, "a"), object(Kind::Service, "b")];
    world.take(intake.restore(snapshot));
    assert_eq!((world.synced, intake.is_synced()), (1, false));
    list(&mut intake, &mut world, Kind::Service, &[("b", 1), ("c", 1)]);
    send(&mut intake, &mut world, Kind::Service, watcher::Event::InitDone);
    let late = raw(Kind::Service, "d", 2, 80.into());
    send(&mut intake, &mut world, Kind::Service, watcher::Event::Apply(late));
    assert_eq!(world.names(), ["Service d/a", "Service d/b"]);
    list(&mut intake, &mut world, Kind::Namespace, &[]);
    send(&mut intake, &mut world, Kind::Namespace, watcher::Event::InitDone);
    assert_eq!(world.names(), ["Service d/b", "Service d/c", "Service d/d"]);
    assert!(intake.is_synced());
}

/// A step of an API server whose objects change, and of its lists.
#[derive(Clone, Debug)]
enum Step {
    Set(u8),
    Delete(u8),
    /// A list of which so many objects arrive before it breaks off.
    Broken(usize),
    List,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u8).prop_map(Step::Set),
        2 => (0..6u8).prop_map(Step::Delete),
        1 => (0..6usize).prop_map(Step::Broken),
        1 => Just(Step::List),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in between: after a whole list, and after each event
    /// that follows, what is in force is what the server has.
    #[test]
    fn what_is_in_force_is_what_the_server_has(
        from_snapshot in any::<bool>(),
        steps in proptest::collection::vec((step(), any::<bool>()), 1..40),
    ) {
        let (mut intake, mut world) = (Intake::new(&[Kind::Service]), World::default());
        let mut server: BTreeMap<u8, u32> = BTreeMap::new();
        if from_snapshot {
            let old = raw(Kind::Service, "s1", 0, 80.into());
            world.take(intake.restore(vec![decode(Kind::Service, old.text.get()).unwrap()]));
        }
        let mut is_watching = false;
        let mut version = 1;
        for (step, is_seen) in steps {
            version += 1;
            match step {
                Step::Set(id) => {
                    server.insert(id, version);
                    // A change that is not seen is one after a break: a list follows.
                    is_watching &= is_seen;
                    if is_watching {
                        let raw = raw(Kind::Service, &format!("s{id}"), version, 80.into());
                        send(&mut intake, &mut world, Kind::Service, watcher::Event::Apply(raw));
                    }
                }
                Step::Delete(id) => {
                    let Some(old) = server.remove(&id) else { continue };
                    is_watching &= is_seen;
                    if is_watching {
                        let raw = raw(Kind::Service, &format!("s{id}"), old, 80.into());
                        send(&mut intake, &mut world, Kind::Service, watcher::Event::Delete(raw));
                    }
                }
                Step::Broken(len) => {
                    let names: Vec<_> = server.iter().take(len).map(|(id, v)| (format!("s{id}"), *v)).collect();
                    let names: Vec<_> = names.iter().map(|(name, v)| (name.as_str(), *v)).collect();
                    let before: BTreeSet<String> = world.objects.keys().cloned().collect();
                    list(&mut intake, &mut world, Kind::Service, &names);
                    let after: BTreeSet<String> = world.objects.keys().cloned().collect();
                    prop_assert!(after.is_superset(&before), "a part takes nothing away");
                    is_watching = false;
                }
                Step::List => {
                    let names: Vec<_> = server.iter().map(|(id, v)| (format!("s{id}"), *v)).collect();
                    let names: Vec<_> = names.iter().map(|(name, v)| (name.as_str(), *v)).collect();
                    list(&mut intake, &mut world, Kind::Service, &names);
                    send(&mut intake, &mut world, Kind::Service, watcher::Event::InitDone);
                    is_watching = true;
                }
            }
            if is_watching {
                let expected: BTreeMap<String, String> = server
                    .iter()
                    .map(|(id, version)| (format!("Service d/s{id}"), version.to_string()))
                    .collect();
                prop_assert_eq!(&world.objects, &expected);
            }
        }
        prop_assert!(world.synced <= 1);
    }
}
