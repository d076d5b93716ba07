use crate::gateway::Gateway;
use crate::kernel::assert_undamaged;
use crate::lab::{FAMILIES, Family, Lab, eventually, io};
use crate::services::load_balancer_spreads;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// Bytes of a transfer, during which pods come and go.
const TRANSFER: &str = "/big/30000000";

#[test]
fn replies_that_reach_the_other_worker_are_handed_over() {
    let Some(lab) = Lab::up(&["--queues", "2"]) else { return };
    // Everything from clients comes in by queue 0, everything from nodes by
    // queue 1: a flow's two directions never reach the same worker.
    steer(&lab, "client", "eth0", 0);
    steer(&lab, "lan", "gw", 1);
    let gateway = Gateway::ready(&lab);
    for family in FAMILIES {
        load_balancer_spreads(&lab, family);
    }
    assert_split_by_queue(&gateway);
    for worker in ["worker=\"0\"", "worker=\"1\""] {
        let handed = gateway.metric("sluice_handoffs_total", &[worker, "direction=\"in\""]);
        assert!(handed > 0.0, "{worker} was handed nothing");
    }

    let downloads = FAMILIES.map(|family| Download::start(&lab, family));
    // A pod that serves neither download: those must outlive the change.
    let busy = downloads.each_ref().map(Download::pod);
    let idle = ["pod1a", "pod1b", "pod2a"].into_iter().find(|pod| !busy.iter().any(|b| b == pod));
    let idle = idle.expect("two downloads keep two of three pods busy at most");
    lab.remove_pod(idle);
    assert_one_owner_each(&gateway.show(&["flows"]));
    lab.add_pod(idle);
    for (download, pod) in downloads.into_iter().zip(busy) {
        download.finish(&gateway, &pod);
    }
    let flows = gateway.show(&["flows"]);
    assert_one_owner_each(&flows);
    assert_both_own_flows(&flows);
    assert_eq!(gateway.metric("sluice_drops_total", &["\"handoff_ring_full\""]), 0.0);
    assert_undamaged(&lab);
    gateway.stop();
}

/// A download under way.
struct Download {
    family: &'static str,
    headers: PathBuf,
    child: Child,
}

impl Download {
    fn start(lab: &Lab, family: Family) -> Self {
        let headers = lab.folder.join(format!("headers-{}", family.name));
        let shown = headers.display().to_string();
        let url = family.url(family.web, TRANSFER);
        let curl = ["curl", "-sS", "--limit-rate", "6M", "-D", &shown, "-o", "/dev/null", &url];
        let mut command = lab.command("client", &curl);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        Download { family: family.name, headers, child }
    }

    /// The pod that serves it.
    fn pod(&self) -> String {
        eventually("the download's first bytes", || {
            let headers = std::fs::read_to_string(&self.headers).ok()?;
            let pod = headers.lines().find_map(|line| line.strip_prefix("X-Pod: "))?;
            Some(pod.trim().to_owned())
        })
    }

    /// It must come to its end; if it does not, says what the gateway knows.
    fn finish(self, gateway: &Gateway<'_>, pod: &str) {
        let output = self.child.wait_with_output().unwrap();
        if !output.status.success() {
            panic!(
                "{} download from {pod}: {}\n{}{}\n{}",
                self.family,
                output.status,
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&gateway.ask(&["show", "flows"]).stdout),
                String::from_utf8_lossy(&gateway.ask(&["show", "drops"]).stdout),
            );
        }
    }
}

/// Makes a device send by one of its two queues alone (Documentation/networking
/// /scaling.rst, XPS); its peer receives by the same.
pub fn steer(lab: &Lab, namespace: &str, device: &str, queue: usize) {
    let all = (1u64 << std::thread::available_parallelism().map_or(1, |n| n.get().min(63))) - 1;
    for of in 0..2 {
        let cpus = if of == queue { all } else { 0 };
        let path = format!("/sys/class/net/{device}/queues/tx-{of}/xps_cpus");
        lab.ok(namespace, &["sh", "-c", &format!("echo {cpus:x} > {path}")]);
    }
}

fn assert_split_by_queue(gateway: &Gateway<'_>) {
    // Where a hash in the kernel gives workers their frames, queues have no part in it.
    if io() != "af_xdp" {
        return;
    }
    let received = |port: &str, worker: &str| {
        let labels = [port, worker, "direction=\"rx\""];
        gateway.metric("sluice_port_packets_total", &labels)
    };
    assert!(received("port=\"uplink\"", "worker=\"0\"") > 0.0);
    assert!(received("port=\"cluster\"", "worker=\"1\"") > 0.0);
    assert_eq!(received("port=\"uplink\"", "worker=\"1\""), 0.0);
    assert_eq!(received("port=\"cluster\"", "worker=\"0\""), 0.0);
}

fn assert_one_owner_each(flows: &Value) {
    assert_eq!(flows["complete"], true);
    let mut owners: HashMap<String, &Value> = HashMap::new();
    for flow in flows["flows"].as_array().unwrap() {
        let tuple = format!("{} {} {}", flow["protocol"], flow["client"], flow["destination"]);
        let first = owners.insert(tuple, flow);
        assert!(first.is_none(), "twice: {flow} and {first:?}");
    }
    assert!(!owners.is_empty());
}

fn assert_both_own_flows(flows: &Value) {
    for worker in 0..2 {
        let mut all = flows["flows"].as_array().unwrap().iter();
        assert!(all.any(|flow| flow["worker"] == worker), "worker {worker} owns nothing");
    }
}
