use crate::culprit;
use crate::object::{Kind, Object};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Most errors of one object.
const ERRORS_MAX: usize = 32;

/// Mappings from names to quantities. The API takes numbers there as well as
/// texts (`cpu: 2`).
const QUANTITIES: [&str; 6] =
    ["limits", "requests", "capacity", "allocatable", "overhead", "allocatedResources"];

/// A value that does not fit its place in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Key path of the value.
    pub path: String,
    /// What was found there.
    pub message: String,
    /// What was expected there.
    pub expected: Option<String>,
}

/// A value that is no object of its kind.
#[derive(Clone, Debug)]
pub struct Broken {
    /// What does not fit, in no order; at least one, at most 32.
    pub errors: Vec<DecodeError>,
    /// The object without that, to look for what else is wrong with it.
    pub rest: Option<Object>,
}

/// Decodes an object of a kind. `apiVersion` and `kind` may be missing, as in
/// the items of a `ServiceList`.
///
/// # Errors
/// If some values in it are of another type than Kubernetes says.
pub fn decode(kind: Kind, value: &Value) -> Result<Object, Broken> {
    match kind {
        Kind::Namespace => typed(value, kind, Object::Namespace),
        Kind::Node => typed(value, kind, Object::Node),
        Kind::Service => typed(value, kind, Object::Service),
        Kind::EndpointSlice => typed(value, kind, Object::EndpointSlice),
        Kind::Pod => typed(value, kind, Object::Pod),
        Kind::IpamBlock => typed(value, kind, Object::IpamBlock),
        Kind::IpPool => typed(value, kind, Object::IpPool),
        Kind::NetworkPolicy => typed(value, kind, Object::NetworkPolicy),
        Kind::ClusterNetworkPolicy => typed(value, kind, Object::ClusterNetworkPolicy),
        Kind::IngressClass => typed(value, kind, Object::IngressClass),
        Kind::Ingress => typed(value, kind, Object::Ingress),
        Kind::Secret => typed(value, kind, Object::Secret),
    }
}

/// Decodes an object of a kind from JSON, fast where nothing is wrong with it.
///
/// # Errors
/// As with [`decode`]; a text that is no JSON has one error.
pub fn decode_text(kind: Kind, text: &str) -> Result<Object, Broken> {
    let decoded = match kind {
        Kind::Namespace => serde_json::from_str(text).map(Object::Namespace),
        Kind::Node => serde_json::from_str(text).map(Object::Node),
        Kind::Service => serde_json::from_str(text).map(Object::Service),
        Kind::EndpointSlice => serde_json::from_str(text).map(Object::EndpointSlice),
        Kind::Pod => serde_json::from_str(text).map(Object::Pod),
        Kind::NetworkPolicy => serde_json::from_str(text).map(Object::NetworkPolicy),
        Kind::ClusterNetworkPolicy => serde_json::from_str(text).map(Object::ClusterNetworkPolicy),
        Kind::IpamBlock => serde_json::from_str(text).map(Object::IpamBlock),
        Kind::IpPool => serde_json::from_str(text).map(Object::IpPool),
        Kind::IngressClass => serde_json::from_str(text).map(Object::IngressClass),
        Kind::Ingress => serde_json::from_str(text).map(Object::Ingress),
        Kind::Secret => serde_json::from_str(text).map(Object::Secret),
    };
    decoded.or_else(|_| match serde_json::from_str(text) {
        Ok(value) => decode(kind, &value),
        Err(error) => {
            let error =
                DecodeError { path: String::new(), message: error.to_string(), expected: None };
            Err(Broken { errors: vec![error], rest: None })
        }
    })
}

fn typed<T: DeserializeOwned>(
    value: &Value,
    kind: Kind,
    object: fn(Box<T>) -> Object,
) -> Result<Object, Broken> {
    let mut value = with_kind(value, kind);
    if let Ok(decoded) = serde_json::from_value(value.clone()) {
        return Ok(object(Box::new(decoded)));
    }
    quantities_as_texts(&mut value);
    let error_of = |part| serde_json::from_value::<T>(part).err().map(|error| error.to_string());
    let mut errors = Vec::new();
    while errors.len() < ERRORS_MAX
        && let Some((steps, error)) = culprit::find(&value, &error_of)
    {
        let path = culprit::text(&steps);
        let (message, expected) = match error.split_once(", expected ") {
            Some((message, expected)) => (in_words(message), Some(in_words(expected))),
            None => (in_words(&error), None),
        };
        errors.push(DecodeError { path, message, expected });
        if !culprit::blank(&mut value, steps, &error_of) {
            break;
        }
    }
    let rest = serde_json::from_value(value).ok().map(|rest| object(Box::new(rest)));
    match rest {
        Some(object) if errors.is_empty() => Ok(object),
        rest => Err(Broken { errors, rest }),
    }
}

/// What serde says in Rust's words, in those of manifests.
fn in_words(text: &str) -> String {
    let known = [
        ("struct ", "a mapping"),
        ("a map", "a mapping"),
        ("a sequence", "a list"),
        ("invalid type: map", "invalid type: a mapping"),
        ("invalid type: sequence", "invalid type: a list"),
        ("invalid type: unit value", "invalid type: nothing"),
    ];
    let numbers = ["i32", "i64", "u16", "u32", "u64"];
    match known.iter().find(|(of_rust, _)| text.starts_with(of_rust)) {
        Some((_, words)) => (*words).to_owned(),
        None if numbers.contains(&text) => "a whole number".to_owned(),
        None => text.to_owned(),
    }
}

/// The value with `apiVersion` and `kind`.
fn with_kind(value: &Value, kind: Kind) -> Value {
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        map.entry("kind").or_insert_with(|| kind.as_str().into());
        map.entry("apiVersion").or_insert_with(|| kind.api_version().into());
    }
    value
}

fn quantities_as_texts(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(quantities_as_texts),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::Object(quantities) if QUANTITIES.contains(&key.as_str()) => {
                        for quantity in quantities.values_mut().filter(|value| value.is_number()) {
                            *quantity = Value::String(quantity.to_string());
                        }
                    }
                    Value::Number(number) if key == "sizeLimit" => {
                        *value = Value::String(number.to_string());
                    }
                    other => quantities_as_texts(other),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(kind: Kind, value: &Value) -> Vec<String> {
        let mut paths: Vec<_> =
            decode(kind, value).unwrap_err().errors.into_iter().map(|error| error.path).collect();
        paths.sort();
        paths
    }

    #[test]
    fn the_values_that_do_not_fit_are_named() {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "labels": {"x": 1}},
            "spec": {"ports": [{"port": 80}, {"port": "81"}, {"port": "82"}], "selector": {"a": "b"}},
        });
        let broken = decode(Kind::Service, &service).unwrap_err();
        let error = broken.errors.iter().find(|error| error.path == "spec.ports[1].port").unwrap();
        assert_eq!(error.message, "invalid type: string \"81\"");
        assert_eq!(error.expected.as_deref(), Some("a whole number"));
        let expected = ["metadata.labels.x", "spec.ports[1].port", "spec.ports[2].port"];
        assert_eq!(paths(Kind::Service, &service), expected);
        let Some(Object::Service(rest)) = broken.rest else { panic!("no rest") };
        let spec = rest.spec.unwrap();
        assert_eq!((spec.ports.unwrap().len(), spec.selector.unwrap().len()), (3, 1));
    }

    #[test]
    fn what_is_said_is_said_in_words_of_manifests() {
        let policy = json!({"metadata": 1, "spec": {
            "priority": "x", "subject": 1, "ingress": [{"from": [1]}, 7], "egress": {"to": 1},
            "tier": [],
        }});
        let broken = decode(Kind::ClusterNetworkPolicy, &policy).unwrap_err();
        let mut said: Vec<_> = broken
            .errors
            .iter()
            .map(|error| {
                let expected = error.expected.as_deref().unwrap_or_default();
                format!("{}: {}: {expected}", error.path, error.message)
            })
            .collect();
        said.sort_unstable();
        let expected = [
            "metadata: invalid type: integer `1`: ObjectMeta",
            "spec.egress: invalid type: a mapping: a list",
            "spec.ingress[0].from[0]: invalid type: integer `1`: a mapping",
            "spec.ingress[1]: invalid type: integer `7`: a mapping",
            "spec.priority: invalid type: string \"x\": a whole number",
            "spec.subject: invalid type: integer `1`: a mapping",
            "spec.tier: invalid type: a list: a string",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn items_of_lists_keep_their_places() {
        let slice = json!({
            "metadata": {"name": 7}, "addressType": "IPv4",
            "endpoints": [5, {"addresses": [1, "10.0.0.1", true]}, "x", {"addresses": "10.0.0.2"}],
        });
        let expected = [
            "endpoints[0]",
            "endpoints[1].addresses[0]",
            "endpoints[1].addresses[2]",
            "endpoints[2]",
            "endpoints[3].addresses",
            "metadata.name",
        ];
        assert_eq!(paths(Kind::EndpointSlice, &slice), expected);
        assert_eq!(paths(Kind::Pod, &json!([1])), [""]);
        assert_eq!(paths(Kind::Pod, &json!({"metadata": {"labels": {"x.y/z": 1}}})).len(), 1);
        assert_eq!(paths(Kind::Pod, &json!({"spec": 1, "status": "x"})), ["spec", "status"]);
        let labels = json!({"metadata": {"name": "a", "labels": {"x": ["y"]}}});
        assert_eq!(paths(Kind::Pod, &labels), ["metadata.labels.x"]);
        let many: Vec<_> = (0..100).map(|i| json!({"port": i.to_string()})).collect();
        let service = json!({"spec": {"ports": many}});
        assert_eq!(paths(Kind::Service, &service).len(), ERRORS_MAX);
    }

    #[test]
    fn texts_are_decoded_with_and_without_their_kind() {
        let text = r#"{"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}"#;
        let Ok(Object::Service(service)) = decode_text(Kind::Service, text) else { panic!() };
        assert_eq!(service.spec.unwrap().ports.unwrap()[0].port, 80);
        let text = text.replace("80", "\"80\"");
        let broken = decode_text(Kind::Service, &text).unwrap_err();
        assert_eq!(broken.errors[0].path, "spec.ports[0].port");
        assert_eq!(decode_text(Kind::Service, "{").unwrap_err().errors.len(), 1);
    }

    #[test]
    fn quantities_may_be_numbers() {
        let resources = json!({"limits": {"cpu": 2, "memory": "1Gi"}, "requests": {"cpu": 0.5}});
        let pod = json!({"spec": {"containers": [{"name": "a", "resources": resources}]}});
        let Ok(Object::Pod(pod)) = decode(Kind::Pod, &pod) else { panic!("no pod") };
        let resources = pod.spec.unwrap().containers[0].resources.clone().unwrap();
        assert_eq!(resources.limits.unwrap()["cpu"].0, "2");
        assert_eq!(resources.requests.unwrap()["cpu"].0, "0.5");
    }
}
