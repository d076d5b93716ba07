//! What Sluice may do in a cluster: enough, and nothing that it can do without.

use crate::lab::ControlPlane;
use crate::stage::{self, CALICO, CLUSTER_NETWORK_POLICIES, NAMESPACE};
use crate::watched::Watched;
use serde_json::{Value, json};
use sluice_config::{Config, OverlayMode, Source};
use sluice_control::SystemClock;
use sluice_control::election::{Election, Options, Seat};
use sluice_control::kubernetes::{Access, Connection};
use sluice_control::object::Object;
use sluice_control::source::kubernetes::Kubernetes;
use sluice_control::status::{self, Board, Facts, IngressFacts, NoticeKind, StatusConfig, node};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the Leases of nodes are.
const NODE_LEASES: &str = "kube-node-lease";

/// How long everything may take to work; what does not by then, does not.
const PATIENCE: Duration = Duration::from_secs(25);

/// After so long an Event that repeats is counted.
const REPEATED: Duration = Duration::from_secs(61);

/// Which role a rule is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Cluster,
    Own,
    NodeLeases,
}

/// One verb less than what the chart gives.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Removed {
    of: Of,
    resource: String,
    verb: String,
}

/// The rules of the roles, one resource and verb each.
fn rules(cluster: &ControlPlane) -> Vec<(Of, Value)> {
    let path = cluster.folder.join("rights.yaml");
    let l7 = "config.l7.ingress.addresses[0]=192.0.2.80";
    std::fs::write(&path, stage::rights_with("calico", &[l7])).unwrap();
    let path = path.display().to_string();
    let text = cluster.kubectl(&["create", "--dry-run=client", "-o", "json", "-f", &path]);
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut rules = Vec::new();
    for document in documents.map(Result::unwrap) {
        let namespace = document["metadata"]["namespace"].as_str();
        let of = match (document["kind"].as_str().unwrap(), namespace) {
            ("ClusterRole", _) => Of::Cluster,
            ("Role", Some(NAMESPACE)) => Of::Own,
            ("Role", Some(NODE_LEASES)) => Of::NodeLeases,
            ("Role", other) => panic!("a role in {other:?}"),
            _ => continue,
        };
        for rule in document["rules"].as_array().unwrap() {
            for resource in rule["resources"].as_array().unwrap() {
                for verb in rule["verbs"].as_array().unwrap() {
                    let one = json!({
                        "apiGroups": rule["apiGroups"], "resources": [resource], "verbs": [verb],
                    });
                    rules.push((of, one));
                }
            }
        }
    }
    rules
}

fn is(rule: &(Of, Value), removed: &Removed) -> bool {
    rule.0 == removed.of
        && rule.1["resources"][0] == removed.resource.as_str()
        && rule.1["verbs"][0] == removed.verb.as_str()
}

/// Makes a namespace with an account that has all rights but one, and what
/// Sluice is to do with them; returns its kubeconfig.
fn account(
    cluster: &ControlPlane,
    id: usize,
    rules: &[(Of, Value)],
    removed: Option<&Removed>,
) -> PathBuf {
    let name = format!("r{id}");
    let left = |of: Of| -> Vec<&Value> {
        let of_role = rules.iter().filter(|rule| rule.0 == of);
        of_role
            .filter(|rule| removed.is_none_or(|removed| !is(rule, removed)))
            .map(|rule| &rule.1)
            .collect()
    };
    let rbac = "rbac.authorization.k8s.io";
    let subjects = json!([{"kind": "ServiceAccount", "name": "sluice", "namespace": name}]);
    let meta = json!({"name": "sluice", "namespace": name});
    let role = |namespace: &str, of: Of| {
        let meta = json!({"name": name, "namespace": namespace});
        [
            json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": meta,
                   "rules": left(of)}),
            json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": meta,
                   "subjects": subjects,
                   "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name}}),
        ]
    };
    let [own, own_binding] = role(&name, Of::Own);
    let [leases, leases_binding] = role(NODE_LEASES, Of::NodeLeases);
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole",
               "metadata": {"name": name}, "rules": left(Of::Cluster)}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding",
               "metadata": {"name": name}, "subjects": subjects,
               "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name}}),
        own,
        own_binding,
        leases,
        leases_binding,
        // As another gateway that has given it up leaves it.
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
               "metadata": {"name": "sluice-vips-0", "namespace": name,
                            "labels": {"sluice.dev/lease": "vips"}},
               "spec": {"leaseDurationSeconds": 2}}),
        json!({"apiVersion": "v1", "kind": "Service",
               "metadata": {"name": "lb", "namespace": name},
               "spec": {"type": "LoadBalancer", "loadBalancerClass": format!("sluice.dev/{name}"),
                        "ports": [{"port": 80}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
               "metadata": {"name": "ing", "namespace": name},
               "spec": {"defaultBackend": {"service": {"name": "lb", "port": {"number": 80}}}}}),
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
         overlay: {{vxlan: {{mode: calico, port: a, addresses: [192.0.2.1]}}}}\n\
         node: {{register: true}}\n\
         snat: {{addresses: [10.0.0.0/28]}}\n\
         load_balancer:\n  class: sluice.dev/r{id}\n  pools: [{{name: p, addresses: [203.0.113.{id}]}}]\n\
         announce: {{leases: {{namespace: r{id}}}}}\n\
         l7: {{ingress: {{addresses: [198.51.100.{id}]}}}}\n\
         source: {{kubernetes: {{kubeconfig: {}}}}}\n",
        kubeconfig.display()
    );
    sluice_config::parse("rights.yaml", &text).unwrap_or_else(|error| panic!("{error}")).config
}

/// Says, as control does, that it is alive, and that what is to be announced is
/// live.
fn confirm(seat: &Seat) {
    seat.beat();
    let (number, _) = seat.order();
    seat.live(number);
}

/// Does everything that Sluice does with the API, until it works or time is
/// over; returns what does not.
fn what_does_not_work(
    cluster: &ControlPlane,
    id: usize,
    kubeconfig: &Path,
    counts_events: bool,
) -> Vec<String> {
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
        memory: None,
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
    let clock = Arc::new(SystemClock::default());
    let source = Kubernetes::new(kubernetes, OverlayMode::Calico, access.clone(), clock);
    let annotating = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let run = async {
            let connection = Connection::open(access, None).await;
            node::run(connection.client(), facts).await;
        };
        runtime.block_on(async { tokio::time::timeout(PATIENCE, run).await.map_or((), drop) });
    });
    let mut watched = Watched::of(source.with_ingresses());
    let (service, ingress) = (format!("Service {name}/lb"), format!("Ingress {name}/ing"));
    let deadline = Instant::now() + PATIENCE;
    let mut wrong;
    let (mut told, mut told_ingress) = (None, None);
    loop {
        watched.comes(Duration::from_millis(500), |_| false);
        if let Some(Object::Service(object)) = watched.objects.get(&service)
            && told.as_ref() != Some(object)
        {
            told = Some(object.clone());
            let key = watched.objects[&service].key();
            board.service(&key.to_name(), Facts::of(object));
        }
        if let Some(Object::Ingress(object)) = watched.objects.get(&ingress)
            && told_ingress.as_ref() != Some(object)
        {
            told_ingress = Some(object.clone());
            let key = watched.objects[&ingress].key().to_name();
            board.ingress(&key, Some(IngressFacts::of(object)));
            board.serves(key, true);
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
        let get = |what: &[&str]| {
            let output = cluster.try_kubectl(&[&["-n", &name, "get"], what].concat());
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        if let Some(error) = elector.view().watch_error {
            wrong.push(format!("Leases are not watched: {error}"));
        }
        if !get(&["service", "lb", "-o", "json"]).contains(&format!("203.0.113.{id}")) {
            wrong.push("the address is not written".to_owned());
        }
        if !get(&["ingress", "ing", "-o", "json"]).contains(&format!("198.51.100.{id}")) {
            wrong.push("where the Ingress is served is not written".to_owned());
        }
        if !get(&["events", "-o", "json"]).contains("AddressAllocated") {
            wrong.push("no Event".to_owned());
        }
        let node = get(&["node", &name, "-o", "json"]);
        if !node.contains("projectcalico.org/IPv4Address") {
            wrong.push("the Node is not annotated".to_owned());
        }
        if !node.contains("SluiceRuns") {
            wrong.push("the Node has no condition".to_owned());
        }
        if get(&["lease", &name, "--namespace", NODE_LEASES, "-o", "name"]).is_empty() {
            wrong.push("the Node has no Lease".to_owned());
        }
        if wrong.is_empty() || Instant::now() > deadline {
            break;
        }
    }
    if wrong.is_empty() && counts_events {
        let key = watched.objects[&service].key();
        let repeat = || board.event(key.clone(), NoticeKind::Normal, "Repeated", "so it is");
        repeat();
        let said = Instant::now();
        watched.comes(REPEATED + Duration::from_secs(1), |_| {
            confirm(&seat);
            said.elapsed() > REPEATED
        });
        repeat();
        let is_counted = watched.comes(Duration::from_secs(10), |_| {
            confirm(&seat);
            let found = cluster.try_kubectl(&["-n", &name, "get", "events", "-o", "json"]);
            String::from_utf8_lossy(&found.stdout).contains("\"series\"")
        });
        if !is_counted {
            wrong.push("a repeated Event is not counted".to_owned());
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
        cluster.apply(CALICO);
        cluster.apply(CLUSTER_NETWORK_POLICIES);
        let established = ["--for=condition=established", "crd", "--all"];
        cluster.kubectl(&[&["wait"], &established[..]].concat());
        let rules = rules(&cluster);
        let all: Vec<Removed> = rules
            .iter()
            .map(|(of, rule)| Removed {
                of: *of,
                resource: rule["resources"][0].as_str().unwrap().to_owned(),
                verb: rule["verbs"][0].as_str().unwrap().to_owned(),
            })
            .collect();
        assert!(all.len() >= 15, "{all:?}");
        let kubeconfig = account(&cluster, 1, &rules, None);
        let wrong = what_does_not_work(&cluster, 1, &kubeconfig, needed.is_empty());
        assert!(wrong.is_empty(), "with all rights, {flags:?}: {wrong:?}");
        // What is known to be needed need not be tried again.
        let open: Vec<&Removed> = all
            .iter()
            .filter(|removed| needed.iter().all(|(known, _)| known != *removed))
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
                            let counts_events = removed.resource == "events";
                            what_does_not_work(cluster, id, &kubeconfig, counts_events)
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
                .filter(|removed| needed.iter().all(|(known, _)| known != *removed))
                .collect();
            panic!("nothing misses {spare:?}; needed are\n{text}");
        }
    }
}
