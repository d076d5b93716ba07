use crate::gateway::{Gateway, SLUICE};
use crate::lab::{FAMILIES, Lab, eventually, is_by_kernel};
use rustix::process::Signal;
use std::path::Path;

/// What may be locked without `CAP_IPC_LOCK`: Linux's default since 5.16.
const MEMLOCK: &str = "--memlock=8388608:8388608";

/// The capabilities of the gateway's container, as the manifests name them.
fn capabilities() -> Vec<String> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/kubernetes/manifests/sluice.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("add: ["));
    let names = line.expect("capabilities").trim_end_matches(']').split(", ");
    names.map(|name| name.to_lowercase()).collect()
}

/// Runs `f` with the words that run a command as such a container does.
fn limited<T>(capabilities: &[String], f: impl FnOnce(&[&str]) -> T) -> T {
    let added: Vec<String> = capabilities.iter().map(|name| format!(",+{name}")).collect();
    let bounding = format!("--bounding-set=-all{}", added.concat());
    f(&["prlimit", MEMLOCK, "setpriv", &bounding, "--inh-caps=-all", "--no-new-privs"])
}

#[test]
fn a_gateway_with_the_capabilities_of_the_manifests_does_everything() {
    if !is_by_kernel() {
        return;
    }
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = limited(&capabilities(), |by| Gateway::start_by(&lab, by).until_ready());
    for family in FAMILIES {
        assert!(lab.curl("client", &family.url(family.web, "/")).starts_with("pod="));
    }
    assert!(gateway.metric("sluice_xdp_packets_total", &["redirected"]) > 0.0);
    assert!(gateway.ask(&["status"]).status.success());
    lab.edit_config("routes:\n", "routes:\n  - {to: 198.51.100.0/24, via: 192.0.2.77}\n");
    gateway.signal(Signal::HUP);
    eventually("the reload", || {
        (gateway.metric("sluice_config_reloads_total", &["\"taken\""]) == 1.0).then_some(())
    });
    let config = lab.config().display().to_string();
    let doctor = [SLUICE, "doctor", "--config", &config];
    let found = limited(&capabilities(), |by| lab.ok("gw", &[by, &doctor].concat()));
    assert!(found.contains(" 0 bad\n"), "{found}");
    gateway.stop();
    let links = lab.ok("gw", &["ip", "link", "show", "uplink"]);
    assert!(!links.contains("xdp"), "the XDP program is still there: {links}");
}

#[test]
fn without_one_of_them_it_does_not_start_and_says_why() {
    if !is_by_kernel() {
        return;
    }
    let Some(lab) = Lab::up(&[]) else { return };
    for missing in capabilities() {
        let rest: Vec<_> = capabilities().into_iter().filter(|name| *name != missing).collect();
        let mut gateway = limited(&rest, |by| Gateway::start_by(&lab, by));
        assert!(!gateway.wait().success(), "it runs without {missing}");
        let log = gateway.log();
        let said = log.lines().last().unwrap_or_default();
        let says = ["no permission to", "the memory to lock", "packet socket"];
        assert!(says.iter().any(|text| said.contains(text)), "without {missing}: {said}");
    }
}
