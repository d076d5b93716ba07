use super::{Finding, cores, interrupts};
use crate::admin::view::PortView;
use crate::admin::{Question, client};
use crate::start::devices::{self, Misfit};
use sluice_config::{Backend, Config, CopyMode, Loaded, Port};
use sluice_io::Device;
use sluice_io::device::{OperState, Rings};
use std::path::Path;

/// What DPDK drives.
mod dpdk;

/// Drivers whose XDP sockets the NIC reads and writes itself (Linux 6.12).
const ZERO_COPY: &[&str] =
    &["gve", "i40e", "ice", "idpf", "igb", "igc", "ixgbe", "mlx5_core", "nfp", "stmmac"];

/// Drivers that run XDP programs, beside those.
const NATIVE: &[&str] = &[
    "bnxt_en",
    "bonding",
    "cpsw",
    "ena",
    "fsl_dpaa2_eth",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mvneta",
    "mvpp2",
    "nicvf",
    "qede",
    "sfc",
    "tun",
    "tsnep",
    "veth",
    "virtio_net",
    "vmxnet3",
    "xen_netfront",
];

/// Everything that concerns the device of the port at `index`.
pub(super) fn findings(loaded: &Loaded, index: usize) -> Vec<Finding> {
    let config = &loaded.config;
    let port = &config.ports[index];
    if config.io.backend == Backend::Dpdk {
        return dpdk::findings(loaded, index);
    }
    let device = match Device::inspect(&port.device) {
        Ok(device) => device,
        Err(error) => return vec![Finding::bad("device", error.to_string()).mend("ip link")],
    };
    let mut findings = vec![link(&device), driver(&device, config)];
    findings.extend(program(&device, || is_taken(config, &device)));
    findings.push(mtu(&device, loaded, index));
    findings.push(queues(&device, loaded, index));
    findings.extend(hashing(&device, config));
    let folder = Path::new("/sys/class/net").join(&device.name).join("device");
    findings.extend(rings(&device, config));
    findings.extend(cores::numa(config, &folder));
    findings.extend(interrupts::findings(config, &folder));
    findings.push(default_route(&device, port));
    findings.extend(offloads(&device, port));
    findings
}

/// The device that the kernel has its addresses on, where it does not see the port's.
fn tap(port: &Port) -> Option<Finding> {
    const TOPIC: &str = "TAP";
    const TUN: &str = "/dev/net/tun";
    if port.kernel_addresses.is_empty() {
        return None;
    }
    if let Err(error) = std::fs::File::options().read(true).write(true).open(TUN) {
        let text = format!("kernel_addresses need {TUN}: {error}");
        return Some(Finding::bad(TOPIC, text).mend("modprobe tun; in a container, mount it"));
    }
    let name = port.name.as_str();
    Some(match Device::inspect(name) {
        Ok(device) if device.driver.as_deref() != Some("tun") => {
            let text = format!("a device has the name {name}, which the kernel's is to have");
            Finding::bad(TOPIC, text).mend("give the port another name")
        }
        _ => Finding::ok(TOPIC, format!("kernel_addresses are on {name} while the gateway runs")),
    })
}

fn link(device: &Device) -> Finding {
    let name = &device.name;
    if !device.admin_up {
        return Finding::bad("link", "the device is not set up")
            .mend(format!("ip link set dev {name} up"));
    }
    match device.oper_state {
        OperState::Up | OperState::Unknown => Finding::ok("link", "up"),
        state => Finding::warn("link", format!("the device is {state}: no cable, or no peer")),
    }
}

fn driver(device: &Device, config: &Config) -> Finding {
    let driver = device.driver.as_deref().unwrap_or("unknown");
    let wants_zero_copy = config.io.copy == CopyMode::ZeroCopy;
    if ZERO_COPY.contains(&driver) {
        return Finding::ok("driver", format!("{driver}: XDP in the driver, zero-copy"));
    }
    let text = if NATIVE.contains(&driver) {
        format!("{driver}: XDP in the driver, the kernel copies each packet")
    } else {
        format!("{driver}: XDP on socket buffers (slow), unless the driver has learned it")
    };
    if wants_zero_copy {
        return Finding::bad("driver", text).mend("set io.copy to auto");
    }
    if NATIVE.contains(&driver) {
        Finding::ok("driver", text)
    } else {
        Finding::warn("driver", text)
    }
}

/// Whether the gateway of this configuration runs and has taken the device.
fn is_taken(config: &Config, device: &Device) -> bool {
    client::ask(&config.admin.socket, &Question::Ports)
        .and_then(|answer| client::read::<Vec<PortView>>(&answer))
        .is_ok_and(|ports| ports.iter().any(|port| port.device == device.name))
}

fn program(device: &Device, is_taken: impl FnOnce() -> bool) -> Option<Finding> {
    let xdp = device.xdp?;
    let text = format!("program {} is attached", xdp.program_id);
    if is_taken() {
        return Some(Finding::ok("XDP", format!("{text}: Sluice runs here")));
    }
    Some(Finding::warn("XDP", text).mend(format!(
        "bpftool prog show id {}; ip link set dev {} xdp off",
        xdp.program_id, device.name
    )))
}

fn mtu(device: &Device, loaded: &Loaded, index: usize) -> Finding {
    match devices::mtu(&loaded.config, index, device.mtu) {
        Ok(mtu) => Finding::ok("MTU", format!("{mtu} bytes for IP packets")),
        Err(misfit) => of_misfit("MTU", misfit, loaded),
    }
}

fn queues(device: &Device, loaded: &Loaded, index: usize) -> Finding {
    match devices::queues(&loaded.config, index, device) {
        None => Finding::ok("queues", format!("{}, one a worker", device.rx_queues)),
        Some(misfit) => of_misfit("queues", misfit, loaded),
    }
}

fn of_misfit(topic: &str, misfit: Misfit, loaded: &Loaded) -> Finding {
    let Misfit { path, message, expected, help } = misfit;
    let finding = Finding::bad(topic, format!("{message}; expected {expected}"));
    finding.mend(help.unwrap_or_else(|| format!("edit {}", loaded.places.refer(&path))))
}

/// Tunnels between two nodes are one pair of addresses: without the UDP source
/// port in the NIC's hash they all land on one queue.
fn hashing(device: &Device, config: &Config) -> Option<Finding> {
    const TOPIC: &str = "RSS";
    let carries_tunnels = config
        .overlay
        .as_ref()
        .is_some_and(|overlay| config.port(overlay.vxlan.port).device == device.name);
    let is_nic = device.driver.as_deref() != Some("veth");
    let without: Vec<&str> =
        [("udp4", device.hashes_udp4_ports), ("udp6", device.hashes_udp6_ports)]
            .into_iter()
            .filter_map(|(name, hashes)| (hashes != Some(true)).then_some(name))
            .collect();
    let commands = |flows: &[&str]| {
        let each = |flow: &&str| format!("ethtool -N {} rx-flow-hash {flow} sdfn", device.name);
        flows.iter().map(each).collect::<Vec<_>>().join("; ")
    };
    (carries_tunnels && config.workers.count > 1 && is_nic).then(|| match without.as_slice() {
        [] => Finding::ok(TOPIC, "UDP's ports are part of the hash, so tunnels are spread"),
        flows => Finding::warn(
            TOPIC,
            format!(
                "UDP's ports are not known to be part of the hash of {}: tunnels \
                     may come to one queue",
                flows.join(" and ")
            ),
        )
        .mend(commands(flows)),
    })
}

/// The NIC's rings should hold what a worker's do.
fn rings(device: &Device, config: &Config) -> Option<Finding> {
    const TOPIC: &str = "rings";
    let Rings { rx, tx, rx_max, tx_max } = device.rings?;
    let text = format!("{rx} frames to receive, {tx} to send");
    let wanted = |max: u32| config.io.ring_len.min(max);
    if rx >= wanted(rx_max) && tx >= wanted(tx_max) {
        return Some(Finding::ok(TOPIC, text));
    }
    let (rx, tx) = (rx.max(wanted(rx_max)), tx.max(wanted(tx_max)));
    let text = format!("{text}: less than io.ring_len ({}), and than it can", config.io.ring_len);
    let command = format!("ethtool -G {} rx {rx} tx {tx}", device.name);
    Some(Finding::warn(TOPIC, text).mend(command))
}

fn default_route(device: &Device, port: &Port) -> Finding {
    const TOPIC: &str = "default route";
    match (device.has_default_route, port.allow_default_route) {
        (false, _) => Finding::ok(TOPIC, "not through this device"),
        (true, true) => {
            Finding::warn(TOPIC, "through this device; ports[].allow_default_route is set")
        }
        (true, false) => {
            Finding::bad(TOPIC, "through this device: taking it may cut this machine off")
                .mend("set ports[].allow_default_route if there is another way in")
        }
    }
}

fn offloads(device: &Device, port: &Port) -> Vec<Finding> {
    let name = &device.name;
    let mut findings = Vec::new();
    if device.merges_packets() {
        findings.push(
            Finding::warn("GRO", "the kernel or the NIC merges packets it receives")
                .mend(format!("ethtool -K {name} gro off lro off")),
        );
    }
    if device.strips_vlan_tags() {
        let text = "VLAN tags are taken off before XDP sees them";
        let command = format!("ethtool -K {name} rxvlan off txvlan off");
        findings.push(if port.vlan.is_some() {
            Finding::bad("VLAN", text).mend(command)
        } else {
            Finding::ok("VLAN", format!("{text}; this port is untagged"))
        });
    }
    if let Some(vlan) = port.vlan.filter(|_| device.filters_vlans()) {
        // A NIC that cannot do without its filter knows the VLANs of the
        // kernel's devices.
        findings.push(
            Finding::warn(
                "VLAN filter",
                format!("the NIC may drop frames of VLAN {vlan} before XDP sees them"),
            )
            .mend(format!(
                "ethtool -K {name} rx-vlan-filter off; where that is fixed: ip link add link \
                 {name} name {name}.{vlan} type vlan id {vlan}"
            )),
        );
    }
    if device.driver.as_deref() == Some("veth") {
        findings.push(
            Finding::warn("checksums", "a veth's peer must send finished checksums")
                .mend("ethtool -K PEER tx off tso off gso off, in the peer's namespace"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok("offloads", "none that is in the way"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use crate::testing;
    use sluice_io::device::XdpAttachment;
    use std::collections::BTreeSet;

    #[test]
    fn a_program_is_to_go_unless_the_gateway_runs() {
        let xdp = Some(XdpAttachment { program_id: 7, native: true });
        let device = Device { xdp, ..testing::device() };
        let own = program(&device, || true).unwrap();
        assert_eq!((own.level, own.mend), (Level::Ok, None));
        let other = program(&device, || false).unwrap();
        assert!(other.mend.unwrap().ends_with("ip link set dev eth1 xdp off"));
        assert!(program(&testing::device(), || true).is_none());
    }

    #[test]
    fn short_rings_are_told_of() {
        let config = testing::config("");
        let of = |rx, rx_max| {
            let rings = Some(Rings { rx, tx: 4096, rx_max, tx_max: 4096 });
            rings.and_then(|_| super::rings(&Device { rings, ..testing::device() }, &config))
        };
        let short = of(512, 8192).unwrap();
        let ring_len = config.io.ring_len;
        let command = format!("ethtool -G eth1 rx {ring_len} tx {}", ring_len.max(4096));
        assert_eq!(short.mend, Some(command));
        assert_eq!(of(512, 512).unwrap().level, Level::Ok, "it has no more");
        assert_eq!(of(ring_len, 8192).unwrap().level, Level::Ok);
        assert!(super::rings(&testing::device(), &config).is_none());
    }

    #[test]
    fn a_hash_without_ports_is_told_of() {
        let overlay = "overlay: {vxlan: {vni: 1, port: a, addresses: [192.0.2.1]}}";
        let config = testing::config(&format!("workers: {{count: 4}}\n{overlay}"));
        let vxlan = config.overlay.as_ref().map(|overlay| overlay.vxlan.port).unwrap();
        let name = config.port(vxlan).device.clone();
        let of = |v4, v6| {
            let hashes = (v4, v6);
            let device = Device {
                name: name.clone(),
                hashes_udp4_ports: hashes.0,
                hashes_udp6_ports: hashes.1,
                ..testing::device()
            };
            hashing(&device, &config).unwrap()
        };
        assert_eq!(of(Some(true), Some(true)).level, Level::Ok);
        let command = of(Some(true), Some(false)).mend.unwrap();
        assert_eq!(command, format!("ethtool -N {name} rx-flow-hash udp6 sdfn"));
        let both = of(None, Some(false)).mend.unwrap();
        assert!(both.contains("udp4 sdfn; ethtool"), "{both}");
    }

    #[test]
    fn a_filter_of_vlans_matters_to_tagged_ports() {
        let config = testing::config("");
        let tagged = Port { vlan: Some(7), ..config.ports[0].clone() };
        let features = BTreeSet::from(["rx-vlan-filter".to_owned()]);
        let filtering = Device { features, ..testing::device() };
        let topics = |device: &Device, port: &Port| -> Vec<String> {
            offloads(device, port).into_iter().map(|finding| finding.topic).collect()
        };
        assert_eq!(topics(&filtering, &tagged), ["VLAN filter"]);
        assert_eq!(topics(&filtering, &config.ports[0]), ["offloads"], "well");
        assert_eq!(topics(&testing::device(), &tagged), ["offloads"], "well");
        let mend = offloads(&filtering, &tagged).remove(0).mend.unwrap();
        assert!(mend.starts_with("ethtool -K eth1 rx-vlan-filter off"), "{mend}");
    }
}
