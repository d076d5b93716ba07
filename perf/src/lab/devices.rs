use super::lines::Lines;
use super::memory::{Player, Worked};
use super::profile::{Bounds, Profile};
use super::search::Trial;
use super::sweep::{Bench, Run};
use crate::cpu;
use crate::site::{CLUSTER, UPLINK, VXLAN_PORT, Who};
use crate::tsc::Rate;
use anyhow::{Context, Result, ensure};
use sluice_io::{AfXdp, AfXdpOptions, AfXdpPortOptions, Device, FrameCache, PortId};
use std::net::IpAddr;

/// Frames that the generator keeps for itself.
const CACHED: usize = 1024;
/// Flows of a gateway by default.
const FLOWS_MAX: usize = 1 << 20;

/// The devices of the generator, by [`CLUSTER`] (where nodes are) and [`UPLINK`] (where
/// clients are).
pub struct Devices {
    names: [String; 2],
}

impl Devices {
    /// Devices with these names.
    pub fn new(clients: &str, nodes: &str) -> Self {
        let mut names = [String::new(), String::new()];
        names[CLUSTER] = nodes.to_owned();
        names[UPLINK] = clients.to_owned();
        Devices { names }
    }

    /// What they let a profile do.
    ///
    /// # Errors
    /// When there is no such device, it is down, or it has more queues than the lab reads.
    pub fn bounds(&self) -> Result<Bounds> {
        ensure!(self.names[0] != self.names[1], "two devices are needed: {}", self.names[0]);
        let mut mtus = [0; 2];
        for (mtu, name) in mtus.iter_mut().zip(&self.names) {
            let device = Device::inspect(name)?;
            ensure!(device.admin_up, "device {name} is down: ip link set {name} up");
            ensure!(!device.has_default_route, "device {name} carries the default route");
            ensure!(
                device.rx_queues == 1,
                "device {name} has {} receive queues, and the lab reads one: \
                 ethtool -L {name} combined 1",
                device.rx_queues
            );
            *mtu = device.mtu as usize;
        }
        // Devices that have no line say -1, or nothing.
        let path = format!("/sys/class/net/{}/speed", self.names[UPLINK]);
        let speed = std::fs::read_to_string(path).ok();
        let speed = speed.and_then(|speed| speed.trim().parse().ok());
        let speed = speed.filter(|speed: &f64| *speed > 0.0);
        Ok(Bounds {
            frame_len_max: sluice_io::CHUNK_LEN - sluice_io::HEADROOM,
            mtus,
            line_bits: speed.map(|speed| speed * 1e6),
            flows_max: FLOWS_MAX,
        })
    }

    /// Opens them. The kernel keeps what is said to the router's and the nodes' addresses,
    /// which have to be on the devices: it answers who asks for them; VXLAN is the lab's.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open(&self, profile: &Profile) -> Result<(AfXdp, Lines)> {
        let family = profile.ip();
        let nodes: Vec<IpAddr> = (0..profile.nodes).map(|n| Who::Node(n).addr(family)).collect();
        let mut kernel = [nodes.clone(), vec![Who::Router.addr(family)]];
        let port = |number: usize, kernel: Vec<IpAddr>, vteps: Vec<IpAddr>| AfXdpPortOptions {
            id: PortId(number as u8),
            name: self.names[number].clone(),
            device: self.names[number].clone(),
            kernel_addresses: kernel,
            vteps,
            vxlan_udp_port: VXLAN_PORT,
        };
        let ports = vec![
            port(CLUSTER, std::mem::take(&mut kernel[CLUSTER]), nodes),
            port(UPLINK, std::mem::take(&mut kernel[UPLINK]), Vec::new()),
        ];
        let mut io =
            AfXdp::open(&AfXdpOptions::new(ports, 1)).context("cannot open the devices")?;
        let ports = io.ports.pop().unwrap_or_default();
        let ports = ports.try_into().ok().context("not two ports")?;
        let cache = FrameCache::new(io.umem(), CACHED);
        Ok((io, Lines::new(ports, cache)))
    }
}

/// A gateway between two devices, and the generator at their other ends.
pub struct OnDevices {
    /// The devices.
    pub devices: Devices,
    /// The generator's core.
    pub cpu: Option<usize>,
    /// The clock's.
    pub rate: Rate,
}

impl OnDevices {
    /// Opens the devices and has every flow begin; `f` does the rest.
    ///
    /// # Errors
    /// What cannot be, what is wrong with a frame, and what `f` returns.
    pub fn play<T>(
        &self,
        profile: &Profile,
        f: impl FnOnce(&mut Player) -> Result<T>,
    ) -> Result<T> {
        profile.check(&self.devices.bounds()?)?;
        if let Some(cpu) = self.cpu {
            cpu::pin(cpu)?;
        }
        // The programs stay attached until the player is gone.
        let (_io, lines) = self.devices.open(profile)?;
        let mut player = Player::new(profile, lines, self.rate)?;
        let outcome = player.open().and_then(|()| f(&mut player));
        player.close();
        outcome
    }
}

impl Bench for OnDevices {
    fn with<T>(
        &mut self,
        profile: &Profile,
        f: &mut dyn FnMut(&mut Run<'_>) -> Result<T>,
    ) -> Result<T> {
        self.play(profile, |player| {
            f(&mut |rate, time, timed| {
                let outcome = player.run(rate, time, timed)?;
                Ok(Trial { outcome, more: None::<Worked> })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_are_not_there_are_refused() {
        let error =
            |clients, nodes| format!("{:#}", Devices::new(clients, nodes).bounds().unwrap_err());
        assert!(error("nowhere0", "nowhere1").contains("no network device `nowhere1`"));
        assert!(error("lo", "lo").contains("two devices are needed"));
        assert!(error("", "").contains("two devices"));
    }
}
