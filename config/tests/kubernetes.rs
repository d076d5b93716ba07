//! What `kubernetes/` deploys: the manifests ask for no more than Sluice needs, their
//! configurations are valid, and alerts and dashboard name series that Sluice has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    let path = at(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects of a file of manifests.
fn objects(file: &str) -> Vec<Value> {
    let text = read(&format!("kubernetes/manifests/{file}"));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    objects.into_iter().filter(|object| !object.is_null()).collect()
}

/// The only object of a kind.
fn object<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let of_kind: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
    let [object] = of_kind[..] else { panic!("{} of {kind}", of_kind.len()) };
    object
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|item| item.as_str().expect("text")).collect()
}

#[test]
fn each_configuration_of_the_manifests_is_valid_and_its_nodes_own() {
    let objects = objects("sluice.yaml");
    let data = object(&objects, "ConfigMap")["data"].as_object().expect("data");
    assert!(!data.is_empty());
    for (file, text) in data {
        let loaded = sluice_config::parse(file, text.as_str().expect("text"));
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, [], "{file}");
        // The DaemonSet names the file by the node.
        let node = loaded.config.node_name.expect("a node");
        assert_eq!(*file, format!("{node}.yaml"));
    }
}

#[test]
fn the_pods_have_single_capabilities_and_no_privilege() {
    let objects = objects("sluice.yaml");
    let pod = &object(&objects, "DaemonSet")["spec"]["template"]["spec"];
    assert!(pod["hostPID"].is_null() && pod["hostIPC"].is_null());
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert!(pod["initContainers"].is_null());
    let [container] = &pod["containers"].as_array().expect("containers")[..] else {
        panic!("one container")
    };
    let context = &container["securityContext"];
    for (key, value) in [
        ("privileged", false),
        ("allowPrivilegeEscalation", false),
        ("readOnlyRootFilesystem", true),
    ] {
        assert_eq!(context[key], value, "{key}");
    }
    assert_eq!(strings(&context["capabilities"]["drop"]), ["ALL"]);
    // `appliance/tests/e2e/capabilities.rs` shows that each of these is needed.
    let added: BTreeSet<_> = strings(&context["capabilities"]["add"]).into_iter().collect();
    assert_eq!(added, ["BPF", "IPC_LOCK", "NET_ADMIN", "NET_RAW", "PERFMON"].into());
    let paths: Vec<_> = pod["volumes"].as_array().expect("volumes").iter().collect();
    let paths: Vec<_> =
        paths.iter().filter_map(|volume| volume["hostPath"]["path"].as_str()).collect();
    assert_eq!(paths, ["/var/lib/sluice"]);
}

#[test]
fn probes_and_metrics_are_where_the_configuration_serves_them() {
    let objects = objects("sluice.yaml");
    let container = &object(&objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0];
    let port = &container["ports"][0];
    let data = object(&objects, "ConfigMap")["data"].as_object().expect("data");
    for (file, text) in data {
        let loaded = sluice_config::parse(file, text.as_str().expect("text")).expect("valid");
        assert_eq!(port["containerPort"], loaded.config.metrics.listen.port());
    }
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        let get = &container[probe]["httpGet"];
        assert_eq!((&get["path"], &get["port"]), (&path.into(), &port["name"]), "{probe}");
    }
    let monitoring = self::objects("monitoring.yaml");
    let endpoint = &object(&monitoring, "PodMonitor")["spec"]["podMetricsEndpoints"][0];
    assert_eq!((&endpoint["port"], &endpoint["path"]), (&port["name"], &"/metrics".into()));
}

#[test]
fn roles_name_everything_that_they_allow() {
    let objects = objects("sluice.yaml");
    for kind in ["ClusterRole", "Role"] {
        for rule in object(&objects, kind)["rules"].as_array().expect("rules") {
            for key in ["apiGroups", "resources", "verbs"] {
                assert!(!strings(&rule[key]).contains(&"*"), "{rule}");
            }
            let resources = strings(&rule["resources"]);
            assert!(!resources.contains(&"secrets") && !resources.contains(&"pods/exec"), "{rule}");
        }
    }
    // What is written in all namespaces.
    let rules = object(&objects, "ClusterRole")["rules"].as_array().expect("rules");
    let mut written = BTreeSet::new();
    for rule in rules {
        for resource in strings(&rule["resources"]) {
            let verbs = strings(&rule["verbs"]).into_iter();
            let writes = verbs.filter(|verb| !["get", "list", "watch"].contains(verb));
            written.extend(writes.map(|verb| format!("{verb} {resource}")));
        }
    }
    let expected = ["create events", "patch events", "patch nodes", "patch services/status"];
    assert_eq!(written, expected.map(str::to_owned).into());
}

/// Names of Sluice's series in a text.
fn series(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !is_name(c)).filter(|word| word.starts_with("sluice_"));
    words.map(str::to_owned).collect()
}

/// The queries of alerts and dashboard.
fn queries() -> Vec<String> {
    let alerts: Value =
        serde_saphyr::from_str(&read("kubernetes/chart/files/alerts.yaml")).expect("YAML");
    let rules = alerts["groups"][0]["rules"].as_array().expect("rules").iter();
    let rules = rules.map(|rule| &rule["expr"]);
    let dashboard: Value =
        serde_json::from_str(&read("kubernetes/chart/files/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = rules.chain(targets.map(|target| &target["expr"]));
    queries.map(|query| query.as_str().expect("a query").to_owned()).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_series_that_there_are() {
    // `appliance/tests/e2e/views.rs` compares this table with a scrape.
    let readme = read("../appliance/README.md");
    let mut known = BTreeSet::new();
    for row in readme.lines().filter(|line| line.starts_with("| `sluice_")) {
        let cells: Vec<&str> = row.split('|').collect();
        for metric in series(cells[1]) {
            if cells[3].trim_start().starts_with("histogram") {
                known.extend(["bucket", "sum", "count"].map(|part| format!("{metric}_{part}")));
            }
            known.insert(metric);
        }
    }
    let asked: BTreeSet<String> = queries().iter().flat_map(|query| series(query)).collect();
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "not in the table of metrics: {unknown:?}");
}

#[test]
fn alerts_and_dashboard_ask_for_drop_reasons_that_there_are() {
    let readme = read("../README.md");
    let mut asked = 0;
    for query in queries() {
        let Some((_, rest)) = query.split_once("sluice_drops_total{") else { continue };
        let labels = rest.split_once('}').expect("labels").0;
        let Some((_, reasons)) = labels.split_once("reason=~\"") else { continue };
        for reason in reasons.split('"').next().expect("reasons").split('|') {
            assert!(readme.contains(&format!("\n| `{reason}` |")), "{reason} in {query}");
            asked += 1;
        }
    }
    assert!(asked > 10);
}

#[test]
fn the_dashboard_is_one_that_grafana_reads() {
    let dashboard: Value =
        serde_json::from_str(&read("kubernetes/chart/files/dashboard.json")).expect("JSON");
    assert_eq!(dashboard["schemaVersion"], 39);
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "node"]);
    let mut ids = BTreeSet::new();
    let mut places = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let of = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        let (x, y, w, h) = (of("x"), of("y"), of("w"), of("h"));
        assert!(x + w <= 24 && h > 0, "{panel}");
        for (x2, y2, w2, h2) in &places {
            let apart = x + w <= *x2 || x2 + w2 <= x || y + h <= *y2 || y2 + h2 <= y;
            assert!(apart, "lies over another: {panel}");
        }
        places.push((x, y, w, h));
        if panel["type"] == "row" {
            continue;
        }
        for target in panel["targets"].as_array().expect("targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
        assert!(!panel["description"].as_str().expect("a description").is_empty());
    }
}
