//! Random Ingresses against a reference that looks at all rules for each request.

use super::*;
use serde_json::json;
use sluice_control::compile::ingress::Place;
use std::cmp::Reverse;

/// Random clusters, and requests of each.
const CLUSTERS: u64 = 1500;
const REQUESTS: usize = 40;

fn pick<'a>(random: &mut fastrand::Rng, some: &[&'a str]) -> &'a str {
    some[random.usize(0..some.len())]
}

fn host_of(random: &mut fastrand::Rng) -> String {
    let labels: Vec<_> = (0..random.usize(1..4)).map(|_| pick(random, &["a", "b"])).collect();
    labels.join(".")
}

fn path_of(random: &mut fastrand::Rng) -> String {
    let elements = (0..random.usize(0..4)).map(|_| pick(random, &["a", "b", "ab"]));
    let path = elements.fold(String::new(), |path, element| path + "/" + element);
    match random.u8(0..3) {
        _ if path.is_empty() => "/".to_owned(),
        0 => path + "/",
        _ => path,
    }
}

fn ingress_of(random: &mut fastrand::Rng, number: usize) -> Value {
    let is_regex = random.u8(0..4) == 0;
    let backend = |service: String| json!({"service": {"name": service, "port": {"number": 80}}});
    let rules: Vec<_> = (0..random.usize(0..4))
        .map(|rule| {
            let host = match random.u8(0..4) {
                0 => String::new(),
                1 => format!("*.{}", host_of(random)),
                _ => host_of(random),
            };
            let paths: Vec<_> = (0..random.usize(1..4))
                .map(|path| {
                    let kind = pick(random, &["Exact", "Prefix", "ImplementationSpecific"]);
                    let text = match kind {
                        "ImplementationSpecific" if is_regex => {
                            pick(random, &["/a", "/(a|b)/", "/[^/]*$", "/a/.*b", "/A."]).to_owned()
                        }
                        "ImplementationSpecific" if random.u8(0..4) == 0 => String::new(),
                        _ => path_of(random),
                    };
                    let service = format!("s{number}-{rule}-{path}");
                    json!({"path": text, "pathType": kind, "backend": backend(service)})
                })
                .collect();
            match random.u8(0..8) {
                0 => json!({"host": host}),
                _ => json!({"host": host, "http": {"paths": paths}}),
            }
        })
        .collect();
    let mut ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": format!("i{number}"), "namespace": pick(random, &["x", "y"]),
            "annotations": {"note": "x"},
        },
        "spec": {"rules": rules},
    });
    if random.u8(0..4) > 0 {
        let created = format!("202{}-01-01T00:00:00Z", random.u8(0..3));
        ingress["metadata"]["creationTimestamp"] = created.into();
    }
    if rules.is_empty() || random.u8(0..5) == 0 {
        ingress["spec"]["defaultBackend"] = backend(format!("s{number}-default"));
    }
    if is_regex {
        let key = "nginx.ingress.kubernetes.io/use-regex";
        ingress["metadata"]["annotations"][key] = "true".into();
    }
    match random.u8(0..8) {
        0 => ingress["spec"]["ingressClassName"] = pick(random, &["ours", "other", "none"]).into(),
        1 => {
            let class = pick(random, &["ours", "other", "none"]);
            ingress["metadata"]["annotations"]["kubernetes.io/ingress.class"] = class.into();
        }
        _ => {}
    }
    ingress
}

fn class_of(name: &str, controller: &str, is_default: bool) -> Value {
    let annotations =
        json!({"ingressclass.kubernetes.io/is-default-class": is_default.to_string()});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"controller": controller},
    })
}

fn is_ours(ingress: &Value, default: &str) -> bool {
    let annotation = ingress["metadata"]["annotations"]["kubernetes.io/ingress.class"].as_str();
    ingress["spec"]["ingressClassName"].as_str().or(annotation).unwrap_or(default) == "ours"
}

/// How specific a host is for that of a request, if it is for it.
fn host_rank(host: &str, request: &str) -> Option<(u8, usize)> {
    let labels = |name: &str| name.split('.').map(str::to_owned).collect::<Vec<_>>();
    match host.strip_prefix("*.") {
        None if host.is_empty() => Some((0, 0)),
        None => (host == request).then_some((2, 0)),
        Some(rest) => (labels(request)[1..] == labels(rest)).then_some((1, rest.len())),
    }
}

/// How specific a path is for that of a request, if it is for it.
fn path_rank(kind: &str, path: &str, is_regex: bool, request: &str) -> Option<(u8, usize, bool)> {
    let elements = |path: &str| -> Vec<String> {
        path.split('/').filter(|element| !element.is_empty()).map(str::to_owned).collect()
    };
    match kind {
        "Exact" => (path == request).then_some((2, 0, false)),
        "ImplementationSpecific" if is_regex && !path.is_empty() => {
            let regex = regex::Regex::new(&format!("^({})", path.to_lowercase())).unwrap();
            regex.is_match(request).then_some((1, path.len(), false))
        }
        _ => {
            let is_prefix = elements(request).starts_with(&elements(path));
            is_prefix.then(|| (1, path.trim_end_matches('/').len(), true))
        }
    }
}

/// The Service that a request goes to, and all that would take it.
fn reference(ingresses: &[Value], default: &str, host: &str, path: &str) -> Option<String> {
    let mut all = Vec::new();
    for ingress in ingresses.iter().filter(|ingress| is_ours(ingress, default)) {
        let (metadata, spec) = (&ingress["metadata"], &ingress["spec"]);
        // Texts of the same form: the older is the less.
        let created = metadata["creationTimestamp"].as_str().unwrap_or("9");
        let text = |of: &Value| of.as_str().unwrap().to_owned();
        let age = (created.to_owned(), text(&metadata["namespace"]), text(&metadata["name"]));
        let is_regex = metadata["annotations"]["nginx.ingress.kubernetes.io/use-regex"] == "true";
        let rest = spec.get("defaultBackend").map(|of| text(&of["service"]["name"]));
        let none = Vec::new();
        let rules = spec["rules"].as_array().unwrap_or(&none);
        let hosts = rules.iter().map(|rule| text(&rule["host"])).chain([String::new()]);
        for of in hosts.filter_map(|of| host_rank(&of, host)) {
            let rank = (of, (0, 0, false), Reverse((age.clone(), 0, 0)));
            all.extend(rest.clone().map(|service| (rank, service)));
        }
        for (i, rule) in rules.iter().enumerate() {
            let Some(of_host) = host_rank(rule["host"].as_str().unwrap(), host) else { continue };
            for (j, one) in rule["http"]["paths"].as_array().unwrap_or(&none).iter().enumerate() {
                let kind = one["pathType"].as_str().unwrap();
                let of_path = path_rank(kind, one["path"].as_str().unwrap(), is_regex, path);
                let service = text(&one["backend"]["service"]["name"]);
                all.extend(
                    of_path.map(|of| ((of_host, of, Reverse((age.clone(), i, j))), service)),
                );
            }
        }
    }
    all.into_iter().max().map(|(_, service)| service)
}

#[test]
fn requests_go_where_the_documentation_says() {
    let (mut taken, mut contradictions) = (0, 0);
    for seed in 0..CLUSTERS {
        let random = &mut fastrand::Rng::with_seed(seed);
        let ingresses: Vec<_> =
            (0..random.usize(1..8)).map(|number| ingress_of(random, number)).collect();
        let default = pick(random, &["ours", "ours", "ours", "other"]);
        let mut cluster = Cluster::default();
        cluster.add(&class_of("ours", "sluice.dev/ingress", default == "ours"));
        cluster.add(&class_of("other", "other.example/x", default == "other"));
        ingresses.iter().for_each(|ingress| cluster.add(ingress));
        let compiled = cluster.compile();
        for _ in 0..REQUESTS {
            let (host, path) = (host_of(random), path_of(random));
            let expected = reference(&ingresses, default, &host, &path);
            let found = backend(&compiled, &host, &path);
            let found = found.as_deref().and_then(|found| found.strip_suffix(":80"));
            assert_eq!(found, expected.as_deref(), "seed {seed}: {host}{path}: {ingresses:#?}");
            taken += usize::from(expected.is_some());
        }
        contradictions += assert_told(&cluster, &compiled, seed);
    }
    let asked = CLUSTERS as usize * REQUESTS;
    assert!(taken > asked / 4 && taken < asked * 9 / 10, "{taken} of {asked}");
    assert!(contradictions > 100, "{contradictions}");
}

/// After each edit, all is as if it had been so from the beginning, and what is not touched
/// is as it was.
#[test]
fn edits_come_to_the_same_as_a_beginning() {
    for seed in 0..CLUSTERS / 5 {
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut cluster = Cluster::default();
        let mut of = Ingresses::default();
        for _ in 0..12 {
            let before: BTreeMap<_, _> =
                of.routes().map(|(id, route)| (id, route.clone())).collect();
            let mut changed = Vec::new();
            match random.u8(0..6) {
                0 => {
                    let is_default = random.bool();
                    cluster.add(&class_of("ours", "sluice.dev/ingress", is_default));
                    changed.extend(cluster.ingresses.keys().cloned());
                }
                1 => {
                    let names: Vec<_> = cluster.ingresses.keys().cloned().collect();
                    let gone = names.into_iter().filter(|_| random.u8(0..3) == 0);
                    for name in gone {
                        cluster.ingresses.remove(&name);
                        changed.push(name);
                    }
                }
                _ => {
                    let mut ingress = ingress_of(random, random.clone().usize(0..6));
                    let tls = json!([{"hosts": [host_of(random)], "secretName": "a"}]);
                    if random.bool() {
                        ingress["spec"]["tls"] = tls;
                    }
                    let metadata = &ingress["metadata"];
                    let text = |key: &str| metadata[key].as_str().unwrap();
                    changed.push(Name::new(text("namespace"), text("name")));
                    cluster.add(&ingress);
                }
            }
            let get = |name: &Name| cluster.ingresses.get(name).cloned();
            let touched = of.update(&cluster.classes, changed, get);
            let (edited, anew) = (cluster.compiled(&of), cluster.compile());
            assert_eq!(edited.findings, anew.findings, "seed {seed}");
            assert_eq!(edited.certificates, anew.certificates, "seed {seed}");
            assert_eq!(edited.targets.len(), anew.targets.len(), "seed {seed}");
            for _ in 0..REQUESTS / 4 {
                let (host, path) = (host_of(random), path_of(random));
                let (found, expected) = (route(&edited, &host, &path), route(&anew, &host, &path));
                assert_eq!(found, expected, "seed {seed}: {host}{path}");
            }
            let all = before.keys().chain(edited.targets.keys());
            for id in all.filter(|id| !touched.routes.contains(&id.0)) {
                assert!(Arc::ptr_eq(&before[id], &edited.targets[id]), "seed {seed}: {id:?}");
            }
        }
    }
}

/// Whatever is not in force has a finding, and nothing else has: how many there are.
fn assert_told(cluster: &Cluster, compiled: &Compiled, seed: u64) -> usize {
    let mut lacking = Vec::new();
    for (name, ingress) in &cluster.ingresses {
        assert_eq!(
            compiled.ingresses.contains(name),
            cluster.classes.is_ours(ingress, &mut Vec::new())
        );
        let all = ingress.rules.iter().flat_map(|rule| {
            let paths = rule.paths.iter().flatten();
            paths.map(|path| Place::Path { rule: rule.index, path: path.index })
        });
        let has = |place: &Place| {
            let mut routes = compiled.targets().into_iter();
            routes.any(|route| route.ingress == *name && route.place == *place)
        };
        if compiled.ingresses.contains(name) {
            let lacks = all.filter(|place| !has(place));
            lacking.extend(lacks.map(|place| (name.clone(), format!("{place}.path"))));
        }
    }
    let told = compiled.findings.iter().filter(|(_, of)| of.path.ends_with("].path"));
    let mut told: Vec<_> = told.map(|(name, of)| (name.clone(), of.path.clone())).collect();
    told.sort();
    lacking.sort();
    assert_eq!(told, lacking, "seed {seed}");
    told.len()
}
