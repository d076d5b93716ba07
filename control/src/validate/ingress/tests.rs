use super::*;
use serde_json::{Value, json};

fn findings(spec: Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
        "spec": spec,
    });
    refusals(&serde_json::from_value(ingress).unwrap(), &mut findings);
    assert!(findings.iter().all(|finding| finding.expected.is_some()), "{findings:?}");
    findings
}

fn paths(spec: Value) -> Vec<String> {
    findings(spec).into_iter().map(|finding| finding.path).collect()
}

fn backend() -> Value {
    json!({"service": {"name": "web", "port": {"number": 80}}})
}

fn of_host(host: &str) -> Value {
    let paths = [json!({"path": "/", "pathType": "Prefix", "backend": backend()})];
    json!({"rules": [{}, {"host": host, "http": {"paths": paths}}]})
}

fn of_path(kind: &str, path: &str) -> Value {
    let good = json!({"pathType": "ImplementationSpecific", "backend": backend()});
    let path = json!({"path": path, "pathType": kind, "backend": backend()});
    json!({"rules": [{"http": {"paths": [good, path]}}]})
}

#[test]
fn what_kubernetes_takes_is_taken() {
    let long = "a.".repeat(126) + "a";
    for spec in [
        json!({"defaultBackend": backend()}),
        json!({"ingressClassName": "sluice", "rules": [{"host": "a.example"}]}),
        of_host(""),
        of_host("shop.example"),
        of_host("*.shop.example"),
        of_host("*.example"),
        of_host("localhost"),
        of_host(&long),
        of_path("Exact", "/"),
        of_path("Prefix", "/a/b/"),
        of_path("Prefix", "/a b"),
        of_path("Exact", "/..a/.b"),
        of_path("ImplementationSpecific", ""),
        of_path("ImplementationSpecific", "/a//(b|c)"),
        json!({"defaultBackend": {"service": {"name": "web", "port": {"name": "http"}}}}),
        json!({"defaultBackend": {"resource": {"kind": "StorageBucket", "name": "static"}}}),
        json!({"defaultBackend": backend(), "tls": [
            {}, {"secretName": "cert"}, {"hosts": ["a.example", "*.b.example"], "secretName": "c.d"},
        ]}),
    ] {
        assert_eq!(findings(spec.clone()), [], "{spec}");
    }
}

#[test]
fn hosts_that_cannot_be_are_named() {
    let long = "a".repeat(64);
    for (host, says) in [
        ("192.0.2.1", "an address"),
        ("2001:db8::1", "an address"),
        ("[2001:db8::1]", "an address"),
        ("[2001:db8::1]:80", "an address"),
        ("192.0.2.1:80", "an address"),
        ("shop.example:80", "a port"),
        ("Shop.example", "no DNS name"),
        ("shop.example.", "no DNS name"),
        ("shop..example", "no DNS name"),
        ("-shop.example", "no DNS name"),
        ("shop_a.example", "no DNS name"),
        ("http://shop.example", "no DNS name"),
        (long.as_str(), "no DNS name"),
        ("*", "asterisk"),
        ("*.", "no DNS name"),
        ("a.*.example", "asterisk"),
        ("a*.example", "asterisk"),
        ("*.*.example", "asterisk"),
        ("shop.*", "asterisk"),
    ] {
        let found = findings(of_host(host));
        let path = found.iter().map(|finding| finding.path.as_str()).collect::<Vec<_>>();
        assert_eq!(path, ["spec.rules[1].host"], "{host}");
        assert!(found[0].message.contains(says), "{host}: {}", found[0].message);
        let tls = json!({"defaultBackend": backend(), "tls": [{"hosts": ["a.example", host]}]});
        // Kubernetes takes it for a name there.
        let expected = (host != "192.0.2.1").then_some("spec.tls[0].hosts[1]");
        assert_eq!(paths(tls), Vec::from_iter(expected), "{host}");
    }
}

#[test]
fn paths_that_cannot_be_are_named() {
    let long = format!("/{}", "a".repeat(PATH_LEN_MAX));
    for (kind, path, field) in [
        ("Exact", "", "path"),
        ("Prefix", "a/b", "path"),
        ("ImplementationSpecific", "(a|b)", "path"),
        ("Prefix", "/a//b", "path"),
        ("Exact", "/a/./b", "path"),
        ("Exact", "/a/../b", "path"),
        ("Prefix", "/a/..", "path"),
        ("Prefix", "/a/.", "path"),
        ("Prefix", "/a%2fb", "path"),
        ("Prefix", "/a%2Fb", "path"),
        ("Exact", &long, "path"),
        ("", "/a", "pathType"),
        ("prefix", "/a", "pathType"),
        ("Regex", "/a", "pathType"),
    ] {
        let expected = format!("spec.rules[0].http.paths[1].{field}");
        assert_eq!(paths(of_path(kind, path)), [expected], "{kind} {path}");
    }
}

#[test]
fn backends_that_cannot_be_are_named() {
    let service = |port: Value| json!({"service": {"name": "web", "port": port}});
    for (backend, field) in [
        (json!({}), ""),
        (
            json!({"service": {"name": "web", "port": {"number": 80}}, "resource": {"kind": "a", "name": "b"}}),
            "",
        ),
        (json!({"resource": {"kind": "", "name": "b"}}), ".resource.kind"),
        (json!({"resource": {"kind": "a", "name": ""}}), ".resource.name"),
        (json!({"service": {"name": "web"}}), ".service.port"),
        (json!({"service": {"name": "", "port": {"number": 80}}}), ".service.name"),
        (json!({"service": {"name": "Web", "port": {"number": 80}}}), ".service.name"),
        (json!({"service": {"name": "shop/web", "port": {"number": 80}}}), ".service.name"),
        (service(json!({})), ".service.port"),
        (service(json!({"number": 0})), ".service.port"),
        (service(json!({"name": "http", "number": 80})), ".service.port"),
        (service(json!({"number": 65536})), ".service.port.number"),
        (service(json!({"number": -1})), ".service.port.number"),
        (service(json!({"name": "80"})), ".service.port.name"),
    ] {
        let of_default = json!({"defaultBackend": backend});
        assert_eq!(paths(of_default), [format!("spec.defaultBackend{field}")], "{backend}");
        let path = json!({"path": "/", "pathType": "Exact", "backend": backend});
        let of_path = json!({"rules": [{"http": {"paths": [path]}}]});
        let expected = format!("spec.rules[0].http.paths[0].backend{field}");
        assert_eq!(paths(of_path), [expected], "{backend}");
    }
}

#[test]
fn the_rest_that_cannot_be_is_named() {
    let mut found = Vec::new();
    refusals(&Ingress::default(), &mut found);
    assert_eq!(found[0].path, "spec");
    assert_eq!(paths(json!({})), ["spec"]);
    assert_eq!(paths(json!({"rules": []})), ["spec"]);
    assert_eq!(paths(json!({"rules": [{"http": {"paths": []}}]})), ["spec.rules[0].http.paths"]);
    let with = |key: &str, value: Value| json!({"defaultBackend": backend(), key: value});
    assert_eq!(paths(with("ingressClassName", json!("A b"))), ["spec.ingressClassName"]);
    assert_eq!(paths(with("tls", json!([{"secretName": "a_b"}]))), ["spec.tls[0].secretName"]);
    let many = |of: Value, max: usize| json!(vec![of; max + 1]);
    assert_eq!(paths(with("rules", many(json!({}), RULES_MAX))), ["spec.rules"]);
    assert_eq!(paths(with("tls", many(json!({}), TLS_MAX))), ["spec.tls"]);
    let path = json!({"pathType": "ImplementationSpecific", "backend": backend()});
    let rule = json!([{"http": {"paths": many(path, PATHS_MAX)}}]);
    assert_eq!(paths(with("rules", rule)), ["spec.rules[0].http.paths"]);
    let bad = many(json!({"host": "*"}), FINDINGS_MAX);
    assert_eq!(paths(with("rules", bad)).len(), FINDINGS_MAX);
}

#[test]
fn controllers_that_cannot_be_are_named() {
    let found = |controller: Value| {
        let class = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": "a"}, "spec": {"controller": controller},
        });
        let mut findings = Vec::new();
        class_refusals(&serde_json::from_value(class).unwrap(), &mut findings);
        findings.len()
    };
    for good in ["sluice.dev/ingress", "k8s.io/a/b.c"] {
        assert_eq!(found(json!(good)), 0, "{good}");
    }
    let long = format!("a/{}", "b".repeat(CONTROLLER_LEN_MAX));
    for bad in [
        json!(null),
        json!(""),
        json!("a"),
        json!("a/"),
        json!("/a"),
        json!("A/b"),
        json!("a/b c"),
        json!(long),
    ] {
        assert_eq!(found(bad.clone()), 1, "{bad}");
    }
}
