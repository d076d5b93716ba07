use super::devices::Devices;
use super::options;
use crate::gateway::{Attached, Link, PortState};
use anyhow::Context;
#[cfg(feature = "dpdk")]
use sluice_config::Errors;
use sluice_config::{Config, Places};
use sluice_control::PortFacts;
use sluice_io::{AfXdp, AllMulticast, Device, Port, PortMode, Umem};

/// Every port, open.
pub struct Opened {
    /// What control has to know, by port.
    pub facts: Vec<PortFacts>,
    /// What is shown, by port.
    pub states: Vec<PortState>,
    /// What workers take: `queues[worker][port]`.
    pub queues: Vec<Vec<Box<dyn Port>>>,
    /// The memory of all frames.
    pub umem: Umem,
    /// What is given back on the way out.
    pub attached: Attached,
}

/// Opens the devices that were found, and says how.
///
/// # Errors
/// When one does not work as asked: [`Errors`] where the file has the place that is meant.
pub fn open(config: &Config, places: &Places, devices: Devices) -> anyhow::Result<Opened> {
    let (opened, huge_pages) = match devices {
        Devices::AfXdp(devices) => af_xdp(config, devices)?,
        #[cfg(feature = "dpdk")]
        Devices::Dpdk(devices, facts) => {
            (dpdk(config, places, devices, facts)?, config.io.dpdk.huge_pages)
        }
    };
    #[cfg(not(feature = "dpdk"))]
    let _ = places;
    for port in &opened.states {
        for (queue, mode) in port.queues.iter().enumerate() {
            let (name, device) = (&port.name, &port.device);
            tracing::info!(port = name, device, queue, %mode, mtu = port.mtu, "port is open");
        }
        if let Some(reason) = &port.native_refused {
            tracing::warn!(port = port.name, reason, "XDP is not in the driver");
        }
    }
    tracing::info!(frames = opened.umem.chunks(), huge_pages, "packet memory is there");
    Ok(opened)
}

fn af_xdp(config: &Config, found: Vec<(Device, PortFacts)>) -> anyhow::Result<(Opened, bool)> {
    let opened = AfXdp::open(&options::af_xdp(config)).context("cannot open the ports")?;
    let multicast = found.iter().map(|(device, _)| AllMulticast::join(device));
    let multicast = multicast.collect::<Result<Vec<_>, _>>()?;
    let attachments = opened.handle.attachments();
    let states = found.iter().zip(attachments).enumerate().map(|(index, (found, attachment))| {
        let (device, facts) = found;
        let link = Link::Kernel { ifindex: device.ifindex };
        let native_refused = attachment.native_refused;
        PortState { native_refused, ..state(config, index, link, facts, &opened.ports) }
    });
    let states = states.collect();
    let umem = opened.umem().clone();
    let huge_pages = opened.handle.huge_pages();
    let attached = Attached::AfXdp { xdp: opened.handle, _multicast: multicast };
    let facts = found.into_iter().map(|(_, facts)| facts).collect();
    Ok((Opened { facts, states, queues: opened.ports, umem, attached }, huge_pages))
}

#[cfg(feature = "dpdk")]
fn dpdk(
    config: &Config,
    places: &Places,
    devices: sluice_io::DpdkDevices,
    facts: Vec<PortFacts>,
) -> anyhow::Result<Opened> {
    for (port, device) in config.ports.iter().zip(devices.devices()) {
        // Those two leave it to the kernel.
        let spreads = device.has_rss || ["net_af_packet", "net_af_xdp"].contains(&&*device.driver);
        if config.workers.count > 1 && !spreads {
            let (port, driver) = (port.name.as_str(), &device.driver);
            tracing::warn!(port, driver, "no RSS: one worker may get all packets of this port");
        }
    }
    let opened = devices.open().map_err(|error| Errors {
        diagnostics: vec![super::dpdk::misfit(config, &error).at(places)],
    })?;
    let states = opened.handle.links().into_iter().map(Link::Dpdk).zip(&facts).enumerate();
    let states =
        states.map(|(index, (link, facts))| state(config, index, link, facts, &opened.ports));
    let states = states.collect();
    let umem = opened.umem().clone();
    Ok(Opened {
        facts,
        states,
        queues: opened.ports,
        umem,
        attached: Attached::Dpdk { handle: opened.handle },
    })
}

fn state(
    config: &Config,
    index: usize,
    link: Link,
    facts: &PortFacts,
    queues: &[Vec<Box<dyn Port>>],
) -> PortState {
    let port = &config.ports[index];
    let mode = |ports: &Vec<Box<dyn Port>>| -> PortMode { ports[index].info().mode };
    PortState {
        name: port.name.to_string(),
        device: port.device.clone(),
        link,
        mac: facts.mac,
        mtu: facts.mtu,
        queues: queues.iter().map(mode).collect(),
        native_refused: None,
    }
}
