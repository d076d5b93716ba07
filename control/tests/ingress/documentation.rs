//! The tables of Kubernetes' documentation
//! (kubernetes.io/docs/concepts/services-networking/ingress).

use super::*;

/// An Ingress of one host, by paths such as `Prefix /foo`, each with a Service named by
/// its number.
fn ingress(host: &str, paths: &[&str]) -> String {
    let paths = paths.iter().enumerate().map(|(number, path)| {
        let (kind, path) = path.split_once(' ').unwrap();
        format!(
            "
      - path: {path}
        pathType: {kind}
        backend: {{service: {{name: s{number}, port: {{number: 80}}}}}}"
        )
    });
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
spec:
  rules:
  - host: {host:?}
    http:
      paths:{}
",
        paths.collect::<String>()
    )
}

/// "Path types", "Examples": paths, the path of a request, and which path takes it.
#[test]
fn path_types() {
    for (paths, request, expected) in [
        (&["Prefix /"] as &[_], "/all/paths", Some(0)),
        (&["Exact /foo"], "/foo", Some(0)),
        (&["Exact /foo"], "/bar", None),
        (&["Exact /foo"], "/foo/", None),
        (&["Exact /foo/"], "/foo", None),
        (&["Prefix /foo"], "/foo", Some(0)),
        (&["Prefix /foo"], "/foo/", Some(0)),
        (&["Prefix /foo/"], "/foo", Some(0)),
        (&["Prefix /foo/"], "/foo/", Some(0)),
        (&["Prefix /aaa/bb"], "/aaa/bbb", None),
        (&["Prefix /aaa/bbb"], "/aaa/bbb", Some(0)),
        (&["Prefix /aaa/bbb/"], "/aaa/bbb", Some(0)),
        (&["Prefix /aaa/bbb"], "/aaa/bbb/", Some(0)),
        (&["Prefix /aaa/bbb"], "/aaa/bbb/ccc", Some(0)),
        (&["Prefix /aaa/bbb"], "/aaa/bbbxyz", None),
        (&["Prefix /", "Prefix /aaa"], "/aaa/ccc", Some(1)),
        (&["Prefix /", "Prefix /aaa", "Prefix /aaa/bbb"], "/aaa/bbb", Some(2)),
        (&["Prefix /", "Prefix /aaa", "Prefix /aaa/bbb"], "/ccc", Some(0)),
        (&["Prefix /aaa"], "/ccc", None),
        (&["Prefix /foo", "Exact /foo"], "/foo", Some(1)),
        // ImplementationSpecific is as Prefix here.
        (&["ImplementationSpecific /foo"], "/foo/bar", Some(0)),
        (&["ImplementationSpecific /foo"], "/foobar", None),
    ] {
        let compiled = Cluster::read_with_class(&ingress("", paths)).compile();
        let expected = expected.map(|number: usize| format!("s{number}:80"));
        assert_eq!(backend(&compiled, "a.example", request), expected, "{paths:?} {request}");
    }
}

/// The longest path is first, and of the same length an exact one.
#[test]
fn multiple_matches() {
    let paths = ["Prefix /a", "Prefix /a/b/", "Exact /a/b", "Exact /a", "Prefix /a/b/c"];
    let compiled = Cluster::read_with_class(&ingress("a.example", &paths)).compile();
    assert_routes(
        &compiled,
        &[
            ("a.example", "/a", Some("s3:80")),
            ("a.example", "/a/", Some("s0:80")),
            ("a.example", "/a/b", Some("s2:80")),
            ("a.example", "/a/b/", Some("s1:80")),
            ("a.example", "/a/b/c/d", Some("s4:80")),
            ("a.example", "/a/bc", Some("s0:80")),
        ],
    );
}

/// "Hostname wildcards".
#[test]
fn wildcards() {
    for (host, request, is_for) in [
        ("*.foo.com", "bar.foo.com", true),
        ("*.foo.com", "baz.bar.foo.com", false),
        ("*.foo.com", "foo.com", false),
        ("foo.bar.com", "foo.bar.com", true),
        ("foo.bar.com", "bar.com", false),
        ("", "anything", true),
    ] {
        let compiled = Cluster::read_with_class(&ingress(host, &["Prefix /"])).compile();
        assert_eq!(backend(&compiled, request, "/").is_some(), is_for, "{host} {request}");
    }
}

/// "DefaultBackend": what no host and no path is for; a rule without paths is for it.
#[test]
fn default_backends() {
    let compiled = Cluster::read_with_class(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
spec:
  defaultBackend: {service: {name: rest, port: {number: 80}}}
  rules:
  - host: a.example
    http:
      paths:
      - {path: /a, pathType: Prefix, backend: {service: {name: a, port: {number: 80}}}}
  - host: b.example
",
    )
    .compile();
    assert_routes(
        &compiled,
        &[
            ("a.example", "/a", Some("a:80")),
            ("a.example", "/b", Some("rest:80")),
            ("b.example", "/a", Some("rest:80")),
            ("c.example", "/a", Some("rest:80")),
            ("", "/", Some("rest:80")),
        ],
    );
    assert_eq!(compiled.findings, []);
}
