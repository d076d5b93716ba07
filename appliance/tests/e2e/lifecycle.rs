use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Lab, eventually, is_by_kernel};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

#[test]
fn sigterm_detaches_and_ends_with_success() {
    if !is_by_kernel() {
        return;
    }
    let Some(lab) = Lab::up(&[]) else { return };
    assert!(!takes_all_multicast(&lab));
    let mut gateway = Gateway::ready(&lab);
    assert!(is_attached(&lab));
    assert!(takes_all_multicast(&lab), "a NIC would not pass neighbor solicitations");
    let socket = lab.folder.join("sluice.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    gateway.signal(Signal::TERM);
    let status = gateway.wait();
    assert!(status.success(), "{status}");
    assert!(!is_attached(&lab), "the XDP program is still there");
    assert!(!takes_all_multicast(&lab), "the multicast membership is still there");
    assert!(!socket.exists(), "the admin socket is still there");
    let shown = gateway.ask(&["status"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&shown.stderr).contains("no gateway listens"));
}

#[test]
fn a_killed_gateway_leaves_nothing_and_can_start_again() {
    if !is_by_kernel() {
        return;
    }
    let Some(lab) = Lab::up(&[]) else { return };
    let mut killed = Gateway::ready(&lab);
    assert!(is_attached(&lab));
    let family = FAMILIES[0];
    let url = family.url(family.web, "/big/1000000000");
    // Killing `timeout` leaves curl behind: it has a limit of its own.
    let curl = ["curl", "-s", "--max-time", "30", "-o", "/dev/null", &url];
    let mut download = lab.command("client", &curl).stdout(Stdio::null()).spawn().unwrap();
    eventually("the download under way", || {
        (killed.metric("sluice_service_bytes_total", &["\"out\""]) > 1e6).then_some(())
    });
    killed.signal(Signal::KILL);
    assert!(!killed.wait().success());
    eventually("the XDP programs to go", || (!is_attached(&lab)).then_some(()));
    assert!(!takes_all_multicast(&lab), "the multicast membership is still there");
    assert!(lab.folder.join("sluice.sock").exists(), "a killed process cannot tidy up");
    let gateway = Gateway::ready(&lab);
    for family in FAMILIES {
        assert!(lab.curl("client", &family.url(family.web, "/")).starts_with("pod="));
    }
    download.kill().unwrap();
    download.wait().unwrap();
    gateway.stop();
}

#[test]
fn sighup_takes_routes_and_refuses_workers() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    lab.edit_config("routes:\n", "routes:\n  - {to: 198.51.100.0/24, via: 192.0.2.77}\n");
    let reloads = |result: &str| gateway.metric("sluice_config_reloads_total", &[result]);
    let is_successful = || gateway.metric("sluice_config_last_reload_successful", &[]) == 1.0;
    let wrong = || {
        let shown = gateway.ask(&["status"]);
        assert!(shown.status.success(), "the old configuration goes on");
        String::from_utf8(shown.stdout).unwrap()
    };
    assert!(reloads("\"taken\"") == 0.0 && reloads("\"refused\"") == 0.0 && is_successful());
    gateway.signal(Signal::HUP);
    eventually("the new route", || {
        let routes = gateway.show(&["routes"]);
        routes.as_array()?.iter().find(|route| route["via"] == "192.0.2.77").map(drop)
    });
    lab.edit_config("mode: adaptive", "mode: sleep");
    lab.edit_config("192.0.2.77", "192.0.2.78");
    gateway.signal(Signal::HUP);
    eventually("the refusal", || {
        gateway.log().contains("need a restart of Sluice: workers").then_some(())
    });
    let routes = gateway.show(&["routes"]);
    let vias: Vec<_> = routes.as_array().unwrap().iter().map(|route| &route["via"]).collect();
    assert!(vias.iter().any(|via| **via == "192.0.2.77"), "{vias:?}");
    assert!(lab.curl("client", &FAMILIES[0].url(FAMILIES[0].web, "/")).starts_with("pod="));
    eventually("the refusal to be counted", || (reloads("\"refused\"") == 1.0).then_some(()));
    assert!(reloads("\"taken\"") == 1.0 && !is_successful());
    assert!(wrong().contains("these need a restart of Sluice: workers"), "{}", wrong());
    lab.edit_config("mode: sleep", "mode: adaptive");
    gateway.signal(Signal::HUP);
    eventually("the file to be taken", || (reloads("\"taken\"") == 2.0).then_some(()));
    assert!(is_successful() && !wrong().contains("need a restart"), "{}", wrong());
    gateway.stop();
}

#[test]
fn a_port_without_a_link_is_not_ready_until_it_is_back() {
    if !is_by_kernel() {
        return;
    }
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    lab.ok("client", &["ip", "link", "set", "eth0", "down"]);
    let body = eventually("readyz to turn", || {
        let (status, body) = gateway.get("/readyz");
        (status == 503).then_some(body)
    });
    assert!(
        body.starts_with("port uplink: device uplink is ") && body.lines().count() == 1,
        "{body}"
    );
    assert_eq!(gateway.get("/healthz").0, 200, "a restart mends no cable");
    assert_eq!(gateway.metric("sluice_ready", &[]), 0.0);
    let status = gateway.ask(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.contains("  not ready: port uplink: device uplink is "), "{text}");
    lab.ok("client", &["ip", "link", "set", "eth0", "up"]);
    eventually("readiness", || (gateway.get("/readyz").0 == 200).then_some(()));
    // Another device of the same name is not the one that was taken.
    lab.ok("gw", &["ip", "link", "set", "uplink", "down"]);
    lab.ok("gw", &["ip", "link", "set", "uplink", "name", "taken"]);
    lab.ok("gw", &["ip", "link", "add", "uplink", "type", "veth", "peer", "other"]);
    for device in ["uplink", "other"] {
        lab.ok("gw", &["ip", "link", "set", device, "up"]);
    }
    let (status, body) = gateway.get("/readyz");
    assert_eq!((status, &*body), (503, "port uplink: device uplink is gone\n"));
    gateway.stop();
}

#[test]
fn a_second_gateway_is_refused_and_the_first_goes_on() {
    let Some(lab) = Lab::up(&[]) else { return };
    let gateway = Gateway::ready(&lab);
    let mut second = Gateway::start(&lab);
    assert_eq!(second.wait().code(), Some(1));
    assert!(lab.curl("client", &FAMILIES[1].url(FAMILIES[1].web, "/")).starts_with("pod="));
    assert_eq!(gateway.get("/healthz").0, 200);
    assert_eq!(gateway.get("/readyz"), (200, "ok\n".to_owned()));
    assert_eq!(gateway.get("/nothing").0, 404);
    gateway.stop();
}

#[test]
fn a_gateway_without_manifests_is_not_ready_and_says_why() {
    let Some(lab) = Lab::up(&[]) else { return };
    lab.edit_config("/manifests", "/no-such-folder");
    let gateway = Gateway::start(&lab);
    let body = eventually("an answer of readyz", || {
        let (status, body) = gateway.get("/readyz");
        (status == 503).then_some(body)
    });
    assert!(body.contains("worker 0 has no tables yet"), "{body}");
    let status = gateway.ask(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stdout).contains("not ready"));
    gateway.stop();
}

#[test]
fn devices_that_do_not_do_are_refused_with_the_way_out() {
    if !is_by_kernel() {
        return;
    }
    let Some(lab) = Lab::up(&[]) else { return };
    // What this start has said, all of it with file, line, column and key path.
    let refused = |expected: &[(&str, &str)]| {
        let before = std::fs::read(lab.folder.join("log/gateway")).unwrap_or_default().len();
        let mut gateway = Gateway::start(&lab);
        assert_eq!(gateway.wait().code(), Some(1));
        let log = gateway.log();
        let said = &log[before..];
        for (path, message) in expected {
            let line = said.lines().find(|line| line.contains(&format!(": error: {path}: ")));
            let line = line.unwrap_or_else(|| panic!("{path} is not in\n{said}"));
            let place = line.split_once("gateway.yaml:").expect("the file's name").1;
            let mut numbers = place.split(':');
            for _ in 0..2 {
                assert!(numbers.next().unwrap().parse::<u32>().unwrap() > 0, "{line}");
            }
            assert!(said.contains(message), "{message} is not in\n{said}");
        }
    };
    lab.edit_config("count: 1", "count: 2");
    lab.edit_config("device: uplink", "device: absent");
    refused(&[
        ("ports[0].device", "no network device `absent`"),
        ("ports[1].device", "device `cluster` has 1 receive and 1 transmit queues"),
    ]);
    lab.edit_config("count: 2", "count: 1");
    lab.edit_config("device: absent", "device: uplink");
    lab.ok("gw", &["ip", "route", "add", "default", "dev", "uplink"]);
    lab.ok("gw", &["ip", "link", "set", "cluster", "mtu", "1320"]);
    refused(&[
        ("ports[0].device", "allow_default_route: true"),
        ("ports[1].mtu", "the underlay's MTU must be at least 1330"),
    ]);
    assert!(!is_attached(&lab));
}

/// Whether an XDP program is attached to a device of the gateway.
fn is_attached(lab: &Lab) -> bool {
    lab.ok("gw", &["ip", "link"]).contains("xdp")
}

/// Whether the gateway's devices, all of them, receive every multicast frame
/// (`IFF_ALLMULTI` of <linux/if.h>).
fn takes_all_multicast(lab: &Lab) -> bool {
    ["uplink", "cluster"].iter().all(|device| {
        let path = format!("/sys/class/net/{device}/flags");
        let text = lab.ok("gw", &["cat", &path]);
        let flags = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).unwrap();
        flags & 1 << 9 != 0
    })
}
