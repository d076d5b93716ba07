//! The source against a real API server, and on its bad days: a proxy in
//! between is all that is not real.

use crate::lab::{ControlPlane, eventually};
use crate::proxy::{Mode, Proxy};
use crate::stage::at_server;
use crate::watched::Watched;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn service(name: &str, port: u16) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "{name}"}},
            "spec": {{"ports": [{{"port": {port}}}]}}}}"#
    )
}

struct Proxied {
    cluster: ControlPlane,
    proxy: Proxy,
    folder: tempfile::TempDir,
}

impl Proxied {
    fn up(flags: &[&str]) -> Proxied {
        let cluster = ControlPlane::up(flags);
        let server = cluster.server.strip_prefix("https://").expect("https");
        let proxy = Proxy::start(server.parse().unwrap());
        Proxied { cluster, proxy, folder: tempfile::tempdir().unwrap() }
    }

    fn kubeconfig(&self) -> PathBuf {
        let to = self.folder.path().join("kubeconfig");
        at_server(&self.cluster.kubeconfig(), self.proxy.address, &to);
        to
    }

    /// etcd forgets, and the server's memory of changes goes with it.
    fn forget(&self) {
        self.cluster.compact();
        self.cluster.stop_apiserver();
        self.cluster.start_apiserver();
    }

    /// Makes a service account that may list and watch these, which the server
    /// need not have.
    fn account(&self, name: &str, resources: &[(&str, &[&str])]) {
        let rule = |(group, resources): &(&str, &[&str])| json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]});
        let rules: Vec<Value> = resources.iter().map(rule).collect();
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                          "metadata": {"name": name}, "rules": rules});
        let (clusterrole, account) =
            (format!("--clusterrole={name}"), format!("--serviceaccount=default:{name}"));
        self.cluster.kubectl(&["create", "serviceaccount", name]);
        self.cluster.apply(&role.to_string());
        self.cluster.kubectl(&["create", "clusterrolebinding", name, &clusterrole, &account]);
    }

    /// Keeps a snapshot that has a Service.
    fn keep(&self, kubeconfig: &Path, folder: &Path, name: &str) {
        self.cluster.apply(&service(name, 80));
        let mut watched = Watched::start(kubeconfig, Some(folder));
        watched.until("synced", |w| w.is_synced && w.has(&format!("Service default/{name}")));
        let is_kept = || std::fs::read_to_string(folder.join("objects.jsonl"));
        watched.until("kept", |_| is_kept().is_ok_and(|text| text.contains(name)));
    }

    fn watch(&self) -> Watched {
        let mut watched = Watched::start(&self.kubeconfig(), None);
        watched.until("synced", |w| w.is_synced);
        watched
    }
}

#[test]
fn changes_of_each_kind_come_one_by_one() {
    let up = Proxied::up(&[]);
    let mut watched = up.watch();
    let objects = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
         "spec": {"ports": [{"port": 80}]}},
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {"name": "web-1", "namespace": "shop"},
         "endpoints": [{"addresses": ["10.244.1.1"]}]},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
         "metadata": {"name": "deny", "namespace": "shop"}, "spec": {"podSelector": {}}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
         "spec": {"automountServiceAccountToken": false, "nodeName": "n1",
                  "containers": [{"name": "c", "image": "i"}]}}]}"#;
    up.cluster.kubectl(&["create", "namespace", "shop"]);
    // A Pod needs it; its controller makes it.
    eventually("the service account", || {
        let asked = up.cluster.try_kubectl(&["-n", "shop", "get", "serviceaccount", "default"]);
        asked.status.success().then_some(())
    });
    up.cluster.apply(objects);
    let keys = [
        "Namespace shop",
        "Node n1",
        "Service shop/web",
        "EndpointSlice shop/web-1",
        "NetworkPolicy shop/deny",
        "Pod shop/p",
    ];
    watched.until("all kinds", |w| keys.iter().all(|key| w.has(key)));
    up.cluster.kubectl(&["label", "node", "n1", "topology.kubernetes.io/zone=z"]);
    watched.until("the label", |w| {
        w.objects["Node n1"]
            .metadata()
            .labels
            .as_ref()
            .is_some_and(|l| l.len() == 1 || l.contains_key("topology.kubernetes.io/zone"))
    });
    assert!(watched.objects["Node n1"].metadata().managed_fields.is_none(), "it is large");
    up.cluster.kubectl(&[
        "-n",
        "shop",
        "delete",
        "service/web",
        "endpointslice/web-1",
        "networkpolicy/deny",
    ]);
    up.cluster.kubectl(&["-n", "shop", "delete", "pod/p", "--grace-period=0", "--force"]);
    up.cluster.kubectl(&["delete", "node/n1"]);
    watched.until("all gone", |w| keys[1..].iter().all(|key| !w.has(key)));
    let view = watched.health.view();
    assert!(view.connected && view.away_s.is_none(), "{view:?}");
    // What the cluster does not have is asked for again and again.
    let mut there = view.kinds.iter().filter(|(kind, _)| *kind != "ClusterNetworkPolicy");
    assert!(there.all(|(_, kind)| kind.lists == 1), "no list but the first: {view:?}");
}

#[test]
fn a_server_without_streaming_lists_is_listed_in_pages() {
    let up = Proxied::up(&["--feature-gates=WatchList=false"]);
    for i in 0..3 {
        up.cluster.apply(&service(&format!("s{i}"), 80));
    }
    let watched = up.watch();
    assert!((0..3).all(|i| watched.has(&format!("Service default/s{i}"))));
}

#[test]
fn what_happens_while_the_api_is_away_is_seen_after() {
    let up = Proxied::up(&[]);
    up.cluster.apply(&service("stays", 80));
    up.cluster.apply(&service("goes", 80));
    let mut watched = up.watch();
    for mode in [Mode::Refuse, Mode::Slow] {
        up.proxy.set(mode);
        if mode == Mode::Refuse {
            watched.until("away", |w| w.health.away().is_some());
            watched.until("said", |w| w.said().contains("the API server is away"));
            let connections = up.proxy.connections();
            std::thread::sleep(Duration::from_secs(5));
            let tries = up.proxy.connections() - connections;
            assert!(tries < 6 * 30, "it backs off: {tries} tries in 5 s");
        }
        up.cluster.kubectl(&["delete", "service", "goes", "--ignore-not-found"]);
        up.cluster.apply(&service(&format!("new-{}", mode as u32), 80));
        up.proxy.set(if mode == Mode::Slow { Mode::Slow } else { Mode::Pass });
        let new = format!("Service default/new-{}", mode as u32);
        watched.until("the new one", |w| w.has(&new) && !w.has("Service default/goes"));
        watched.until("all is well", |w| w.health.away().is_none() && w.said().is_empty());
    }
    assert!(watched.has("Service default/stays"));
}

#[test]
fn a_revision_that_is_gone_is_listed_anew_and_swapped_in_whole() {
    let up = Proxied::up(&[]);
    for i in 0..20 {
        up.cluster.apply(&service(&format!("old-{i}"), 80));
    }
    let mut watched = up.watch();
    up.proxy.set(Mode::Refuse);
    watched.until("away", |w| w.health.away().is_some());
    up.cluster.kubectl(&["delete", "service", "old-0", "old-1"]);
    up.cluster.apply(&service("new", 80));
    up.forget();
    let before = watched.batches;
    up.proxy.set(Mode::Pass);
    watched.until("the new one", |w| w.has("Service default/new"));
    assert!(!watched.has("Service default/old-0") && !watched.has("Service default/old-1"));
    assert!((2..20).all(|i| watched.has(&format!("Service default/old-{i}"))));
    assert!(watched.batches > before);
}

#[test]
fn a_list_that_is_cut_takes_nothing_away() {
    let up = Proxied::up(&[]);
    for i in 0..30 {
        up.cluster.apply(&service(&format!("s{i}"), 80));
    }
    let mut watched = up.watch();
    let count = |w: &Watched| w.objects.keys().filter(|key| key.starts_with("Service ")).count();
    let before = count(&watched);
    up.proxy.set(Mode::Refuse);
    watched.until("away", |w| w.health.away().is_some());
    // What the source has seen is older than what the server remembers.
    up.cluster.apply(&service("away", 80));
    up.cluster.kubectl(&["delete", "service", "away"]);
    up.forget();
    // Room for the handshake and a part of the list.
    up.proxy.cut(12_000);
    let tried = watched.health.view().kinds["Service"].errors;
    watched.until("cut lists", |w| w.health.view().kinds["Service"].errors > tried);
    assert_eq!(count(&watched), before);
    up.proxy.set(Mode::Pass);
    up.cluster.apply(&service("after", 80));
    watched.until("what came after", |w| w.has("Service default/after"));
    assert_eq!(count(&watched), before + 1);
}

#[test]
fn credentials_may_be_rotated_on_disk() {
    let up = Proxied::up(&[]);
    let all: [(&str, &[&str]); 4] = [
        ("", &["services", "nodes", "namespaces", "pods"]),
        ("discovery.k8s.io", &["endpointslices"]),
        ("networking.k8s.io", &["networkpolicies"]),
        ("policy.networking.k8s.io", &["clusternetworkpolicies"]),
    ];
    up.account("watcher", &all);
    let (own, path) = (up.folder.path().join("own"), up.folder.path().join("kubeconfig"));
    let rotate = || {
        up.cluster.kubeconfig_of("default", "watcher", &own);
        at_server(&own, up.proxy.address, &path);
    };
    rotate();
    let mut watched = Watched::start(&path, None);
    watched.until("synced", |w| w.is_synced);
    // Its account is made anew: the old token is worth nothing.
    up.cluster.kubectl(&["delete", "serviceaccount", "watcher"]);
    up.cluster.kubectl(&["create", "serviceaccount", "watcher"]);
    up.proxy.set(Mode::Refuse);
    // For so long the server remembers that a token was good.
    std::thread::sleep(Duration::from_secs(12));
    up.proxy.set(Mode::Pass);
    watched.until("unauthorized", |w| w.said().contains("nauthorized"));
    rotate();
    watched.until("all is well", |w| w.health.away().is_none() && w.said().is_empty());
    up.cluster.apply(&service("after", 80));
    watched.until("what came after", |w| w.has("Service default/after"));
}

#[test]
fn a_snapshot_starts_a_gateway_while_the_api_is_away() {
    let up = Proxied::up(&[]);
    let folder = up.folder.path().join("snapshot");
    up.cluster.apply(&service("old", 80));
    let kubeconfig = up.kubeconfig();
    {
        let mut watched = Watched::start(&kubeconfig, Some(&folder));
        watched.until("synced", |w| w.is_synced && w.has("Service default/old"));
        up.cluster.apply(&service("late", 80));
        watched.until("late", |w| w.has("Service default/late"));
        let file = folder.join("objects.jsonl");
        watched.until("kept", |_| {
            std::fs::read_to_string(&file).is_ok_and(|text| text.contains("\"late\""))
        });
    }
    up.proxy.set(Mode::Refuse);
    let mut watched = Watched::start(&kubeconfig, Some(&folder));
    watched.until("restored", |w| w.is_synced);
    assert_eq!(watched.health.view().snapshot_kept, Some(true));
    assert!(watched.has("Service default/old") && watched.has("Service default/late"));
    assert!(watched.health.view().snapshot_age_s.is_some());
    watched.until("said", |w| w.said().contains("a snapshot is in force"));
    up.cluster.kubectl(&["delete", "service", "old"]);
    up.cluster.apply(&service("new", 80));
    up.proxy.set(Mode::Pass);
    watched.until("the truth", |w| w.has("Service default/new"));
    assert!(!watched.has("Service default/old"), "all kinds are swapped in at once");
    watched
        .until("all is well", |w| w.health.view().snapshot_age_s.is_none() && w.said().is_empty());
}

#[test]
fn a_kind_that_is_forbidden_brings_back_nothing_old_of_the_others() {
    let up = Proxied::up(&[]);
    let folder = up.folder.path().join("snapshot");
    // The snapshot is of the same way to the server, with all rights.
    let kubeconfig = up.kubeconfig();
    up.keep(&kubeconfig, &folder, "old");
    up.cluster.kubectl(&["delete", "service", "old"]);
    up.cluster.apply(&service("new", 80));
    up.account("half", &[("", &["services", "namespaces", "nodes"])]);
    let own = up.folder.path().join("own");
    up.cluster.kubeconfig_of("default", "half", &own);
    at_server(&own, up.proxy.address, &kubeconfig);
    let mut watched = Watched::start(&kubeconfig, Some(&folder));
    watched.until("the snapshot is in force", |w| w.is_synced);
    assert!(watched.has("Service default/new") && !watched.has("Service default/old"));
}
