use super::Dice;
use super::cluster::{
    NAMESPACES, NODES, PODS_MAX, any_address, maybe_audit, namespace, node, outside_addresses, pod,
};
use super::cluster_policies::{DOMAINS, cluster_policy};
use super::network_policies::network_policy;
use super::selectors::labels;
use super::steps::{Objects, Step};
use crate::object::Key;
use serde_json::Value;

/// Something that may happen to a cluster.
pub(super) fn change(dice: &mut Dice, objects: &Objects) -> Step {
    match dice.number(0..=19) {
        0..=3 => relabel(dice, objects, "Pod"),
        4 => relabel(dice, objects, "Namespace"),
        5 => relabel(dice, objects, "Node"),
        6..=8 => one_policy(dice),
        9..=11 => rewrite(dice, objects, &["NetworkPolicy", "ClusterNetworkPolicy"]),
        12 => rewrite(dice, objects, &["Pod"]),
        13 => Step::Put(a_node(dice)),
        14 => audit(dice, objects),
        15 => {
            let name = dice.pick(&NAMESPACES);
            Step::Put(pod(dice, name, dice_number(objects)))
        }
        16 => delete(dice, objects, &["Pod"]),
        17 => delete(dice, objects, &["NetworkPolicy", "ClusterNetworkPolicy"]),
        18 => delete(dice, objects, &["Namespace", "Node"]),
        _ => learn(dice),
    }
}

/// A number for a new pod: it may be that of an old one in another namespace.
fn dice_number(objects: &Objects) -> usize {
    objects.of_kind("Pod").len().min(PODS_MAX)
}

fn a_node(dice: &mut Dice) -> Value {
    let i = dice.number(0..=NODES.len() - 1);
    node(dice, i)
}

fn one_policy(dice: &mut Dice) -> Step {
    let i = dice.number(0..=6);
    let namespace = *dice.pick(&NAMESPACES);
    Step::Put(match dice.chance(60) {
        true => network_policy(dice, namespace, &format!("np{i}")),
        false => cluster_policy(dice, &format!("cnp{i}")),
    })
}

fn any_of(dice: &mut Dice, objects: &Objects, kinds: &[&str]) -> Option<Key> {
    let keys: Vec<&Key> = kinds.iter().flat_map(|kind| objects.of_kind(kind)).collect();
    (!keys.is_empty()).then(|| (*dice.pick(&keys)).clone())
}

fn relabel(dice: &mut Dice, objects: &Objects, kind: &str) -> Step {
    let Some(key) = any_of(dice, objects, &[kind]) else { return learn(dice) };
    let mut object = objects.get(&key).expect("an object").clone();
    object["metadata"]["labels"] = labels(dice);
    Step::Put(object)
}

/// Annotates, or takes the annotation away.
fn audit(dice: &mut Dice, objects: &Objects) -> Step {
    let kinds = ["Namespace", "NetworkPolicy", "ClusterNetworkPolicy"];
    let Some(key) = any_of(dice, objects, &kinds) else { return learn(dice) };
    let mut object = objects.get(&key).expect("an object").clone();
    object["metadata"].as_object_mut().expect("metadata").remove("annotations");
    maybe_audit(dice, 60, &mut object);
    Step::Put(object)
}

/// The same name, and everything else new.
fn rewrite(dice: &mut Dice, objects: &Objects, kinds: &[&str]) -> Step {
    let Some(key) = any_of(dice, objects, kinds) else { return one_policy(dice) };
    Step::Put(match key.kind.as_str() {
        "NetworkPolicy" => network_policy(dice, &key.namespace, &key.name),
        "ClusterNetworkPolicy" => cluster_policy(dice, &key.name),
        "Pod" => {
            let number = key.name[1..].parse().expect("a pod's number");
            pod(dice, &key.namespace, number)
        }
        _ => namespace(dice, &key.name),
    })
}

fn delete(dice: &mut Dice, objects: &Objects, kinds: &[&str]) -> Step {
    any_of(dice, objects, kinds).map_or_else(|| one_policy(dice), Step::Delete)
}

/// A DNS answer. Most names are of what is outside.
pub(super) fn learn(dice: &mut Dice) -> Step {
    let name = *dice.pick(&DOMAINS);
    let addrs = dice.some(0..=2, |dice| match dice.chance(80) {
        true => {
            let number = dice.number(0..=5);
            *dice.pick(&outside_addresses(number))
        }
        false => any_address(dice),
    });
    Step::Learn(name.to_owned(), addrs)
}
