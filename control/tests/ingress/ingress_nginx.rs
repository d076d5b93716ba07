//! What ingress-nginx' documentation says of paths ("Ingress Path Matching", "Rewrite").

use super::*;
use sluice_control::cluster::ingress::{HttpsRedirect, Protocol};

fn ingress(name: &str, annotations: &[(&str, &str)], paths: &[(&str, &str)]) -> String {
    let annotations = annotations
        .iter()
        .map(|(name, text)| format!("\n    nginx.ingress.kubernetes.io/{name}: {text:?}"));
    let paths = paths.iter().map(|(path, service)| {
        format!(
            "
      - path: {path}
        pathType: ImplementationSpecific
        backend: {{service: {{name: {service}, port: {{number: 80}}}}}}"
        )
    });
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  annotations:{}
spec:
  rules:
  - host: test.com
    http:
      paths:{}
---",
        annotations.chain([String::from("\n    note: x")]).collect::<String>(),
        paths.collect::<String>()
    )
}

#[test]
fn longer_paths_are_first() {
    let cluster = Cluster::read_with_class(&format!(
        "{}{}",
        ingress("one", &[], &[("/foo/bar", "service1")]),
        ingress("two", &[("rewrite-target", "/$1")], &[("/foo/bar/(.+)", "service3")]),
    ));
    let compiled = cluster.compile();
    assert_routes(
        &compiled,
        &[
            ("test.com", "/foo/bar/1", Some("service3:80")),
            ("test.com", "/foo/bar/", Some("service1:80")),
            ("test.com", "/foo/bar", Some("service1:80")),
        ],
    );
    let rewrite = route(&compiled, "test.com", "/foo/bar/1").unwrap().rewrite().unwrap();
    assert_eq!(rewrite.path("/foo/bar/1").as_deref(), Some("/1"));
    assert!(route(&compiled, "test.com", "/foo/bar").unwrap().rewrite().is_none());
}

#[test]
fn a_pattern_is_before_a_shorter_one_however_well_that_matches() {
    let paths = [("/foo/bar/bar", "plain"), ("/foo/bar/[A-Z0-9]{3}", "pattern")];
    let compiled =
        Cluster::read_with_class(&ingress("one", &[("use-regex", "true")], &paths)).compile();
    assert_routes(
        &compiled,
        &[
            ("test.com", "/foo/bar/bar", Some("pattern:80")),
            ("test.com", "/FOO/bar/bar", Some("pattern:80")),
            ("test.com", "/foo/bar/b", None),
        ],
    );
}

/// How a pattern is wrapped does not make it longer.
#[test]
fn a_longer_prefix_is_before_a_shorter_pattern() {
    let compiled = Cluster::read_with_class(&format!(
        "{}{}",
        ingress("one", &[], &[("/foo/bar", "prefix")]),
        ingress("two", &[("use-regex", "true")], &[("/foo", "pattern")]),
    ))
    .compile();
    assert_routes(
        &compiled,
        &[
            ("test.com", "/foo/bar/x", Some("prefix:80")),
            ("test.com", "/foo/x", Some("pattern:80")),
            ("test.com", "/foox", Some("pattern:80")),
        ],
    );
}

#[test]
fn rewrites() {
    let annotations = [("rewrite-target", "/$2")];
    let cluster = Cluster::read_with_class(&ingress(
        "rewrite",
        &annotations,
        &[("/something(/|$)(.*)", "http-svc")],
    ));
    let compiled = cluster.compile();
    assert_eq!(compiled.findings, []);
    for (path, expected) in [("/something", "/"), ("/something/", "/"), ("/something/new", "/new")]
    {
        let rewrite = route(&compiled, "test.com", path).unwrap().rewrite().unwrap();
        assert_eq!(rewrite.path(path).as_deref(), Some(expected), "{path}");
    }
    assert_routes(&compiled, &[("test.com", "/somethings", None)]);
}

/// What is not supported here may be supported there.
#[test]
fn ingresses_of_other_controllers_are_left_alone() {
    let annotations = [("configuration-snippet", "x"), ("use-regex", "true")];
    let other = DEFAULT_CLASS.replace("sluice.dev/ingress", "k8s.io/ingress-nginx");
    let text = ingress("one", &annotations, &[("/(", "a")]);
    let of = |class: &str| Cluster::read(&format!("{class}---\n{text}")).compile();
    let compiled = of(&other);
    assert!(compiled.findings.is_empty() && compiled.targets().is_empty());
    assert_eq!(of(DEFAULT_CLASS).findings.len(), 2);
}

#[test]
fn a_route_has_the_options_of_its_ingress() {
    let annotations = [
        ("force-ssl-redirect", "true"),
        ("backend-protocol", "GRPC"),
        ("proxy-body-size", "0"),
        ("configuration-snippet", "x"),
    ];
    let cluster = Cluster::read_with_class(&ingress("one", &annotations, &[("/", "a")]));
    let compiled = cluster.compile();
    let route = route(&compiled, "test.com", "/").unwrap();
    assert_eq!(route.options.https_redirect, HttpsRedirect::Always);
    assert_eq!(route.options.protocol, Protocol::Grpc);
    assert_eq!(route.options.body_bytes_max, None);
    let expected = "default/one: metadata.annotations.nginx.ingress.kubernetes.io/\
                    configuration-snippet: configuration-snippet is not supported; it is ignored";
    assert_eq!(said(&compiled.findings), [expected]);
}
