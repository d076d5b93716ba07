use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Lab, eventually};
use rustix::process::Signal;
use std::process::Stdio;

/// A transfer that takes a second or two at [`RATE`].
const TRANSFER: &str = "/big/3000000";
const RATE: &str = "2M";

#[test]
fn traffic_goes_on_while_readyz_says_draining() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.add_config("drain: {wait_s: 3600}");
    let gateway = Gateway::ready(&lab);
    let downloads = FAMILIES.map(|family| {
        let url = family.url(family.web, TRANSFER);
        let curl = ["curl", "-sS", "--limit-rate", RATE, "-o", "/dev/null", &url];
        lab.command("client", &curl).stderr(Stdio::piped()).spawn().unwrap()
    });
    eventually("both downloads under way", || {
        (gateway.metric("sluice_service_bytes_total", &["\"out\""]) > 1e5).then_some(())
    });
    gateway.signal(Signal::TERM);
    let body = eventually("readyz to turn", || {
        let (status, body) = gateway.get("/readyz");
        (status == 503).then_some(body)
    });
    assert!(body.contains("draining"), "{body}");
    assert_eq!(gateway.get("/healthz").0, 200);
    assert_eq!(gateway.metric("sluice_ready", &[]), 0.0);
    let status = gateway.ask(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(shown.lines().next().unwrap().contains(": draining,"), "{shown}");
    // Old connections and new ones alike.
    for download in downloads {
        let output = download.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for family in FAMILIES {
        assert!(lab.curl("client", &family.url(family.web, "/")).starts_with("pod="));
    }
    // A second signal does not wait for the hour to pass.
    gateway.stop();
}

#[test]
fn a_drain_ends_by_itself() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.add_config("drain: {wait_s: 2}");
    let mut gateway = Gateway::ready(&lab);
    gateway.signal(Signal::INT);
    eventually("readyz to turn", || (gateway.get("/readyz").0 == 503).then_some(()));
    let status = gateway.wait();
    assert!(status.success(), "{status}");
    assert!(gateway.log().contains("draining"), "{}", gateway.log());
}
