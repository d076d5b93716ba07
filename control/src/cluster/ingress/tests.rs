use super::*;
use crate::diagnostic::Severity;
use k8s_openapi::api::networking::v1;
use serde_json::{Value, json};

const ANNOTATION: &str = "nginx.ingress.kubernetes.io/";

fn of(annotations: Value, spec: Value) -> (Ingress, Vec<Finding>) {
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": "web", "creationTimestamp": "2025-03-04T05:06:07Z", "annotations": annotations,
        },
        "spec": spec,
    });
    let ingress: v1::Ingress = serde_json::from_value(ingress).unwrap();
    let mut ingress = Ingress::reduce(&"shop".into(), &ingress);
    let findings = std::mem::take(&mut ingress.findings);
    (ingress, findings)
}

fn annotation(name: &str, text: &str) -> Value {
    json!({format!("{ANNOTATION}{name}"): text})
}

fn backend(port: Value) -> Value {
    json!({"service": {"name": "web", "port": port}})
}

fn service(port: BackendPort) -> Backend {
    Backend::Service { service: Name::new("shop", "web"), port }
}

fn of_path(kind: &str, path: &str) -> Value {
    let path = json!({"path": path, "pathType": kind, "backend": backend(json!({"number": 80}))});
    json!({"rules": [{"host": "a.example", "http": {"paths": [path]}}]})
}

/// The path that is made of one, and what is said.
fn path(annotations: Value, kind: &str, text: &str) -> (Option<PathMatch>, Vec<Finding>) {
    let (ingress, findings) = of(annotations, of_path(kind, text));
    let paths = ingress.rules[0].paths.clone().unwrap();
    (paths.first().map(|of| of.path.clone()), findings)
}

#[test]
fn all_of_an_ingress_is_read() {
    let path = |path: &str, kind: &str, port| json!({"path": path, "pathType": kind, "backend": backend(port)});
    let spec = json!({
        "ingressClassName": "sluice",
        "defaultBackend": backend(json!({"name": "http"})),
        "rules": [
            {"host": "*.a.example", "http": {"paths": [
                path("/x", "Exact", json!({"number": 80})),
                path("/y/", "Prefix", json!({"name": "", "number": 65535})),
                path("", "ImplementationSpecific", json!({"name": "h2c"})),
            ]}},
            {"host": "b.example"},
            {"http": {"paths": [path("/", "Prefix", json!({"number": 1}))]}},
        ],
        "tls": [{"hosts": ["b.example", "*.a.example"], "secretName": "cert"}, {}],
    });
    let (ingress, findings) = of(json!({}), spec);
    let number = |number| service(BackendPort::Number(number));
    let expected = Ingress {
        created: Some(1_741_064_767),
        class: Some(ClassName::Field("sluice".into())),
        default_backend: Some(service(BackendPort::Name("http".into()))),
        rules: vec![
            Rule {
                index: 0,
                host: Host::OneLabel(".a.example".into()),
                paths: Some(vec![
                    RulePath { index: 0, path: PathMatch::Exact("/x".into()), backend: number(80) },
                    RulePath {
                        index: 1,
                        path: PathMatch::Prefix("/y".into()),
                        backend: number(65535),
                    },
                    RulePath {
                        index: 2,
                        path: PathMatch::Prefix("".into()),
                        backend: service(BackendPort::Name("h2c".into())),
                    },
                ]),
            },
            Rule { index: 1, host: Host::Exact("b.example".into()), paths: None },
            Rule {
                index: 2,
                host: Host::Any,
                paths: Some(vec![RulePath {
                    index: 0,
                    path: PathMatch::Prefix("".into()),
                    backend: number(1),
                }]),
            },
        ],
        tls: vec![
            Tls {
                index: 0,
                hosts: vec![
                    (0, Host::Exact("b.example".into())),
                    (1, Host::OneLabel(".a.example".into())),
                ],
                secret: Some(Name::new("shop", "cert")),
            },
            Tls { index: 1, hosts: vec![], secret: None },
        ],
        options: Arc::new(Options::default()),
        findings: vec![],
    };
    assert_eq!((ingress, findings), (expected, vec![]));
}

#[test]
fn a_class_is_told_by_the_field_then_by_the_annotation() {
    let class = |annotation: Option<&str>, field: Option<&str>| {
        let annotations = annotation.map(|name| json!({"kubernetes.io/ingress.class": name}));
        let spec =
            json!({"ingressClassName": field, "defaultBackend": backend(json!({"number": 1}))});
        let (ingress, findings) = of(annotations.unwrap_or_default(), spec);
        (ingress.class, findings.len())
    };
    let field = |name: &str| Some(ClassName::Field(name.into()));
    assert_eq!(class(None, None), (None, 0));
    assert_eq!(class(Some("a"), None), (Some(ClassName::Annotation("a".into())), 0));
    assert_eq!(class(Some(""), None), (None, 0));
    assert_eq!(class(None, Some("a")), (field("a"), 0));
    assert_eq!(class(Some("a"), Some("a")), (field("a"), 0));
    assert_eq!(class(Some("b"), Some("a")), (field("a"), 1));
}

#[test]
fn paths_are_as_requests_have_them() {
    for (kind, text, expected) in [
        ("Exact", "/a/", PathMatch::Exact("/a/".into())),
        ("Exact", "/%7Ea%20b", PathMatch::Exact("/~a%20b".into())),
        ("Prefix", "/", PathMatch::Prefix("".into())),
        ("Prefix", "/%61", PathMatch::Prefix("/a".into())),
        ("ImplementationSpecific", "/a/", PathMatch::Prefix("/a".into())),
        ("ImplementationSpecific", "/a//", PathMatch::Prefix("/a".into())),
        ("ImplementationSpecific", "/a/./b", PathMatch::Prefix("/a/b".into())),
    ] {
        assert_eq!(path(json!({}), kind, text), (Some(expected), vec![]), "{kind} {text}");
    }
}

#[test]
fn paths_of_no_request_are_left_out_and_named() {
    for text in ["/a b", "/a?b", "/a#b", "/\u{e9}", "/a\n", "/{id}", "/a|b", "/a%", "/%zz", "/a[0]"]
    {
        for kind in ["Exact", "Prefix", "ImplementationSpecific"] {
            let (path, findings) = path(json!({}), kind, text);
            assert_eq!(path, None, "{kind} {text}");
            assert_eq!(findings[0].path, "spec.rules[0].http.paths[0].path", "{text}");
            assert_eq!((findings.len(), findings[0].severity), (1, Severity::Error), "{text}");
        }
    }
    let (path, findings) = path(json!({}), "ImplementationSpecific", "/../a");
    assert_eq!((path, findings.len()), (None, 1));
}

#[test]
fn patterns_begin_at_the_beginning_and_are_of_any_case() {
    for (pattern, request, is_for) in [
        ("/a/.*", "/a/b", true),
        ("/a/[0-9]{3}", "/A/123/c", true),
        ("/a/[0-9]{3}", "/a/12", false),
        ("/a|/b", "/b", true),
        ("/a|/b", "/c/b", false),
        ("/a$", "/a/", false),
    ] {
        for annotations in [annotation("use-regex", "true"), annotation("rewrite-target", "/")] {
            let (path, findings) = path(annotations, "ImplementationSpecific", pattern);
            let Some(PathMatch::Pattern(of)) = path else { panic!("{pattern}: {path:?}") };
            assert_eq!(of.regex.is_match(request), is_for, "{pattern} for {request}");
            assert_eq!(findings, []);
        }
    }
    // Of the other types, paths are what they are.
    let (path, findings) = path(annotation("use-regex", "true"), "Prefix", "/a/(b)");
    assert_eq!(path, Some(PathMatch::Prefix("/a/(b)".into())));
    assert_eq!((findings.len(), findings[0].severity), (1, Severity::Warning));
}

#[test]
fn patterns_that_are_none_are_left_out_and_named() {
    let deep = format!("/{}a{}", "(".repeat(100), ")".repeat(100));
    for (pattern, says) in [
        ("/(a", "unclosed group"),
        ("/a)(", "unopened group"),
        ("/[a", "unclosed character class"),
        ("/(?=a)", "look-around"),
        ("/(a)\\1", "backreferences are not supported"),
        ("/(?x)a #", "unclosed group"),
        (deep.as_str(), "nest"),
        ("/\\w{1000}", "bytes"),
    ] {
        let (path, found) =
            path(annotation("use-regex", "true"), "ImplementationSpecific", pattern);
        assert_eq!((path, found.len()), (None, 1), "{pattern}");
        assert_eq!(found[0].path, "spec.rules[0].http.paths[0].path");
        assert!(found[0].message.contains(says), "{}", found[0].message);
    }
}

#[test]
fn groups_that_a_target_names_and_a_path_has_not_are_told() {
    for (kind, text, target, count) in [
        ("ImplementationSpecific", "/a/(.*)", "/$1", 0),
        ("ImplementationSpecific", "/a/(.*)", "/$2", 1),
        ("Prefix", "/a", "/b", 0),
        ("Prefix", "/a", "/$1", 1),
    ] {
        let (path, findings) = path(annotation("rewrite-target", target), kind, text);
        assert!(path.is_some());
        assert_eq!(findings.len(), count, "{kind} {text} {target}");
        assert!(findings.iter().all(|finding| finding.severity == Severity::Warning));
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let resource = json!({"resource": {"kind": "StorageBucket", "name": "static"}});
    let (ingress, findings) = of(json!({}), json!({"defaultBackend": resource}));
    assert_eq!(ingress.default_backend, Some(Backend::Unsupported));
    assert_eq!(findings[0].path, "spec.defaultBackend.resource");
    assert!(findings[0].message.contains("StorageBucket"), "{}", findings[0].message);

    let (ingress, findings) = of(annotation("canary", "true"), of_path("Exact", "/"));
    assert_eq!((ingress.rules.len(), findings.len()), (0, 1));
    assert_eq!(findings[0].path, format!("metadata.annotations.{ANNOTATION}canary"));

    let (ingress, findings) = of(annotation("auth-url", "x"), of_path("Exact", "/"));
    let paths = ingress.rules[0].paths.as_ref().unwrap();
    assert_eq!((paths.len(), &paths[0].backend), (1, &Backend::Unsupported));
    assert_eq!(findings[0].path, format!("metadata.annotations.{ANNOTATION}auth-url"));

    let spec = json!({"defaultBackend": backend(json!({"number": 80}))});
    let (_, findings) = of(annotation("rewrite-target", "/$1"), spec);
    assert_eq!(findings[0].path, "spec.defaultBackend");

    let (_, findings) = of(json!({}), json!({"rules": [{"host": "a.example"}]}));
    assert_eq!(findings[0].path, "spec.rules[0]");

    let tls = json!([{"hosts": ["192.0.2.1"]}, {"hosts": ["192.0.2.1", "a.example"]}]);
    let spec = json!({"defaultBackend": backend(json!({"number": 80})), "tls": tls});
    let (ingress, findings) = of(json!({}), spec);
    let hosts: Vec<_> = ingress.tls.iter().map(|tls| (tls.index, &tls.hosts)).collect();
    assert_eq!(hosts, [(1, &vec![(1, Host::Exact("a.example".into()))])]);
    let paths: Vec<_> = findings.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(paths, ["spec.tls[0].hosts[0]", "spec.tls[1].hosts[0]"]);
}

#[test]
fn so_much_is_said_about_one_ingress() {
    let path = json!({"path": "/a b", "pathType": "Exact", "backend": backend(json!({}))});
    let paths = vec![path; 100];
    let of_annotation = annotation("server-snippet", "x");
    let (_, findings) = of(of_annotation, json!({"rules": [{"http": {"paths": paths}}]}));
    assert_eq!(findings.len(), FINDINGS_MAX);
    // The worst of it.
    assert!(findings.iter().all(|finding| finding.severity == Severity::Error));
}

/// Whoever asks what the API server refuses is not needed for it not to be taken.
#[test]
fn what_kubernetes_refuses_is_left_out() {
    for (kind, text) in [("Exact", "a"), ("Prefix", ""), ("Regex", "/a"), ("", "/")] {
        let (path, findings) = path(json!({}), kind, text);
        assert_eq!((path, findings), (None, vec![]), "{kind} {text}");
    }
    for port in [json!({}), json!({"number": 65536}), json!({"number": -1})] {
        let (ingress, findings) = of(json!({}), json!({"defaultBackend": backend(port)}));
        assert_eq!((ingress.default_backend, findings), (None, vec![]));
    }
    let (ingress, _) = of(json!({}), json!({"rules": [{"host": "*"}, {"host": "a"}]}));
    assert_eq!(ingress.rules.len(), 1);
}

fn class(controller: &str, created: Option<&str>, default: Option<&str>) -> IngressClass {
    let annotations =
        default.map(|text| json!({"ingressclass.kubernetes.io/is-default-class": text}));
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": "c", "creationTimestamp": created, "annotations": annotations},
        "spec": {"controller": controller},
    });
    IngressClass::reduce(&serde_json::from_value(class).unwrap(), &mut Vec::new())
}

#[test]
fn whose_an_ingress_is() {
    let mut classes = Classes::default();
    let is_ours = |classes: &Classes, class| {
        let (mut ingress, _) = of(json!({}), json!({}));
        ingress.class = class;
        let mut findings = Vec::new();
        (classes.is_ours(&ingress, &mut findings), findings.len())
    };
    classes.set(&"ours".into(), Some(class(CONTROLLER, None, None)));
    classes.set(&"nginx".into(), Some(class("k8s.io/ingress-nginx", None, None)));
    let field = |name: &str| Some(ClassName::Field(name.into()));
    let annotation = |name: &str| Some(ClassName::Annotation(name.into()));
    for (class, expected) in [
        (field("ours"), (true, 0)),
        (field("nginx"), (false, 0)),
        (field("none"), (false, 1)),
        (annotation("ours"), (true, 0)),
        (annotation("nginx"), (false, 0)),
        (annotation("none"), (false, 0)),
        (None, (false, 0)),
    ] {
        assert_eq!(is_ours(&classes, class.clone()), expected, "{class:?}");
    }
    // The newest of those that are marked is the default, then the first by name.
    let (old, new) = (Some("2024-01-01T00:00:00Z"), Some("2025-01-01T00:00:00Z"));
    classes.set(&"ours".into(), Some(class(CONTROLLER, old, Some("true"))));
    assert_eq!(is_ours(&classes, None), (true, 0));
    classes.set(&"nginx".into(), Some(class("k8s.io/ingress-nginx", new, Some("true"))));
    assert_eq!(is_ours(&classes, None), (false, 0));
    let found: Vec<_> = classes.findings().collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].1.message.contains("nginx is the default"), "{:?}", found[0]);
    classes.set(&"nginx".into(), Some(class("k8s.io/ingress-nginx", old, Some("true"))));
    assert_eq!(classes.default_class().map(|(name, _)| &**name), Some("nginx"));
    classes.set(&"nginx".into(), None);
    assert_eq!(is_ours(&classes, None), (true, 0));
    classes.set(&"ours".into(), Some(class(CONTROLLER, old, Some("yes"))));
    assert_eq!(is_ours(&classes, None), (false, 0));
}
