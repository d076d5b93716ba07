//! The harness catches what is wrong: the reference itself is the subject, with
//! one line broken each time.

use super::*;
use serde_json::json;

/// Changes an object on the way in.
type Alter = fn(&mut Value);
/// True for a step that is lost once there are tables.
type IsDeaf = fn(&Step) -> bool;

/// The reference, of objects that are altered on the way in.
struct Broken {
    alter: Alter,
    is_deaf: IsDeaf,
    objects: Objects,
    has_settled: bool,
    world: crate::reference::World,
}

impl Broken {
    fn of(alter: Alter, is_deaf: IsDeaf) -> Box<dyn Subject> {
        let objects = Objects::default();
        let world = objects.world();
        Box::new(Broken { alter, is_deaf, objects, has_settled: false, world })
    }

    fn take(&mut self, step: &Step) {
        if !(self.has_settled && (self.is_deaf)(step)) {
            self.objects.take(step);
        }
    }
}

impl Subject for Broken {
    fn apply(&mut self, object: &Value) {
        let mut object = object.clone();
        (self.alter)(&mut object);
        self.take(&Step::Put(object));
    }

    fn delete(&mut self, key: &Key) {
        self.take(&Step::Delete(key.clone()));
    }

    fn learn(&mut self, name: &str, addresses: &[IpAddr]) {
        self.take(&Step::Learn(name.to_owned(), addresses.to_vec()));
    }

    fn settle(&mut self) {
        self.world = self.objects.world();
        self.has_settled = true;
    }

    fn judge(&mut self, question: Question) -> Said {
        let Answer { verdict, egress, ingress } = judge(&self.world, question);
        // Of several reasons, one.
        let first = |why: String| why.split(" | ").next().unwrap_or_default().to_owned();
        Said { verdict, egress: first(egress.to_string()), ingress: first(ingress.to_string()) }
    }
}

/// Calls a function with every object in a value.
fn each(value: &mut Value, alter: &mut dyn FnMut(&mut serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            alter(map);
            map.values_mut().for_each(|value| each(value, alter));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| each(value, alter)),
        _ => {}
    }
}

fn rename(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => *text = to.to_owned(),
        Value::Object(map) => map.values_mut().for_each(|value| rename(value, from, to)),
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, from, to)),
        _ => {}
    }
}

fn remove(value: &mut Value, field: &str) {
    each(value, &mut |map| drop(map.remove(field)));
}

fn policy(value: &mut Value) -> Option<&mut Value> {
    let is_it = value["kind"] == "NetworkPolicy" || value["kind"] == "ClusterNetworkPolicy";
    is_it.then_some(value)
}

/// What a wrong implementation would make of objects.
const ALTERATIONS: &[(&str, Alter)] = &[
    ("holes are overlooked", |o| remove(o, "except")),
    ("ranges have one port", |o| remove(o, "endPort")),
    ("NotIn wants the key", |o| {
        each(o, &mut |map| {
            let Some(list) = map.get_mut("matchExpressions").and_then(Value::as_array_mut) else {
                return;
            };
            let not_in = list.iter().filter(|e| e["operator"] == "NotIn");
            let keys: Vec<_> = not_in.map(|e| e["key"].clone()).collect();
            list.extend(keys.iter().map(|key| json!({"key": key, "operator": "Exists"})));
        });
    }),
    ("policyTypes are overlooked", |o| remove(o, "policyTypes")),
    ("an empty list of peers matches nobody", |o| {
        each(o, &mut |map| {
            if map.get("from").is_some_and(|from| *from == json!([])) {
                map.insert(
                    "from".to_owned(),
                    json!([{"podSelector": {"matchLabels": {"q": "q"}}}]),
                );
            }
        });
    }),
    ("both selectors of a peer are two peers", |o| {
        each(o, &mut |map| {
            for field in ["from", "to"] {
                let Some(list) = map.get_mut(field).and_then(Value::as_array_mut) else { continue };
                let mut split = Vec::new();
                for peer in list.iter_mut() {
                    let has_both = peer["namespaceSelector"].is_object();
                    let pod = peer.as_object_mut().and_then(|p| p.remove("podSelector"));
                    match pod {
                        Some(pod) if has_both => split.push(json!({"podSelector": pod})),
                        Some(pod) => *peer = json!({"podSelector": pod}),
                        None => {}
                    }
                    if peer["namespaceSelector"].is_null() {
                        drop(peer.as_object_mut().map(|p| p.remove("namespaceSelector")));
                    }
                }
                list.extend(split);
            }
        });
    }),
    ("the protocol of a port is any", |o| {
        if let Some(policy) = policy(o) {
            rename(policy, "UDP", "TCP");
        }
    }),
    ("Pass is Accept", |o| rename(o, "Pass", "Accept")),
    ("the tiers are one", |o| rename(o, "Baseline", "Admin")),
    ("priorities are equal", |o| {
        if o["kind"] == "ClusterNetworkPolicy" {
            o["spec"]["priority"] = json!(1);
        }
    }),
    ("init containers go on running", |o| {
        for container in o["spec"]["initContainers"].as_array_mut().into_iter().flatten() {
            container["restartPolicy"] = json!("Always");
        }
    }),
    ("pods on the host's network are pods", |o| remove(o, "hostNetwork")),
    ("pods never end", |o| {
        if o["kind"] == "Pod" {
            o["status"]["phase"] = json!("Running");
        }
    }),
    ("all pods are of one age", |o| remove(o, "creationTimestamp")),
    ("nodes have one address", |o| {
        if o["kind"] == "Node"
            && let Some(list) = o["status"]["addresses"].as_array_mut()
        {
            list.truncate(2);
        }
    }),
    ("a peer of a later API is overlooked", |o| {
        each(o, &mut |map| {
            for field in ["from", "to"] {
                if let Some(list) = map.get_mut(field).and_then(Value::as_array_mut) {
                    list.retain(|peer| *peer != json!({}));
                }
            }
        });
    }),
    ("what is tried out is enforced", |o| {
        if policy(o).is_some() {
            remove(o, "annotations");
        }
    }),
    ("no Namespace is tried out", |o| {
        if o["kind"] == "Namespace" {
            remove(o, "annotations");
        }
    }),
    ("wildcards match the domain itself", |o| rename(o, "*.example.com", "example.com")),
];

/// What an incremental implementation would overlook.
const DEAFNESS: &[(&str, IsDeaf)] = &[
    ("policies stay", |step| matches!(step, Step::Delete(key) if key.kind == "NetworkPolicy")),
    ("labels of pods stay", |step| matches!(step, Step::Put(object) if object["kind"] == "Pod")),
    (
        "labels of Namespaces stay",
        |step| matches!(step, Step::Put(object) if object["kind"] == "Namespace"),
    ),
    ("nodes stay", |step| matches!(step, Step::Delete(key) if key.kind == "Node")),
    ("names stay", |step| matches!(step, Step::Learn(..))),
];

/// The first seed at which it is caught.
fn caught(what: &str, make: Make<'_>) -> Box<Disagreement> {
    let found = (0..3000).find_map(|seed| check_world(seed, make).err());
    found.unwrap_or_else(|| panic!("not caught: {what}"))
}

fn unaltered(_: &mut Value) {}

#[test]
fn what_is_broken_is_caught_and_shrunk() {
    for (what, alter) in ALTERATIONS {
        let found = caught(what, &|| Broken::of(*alter, |_| false));
        let objects = found.steps.iter().filter(|step| matches!(step, Step::Put(_))).count();
        assert!(objects <= 7, "{what}\n{found}");
        assert!(found.to_string().lines().count() <= 120, "{what}\n{found}");
    }
}

#[test]
fn what_is_overlooked_later_is_caught_and_shrunk() {
    for (what, is_deaf) in DEAFNESS {
        let found = caught(what, &|| Broken::of(unaltered, *is_deaf));
        let settled = found.steps.iter().filter(|step| matches!(step, Step::Settle)).count();
        assert_eq!(settled, 2, "{what}\n{found}");
    }
}

#[test]
fn the_reference_agrees_with_itself() {
    for seed in 0..50 {
        let asked = check_world(seed, &|| Broken::of(unaltered, |_| false));
        assert!(asked.is_ok_and(|asked| asked >= 40));
    }
}
