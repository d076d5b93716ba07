//! Which value of an object does not decode. Decoders that keep track of the
//! path would compile each of the hundreds of types of a Pod once more; an
//! object that does not decode is rare, so it is decoded again in parts.

use serde_json::{Map, Value, json};

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Why an object does not decode; `None` if it does.
pub(crate) type ErrorOf<'a> = &'a dyn Fn(Value) -> Option<String>;

/// Where the first value stands that alone makes an object fail, with nothing
/// beside it but `apiVersion` and `kind`, and what is wrong with it.
pub(crate) fn find(object: &Value, error_of: ErrorOf<'_>) -> Option<(Vec<Step>, String)> {
    let mut message = error_of(object.clone())?;
    let mut steps = Vec::new();
    let mut value = object;
    loop {
        let children: Vec<(Step, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(k, v)| (Step::Key(k.clone()), v)).collect(),
            Value::Array(list) => {
                list.iter().enumerate().map(|(i, v)| (Step::Index(i), v)).collect()
            }
            _ => Vec::new(),
        };
        // Where an empty list or mapping does not fit either, it is to blame.
        let empty = match value {
            Value::Array(_) => json!([]),
            _ => json!({}),
        };
        if children.is_empty() || error_of(alone(object, &steps, &empty)).is_some() {
            return Some((steps, message));
        }
        let mut found = None;
        for (step, child) in children {
            steps.push(step);
            if let Some(error) = error_of(alone(object, &steps, child)) {
                found = Some((child, error));
                break;
            }
            steps.pop();
        }
        match found {
            Some((child, error)) => (value, message) = (child, error),
            None => return Some((steps, message)),
        }
    }
}

/// Takes a value out, or puts one in its place that does no harm, so that the
/// rest keeps its path. False: the object as a whole is to blame.
pub(crate) fn blank(object: &mut Value, mut steps: Vec<Step>, error_of: ErrorOf<'_>) -> bool {
    while let Some(last) = steps.last().cloned() {
        let harmless = [json!({}), json!(""), json!(0), json!(false), json!([]), Value::Null]
            .into_iter()
            .find(|value| error_of(alone(object, &steps, value)).is_none());
        steps.pop();
        match (at(object, &steps), last, harmless) {
            (Some(Value::Object(map)), Step::Key(key), _) => return map.remove(&key).is_some(),
            (Some(Value::Array(list)), Step::Index(index), Some(harmless)) => {
                list[index] = harmless;
                return true;
            }
            // Its parent goes.
            _ => {}
        }
    }
    false
}

fn at<'a>(object: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    steps.iter().try_fold(object, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

/// The object with one value alone.
pub(crate) fn alone(object: &Value, steps: &[Step], value: &Value) -> Value {
    let mut whole = value.clone();
    for step in steps.iter().rev() {
        whole = match step {
            Step::Key(key) => Value::Object(Map::from_iter([(key.clone(), whole)])),
            Step::Index(_) => json!([whole]),
        };
    }
    if let (Some(whole), Some(object)) = (whole.as_object_mut(), object.as_object()) {
        for key in ["apiVersion", "kind"] {
            if let Some(value) = object.get(key) {
                whole.entry(key).or_insert_with(|| value.clone());
            }
        }
    }
    whole
}

/// The key path, such as `spec.ports[0].port`.
pub(crate) fn text(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) if path.is_empty() => path.push_str(key),
            Step::Key(key) => path.extend([".", key]),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}
