use anyhow::{Context, bail};
use sluice_config::{Config, MTU_MAX, MTU_MIN, Port};
use sluice_control::PortFacts;
use sluice_io::Device;
use thiserror::Error;

/// A device's MTU that does not do for its port.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MtuError {
    /// The device's own, where the configuration tells none.
    #[error(
        "device `{device}` has an MTU of {mtu} bytes, out of {MTU_MIN} to {MTU_MAX}: set \
         ports[].mtu, or `ip link set dev {device} mtu 1500`"
    )]
    Device {
        /// The device.
        device: String,
        /// Its MTU.
        mtu: u32,
    },
    /// The configured one is more than the device's.
    #[error(
        "ports[].mtu of port `{port}` is {configured} bytes, but device `{device}` has {mtu}: \
         `ip link set dev {device} mtu {configured}`"
    )]
    AboveDevice {
        /// The port.
        port: String,
        /// The device.
        device: String,
        /// The configured MTU.
        configured: u16,
        /// The device's.
        mtu: u32,
    },
    /// The overlay does not fit.
    #[error("overlay.vxlan on port `{port}` with an MTU of {mtu} bytes: {error}")]
    Overlay {
        /// The port.
        port: String,
        /// Its MTU.
        mtu: u16,
        /// Why.
        error: sluice_config::MtuError,
    },
}

/// Looks at the device of every port: that it is there, is an Ethernet device,
/// has an MTU and queues that do, and may be taken.
///
/// # Errors
/// With what is wrong and the command that mends it, of the first such device.
pub fn inspect(config: &Config) -> anyhow::Result<Vec<(Device, PortFacts)>> {
    config
        .ports
        .iter()
        .map(|port| {
            let of_port = || format!("port `{}`", port.name);
            let device = Device::inspect(&port.device).with_context(of_port)?;
            let facts = facts(config, port, &device).with_context(of_port)?;
            Ok((device, facts))
        })
        .collect()
}

fn facts(config: &Config, port: &Port, device: &Device) -> anyhow::Result<PortFacts> {
    let name = &device.name;
    let Some(mac) = device.mac else {
        bail!("device `{name}` has no Ethernet address: expected an Ethernet device");
    };
    if !device.admin_up {
        bail!("device `{name}` is down: `ip link set dev {name} up`");
    }
    if device.has_default_route && !port.allow_default_route {
        bail!(
            "device `{name}` carries the kernel's default route: taking it may cut this machine \
             off. Set `allow_default_route: true` for this port if there is another way in"
        );
    }
    let mtu = mtu(config, port, device)?;
    let workers = config.workers.count;
    let queues = device.rx_queues;
    if queues as usize > workers {
        let command = match device.driver.as_deref() {
            Some("veth") => format!("ethtool -L {name} rx {workers} tx {workers}"),
            _ => format!("ethtool -L {name} combined {workers}"),
        };
        bail!(
            "device `{name}` has {queues} receive queues for {workers} workers, and packets of \
             a queue without a worker would be dropped: `{command}`, or more workers"
        );
    }
    Ok(PortFacts { mac, mtu })
}

/// The MTU of IP packets of a port on this device, in bytes.
///
/// # Errors
/// When the device's, the configured one and the tunnel's do not go together.
pub fn mtu(config: &Config, port: &Port, device: &Device) -> Result<u16, MtuError> {
    let wrong = || MtuError::Device { device: device.name.clone(), mtu: device.mtu };
    let mtu = match port.mtu {
        Some(configured) if u32::from(configured) > device.mtu => {
            return Err(MtuError::AboveDevice {
                port: port.name.to_string(),
                device: device.name.clone(),
                configured,
                mtu: device.mtu,
            });
        }
        Some(configured) => configured,
        None => u16::try_from(device.mtu).map_err(|_| wrong())?,
    };
    if !(MTU_MIN..=MTU_MAX).contains(&mtu) {
        return Err(wrong());
    }
    if let Some(overlay) = &config.overlay
        && config.port(overlay.vxlan.port).name == port.name
    {
        let fits = overlay.vxlan.inner_mtu(mtu, config.uses_ipv6());
        fits.map_err(|error| MtuError::Overlay { port: port.name.to_string(), mtu, error })?;
    }
    Ok(mtu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_io::device::OperState;
    use std::collections::BTreeSet;

    const CONFIG: &str = "
ports:
  - {name: a, device: eth1, addresses: [192.0.2.1/24]}
overlay: {vxlan: {vni: 1, port: a, addresses: [192.0.2.1]}}
snat: {addresses: [10.244.255.0/28, 'fd00:1::/124']}
source: {manifests: {path: x}}
";

    fn device() -> Device {
        Device {
            name: "eth1".to_owned(),
            ifindex: 2,
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            admin_up: true,
            oper_state: OperState::Up,
            rx_queues: 1,
            tx_queues: 1,
            channels: None,
            driver: None,
            features: BTreeSet::new(),
            numa_node: None,
            xdp: None,
            has_default_route: false,
        }
    }

    fn config() -> Config {
        sluice_config::parse("test.yaml", CONFIG).unwrap().config
    }

    #[test]
    fn a_good_device_gives_its_facts() {
        let config = config();
        let facts = facts(&config, &config.ports[0], &device()).unwrap();
        assert_eq!(facts, PortFacts { mac: [2, 0, 0, 0, 0, 1], mtu: 1500 });
    }

    #[test]
    fn an_mtu_that_cannot_hold_the_tunnel_is_refused() {
        let config = config();
        let port = &config.ports[0];
        let of = |mtu| super::mtu(&config, port, &Device { mtu, ..device() });
        assert_eq!(of(1330), Ok(1330));
        assert!(matches!(of(1329), Err(MtuError::Overlay { .. })));
        assert!(matches!(of(9000), Err(MtuError::Device { .. })));
        assert!(matches!(of(70_000), Err(MtuError::Device { .. })));
    }

    #[test]
    fn a_configured_mtu_must_fit_the_device() {
        let mut config = config();
        config.ports[0].mtu = Some(1600);
        let error = mtu(&config, &config.ports[0], &device()).unwrap_err();
        assert!(error.to_string().contains("ip link set dev eth1 mtu 1600"), "{error}");
    }

    #[test]
    fn devices_that_must_not_be_taken_are_refused_with_the_way_out() {
        let config = config();
        let port = &config.ports[0];
        for (device, expected) in [
            (Device { mac: None, ..device() }, "Ethernet"),
            (Device { admin_up: false, ..device() }, "ip link set dev eth1 up"),
            (Device { has_default_route: true, ..device() }, "allow_default_route: true"),
            (Device { rx_queues: 4, ..device() }, "ethtool -L eth1 combined 1"),
        ] {
            let error = facts(&config, port, &device).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut port = port.clone();
        port.allow_default_route = true;
        assert!(facts(&config, &port, &Device { has_default_route: true, ..device() }).is_ok());
    }
}
