//! What DPDK cannot do is said before there is traffic.

use crate::gateway::Gateway;
use crate::lab::{FAMILIES, Lab};

/// A gateway with its devices as one or two ports of DPDK's `net_af_packet`, its frames and
/// more of `io.dpdk`; it must not run. Returns what it has said.
fn refused(lab: &Lab, config: &str, uplink: &str, more: &str) -> String {
    let io = config.split_once("\nio:\n").expect("io").1.split_once("\n\n").expect("its end").0;
    let text = config
        .replace(io, &format!("  backend: dpdk\n{more}"))
        .replace("device: uplink", &format!("device: \"{uplink}\""))
        .replace("device: cluster", "device: \"net_af_packet1,iface=cluster\"");
    std::fs::write(lab.config(), text).unwrap();
    let mut gateway = Gateway::start(lab);
    assert!(!gateway.wait().success(), "it runs");
    gateway.log()
}

#[test]
fn what_dpdk_cannot_do_is_said_before_there_is_traffic() {
    let Some(lab) = Lab::up(&["--io", "af_xdp"]) else { return };
    let one = std::fs::read_to_string(lab.config()).unwrap();
    let two = one.replace("  count: 1\n", "  count: 2\n");
    let uplink = "net_af_packet0,iface=uplink";
    let small = "  dpdk: {huge_pages: false}";
    for (config, uplink, more, place, said) in [
        (
            &one,
            "net_af_packet0,iface=nosuch0",
            small,
            "ports[0].device",
            "no device `net_af_packet0`",
        ),
        (&one, "net_nosuch0", small, "ports[0].device", "parse device 'net_nosuch0'"),
        (&two, uplink, small, "ports[0].device", "has 1 queues, and each of 2 workers needs one"),
        (
            &one,
            uplink,
            "  dpdk: {huge_pages: false, arguments: [--no-such-thing]}",
            "io.dpdk",
            "--no-such-thing",
        ),
        // More than any machine that runs this has reserved.
        (&one, uplink, "  frames: 1048576", "io.dpdk", "MiB in huge pages, of which"),
        (&one, uplink, "  dpdk: {arguments: [-m64]}", "io.dpdk.arguments[0]", "`-m64`"),
    ] {
        let log = refused(&lab, config, uplink, more);
        let error = format!("error: {place}: ");
        assert!(log.contains(&error) && log.contains(said), "{place}: {said}: {log}");
    }
}

/// A driver may put frames behind more headroom than others, and they fill a chunk then.
#[test]
fn frames_of_the_largest_mtu_pass() {
    let Some(lab) = Lab::up(&["--io", "net_af_xdp", "--uplink-mtu", "1774"]) else { return };
    let uplink = "    addresses: [192.0.2.1/24";
    lab.edit_config(uplink, &format!("    mtu: 1774\n{uplink}"));
    let gateway = Gateway::ready(&lab);
    for (family, payload) in FAMILIES.into_iter().zip(["1746", "1726"]) {
        let ping = ["ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "5", "-M", "do", "-s"];
        let said = lab.ok("client", &[&ping[..], &[payload, family.uplink]].concat());
        assert!(said.contains(" 3 received"), "{said}");
    }
    let dropped = gateway.metric("sluice_port_kernel_drops_total", &["rx_dropped"]);
    assert_eq!(dropped, 0.0);
    gateway.stop();
}
