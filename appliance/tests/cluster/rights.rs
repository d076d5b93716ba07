//! What Sluice may do in a cluster: enough, and nothing that it can do without.

use crate::lab::ControlPlane;
use crate::watched::Watched;
use serde_json::{Value, json};
use sluice_config::{Config, Source};
use sluice_control::election::{Election, Options, Seat};
use sluice_control::kubernetes::{Access, Connection};
use sluice_control::object::Object;
use sluice_control::status::{self, Board, Facts, StatusConfig, node};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MANIFESTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../config/kubernetes/manifests/sluice.yaml");

/// How long everything may take to work; what does not by then, does not.
const PATIENCE: Duration = Duration::from_secs(25);

/// One verb less than what the manifests give.
#[derive(Clone, Debug)]
struct Removed {
    /// `ClusterRole` or `Role`.
    kind: &'static str,
    resource: String,
    verb: String,
}

/// The rules of the two roles, one resource and verb each.
fn rules(cluster: &ControlPlane) -> Vec<(&'static str, Value)> {
    let text = cluster.kubectl(&["create", "--dry-run=client", "-o", "json", "-f", MANIFESTS]);
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut rules = Vec::new();
    for document in documents.map(Result::unwrap) {
        let kind = match document["kind"].as_str().unwrap() {
            "ClusterRole" => "ClusterRole",
            "Role" => "Role",
            _ => continue,
        };
        for rule in document["rules"].as_array().unwrap() {
            for resource in rule["resources"].as_array().unwrap() {
                for verb in rule["verbs"].as_array().unwrap() {
                    let one = json!({
                        "apiGroups": rule["apiGroups"], "resources": [resource], "verbs": [verb],
                    });
                    rules.push((kind, one));
                }
            }
        }
    }
    rules
}

fn is(rule: &(&'static str, Value), removed: &Removed) -> bool {
    rule.0 == removed.kind
        && rule.1["resources"][0] == removed.resource.as_str()
        && rule.1["verbs"][0] == removed.verb.as_str()
}

/// Makes a namespace with an account that has all rights but one, and what
/// Sluice is to do with them; returns its kubeconfig.
fn account(
    cluster: &ControlPlane,
    id: usize,
    rules: &[(&'static str, Value)],
    removed: Option<&Removed>,
) -> PathBuf {
    let name = format!("r{id}");
    let left = |kind: &str| -> Vec<&Value> {
        let of_kind = rules.iter().filter(|rule| rule.0 == kind);
        of_kind
            .filter(|rule| removed.is_none_or(|removed| !is(rule, removed)))
            .map(|rule| &rule.1)
            .collect()
    };
    let rbac = "rbac.authorization.k8s.io";
    let subjects = json!([{"kind": "ServiceAccount", "name": "sluice", "namespace": name}]);
    let meta = json!({"name": "sluice", "namespace": name});
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole",
               "metadata": {"name": name}, "rules": left("ClusterRole")}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding",
               "metadata": {"name": name}, "subjects": subjects,
               "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name}}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": meta,
               "rules": left("Role")}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": meta,
               "subjects": subjects,
               "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "sluice"}}),
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}),
        json!({"apiVersion": "v1", "kind": "Service",
               "metadata": {"name": "lb", "namespace": name},
               "spec": {"type": "LoadBalancer", "loadBalancerClass": format!("sluice.dev/{name}"),
                        "ports": [{"port": 80}]}}),
    ];
    let text: Vec<String> = objects.iter().map(Value::to_string).collect();
    cluster.apply(&text.join("\n---\n"));
    let path = cluster.folder.join(format!("kubeconfig-{name}"));
    cluster.kubeconfig_of(&name, "sluice", &path);
    path
}

fn config(id: usize, kubeconfig: &Path) -> Config {
    let text = format!(
        "node_name: r{id}\n\
         ports: [{{name: a, device: b, addresses: [192.0.2.1/24]}}]\n\
         overlay: {{vxlan: {{vni: 1, port: a, addresses: [192.0.2.1]}}}}\n\
         snat: {{addresses: [10.0.0.0/28]}}\n\
         load_balancer:\n  class: sluice.dev/r{id}\n  pools: [{{name: p, addresses: [203.0.113.{id}]}}]\n\
         announce: {{leases: {{namespace: r{id}}}}}\n\
         source: {{kubernetes: {{kubeconfig: {}}}}}\n",
        kubeconfig.display()
    );
    sluice_config::parse("rights.yaml", &text).unwrap_or_else(|error| panic!("{error}")).config
}

/// Says, as control does, that what is to be announced is live.
fn confirm(seat: &Seat) {
    let (number, _) = seat.order();
    seat.live(number);
}

/// Does everything that Sluice does with the API, until it works or time is
/// over; returns what does not.
fn what_does_not_work(cluster: &ControlPlane, id: usize, kubeconfig: &Path) -> Vec<String> {
    let config = config(id, kubeconfig);
    let Source::Kubernetes(kubernetes) = &config.source else { panic!("another source") };
    let access = Access::new(kubernetes, &[]);
    let name = format!("r{id}");
    let election = Election {
        access: access.clone(),
        namespace: Some(name.clone()),
        options: Options {
            node: name.clone(),
            groups: 4,
            duration: Duration::from_secs(2),
            renew: Duration::from_millis(500),
        },
    };
    let (elector, seat): (_, Seat) = election.start().unwrap();
    seat.ready();
    let board = Board::default();
    status::start(
        access.clone(),
        &name,
        StatusConfig::of(&config),
        board.clone(),
        elector.leader(),
    )
    .unwrap();
    let facts = node::Facts::new(&config, &name).expect("something to say");
    let annotating = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = async {
            let connection = Connection::open(access, None).await;
            node::run(connection.client(), facts).await;
        };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, run).await.map_or((), drop) });
    });
    let mut watched = Watched::with(kubernetes);
    let service = format!("Service {name}/lb");
    let deadline = Instant::now() + PATIENCE;
    let mut wrong;
    let mut told = None;
    loop {
        watched.comes(Duration::from_millis(500), |_| false);
        if let Some(Object::Service(object)) = watched.objects.get(&service)
            && told.as_ref() != Some(object)
        {
            told = Some(object.clone());
            let key = watched.objects[&service].key();
            board.service(&key.to_name(), Facts::of(object));
        }
        confirm(&seat);
        if watched.is_synced {
            board.synced();
        }
        wrong = Vec::new();
        let view = watched.health.view();
        let kinds = view.kinds.iter().filter(|(_, kind)| !kind.complete || !kind.connected);
        wrong.extend(kinds.map(|(kind, _)| format!("{kind} is not watched")));
        if elector.view().held.len() != 4 {
            wrong.push("no groups are held".to_owned());
        }
        let get = |what: &[&str]| cluster.kubectl(&[&["-n", &name, "get"], what].concat());
        if !get(&["service", "lb", "-o", "json"]).contains(&format!("203.0.113.{id}")) {
            wrong.push("the address is not written".to_owned());
        }
        if !get(&["events", "-o", "json"]).contains("AddressAllocated") {
            wrong.push("no Event".to_owned());
        }
        if !get(&["node", &name, "-o", "json"]).contains("sluice.dev/vtep-address") {
            wrong.push("the Node is not annotated".to_owned());
        }
        if wrong.is_empty() || Instant::now() > deadline {
            break;
        }
    }
    board.close();
    // Held groups are given up, which is a right too.
    let is_left = std::thread::scope(|scope| {
        let leaving = scope.spawn(|| elector.leave(Duration::from_secs(5)));
        while !leaving.is_finished() {
            confirm(&seat);
            std::thread::sleep(Duration::from_millis(10));
        }
        leaving.join().unwrap()
    });
    if wrong.is_empty() && !is_left {
        wrong.push("the groups are not given up".to_owned());
    }
    drop(watched);
    drop(elector);
    annotating.join().unwrap();
    wrong
}

/// Every right is needed on one server or the other: one that streams lists, or
/// one that does not.
#[test]
fn no_right_can_be_done_without() {
    let mut needed: Vec<(Removed, Vec<String>)> = Vec::new();
    for flags in [vec![], vec!["--feature-gates=WatchList=false"]] {
        let cluster = ControlPlane::up(&flags);
        let rules = rules(&cluster);
        let all: Vec<Removed> = rules
            .iter()
            .map(|(kind, rule)| Removed {
                kind,
                resource: rule["resources"][0].as_str().unwrap().to_owned(),
                verb: rule["verbs"][0].as_str().unwrap().to_owned(),
            })
            .collect();
        assert!(all.len() >= 15, "{all:?}");
        let kubeconfig = account(&cluster, 1, &rules, None);
        let wrong = what_does_not_work(&cluster, 1, &kubeconfig);
        assert!(wrong.is_empty(), "with all rights, {flags:?}: {wrong:?}");
        // What is known to be needed need not be tried again.
        let open: Vec<&Removed> = all
            .iter()
            .filter(|removed| {
                needed.iter().all(|(known, _)| {
                    (known.kind, &known.resource, &known.verb)
                        != (removed.kind, &removed.resource, &removed.verb)
                })
            })
            .collect();
        for (chunk, some) in open.chunks(8).enumerate() {
            std::thread::scope(|scope| {
                let tries: Vec<_> = some
                    .iter()
                    .enumerate()
                    .map(|(index, removed)| {
                        let (cluster, rules) = (&cluster, &rules);
                        scope.spawn(move || {
                            let id = 10 + chunk * 8 + index;
                            let kubeconfig = account(cluster, id, rules, Some(removed));
                            what_does_not_work(cluster, id, &kubeconfig)
                        })
                    })
                    .collect();
                for (removed, tried) in some.iter().zip(tries) {
                    let wrong = tried.join().unwrap();
                    if !wrong.is_empty() {
                        needed.push(((*removed).clone(), wrong));
                    }
                }
            });
        }
        if needed.len() == all.len() {
            break;
        }
        if !flags.is_empty() {
            let mut text = String::new();
            for (removed, wrong) in &needed {
                let _ = writeln!(text, "{removed:?}: {wrong:?}");
            }
            let spare: Vec<_> = all
                .iter()
                .filter(|removed| {
                    !needed.iter().any(|(known, _)| {
                        (known.kind, &known.resource, &known.verb)
                            == (removed.kind, &removed.resource, &removed.verb)
                    })
                })
                .collect();
            panic!("nothing misses {spare:?}; needed are\n{text}");
        }
    }
}
