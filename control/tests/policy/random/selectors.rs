use super::Dice;
use super::cluster::NAMESPACES;
use serde_json::{Map, Value, json};

const KEYS: [&str; 3] = ["app", "tier", "env"];
const VALUES: [&str; 3] = ["x", "y", "z"];
/// The label that each Namespace has.
const NAME: &str = "kubernetes.io/metadata.name";

/// Labels of an object.
pub(super) fn labels(dice: &mut Dice) -> Value {
    let mut labels = Map::new();
    for key in KEYS {
        if dice.chance(55) {
            labels.insert(key.to_owned(), json!(dice.pick(&VALUES)));
        }
    }
    Value::Object(labels)
}

/// A selector of pods or nodes.
pub(super) fn selector(dice: &mut Dice) -> Value {
    of_keys(dice, false)
}

/// A selector of Namespaces, by their name too.
pub(super) fn namespace_selector(dice: &mut Dice) -> Value {
    of_keys(dice, true)
}

fn of_keys(dice: &mut Dice, has_names: bool) -> Value {
    if dice.chance(25) {
        return json!({});
    }
    let mut selector = Map::new();
    if dice.chance(65) {
        let mut labels = Map::new();
        for _ in 0..dice.number(1..=2) {
            let (key, values) = key_and_values(dice, has_names);
            labels.insert(key.to_owned(), json!(dice.pick(values)));
        }
        selector.insert("matchLabels".to_owned(), Value::Object(labels));
    }
    if selector.is_empty() || dice.chance(25) {
        let expressions = dice.some(1..=2, |dice| expression(dice, has_names));
        selector.insert("matchExpressions".to_owned(), Value::Array(expressions));
    }
    Value::Object(selector)
}

fn expression(dice: &mut Dice, has_names: bool) -> Value {
    let (key, values) = key_and_values(dice, has_names);
    match *dice.pick(&["In", "NotIn", "Exists", "DoesNotExist"]) {
        operator @ ("In" | "NotIn") => {
            let values = dice.some(1..=2, |dice| *dice.pick(values));
            json!({"key": key, "operator": operator, "values": values})
        }
        operator => json!({"key": key, "operator": operator}),
    }
}

fn key_and_values(dice: &mut Dice, has_names: bool) -> (&'static str, &'static [&'static str]) {
    if has_names && dice.chance(35) {
        return (NAME, &NAMESPACES);
    }
    (*dice.pick(&KEYS), &VALUES)
}
