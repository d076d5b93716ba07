use crate::culprit;
use crate::object::{Kind, Object};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value that is no object of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Key path of the value that does not fit.
    pub path: String,
    /// What was found there.
    pub message: String,
    /// What was expected there.
    pub expected: Option<String>,
}

/// Decodes an object of a kind. `apiVersion` and `kind` may be missing, as in
/// the items of a `ServiceList`.
///
/// # Errors
/// If some value in it is of another type than Kubernetes says.
pub fn decode(kind: Kind, value: &Value) -> Result<Object, DecodeError> {
    match kind {
        Kind::Namespace => typed(value, kind).map(Object::Namespace),
        Kind::Node => typed(value, kind).map(Object::Node),
        Kind::Service => typed(value, kind).map(Object::Service),
        Kind::EndpointSlice => typed(value, kind).map(Object::EndpointSlice),
        Kind::Pod => typed(value, kind).map(Object::Pod),
    }
}

fn typed<T: DeserializeOwned>(value: &Value, kind: Kind) -> Result<Box<T>, DecodeError> {
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        map.entry("kind").or_insert_with(|| kind.as_str().into());
        map.entry("apiVersion").or_insert_with(|| kind.api_version().into());
    }
    let error = match serde_json::from_value(value.clone()) {
        Ok(object) => return Ok(Box::new(object)),
        Err(error) => error.to_string(),
    };
    let path = culprit::find(&value, &|part| serde_json::from_value::<T>(part).is_err());
    let (message, expected) = match error.split_once(", expected ") {
        Some((message, expected)) => (message.to_owned(), Some(expected.to_owned())),
        None => (error, None),
    };
    Err(DecodeError { path, message, expected })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_value_that_does_not_fit_is_named() {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
            "spec": {"ports": [{"port": 80}, {"port": "81"}, {"port": "82"}], "selector": {"a": "b"}},
        });
        let error = decode(Kind::Service, &service).unwrap_err();
        assert_eq!(error.path, "spec.ports[1].port");
        assert_eq!(error.message, "invalid type: string \"81\"");
        assert_eq!(error.expected.as_deref(), Some("i32"));
        let labels = json!({"metadata": {"name": "a", "labels": {"x.y/z": 1}}});
        assert_eq!(decode(Kind::Pod, &labels).unwrap_err().path, "metadata.labels.x.y/z");
        let labels = json!({"metadata": {"name": "a", "labels": {"x": ["y"]}}});
        assert_eq!(decode(Kind::Pod, &labels).unwrap_err().path, "metadata.labels.x");
        assert_eq!(decode(Kind::Pod, &json!([1])).unwrap_err().path, "");
        assert!(decode(Kind::Pod, &json!({"metadata": {"name": "a"}, "unknown": 1})).is_ok());
    }
}
