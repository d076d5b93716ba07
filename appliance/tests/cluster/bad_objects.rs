//! Objects that are wrong, too many, or never the same, at a real API server:
//! each is told of where a user would look, and the rest goes on.

use crate::lab::{ControlPlane, eventually};
use crate::load_balancers::{Cluster, Running};
use crate::stage::CALICO;
use crate::watched::Watched;
use crossbeam_channel::{Sender, bounded};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sluice_config::OverlayMode;
use sluice_control::Request;
use sluice_control::kubernetes::{Access, Connection};
use std::time::Duration;

const GATEWAY: &str = "default: true, pools: [{name: a, addresses: [198.51.100.0/28]}]";

/// A change every so often, and how many.
const FLAPS: (Duration, usize) = (Duration::from_millis(10), 500);

impl Running {
    fn ask<T>(&self, request: impl FnOnce(Sender<T>) -> Request) -> T {
        let (reply, answer) = bounded(1);
        self.requests.send(request(reply)).expect("control runs");
        answer.recv_timeout(Duration::from_secs(10)).expect("control answers")
    }

    /// What is wrong, as `sluice status` has it.
    fn said(&self) -> String {
        let all = self.ask(|reply| Request::Diagnostics { reply });
        all.iter().map(|one| format!("{one}\n")).collect()
    }

    fn says(&self, parts: &[&str]) {
        eventually(&format!("it says {parts:?}"), || {
            let said = self.said();
            parts.iter().all(|part| said.contains(part)).then_some(())
        });
    }

    /// The ports of a Service that are served.
    fn ports(&self, name: &str) -> Vec<u16> {
        let services = self.ask(|reply| Request::Services { reply });
        let service = services.into_iter().find(|service| service.name == name);
        service.iter().flat_map(|service| service.ports.iter().map(|port| port.port)).collect()
    }

    fn backends(&self, service: &str) -> usize {
        let backends = self.ask(|reply| Request::Backends { reply });
        backends.iter().filter(|backend| backend.service == service).count()
    }

    /// A Service that is as it should be changes as ever.
    fn goes_on(&self, cluster: &Cluster, port: u16) {
        cluster.service("good", "", &format!("ports: [{{port: {port}}}]"));
        eventually("the rest goes on", || (self.ports("good") == [port]).then_some(()));
    }
}

/// A slice of endpoints `10.FIRST.x.y`, ready.
fn slice(name: &str, service: &str, first: usize, endpoints: usize) -> Value {
    let endpoint =
        |i: usize| json!({"addresses": [format!("10.{first}.{}.{}", i / 250, i % 250 + 1)]});
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"port": 8080}],
        "endpoints": (0..endpoints).map(endpoint).collect::<Vec<_>>(),
    })
}

/// An object that the server has and Sluice cannot read is left out by itself,
/// named and counted, until it is mended.
#[test]
fn an_object_that_cannot_be_read_stalls_nothing_but_itself() {
    let cluster = ControlPlane::up(&[]);
    cluster.apply(CALICO);
    cluster.kubectl(&["wait", "--for=condition=established", "crd", "--all"]);
    let pool = |name: &str, cidr: &str| {
        format!(
            r#"{{"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool",
                "metadata": {{"name": "{name}"}}, "spec": {{"cidr": {cidr}}}}}"#
        )
    };
    cluster.apply(&pool("broken", "[7]"));
    cluster.apply(&pool("well", r#""10.244.0.0/16""#));
    let config =
        sluice_config::Kubernetes { kubeconfig: Some(cluster.kubeconfig()), ..Default::default() };
    let mut watched = Watched::with(&config, OverlayMode::Calico);
    watched.until("synced", |w| w.is_synced);
    assert!(watched.has("IPPool well") && !watched.has("IPPool broken"));
    watched.until("it is named", |w| w.said().contains("IPPool broken"));
    assert_eq!(watched.health.view().refused_objects, 1);
    // What becomes unreadable keeps its last good version.
    cluster.apply(&pool("well", "{}"));
    watched.until("both are named", |w| w.said().contains("IPPool well"));
    assert!(watched.has("IPPool well"), "the last good version counts");
    for name in ["broken", "well"] {
        cluster.apply(&pool(name, r#""10.245.0.0/16""#));
    }
    watched.until("all is well", |w| w.said().is_empty() && w.has("IPPool broken"));
    assert_eq!(watched.health.view().refused_objects, 0);
}

#[test]
fn what_is_wrong_with_some_objects_leaves_the_rest_alone() {
    let cluster = Cluster::up();
    let gateway = Running::start(&cluster, GATEWAY, true);
    gateway.goes_on(&cluster, 80);

    // Hostile annotations.
    let long = "é".repeat(50_000);
    for (i, annotation) in [
        format!("sluice.dev/load-balancer-ips: '{long}'"),
        format!("sluice.dev/allow-shared-ip: '{long}'"),
        r#"sluice.dev/address-pool: "a\n\t\e[2J<b>""#.to_owned(),
        "sluice.dev/load-balancer-ips: '198.51.100.1,198.51.100.2'".to_owned(),
        "sluice.dev/load-balancing: 'best'".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("hostile-{i}");
        cluster.service(&name, &format!("annotations: {{{annotation}}}"), "ports: [{port: 80}]");
        let told = if i == 4 { "sluice.dev/load-balancing" } else { "AddressNotAllocated" };
        cluster.describes("service", &name, &["Warning", told]);
    }
    gateway.says(&["sluice.dev/load-balancing", "hostile-4"]);
    assert!(gateway.said().lines().all(|line| line.len() < 4096), "a line is too long to read");
    gateway.goes_on(&cluster, 81);

    // Names as long as they may be.
    let (label, long) = ("a".repeat(63), vec!["b".repeat(63); 4].join(".")[..253].to_owned());
    cluster.plane.kubectl(&["create", "namespace", &label]);
    let mut objects = [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": label},
               "spec": {"ports": [{"name": label, "port": 80}]}}),
        slice(&long, &label, 1, 1),
    ];
    objects[1]["ports"][0]["name"] = json!(label);
    for object in &mut objects {
        object["metadata"]["namespace"] = json!(label);
        cluster.plane.apply(&object.to_string());
    }
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": long, "annotations": {"sluice.dev/vtep-address": "192.0.2.7"}},
                      "spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"]}});
    cluster.plane.apply(&node.to_string());
    eventually("long names", || {
        let is_there = gateway.backends(&format!("{label}/{label}")) == 1;
        (is_there && gateway.ports(&label) == [80]).then_some(())
    });

    // Addresses that are there twice.
    cluster.service("twice", "", "externalIPs: [203.0.113.9], ports: [{port: 80}]");
    cluster.service("again", "", "externalIPs: [203.0.113.9], ports: [{port: 80}]");
    gateway.says(&["203.0.113.9", "again"]);
    for name in ["twice-1", "twice-2"] {
        cluster.plane.apply(&slice(name, "twice", 2, 3).to_string());
    }
    eventually("endpoints once", || (gateway.backends("default/twice") == 3).then_some(()));
    cluster.plane.apply(&node.to_string().replace(&long, "other"));
    gateway.says(&["Node other", "10.1.0.0/24"]);
    gateway.goes_on(&cluster, 82);

    // As many endpoints as a slice may have, ten times; the server has no larger ones.
    cluster.service("many", "", "ports: [{port: 80}]");
    for i in 0..10 {
        let slice = slice(&format!("many-{i}"), "many", 100 + i, 1000);
        cluster.plane.apply(&slice.to_string());
    }
    eventually("10,000 endpoints", || (gateway.backends("default/many") == 10_000).then_some(()));
    gateway.goes_on(&cluster, 83);
}

/// A Service and its slice change a hundred times a second: control follows, what
/// is told of them is bounded, and the last state is the one that stays.
#[test]
fn objects_that_flap_are_followed() {
    let cluster = Cluster::up();
    let gateway = Running::start(&cluster, GATEWAY, true);
    cluster.service("flaps", "", "ports: [{port: 80}]");
    let config = sluice_config::Kubernetes {
        kubeconfig: Some(cluster.plane.kubeconfig()),
        ..Default::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let flapping = runtime.block_on(async {
        let connection = Connection::open(Access::new(&config, &[]), None).await;
        Api::<Service>::namespaced(connection.client(), "default")
    });
    std::thread::scope(|scope| {
        let flapping = scope.spawn(|| {
            runtime.block_on(async {
                let mut pace = tokio::time::interval(FLAPS.0);
                for i in 1..=FLAPS.1 {
                    pace.tick().await;
                    let wrong = format!("bad-{i}");
                    let annotations = json!({"sluice.dev/load-balancer-ips": wrong});
                    let change = json!({
                        "metadata": {"annotations": annotations},
                        "spec": {"ports": [{"port": 1000 + i, "protocol": "TCP"}]},
                    });
                    let change = Patch::Merge(change);
                    flapping.patch("flaps", &PatchParams::default(), &change).await.unwrap();
                }
            });
        });
        while !flapping.is_finished() {
            assert!(gateway.ports("flaps").len() <= 1);
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let last = u16::try_from(1000 + FLAPS.1).unwrap();
    eventually("the last state", || (gateway.ports("flaps") == [last]).then_some(()));
    cluster.is("flaps", "False", "InvalidRequest");
    let regarding = "--field-selector=involvedObject.name=flaps";
    let events = cluster.plane.kubectl(&["get", "events", regarding, "-o", "name"]);
    let events = events.lines().count();
    assert!((1..=20).contains(&events), "{events} Events");
    assert!(gateway.board.metrics().events_suppressed() > 100, "and the rest was counted");
    gateway.goes_on(&cluster, 80);
}
