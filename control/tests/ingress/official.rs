//! The scenarios of the official suite of Ingress (kubernetes-sigs/ingress-controller-conformance,
//! `features`): these tests hold them against routes, the appliance's against what pods see.

/// An Ingress, and what is answered where there is no other.
pub struct Scenario {
    pub name: &'static str,
    pub spec: &'static str,
    /// URLs, and the Service and port that answer them; `None`: nobody.
    pub answers: &'static [(&'static str, Option<&'static str>)],
}

impl Scenario {
    /// Its Ingress, with `more` in the metadata.
    pub fn manifest(&self, more: &str) -> String {
        let Scenario { name, spec, .. } = self;
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
             metadata:\n  name: {name}\n{more}spec:\n{spec}"
        )
    }
}

pub const DEFAULT_BACKEND: Scenario = Scenario {
    name: "default-backend",
    spec: "  ingressClassName: sluice
  defaultBackend: {service: {name: echo-service, port: {number: 8080}}}
",
    answers: &[
        ("my-host/", Some("echo-service:8080")),
        ("my-host/sub-path", Some("echo-service:8080")),
        ("my-host/resource", Some("echo-service:8080")),
        ("some-host/", Some("echo-service:8080")),
        ("some-host/sub-path", Some("echo-service:8080")),
        ("some-host/resource", Some("echo-service:8080")),
    ],
};

pub const HOST_RULES: Scenario = Scenario {
    name: "host-rules",
    spec: r#"  ingressClassName: sluice
  tls: [{hosts: [foo.bar.com], secretName: conformance-tls}]
  rules:
  - host: "*.foo.com"
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: wildcard-foo-com, port: {number: 8080}}}}
  - host: foo.bar.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: foo-bar-com, port: {name: http}}}}
"#,
    answers: &[
        ("foo.bar.com/", Some("foo-bar-com:http")),
        ("subdomain.bar.com/", None),
        ("bar.foo.com/", Some("wildcard-foo-com:8080")),
        ("baz.bar.foo.com/", None),
        ("foo.com/", None),
    ],
};

pub const PATH_RULES: Scenario = Scenario {
    name: "path-rules",
    spec: "  ingressClassName: sluice
  rules:
  - host: exact-path-rules
    http:
      paths:
      - {path: /foo, pathType: Exact, backend: {service: {name: foo-exact, port: {number: 8080}}}}
  - host: prefix-path-rules
    http:
      paths:
      - {path: /foo, pathType: Prefix, backend: {service: {name: foo-prefix, port: {number: 8080}}}}
      - {path: /aaa/bbb, pathType: Prefix, backend: {service: {name: aaa-slash-bbb-prefix, port: {number: 8080}}}}
      - {path: /aaa, pathType: Prefix, backend: {service: {name: aaa-prefix, port: {number: 8080}}}}
  - host: mixed-path-rules
    http:
      paths:
      - {path: /foo, pathType: Prefix, backend: {service: {name: foo-prefix, port: {number: 8080}}}}
      - {path: /foo, pathType: Exact, backend: {service: {name: foo-exact, port: {number: 8080}}}}
  - host: trailing-slash-path-rules
    http:
      paths:
      - {path: /aaa/bbb/, pathType: Prefix, backend: {service: {name: aaa-slash-bbb-slash-prefix, port: {number: 8080}}}}
      - {path: /foo/, pathType: Exact, backend: {service: {name: foo-slash-exact, port: {number: 8080}}}}
",
    answers: &[
        ("exact-path-rules/foo", Some("foo-exact:8080")),
        ("exact-path-rules/foo/", None),
        ("exact-path-rules/FOO", None),
        ("exact-path-rules/bar", None),
        ("prefix-path-rules/foo", Some("foo-prefix:8080")),
        ("prefix-path-rules/foo/", Some("foo-prefix:8080")),
        ("prefix-path-rules/FOO", None),
        ("prefix-path-rules/aaa/bbb", Some("aaa-slash-bbb-prefix:8080")),
        ("prefix-path-rules/aaa/bbb/ccc", Some("aaa-slash-bbb-prefix:8080")),
        ("prefix-path-rules/aaa/ccc", Some("aaa-prefix:8080")),
        ("prefix-path-rules/aaaccc", None),
        ("mixed-path-rules/foo", Some("foo-exact:8080")),
        ("trailing-slash-path-rules/aaa/bbb", Some("aaa-slash-bbb-slash-prefix:8080")),
        ("trailing-slash-path-rules/aaa/bbb/", Some("aaa-slash-bbb-slash-prefix:8080")),
        ("trailing-slash-path-rules/foo", None),
        ("trailing-slash-path-rules/foo/", Some("foo-slash-exact:8080")),
    ],
};

pub const INGRESS_CLASS: Scenario = Scenario {
    name: "test-ingress-class",
    spec: "  ingressClassName: some-invalid-class-name
  rules:
  - host: ingress-class
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: ingress-class-prefix, port: {number: 8080}}}}
",
    answers: &[("ingress-class/", None)],
};
