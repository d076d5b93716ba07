//! The scenarios of the official suite of Ingress, from manifests to what pods have seen.

use super::backend::Backend;
use super::official::{DEFAULT_BACKEND, HOST_RULES, INGRESS_CLASS, PATH_RULES, Scenario};
use super::report::report;
use super::shop::{Shop, authority, gateway, services_at};
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

/// Puts the Ingress of a scenario in the place of the one before.
fn put(shop: &Shop, scenario: &Scenario) {
    let more = "  namespace: shop\n  \
                annotations: {nginx.ingress.kubernetes.io/ssl-redirect: \"false\"}\n";
    shop.lab.write_manifest("ingress.yaml", &scenario.manifest(more));
}

/// The Service that has answered.
fn service(told: &Value) -> Option<&'static str> {
    let port = u16::try_from(told["port"].as_u64()?).ok()?;
    SERVICES.get(usize::from(port.checked_sub(FIRST)?)).copied()
}

/// Each URL is answered by a Service, which sees its host and path, or with 404.
fn assert_served(shop: &Shop, family: &Family, scenario: &Scenario) {
    for (url, expected) in scenario.answers {
        let (status, told) = shop.get(family, &format!("http://{url}"), &[]);
        let text = format!("{} {url} {status} {told}", family.name);
        let (host, path) = url.split_at(url.find('/').unwrap());
        assert_eq!(status, if expected.is_some() { 200 } else { 404 }, "{text}");
        let expected = expected.and_then(|backend| backend.split(':').next());
        assert_eq!(service(&told), expected, "{text}");
        if expected.is_some() {
            assert_eq!(told["target"], path, "{text}");
            assert_eq!(told["headers"]["host"], json!([host]), "{text}");
        }
    }
}

fn default_backend(shop: &Shop) {
    put(shop, &DEFAULT_BACKEND);
    for family in &FAMILIES {
        shop.until(family, "http://my-host/", 200);
        let none = authority(family);
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
    put(shop, &Scenario { name: "load-balancing", ..DEFAULT_BACKEND });
    for family in &FAMILIES {
        let url = format!("http://load-balancing/?[1-{REQUESTS}]");
        let text = shop.curl(family, &url, &[]);
        assert_eq!(text.matches("HTTP/1.1 200 ").count(), REQUESTS, "{}", family.name);
        let pods = text.split("\"pod\":\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        assert_eq!(pods.collect::<BTreeSet<_>>(), BTreeSet::from(PODS), "{}", family.name);
    }
}

fn host_rules(shop: &Shop, chain: &str) {
    put(shop, &HOST_RULES);
    for family in &FAMILIES {
        shop.until(family, "http://foo.bar.com/", 200);
        shop.until(family, "https://foo.bar.com/", 200);
        let verify = ["--no-insecure", "--cacert", chain];
        let (status, told) = shop.get(family, "https://foo.bar.com/", &verify);
        assert_eq!((status, service(&told)), (200, Some("foo-bar-com")), "{told}");
        assert_eq!(told["headers"]["host"], json!(["foo.bar.com"]));
        assert_served(shop, family, &HOST_RULES);
    }
}

fn path_rules(shop: &Shop) {
    put(shop, &PATH_RULES);
    for family in &FAMILIES {
        shop.until(family, "http://exact-path-rules/foo", 200);
        assert_served(shop, family, &PATH_RULES);
    }
}

/// Nobody serves a class that is not there, and who looks is told so.
fn ingress_class(shop: &Shop, gateway: &Gateway<'_>) {
    put(shop, &INGRESS_CLASS);
    eventually("the class that is not there in the status", || {
        let text = String::from_utf8(gateway.ask(&["status"]).stdout).unwrap();
        text.contains("some-invalid-class-name").then_some(())
    });
    for family in &FAMILIES {
        shop.until(family, "http://exact-path-rules/foo", 404);
        assert_served(shop, family, &INGRESS_CLASS);
    }
}
