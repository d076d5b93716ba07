use super::*;

fn unknown(kind: Kind, value: &Value) -> Vec<UnknownKey> {
    unknown_keys(&decode(kind, value).unwrap(), value)
}

#[test]
fn keys_that_are_not_kept_are_unknown() {
    let service = json!({
        "metadata": {"name": "a", "lables": {"x": "y"}, "annotations": {"any.thing/x": "y"}},
        "spec": {"ports": [{"port": 80}, {"port": 81, "targetport": 8080}], "clusterip": "None"},
        "spce": {},
        "extra": {"x": [1]},
    });
    let found = unknown(Kind::Service, &service);
    let paths: Vec<_> = found.iter().map(|unknown| unknown.path.as_str()).collect();
    assert_eq!(
        paths,
        ["extra", "metadata.lables", "spec.clusterip", "spec.ports[1].targetport"],
        "what is empty says nothing"
    );
    let keys: Vec<_> = found.iter().map(|unknown| unknown.key.as_str()).collect();
    assert_eq!(keys, ["extra", "lables", "clusterip", "targetport"]);
    // What is known depends on the place.
    let known = |index: usize| found[index].known(|_| true);
    assert_eq!(known(0), ["apiVersion", "kind", "metadata", "spec", "status"]);
    assert!(known(1).contains(&"labels") && !known(1).contains(&"ports"));
    assert!(known(2).contains(&"clusterIP") && !known(2).contains(&"targetPort"));
    assert_eq!(known(3), ["name", "protocol", "port", "targetPort", "nodePort", "appProtocol"]);
}

#[test]
fn unknown_keys_are_counted_up_to_a_limit() {
    let spec: Value = (0..100).map(|i| (format!("x{i}"), json!(1))).collect();
    assert_eq!(unknown(Kind::Service, &json!({"spec": spec})).len(), UNKNOWN_MAX);
}
