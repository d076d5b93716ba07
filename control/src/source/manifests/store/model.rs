//! Random files against a naive store that keeps everything.

use super::*;
use proptest::prelude::*;

const FILES: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 3] = ["k0", "k1", "k2"];

/// What stands in a document.
#[derive(Clone, Debug, PartialEq)]
enum Doc {
    Good { key: usize, version: u8 },
    Broken { key: usize },
    Unparsable,
}

impl Doc {
    fn text(&self) -> String {
        let namespace = |key: usize, label: &str| {
            let name = KEYS[key];
            format!(
                "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{l: {label}}}}}\n"
            )
        };
        match self {
            Doc::Good { key, version } => namespace(*key, &format!("v{version}")),
            Doc::Broken { key } => namespace(*key, "[1]"),
            Doc::Unparsable => "--- {[\n".to_owned(),
        }
    }
}

/// The text and the objects of one file, kept ones included.
#[derive(Clone, Default)]
struct Model {
    docs: Vec<Doc>,
    entries: BTreeMap<usize, u8>,
}

impl Model {
    fn read(docs: Vec<Doc>, old: &Model) -> Self {
        let mut entries = BTreeMap::new();
        for doc in docs.iter().rev() {
            if let Doc::Good { key, version } = doc {
                entries.insert(*key, *version);
            }
        }
        for (key, version) in &old.entries {
            let is_refused =
                |doc: &Doc| *doc == Doc::Unparsable || *doc == Doc::Broken { key: *key };
            if docs.iter().any(is_refused) {
                entries.entry(*key).or_insert(*version);
            }
        }
        Model { docs, entries }
    }
}

/// What should be in force: the file and the version.
fn in_force(
    files: &BTreeMap<&'static str, Model>,
    key: usize,
    before: Option<(&'static str, u8)>,
) -> Option<(&'static str, u8)> {
    let version = |file: &str| files.get(file).and_then(|model| model.entries.get(&key)).copied();
    let owners: Vec<&'static str> =
        files.keys().copied().filter(|file| version(file).is_some()).collect();
    if owners.is_empty() {
        return None;
    }
    let can_be_had = |file: &&'static str| {
        let wanted = version(file)?;
        let is_there = files[*file].docs.contains(&Doc::Good { key, version: wanted });
        let is_in_force = before.is_some_and(|before| before.1 == wanted);
        (is_there || is_in_force).then_some((*file, wanted))
    };
    match before {
        Some(before) if owners.contains(&before.0) => can_be_had(&before.0).or(Some(before)),
        before => owners.iter().find_map(can_be_had).or(before),
    }
}

/// Whether it is said that what a file had of an object stays in force.
fn is_about(said: &Diagnostic, name: &str, file: &str) -> bool {
    let object = format!("Namespace {name}");
    let is_of_object = said.object.as_ref() == Some(&object) || said.message.contains(&object);
    let is_of_file = said.file.as_deref() == Some(file)
        || said.message.contains(&format!("what {file} had"))
        || said.message.contains(&format!("that of {file}"));
    said.message.contains("stays in force") && is_of_object && is_of_file
}

fn doc() -> impl Strategy<Value = Doc> {
    prop_oneof![
        6 => (0..KEYS.len(), 0..3u8).prop_map(|(key, version)| Doc::Good { key, version }),
        2 => (0..KEYS.len()).prop_map(|key| Doc::Broken { key }),
        1 => Just(Doc::Unparsable),
    ]
}

/// A step: files that change at once; `None` removes one.
fn step() -> impl Strategy<Value = BTreeMap<usize, Option<Vec<Doc>>>> {
    let docs = prop_oneof![
        1 => Just(None),
        4 => proptest::collection::vec(doc(), 0..4).prop_map(Some),
    ];
    proptest::collection::btree_map(0..FILES.len(), docs, 1..3)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_in_force_is_what_the_model_says(
        steps in proptest::collection::vec(step(), 1..12),
    ) {
        let mut store = Store::default();
        let mut files: BTreeMap<&'static str, Model> = BTreeMap::new();
        let mut expected: BTreeMap<usize, (&'static str, u8)> = BTreeMap::new();
        let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
        // What was said last.
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        for step in steps {
            let mut changes = Vec::new();
            for (file, docs) in step {
                let file = FILES[file];
                match docs {
                    Some(docs) => {
                        let text = docs.iter().map(Doc::text).collect();
                        changes.push(Change::Read(file.into(), text));
                        let old = files.remove(file).unwrap_or_default();
                        files.insert(file, Model::read(docs, &old));
                    }
                    None => {
                        changes.push(Change::Gone(file.into()));
                        files.remove(file);
                    }
                }
            }
            let load = |file: &str| Some(files.get(file)?.docs.iter().map(Doc::text).collect());
            for event in store.update(changes, &load) {
                match event {
                    Event::Applied { object, origin } => {
                        let label = object.metadata().labels.clone().unwrap()["l"].clone();
                        let file = origin.unwrap().file.to_string();
                        found.insert(object.key().name.to_string(), (file, label));
                    }
                    Event::Moved { key, origin } => {
                        found.get_mut(&*key.name).expect("it is there").0 = origin.file.to_string();
                    }
                    Event::Deleted(key) => {
                        prop_assert!(found.remove(&*key.name).is_some(), "{} was not there", key);
                    }
                    Event::Refused { key, .. } => prop_assert!(false, "{} is no policy", key),
                    Event::Diagnostics(all) => diagnostics = all,
                    Event::Synced | Event::Confirmed => {}
                }
            }
            for key in 0..KEYS.len() {
                match in_force(&files, key, expected.get(&key).copied()) {
                    Some(owner) => drop(expected.insert(key, owner)),
                    None => drop(expected.remove(&key)),
                }
            }
            let wanted: BTreeMap<String, (String, String)> = expected
                .iter()
                .map(|(key, (file, v))| (KEYS[*key].to_owned(), ((*file).to_owned(), format!("v{v}"))))
                .collect();
            prop_assert_eq!(&found, &wanted);
            prop_assert_eq!(&diagnostics, &store.findings(), "what is sent is up to date");
            // Whatever is in force and in no file's text is said to be.
            for (key, (file, version)) in &expected {
                let is_in_text = files
                    .get(file)
                    .is_some_and(|model| model.docs.contains(&Doc::Good { key: *key, version: *version }));
                let name = KEYS[*key];
                prop_assert!(
                    is_in_text || diagnostics.iter().any(|said| is_about(said, name, file)),
                    "{} of {}: {:?}", name, file, diagnostics
                );
            }
        }
        // And nothing is left over.
        let gone = FILES.map(|file| Change::Gone(file.into())).into();
        for event in store.update(gone, &|_| None) {
            if let Event::Diagnostics(all) = event {
                diagnostics = all;
            }
        }
        prop_assert!(store.in_force.is_empty() && store.owners.is_empty());
        prop_assert!(store.stale.is_empty() && store.contested.is_empty());
        prop_assert!(diagnostics.is_empty());
    }
}

/// A document about one of two policies: good, or broken in one of several ways.
fn policy_doc() -> impl Strategy<Value = String> {
    const WAYS: [(&str, &str); 6] = [
        ("", ""),
        ("port: 80", "port: 0"),
        ("name: KEY, ", ""),
        ("podSelector", "podselector"),
        ("spec:", "spec: {}\nspec:"),
        ("80}]}]}", "80"),
    ];
    (0..2usize, 0..3u8, 0..WAYS.len()).prop_map(|(key, version, way)| {
        let text = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
                    metadata: {name: KEY, namespace: d}\n\
                    spec: {podSelector: {matchLabels: {l: VERSION}}, ingress: [{ports: [{port: 80}]}]}\n";
        let text = text.replace(WAYS[way].0, WAYS[way].1);
        text.replace("KEY", KEYS[key]).replace("VERSION", &format!("v{version}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What has been sent is what a store says that starts with these files, but
    /// for what it knows from before.
    #[test]
    fn policies_are_good_or_denied_and_nothing_is_left_over(
        steps in proptest::collection::vec(
            (0..FILES.len(), proptest::collection::vec(policy_doc(), 0..4)), 1..12,
        ),
    ) {
        fn take(sent: &mut BTreeMap<Key, Option<Object>>, events: Vec<Event>) {
            for event in events {
                match event {
                    Event::Applied { object, .. } => drop(sent.insert(object.key(), None)),
                    Event::Refused { key, rest } => {
                        let before = sent.insert(key.clone(), rest.clone());
                        assert!(before.is_none_or(|before| before != rest), "{key} is as it was");
                    }
                    Event::Deleted(key) => assert!(sent.remove(&key).is_some(), "{key} is there"),
                    Event::Moved { key, .. } => assert_eq!(sent.get(&key), Some(&None)),
                    Event::Diagnostics(_) | Event::Synced | Event::Confirmed => {}
                }
            }
        }
        let mut store = Store::default();
        let mut sent = BTreeMap::new();
        let mut files: BTreeMap<&str, String> = BTreeMap::new();
        for (file, docs) in steps {
            files.insert(FILES[file], docs.concat());
            let change = Change::Read(FILES[file].into(), files[FILES[file]].clone());
            take(&mut sent, store.update(vec![change], &|file| files.get(file).cloned()));
            let all = files.iter().map(|(file, text)| Change::Read((*file).into(), text.clone()));
            let mut fresh = BTreeMap::new();
            let load = |file: &str| files.get(file).cloned();
            take(&mut fresh, Store::default().update(all.collect(), &load));
            // Where a last good version is known, less is denied.
            for (key, rest) in &sent {
                prop_assert!(rest.is_none() || fresh.contains_key(key), "{} is denied", key);
            }
            if store.files.values().all(|file| file.keeps_nothing()) && store.stale.is_empty() {
                let keys = |of: &BTreeMap<Key, Option<Object>>| {
                    of.iter().map(|(key, rest)| (key.clone(), rest.is_some())).collect::<Vec<_>>()
                };
                prop_assert_eq!(keys(&sent), keys(&fresh));
            }
        }
        let gone = FILES.map(|file| Change::Gone(file.into())).into();
        take(&mut sent, store.update(gone, &|_| None));
        prop_assert!(sent.is_empty(), "{:?}", sent);
        prop_assert!(store.refused.is_empty() && store.refusing.is_empty());
        prop_assert!(store.in_force.is_empty() && store.owners.is_empty());
    }
}
