use super::*;

fn decode_one(text: &str) -> Item {
    let mut items = decode(text, &"f.yaml".into());
    assert_eq!(items.len(), 1);
    items.remove(0)
}

fn refused(text: &str) -> String {
    match decode_one(text) {
        Item::Refused { diagnostics, .. } => {
            diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn files_are_split_at_markers_only() {
    let text =
        "# head\n%YAML 1.2\n---\na: |\n  ---\n  x\n--- # second\nb: 1\n...\nc: ---x\n---\n---\n";
    let parts: Vec<_> = split(text);
    let lines: Vec<u32> = parts.iter().map(|part| part.0).collect();
    assert_eq!(lines, [0, 6, 9, 10, 11]);
    assert_eq!(parts.iter().map(|part| part.1).collect::<String>(), text);
    assert!(split("# nothing\n\n").is_empty());
}

#[test]
fn lists_are_taken_apart() {
    let text = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: a}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: b}}
- {apiVersion: v1, kind: Namespace, metadata: {name: 7}}
";
    let items = decode(text, &"f.yaml".into());
    assert!(matches!(&items[0], Item::Object { key, .. } if key.to_string() == "Namespace a"));
    assert!(matches!(&items[1], Item::OtherKind(kind) if kind == "Deployment"));
    assert!(matches!(&items[2], Item::Refused { key: None, .. }));
    let text = "{apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: a}}]}";
    assert!(matches!(&decode(text, &"f.yaml".into())[0], Item::Object { .. }));
}

#[test]
fn a_wrong_type_is_named_with_place_and_path() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports:
  - port: \"80\"
";
    assert_eq!(
        refused(text),
        "f.yaml:7:11: error: Service default/web: spec.ports[0].port: \
         invalid type: string \"80\"\n    expected a whole number"
    );
}

#[test]
fn what_is_no_object_says_what_it_should_be() {
    assert!(refused("just text").contains("apiVersion"));
    assert!(refused("[1, 2]").contains("this is no Kubernetes object"));
    let slice = "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: a}\n";
    assert_eq!(
        refused(slice),
        "f.yaml:1:13: error: EndpointSlice default/a: apiVersion: \"discovery.k8s.io/v1beta1\" is \
         not understood\n    expected discovery.k8s.io/v1"
    );
    let knative = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\n";
    assert!(matches!(decode_one(knative), Item::OtherKind(_)));
}

/// What is said of a document that is not refused.
fn warnings(text: &str) -> Vec<String> {
    let mut said = Vec::new();
    for item in decode(text, &"f.yaml".into()) {
        match item {
            Item::Object { warnings, .. } => said.extend(warnings.iter().map(ToString::to_string)),
            other => panic!("no object: {other:?}"),
        }
    }
    said
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: web, labels: {a: 1}}
spec:
  type: Loadbalancer
  clusterIPs: [10.96.0.1]
  clusterIP: 7
  ports:
  - {port: \"80\", targetprot: 80}
  - {port: \"81\", protocol: ICMP}
";
    assert_eq!(
        refused(text).lines().filter(|line| line.starts_with('f')).collect::<Vec<_>>(),
        [
            "f.yaml:4:35: error: Service default/web: metadata.labels.a: invalid type: integer `1`",
            "f.yaml:8:14: error: Service default/web: spec.clusterIP: invalid type: integer `7`",
            "f.yaml:10:12: error: Service default/web: spec.ports[0].port: invalid type: string \"80\"",
            "f.yaml:11:12: error: Service default/web: spec.ports[1].port: invalid type: string \"81\"",
            "f.yaml:6:9: error: Service default/web: spec.type: \"Loadbalancer\" is no type of Service",
            "f.yaml:10:5: error: Service default/web: spec.ports[0].name: is missing",
            "f.yaml:11:28: error: Service default/web: spec.ports[1].protocol: \"ICMP\" is no valid protocol",
            "f.yaml:11:5: error: Service default/web: spec.ports[1].name: is missing",
            "f.yaml:10:30: warning: Service default/web: spec.ports[0].targetprot: unknown key, which \
             is ignored; did you mean `targetPort`?",
        ]
    );
}

#[test]
fn unknown_keys_are_warned_about() {
    let text = "
apiVersion: v1
kind: Service
metadata: {name: web, lables: {a: b}}
spec:
  ports:
  - {port: 80, targetport: 8080}
  surprise: 1
";
    let place = |place: &str, path: &str| {
        format!(
            "f.yaml:{place}: warning: Service default/web: {path}: unknown key, which is ignored"
        )
    };
    assert_eq!(
        warnings(text),
        [
            place("4:31", "metadata.lables") + "; did you mean `labels`?",
            place("7:28", "spec.ports[0].targetport") + "; did you mean `targetPort`?",
            place("8:13", "spec.surprise"),
        ]
    );
    // A later Kubernetes may know more keys.
    let of_server = text.replace("{name: web,", "{name: web, uid: 1-2,");
    assert_eq!(warnings(&of_server).len(), 2);
}

#[test]
fn real_objects_have_no_unknown_keys() {
    let text = include_str!("real.yaml");
    assert!(warnings(text).is_empty(), "{:#?}", warnings(text));
    let by_hand = text.replace("    uid: ", "    generateName: ");
    assert!(warnings(&by_hand).is_empty(), "{:#?}", warnings(&by_hand));
}
