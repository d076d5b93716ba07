//! Addresses of Services of type LoadBalancer, against a real API server. The
//! gateway is its control without workers: nothing here is about packets. It has
//! the rights that writing back needs and no others.

use crate::lab::{ControlPlane, eventually};
use crate::stage::{self, NAMESPACE};
use crossbeam_channel::{Sender, bounded};
use serde_json::Value;
use sluice_config::OverlayMode;
use sluice_control::kubernetes::Access;
use sluice_control::source::kubernetes::Kubernetes;
use sluice_control::status::{Board, StatusConfig, WriteResult, start};
use sluice_control::{Control, PortFacts, Request, SystemClock};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// A control plane, and the account of gateways.
pub struct Cluster {
    pub plane: ControlPlane,
    kubeconfig: PathBuf,
}

impl Cluster {
    pub fn up() -> Cluster {
        let plane = ControlPlane::up(&[]);
        plane.kubectl(&["create", "namespace", NAMESPACE]);
        plane.apply(&stage::rights("flannel"));
        let kubeconfig = plane.folder.join("sluice.kubeconfig");
        plane.kubeconfig_of(NAMESPACE, "sluice", &kubeconfig);
        Cluster { plane, kubeconfig }
    }

    /// Makes or changes a Service of type LoadBalancer; `metadata` and `spec`
    /// are more of each, in YAML's flow style.
    pub fn service(&self, name: &str, metadata: &str, spec: &str) {
        self.plane.apply(&format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: {name}, {metadata}}}
spec: {{type: LoadBalancer, allocateLoadBalancerNodePorts: false, {spec}}}
"
        ));
    }

    fn delete(&self, name: &str) {
        self.plane.kubectl(&["delete", "service", name]);
    }

    fn get(&self, name: &str) -> Value {
        let text = self.plane.kubectl(&["get", "service", name, "-o", "json"]);
        serde_json::from_str(&text).unwrap()
    }

    fn addresses(&self, name: &str) -> Vec<String> {
        let service = self.get(name);
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().cloned();
        let ingress = ingress.unwrap_or_default();
        assert!(ingress.iter().all(|one| one["ipMode"] == "VIP"), "{ingress:?}");
        ingress.iter().map(|one| one["ip"].as_str().unwrap().to_owned()).collect()
    }

    fn gets(&self, name: &str, addresses: &[&str]) {
        eventually(&format!("{name} has {addresses:?}"), || {
            (self.addresses(name) == addresses).then_some(())
        });
    }

    /// Status and reason of the condition.
    fn condition(&self, name: &str) -> Option<(String, String)> {
        let service = self.get(name);
        let conditions = service["status"]["conditions"].as_array()?;
        let ours = conditions.iter().find(|one| one["type"] == "sluice.dev/AddressAllocated")?;
        let text = |key: &str| ours[key].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("reason")))
    }

    pub fn is(&self, name: &str, status: &str, reason: &str) {
        let expected = (status.to_owned(), reason.to_owned());
        eventually(&format!("{name} is {reason}"), || {
            (self.condition(name).as_ref() == Some(&expected)).then_some(())
        });
    }

    /// What `kubectl describe` shows holds all of these.
    pub fn describes(&self, what: &str, name: &str, parts: &[&str]) {
        eventually(&format!("{name} is described with {parts:?}"), || {
            let text = self.plane.kubectl(&["describe", what, name]);
            parts.iter().all(|part| text.contains(part)).then_some(())
        });
    }

    /// A gateway that gives addresses of these pools to Services of the class.
    fn gateway(&self, class: &str, pools: &str) -> Running {
        Running::start(self, &format!("class: {class}, pools: [{pools}]"), true)
    }
}

/// A gateway's control and what it writes back.
pub struct Running {
    pub requests: Sender<Request>,
    pub board: Board,
    leader: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// `leads`: it writes.
    pub fn start(cluster: &Cluster, balancer: &str, leads: bool) -> Running {
        let text = format!(
            "
ports: [{{name: a, device: eth1, addresses: [192.0.2.1/24]}}]
overlay: {{vxlan: {{vni: 1, port: a, addresses: [192.0.2.1]}}}}
snat: {{addresses: [10.244.255.0/28]}}
load_balancer: {{{balancer}}}
source: {{kubernetes: {{kubeconfig: {}}}}}
",
            cluster.kubeconfig.display()
        );
        let config = sluice_config::parse("test.yaml", &text).unwrap().config;
        let sluice_config::Source::Kubernetes(kubernetes) = &config.source else {
            unreachable!("it is configured")
        };
        let access = Access::new(kubernetes, &[]);
        let clock = Arc::new(SystemClock::default());
        let source = Box::new(Kubernetes::new(
            kubernetes,
            OverlayMode::Plain,
            access.clone(),
            clock.clone(),
        ));
        let facts = [PortFacts { mac: [2, 0, 0, 0, 0, 1], mtu: 1500 }];
        let mut control = Control::new(config.clone(), &facts, source, Vec::new(), clock).unwrap();
        let board = Board::default();
        let (leader, follows) = watch::channel(leads);
        let status =
            start(access, "gateway", StatusConfig::of(&config), board.clone(), follows).unwrap();
        control.set_board(board.clone());
        let (requests, taken) = bounded(1);
        let control = std::thread::spawn(move || {
            control.run(&AtomicBool::new(false), &taken).unwrap();
        });
        Running { requests, board, leader, threads: vec![control, status] }
    }

    /// Waits until nothing is to be written.
    fn is_quiet(&self) {
        let quiet = || self.board.metrics().pending() == 0;
        eventually("everything is written", || quiet().then_some(()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (reply, told) = bounded(1);
        let _ = self.requests.send(Request::Stop { reply });
        let _ = told.recv_timeout(Duration::from_secs(10));
        for thread in self.threads.drain(..) {
            let result = thread.join();
            assert!(result.is_ok() || std::thread::panicking(), "a thread has panicked");
        }
    }
}

/// One control plane for all: each story has a class and pools of its own.
#[test]
fn addresses_are_given_and_written_back() {
    let cluster = Cluster::up();
    each_service_gets_what_it_asks_for(&cluster);
    exhaustion_is_told_and_ends(&cluster);
    a_restart_keeps_everything(&cluster);
    what_was_written_goes_with_the_type(&cluster);
    what_another_controller_wrote_goes(&cluster);
    only_the_leader_writes(&cluster);
    what_is_wrong_is_shown_once(&cluster);
}

fn each_service_gets_what_it_asks_for(cluster: &Cluster) {
    let gateway = cluster.gateway(
        "test.dev/ask",
        "{name: a, addresses: [198.51.100.0/29, 'fd01::/64']}, \
         {name: b, addresses: [198.51.100.64/28], auto_assign: false}",
    );
    let class = "loadBalancerClass: test.dev/ask, ports: [{port: 80}]";
    cluster.service("plain", "", class);
    cluster.gets("plain", &["198.51.100.0"]);
    cluster.is("plain", "True", "Allocated");
    cluster.describes("service", "plain", &["AddressAllocated", "198.51.100.0"]);

    let dual = "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]";
    cluster.service("dual", "", &format!("{class}, {dual}"));
    cluster.gets("dual", &["fd01::", "198.51.100.1"]);

    cluster.service("asks", "", &format!("{class}, loadBalancerIP: 198.51.100.66"));
    cluster.gets("asks", &["198.51.100.66"]);
    let both = "annotations: {sluice.dev/load-balancer-ips: '198.51.100.7, fd01::7'}";
    cluster.service("asks-both", both, &format!("{class}, ipFamilyPolicy: PreferDualStack"));
    cluster.gets("asks-both", &["198.51.100.7", "fd01::7"]);
    let pool = "annotations: {sluice.dev/address-pool: b}";
    cluster.service("of-pool", pool, class);
    cluster.gets("of-pool", &["198.51.100.64"]);

    let shared = "annotations: {sluice.dev/allow-shared-ip: key}";
    for (name, port) in [("http", 80), ("https", 443)] {
        let spec = format!("loadBalancerClass: test.dev/ask, ports: [{{port: {port}}}]");
        cluster.service(name, shared, &spec);
        cluster.gets(name, &["198.51.100.2"]);
    }

    cluster.service("other", "", "loadBalancerClass: other.dev/x, ports: [{port: 80}]");
    cluster.service("none", "", "ports: [{port: 80}]");
    gateway.is_quiet();
    for name in ["other", "none"] {
        assert_eq!((cluster.addresses(name), cluster.condition(name)), (vec![], None));
    }
    let pools = gateway.board.metrics().pools();
    let used: Vec<u64> = pools.iter().map(|pool| pool.used).collect();
    assert_eq!(used, [4, 2, 2]);
    for name in ["plain", "dual", "asks", "asks-both", "of-pool", "http", "https", "other", "none"]
    {
        cluster.delete(name);
    }
    eventually("everything is free", || {
        gateway.board.metrics().pools().iter().all(|pool| pool.used == 0).then_some(())
    });
}

fn exhaustion_is_told_and_ends(cluster: &Cluster) {
    let _gateway = cluster.gateway("test.dev/few", "{name: few, addresses: [198.51.100.9]}");
    let spec = "loadBalancerClass: test.dev/few, ports: [{port: 80}]";
    cluster.service("first", "", spec);
    cluster.gets("first", &["198.51.100.9"]);
    cluster.service("second", "", spec);
    cluster.is("second", "False", "PoolExhausted");
    let event = "every IPv4 address of the pools that assign by themselves is given away";
    cluster.describes("service", "second", &["Warning", "AddressNotAllocated", event]);
    cluster.service("third", "", &format!("{spec}, loadBalancerIP: 203.0.113.1"));
    cluster.is("third", "False", "AddressNotInPool");

    cluster.delete("first");
    cluster.gets("second", &["198.51.100.9"]);
    cluster.is("second", "True", "Allocated");
    cluster.delete("second");
    cluster.delete("third");
}

fn a_restart_keeps_everything(cluster: &Cluster) {
    let spec = "loadBalancerClass: test.dev/again, ports: [{port: 80}]";
    let pool = "{name: a, addresses: [198.51.100.16/28]}";
    let before = {
        let gateway = cluster.gateway("test.dev/again", pool);
        for name in ["r1", "r2", "r3"] {
            cluster.service(name, "", spec);
        }
        for name in ["r1", "r2", "r3"] {
            cluster.is(name, "True", "Allocated");
        }
        cluster.delete("r1");
        eventually("it is free", || (gateway.board.metrics().pools()[0].used == 2).then_some(()));
        gateway.is_quiet();
        ["r2", "r3"].map(|name| cluster.get(name))
    };
    // Another pool comes first, and an older address is free: nobody moves.
    let more = format!("{{name: new, addresses: [198.51.100.128/28]}}, {pool}");
    let gateway = cluster.gateway("test.dev/again", &more);
    cluster.service("r4", "", spec);
    cluster.gets("r4", &["198.51.100.128"]);
    gateway.is_quiet();
    assert_eq!(["r2", "r3"].map(|name| cluster.get(name)), before, "nothing was written");
    for name in ["r2", "r3", "r4"] {
        cluster.delete(name);
    }
}

fn what_was_written_goes_with_the_type(cluster: &Cluster) {
    let _gateway = cluster.gateway("test.dev/type", "{name: a, addresses: [198.51.100.9]}");
    let spec = "loadBalancerClass: test.dev/type, ports: [{port: 80}]";
    cluster.service("changes", "", spec);
    cluster.gets("changes", &["198.51.100.9"]);
    let other = r#"{"spec": {"type": "ClusterIP", "loadBalancerClass": null,
        "allocateLoadBalancerNodePorts": null}}"#;
    cluster.plane.kubectl(&["patch", "service", "changes", "--type=merge", "-p", other]);
    eventually("nothing of it is left", || {
        let is_clear = cluster.addresses("changes").is_empty();
        (is_clear && cluster.condition("changes").is_none()).then_some(())
    });
    cluster.service("next", "", spec);
    cluster.gets("next", &["198.51.100.9"]);
    cluster.delete("changes");
    cluster.delete("next");
}

fn what_another_controller_wrote_goes(cluster: &Cluster) {
    let other_writes = |ingress: &str| {
        let status = format!(r#"{{"status": {{"loadBalancer": {{"ingress": {ingress}}}}}}}"#);
        let arguments = ["--subresource=status", "--type=merge", "-p", &status];
        cluster.plane.kubectl(&[&["patch", "service", "moves"], &arguments[..]].concat());
    };
    let spec = "loadBalancerClass: test.dev/moves, ports: [{port: 80}]";
    cluster.service("moves", "", &format!("{spec}, loadBalancerIP: 203.0.113.1"));
    other_writes(r#"[{"ip": "203.0.113.1"}]"#);
    let gateway = cluster.gateway("test.dev/moves", "{name: a, addresses: [198.51.100.9]}");
    cluster.is("moves", "False", "AddressNotInPool");
    cluster.gets("moves", &[]);
    gateway.is_quiet();
    let written = || gateway.board.metrics().writes(WriteResult::Written);
    assert_eq!(written(), 1);
    other_writes(r#"[{"hostname": "elsewhere.example"}]"#);
    eventually("it is written once more", || (written() == 2).then_some(()));
    cluster.gets("moves", &[]);
    cluster.service("moves", "", spec);
    cluster.gets("moves", &["198.51.100.9"]);
    gateway.is_quiet();
    assert_eq!(written(), 3);
    cluster.delete("moves");
}

fn only_the_leader_writes(cluster: &Cluster) {
    let balancer = "class: test.dev/two, pools: [{name: a, addresses: [198.51.100.32/28]}]";
    let leader = Running::start(cluster, balancer, true);
    let follower = Running::start(cluster, balancer, false);
    let spec = "loadBalancerClass: test.dev/two, ports: [{port: 80}]";
    cluster.service("two-1", "", spec);
    cluster.gets("two-1", &["198.51.100.32"]);
    // The next one leads where the last one left off.
    drop(leader);
    cluster.service("two-2", "annotations: {sluice.dev/load-balancer-ips: bad}", spec);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(cluster.condition("two-2"), None);
    assert!(follower.board.metrics().pools().is_empty());
    follower.leader.send(true).unwrap();
    cluster.is("two-2", "False", "InvalidRequest");
    assert_eq!(cluster.addresses("two-1"), ["198.51.100.32"]);
    cluster.delete("two-1");
    cluster.delete("two-2");
}

fn what_is_wrong_is_shown_once(cluster: &Cluster) {
    let gateway = cluster.gateway("test.dev/wrong", "{name: a, addresses: [198.51.100.9]}");
    let wrong = |n: usize| format!("annotations: {{sluice.dev/load-balancer-ips: 'bad-{n}'}}");
    let spec = "loadBalancerClass: test.dev/wrong, ports: [{port: 80}]";
    cluster.service("wrong", &wrong(0), spec);
    cluster.describes("service", "wrong", &["Invalid", "AddressNotAllocated", "bad-0"]);
    // It flaps: a few Events are made, the rest is counted.
    for n in 1..20 {
        cluster.service("wrong", &wrong(n), spec);
    }
    cluster.is("wrong", "False", "InvalidRequest");
    eventually("Events are left out", || {
        (gateway.board.metrics().events_suppressed() > 10).then_some(())
    });
    let regarding = "--field-selector=involvedObject.name=wrong";
    let events = cluster.plane.kubectl(&["get", "events", regarding, "-o", "name"]);
    assert!(events.lines().count() <= 9, "{events}");
    // What is wrong with other objects is found there, too.
    cluster.plane.apply(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: heavy, annotations: {sluice.dev/weight: heavy}}
addressType: IPv4
endpoints: []
",
    );
    cluster.describes("endpointslice", "heavy", &["Invalid", "sluice.dev/weight"]);
    cluster.delete("wrong");
    cluster.plane.kubectl(&["delete", "endpointslice", "heavy"]);
}
