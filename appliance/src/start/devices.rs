use super::{dpdk, threads};
use sluice_config::{
    Backend, Config, Diagnostic, Errors, Loaded, MTU_MAX, MTU_MIN, MtuError, Places, PortIndex,
};
use sluice_control::PortFacts;
use sluice_io::{Device, DeviceError};

// What the configuration allows, packet I/O carries.
const _: () = assert!(MTU_MAX as usize == sluice_io::MTU_MAX);

/// Something in the configuration that this machine cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Key path, such as `ports[1].mtu`.
    pub path: String,
    /// What was found.
    pub message: String,
    /// What was expected.
    pub expected: String,
    /// The command or key that mends it.
    pub help: Option<String>,
}

impl Misfit {
    /// With its place in the file.
    pub fn at(self, places: &Places) -> Diagnostic {
        Diagnostic { help: self.help, ..places.error(&self.path, self.message, self.expected) }
    }
}

/// What the machine has for a configuration.
#[derive(Debug)]
pub struct Found {
    /// The core of each worker; `None`: any.
    pub cores: Vec<Option<usize>>,
    /// The device of each port.
    pub devices: Devices,
}

/// The devices of all ports, by what moves their frames.
#[derive(Debug)]
pub enum Devices {
    /// The kernel's.
    AfXdp(Vec<(Device, PortFacts)>),
    /// DPDK's.
    #[cfg(feature = "dpdk")]
    Dpdk(sluice_io::DpdkDevices, Vec<PortFacts>),
}

/// Looks at the cores of the workers, and at the device of every port: that it
/// is there, is an Ethernet device, has an MTU and queues that do, and may be
/// taken.
///
/// # Errors
/// With everything that does not fit, at its place in the file.
pub fn inspect(loaded: &Loaded) -> Result<Found, Errors> {
    let config = &loaded.config;
    let mut misfits = Vec::new();
    let cores = threads::cores(config).map_err(|misfit| misfits.push(misfit)).unwrap_or_default();
    let devices = match config.io.backend {
        Backend::AfXdp => of_kernel(config),
        Backend::Dpdk => dpdk::find(config),
    };
    match devices {
        Ok(devices) if misfits.is_empty() => return Ok(Found { cores, devices }),
        Ok(_) => {}
        Err(more) => misfits.extend(more),
    }
    let mut diagnostics: Vec<_> =
        misfits.into_iter().map(|misfit| misfit.at(&loaded.places)).collect();
    diagnostics.sort_by_key(|found| found.location.as_ref().map(|at| (at.line, at.column)));
    Err(Errors { diagnostics })
}

fn of_kernel(config: &Config) -> Result<Devices, Vec<Misfit>> {
    let (mut devices, mut misfits) = (Vec::new(), Vec::new());
    for (index, port) in config.ports.iter().enumerate() {
        let found = there(index, &port.device)
            .and_then(|device| facts(config, index, &device).map(|facts| (device, facts)));
        match found {
            Ok(found) => devices.push(found),
            Err(more) => misfits.extend(more),
        }
    }
    if misfits.is_empty() { Ok(Devices::AfXdp(devices)) } else { Err(misfits) }
}

/// The kernel's device of the port at `index`.
///
/// # Errors
/// When there is none.
pub(super) fn there(index: usize, name: &str) -> Result<Device, Vec<Misfit>> {
    let misfit = |error: DeviceError| Misfit {
        path: key(index, "device"),
        message: error.to_string(),
        expected: "a device that is there".to_owned(),
        help: None,
    };
    Device::inspect(name).map_err(|error| vec![misfit(error)])
}

/// The path of a port's key.
pub(super) fn key(index: usize, name: &str) -> String {
    format!("ports[{index}].{name}")
}

/// What is needed of the device of the port at `index`.
///
/// # Errors
/// With everything that keeps it from being used.
fn facts(config: &Config, index: usize, device: &Device) -> Result<PortFacts, Vec<Misfit>> {
    let mut misfits = Vec::new();
    if device.mac.is_none() {
        misfits.push(Misfit {
            path: key(index, "device"),
            message: format!("device `{}` has no Ethernet address", device.name),
            expected: "an Ethernet device".to_owned(),
            help: None,
        });
    }
    misfits.extend(usable(config, index, device));
    misfits.extend(queues(config, index, device));
    let mtu = mtu(config, index, device.mtu).map_err(|misfit| misfits.push(misfit));
    match (device.mac, mtu) {
        (Some(mac), Ok(mtu)) if misfits.is_empty() => Ok(PortFacts { mac, mtu }),
        _ => Err(misfits),
    }
}

/// What keeps a device of the kernel's from being taken, whatever takes it.
pub(super) fn usable(config: &Config, index: usize, device: &Device) -> Vec<Misfit> {
    let name = &device.name;
    let misfit = |message: String, expected: &str, help: String| Misfit {
        path: key(index, "device"),
        message,
        expected: expected.to_owned(),
        help: Some(help),
    };
    let mut misfits = Vec::new();
    if !device.admin_up {
        misfits.push(misfit(
            format!("device `{name}` is down"),
            "a device that is set up",
            format!("`ip link set dev {name} up`"),
        ));
    }
    if device.has_default_route && !config.ports[index].allow_default_route {
        misfits.push(misfit(
            format!(
                "device `{name}` carries the kernel's default route: taking it may cut this \
                 machine off"
            ),
            "a device that this machine can do without",
            "set `allow_default_route: true` for this port if there is another way in".to_owned(),
        ));
    }
    misfits
}

/// A worker without a queue could not send; packets of a queue without a
/// worker would be dropped.
pub fn queues(config: &Config, index: usize, device: &Device) -> Option<Misfit> {
    let (rx, tx, workers) = (device.rx_queues, device.tx_queues, config.workers.count);
    if rx as usize == workers && tx as usize >= workers {
        return None;
    }
    let name = &device.name;
    let command = match device.driver.as_deref() {
        Some("veth") => format!(
            "`ethtool -L {name} rx {workers} tx {workers}`, on a pair made with `ip link add ... \
             numrxqueues {workers} numtxqueues {workers} type veth ...`"
        ),
        _ => format!("`ethtool -L {name} combined {workers}`"),
    };
    Some(Misfit {
        path: key(index, "device"),
        message: format!("device `{name}` has {rx} receive and {tx} transmit queues"),
        expected: format!("one of each for each of `workers.count`, which is {workers}"),
        help: Some(format!("{command}, or another `workers.count`")),
    })
}

/// The MTU of IP packets of the port at `index`, whose device `has` so many bytes.
///
/// # Errors
/// When the device's, the configured one and the tunnel's do not go together.
pub fn mtu(config: &Config, index: usize, has: u32) -> Result<u16, Misfit> {
    let path = key(index, "mtu");
    let port = &config.ports[index];
    let name = config.kernel_device(PortIndex(index)).unwrap_or(&port.device);
    let configured = port.mtu;
    let command = |bytes: u16| Some(format!("`ip link set dev {name} mtu {bytes}`"));
    // What the device takes in must fit into a chunk, whatever is sent.
    let has = match u16::try_from(has) {
        Ok(has) if (MTU_MIN..=MTU_MAX).contains(&has) => has,
        _ => {
            return Err(Misfit {
                path,
                message: format!("device `{name}` has an MTU of {has} bytes"),
                expected: format!("a device with {MTU_MIN} to {MTU_MAX} bytes"),
                help: command(configured.unwrap_or(1500)),
            });
        }
    };
    let mtu = configured.unwrap_or(has);
    if mtu > has {
        return Err(Misfit {
            path,
            message: format!("{mtu} bytes, but device `{name}` has an MTU of {has}"),
            expected: "at most the device's".to_owned(),
            help: command(mtu),
        });
    }
    match &config.overlay {
        Some(overlay) if overlay.vxlan.port == PortIndex(index) => {
            let fits = overlay.vxlan.inner_mtu(mtu, config.uses_ipv6());
            fits.map_err(|error| tunnel(path, name, mtu, error))?;
        }
        _ => {}
    }
    Ok(mtu)
}

/// A tunnel that does not fit a device's MTU.
fn tunnel(path: String, device: &str, mtu: u16, error: MtuError) -> Misfit {
    let overlay = "overlay.vxlan.mtu".to_owned();
    let (path, expected, help) = match &error {
        MtuError::TooSmallForIpv6 { underlay_min, .. } => {
            let help = format!("`ip link set dev {device} mtu {underlay_min}`, or more");
            (path, format!("at least {underlay_min} bytes"), Some(help))
        }
        MtuError::ConfiguredTooSmallForIpv6 { .. } => {
            (overlay, format!("at least {MTU_MIN} bytes"), None)
        }
        MtuError::ExceedsUnderlay { available, .. } => {
            (overlay, format!("at most {available} bytes, or a larger MTU of the device"), None)
        }
    };
    let message = format!("device `{device}` with an MTU of {mtu} bytes: {error}");
    Misfit { path, message, expected, help }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    const CONFIG: &str = "
ports:
  - {name: a, device: eth1, addresses: [192.0.2.1/24]}
overlay: {vxlan: {vni: 1, port: a, addresses: [192.0.2.1]}}
snat: {addresses: [10.244.255.0/28, 'fd00:1::/124']}
source: {manifests: {path: x}}
";

    fn config() -> Config {
        sluice_config::parse("test.yaml", CONFIG).unwrap().config
    }

    #[test]
    fn a_good_device_gives_its_facts() {
        let facts = facts(&config(), 0, &device()).unwrap();
        assert_eq!(facts, PortFacts { mac: [2, 0, 0, 0, 0, 1], mtu: 1500 });
    }

    #[test]
    fn an_mtu_that_cannot_hold_the_tunnel_is_refused() {
        let mut config = config();
        let of = |config: &Config, has| super::mtu(config, 0, has);
        assert_eq!(of(&config, 1330), Ok(1330));
        let misfit = of(&config, 1329).unwrap_err();
        assert_eq!(misfit.path, "ports[0].mtu");
        assert_eq!(misfit.expected, "at least 1330 bytes");
        for mtu in [1279, 9000, 70_000] {
            let misfit = of(&config, mtu).unwrap_err();
            assert_eq!(misfit.expected, "a device with 1280 to 1774 bytes");
        }
        config.overlay.as_mut().unwrap().vxlan.mtu = Some(1450);
        assert_eq!(of(&config, 1500), Ok(1500));
        let misfit = of(&config, 1499).unwrap_err();
        assert_eq!(misfit.path, "overlay.vxlan.mtu");
        assert!(misfit.expected.starts_with("at most 1449 bytes"), "{misfit:?}");
    }

    #[test]
    fn a_configured_mtu_must_fit_the_device() {
        let mut config = config();
        config.ports[0].mtu = Some(1600);
        let misfit = mtu(&config, 0, 1500).unwrap_err();
        assert_eq!(misfit.path, "ports[0].mtu");
        assert_eq!(misfit.help.as_deref(), Some("`ip link set dev eth1 mtu 1600`"));
        let of = |has| super::mtu(&config, 0, has);
        assert_eq!(of(1774), Ok(1600));
        let misfit = of(1775).unwrap_err();
        assert_eq!(misfit.expected, "a device with 1280 to 1774 bytes", "frames of 1775 come in");
        assert_eq!(misfit.help.as_deref(), Some("`ip link set dev eth1 mtu 1600`"));
    }

    #[test]
    fn devices_that_must_not_be_taken_are_refused_with_the_way_out() {
        let mut config = config();
        for (device, expected) in [
            (Device { mac: None, ..device() }, "Ethernet"),
            (Device { admin_up: false, ..device() }, "ip link set dev eth1 up"),
            (Device { has_default_route: true, ..device() }, "allow_default_route: true"),
            (Device { rx_queues: 4, ..device() }, "ethtool -L eth1 combined 1"),
            (Device { tx_queues: 0, ..device() }, "1 receive and 0 transmit queues"),
        ] {
            let misfits = facts(&config, 0, &device).unwrap_err();
            let [misfit] = &misfits[..] else { panic!("{misfits:?}") };
            assert_eq!(misfit.path, "ports[0].device");
            assert!(format!("{misfit:?}").contains(expected), "{misfit:?}");
        }
        config.ports[0].allow_default_route = true;
        assert!(facts(&config, 0, &Device { has_default_route: true, ..device() }).is_ok());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_at_its_place() {
        let text = CONFIG.replace(
            "overlay",
            "  - {name: b, device: no-such-dev0, addresses: [192.0.3.1/24]}\n  \
             - {name: c, device: lo, addresses: [192.0.4.1/24], mtu: 1500}\n\
             workers: {count: 2, cores: [4000, 4001]}\noverlay",
        );
        let loaded = sluice_config::parse("test.yaml", &text).unwrap();
        let errors = inspect(&loaded).unwrap_err().to_string();
        for expected in [
            "test.yaml:3:23: error: ports[0].device: no network device `eth1`",
            "test.yaml:4:23: error: ports[1].device: no network device `no-such-dev0`",
            "test.yaml:5:23: error: ports[2].device: device `lo` has 1 receive",
            "test.yaml:6:29: error: workers.cores[0]: core 4000",
        ] {
            assert!(errors.contains(expected), "{expected} is not in\n{errors}");
        }
    }
}
