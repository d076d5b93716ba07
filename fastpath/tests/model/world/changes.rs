//! What changes in a world.

use super::{
    Backend, Frontend, Health, NODE_PORTS, Network, Policy, Rules, Target, World, host, prefix_len,
};
use sluice_tables::SERVICE_EPOCHS;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

impl World {
    /// Adds a VIP without ports.
    pub fn add_vip(&mut self, address: IpAddr, announce: bool) {
        self.vips.insert(address, announce);
        self.service_epochs[SERVICE_EPOCHS] += 1;
    }

    /// Adds a port of a VIP, with endpoints by their numbers.
    pub fn add_frontend(&mut self, vip: IpAddr, port: u16, protocol: u8, endpoints: &[u8]) {
        let service = self.services;
        self.services += 1;
        let frontend = Frontend { service, backends: Vec::new(), rules: Rules::default() };
        self.frontends.insert((vip, port, protocol), frontend);
        for &endpoint in endpoints {
            self.add_backend((vip, port, protocol), endpoint);
        }
    }

    /// Adds one of [`NODE_PORTS`], unless it is there.
    pub fn add_node_port(&mut self, v6: bool, place: u8) {
        let ((network, last), protocol, port) = NODE_PORTS[usize::from(place) % NODE_PORTS.len()];
        let address = host(v6, network, last);
        if !self.frontends.contains_key(&(address, port, protocol)) {
            self.add_frontend(address, port, protocol, &[0, 1, 6, place % 20]);
        }
    }

    /// Adds an endpoint to a port of a VIP, ready; its number is new.
    pub fn add_backend(&mut self, key: (IpAddr, u16, u8), endpoint: u8) {
        let id = self.health.len() as u32;
        self.health.push(Health::Ready);
        let address = Self::endpoint(key.0.is_ipv6(), endpoint);
        let Some(frontend) = self.frontends.get_mut(&key) else { return };
        // The target port differs from the Service's.
        let old = frontend.backends.extract_if(.., |backend| backend.address == address);
        for backend in old {
            self.health[backend.id as usize] = Health::Gone;
        }
        let port = 8000 + key.1 % 1000;
        frontend.backends.push(Backend { id, address, port, weight: 1 });
        let group = frontend.service as usize % SERVICE_EPOCHS;
        self.service_epochs[group] += 1;
    }

    /// Gives an endpoint another weight.
    pub fn set_weight(&mut self, key: (IpAddr, u16, u8), index: usize, weight: u16) {
        let Some(frontend) = self.frontends.get_mut(&key) else { return };
        let count = frontend.backends.len().max(1);
        if let Some(backend) = frontend.backends.get_mut(index % count) {
            backend.weight = weight;
        }
    }

    /// Says who may connect; flows of others end.
    pub fn set_sources(&mut self, key: (IpAddr, u16, u8), sources: Option<Vec<(IpAddr, u8)>>) {
        let Some(frontend) = self.frontends.get_mut(&key) else { return };
        frontend.rules.sources = sources;
        self.service_epochs[frontend.service as usize % SERVICE_EPOCHS] += 1;
    }

    /// Sets what is known of an endpoint.
    pub fn set_health(&mut self, key: (IpAddr, u16, u8), index: usize, health: Health) {
        let Some(frontend) = self.frontends.get_mut(&key) else { return };
        if frontend.backends.is_empty() {
            return;
        }
        let index = index % frontend.backends.len();
        let id = frontend.backends[index].id as usize;
        let group = frontend.service as usize % SERVICE_EPOCHS;
        if health == Health::Gone {
            frontend.backends.remove(index);
        }
        self.health[id] = health;
        self.service_epochs[group] += 1;
    }

    /// Removes a VIP and its ports. Endpoints stay where their Service has
    /// another address.
    pub fn remove_vip(&mut self, address: IpAddr, endpoints_stay: bool) {
        self.vips.remove(&address);
        let gone: Vec<_> = self.frontends.keys().filter(|key| key.0 == address).copied().collect();
        for key in gone {
            self.remove_frontend(key, endpoints_stay);
        }
    }

    /// Removes a port, with its endpoints or without.
    pub fn remove_frontend(&mut self, key: (IpAddr, u16, u8), endpoints_stay: bool) {
        let Some(frontend) = self.frontends.remove(&key) else { return };
        for backend in frontend.backends.iter().filter(|_| !endpoints_stay) {
            self.health[backend.id as usize] = Health::Gone;
        }
        self.service_epochs[frontend.service as usize % SERVICE_EPOCHS] += 1;
    }

    /// Sets all policies: of flows that there are those look again whose ends are on
    /// the nodes of pods with other ones; all, when there are none any more, since
    /// groups do not count then.
    pub fn set_policies(&mut self, policies: BTreeMap<(IpAddr, bool), Policy>) {
        let before = std::mem::replace(&mut self.policies, policies);
        if self.policies.is_empty() && !before.is_empty() {
            self.policy_epoch += 1 + self.policy_epochs.iter().sum::<u32>();
            return;
        }
        let all = before.keys().chain(self.policies.keys());
        let changed = all.filter(|of| before.get(of) != self.policies.get(of));
        let groups: BTreeSet<usize> =
            changed.map(|(pod, _)| self.pod_node(pod).map_or(0, |node| 128 + node)).collect();
        groups.into_iter().for_each(|group| self.policy_epochs[group] += 1);
    }

    /// A node has its pods' range, or not.
    pub fn set_pod_range(&mut self, node: u8, present: bool) {
        for v6 in [false, true] {
            let target = Target::Tunnel(usize::from(node));
            self.routes.retain(|route| route.2 != target || route.0.is_ipv6() != v6);
            if present {
                self.routes.push((host(v6, Network::Pods(node), 0), prefix_len(v6), target));
            }
        }
        self.route_epoch += 1;
    }
}
