use super::*;
use proptest::prelude::*;
use serde_json::json;

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

fn object(kind: Kind, name: &str, version: u32) -> Object {
    decode(kind, raw(kind, name, version, 80.into()).text.get()).unwrap()
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
                Event::Refused { key, rest } => {
                    let what = if rest.is_some() { "refused in part" } else { "refused" };
                    self.objects.insert(key.to_string(), what.to_owned());
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
    let snapshot = vec![object(Kind::Service, "a", 1), object(Kind::Service, "b", 1)];
    world.take(intake.restore(snapshot, Vec::new()));
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

#[test]
fn a_snapshot_has_no_say_about_what_the_api_has_delivered() {
    let (mut intake, mut world) = (Intake::new(&KINDS), World::default());
    list(&mut intake, &mut world, Kind::Service, &[("stays", 5)]);
    send(&mut intake, &mut world, Kind::Service, watcher::Event::InitDone);
    list(&mut intake, &mut world, Kind::Namespace, &[("came", 5)]);
    let old = [
        (Kind::Service, "stays"),
        (Kind::Service, "gone"),
        (Kind::Namespace, "came"),
        (Kind::Namespace, "to-come"),
    ];
    world.take(intake.restore(old.map(|(kind, name)| object(kind, name, 1)).to_vec(), Vec::new()));
    assert_eq!(world.names(), ["Namespace came", "Namespace to-come", "Service d/stays"]);
    assert_eq!((&*world.objects["Namespace came"], &*world.objects["Service d/stays"]), ("5", "5"));
    // The list goes on: what it has delivered is not lost, what it lacks is.
    send(&mut intake, &mut world, Kind::Namespace, watcher::Event::InitDone);
    assert_eq!(world.names(), ["Namespace came", "Service d/stays"]);
    assert!(
        intake.is_synced()
            && intake.restore(vec![object(Kind::Service, "b", 1)], Vec::new()).is_empty()
    );
}

#[test]
fn no_more_is_held_than_there_is() {
    let (mut intake, mut world) = (Intake::new(&KINDS), World::default());
    world.take(intake.restore(vec![object(Kind::Service, "old", 1)], Vec::new()));
    list(&mut intake, &mut world, Kind::Service, &[("old", 1)]);
    send(&mut intake, &mut world, Kind::Service, watcher::Event::InitDone);
    for version in 2..50 {
        for (name, port) in [("old", 80), (&format!("new-{version}"), 80), ("bad", 0)] {
            let raw = raw(Kind::Service, name, version, port.into());
            send(&mut intake, &mut world, Kind::Service, watcher::Event::Apply(raw.clone()));
            send(&mut intake, &mut world, Kind::Service, watcher::Event::Delete(raw));
        }
    }
    assert_eq!(intake.kinds[&Kind::Service].held.len(), 1);
    let back = raw(Kind::Service, "old", 50, 80.into());
    send(&mut intake, &mut world, Kind::Service, watcher::Event::Apply(back));
    assert_eq!(world.objects["Service d/old"], "1");
    list(&mut intake, &mut world, Kind::Namespace, &[]);
    send(&mut intake, &mut world, Kind::Namespace, watcher::Event::InitDone);
    assert_eq!((world.names(), &*world.objects["Service d/old"]), (vec!["Service d/old"], "50"));
}

/// A step of an API server whose objects change, and of its lists.
#[derive(Clone, Debug)]
enum Step {
    Set(u8),
    Delete(u8),
    /// A list of which so many objects arrive before it breaks off.
    Broken(usize),
    List,
    /// The gateway falls back on its snapshot.
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..6u8).prop_map(Step::Set),
        4 => (0..6u8).prop_map(Step::Delete),
        2 => (0..6usize).prop_map(Step::Broken),
        2 => Just(Step::List),
        1 => Just(Step::Restore),
    ]
}

/// Versions by name.
type Objects = BTreeMap<String, u32>;

/// What is expected of one kind, in the simplest terms.
#[derive(Debug, Default)]
struct Naive {
    /// What the server has.
    server: Objects,
    /// What the last list that was whole had, with the changes since.
    truth: Objects,
    /// What lists have brought since.
    part: Objects,
    is_watching: bool,
    is_complete: bool,
}

impl Naive {
    /// All that has come, whole or not.
    fn came(&self) -> Objects {
        self.truth.clone().into_iter().chain(self.part.clone()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in between: a snapshot is in force, with what came
    /// before it, until each kind has been listed; then, for each kind, what its
    /// last whole list had and what was seen to happen since: while it is
    /// watched, what the server has.
    #[test]
    fn what_is_in_force_is_what_the_server_has(
        snapshot in proptest::collection::btree_map((0..2usize, 0..6u8), 0..3u32, 0..8),
        steps in proptest::collection::vec((0..2usize, step(), any::<bool>()), 1..80),
    ) {
        let (mut intake, mut world) = (Intake::new(&KINDS), World::default());
        let mut kinds: [Naive; 2] = Default::default();
        // What is in force between a restored snapshot and the truth.
        let mut frozen: Option<[Objects; 2]> = None;
        let (mut is_restored, mut was_synced) = (false, false);
        for (version, (of, step, is_seen)) in (1..).zip(steps) {
            let (kind, naive) = (KINDS[of], &mut kinds[of]);
            match step {
                Step::Set(id) => {
                    let name = format!("s{id}");
                    naive.server.insert(name.clone(), version);
                    // A change that is not seen is one after a break: a list follows.
                    naive.is_watching &= is_seen;
                    if naive.is_watching {
                        naive.truth.insert(name.clone(), version);
                        let raw = raw(kind, &name, version, 80.into());
                        send(&mut intake, &mut world, kind, watcher::Event::Apply(raw));
                    }
                }
                Step::Delete(id) => {
                    let name = format!("s{id}");
                    let Some(old) = naive.server.remove(&name) else { continue };
                    naive.is_watching &= is_seen;
                    if naive.is_watching {
                        naive.truth.remove(&name);
                        let raw = raw(kind, &name, old, 80.into());
                        send(&mut intake, &mut world, kind, watcher::Event::Delete(raw));
                    }
                }
                Step::Broken(len) => {
                    let part: Vec<_> = naive.server.iter().take(len).collect();
                    let part: Vec<_> = part.iter().map(|(name, v)| (name.as_str(), **v)).collect();
                    list(&mut intake, &mut world, kind, &part);
                    let part = part.into_iter().map(|(name, v)| (name.to_owned(), v));
                    naive.part.extend(part);
                    naive.is_watching = false;
                }
                Step::List => {
                    let all: Vec<_> = naive.server.iter().map(|(name, v)| (name.as_str(), *v)).collect();
                    list(&mut intake, &mut world, kind, &all);
                    send(&mut intake, &mut world, kind, watcher::Event::InitDone);
                    (naive.truth, naive.part) = (naive.server.clone(), Objects::new());
                    (naive.is_watching, naive.is_complete) = (true, true);
                }
                Step::Restore => {
                    let old = |((of, id), v): (&(usize, u8), &u32)| object(KINDS[*of], &format!("s{id}"), *v);
                    let is_first = !std::mem::replace(&mut is_restored, true);
                    let is_of_use = is_first && kinds.iter().any(|naive| !naive.is_complete);
                    world.take(intake.restore(snapshot.iter().map(old).collect(), Vec::new()));
                    if is_of_use {
                        frozen = Some([0, 1].map(|of| {
                            let naive = &kinds[of];
                            let old = snapshot.iter().filter(|((kind, _), _)| *kind == of && !naive.is_complete);
                            let old = old.map(|((_, id), v)| (format!("s{id}"), *v));
                            old.chain(naive.came()).collect()
                        }));
                    }
                }
            }
            let is_synced = kinds.iter().all(|naive| naive.is_complete);
            if is_synced && !std::mem::replace(&mut was_synced, is_synced) {
                frozen = None;
                // All that was held went out at once, a part of a list too.
                kinds.iter_mut().for_each(|naive| naive.truth = naive.came());
            }
            prop_assert_eq!(intake.is_synced(), is_synced);
            prop_assert_eq!(world.synced, usize::from(is_synced || frozen.is_some()));
            for (of, naive) in kinds.iter().enumerate() {
                let expected = match &frozen {
                    Some(frozen) => frozen[of].clone(),
                    None if is_synced => naive.truth.clone(),
                    None => naive.came(),
                };
                let name = |name: &str| object(KINDS[of], name, 0).key().to_string();
                let expected: BTreeMap<String, String> =
                    expected.iter().map(|(n, version)| (name(n), version.to_string())).collect();
                let prefix = format!("{} ", KINDS[of].as_str());
                let found = world.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
                let found: BTreeMap<_, _> = found.map(|(k, v)| (k.clone(), v.clone())).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}

/// A policy; one with port 0 cannot be.
fn policy(kind: Kind, version: u32, port: u16) -> Raw {
    let spec = match kind {
        Kind::NetworkPolicy => json!({"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]}),
        _ => json!({
            "tier": "Admin", "priority": 1, "subject": {"namespaces": {}},
            "ingress": [{"action": "Deny", "from": [{"namespaces": {}}],
                "protocols": [{"tcp": {"destinationPort": {"number": port}}}]}],
        }),
    };
    let object = json!({
        "apiVersion": kind.api_version(), "kind": kind.as_str(), "spec": spec,
        "metadata": {"name": "p", "namespace": "d", "resourceVersion": version.to_string()},
    });
    serde_json::from_str(&object.to_string()).unwrap()
}

const POLICIES: [(Kind, &str); 2] = [
    (Kind::NetworkPolicy, "NetworkPolicy d/p"),
    (Kind::ClusterNetworkPolicy, "ClusterNetworkPolicy p"),
];

#[test]
fn a_policy_without_a_good_version_is_refused_and_a_good_one_stays() {
    for (kind, name) in POLICIES {
        let (mut intake, mut world) = (Intake::new(&[kind]), World::default());
        send(&mut intake, &mut world, kind, watcher::Event::Init);
        let bad = |version| policy(kind, version, 0);
        send(&mut intake, &mut world, kind, watcher::Event::InitApply(bad(1)));
        send(&mut intake, &mut world, kind, watcher::Event::InitDone);
        assert_eq!(world.objects[name], "refused in part");
        let said = intake.diagnostics();
        assert!(said[0].message.contains("denied everything"), "{said:?}");
        assert_eq!(said[0].object.as_deref(), Some(name));
        send(&mut intake, &mut world, kind, watcher::Event::Apply(policy(kind, 2, 80)));
        assert_eq!((&*world.objects[name], intake.refused_len()), ("2", 0));
        send(&mut intake, &mut world, kind, watcher::Event::Apply(bad(3)));
        assert_eq!(world.objects[name], "2");
        assert!(intake.diagnostics()[0].message.contains("its last good version stays in force"));
        // It is another one when it comes back.
        send(&mut intake, &mut world, kind, watcher::Event::Delete(bad(3)));
        assert_eq!(world.names(), [""; 0]);
        send(&mut intake, &mut world, kind, watcher::Event::Apply(bad(4)));
        assert_eq!(world.objects[name], "refused in part");
        send(&mut intake, &mut world, kind, watcher::Event::Init);
        send(&mut intake, &mut world, kind, watcher::Event::InitDone);
        assert_eq!((world.names(), intake.refused_len()), (vec![""; 0], 0));
    }
}

#[test]
fn refused_policies_are_held_as_others_are() {
    let (kind, name) = POLICIES[0];
    let kinds = [kind, Kind::Namespace];
    let good = || {
        let text = policy(kind, 1, 80);
        vec![decode(kind, text.text.get()).unwrap()]
    };
    let refused = || {
        let diagnostics = vec![Diagnostic::general(Severity::Error, "bad")];
        vec![RefusedPolicy { key: Key::parse(name).unwrap(), rest: None, diagnostics }]
    };
    // Restored, and then what the API has: what is in force before and after
    // all kinds are there.
    type Restored = (Vec<Object>, Vec<RefusedPolicy>);
    type Case<'a> = (Restored, &'a [(u32, u16)], &'a str, Option<&'a str>);
    let cases: [Case<'_>; 6] = [
        ((good(), vec![]), &[(2, 0)], "1", Some("1")),
        ((good(), vec![]), &[(2, 81)], "1", Some("2")),
        ((vec![], refused()), &[(2, 0)], "refused", Some("refused in part")),
        ((vec![], refused()), &[(2, 81)], "refused", Some("2")),
        ((vec![], refused()), &[(2, 81), (3, 0)], "refused", Some("2")),
        ((vec![], refused()), &[], "refused", None),
    ];
    for ((objects, refused), versions, before, after) in cases {
        let (mut intake, mut world) = (Intake::new(&kinds), World::default());
        world.take(intake.restore(objects, refused));
        send(&mut intake, &mut world, kind, watcher::Event::Init);
        for (version, port) in versions {
            let raw = policy(kind, *version, *port);
            send(&mut intake, &mut world, kind, watcher::Event::InitApply(raw));
        }
        send(&mut intake, &mut world, kind, watcher::Event::InitDone);
        assert_eq!(world.objects[name], before, "{versions:?}");
        send(&mut intake, &mut world, Kind::Namespace, watcher::Event::Init);
        send(&mut intake, &mut world, Kind::Namespace, watcher::Event::InitDone);
        assert_eq!(world.objects.get(name).map(String::as_str), after, "{versions:?}");
    }
    // Gone and back, in a form that cannot be used, while it is held.
    let (mut intake, mut world) = (Intake::new(&kinds), World::default());
    world.take(intake.restore(good(), vec![]));
    send(&mut intake, &mut world, kind, watcher::Event::Init);
    send(&mut intake, &mut world, kind, watcher::Event::InitApply(policy(kind, 1, 80)));
    send(&mut intake, &mut world, kind, watcher::Event::InitDone);
    send(&mut intake, &mut world, kind, watcher::Event::Delete(policy(kind, 1, 80)));
    send(&mut intake, &mut world, kind, watcher::Event::Apply(policy(kind, 2, 0)));
    assert_eq!(world.objects[name], "1");
    send(&mut intake, &mut world, Kind::Namespace, watcher::Event::Init);
    send(&mut intake, &mut world, Kind::Namespace, watcher::Event::InitDone);
    assert_eq!(world.objects[name], "refused in part");
}
