//! Network policies as the API server tells of them: the pods are the lab's own,
//! and what is real is everything that Sluice hears of them.

use crate::gateway::Gateway;
use crate::lab::{ControlPlane, FAMILIES, Family, Lab, eventually};
use crate::stage::{NAMESPACE, at_server, rights, scripts_cluster};
use serde_json::json;
use std::fs;

/// The pods: where each plays, its name, and its addresses.
const PODS: [(&str, &str, &str, [&str; 2]); 2] = [
    ("pod1a", "web", "node1", ["10.244.1.10", "fd00:10:244:1::10"]),
    ("pod2a", "friend", "node2", ["10.244.2.10", "fd00:10:244:2::10"]),
];

/// A Service of the pod `web`.
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIP: 10.96.0.50
  clusterIPs: [10.96.0.50, 'fd00:10:96::50']
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

/// Friends may come.
const FRIENDS: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: friends}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}]}]
";

/// Friends may not come, whatever their namespace says.
const NO_FRIENDS: &str = "
apiVersion: policy.networking.k8s.io/v1beta1
kind: ClusterNetworkPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  ingress:
    - name: no-friends
      action: Deny
      from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: friend}}}}]
";

struct Scene {
    cluster: ControlPlane,
    lab: Lab,
}

impl Scene {
    fn up() -> Option<Scene> {
        let lab = Lab::up(&["--pods", "1"])?;
        let cluster = ControlPlane::up_in(&lab, 0, &[]);
        let scene = Scene { cluster, lab };
        scene.configure();
        eventually("the service account", || {
            let asked = scene.cluster.try_kubectl(&["get", "serviceaccount", "default"]);
            asked.status.success().then_some(())
        });
        for (node, last) in [("node1", 11), ("node2", 12)] {
            scene.add_node(node, last);
        }
        for (_, name, node, addresses) in PODS {
            scene.add_pod(name, node, addresses);
        }
        scene.cluster.apply(SERVICE);
        Some(scene)
    }

    /// Has the gateway read from the API, and tell of what it drops.
    fn configure(&self) {
        self.cluster.kubectl(&["create", "namespace", NAMESPACE]);
        self.cluster.apply(&rights("flannel"));
        let kubeconfig = self.lab.folder.join("kubeconfig");
        self.cluster.kubeconfig_of(NAMESPACE, "sluice", &kubeconfig);
        let server = self.cluster.server.strip_prefix("https://").expect("https").parse().unwrap();
        at_server(&kubeconfig, server, &kubeconfig);
        let manifests =
            format!("  manifests:\n    path: {}\n", self.lab.folder.join("manifests").display());
        let source = format!("  kubernetes:\n    kubeconfig: {}\n", kubeconfig.display());
        self.lab.edit_config(&manifests, &source);
        self.lab.add_config(&format!(
            "node_name: gateway\nannounce: {{leases: {{namespace: {NAMESPACE}}}}}\n\
             observe: {{flow_log: {{path: flows.log}}}}"
        ));
    }

    /// A node as its kubelet and its overlay would tell of it.
    fn add_node(&self, name: &str, last: u8) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
            "annotations": {"sluice.dev/vtep-mac": format!("02:00:0a:0a:00:{last:02x}")}},
            "spec": {"podCIDR": format!("10.244.{}.0/24", last - 10), "podCIDRs": [
                format!("10.244.{}.0/24", last - 10), format!("fd00:10:244:{}::/64", last - 10)]}});
        self.cluster.apply(&node.to_string());
        let status = json!({"status": {"addresses": [
            {"type": "InternalIP", "address": format!("10.10.0.{last}")},
            {"type": "InternalIP", "address": format!("fd00:10:10::{last}")}],
            "conditions": [{"type": "Ready", "status": "True"}]}});
        self.patch_status("node", name, &status.to_string());
    }

    /// A pod as its kubelet would tell of it.
    fn add_pod(&self, name: &str, node: &str, addresses: [&str; 2]) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"automountServiceAccountToken": false, "nodeName": node,
                "containers": [{"name": "server", "image": "lab/pod-server"}]}});
        self.cluster.apply(&pod.to_string());
        let status = json!({"status": {"phase": "Running", "podIP": addresses[0],
            "podIPs": addresses.map(|address| json!({"ip": address})),
            "conditions": [{"type": "Ready", "status": "True"}]}});
        self.patch_status("pod", name, &status.to_string());
    }

    fn patch_status(&self, kind: &str, name: &str, patch: &str) {
        self.cluster.kubectl(&["patch", kind, name, "--subresource=status", "--patch", patch]);
    }

    /// Waits until both families pass, or are dropped: from outside to the pod
    /// itself, or from the friend to its Service.
    fn until(&self, gateway: &Gateway<'_>, who: &str, is_open: bool) {
        for family in FAMILIES {
            let (room, url) = match who {
                "client" => ("client", family.url(family.pod1a, ":8080/")),
                _ => ("pod2a", family.url(service(&family), "/")),
            };
            let curl = ["curl", "-g", "-sS", "--max-time", "1", &url];
            let dropped = || gateway.metric("sluice_drops_total", &["\"policy_ingress\""]);
            eventually(&format!("{} {who}: {is_open}", family.name), || {
                let before = dropped();
                let passes = self.lab.run(room, &curl).status.success();
                (passes == is_open && (is_open || dropped() > before)).then_some(())
            });
        }
    }

    /// Waits until the flow log names a rule.
    fn until_named(&self, rule: &str) {
        let rule = json!(rule).to_string();
        eventually(&rule, || {
            let text = fs::read_to_string(self.lab.folder.join("flows.log")).unwrap_or_default();
            text.contains(&rule).then_some(())
        });
    }
}

fn service(family: &Family) -> &'static str {
    if family.name == "IPv4" { "10.96.0.50" } else { "fd00:10:96::50" }
}

#[test]
fn policies_of_the_api_are_enforced_and_open_again() {
    let Some(scene) = Scene::up() else { return };
    let gateway = Gateway::ready(&scene.lab);
    for who in ["client", "friend"] {
        scene.until(&gateway, who, true);
    }
    scene.cluster.apply(FRIENDS);
    scene.until(&gateway, "client", false);
    scene.until(&gateway, "friend", true);
    scene.until_named("NetworkPolicy default/friends default deny ingress");
    // The label makes a friend.
    scene.cluster.kubectl(&["label", "pod", "friend", "app=stranger", "--overwrite"]);
    scene.until(&gateway, "friend", false);
    scene.cluster.kubectl(&["label", "pod", "friend", "app=friend", "--overwrite"]);
    scene.until(&gateway, "friend", true);

    // The server learns of another kind while the gateway runs.
    scripts_cluster("build", "network-policy-crds");
    let kind = scripts_cluster("path", "network-policy-crds");
    scene.cluster.kubectl(&["create", "-f", &kind]);
    let crd = "crd/clusternetworkpolicies.policy.networking.k8s.io";
    scene.cluster.kubectl(&["wait", "--for=condition=Established", crd, "--timeout=30s"]);
    scene.cluster.apply(NO_FRIENDS);
    scene.until(&gateway, "friend", false);
    scene.until_named("ClusterNetworkPolicy guard ingress[0] \"no-friends\"");
    scene.cluster.kubectl(&["delete", "clusternetworkpolicy", "guard"]);
    scene.until(&gateway, "friend", true);
    scene.until(&gateway, "client", false);
    scene.cluster.kubectl(&["delete", "networkpolicy", "friends"]);
    scene.until(&gateway, "client", true);
    gateway.stop();
}
