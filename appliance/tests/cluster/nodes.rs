use crate::lab::{ControlPlane, FAMILIES, Lab, eventually};
use serde_json::Value;
use sluice_control::kubernetes::{Access, Connection};
use sluice_control::status::node::{Facts, run};
use tokio::sync::oneshot;

/// Two pods, one on each node, that answer HTTP at 8080 and UDP at 8081, and ask
/// others on request (`/dial`).
const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: pods}
spec:
  replicas: 2
  selector: {matchLabels: {app: pods}}
  template:
    metadata: {labels: {app: pods}}
    spec:
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: pods}}
      containers:
        - name: netexec
          image: localhost/agnhost:test
          args: [netexec, --http-port=8080, --udp-port=8081]
          readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
";

struct Pod {
    name: String,
    node: String,
    /// IPv4, then IPv6.
    addresses: Vec<String>,
}

fn pods(cluster: &ControlPlane) -> Vec<Pod> {
    let text = cluster.kubectl(&["get", "pods", "-o", "json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let string = |value: &Value| value.as_str().expect("a string").to_owned();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|pod| Pod {
            name: string(&pod["metadata"]["name"]),
            node: string(&pod["spec"]["nodeName"]),
            addresses: pod["status"]["podIPs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|address| string(&address["ip"]))
                .collect(),
        })
        .collect()
}

/// Lets one pod ask another for its name, and returns the answer.
fn dial(lab: &Lab, from: &Pod, to: &Pod, family: usize, protocol: &str, port: u16) -> String {
    let path = format!(
        "/dial?host={}&port={port}&protocol={protocol}&request=hostname&tries=1",
        to.addresses[family]
    );
    let address = &from.addresses[family];
    let host = if address.contains(':') { format!("[{address}]") } else { address.clone() };
    lab.curl(&from.node, &format!("http://{host}:8080{path}"))
}

/// Nodes come up, an ordinary Deployment runs on both, and its pods reach each
/// other through flannel; a node that dies comes back with its pod.
#[test]
fn pods_of_real_nodes_reach_each_other() {
    let Some(lab) = Lab::up(&["--pods", "0"]) else { return };
    let cluster = ControlPlane::up_in(&lab, 2, &[]);
    cluster.apply(DEPLOYMENT);
    cluster.kubectl(&["rollout", "status", "deployment/pods", "--timeout=60s"]);

    let pods_before = pods(&cluster);
    let [first, second] = &pods_before[..] else { panic!("{} pods", pods_before.len()) };
    assert_ne!(first.node, second.node);
    for (index, family) in FAMILIES.iter().enumerate() {
        for (protocol, port) in [("http", 8080), ("udp", 8081)] {
            for (from, to) in [(first, second), (second, first)] {
                let answer = dial(&lab, from, to, index, protocol, port);
                assert!(answer.contains(&to.name), "{} {protocol}: {answer}", family.name);
            }
        }
    }
    let annotations =
        cluster.kubectl(&["get", "node", "node1", "-o", "jsonpath={.metadata.annotations}"]);
    for part in ["backend-data", "backend-v6-data", r#"public-ip":"10.10.0.11""#] {
        assert!(annotations.contains(part), "no {part} in {annotations}");
    }

    cluster.stop("node2");
    cluster.start_again("node2");
    let address = |pod: &Pod| pod.addresses[0].clone();
    let lost = if first.node == "node2" { first } else { second };
    let kept = if first.node == "node2" { second } else { first };
    eventually("the pod of the node that died", || {
        let pods = pods(&cluster);
        let again = pods.iter().find(|pod| pod.name == lost.name && pod.addresses.len() == 2)?;
        let reached = address(again);
        let url = format!("http://{reached}:8080/hostname");
        let output = lab.run(&kept.node, &["curl", "-sS", "--max-time", "2", &url]);
        (output.stdout == lost.name.as_bytes()).then_some(())
    });
}

/// A Node that the gateway makes keeps its addresses of both families when its
/// status is written again.
#[test]
fn a_gateways_node_keeps_both_addresses() {
    let cluster = ControlPlane::up(&[]);
    let text = format!(
        "ports: [{{name: a, device: b, addresses: [192.0.2.1/24, '2001:db8::1/64']}}]\n\
         snat: {{from_node: 16}}\n\
         node: {{register: true}}\n\
         source: {{kubernetes: {{kubeconfig: {}}}}}\n",
        cluster.kubeconfig().display()
    );
    let config = sluice_config::parse("node.yaml", &text).unwrap().config;
    let sluice_config::Source::Kubernetes(kubernetes) = &config.source else {
        unreachable!("it is configured")
    };
    let access = Access::new(kubernetes, &[]);
    let facts = Facts::new(&config, "gateway").expect("a Node to be made");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let keeper = std::thread::spawn(move || {
        runtime.block_on(async {
            let connection = Connection::open(access, None).await;
            tokio::select! {
                () = run(connection.client(), facts) => {}
                _ = stopped => {}
            }
        });
    });

    let is_kept = |what: &str| {
        eventually(what, || {
            let output = cluster.try_kubectl(&["get", "node", "gateway", "-o", "json"]);
            let node: Value = serde_json::from_slice(&output.stdout).ok()?;
            let ready = node["status"]["conditions"].as_array()?;
            let ready = ready.iter().find(|condition| condition["type"] == "Ready")?;
            (ready["reason"] == "SluiceRuns").then(|| node["status"]["addresses"].clone())
        })
    };
    let both = serde_json::json!([
        {"type": "InternalIP", "address": "192.0.2.1"},
        {"type": "InternalIP", "address": "2001:db8::1"},
    ]);
    assert_eq!(is_kept("the Node is made"), both);
    let gone =
        r#"{"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "X"}]}}"#;
    cluster.kubectl(&["patch", "node", "gateway", "--subresource=status", "-p", gone]);
    assert_eq!(is_kept("its status is written again"), both);
    drop(stop);
    keeper.join().unwrap();
}
