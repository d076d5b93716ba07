use super::*;

fn namespace(name: &str, label: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{l: {label}}}}}\n"
    )
}

#[derive(Default)]
struct Files {
    store: Store,
    texts: BTreeMap<String, String>,
}

impl Files {
    /// Writes files (`None` removes one) in one step; returns the events in
    /// short.
    fn write(&mut self, files: &[(&str, Option<&str>)]) -> Vec<String> {
        let changes = files.iter().map(|(name, text)| {
            let name_arc: Arc<str> = (*name).into();
            match text {
                Some(text) => {
                    self.texts.insert((*name).to_owned(), (*text).to_owned());
                    Change::Read(name_arc, (*text).to_owned())
                }
                None => {
                    self.texts.remove(*name);
                    Change::Gone(name_arc)
                }
            }
        });
        let changes = changes.collect();
        let texts = &self.texts;
        let events = self.store.update(changes, &|name| texts.get(name).cloned());
        events.iter().flat_map(short).collect()
    }
}

fn short(event: &Event) -> Vec<String> {
    match event {
        Event::Applied { object, origin } => {
            let labels = object.metadata().labels.clone().unwrap_or_default();
            let file = &origin.as_ref().unwrap().file;
            vec![format!("+ {} {} {file}", object.key().name, labels["l"])]
        }
        Event::Moved { key, origin } => vec![format!("~ {} {}", key.name, origin.file)],
        Event::Deleted(key) => vec![format!("- {}", key.name)],
        Event::Refused { key, rest } => {
            vec![format!("x {} {}", key.name, if rest.is_some() { "in part" } else { "whole" })]
        }
        Event::Diagnostics(all) => all.iter().map(|d| format!("! {d}")).collect(),
        Event::Synced | Event::Confirmed => vec!["synced".to_owned()],
    }
}

#[test]
fn only_changed_objects_become_events() {
    let mut files = Files::default();
    let (a, b) = (namespace("a", "x"), namespace("b", "x"));
    assert_eq!(files.write(&[("f", Some(&(a.clone() + &b)))]), ["+ a x f", "+ b x f"]);
    let b2 = namespace("b", "y");
    assert_eq!(files.write(&[("f", Some(&(a.clone() + &b2)))]), ["+ b y f"]);
    assert_eq!(files.write(&[("f", Some(&format!("# comment\n{a}{b2}")))]), ["~ a f", "~ b f"]);
    assert_eq!(
        files.write(&[("f", None), ("g", Some(&format!("# comment\n{a}{b2}")))]),
        ["~ a g", "~ b g"]
    );
    assert_eq!(files.write(&[("g", Some(&a))]), ["~ a g", "- b"]);
    assert_eq!(files.write(&[("g", None)]), ["- a"]);
}

#[test]
fn the_file_in_force_wins_and_the_other_takes_over() {
    let mut files = Files::default();
    let (x, y) = (namespace("a", "x"), namespace("a", "y"));
    assert_eq!(
        files.write(&[("2", Some(&y)), ("1", Some(&x))]),
        [
            "+ a x 1",
            "! 2:2:1: error: Namespace a: 1:2 has the same object, which is in force; this \
             one is ignored\n    expected each object in one place"
        ]
    );
    assert_eq!(files.write(&[("1", None)]), ["+ a y 2"]);
    // A newcomer changes nothing, wherever it stands.
    assert_eq!(
        files.write(&[("1", Some(&x))]),
        ["! 1:2:1: error: Namespace a: 2:2 has the same object, which is in force; this one is \
          ignored\n    expected each object in one place"]
    );
    assert!(files.write(&[("1", None)]).is_empty());
    assert_eq!(
        files.write(&[("2", Some(&(y.clone() + &x)))]),
        ["! 2:6:1: error: Namespace a: line 2 has the same object; this one is ignored\n    \
             expected each object in one place"]
    );
}

#[test]
fn a_broken_document_leaves_the_last_good_version_and_the_others() {
    let mut files = Files::default();
    let (a, b) = (namespace("a", "x"), namespace("b", "x"));
    files.write(&[("f", Some(&(a.clone() + &b)))]);
    let wrong_type = a.replace("{l: x}", "{l: [1]}");
    let b2 = namespace("b", "y");
    let events = files.write(&[("f", Some(&(wrong_type + &b2)))]);
    assert_eq!(events[0], "+ b y f");
    assert!(events[1].contains("Namespace a: metadata.labels.l: invalid type"), "{events:?}");
    assert!(events[1].contains("; its last good version stays in force"), "{events:?}");
    // A document that does not parse may be about anything.
    let events = files.write(&[("f", Some(&format!("--- {{[\n{b2}")))]);
    assert_eq!(events[0], "~ b f");
    assert!(
        events[1].contains("what the file had before stays in force: Namespace a"),
        "{events:?}"
    );
    // Mended: what is missing now is really gone.
    assert_eq!(files.write(&[("f", Some(&b2))]), ["- a", "~ b f"]);
}

#[test]
fn a_key_that_stands_twice_is_the_first_one() {
    let mut files = Files::default();
    let [x, y, z] = ["x", "y", "z"].map(|label| namespace("a", label));
    assert_eq!(files.write(&[("f", Some(&(x.clone() + &y)))])[0], "+ a x f");
    assert_eq!(files.write(&[("f", Some(&(y + &z)))])[0], "+ a y f");
    assert_eq!(files.write(&[("f", Some(&z))]), ["+ a z f"]);
}

#[test]
fn what_no_file_has_any_more_stays_while_another_is_broken() {
    let mut files = Files::default();
    let (x, y) = (namespace("a", "x"), namespace("a", "y"));
    files.write(&[("1", Some(&x)), ("2", Some(&y))]);
    let broken = y.replace("{l: y}", "{l: [1]}");
    let events = files.write(&[("2", Some(&broken))]);
    assert!(events.len() == 1 && events[0].contains("; that of 1 stays in force"), "{events:?}");
    let events = files.write(&[("2", Some("--- {[\n"))]);
    assert!(events.len() == 1 && events[0].contains("; this document is ignored"), "{events:?}");
    files.write(&[("2", Some(&broken))]);
    assert_eq!(
        files.write(&[("1", None)]),
        [
            "! error: Namespace a: no file has a good version; what 1 had stays in force",
            "! 2:4:33: error: Namespace a: metadata.labels.l: invalid type: a list; that of 1 \
             stays in force\n    expected a string"
        ]
    );
    assert_eq!(files.write(&[("3", Some(&x))])[0], "~ a 3");
    let events = files.write(&[("3", None)]);
    assert!(events[0].contains("what 3 had stays in force"), "{events:?}");
    assert_eq!(files.write(&[("2", Some(&y))]), ["+ a y 2"]);
    files.write(&[("1", Some(&x)), ("2", Some(&broken))]);
    assert_eq!(files.write(&[("1", None), ("2", None)]), ["- a"]);
}

#[test]
fn a_file_that_is_being_written_says_so() {
    let mut files = Files::default();
    files.write(&[("f", Some(&namespace("a", "x")))]);
    let held = vec![Change::Held("f".into(), "it is being written".to_owned())];
    let events = files.store.update(held, &|_| None);
    assert_eq!(
        events.iter().flat_map(short).collect::<Vec<_>>(),
        ["! f: warning: it is being written"]
    );
    assert_eq!(files.write(&[("f", Some(&namespace("a", "y")))]), ["+ a y f"]);
}

#[test]
fn other_kinds_are_counted_in_one_message() {
    let mut files = Files::default();
    let text = "apiVersion: v1\nkind: Secret\n---\napiVersion: v1\nkind: Secret\n---\napiVersion: apps/v1\nkind: Deployment\n";
    assert_eq!(
        files.write(&[("f", Some(text))]),
        ["! info: objects of other kinds are not used: Deployment (1), Secret (2)"]
    );
}

#[test]
fn what_cannot_be_read_stays() {
    let mut store = Store::default();
    store.update(vec![Change::Read("f".into(), namespace("a", "x"))], &|_| None);
    let events = store.update(vec![Change::Unreadable("f".into(), "no".to_owned())], &|_| None);
    assert_eq!(
        events.iter().flat_map(short).collect::<Vec<_>>(),
        ["! f: error: cannot be read: no; what was read before stays in force"]
    );
    let events = store.update(vec![Change::Readable("f".into())], &|_| None);
    assert!(matches!(&events[..], [Event::Diagnostics(all)] if all.is_empty()), "{events:?}");
    let events = store.update(vec![Change::Gone("f".into())], &|_| None);
    assert_eq!(events.iter().flat_map(short).collect::<Vec<_>>(), ["- a"]);
}

fn policy(name: &str, label: &str, port: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: {name}, namespace: d, labels: {{l: {label}}}}}\n\
         spec: {{podSelector: {{}}, ingress: [{{ports: [{{port: {port}}}]}}]}}\n"
    )
}

/// The events without what is wrong.
fn events(all: Vec<String>) -> Vec<String> {
    all.into_iter().filter(|event| !event.starts_with('!')).collect()
}

#[test]
fn a_policy_without_a_good_version_is_refused_and_a_good_one_stays() {
    let mut files = Files::default();
    let said = files.write(&[("f", Some(&policy("p", "x", "0")))]);
    assert_eq!(said[0], "x p in part");
    let port =
        "f:5:51: error: NetworkPolicy d/p: spec.ingress[0].ports[0].port: 0 is no valid port";
    let expected = format!("! {port}; {}\n    expected 1 to 65535", crate::source::refused::DENIED);
    assert_eq!(said[1..], [expected]);
    // What of it is understood has changed, or not.
    assert_eq!(events(files.write(&[("f", Some(&policy("p", "y", "0")))])), ["x p in part"]);
    let other = files.write(&[("g", Some(&policy("p", "y", "0")))]);
    assert_eq!(events(other), ["x p (g document 1) in part"]);
    assert_eq!(events(files.write(&[("g", None)])), ["- p (g document 1)"]);
    assert_eq!(events(files.write(&[("f", Some(&policy("p", "y", "80")))])), ["+ p y f"]);
    // From now on there is a good version.
    let broken = files.write(&[("f", Some(&policy("p", "z", "[]")))]);
    assert!(broken[0].contains("its last good version stays in force"), "{broken:?}");
    assert_eq!((events(broken.clone()).len(), broken.len()), (0, 1));
    assert_eq!(events(files.write(&[("f", Some(&policy("p", "y", "0")))])), [""; 0]);
    assert_eq!(events(files.write(&[("f", Some(""))])), ["- p"]);
    assert_eq!(events(files.write(&[("f", Some(&policy("p", "y", "0")))])), ["x p in part"]);
    assert_eq!(events(files.write(&[("f", None)])), ["- p"]);
}

#[test]
fn a_good_version_in_another_file_comes_before_a_refusal() {
    let mut files = Files::default();
    let (good, bad) = (policy("p", "x", "80"), policy("p", "x", "0"));
    let said = files.write(&[("a", Some(&bad)), ("b", Some(&good))]);
    assert_eq!(events(said.clone()), ["+ p x b"]);
    assert!(said[1].contains("the object is ignored"), "{said:?}");
    assert_eq!(events(files.write(&[("b", None)])), ["x p in part"]);
    assert_eq!(events(files.write(&[("b", Some(&good))])), ["+ p x b"]);
}

#[test]
fn policies_of_versions_that_are_not_understood_and_of_the_cluster_are_refused() {
    let mut files = Files::default();
    let later = policy("p", "x", "80").replace("io/v1", "io/v2");
    assert_eq!(events(files.write(&[("f", Some(&later))])), ["x p in part"]);
    let other = policy("p", "x", "80").replace("networking.k8s.io/v1", "projectcalico.org/v3");
    assert_eq!(events(files.write(&[("f", Some(&other))])), ["- p"]);
    let of_cluster = "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n\
                      metadata: {name: c}\nspec: {tier: Admin, priority: X, subject: {namespaces: {}}}\n";
    let said = files.write(&[("f", Some(&of_cluster.replace('X', "1001")))]);
    assert_eq!(events(said), ["x c in part"]);
    let said = files.write(&[("f", Some(&of_cluster.replace('X', "x")))]);
    assert_eq!(events(said), ["x c in part"]);
    let without_labels = of_cluster.replace("{name: c}", "{name: c, labels: {l: x}}");
    assert_eq!(
        events(files.write(&[("f", Some(&without_labels.replace('X', "1000")))])),
        ["+ c x f"]
    );
}

#[test]
fn several_broken_versions_of_a_policy_are_all_denied() {
    let mut files = Files::default();
    let broken = |label: &str| policy("p", label, "0");
    let two = broken("x") + &broken("y");
    let said = files.write(&[("f", Some(&two))]);
    assert_eq!(events(said.clone()), ["x p in part", "x p (f document 2) in part"]);
    assert_eq!(said.iter().filter(|said| said.contains(crate::source::refused::DENIED)).count(), 2);
    let said = files.write(&[("a", Some(&broken("z")))]);
    assert_eq!(
        events(said),
        ["x p in part", "x p (f document 1) in part"],
        "the second of f stays as it is"
    );
    assert_eq!(events(files.write(&[("f", None)])), ["- p (f document 1)", "- p (f document 2)"]);
    files.write(&[("f", Some(&two))]);
    let good = policy("p", "x", "80");
    assert_eq!(
        events(files.write(&[("g", Some(&good))])),
        ["+ p x g", "- p (f document 1)", "- p (f document 2)"]
    );
    assert_eq!(
        events(files.write(&[("g", None)])),
        ["x p in part", "x p (f document 1) in part", "x p (f document 2) in part"]
    );
    let all = files.write(&[("a", None), ("f", None)]);
    assert_eq!(events(all).len(), 3);
    assert!(files.store.refused.is_empty() && files.store.refusing.is_empty());
}

#[test]
fn a_policy_that_cannot_be_told_is_denied_unless_one_stays() {
    let mut files = Files::default();
    let good = policy("p", "x", "80");
    let unnamed = good.replace("name: p, ", "");
    let torn = good.replace("80}]}]}", "80");
    let said = files.write(&[("f", Some(&(unnamed.clone() + &torn)))]);
    assert_eq!(events(said.clone()), ["x (f document 1) in part", "x p in part"]);
    let denied = |said: &[String]| {
        said.iter().filter(|said| said.contains(crate::source::refused::DENIED)).count()
    };
    assert_eq!(denied(&said), 2);
    assert_eq!(events(files.write(&[("f", Some(&good))])), ["- (f document 1)", "+ p x f"],);
    // Now the last good version stays, whichever way it is broken.
    for text in [&unnamed, &torn, &(good.clone() + &good), "--- [", "--- {a: 1, a: 2}"] {
        let said = files.write(&[("f", Some(text))]);
        assert_eq!((events(said.clone()), denied(&said)), (Vec::new(), 0), "{text}");
    }
    // Another namespace's is none of it.
    let other = unnamed.replace("namespace: d", "namespace: e");
    let said = files.write(&[("f", Some(&other))]);
    assert_eq!(
        (events(said.clone()), denied(&said)),
        (vec!["x (f document 1) in part".to_owned()], 1)
    );
    assert_eq!(events(files.write(&[("f", None)])).len(), 2);
    assert!(files.store.refused.is_empty() && files.store.refusing.is_empty());
}
