use super::Dice;
use super::changes::{change, learn};
use super::cluster::{NAMESPACES, NODES, PODS_MAX, namespace, node, pod};
use super::cluster_policies::cluster_policy;
use super::network_policies::network_policy;
use super::questions::Asker;
use crate::object::{Key, to_yaml};
use crate::reference::{Question, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

/// One thing that happens to a cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// An object is new, or other than it was.
    Put(Value),
    /// An object is gone.
    Delete(Key),
    /// A DNS answer says that a name has these addresses.
    Learn(String, Vec<IpAddr>),
    /// Everything so far takes effect.
    Settle,
    /// Somebody asks.
    Ask(Question),
}

/// The objects of a cluster after some steps.
#[derive(Clone, Default)]
pub struct Objects {
    by_key: BTreeMap<Key, Value>,
    learned: BTreeMap<String, Vec<IpAddr>>,
}

impl Objects {
    /// Takes a step.
    pub fn take(&mut self, step: &Step) {
        match step {
            Step::Put(object) => drop(self.by_key.insert(Key::of(object), object.clone())),
            Step::Delete(key) => drop(self.by_key.remove(key)),
            Step::Learn(name, addrs) => drop(self.learned.insert(name.clone(), addrs.clone())),
            Step::Settle | Step::Ask(_) => {}
        }
    }

    /// The addresses that names have.
    pub fn learned(&self) -> impl Iterator<Item = IpAddr> {
        self.learned.values().flatten().copied()
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.by_key.values()
    }

    /// The keys of all objects of a kind.
    pub fn of_kind(&self, kind: &str) -> Vec<&Key> {
        self.by_key.keys().filter(|key| key.kind == kind).collect()
    }

    /// An object.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.by_key.get(key)
    }

    /// The cluster for the reference.
    pub fn world(&self) -> World {
        let mut world = World::of(self.by_key.values());
        self.learned.iter().for_each(|(name, addrs)| world.learn(name, addrs));
        world
    }

    /// The steps that lead here at once.
    pub fn steps(&self) -> Vec<Step> {
        let learned = self.learned.iter();
        let learned = learned.map(|(name, addrs)| Step::Learn(name.clone(), addrs.clone()));
        self.by_key.values().cloned().map(Step::Put).chain(learned).collect()
    }
}

/// Steps as a manifest. What is no object is a comment.
pub fn to_manifest(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Put(object) => text.push_str(&to_yaml(object)),
            Step::Delete(key) => writeln!(text, "# then {key} is deleted").unwrap(),
            Step::Learn(name, addrs) => {
                let addrs: Vec<_> = addrs.iter().map(IpAddr::to_string).collect();
                writeln!(text, "# then {name} is learned to be {}", addrs.join(" ")).unwrap();
            }
            Step::Settle => text.push_str("# then all of that takes effect\n"),
            Step::Ask(question) => writeln!(text, "# {question}").unwrap(),
        }
    }
    text
}

/// A cluster, questions, changes, and the same questions and others again.
pub fn steps(seed: u64) -> Vec<Step> {
    let mut dice = Dice::of(seed);
    let mut steps: Vec<Step> = cluster(&mut dice).into_iter().map(Step::Put).collect();
    steps.extend(dice.some(0..=4, learn));
    dice.shuffle(&mut steps);
    let mut objects = Objects::default();
    steps.iter().for_each(|step| objects.take(step));
    ask(&mut dice, &objects, 40, &mut steps);
    for _ in 0..dice.number(0..=6) {
        for _ in 0..dice.number(1..=3) {
            let step = change(&mut dice, &objects);
            objects.take(&step);
            steps.push(step);
        }
        ask(&mut dice, &objects, 15, &mut steps);
    }
    steps
}

fn ask(dice: &mut Dice, objects: &Objects, count: usize, steps: &mut Vec<Step>) {
    steps.push(Step::Settle);
    let asker = Asker::of(objects);
    steps.extend((0..count).map(|_| Step::Ask(asker.ask(dice))));
}

fn cluster(dice: &mut Dice) -> Vec<Value> {
    let names = &NAMESPACES[..dice.number(2..=NAMESPACES.len())];
    let mut objects: Vec<_> = names.iter().map(|name| namespace(dice, name)).collect();
    objects.extend((0..dice.number(2..=NODES.len())).map(|i| node(dice, i)));
    for number in 0..dice.number(3..=PODS_MAX) {
        let namespace = dice.pick(names);
        objects.push(pod(dice, namespace, number));
    }
    for i in 0..dice.number(0..=6) {
        let namespace = dice.pick(names);
        objects.push(network_policy(dice, namespace, &format!("np{i}")));
    }
    objects.extend((0..dice.number(0..=4)).map(|i| cluster_policy(dice, &format!("cnp{i}"))));
    objects
}
