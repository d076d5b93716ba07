//! A lab with a real cluster, and the gateway's configuration for it.

use crate::lab::{ControlPlane, Lab, eventually, succeeded};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kinds of Calico that Sluice reads, as far as the API server needs to know them.
pub const CALICO: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
     "metadata": {"name": "ipamblocks.crd.projectcalico.org"},
     "spec": {"group": "crd.projectcalico.org", "scope": "Cluster",
              "names": {"kind": "IPAMBlock", "plural": "ipamblocks", "singular": "ipamblock"},
              "versions": [{"name": "v1", "served": true, "storage": true, "schema":
                {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}},
    {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
     "metadata": {"name": "ippools.crd.projectcalico.org"},
     "spec": {"group": "crd.projectcalico.org", "scope": "Cluster",
              "names": {"kind": "IPPool", "plural": "ippools", "singular": "ippool"},
              "versions": [{"name": "v1", "served": true, "storage": true, "schema":
                {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}]}"#;

/// The kind ClusterNetworkPolicy; its objects may be anything.
pub const CLUSTER_NETWORK_POLICIES: &str = r#"{
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "clusternetworkpolicies.policy.networking.k8s.io",
                 "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
    "spec": {"group": "policy.networking.k8s.io", "scope": "Cluster",
             "names": {"kind": "ClusterNetworkPolicy", "plural": "clusternetworkpolicies",
                       "singular": "clusternetworkpolicy"},
             "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema":
               {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}"#;

/// The namespace of Sluice and its account.
pub const NAMESPACE: &str = "sluice";

/// A lab and the cluster in it.
pub struct Stage {
    pub cluster: ControlPlane,
    pub lab: Lab,
}

impl Stage {
    /// Brings up a lab with a cluster of so many real nodes, and writes the
    /// configuration of its gateway. `None` without the privilege.
    pub fn up(nodes: usize) -> Option<Stage> {
        let lab = Lab::up(&["--pods", "0"])?;
        let cluster = ControlPlane::up_in(&lab, nodes, &[]);
        let stage = Stage { cluster, lab };
        stage.allow();
        let server: SocketAddr = stage.server();
        stage.configure(server);
        Some(stage)
    }

    /// Where the API server listens.
    pub fn server(&self) -> SocketAddr {
        self.cluster.server.strip_prefix("https://").expect("https").parse().unwrap()
    }

    /// Gives the gateway's account what the chart gives it for a flannel cluster
    /// in which Sluice makes its own Node.
    fn allow(&self) {
        self.cluster.kubectl(&["create", "namespace", NAMESPACE]);
        self.cluster.apply(&rights("flannel"));
    }

    /// Writes the gateway's configuration: it reaches the API at `server`.
    pub fn configure(&self, server: SocketAddr) {
        self.cluster.kubeconfig_of(NAMESPACE, "sluice", &self.kubeconfig());
        at_server(&self.kubeconfig(), server, &self.kubeconfig());
        let text = fs::read_to_string(self.lab.config()).unwrap();
        if text.contains("kubernetes:") {
            return;
        }
        let from = text.find("source:").expect("a source");
        let to = text.find("metrics:").expect("metrics");
        let snapshot = self.lab.folder.join("snapshot");
        let source = format!(
            "source:\n  kubernetes:\n    kubeconfig: {}\n    snapshot: {{path: {}}}\n\n\
             node_name: gateway\n\n\
             node: {{register: true}}\n\n\
             load_balancer:\n  default: true\n  pools:\n    - name: outside\n      \
             addresses: [203.0.113.100-203.0.113.119, \"2001:db8:f00::100-2001:db8:f00::119\"]\n\n\
             announce: {{leases: {{namespace: {NAMESPACE}}}}}\n\n",
            self.kubeconfig().display(),
            snapshot.display()
        );
        let text = format!("{}{source}{}", &text[..from], &text[to..]);
        fs::write(self.lab.config(), text).unwrap();
        self.lab
            .edit_config("addresses: [10.244.255.0/28, \"fd00:10:244:ff::/124\"]", "from_node: 16");
        let overlay = fs::read_to_string(self.lab.config()).unwrap();
        let from = overlay.find("    vni:").expect("a VNI");
        let to = overlay.find("    port: cluster").expect("a port");
        let overlay = format!("{}    mode: flannel\n{}", &overlay[..from], &overlay[to..]);
        fs::write(self.lab.config(), overlay).unwrap();
        self.lab.edit_config(
            "addresses: [\"10.10.0.1\"]\n    mac:",
            "addresses: [\"10.10.0.1\", \"fd00:10:10::1\"]\n    mac:",
        );
    }

    /// The kubeconfig of the gateway.
    pub fn kubeconfig(&self) -> PathBuf {
        self.lab.folder.join("kubeconfig")
    }

    /// The addresses that a Service has been given, once there are so many.
    pub fn addresses(&self, service: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} addresses of {service}"), || {
            let path = "jsonpath={.status.loadBalancer.ingress[*].ip}";
            let text = self.cluster.kubectl(&["get", "service", service, "-o", path]);
            let addresses: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            (addresses.len() == count).then_some(addresses)
        })
    }
}

/// What the chart gives Sluice's account at the most, with the values for an
/// overlay.
pub fn rights(overlay: &str) -> String {
    rights_with(overlay, &[])
}

/// The same with more values.
pub fn rights_with(overlay: &str, values: &[&str]) -> String {
    scripts_cluster("build", "helm");
    let mut template = Command::new(scripts_cluster("path", "helm"));
    template.args(["template", "sluice", "chart", "--namespace", NAMESPACE]);
    template.args(["--show-only", "templates/rbac.yaml"]);
    template.args(["--values", &format!("values/{overlay}.yaml")]);
    template.args(["--set", "rbac.registerNode=true,config.load_balancer.pools[0].name=p"]);
    template.args(values.iter().flat_map(|value| ["--set", value]));
    let output = template.current_dir(kubernetes()).output().expect("helm runs");
    succeeded(&output, &format!("helm template with the values for {overlay}"))
}

/// The folder of chart and manifests.
pub fn kubernetes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/kubernetes")
}

/// Runs `scripts/cluster` about a tool; returns what it printed.
pub fn scripts_cluster(command: &str, tool: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster");
    let output = Command::new(script).args([command, tool]).output().expect("scripts/cluster runs");
    succeeded(&output, &format!("scripts/cluster {command} {tool}")).trim().to_owned()
}

/// Writes a kubeconfig like another one, with another server.
pub fn at_server(kubeconfig: &Path, server: SocketAddr, to: &Path) {
    let text = fs::read_to_string(kubeconfig).unwrap();
    let line = |line: &str| match line.trim_start().strip_prefix("server:") {
        Some(_) => {
            let indent = &line[..line.len() - line.trim_start().len()];
            format!("{indent}server: https://{server}\n")
        }
        None => format!("{line}\n"),
    };
    fs::write(to, text.lines().map(line).collect::<String>()).unwrap();
}
