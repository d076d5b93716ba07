use crate::gateway::Gateway;
use crate::kernel::assert_undamaged;
use crate::lab::{FAMILIES, Family, Lab, eventually};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

#[test]
fn pods_come_and_go_under_load_without_a_failure() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    let updates = gateway.metric("sluice_updates_total", &[]);
    let loads: Vec<Load> = FAMILIES.iter().map(|family| Load::start(&lab, *family)).collect();
    for pod in ["pod1b", "pod2a"] {
        lab.remove_pod(pod);
    }
    assert_eq!(answering(&lab), BTreeSet::from(["pod1a".to_owned(), "pod2b".to_owned()]));
    for pod in ["pod1b", "pod2a"] {
        lab.add_pod(pod);
    }
    eventually("all pods in rotation", || (answering(&lab).len() == 4).then_some(()));
    for load in loads {
        let (answered, failed) = load.finish();
        assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), answered);
        assert!(answered > 0, "no request was made");
    }
    // Terminating, gone and back: three changes of each pod.
    assert!(gateway.metric("sluice_updates_total", &[]) >= updates + 4.0);
    assert!(gateway.metric("sluice_event_to_live_seconds_count", &[]) >= updates + 4.0);
    assert_undamaged(&lab);
    gateway.stop();
}

/// The pods that answer 40 requests.
fn answering(lab: &Lab) -> BTreeSet<String> {
    let family = FAMILIES[0];
    let answers = lab.curl("client", &family.url(family.web, "/?[1-40]"));
    let pods = answers.lines().filter_map(|line| line.strip_prefix("pod=")?.split(' ').next());
    pods.map(str::to_owned).collect()
}

/// Requests one after another, each a new connection.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Load {
    fn start(lab: &Lab, family: Family) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let url = family.url(family.web, "/");
        let thread = lab.spawn("client", move || {
            let (mut answered, mut failed) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let curl = ["-sS", "--max-time", "10", url.as_str()];
                let output = std::process::Command::new("curl").args(curl).output().unwrap();
                if output.status.success() && output.stdout.starts_with(b"pod=") {
                    answered += 1;
                } else {
                    failed.push(String::from_utf8_lossy(&output.stderr).into_owned());
                }
            }
            (answered, failed)
        });
        Load { stop, thread }
    }

    fn finish(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn a_broken_manifest_is_named_and_the_rest_goes_on() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    lab.write_manifest("broken.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: [\n");
    let status = eventually("the broken file in the status", || {
        let text = String::from_utf8(gateway.ask(&["status"]).stdout).unwrap();
        text.contains("broken.yaml:").then_some(text)
    });
    let line = status.lines().find(|line| line.contains("broken.yaml:")).unwrap();
    assert!(line.contains("error"), "{line}");
    let place = line.split("broken.yaml:").nth(1).unwrap();
    let row: u32 = place.split(':').next().unwrap().parse().unwrap();
    assert!((3..=4).contains(&row), "{line}");
    assert!(gateway.metric("sluice_diagnostics", &["\"error\""]) >= 1.0);
    for family in FAMILIES {
        assert!(lab.curl("client", &family.url(family.web, "/")).starts_with("pod="));
    }
    // A good change beside it is taken.
    lab.remove_manifest("service-iperf.yaml");
    eventually("two Services left", || {
        (gateway.show(&["services"]).as_array()?.len() == 2).then_some(())
    });
    lab.remove_manifest("broken.yaml");
    eventually("nothing wrong", || {
        let text = String::from_utf8(gateway.ask(&["status"]).stdout).unwrap();
        (!text.contains("broken.yaml")).then_some(())
    });
    gateway.stop();
}
