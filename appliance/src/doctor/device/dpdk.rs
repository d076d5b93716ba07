use super::{default_route, link, offloads, queues, tap};
use crate::doctor::{Finding, cores};
use sluice_config::{Config, Loaded, PortIndex};
use sluice_io::Device;
use std::path::Path;

/// Drivers that leave a NIC to user space.
const FOR_USER_SPACE: [&str; 3] = ["vfio-pci", "igb_uio", "uio_pci_generic"];

/// Drivers of the kernel's that share a NIC with DPDK's (bifurcated drivers).
const SHARED: [&str; 4] = ["mlx4_core", "mlx5_core", "mana", "gdma"];

/// Everything that concerns the device of the port at `index`, which DPDK drives.
pub(super) fn findings(loaded: &Loaded, index: usize) -> Vec<Finding> {
    let config = &loaded.config;
    let port = &config.ports[index];
    let name = port.device.split(',').next().unwrap_or_default();
    let mut findings = Vec::new();
    if let Some(below) = config.kernel_device(PortIndex(index)) {
        findings.extend(on_kernel_device(loaded, index, below));
    } else if name.contains(':') {
        let folder = Path::new("/sys/bus/pci/devices").join(name);
        findings.push(nic(name, &folder));
        findings.extend(cores::numa(config, &folder));
    } else {
        let text = "a virtual device of DPDK's own: `sluice run` looks at it when it starts, and \
                    refuses it before there is traffic";
        findings.push(Finding::ok("device", text));
    }
    findings.extend(tap(port));
    findings
}

/// A NIC on the PCI bus, by its folder below `/sys`.
fn nic(address: &str, folder: &Path) -> Finding {
    const TOPIC: &str = "device";
    let Ok(class) = std::fs::read_to_string(folder.join("class")) else {
        return Finding::bad(TOPIC, "no such device is on the PCI bus").mend("lspci -D");
    };
    if !class.starts_with("0x02") {
        return Finding::bad(TOPIC, "it is no network device").mend("lspci -D");
    }
    let driver = std::fs::read_link(folder.join("driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let bind = format!("dpdk-devbind.py --bind=vfio-pci {address} (package dpdk)");
    match driver {
        Some(driver) if FOR_USER_SPACE.contains(&driver) => {
            Finding::ok(TOPIC, format!("{driver}: left to user space"))
        }
        Some(driver) if SHARED.contains(&driver) => {
            Finding::ok(TOPIC, format!("{driver}: DPDK's driver works beside it"))
        }
        Some(driver) => {
            Finding::bad(TOPIC, format!("{driver} has it, a driver of the kernel's")).mend(bind)
        }
        None => Finding::bad(TOPIC, "no driver has it").mend(bind),
    }
}

/// A virtual device that takes its frames from one of the kernel's.
fn on_kernel_device(loaded: &Loaded, index: usize, below: &str) -> Vec<Finding> {
    let config = &loaded.config;
    let port = &config.ports[index];
    let device = match Device::inspect(below) {
        Ok(device) => device,
        Err(error) => return vec![Finding::bad("device", error.to_string()).mend("ip link")],
    };
    let mut findings = vec![link(&device)];
    if port.device.starts_with("net_af_packet") {
        let text = "net_af_packet: the kernel copies each frame, and works at it itself, too: for \
                    tests";
        findings.push(Finding::warn("driver", text));
        findings.push(fanout(config, &port.device));
    } else if port.device.starts_with("net_af_xdp") {
        findings.push(queues(&device, loaded, index));
    }
    findings.push(default_route(&device, port));
    findings.extend(offloads(&device, port));
    findings
}

/// Sockets of `net_af_packet`: the kernel gives frames to all that there are.
fn fanout(config: &Config, device: &str) -> Finding {
    const TOPIC: &str = "queues";
    let workers = config.workers.count;
    let told = device.split(',').find_map(|argument| argument.strip_prefix("qpairs="));
    match told.unwrap_or("1").parse::<usize>() {
        Ok(pairs) if workers == pairs => Finding::ok(TOPIC, format!("{workers}, one a worker")),
        _ => Finding::bad(TOPIC, format!("not one for each of {workers} workers"))
            .mend(format!("say qpairs={workers} behind the device")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn folder(class: Option<&str>, driver: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("0000:3b:00.0");
        std::fs::create_dir(&folder).unwrap();
        if let Some(class) = class {
            std::fs::write(folder.join("class"), class).unwrap();
        }
        if let Some(driver) = driver {
            symlink(root.path().join(driver), folder.join("driver")).unwrap();
        }
        (root, folder)
    }

    #[test]
    fn a_nic_is_to_be_left_to_user_space() {
        for (class, driver, level, text) in [
            (None, None, Level::Bad, "no such device"),
            (Some("0x010802\n"), Some("nvme"), Level::Bad, "no network device"),
            (Some("0x020000\n"), None, Level::Bad, "no driver"),
            (Some("0x020000\n"), Some("ice"), Level::Bad, "ice has it"),
            (Some("0x020000\n"), Some("vfio-pci"), Level::Ok, "left to user space"),
            (Some("0x020000\n"), Some("mlx5_core"), Level::Ok, "beside it"),
        ] {
            let (_root, folder) = folder(class, driver);
            let found = nic("0000:3b:00.0", &folder);
            assert_eq!(found.level, level, "{found:?}");
            assert!(found.text.contains(text), "{found:?}");
            assert_eq!(found.mend.is_some(), level == Level::Bad, "{found:?}");
        }
    }

    #[test]
    fn each_worker_has_a_socket_and_no_socket_is_without_one() {
        let config = crate::testing::config("workers: {count: 2}");
        let of = |device| fanout(&config, device).level;
        assert_eq!(of("net_af_packet0,iface=eth1,qpairs=2"), Level::Ok);
        for device in [
            "net_af_packet0,iface=eth1",
            "net_af_packet0,qpairs=4,iface=eth1",
            "net_af_packet0,iface=eth1,qpairs=x",
        ] {
            assert_eq!(of(device), Level::Bad, "{device}");
        }
    }
}
