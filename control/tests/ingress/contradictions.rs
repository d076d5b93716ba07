//! Ingresses that want the same.

use super::*;
use sluice_control::Severity;
use sluice_tables::http_routes::Host;

fn ingress(name: &str, created: &str, spec: &str) -> String {
    let created = match created {
        "" => String::new(),
        created => format!("\n  creationTimestamp: {created}-01-01T00:00:00Z"),
    };
    let (namespace, name) = name.split_once('/').unwrap();
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  namespace: {namespace}
  name: {name}{created}
spec:{spec}
---"
    )
}

/// A rule of one path.
fn rule(host: &str, path: &str, service: &str) -> String {
    format!(
        "
  - host: {host:?}
    http:
      paths:
      - path: {path}
        pathType: Prefix
        backend: {{service: {{name: {service}, port: {{number: 80}}}}}}"
    )
}

fn rules(rules: &[String]) -> String {
    format!("\n  rules:{}", rules.concat())
}

fn default_backend(service: &str) -> String {
    format!("\n  defaultBackend: {{service: {{name: {service}, port: {{number: 80}}}}}}")
}

#[test]
fn the_older_one_has_a_path_then_the_first_by_name() {
    let with = |ages: [(&str, &str); 2]| {
        let [one, other] = ages.map(|(name, age)| {
            ingress(name, age, &rules(&[rule("a.example", "/x", name.split_once('/').unwrap().1)]))
        });
        let compiled = Cluster::read_with_class(&format!("{one}{other}")).compile();
        let at: Vec<_> = compiled.findings.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!((at.len(), compiled.targets().len()), (1, 1));
        assert_eq!(compiled.findings[0].1.severity, Severity::Error);
        (backend(&compiled, "a.example", "/x").unwrap(), at[0].clone())
    };
    for (ages, has, lacks) in [
        ([("a/one", "2025"), ("a/two", "2024")], "two:80", "a/one"),
        ([("a/one", "2024"), ("a/two", "2025")], "one:80", "a/two"),
        ([("a/one", "2024"), ("a/two", "2024")], "one:80", "a/two"),
        ([("b/one", "2024"), ("a/two", "2024")], "two:80", "b/one"),
        ([("a/one", ""), ("a/two", "2024")], "two:80", "a/one"),
        ([("a/one", ""), ("a/two", "")], "one:80", "a/two"),
    ] {
        assert_eq!(with(ages), (has.to_owned(), lacks.to_owned()), "{ages:?}");
    }
}

#[test]
fn the_other_one_is_named() {
    let compiled = Cluster::read_with_class(&format!(
        "{}{}",
        ingress(
            "shop/old",
            "2024",
            &rules(&[rule("b.example", "/", "x"), rule("*.a.example", "/x/", "x")])
        ),
        ingress(
            "blog/new",
            "2025",
            &rules(&[rule("*.a.example", "/x", "w"), rule("*.a.example", "/y", "w")])
        ),
    ))
    .compile();
    let expected = "blog/new: spec.rules[0].http.paths[0].path: /x of *.a.example is at \
                    spec.rules[1].http.paths[0] of Ingress shop/old, which is older or first by name";
    assert_eq!(said(&compiled.findings), [expected]);
    // The rest of it is in force.
    assert_routes(
        &compiled,
        &[("w.a.example", "/x", Some("x:80")), ("w.a.example", "/y", Some("w:80"))],
    );
}

#[test]
fn an_ingress_that_contradicts_itself_is_told_so() {
    let same = [rule("a.example", "/x", "x"), rule("a.example", "/x/", "x")];
    let other = [rule("a.example", "/x", "x"), rule("a.example", "/x/", "w")];
    let of = |all: &[String]| {
        let compiled = Cluster::read_with_class(&ingress("a/one", "2024", &rules(all))).compile();
        assert_routes(&compiled, &[("a.example", "/x/", Some("x:80"))]);
        said(&compiled.findings)
    };
    assert!(of(&same).is_empty());
    let expected = "a/one: spec.rules[1].http.paths[0].path: /x of a.example is at \
                    spec.rules[0].http.paths[0] of this Ingress";
    assert_eq!(of(&other), [expected]);
}

#[test]
fn a_default_backend_is_for_the_hosts_of_its_ingress_and_the_oldest_for_all() {
    let with = |name, age, service, host| {
        let spec = rules(&[rule(host, "/x", "path")]) + &default_backend(service);
        ingress(name, age, &spec)
    };
    let compiled = Cluster::read_with_class(&format!(
        "{}{}{}",
        with("a/new", "2025", "new", "new.example"),
        with("a/old", "2024", "old", "old.example"),
        ingress("a/rest", "2026", &default_backend("rest")),
    ))
    .compile();
    assert_routes(
        &compiled,
        &[
            ("new.example", "/x", Some("path:80")),
            ("new.example", "/y", Some("new:80")),
            ("old.example", "/y", Some("old:80")),
            ("other.example", "/y", Some("old:80")),
        ],
    );
    let said: Vec<_> =
        compiled.findings.iter().map(|(name, of)| (name.to_string(), of.severity)).collect();
    let expected = [("a/new".to_owned(), Severity::Warning), ("a/rest".into(), Severity::Error)];
    assert_eq!(said, expected);
    assert!(compiled.findings[0].1.message.contains("all hosts"), "{:?}", compiled.findings);
}

#[test]
fn a_rule_for_all_leaves_nothing_to_a_default_backend_however_old() {
    let compiled = Cluster::read_with_class(&format!(
        "{}{}",
        ingress("a/old", "2024", &default_backend("rest")),
        ingress("a/new", "2025", &rules(&[rule("", "/", "all")])),
    ))
    .compile();
    assert_routes(&compiled, &[("a.example", "/", Some("all:80"))]);
    assert_eq!(compiled.findings, []);
}

#[test]
fn a_resource_as_backend_takes_its_requests_and_answers_none() {
    let spec = "
  defaultBackend: {service: {name: rest, port: {number: 80}}}
  rules:
  - http:
      paths:
      - path: /static
        pathType: Prefix
        backend: {resource: {apiGroup: a.example, kind: Bucket, name: static}}";
    let cluster = Cluster::read_with_class(&ingress("a/one", "2024", spec));
    let compiled = cluster.compile();
    let cases = [("a", "/static/x", Some("unsupported")), ("a", "/", Some("rest:80"))];
    assert_routes(&compiled, &cases);
    assert_eq!(compiled.findings.len(), 1);
}

#[test]
fn a_host_has_one_certificate() {
    let tls = |all: &[(&str, &str)]| {
        let all = all
            .iter()
            .map(|(hosts, secret)| format!("\n  - {{hosts: [{hosts}], secretName: {secret}}}"));
        format!("\n  tls:{}", all.collect::<String>())
    };
    let of_rule = rules(&[rule("c.example", "/", "x")]);
    let compiled = Cluster::read_with_class(&format!(
        "{}{}{}",
        ingress(
            "s/old",
            "2024",
            &(default_backend("x")
                + &tls(&[("a.example, \"*.b.example\"", "one"), ("a.example", "one")]))
        ),
        ingress("s/mid", "2025", &(of_rule + &tls(&[("", "two")]))),
        ingress(
            "s/new",
            "2026",
            &(rules(&[rule("d.example", "/", "x")]) + &tls(&[("c.example, a.example", "one")]))
        ),
    ))
    .compile();
    let certificates = compiled.certificates.iter().map(|of| {
        (of.host.clone(), of.secret.as_ref().unwrap().to_string(), of.ingress.to_string())
    });
    let of = |host, secret: &str, ingress: &str| (host, secret.to_owned(), ingress.to_owned());
    let expected = [
        of(Host::Exact("a.example".into()), "s/one", "s/old"),
        of(Host::OneLabel(".b.example".into()), "s/one", "s/old"),
        of(Host::Exact("c.example".into()), "s/two", "s/mid"),
    ];
    assert_eq!(certificates.collect::<Vec<_>>(), expected);
    let expected = "s/new: spec.tls[0].hosts[0]: c.example has the certificate of Ingress s/mid, \
                    which is older or first by name";
    assert_eq!(said(&compiled.findings), [expected]);
}

#[test]
fn so_much_is_said_about_one_ingress() {
    let all: Vec<_> = (0..100).map(|n| rule("a.example", &format!("/{n}"), "x")).collect();
    let [one, other] = ["a/one", "a/two"].map(|name| ingress(name, "", &rules(&all)));
    let compiled = Cluster::read_with_class(&format!("{one}{other}")).compile();
    assert_eq!((compiled.findings.len(), compiled.targets().len()), (32, 100));
}

/// The others go on.
#[test]
fn patterns_that_are_too_large_together_are_left_out() {
    let pattern = |host: &str, path: &str, service: &str| {
        rule(host, path, service).replace("Prefix", "ImplementationSpecific")
    };
    let with = |name, age, all: &[String]| {
        let regex = "metadata:\n  annotations: {nginx.ingress.kubernetes.io/use-regex: \"true\"}";
        ingress(name, age, &rules(all)).replace("metadata:", regex)
    };
    let large = |number: usize| format!("/{number}/\\pL{{20}}");
    let many: Vec<_> = (0..40).map(|n| pattern("a.example", &large(n), "large")).collect();
    let cluster = Cluster::read_with_class(&format!(
        "{}{}{}",
        with("a/old", "2024", &[pattern("a.example", "/old.*", "old")]),
        with("a/new", "2025", &many),
        with("a/b", "2026", &[pattern("b.example", "/b.*", "b"), rule("a.example", "/c", "c")]),
    ));
    assert!(cluster.ingresses.values().all(|ingress| ingress.findings.is_empty()));
    let compiled = cluster.compile();
    let letters = "x".repeat(20);
    assert_routes(
        &compiled,
        &[
            ("a.example", "/old1", Some("old:80")),
            ("a.example", &format!("/0/{letters}"), Some("large:80")),
            ("a.example", &format!("/39/{letters}"), None),
            ("a.example", "/c", Some("c:80")),
            ("b.example", "/b1", Some("b:80")),
        ],
    );
    let left_out = compiled.findings.len();
    assert!((1..40).contains(&left_out), "{left_out}");
    assert_eq!(compiled.targets().len(), 43 - left_out);
    assert!(compiled.findings.iter().all(|(name, _)| *name == Name::new("a", "new")));
    let last = &compiled.findings[left_out - 1].1;
    assert_eq!(last.path, "spec.rules[39].http.paths[0].path");
}
