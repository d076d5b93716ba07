use crate::gateway::Gateway;
use crate::lab::{self, eventually};
use std::collections::BTreeMap;

/// Prints how the ports of a story are attached, and how many packets of its connections
/// each worker has had. They are as the lab says, and every worker has had some.
pub fn report(gateway: &Gateway<'_>, story: &str) {
    let (_, text) = gateway.get("/metrics");
    for line in series(&text, "sluice_port_info") {
        let [port, queue, mode] = ["port", "queue", "mode"].map(|name| label(line, name));
        let expected = if lab::io() == "af_xdp" { "af_xdp " } else { "dpdk net_af_" };
        assert!(mode.starts_with(expected), "{line}");
        eprintln!("{story}: port {port}, queue {queue}: {mode}");
    }
    let workers = eventually("packets of every worker", || {
        let workers = packets(gateway);
        workers.values().all(|counts| counts.values().all(|count| *count > 0)).then_some(workers)
    });
    for (worker, counts) in workers {
        eprintln!("{story}: worker {worker}: {} L7 frames in, {} out", counts["in"], counts["out"]);
    }
}

/// What each worker has had: packets by direction.
fn packets(gateway: &Gateway<'_>) -> BTreeMap<String, BTreeMap<String, u64>> {
    let (_, text) = gateway.get("/metrics");
    let mut workers: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for line in series(&text, "sluice_l7_packets_total") {
        let [worker, direction] = ["worker", "direction"].map(|name| label(line, name).to_owned());
        let count = line.rsplit(' ').next().unwrap().parse().unwrap();
        workers.entry(worker).or_default().insert(direction, count);
    }
    assert!(!workers.is_empty(), "{text}");
    workers
}

fn series<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let is_meant = move |line: &&str| line.strip_prefix(name).is_some_and(|s| s.starts_with('{'));
    text.lines().filter(is_meant)
}

fn label<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!("{name}=\"")).expect(line);
    rest.split('"').next().unwrap()
}
