//! A lab with a real cluster, and the gateway's configuration for it.

use crate::lab::{ControlPlane, Lab, eventually};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What the gateway may, as its users deploy it.
const MANIFESTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../config/kubernetes/manifests/sluice.yaml");

/// The namespace that they use.
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

    /// Gives the gateway's account what the deployed manifests give it.
    fn allow(&self) {
        let text = fs::read_to_string(MANIFESTS).unwrap();
        let is_right = |document: &&str| {
            [
                "Namespace",
                "ServiceAccount",
                "ClusterRole",
                "ClusterRoleBinding",
                "Role",
                "RoleBinding",
            ]
            .iter()
            .any(|kind| document.lines().any(|line| line == format!("kind: {kind}")))
        };
        let rights: Vec<&str> = text.split("\n---\n").filter(is_right).collect();
        assert!(rights.len() >= 6, "{} documents", rights.len());
        self.cluster.apply(&rights.join("\n---\n"));
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
