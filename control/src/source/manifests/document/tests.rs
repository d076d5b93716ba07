use super::*;

fn decode_one(text: &str) -> Item {
    let mut items = decode(text, &"f.yaml".into(), true);
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
    let items = decode(text, &"f.yaml".into(), true);
    assert!(matches!(&items[0], Item::Object { key, .. } if key.to_string() == "Namespace a"));
    assert!(matches!(&items[1], Item::OtherKind { kind, warning: None } if kind == "Deployment"));
    assert!(matches!(&items[2], Item::Refused { key: None, .. }));
    let text = "{apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: a}}]}";
    assert!(matches!(&decode(text, &"f.yaml".into(), true)[0], Item::Object { .. }));
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
    assert!(matches!(decode_one(knative), Item::OtherKind { warning: None, .. }));
}

/// What is said of a document that is not refused.
fn warnings(text: &str) -> Vec<String> {
    let mut said = Vec::new();
    for item in decode(text, &"f.yaml".into(), true) {
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

/// What a document that is refused denies: key, pods, directions or rules.
fn denied(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for item in decode(text, &"f.yaml".into(), true) {
        let Item::Refused { denials, .. } = item else { continue };
        for Denial { key, rest } in denials {
            let of = match rest.as_deref() {
                Some(Object::NetworkPolicy(policy)) => {
                    let spec = policy.spec.clone().unwrap_or_default();
                    let labels = spec.pod_selector.and_then(|pods| pods.match_labels);
                    format!("{labels:?} {:?}", spec.policy_types.unwrap_or_default())
                }
                Some(Object::ClusterNetworkPolicy(policy)) => {
                    let spec = &policy.spec;
                    format!(
                        "{} {} {}",
                        spec.subject.is_some(),
                        spec.ingress.len(),
                        spec.egress.len()
                    )
                }
                _ => "everything".to_owned(),
            };
            all.push(format!("{key}: {of}"));
        }
    }
    all
}

const POLICY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress: [{ports: [{port: 80}]}]
";

#[test]
fn a_policy_without_a_name_or_with_keys_twice_denies_what_it_selects() {
    let labels = r#"Some({"app": "db"})"#;
    for metadata in ["{namespace: shop}", "{name: 5, namespace: shop}", "{name: , namespace: shop}"]
    {
        let text = POLICY.replace("{name: p, namespace: shop}", metadata);
        assert_eq!(denied(&text), [format!("NetworkPolicy shop/: {labels} [\"Ingress\"]")]);
    }
    let twice = POLICY.replace("  ingress:", "  policyTypes: [Egress]\n  ingress:");
    let of = |types: &str| format!("NetworkPolicy shop/p: {labels} [\"{types}\"]");
    assert_eq!(denied(&twice), [of("Ingress"), of("Egress")]);
    // Two documents without a `---` between them.
    let joined = POLICY.to_owned() + &POLICY.replace("shop", "store").replace("db", "web");
    let store = r#"NetworkPolicy store/p: Some({"app": "web"}) ["Ingress"]"#;
    assert_eq!(denied(&joined), [of("Ingress"), store.to_owned()]);
    // Without a namespace that can be told, nobody is selected.
    for metadata in ["{name: p, namespace: [shop]}", "5", "{name: [}"] {
        assert_eq!(denied(&POLICY.replace("{name: p, namespace: shop}", metadata)), [""; 0]);
    }
    assert_eq!(denied(&POLICY.replace("{name: p, namespace: shop}", "{}")).len(), 1);
    assert_eq!(denied("{apiVersion: v1, kind: Namespace, metadata: {}}"), [""; 0]);
    let cluster = "{apiVersion: policy.networking.k8s.io/v1beta1, kind: ClusterNetworkPolicy, \
                   spec: {tier: Admin, priority: 1, subject: {namespaces: {}}}}";
    assert_eq!(denied(cluster), ["ClusterNetworkPolicy : true 0 0"]);
}

#[test]
fn a_policy_that_breaks_off_denies_what_it_may_select() {
    let both = r#"["Ingress", "Egress"]"#;
    let everybody = format!("NetworkPolicy shop/p: None {both}");
    let database = format!("NetworkPolicy shop/p: Some({{\"app\": \"db\"}}) {both}");
    for (from, to, expected) in [
        ("app: db}}", "app: db}", &everybody),
        ("[{ports: [{port: 80}]}]", "[{ports: [{port: 80]}]", &database),
        ("[Ingress]", "[Ingress", &database),
        ("  policyTypes", " policyTypes", &database),
        ("{app: db}", "'", &everybody),
        ("podSelector", "[", &everybody),
        ("spec:", "spec: {", &database),
        ("spec:", "@", &everybody),
    ] {
        let text = POLICY.replace(from, to);
        assert_eq!(denied(&text), std::slice::from_ref(expected), "{text}");
    }
    let unclosed = denied(&POLICY.replace("shop}", "shop"));
    assert_eq!(unclosed, std::slice::from_ref(&everybody));
    for (from, to) in [("NetworkPolicy", "[NetworkPolicy"), ("kind:", "{")] {
        let all = denied(&POLICY.replace(from, to));
        let is_known = |one: &String| *one == everybody || *one == database;
        assert!(all.iter().all(is_known), "{from}: {all:?}");
    }
    let calico = POLICY.replace("networking.k8s.io/v1", "projectcalico.org/v3") + "  [";
    assert_eq!(denied(&calico), [""; 0]);
    let cluster = "apiVersion: policy.networking.k8s.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: p}
spec:
  subject: {namespaces: {}}
  egress:
  - to: [{namespaces: {}]
";
    assert_eq!(denied(cluster), ["ClusterNetworkPolicy p: true 1 2"]);
    // Of a List, whatever was read.
    let list = format!(
        "apiVersion: v1\nitems:\n- {}- {}",
        POLICY.replace('\n', "\n  ").trim_end_matches(' '),
        POLICY.replace("name: p", "name: q").replace('\n', "\n  ").replace("80}", "80")
    );
    let first = "NetworkPolicy shop/p: Some({\"app\": \"db\"}) [\"Ingress\"]".to_owned();
    assert_eq!(denied(&list), [first, database.replace("/p", "/q")]);
}

#[test]
fn an_unknown_key_makes_a_policy_another_one() {
    let text = POLICY.replace("ingress: [{ports", "ingress: [{form: [{podSelector: {}}], ports");
    assert_eq!(
        refused(&text),
        "f.yaml:7:20: error: NetworkPolicy shop/p: spec.ingress[0].form: unknown key\n    \
         expected `from`"
    );
    let database = r#"NetworkPolicy shop/p: Some({"app": "db"})"#;
    assert_eq!(denied(&text), [format!("{database} [\"Ingress\"]")]);
    let both = r#"["Ingress", "Egress"]"#;
    for (from, to, expected) in [
        ("podSelector", "podselector", format!("NetworkPolicy shop/p: None {both}")),
        ("policyTypes", "types", format!("{database} {both}")),
        ("matchLabels", "labels", "NetworkPolicy shop/p: None [\"Ingress\"]".to_owned()),
        ("spec:", "sepc:", format!("NetworkPolicy shop/p: None {both}")),
        ("port: 80", "port: x_y, podSelector: {}", format!("{database} [\"Ingress\"]")),
    ] {
        assert_eq!(denied(&POLICY.replace(from, to)), [expected], "{to}");
    }
    // Whoever has looked at it before.
    let of_server = text.replace("name: p", "uid: 1-2, name: p");
    assert!(refused(&of_server).contains("spec.ingress[0].form"));
    assert_eq!(warnings(&POLICY.replace("name: p", "name: p, x: {}")).len(), 1);
    assert_eq!(warnings(&(POLICY.to_owned() + "status: {}\n")).len(), 1);
}

#[test]
fn later_kinds_of_peers_and_protocols_are_no_mistake() {
    let policy = |rule: &str| {
        format!(
            "{{apiVersion: policy.networking.k8s.io/v1beta1, kind: ClusterNetworkPolicy, \
             metadata: {{name: p}}, spec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, \
             ingress: [{rule}]}}}}"
        )
    };
    let known = "from: [{namespaces: {}}]";
    for rule in [
        "{action: Accept, from: [{moons: {}}]}".to_owned(),
        format!("{{action: Accept, {known}, protocols: [{{icmp: {{}}}}]}}"),
        format!("{{action: Accept, {known}, protocols: [{{tcp: {{sourcePort: 1}}}}]}}"),
        format!("{{action: Accept, {known}, protocols: [{{tcp: {{destinationPort: {{x: 1}}}}}}]}}"),
    ] {
        assert_eq!(warnings(&policy(&rule)).len(), 1, "{rule}");
    }
    for (rule, path) in [
        ("{action: Accept, from: [{namespaces: {}, moons: {}}]}".to_owned(), "from[0].moons"),
        (
            "{action: Accept, from: [{namespaces: {labels: {}}}]}".to_owned(),
            "from[0].namespaces.labels",
        ),
        (format!("{{action: Accept, {known}, prots: []}}"), "prots"),
        (
            format!(
                "{{action: Accept, {known}, protocols: [{{tcp: {{destinationPort: {{number: 1, x: 1}}}}}}]}}"
            ),
            "protocols[0].tcp.destinationPort.x",
        ),
    ] {
        let said = refused(&policy(&rule));
        assert!(said.contains(&format!("spec.ingress[0].{path}: unknown key")), "{said}");
    }
}

#[test]
fn kinds_that_are_nearly_ours_are_warned_about() {
    let said = |text: &str| match decode_one(text) {
        Item::OtherKind { warning, .. } => warning.map(|warning| warning.to_string()),
        other => panic!("{other:?}"),
    };
    let text = "apiVersion: networking.k8s.io/v1\nkind: networkpolicy\nmetadata: {name: a}\n";
    assert_eq!(
        said(text).unwrap(),
        "f.yaml:2:7: warning: kind: \"networkpolicy\" is no kind; the object is not used\n    \
         expected NetworkPolicy"
    );
    assert_eq!(said(&text.replace("networking.k8s.io", "projectcalico.org")), None);
    for kind in ["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"] {
        let text = format!("apiVersion: policy.networking.k8s.io/v1alpha1\nkind: {kind}\n");
        assert!(said(&text).unwrap().contains("its successor, ClusterNetworkPolicy of policy."));
    }
    assert_eq!(said("apiVersion: x.io/v1\nkind: AdminNetworkPolicy\n"), None);
}
