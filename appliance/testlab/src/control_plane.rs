use crate::lab::Lab;
use crate::run::{script, succeeded};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A real etcd, API server and controller manager (`scripts/cluster`), with
/// nodes if it is in a lab. It goes when this does, on failure too.
///
/// Its programs are built by `scripts/cluster build`, or at its first use:
/// minutes.
pub struct ControlPlane {
    name: String,
    /// Its runtime folder: `kubeconfig`, `env`, `tls/ca.crt`, `log/`.
    pub folder: PathBuf,
    /// The URL of its API server.
    pub server: String,
}

impl ControlPlane {
    /// A control plane on this machine's loopback, without nodes: nodes and pods
    /// are what a test makes up, and stay as it makes them. No privilege needed.
    /// `apiserver_flags` are added to the API server's.
    pub fn up(apiserver_flags: &[&str]) -> ControlPlane {
        Self::start(&[], apiserver_flags)
    }

    /// A control plane on the underlay of a lab that is up with `--pods 0`, with
    /// so many real nodes, which have the image `localhost/agnhost:test`. Without
    /// real nodes the lab may have pods. Its API server is reached from the lab's
    /// namespaces `gw` and `cp`.
    pub fn up_in(lab: &Lab, nodes: usize, apiserver_flags: &[&str]) -> ControlPlane {
        let nodes = nodes.to_string();
        Self::start(&["--lab", lab.name(), "--nodes", &nodes], apiserver_flags)
    }

    fn start(options: &[&str], apiserver_flags: &[&str]) -> ControlPlane {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{id}", std::process::id());
        // Before it is up: one that is half up goes as well.
        let mut cluster = ControlPlane { name, folder: PathBuf::new(), server: String::new() };
        let mut all = vec!["up"];
        all.extend(options);
        all.extend(apiserver_flags.iter().flat_map(|flag| ["--apiserver-flag", flag]));
        cluster.ok(&all);
        cluster.folder = cluster.variable("CLUSTER_DIR").into();
        cluster.server = cluster.variable("CLUSTER_SERVER");
        cluster
    }

    /// A variable of its environment file.
    fn variable(&self, name: &str) -> String {
        let environment = self.ok(&["env"]);
        let prefix = format!("export {name}=");
        let value = environment.lines().find_map(|line| line.strip_prefix(&prefix));
        value.unwrap_or_else(|| panic!("no {name} in\n{environment}")).to_owned()
    }

    /// Runs `scripts/cluster` for this cluster; returns what it printed. It must
    /// succeed.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = script("cluster").args(["--name", &self.name]).args(arguments).output();
        succeeded(&output.expect("scripts/cluster runs"), &format!("cluster {arguments:?}"))
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The certificate of the authority that signs everything here.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("tls/ca.crt")
    }

    /// Writes a kubeconfig with a token of a service account, good for an hour.
    pub fn kubeconfig_of(&self, namespace: &str, service_account: &str, file: &Path) {
        let account = format!("{namespace}/{service_account}");
        std::fs::write(file, self.ok(&["kubeconfig", &account])).unwrap();
    }

    /// Runs kubectl as the administrator.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Output {
        let mut run = script("cluster");
        run.args(["--name", &self.name, "kubectl"]).args(arguments);
        run.output().expect("scripts/cluster runs")
    }

    /// Runs kubectl as the administrator; returns what it printed. It must
    /// succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        succeeded(&self.try_kubectl(arguments), &format!("kubectl {arguments:?}"))
    }

    /// `kubectl apply` of manifests.
    pub fn apply(&self, manifests: &str) -> String {
        let mut run = script("cluster");
        run.args(["--name", &self.name, "kubectl", "apply", "-f", "-"]);
        run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = run.spawn().expect("scripts/cluster runs");
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        succeeded(&child.wait_with_output().unwrap(), "kubectl apply")
    }

    /// Kills a component: `etcd`, `apiserver`, `controller-manager`, `scheduler`
    /// or a node.
    pub fn stop(&self, component: &str) {
        self.ok(&["stop", component]);
    }

    /// Starts a component again with the same ports and data, and waits until it
    /// serves.
    pub fn start_again(&self, component: &str) {
        self.ok(&["start", component]);
    }

    /// Kills the API server: nothing listens on its port.
    pub fn stop_apiserver(&self) {
        self.stop("apiserver");
    }

    /// Starts it again, and waits until it is ready.
    pub fn start_apiserver(&self) {
        self.start_again("apiserver");
    }

    /// Makes etcd forget every revision but the last. The API server answers
    /// recent ones from its memory: restart it as well for `410 Gone`.
    pub fn compact(&self) {
        self.ok(&["compact"]);
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let down = script("cluster").args(["down", "--name", &self.name]).output();
        // A second panic would hide the first.
        if let Err(error) = down {
            eprintln!("scripts/cluster down: {error}");
        }
    }
}
