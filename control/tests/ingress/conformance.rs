//! The scenarios of the official suite (kubernetes-sigs/ingress-controller-conformance,
//! `features`), as far as they are about routes.

use super::*;

#[test]
fn default_backend_takes_all_requests() {
    let compiled = Cluster::read_with_class(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: default-backend
spec:
  defaultBackend:
    service:
      name: echo-service
      port:
        number: 8080
",
    )
    .compile();
    let all = Some("echo-service:8080");
    for host in ["my-host", "some-host", "", "load-balancing", "192.0.2.1", "[2001:db8::1]:80"] {
        for path in ["/", "/sub-path", "/resource"] {
            assert_routes(&compiled, &[(host, path, all)]);
        }
    }
}

#[test]
fn host_rules() {
    let paths = |service: &str, port: &str| {
        format!(
            "
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {{service: {{name: {service}, port: {{{port}}}}}}}"
        )
    };
    let compiled = Cluster::read_with_class(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: host-rules
spec:
  tls:
  - hosts:
    - foo.bar.com
    secretName: conformance-tls
  rules:
  - host: \"*.foo.com\"{}
  - host: foo.bar.com{}
",
        paths("wildcard-foo-com", "number: 8080"),
        paths("foo-bar-com", "name: http"),
    ))
    .compile();
    assert_routes(
        &compiled,
        &[
            ("foo.bar.com", "/", Some("foo-bar-com:http")),
            ("FOO.bar.com:80", "/", Some("foo-bar-com:http")),
            ("subdomain.bar.com", "/", None),
            ("bar.foo.com", "/", Some("wildcard-foo-com:8080")),
            ("baz.bar.foo.com", "/", None),
            ("foo.com", "/", None),
        ],
    );
    let certificates: Vec<_> =
        compiled.certificates.iter().map(|of| (&of.host, of.secret.clone())).collect();
    let host = sluice_tables::http_routes::Host::Exact("foo.bar.com".into());
    assert_eq!(certificates, [(&host, Some(Name::new("default", "conformance-tls")))]);
}

#[test]
fn ingress_class_that_is_not_there() {
    let cluster = Cluster::read_with_class(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: test-ingress-class
spec:
  ingressClassName: some-invalid-class-name
  rules:
  - host: ingress-class
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: ingress-class-prefix, port: {number: 8080}}}
",
    );
    let compiled = cluster.compile();
    assert_routes(&compiled, &[("ingress-class", "/", None)]);
    assert!(compiled.ingresses.is_empty());
    let expected = "default/test-ingress-class: spec.ingressClassName: there is no IngressClass \
                    \"some-invalid-class-name\"; nobody serves it";
    assert_eq!(said(&compiled.findings), [expected]);
}

#[test]
fn path_rules() {
    let path = |path: &str, kind: &str, service: &str| {
        format!(
            "
      - path: {path}
        pathType: {kind}
        backend: {{service: {{name: {service}, port: {{number: 8080}}}}}}"
        )
    };
    let rule = |host: &str, paths: &[String]| {
        format!("  - host: {host}\n    http:\n      paths:{}\n", paths.concat())
    };
    let rules = [
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
    let compiled = Cluster::read_with_class(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: path-rules
spec:
  rules:
{}",
        rules.concat()
    ))
    .compile();
    assert_eq!(compiled.findings, []);
    assert_routes(
        &compiled,
        &[
            ("exact-path-rules", "/foo", Some("foo-exact:8080")),
            ("exact-path-rules", "/foo/", None),
            ("exact-path-rules", "/FOO", None),
            ("exact-path-rules", "/bar", None),
            ("prefix-path-rules", "/foo", Some("foo-prefix:8080")),
            ("prefix-path-rules", "/foo/", Some("foo-prefix:8080")),
            ("prefix-path-rules", "/FOO", None),
            ("prefix-path-rules", "/aaa/bbb", Some("aaa-slash-bbb-prefix:8080")),
            ("prefix-path-rules", "/aaa/bbb/ccc", Some("aaa-slash-bbb-prefix:8080")),
            ("prefix-path-rules", "/aaa/ccc", Some("aaa-prefix:8080")),
            ("prefix-path-rules", "/aaaccc", None),
            ("mixed-path-rules", "/foo", Some("foo-exact:8080")),
            ("trailing-slash-path-rules", "/aaa/bbb", Some("aaa-slash-bbb-slash-prefix:8080")),
            ("trailing-slash-path-rules", "/aaa/bbb/", Some("aaa-slash-bbb-slash-prefix:8080")),
            ("trailing-slash-path-rules", "/foo", None),
            ("trailing-slash-path-rules", "/foo/", Some("foo-slash-exact:8080")),
        ],
    );
}
