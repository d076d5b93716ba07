use super::devices::{Devices, Misfit};
use sluice_config::Config;

/// Starts DPDK and finds the devices of all ports.
///
/// # Errors
/// With the first of what does not fit.
#[cfg(feature = "dpdk")]
pub fn find(config: &Config) -> Result<Devices, Vec<Misfit>> {
    use super::devices::{key, mtu};
    use super::options;
    use sluice_control::PortFacts;
    use sluice_io::DpdkDevices;
    let found = DpdkDevices::find(options::dpdk(config), log).map_err(|error| {
        let is_port = |name: &str| config.ports.iter().position(|port| port.name.as_str() == name);
        let path = error.port().and_then(is_port).map(|index| key(index, "device"));
        vec![Misfit {
            path: path.unwrap_or_else(|| "io.dpdk".to_owned()),
            message: error.to_string(),
            expected: "devices that DPDK drives, as this file has them".to_owned(),
            help: None,
        }]
    })?;
    let facts = found.devices().iter().enumerate().map(|(index, device)| {
        let mtu = mtu(config, index, u32::from(device.mtu)).map_err(|misfit| {
            // No command of the kernel's would do.
            vec![Misfit { help: Some("another `mtu` of this port".to_owned()), ..misfit }]
        })?;
        Ok(PortFacts { mac: device.mac, mtu })
    });
    let facts = facts.collect::<Result<_, Vec<Misfit>>>()?;
    Ok(Devices::Dpdk(found, facts))
}

/// Refuses: this build has no DPDK.
///
/// # Errors
/// Always.
#[cfg(not(feature = "dpdk"))]
pub fn find(_: &Config) -> Result<Devices, Vec<Misfit>> {
    Err(vec![Misfit {
        path: "io.backend".to_owned(),
        message: "this build has no DPDK".to_owned(),
        expected: "`af_xdp`".to_owned(),
        help: Some("`cargo build --release --features dpdk`, with libdpdk-dev there".to_owned()),
    }])
}

/// Writes a line of DPDK's log to ours.
#[cfg(feature = "dpdk")]
fn log(line: sluice_io::dpdk::LogLine<'_>) {
    let text = line.text;
    match line.level {
        ..=4 => tracing::error!(target: "dpdk", "{text}"),
        5 => tracing::warn!(target: "dpdk", "{text}"),
        6 | 7 => tracing::debug!(target: "dpdk", "{text}"),
        _ => tracing::trace!(target: "dpdk", "{text}"),
    }
}
