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
        ["extra", "metadata.lables", "spce", "spec.clusterip", "spec.ports[1].targetport"]
    );
    let keys: Vec<_> = found.iter().map(|unknown| unknown.key.as_str()).collect();
    assert_eq!(keys, ["extra", "lables", "spce", "clusterip", "targetport"]);
    // What is known depends on the place.
    let known = |index: usize| found[index].known(|_| true);
    assert_eq!(known(0), ["apiVersion", "kind", "metadata", "spec", "status"]);
    assert!(known(1).contains(&"labels") && !known(1).contains(&"ports"));
    assert!(known(3).contains(&"clusterIP") && !known(3).contains(&"targetPort"));
    assert_eq!(known(4), ["name", "protocol", "port", "targetPort", "nodePort", "appProtocol"]);
}

#[test]
fn unknown_keys_are_counted_up_to_a_limit() {
    let spec: Value = (0..100).map(|i| (format!("x{i}"), json!(1))).collect();
    assert_eq!(unknown(Kind::Service, &json!({"spec": spec})).len(), UNKNOWN_MAX);
}

#[test]
fn an_empty_value_makes_no_key_known_and_known_keys_may_be_empty() {
    let policy = json!({
        "metadata": {"name": "a", "creationTimestamp": null, "labels": {}, "annotations": null},
        "spec": {
            "podSelector": {}, "policyTypes": [], "egress": null, "podselector": {},
            "ingress": [{"ports": [], "form": []}, {"from": [
                {"podSelector": {}, "namespaceselector": {}}, {"podSelector": {}, "ipBlock": null},
                {"podSelector": {}, "x": null},
            ]}],
        },
    });
    let found = unknown(Kind::NetworkPolicy, &policy);
    let paths: Vec<_> = found.iter().map(|unknown| unknown.path.as_str()).collect();
    let expected = [
        "spec.ingress[0].form",
        "spec.ingress[1].from[0].namespaceselector",
        "spec.ingress[1].from[2].x",
        "spec.podselector",
    ];
    assert_eq!(paths, expected);
    let peer = json!({"metadata": {}, "spec": {"ingress": [{"action": "Accept",
        "from": [{"namespaces": {}, "moons": {}}], "protocols": []}]}});
    let found = unknown(Kind::ClusterNetworkPolicy, &peer);
    let paths: Vec<_> = found.iter().map(|unknown| unknown.path.as_str()).collect();
    assert_eq!(paths, ["spec.ingress[0].from[0].moons"]);
}
