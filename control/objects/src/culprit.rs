//! Which value of an object does not decode. Decoders that keep track of the
//! path would compile each of the hundreds of types of a Pod once more; an
//! object that does not decode is rare, so it is decoded again in parts.

use serde_json::{Map, Value, json};

/// A step into a value.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The key path of the first value that alone makes `fails` true, with
/// nothing beside it but `apiVersion` and `kind`.
pub(crate) fn find(object: &Value, fails: &dyn Fn(Value) -> bool) -> String {
    let mut steps = Vec::new();
    let mut value = object;
    loop {
        let children: Vec<(Step<'_>, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(k, v)| (Step::Key(k), v)).collect(),
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
        if children.is_empty() || fails(alone(object, &steps, &empty)) {
            return text(&steps);
        }
        let mut found = None;
        for (step, child) in children {
            steps.push(step);
            if fails(alone(object, &steps, child)) {
                found = Some(child);
                break;
            }
            steps.pop();
        }
        match found {
            Some(child) => value = child,
            None => return text(&steps),
        }
    }
}

/// The object with one value alone.
fn alone(object: &Value, steps: &[Step<'_>], value: &Value) -> Value {
    let mut whole = value.clone();
    for step in steps.iter().rev() {
        whole = match step {
            Step::Key(key) => Value::Object(Map::from_iter([((*key).to_owned(), whole)])),
            Step::Index(_) => json!([whole]),
        };
    }
    if let (Some(whole), Some(object)) = (whole.as_object_mut(), object.as_object()) {
        for key in ["apiVersion", "kind"] {
            if let Some(value) = object.get(key) {
                whole.insert(key.to_owned(), value.clone());
            }
        }
    }
    whole
}

fn text(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) if path.is_empty() => path.push_str(key),
            Step::Key(key) => path.extend([".", *key]),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}
