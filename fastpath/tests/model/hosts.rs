//! The neighbors around the gateway: who answers, by which MAC.

use super::frames::mac_of;
use super::world::{CLUSTER, Mac, Network, TAGGED, UPLINK, host};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A neighbor.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    pub alive: bool,
    /// It never was: somebody speaks in its name, but nobody answers.
    pub silent: bool,
    /// Times its MAC has changed.
    pub macs: u8,
}

/// All neighbors, by port and address.
pub struct Hosts {
    list: BTreeMap<(u8, IpAddr), Host>,
}

impl Hosts {
    pub fn new() -> Self {
        let mut list = BTreeMap::new();
        for v6 in [false, true] {
            let mut add = |port: u8, network, last: &[u8]| {
                for last in last {
                    let silent = *last == 66;
                    let neighbor = Host { alive: !silent, silent, macs: 0 };
                    list.insert((port, host(v6, network, *last)), neighbor);
                }
            };
            add(UPLINK, Network::Uplink, &[1, 10, 11, 12, 20, 66]);
            add(CLUSTER, Network::Cluster, &[10, 11, 12, 13, 20, 21, 30, 66]);
            add(TAGGED, Network::Tagged, &[10, 11, 12, 20, 66]);
        }
        Hosts { list }
    }

    /// The MAC by which a neighbor answers; `None` when it does not.
    pub fn answers(&self, port: u8, address: &IpAddr) -> Option<Mac> {
        let neighbor = self.list.get(&(port, *address))?;
        neighbor.alive.then(|| mac_of(address, neighbor.macs))
    }

    /// The MAC that a neighbor has, dead or alive.
    pub fn mac(&self, port: u8, address: &IpAddr) -> Mac {
        mac_of(address, self.list.get(&(port, *address)).map_or(0, |neighbor| neighbor.macs))
    }

    /// The neighbor that a frame was sent to: by its MAC, or, if it is dead,
    /// by one that it had.
    pub fn by_mac(&self, port: u8, mac: &Mac) -> Option<IpAddr> {
        let has = |address: &IpAddr, neighbor: &Host| {
            let oldest = if neighbor.alive { neighbor.macs } else { 0 };
            (oldest..=neighbor.macs).any(|macs| mac_of(address, macs) == *mac)
        };
        let mut on_port = self.list.iter().filter(|((at, _), _)| *at == port);
        on_port.find(|((_, address), neighbor)| has(address, neighbor)).map(|((_, a), _)| *a)
    }

    /// The neighbor of a number, to be changed.
    pub fn nth(&mut self, number: u16) -> (u8, IpAddr, &mut Host) {
        let at = usize::from(number) % self.list.len();
        let ((port, address), neighbor) = self.list.iter_mut().nth(at).expect("there is one");
        (*port, *address, neighbor)
    }

    /// The neighbors that do not answer, but could.
    pub fn dead(&self) -> Vec<(u8, IpAddr)> {
        let dead = self.list.iter().filter(|(_, host)| !host.alive && !host.silent);
        dead.map(|(key, _)| *key).collect()
    }

    /// Brings a neighbor back.
    pub fn revive(&mut self, port: u8, address: &IpAddr) {
        if let Some(host) = self.list.get_mut(&(port, *address)) {
            host.alive = true;
        }
    }
}
