//! The world that a run begins with.

use super::{
    Balance, CLUSTER, Frontend, Interface, NODE_PORTS, Network, Node, Overlay, Own, Pool, SCTP,
    TAGGED, TCP, Target, UDP, UPLINK, Variant, World, host, prefix_len, router,
};
use sluice_tables::{POLICY_EPOCHS, SERVICE_EPOCHS};
use std::collections::BTreeMap;

impl World {
    /// The world that a run begins with.
    pub fn new(variant: Variant) -> Self {
        let mut own = BTreeMap::new();
        let mut interface = |id: u8, network, vlan, mtu, announce| {
            let addresses: Vec<_> =
                [false, true].map(|v6| (host(v6, network, 254), prefix_len(v6))).into();
            for (address, _) in &addresses {
                own.insert(*address, Own::Port(id));
            }
            Interface { mac: [2, 0, 0, 0, 0, id], mtu, vlan, announce, addresses }
        };
        let interfaces = vec![
            interface(UPLINK, Network::Uplink, None, 1500, true),
            interface(CLUSTER, Network::Cluster, None, 1500, false),
            interface(TAGGED, Network::Tagged, Some(7), 1400, true),
        ];
        for v6 in [false, true] {
            own.insert(host(v6, Network::Uplink, 253), Own::Kernel(UPLINK));
        }
        let pools = [false, true].map(|v6| {
            let count = if variant.few_ports { 1 } else { 2 };
            let addresses: Vec<_> = (1..=count).map(|n| host(v6, Network::Pool, n)).collect();
            for address in &addresses {
                own.insert(*address, Own::Snat);
            }
            let port_max = if variant.few_ports { 40_001 } else { 40_600 };
            Pool { preserve: variant.preserve, addresses, port_min: 40_000, port_max }
        });
        let underlay = |v6: bool, n| {
            let used = if v6 { variant.underlay_v6 } else { variant.underlay_v4 };
            used.then(|| host(v6, Network::Cluster, n))
        };
        let node = |n: u8| Node {
            present: true,
            v4: underlay(false, n),
            v6: underlay(true, n),
            mac: [2, 0, 0, 1, 0, n],
            // 1, 2, none, 1
            zone: u16::from(n % 3),
        };
        let mut world = World {
            limits: variant.limits,
            workers: variant.workers,
            interfaces,
            overlay: Overlay {
                vni: 4242,
                udp_port: 8472,
                mac: [2, 0, 0, 2, 0, 0],
                mtu: 1440,
                v4: underlay(false, 254),
                v6: underlay(true, 254),
            },
            nodes: (0..4).map(|n| node(n + 10)).collect(),
            zone: 1,
            routes: Vec::new(),
            own,
            pools,
            vips: BTreeMap::new(),
            frontends: BTreeMap::new(),
            services: 0,
            policies: BTreeMap::new(),
            health: Vec::new(),
            version: 0,
            policy_epoch: 1,
            policy_epochs: [0; POLICY_EPOCHS],
            route_epoch: 1,
            service_epochs: [1; SERVICE_EPOCHS + 1],
        };
        world.first_routes();
        world.first_services();
        world
    }

    fn first_routes(&mut self) {
        for v6 in [false, true] {
            let len = prefix_len(v6);
            let mut add = |network, len, target| {
                self.routes.push((host(v6, network, 0), len, target));
            };
            add(Network::Uplink, len, Target::Connected(UPLINK));
            add(Network::Cluster, len, Target::Connected(CLUSTER));
            add(Network::Tagged, len, Target::Connected(TAGGED));
            add(Network::Hole, len, Target::Blackhole);
            add(Network::Internet, len, Target::Via(UPLINK, router(v6)));
            add(Network::Behind, len, Target::Via(CLUSTER, host(v6, Network::Cluster, 20)));
            for node in 0..4 {
                add(Network::Pods(node), len, Target::Tunnel(usize::from(node)));
            }
        }
    }

    fn first_services(&mut self) {
        for v6 in [false, true] {
            for (network, last, announce) in [
                (Network::Services, 10, false),
                (Network::Uplink, 100, true),
                (Network::Services, 11, false),
            ] {
                self.add_vip(host(v6, network, last), announce);
            }
            // The three kinds of choice: few, many (a table), none; and one
            // endpoint that is no pod.
            self.add_frontend(host(v6, Network::Services, 10), 80, TCP, &[0, 1, 2]);
            self.add_frontend(host(v6, Network::Services, 10), 53, UDP, &[7]);
            self.add_frontend(host(v6, Network::Uplink, 100), 80, TCP, &[0, 1, 5, 6]);
            self.add_frontend(host(v6, Network::Uplink, 100), 53, UDP, &[7]);
            self.add_frontend(host(v6, Network::Services, 10), 80, SCTP, &[0, 1]);
            self.add_frontend(host(v6, Network::Uplink, 100), 80, SCTP, &[0, 1]);
            let many: Vec<u8> = (0..18).collect();
            self.add_frontend(host(v6, Network::Uplink, 100), 443, TCP, &many);
            self.add_frontend(host(v6, Network::Services, 11), 80, TCP, &[]);
            self.add_frontend(host(v6, Network::Services, 11), 81, TCP, &[23]);
            // A busy one asks for more.
            let busy = self.frontends.get_mut(&(host(v6, Network::Uplink, 100), 80, TCP));
            if let Some(Frontend { rules, .. }) = busy {
                rules.affinity_ms = Some(60_000);
                rules.balance = Balance::LeastConnections;
            }
            for (place, _) in NODE_PORTS.iter().enumerate() {
                self.add_node_port(v6, place as u8);
            }
        }
    }
}
