//! DPDK's own: what it cannot do is said before there is traffic, and its virtual devices.

use crate::gateway::{Gateway, SLUICE};
use crate::kernel::assert_undamaged;
use crate::lab::{FAMILIES, Lab, V4, eventually};
use crate::services;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};

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
    let device = "ports[0].device";
    let tall = one.replace("name: uplink\n", "name: uplink\n    mtu: 1774\n");
    for (config, uplink, more, place, said) in [
        (&one, "net_af_packet0,iface=nosuch0", small, device, "no network device `nosuch0`"),
        (&one, "net_nosuch0", small, device, "parse device 'net_nosuch0'"),
        (&two, uplink, small, device, "has 1 queues, and each of 2 workers needs one"),
        // The kernel would give frames to four.
        (&one, "net_af_packet0,iface=uplink,qpairs=4", small, device, "say `qpairs=1`"),
        // The kernel would have the frames of a queue that the driver has not.
        (&two, "net_af_xdp0,iface=uplink", small, device, "has 1 receive and"),
        (&tall, uplink, small, "ports[0].mtu", "ip link set dev uplink mtu 1774"),
        (
            &one,
            uplink,
            "  dpdk: {huge_pages: false, arguments: [--mbuf-pool-ops-name=nosuch]}",
            "io.frames",
            "makes no pool",
        ),
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
    lab.ok("gw", &["ip", "route", "add", "default", "dev", "uplink"]);
    let log = refused(&lab, &one, uplink, small);
    assert!(log.contains("error: ports[0].device: device `uplink` carries the kernel's"), "{log}");
}

/// Drivers on devices of the kernel's do not learn that those are gone.
#[test]
fn a_device_that_goes_down_or_away_is_noticed() {
    for driver in ["net_af_packet", "net_af_xdp"] {
        let Some(lab) = Lab::up(&["--io", driver]) else { return };
        // More than fit where frames of usual pages are not reckoned with.
        lab.edit_config("  frames: 32768\n", "  frames: 73728\n");
        let gateway = Gateway::ready(&lab);
        let lost = |gateway: &Gateway<'_>| {
            let why = eventually("a lost link", || match gateway.get("/readyz") {
                (503, why) => Some(why),
                _ => None,
            });
            assert!(why.contains("uplink"), "{why}");
        };
        lab.ok("gw", &["ip", "link", "set", "uplink", "down"]);
        lost(&gateway);
        lab.ok("gw", &["ip", "link", "set", "uplink", "up"]);
        let gateway = gateway.until_ready();
        lab.ok("gw", &["ip", "link", "del", "uplink"]);
        lost(&gateway);
        assert_eq!(gateway.show(&["ports"])[0]["link"], "gone");
        gateway.stop();
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

/// A gateway whose two devices are others of DPDK's than the lab's.
fn on_devices(lab: &Lab, [uplink, cluster]: [&str; 2]) {
    lab.edit_config("net_af_packet0,iface=uplink,qpairs=1,framecnt=1024", uplink);
    lab.edit_config("net_af_packet1,iface=cluster,qpairs=1,framecnt=1024", cluster);
}

/// What passes between clients and pods, whichever the devices.
fn services_are_reached(lab: &Lab) {
    for family in FAMILIES {
        services::load_balancer_spreads(lab, family);
    }
    assert_undamaged(lab);
}

#[test]
fn taps_carry_frames() {
    let Some(lab) = Lab::up(&["--io", "net_af_packet"]) else { return };
    on_devices(&lab, ["net_tap0,iface=tap-uplink", "net_tap1,iface=tap-cluster"]);
    let gateway = Gateway::ready(&lab);
    for port in ["uplink", "cluster"] {
        let (tap, bridge) = (format!("tap-{port}"), format!("br-{port}"));
        // The driver gives the kernel's end the address of its own.
        let other = if port == "uplink" { "02:00:00:00:7a:01" } else { "02:00:00:00:7a:02" };
        for command in [
            format!("ip link add {bridge} type bridge mcast_snooping 0"),
            format!("sysctl -qw net.ipv6.conf.{bridge}.disable_ipv6=1"),
            format!("ip link set {tap} address {other}"),
            format!("ip link set {tap} master {bridge}"),
            format!("ip link set {port} master {bridge}"),
            format!("ip link set {bridge} up"),
        ] {
            lab.ok("gw", &command.split(' ').collect::<Vec<_>>());
        }
    }
    services_are_reached(&lab);
    gateway.stop();
}

/// `dpdk-testpmd` between memory that the gateway shares and the lab's devices.
struct Bridge {
    child: Child,
    /// What DPDK leaves of it.
    runtime: String,
}

impl Bridge {
    fn start(lab: &Lab, sockets: [&str; 2]) -> Self {
        let prefix = format!("--file-prefix={}", lab.name());
        let mut command = vec!["dpdk-testpmd", "--no-pci", "--no-huge", "-m256", &prefix];
        let devices = [
            format!("--vdev=net_memif0,role=client,socket={},socket-abstract=no", sockets[0]),
            "--vdev=net_af_packet0,iface=uplink".to_owned(),
            format!("--vdev=net_memif1,role=client,socket={},socket-abstract=no", sockets[1]),
            "--vdev=net_af_packet1,iface=cluster".to_owned(),
        ];
        command.extend(["--no-telemetry", "--no-shconf"]);
        command.extend(devices.iter().map(String::as_str));
        // It ends when its standard input does.
        command.extend(["--", "--forward-mode=io", "--total-num-mbufs=16384"]);
        let mut command = lab.command("gw", &command);
        let log = File::create(lab.folder.join("log/testpmd")).unwrap();
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().expect("dpdk-testpmd runs");
        Bridge { child, runtime: format!("/run/dpdk/{}", lab.name()) }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.runtime);
    }
}

#[test]
fn shared_memory_carries_frames() {
    let Some(lab) = Lab::up(&["--io", "net_af_packet"]) else { return };
    let socket = |name: &str| lab.folder.join(name).display().to_string();
    let sockets = [socket("memif-uplink"), socket("memif-cluster")];
    let device = |number: usize| {
        let socket = &sockets[number];
        format!("net_memif{number},role=server,socket={socket},socket-abstract=no")
    };
    on_devices(&lab, [&device(0), &device(1)]);
    let gateway = Gateway::start(&lab);
    eventually("shared memory", || {
        sockets.iter().all(|path| Path::new(path).exists()).then_some(())
    });
    let bridge = Bridge::start(&lab, [&sockets[0], &sockets[1]]);
    // Before that its links are down.
    let gateway = gateway.until_ready();
    services_are_reached(&lab);
    // Whoever was at the other end is gone, and comes back.
    drop(bridge);
    let why = eventually("a lost link", || match gateway.get("/readyz") {
        (503, why) => Some(why),
        _ => None,
    });
    assert!(why.contains("uplink") || why.contains("cluster"), "{why}");
    let bridge = Bridge::start(&lab, [&sockets[0], &sockets[1]]);
    let gateway = gateway.until_ready();
    services_are_reached(&lab);
    drop(bridge);
    gateway.stop();
}

/// Addresses of the kernel's in the uplink's network, and the name of its device.
const KERNEL: [&str; 2] = ["192.0.2.9", "2001:db8:1::9"];
const TAP: &str = "outer";

/// A lab whose gateway has them.
fn with_kernel_addresses(lab: &Lab) {
    let [v4, v6] = KERNEL;
    let sysctl = "sysctl -qw net.ipv6.conf.default.disable_ipv6=0";
    lab.ok("gw", &sysctl.split(' ').collect::<Vec<_>>());
    lab.edit_config("name: uplink", &format!("name: {TAP}"));
    let own = "    addresses: [192.0.2.1/24";
    lab.edit_config(own, &format!("    kernel_addresses: [{v4}, \"{v6}\"]\n{own}"));
}

fn ping(lab: &Lab, from: &str, more: &[&str], to: &str) -> bool {
    let ping = ["ping", "-n", "-q", "-c", "2", "-i", "0.2", "-W", "2"];
    lab.run(from, &[&ping[..], more, &[to]].concat()).status.success()
}

#[test]
fn the_kernel_has_its_addresses_until_somebody_takes_its_device_away() {
    let Some(lab) = Lab::up(&["--io", "net_af_packet"]) else { return };
    with_kernel_addresses(&lab);
    let [v4, _] = KERNEL;
    lab.edit_config("listen: \"127.0.0.1:9090\"", &format!("listen: \"{v4}:9090\""));
    let gateway = Gateway::start(&lab);
    let metrics = format!("http://{v4}:9090");
    eventually("readiness", || {
        (gateway.fetch(&format!("{metrics}/readyz")).0 == 200).then_some(())
    });
    let dropped = || {
        let text = lab.curl("client", &format!("{metrics}/metrics"));
        let line = format!("sluice_tap_packets_total{{port=\"{TAP}\",action=\"dropped\"}} ");
        let count = text.lines().find_map(|found| found.strip_prefix(&line)?.parse::<f64>().ok());
        count.unwrap_or_else(|| panic!("{line}: {text}"))
    };
    for address in KERNEL {
        assert!(ping(&lab, "client", &[], address), "{address}");
    }
    let config = lab.config().display().to_string();
    let said = lab.ok("gw", &[SLUICE, "doctor", "--config", &config]);
    assert!(said.contains("kernel_addresses are on outer while"), "{said}");
    for found in ["net_af_packet: the kernel copies each frame", "1, one a worker"] {
        assert_eq!(said.matches(found).count(), 2, "{found}, of both ports: {said}");
    }

    // Frames that are longer than the device takes.
    let before = dropped();
    lab.ok("gw", &["ip", "link", "set", TAP, "mtu", "4000"]);
    assert!(!ping(&lab, "gw", &["-s", "3000", "-I", v4], V4.client));
    assert!(dropped() >= before + 2.0);
    lab.ok("gw", &["ip", "link", "set", TAP, "mtu", "1500"]);
    assert!(ping(&lab, "gw", &["-I", v4], V4.client));

    lab.ok("gw", &["ip", "link", "del", TAP]);
    assert!(!ping(&lab, "client", &[], v4));
    // The kernel has seen the lab's devices, too, and has answered twice: what kernels count
    // says nothing here.
    for family in FAMILIES {
        services::load_balancer_spreads(&lab, family);
    }
    gateway.stop();
}
