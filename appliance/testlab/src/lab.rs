use crate::run::{enter, script, succeeded};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// Seconds that a command may take.
const COMMAND_S_MAX: &str = "60";

/// A family's addresses in the lab (`scripts/lib/lab_common.sh`).
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// `IPv4` or `IPv6`.
    pub name: &'static str,
    /// The client outside.
    pub client: &'static str,
    /// The gateway's own address on the uplink.
    pub uplink: &'static str,
    /// The gateway's own address on the underlay, and a node's.
    pub underlay: &'static str,
    /// The Service `web`: TCP 80 to the pods' 8080.
    pub web: &'static str,
    /// Its address in the cluster.
    pub web_cluster: &'static str,
    /// The Service `dns-echo`: UDP 53 to the pods' 9053.
    pub echo: &'static str,
    /// An address that the tests' own Services use.
    pub extra: &'static str,
    /// A pod on the first node.
    pub pod1a: &'static str,
    /// A pod on the second node.
    pub pod2a: &'static str,
    /// What the gateway's SNAT addresses begin with.
    pub snat: &'static str,
    /// Headers of an IP and a UDP packet, in bytes.
    pub udp_overhead: usize,
}

/// IPv4.
pub const V4: Family = Family {
    name: "IPv4",
    client: "192.0.2.10",
    uplink: "192.0.2.1",
    underlay: "10.10.0.1",
    web: "203.0.113.10",
    web_cluster: "10.96.0.10",
    echo: "203.0.113.11",
    extra: "203.0.113.40",
    pod1a: "10.244.1.10",
    pod2a: "10.244.2.10",
    snat: "10.244.255.",
    udp_overhead: 28,
};

/// IPv6.
pub const V6: Family = Family {
    name: "IPv6",
    client: "2001:db8:1::10",
    uplink: "2001:db8:1::1",
    underlay: "fd00:10:10::1",
    web: "2001:db8:f00::10",
    web_cluster: "fd00:10:96::10",
    echo: "2001:db8:f00::11",
    extra: "2001:db8:f00::40",
    pod1a: "fd00:10:244:1::10",
    pod2a: "fd00:10:244:2::10",
    snat: "fd00:10:244:ff::",
    udp_overhead: 48,
};

/// Both.
pub const FAMILIES: [Family; 2] = [V4, V6];

impl Family {
    /// An address of this family as in a URL.
    pub fn url(&self, address: &str, path: &str) -> String {
        if address.contains(':') {
            format!("http://[{address}]{path}")
        } else {
            format!("http://{address}{path}")
        }
    }
}

/// What moves the frames of gateways, as `scripts/lab --io` takes it: `SLUICE_LAB_IO`, or
/// AF_XDP.
pub fn io() -> String {
    std::env::var("SLUICE_LAB_IO").unwrap_or_else(|_| "af_xdp".to_owned())
}

/// Whether frames come by the kernel, and what it has to do with that can be looked at; a
/// word if not.
pub fn is_by_kernel() -> bool {
    let is_by_kernel = io() == "af_xdp";
    if !is_by_kernel {
        eprintln!("skipped: it is about the kernel's part, which {} has not", io());
    }
    is_by_kernel
}

/// One lab; it goes when this does, on failure too.
pub struct Lab {
    name: String,
    /// Its runtime folder: `gateway.yaml`, `manifests/`, `log/`.
    pub folder: PathBuf,
}

impl Lab {
    /// Brings a lab up, whose gateway has its frames moved by [`io`]. `None`, with a word
    /// about it, without the privilege.
    pub fn up(options: &[&str]) -> Option<Lab> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: network namespaces and AF_XDP need root");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{}-{id}", std::process::id());
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_else(|| "/run".into());
        let folder = Path::new(&runtime).join("sluice-lab").join(&name);
        // Before it is up: a lab that is half up goes as well.
        let lab = Lab { name, folder };
        lab.script(&["up", "--io", &io()], options);
        Some(lab)
    }

    fn script(&self, command: &[&str], options: &[&str]) {
        let mut run = script("lab");
        run.args(command).args(["--name", &self.name]).args(options);
        succeeded(&run.output().expect("scripts/lab runs"), &format!("lab {command:?}"));
    }

    /// Ends a pod as Kubernetes does, with a second of grace.
    pub fn remove_pod(&self, pod: &str) {
        self.script(&["pod", "remove", pod], &[]);
    }

    /// Starts a pod again.
    pub fn add_pod(&self, pod: &str) {
        self.script(&["pod", "add", pod], &[]);
    }

    /// Its name, as `scripts/lab --name` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of a namespace.
    pub fn namespace(&self, short: &str) -> String {
        format!("{}-{short}", self.name)
    }

    /// A command inside a namespace, not started yet.
    pub fn command(&self, short: &str, command: &[&str]) -> Command {
        let mut run = Command::new("ip");
        run.args(["netns", "exec", &self.namespace(short), "timeout", COMMAND_S_MAX]).args(command);
        run
    }

    /// Runs a command inside a namespace.
    pub fn run(&self, short: &str, command: &[&str]) -> Output {
        self.command(short, command).output().expect("ip netns exec runs")
    }

    /// Runs a command inside a namespace; returns what it printed. It must
    /// succeed.
    pub fn ok(&self, short: &str, command: &[&str]) -> String {
        succeeded(&self.run(short, command), &format!("{short}: {}", command.join(" ")))
    }

    /// `curl` from a namespace; returns the body.
    pub fn curl(&self, short: &str, url: &str) -> String {
        self.ok(short, &["curl", "-sS", "--max-time", "20", "-H", "Connection: close", url])
    }

    /// Runs on a thread inside a namespace.
    pub fn within<T: Send>(&self, short: &str, f: impl FnOnce() -> T + Send) -> T {
        let namespace = self.namespace(short);
        let joined = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    enter(&namespace);
                    f()
                })
                .join()
        });
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Starts a thread inside a namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        short: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let namespace = self.namespace(short);
        std::thread::spawn(move || {
            enter(&namespace);
            f()
        })
    }

    /// Writes a manifest in one step, as `kubectl` and editors do.
    pub fn write_manifest(&self, file: &str, text: &str) {
        let staged = self.folder.join(format!("staged-{file}"));
        fs::write(&staged, text).unwrap();
        fs::rename(staged, self.folder.join("manifests").join(file)).unwrap();
    }

    /// Takes a manifest away.
    pub fn remove_manifest(&self, file: &str) {
        fs::remove_file(self.folder.join("manifests").join(file)).unwrap();
    }

    /// The configuration of its gateway.
    pub fn config(&self) -> PathBuf {
        self.folder.join("gateway.yaml")
    }

    /// Adds to the end of the configuration.
    pub fn add_config(&self, more: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), format!("{text}\n{more}\n")).unwrap();
    }

    /// Replaces a part of the configuration that must be there.
    pub fn edit_config(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = script("lab").args(["down", "--name", &self.name]).output();
        // A second panic would hide the first.
        if let Err(error) = down {
            eprintln!("scripts/lab down: {error}");
        }
    }
}
