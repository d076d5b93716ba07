use crate::lab::succeeded;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A real control plane without nodes; it goes when this does, on failure too.
pub struct ControlPlane {
    name: String,
    pub kubeconfig: PathBuf,
}

impl ControlPlane {
    /// Brings one up on loopback. `None`, with a word about it, without the
    /// privilege or without Go to build it.
    pub fn up(flags: &[&str]) -> Option<ControlPlane> {
        let flags = flags.iter().flat_map(|flag| ["--apiserver-flag", flag]);
        Self::with(&flags.collect::<Vec<_>>())
    }

    fn with(options: &[&str]) -> Option<ControlPlane> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Before it is up: one that is half up goes as well.
        let mut cluster = ControlPlane { name, kubeconfig: PathBuf::new() };
        cluster.script(&["up"], options);
        let env = cluster.script(&["env"], &[]);
        let line = env.lines().find_map(|line| line.trim_start_matches("export ").strip_prefix("KUBECONFIG="));
        cluster.kubeconfig = line.expect("KUBECONFIG").trim_matches(['\'', '"']).into();
        Some(cluster)
    }

    fn script(&self, command: &[&str], options: &[&str]) -> String {
        succeeded(&self.output(command, options), &format!("cluster {command:?} {options:?}"))
    }

    fn output(&self, command: &[&str], options: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster");
        let mut run = Command::new(script);
        run.args(["--name", &self.name]).args(command).args(options);
        run.output().expect("scripts/cluster runs")
    }

    /// Where the API server listens.
    pub fn address(&self) -> SocketAddr {
        let text = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let server = text.lines().find_map(|line| line.trim().strip_prefix("server: https://"));
        server.expect("a server").parse().unwrap()
    }

    /// `kubectl` as administrator; returns what it printed. It must succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.script(&["kubectl"], arguments)
    }

    /// Writes objects, given as YAML or JSON.
    pub fn apply(&self, objects: &str) {
        succeeded(&self.try_apply(objects), "kubectl apply");
    }

    /// The same, until the API server takes them.
    pub fn apply_until_taken(&self, objects: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.try_apply(objects).status.success() {
            assert!(Instant::now() < deadline, "never taken: {objects}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn try_apply(&self, objects: &str) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/cluster");
        let mut run = Command::new(script);
        run.args(["--name", &self.name, "kubectl", "apply", "--server-side", "-f", "-"]);
        let mut run = run
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("scripts/cluster runs");
        run.stdin.take().unwrap().write_all(objects.as_bytes()).unwrap();
        run.wait_with_output().unwrap()
    }

    /// A kubeconfig of a service account, next to the administrator's.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let text = self.script(&["kubeconfig"], &[&format!("{namespace}/{account}")]);
        let path = self.kubeconfig.with_file_name(format!("kubeconfig-{namespace}-{account}"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Makes etcd forget old revisions.
    pub fn compact(&self) {
        self.script(&["compact"], &[]);
    }

    /// Kills the API server and starts it again.
    pub fn restart_apiserver(&self) {
        self.script(&["stop"], &["apiserver"]);
        self.script(&["start"], &["apiserver"]);
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let down = self.output(&["down"], &[]);
        // A second panic would hide the first.
        if !down.status.success() {
            eprintln!("scripts/cluster down: {}", String::from_utf8_lossy(&down.stderr));
        }
    }
}
