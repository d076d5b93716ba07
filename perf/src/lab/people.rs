use super::packet::number_of;
use crate::cluster::Cluster;
use crate::site::{self, Family, SERVICE_PORT, TARGET_PORT, Who};
use crate::traffic::Random;
use anyhow::{Result, ensure};

/// Source ports of each client: 1,024 to 65,535.
pub const CLIENT_PORTS: u32 = 65_536 - CLIENT_PORT_MIN;
const CLIENT_PORT_MIN: u32 = 1024;
/// Most client addresses.
pub const CLIENTS_MAX: u32 = 1 << 16;

/// Where a flow has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The endpoint, by its number in the cluster.
    pub backend: u32,
    /// The number of the SNAT address.
    pub snat: u32,
    /// The SNAT port.
    pub snat_port: u16,
}

/// Who talks to whom, all of it from numbers.
#[derive(Clone, Debug)]
pub struct People {
    /// The cluster.
    pub cluster: Cluster,
    clients: u32,
    /// By place, the number of the flow there: neighbors in this order are none in the
    /// gateway's tables.
    order: Vec<u32>,
    client: [u128; 2],
    vip: u128,
    snat: u128,
    /// The first node's net, and what lies between two.
    pod: [u128; 2],
}

impl People {
    /// Of so many flows between clients and Services.
    pub fn new(cluster: Cluster, clients: u32, flows: u32) -> Self {
        let number = |who| number_of(who, cluster.family);
        let mut order: Vec<u32> = (0..flows).collect();
        Random::new(u64::from(flows)).shuffle(&mut order);
        let pod = [Who::Pod(0, 0), Who::Pod(1, 0)].map(number);
        let client = [Who::Client(0), Who::Client(1)].map(number);
        People {
            cluster,
            clients,
            order,
            client: [client[0], client[1] - client[0]],
            vip: number(Who::Vip(0)),
            snat: number(Who::Snat(0)),
            pod: [pod[0], pod[1] - pod[0]],
        }
    }

    /// Flows that go on.
    pub fn flows(&self) -> u32 {
        self.order.len() as u32
    }

    /// The number of the flow at a place.
    #[inline]
    pub fn number(&self, place: u32) -> Option<u32> {
        self.order.get(place as usize).copied()
    }

    /// The client's end of a flow; where there are more than addresses and ports, they come
    /// round again.
    #[inline]
    pub fn client(&self, number: u32) -> (u128, u16) {
        let addr = self.client[0] + u128::from(number % self.clients) * self.client[1];
        (addr, (CLIENT_PORT_MIN + number / self.clients % CLIENT_PORTS) as u16)
    }

    /// The Service's end.
    #[inline]
    pub fn vip(&self, number: u32) -> (u128, u16) {
        (self.vip + u128::from(number % self.cluster.services), SERVICE_PORT)
    }

    /// The pod's end of a flow, its node, and the gateway's end towards it.
    #[inline]
    pub fn pod(&self, chosen: &Chosen) -> ((u128, u16), u32, (u128, u16)) {
        let node = chosen.backend % self.cluster.nodes;
        let pod = 2 + chosen.backend / self.cluster.nodes;
        let addr = self.pod[0] + u128::from(node) * self.pod[1] + u128::from(pod);
        let snat = (self.snat + u128::from(chosen.snat), chosen.snat_port);
        ((addr, TARGET_PORT), node, snat)
    }

    /// What the gateway has chosen for a flow, from the frame that came to a node.
    ///
    /// # Errors
    /// When it may not choose that.
    #[inline]
    pub fn chosen(
        &self,
        number: u32,
        node: u32,
        src: (u128, u16),
        dst: (u128, u16),
    ) -> Result<Chosen> {
        let cluster = &self.cluster;
        let net = self.pod[0] + u128::from(node) * self.pod[1];
        let pod = dst.0.checked_sub(net).filter(|pod| *pod < self.pod[1].min(1 << 20));
        let pod = pod.and_then(|pod| pod.checked_sub(2));
        let backend = pod.map_or(u32::MAX, |pod| pod as u32).saturating_mul(cluster.nodes);
        let backend = backend.saturating_add(node);
        ensure!(
            node < cluster.nodes && dst.1 == TARGET_PORT,
            "node {node} has no pod {:x}, port {}",
            dst.0,
            dst.1
        );
        ensure!(
            backend / cluster.backends == number % cluster.services,
            "{:x} on node {node} is no endpoint of flow {number}",
            dst.0
        );
        let snat = src.0.wrapping_sub(self.snat);
        let (min, max) = site::SNAT_PORTS;
        ensure!(
            snat < u128::from(site::SNAT_ADDRESSES) && (min..=max).contains(&src.1),
            "no SNAT address or port: {:x}, port {}",
            src.0,
            src.1
        );
        Ok(Chosen { backend, snat: snat as u32, snat_port: src.1 })
    }
}

/// Most flows between so many clients and their Services.
pub fn flows_max(clients: u32) -> u64 {
    u64::from(clients) * u64::from(CLIENT_PORTS)
}

/// Most pods of a node.
pub fn pods_max(family: Family) -> u32 {
    // Of IPv4, 12 bits; two are left out at the start.
    match family {
        Family::V4 => (1 << (32 - u32::from(Who::Pod(0, 0).prefix_len(family)))) - 2,
        Family::V6 => 1 << 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::Flow;

    #[test]
    fn everybody_is_where_the_tables_have_them() {
        for family in [Family::V4, Family::V6] {
            let cluster = Cluster { nodes: 7, ..Cluster::new(family, 3) };
            let people = People::new(cluster, CLIENTS_MAX, 100);
            for number in [0, 1, 29, 65_536, 200_000] {
                let flow = Flow { number, ..Flow::default() };
                let (addr, port) = flow.client(family);
                let client = (crate::flood::shape::number(addr), port);
                assert_eq!(people.client(number), client);
                let service = flow.service(&cluster);
                assert_eq!(people.vip(number).0, number_of(Who::Vip(service), family));
                let backend = service * cluster.backends + number % cluster.backends;
                let chosen = Chosen { backend, snat: 255, snat_port: 29_999 };
                let (pod, node, snat) = people.pod(&chosen);
                let (place, addr) = cluster.backend(backend);
                assert_eq!((pod.0, node), (crate::flood::shape::number(addr), place));
                assert_eq!(people.chosen(number, node, snat, pod).unwrap(), chosen);
                // Another Service's pod, another node, no pod's address, no SNAT port.
                assert!(people.chosen(number + 1, node, snat, pod).is_err());
                assert!(people.chosen(number, (node + 1) % 7, snat, pod).is_err());
                assert!(people.chosen(number, node, snat, (pod.0 + 100, pod.1)).is_err());
                assert!(people.chosen(number, node, (snat.0 + 1, snat.1), pod).is_err());
                assert!(people.chosen(number, node, (snat.0, 30_000), pod).is_err());
            }
        }
    }

    #[test]
    fn each_flow_has_one_place() {
        let people = People::new(Cluster::new(Family::V4, 1), 16, 1000);
        let mut numbers: Vec<u32> = (0..1000).filter_map(|place| people.number(place)).collect();
        assert_ne!(numbers[..4], [0, 1, 2, 3]);
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..1000));
        assert_eq!(people.number(1000), None);
    }
}
