use super::steps::{Objects, Step};
use super::valid::is_valid;
use serde_json::Value;

/// Tries at most.
const TRIES_MAX: usize = 20_000;

/// Leaves out steps, then parts of objects, as long as what is left still
/// fails: policies, rules, peers, ports, pods, labels. What fails after one
/// change at once is tried first, then what needs its history.
pub fn shrink(steps: Vec<Step>, fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut shrinker = Shrinker { steps, fails, tries: 0 };
    shrinker.forget_history();
    loop {
        let before = shrinker.steps.clone();
        shrinker.drop_steps();
        shrinker.simplify_objects();
        if shrinker.steps == before || shrinker.tries >= TRIES_MAX {
            return shrinker.steps;
        }
    }
}

struct Shrinker<F> {
    steps: Vec<Step>,
    fails: F,
    tries: usize,
}

impl<F: FnMut(&[Step]) -> bool> Shrinker<F> {
    /// Takes the steps if they fail too.
    fn try_steps(&mut self, steps: Vec<Step>) -> bool {
        self.tries += 1;
        let is_failing = self.tries < TRIES_MAX && (self.fails)(&steps);
        if is_failing {
            self.steps = steps;
        }
        is_failing
    }

    fn forget_history(&mut self) {
        let mut objects = Objects::default();
        self.steps.iter().for_each(|step| objects.take(step));
        let mut steps = objects.steps();
        steps.push(Step::Settle);
        steps.extend(self.steps.iter().rev().find(|s| matches!(s, Step::Ask(_))).cloned());
        self.try_steps(steps);
    }

    /// Fewer steps, many at a time first.
    fn drop_steps(&mut self) {
        let mut size = self.steps.len().next_power_of_two() / 2;
        while size > 0 {
            let mut at = self.steps.len();
            while at > 0 {
                at = at.saturating_sub(size);
                let end = (at + size).min(self.steps.len());
                let mut fewer = self.steps.clone();
                fewer.drain(at..end);
                self.try_steps(fewer);
            }
            size /= 2;
        }
    }

    fn simplify_objects(&mut self) {
        for i in 0..self.steps.len() {
            let mut at = 0;
            while let Step::Put(object) = &self.steps[i] {
                let Some(simpler) = without(object, at) else { break };
                let mut steps = self.steps.clone();
                steps[i] = Step::Put(simpler.clone());
                // What is taken moves the others up.
                if !is_valid(&simpler) || !self.try_steps(steps) {
                    at += 1;
                }
            }
        }
    }
}

/// The object without its part of a number, counted from the outside in, the
/// largest parts first.
fn without(object: &Value, at: usize) -> Option<Value> {
    let mut paths = Vec::new();
    collect(object, &mut Vec::new(), &mut paths);
    paths.sort_by_key(Vec::len);
    let path = paths.get(at)?;
    let mut object = object.clone();
    let (last, parents) = path.split_last()?;
    let mut place = &mut object;
    for part in parents {
        place = match part {
            Part::Field(name) => place.get_mut(name)?,
            Part::Item(i) => place.get_mut(i)?,
        };
    }
    match (last, place) {
        (Part::Field(name), Value::Object(map)) => drop(map.remove(name)),
        (Part::Item(i), Value::Array(list)) => drop(list.remove(*i)),
        _ => return None,
    }
    Some(object)
}

#[derive(Clone)]
enum Part {
    Field(String),
    Item(usize),
}

fn collect(value: &Value, path: &mut Vec<Part>, paths: &mut Vec<Vec<Part>>) {
    let parts: Vec<(Part, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| (Part::Field(k.clone()), v)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (Part::Item(i), v)).collect(),
        _ => return,
    };
    for (part, value) in parts {
        // Without these it is no manifest.
        if matches!(&part, Part::Field(name) if name == "apiVersion" || name == "kind") {
            continue;
        }
        path.push(part);
        paths.push(path.clone());
        collect(value, path, paths);
        path.pop();
    }
}
