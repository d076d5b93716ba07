use super::devices::{Devices, Misfit};
#[cfg(feature = "dpdk")]
use super::devices::{key, mtu, queues, there, usable};
use sluice_config::Config;
#[cfg(feature = "dpdk")]
use sluice_config::PortIndex;
#[cfg(feature = "dpdk")]
use sluice_io::DpdkError;

/// Starts DPDK and finds the devices of all ports.
///
/// # Errors
/// With the first of what does not fit.
#[cfg(feature = "dpdk")]
pub fn find(config: &Config) -> Result<Devices, Vec<Misfit>> {
    use super::options;
    use sluice_control::PortFacts;
    use sluice_io::DpdkDevices;
    below(config)?;
    let found = DpdkDevices::find(options::dpdk(config), log)
        .map_err(|error| vec![misfit(config, &error)])?;
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

/// Looks at the kernel's devices that virtual ones take their frames from.
///
/// # Errors
/// With everything that does not fit.
#[cfg(feature = "dpdk")]
fn below(config: &Config) -> Result<(), Vec<Misfit>> {
    let mut misfits = Vec::new();
    for index in 0..config.ports.len() {
        let Some(name) = config.kernel_device(PortIndex(index)) else { continue };
        match there(index, name) {
            Ok(device) => {
                misfits.extend(usable(config, index, &device));
                misfits.extend(mtu(config, index, device.mtu).err());
                // It takes frames of its own queues. The kernel has those of others, and no
                // policy for them.
                if config.ports[index].device.starts_with("net_af_xdp") {
                    misfits.extend(queues(config, index, &device));
                }
            }
            Err(more) => misfits.extend(more),
        }
    }
    if misfits.is_empty() { Ok(()) } else { Err(misfits) }
}

/// What DPDK cannot do, as something that does not fit.
#[cfg(feature = "dpdk")]
pub(super) fn misfit(config: &Config, error: &DpdkError) -> Misfit {
    let is_port = |name: &str| config.ports.iter().position(|port| port.name.as_str() == name);
    let (path, expected) = match (error.port().and_then(is_port), error) {
        (Some(index), DpdkError::Tap { .. }) => {
            (key(index, "kernel_addresses"), "none, or a TAP device for them")
        }
        (Some(index), _) => {
            (key(index, "device"), "a device that DPDK drives, as this file has it")
        }
        (None, DpdkError::Pool { .. }) => ("io.frames".to_owned(), "what there is memory for"),
        (None, _) => ("io.dpdk".to_owned(), "devices that DPDK drives, as this file has them"),
    };
    Misfit { path, message: error.to_string(), expected: expected.to_owned(), help: None }
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
