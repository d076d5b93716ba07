//! The scenarios of the official suite, as far as they are about routes.

use super::official::{DEFAULT_BACKEND, HOST_RULES, INGRESS_CLASS, PATH_RULES, Scenario};
use super::*;

/// What a scenario comes to, once its answers are right.
fn assert_answers(scenario: &Scenario) -> Compiled {
    let compiled = Cluster::read_with_class(&scenario.manifest("")).compile();
    for (url, expected) in scenario.answers {
        let (host, path) = url.split_at(url.find('/').unwrap());
        assert_routes(&compiled, &[(host, path, *expected)]);
    }
    compiled
}

#[test]
fn default_backend_takes_all_requests() {
    let compiled = assert_answers(&DEFAULT_BACKEND);
    let all = Some("echo-service:8080");
    for host in ["", "load-balancing", "192.0.2.1", "[2001:db8::1]:80"] {
        for path in ["/", "/sub-path", "/resource"] {
            assert_routes(&compiled, &[(host, path, all)]);
        }
    }
}

#[test]
fn host_rules() {
    let compiled = assert_answers(&HOST_RULES);
    assert_routes(&compiled, &[("FOO.bar.com:80", "/", Some("foo-bar-com:http"))]);
    let certificates: Vec<_> =
        compiled.certificates.iter().map(|of| (&of.host, of.secret.clone())).collect();
    let host = sluice_tables::http_routes::Host::Exact("foo.bar.com".into());
    assert_eq!(certificates, [(&host, Some(Name::new("default", "conformance-tls")))]);
}

#[test]
fn ingress_class_that_is_not_there() {
    let compiled = assert_answers(&INGRESS_CLASS);
    assert!(compiled.ingresses.is_empty());
    let expected = "default/test-ingress-class: spec.ingressClassName: there is no IngressClass \
                    \"some-invalid-class-name\"; nobody serves it";
    assert_eq!(said(&compiled.findings), [expected]);
}

#[test]
fn path_rules() {
    let compiled = assert_answers(&PATH_RULES);
    assert_eq!(compiled.findings, []);
}
