//! The scenarios of the official suite of Ingress (kubernetes-sigs/ingress-controller-conformance,
//! `features`), from manifests to what pods have seen.

use super::backend::Backend;
use super::report::report;
use super::shop::{Shop, gateway, services_at};
use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Family, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The suite's Services. A pod serves each at a port of its own, [`FIRST`] and so on.
const SERVICES: [&str; 10] = [
    "echo-service",
    "foo-bar-com",
    "wildcard-foo-com",
    "foo-exact",
    "foo-prefix",
    "aaa-slash-bbb-prefix",
    "aaa-prefix",
    "aaa-slash-bbb-slash-prefix",
    "foo-slash-exact",
    "ingress-class-prefix",
];

const FIRST: u16 = 9100;

/// The replicas of `echo-service`; all others have the first one alone.
const PODS: [&str; 10] =
    ["pod1a", "pod1b", "pod1c", "pod1d", "pod1e", "pod2a", "pod2b", "pod2c", "pod2d", "pod2e"];

/// Requests among ten pods of which each is chosen at random: that one of them gets none
/// happens once in a hundred million times.
const REQUESTS: usize = 200;

#[test]
fn the_official_scenarios_of_ingress_hold() {
    let Some(shop) = Shop::open(&["--pods", "5", "--queues", "2"], "") else { return };
    let chain = shop.certificate("conformance-tls", &["foo.bar.com"]);
    let ports: Vec<u16> = (FIRST..).take(SERVICES.len()).collect();
    let mut pods = vec![Backend::start_as(&shop.lab, PODS[0], PODS[0], &ports)];
    pods.extend(PODS[1..].iter().map(|pod| Backend::start_as(&shop.lab, pod, pod, &[FIRST])));
    for (service, port) in SERVICES.iter().zip(FIRST..) {
        let pods = if port == FIRST { &PODS[..] } else { &PODS[..1] };
        let text = services_at(service, pods, port).replace("port: 80,", "port: 8080,");
        shop.lab.write_manifest(&format!("service-{service}.yaml"), &text);
    }
    let gateway = gateway(&shop);
    default_backend(&shop);
    load_balancing(&shop);
    host_rules(&shop, chain.to_str().unwrap());
    path_rules(&shop);
    ingress_class(&shop, &gateway);
    report(&gateway, "the scenarios of Ingress");
    gateway.stop();
}

/// Puts an Ingress in the place of the one before.
fn put(shop: &Shop, name: &str, spec: &str) {
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
         metadata:\n  name: {name}\n  namespace: shop\n  \
         annotations: {{nginx.ingress.kubernetes.io/ssl-redirect: \"false\"}}\n\
         spec:\n{spec}"
    );
    shop.lab.write_manifest("ingress.yaml", &text);
}

/// The Service that has answered.
fn service(told: &Value) -> Option<&'static str> {
    let port = u16::try_from(told["port"].as_u64()?).ok()?;
    SERVICES.get(usize::from(port.checked_sub(FIRST)?)).copied()
}

/// Each URL is answered by a Service, which sees its host and path, or with 404.
fn assert_served(shop: &Shop, family: &Family, urls: &[(&str, Option<&str>)]) {
    for (url, expected) in urls {
        let (status, told) = shop.get(family, &format!("http://{url}"), &[]);
        let text = format!("{} {url} {status} {told}", family.name);
        let (host, path) = url.split_at(url.find('/').unwrap());
        assert_eq!(status, if expected.is_some() { 200 } else { 404 }, "{text}");
        assert_eq!(service(&told), *expected, "{text}");
        if expected.is_some() {
            assert_eq!(told["target"], path, "{text}");
            assert_eq!(told["headers"]["host"], json!([host]), "{text}");
        }
    }
}

const DEFAULT_BACKEND: &str = "  ingressClassName: sluice
  defaultBackend:
    service:
      name: echo-service
      port:
        number: 8080
";

fn default_backend(shop: &Shop) {
    put(shop, "default-backend", DEFAULT_BACKEND);
    for family in &FAMILIES {
        shop.until(family, "http://my-host/", 200);
        let none = super::shop::address(family);
        let none = if none.contains(':') { format!("[{none}]") } else { none.to_owned() };
        for (method, host, path) in [
            ("GET", "my-host", "/"),
            ("GET", "my-host", "/sub-path"),
            ("POST", "some-host", "/"),
            ("PUT", &*none, "/resource"),
            ("DELETE", "some-host", "/resource"),
            ("PATCH", "my-host", "/resource"),
        ] {
            let more = ["-X", method, "-A", "Go-http-client/1.1", "--http1.1", "-g"];
            let text = shop.curl(family, &format!("http://{host}{path}"), &more);
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
            let head = head.to_lowercase();
            for header in ["content-length", "content-type", "date", "server"] {
                assert_eq!(head.matches(&format!("\r\n{header}: ")).count(), 1, "{header}: {text}");
            }
            let told: Value = serde_json::from_str(body).unwrap();
            assert_eq!(service(&told), Some("echo-service"), "{text}");
            assert_eq!(told["method"], method);
            assert_eq!(told["target"], path);
            assert_eq!(told["version"], "HTTP/1.1");
            assert_eq!(told["headers"]["host"], json!([host]));
            assert_eq!(told["headers"]["user-agent"], json!(["Go-http-client/1.1"]));
        }
    }
}

fn load_balancing(shop: &Shop) {
    put(shop, "load-balancing", DEFAULT_BACKEND);
    for family in &FAMILIES {
        let url = format!("http://load-balancing/?[1-{REQUESTS}]");
        let text = shop.curl(family, &url, &[]);
        assert_eq!(text.matches("HTTP/1.1 200 ").count(), REQUESTS, "{}", family.name);
        let pods = text.split("\"pod\":\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        assert_eq!(pods.collect::<BTreeSet<_>>(), BTreeSet::from(PODS), "{}", family.name);
    }
}

fn path(path: &str, kind: &str, service: &str, port: &str) -> String {
    format!(
        "      - {{path: {path}, pathType: {kind}, backend: {{service: {{name: {service}, port: {{{port}}}}}}}}}\n"
    )
}

fn rule(host: &str, paths: &[String]) -> String {
    format!("  - host: \"{host}\"\n    http:\n      paths:\n{}", paths.concat())
}

fn host_rules(shop: &Shop, chain: &str) {
    let spec = [
        "  ingressClassName: sluice\n".to_owned(),
        "  tls: [{hosts: [foo.bar.com], secretName: conformance-tls}]\n  rules:\n".to_owned(),
        rule("*.foo.com", &[path("/", "Prefix", "wildcard-foo-com", "number: 8080")]),
        rule("foo.bar.com", &[path("/", "Prefix", "foo-bar-com", "name: http")]),
    ];
    put(shop, "host-rules", &spec.concat());
    for family in &FAMILIES {
        shop.until(family, "http://foo.bar.com/", 200);
        shop.until(family, "https://foo.bar.com/", 200);
        let verify = ["--no-insecure", "--cacert", chain];
        let (status, told) = shop.get(family, "https://foo.bar.com/", &verify);
        assert_eq!((status, service(&told)), (200, Some("foo-bar-com")), "{told}");
        assert_eq!(told["headers"]["host"], json!(["foo.bar.com"]));
        assert_served(
            shop,
            family,
            &[
                ("foo.bar.com/", Some("foo-bar-com")),
                ("subdomain.bar.com/", None),
                ("bar.foo.com/", Some("wildcard-foo-com")),
                ("baz.bar.foo.com/", None),
                ("foo.com/", None),
            ],
        );
    }
}

fn path_rules(shop: &Shop) {
    let path = |at: &str, kind: &str, service: &str| path(at, kind, service, "number: 8080");
    let spec = [
        "  ingressClassName: sluice\n  rules:\n".to_owned(),
        rule("exact-path-rules", &[path("/foo", "Exact", "foo-exact")]),
        rule(
            "prefix-path-rules",
            &[
                path("/foo", "Prefix", "foo-prefix"),
                path("/aaa/bbb", "Prefix", "aaa-slash-bbb-prefix"),
                path("/aaa", "Prefix", "aaa-prefix"),
            ],
        ),
        rule(
            "mixed-path-rules",
            &[path("/foo", "Prefix", "foo-prefix"), path("/foo", "Exact", "foo-exact")],
        ),
        rule(
            "trailing-slash-path-rules",
            &[
                path("/aaa/bbb/", "Prefix", "aaa-slash-bbb-slash-prefix"),
                path("/foo/", "Exact", "foo-slash-exact"),
            ],
        ),
    ];
    put(shop, "path-rules", &spec.concat());
    for family in &FAMILIES {
        shop.until(family, "http://exact-path-rules/foo", 200);
        assert_served(
            shop,
            family,
            &[
                ("exact-path-rules/foo", Some("foo-exact")),
                ("exact-path-rules/foo/", None),
                ("exact-path-rules/FOO", None),
                ("exact-path-rules/bar", None),
                ("prefix-path-rules/foo", Some("foo-prefix")),
                ("prefix-path-rules/foo/", Some("foo-prefix")),
                ("prefix-path-rules/FOO", None),
                ("prefix-path-rules/aaa/bbb", Some("aaa-slash-bbb-prefix")),
                ("prefix-path-rules/aaa/bbb/ccc", Some("aaa-slash-bbb-prefix")),
                ("prefix-path-rules/aaa/ccc", Some("aaa-prefix")),
                ("prefix-path-rules/aaaccc", None),
                ("mixed-path-rules/foo", Some("foo-exact")),
                ("trailing-slash-path-rules/aaa/bbb", Some("aaa-slash-bbb-slash-prefix")),
                ("trailing-slash-path-rules/aaa/bbb/", Some("aaa-slash-bbb-slash-prefix")),
                ("trailing-slash-path-rules/foo", None),
                ("trailing-slash-path-rules/foo/", Some("foo-slash-exact")),
            ],
        );
    }
}

/// Nobody serves a class that is not there, and who looks is told so.
fn ingress_class(shop: &Shop, gateway: &Gateway<'_>) {
    let spec = [
        "  ingressClassName: some-invalid-class-name\n  rules:\n".to_owned(),
        rule("ingress-class", &[path("/", "Prefix", "ingress-class-prefix", "number: 8080")]),
    ];
    put(shop, "test-ingress-class", &spec.concat());
    eventually("the class that is not there in the status", || {
        let text = String::from_utf8(gateway.ask(&["status"]).stdout).unwrap();
        text.contains("some-invalid-class-name").then_some(())
    });
    for family in &FAMILIES {
        shop.until(family, "http://exact-path-rules/foo", 404);
        assert_served(shop, family, &[("ingress-class/", None)]);
    }
}
