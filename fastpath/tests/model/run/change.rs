//! Changes of the world.

use super::Run;
use crate::model::judge::is_served;
use crate::model::ops::{Change, SOMETIMES_VIP};
use crate::model::policy::{Policy, Rule, Verdict};
use crate::model::world::{
    BACKENDS, Balance, Health, Locality, Network, SCTP, TCP, Target, UDP, UPLINK, World, host,
    router,
};
use std::net::IpAddr;

impl Run {
    pub(super) fn change(&mut self, change: Change) -> Result<(), String> {
        // What waits for a neighbor leaves by the tables of then: not to be
        // told apart here.
        for (port, address) in self.hosts.dead() {
            self.announce(port, address)?;
        }
        let before = self.oracle.world.clone();
        self.change_world(change);
        // Of two workers one may still have a flow that ended at the other: it
        // would come back to life.
        if self.revives_ghosts() {
            self.oracle.world = before;
        }
        self.publish()
    }

    /// Whether a flow that ended, and that some worker still has, may go on in
    /// the world as it is.
    fn revives_ghosts(&self) -> bool {
        self.ghosts.keys().any(|(tuples, worker)| {
            let views = self.subject.flow(&tuples[0]);
            let mut kept = views.iter().map(|(view, _)| view);
            kept.any(|view| {
                (view.tuples, view.worker) == (*tuples, *worker)
                    && is_served(&self.oracle.world, tuples, view.backend, *worker)
            })
        })
    }

    fn change_world(&mut self, change: Change) {
        let (world, flows) = (&mut self.oracle.world, &self.oracle.flows);
        let keys: Vec<_> = world.frontends.keys().copied().collect();
        let key = |number: u8| keys.get(usize::from(number) % keys.len().max(1)).copied();
        match change {
            Change::Health { frontend, backend, health } => {
                let health = [Health::Gone, Health::NotReady, Health::Draining, Health::Ready]
                    [usize::from(health % 4)];
                if let Some(key) = key(frontend) {
                    world.set_health(key, backend.into(), health);
                }
            }
            Change::AddBackend { frontend, endpoint } => {
                if let Some(key) = key(frontend) {
                    world.add_backend(key, endpoint % BACKENDS as u8);
                }
            }
            Change::RemoveVip { number, endpoints_stay } => {
                let vips: Vec<_> = world.vips.keys().copied().collect();
                if let Some(vip) = vips.get(usize::from(number) % vips.len().max(1)) {
                    world.remove_vip(*vip, endpoints_stay);
                }
            }
            Change::AddVip { v6, place } => {
                let places = [
                    (Network::Services, 10),
                    (Network::Services, 11),
                    (Network::Uplink, 100),
                    SOMETIMES_VIP,
                ];
                let (network, last) = places[usize::from(place) % places.len()];
                let vip = host(v6, network, last);
                // A client whose address becomes a VIP is nobody's case.
                let began = |address| flows.iter().any(|(_, flow)| flow.tuples[0].src == address);
                if !world.vips.contains_key(&vip) && !began(vip) {
                    world.add_vip(vip, network == Network::Uplink);
                    world.add_frontend(vip, 80, TCP, &[0, 1, 2, place % 20]);
                    world.add_frontend(vip, 53, UDP, &[7]);
                    world.add_frontend(vip, 80, SCTP, &[2, place % 20]);
                }
            }
            Change::DefaultRoute(on) => {
                for v6 in [false, true] {
                    let any = if v6 { IpAddr::from([0; 16]) } else { IpAddr::from([0; 4]) };
                    world.routes.retain(|route| route.0 != any);
                    if on {
                        world.routes.push((any, 0, Target::Via(UPLINK, router(v6))));
                    }
                }
                world.route_epoch += 1;
            }
            Change::Behind(number) => {
                for v6 in [false, true] {
                    let prefix = host(v6, Network::Behind, 0);
                    let by = |network, last| host(v6, network, last);
                    let target = match number % 4 {
                        0 => Target::Via(1, by(Network::Cluster, 20)),
                        1 => Target::Via(1, by(Network::Cluster, 21)),
                        2 => Target::Via(2, by(Network::Tagged, 20)),
                        _ => Target::Blackhole,
                    };
                    for route in world.routes.iter_mut().filter(|route| route.0 == prefix) {
                        route.2 = target;
                    }
                }
                world.route_epoch += 1;
            }
            Change::Node { node, present } => {
                let count = world.nodes.len();
                world.nodes[usize::from(node) % count].present = present;
                world.route_epoch += 1;
            }
            Change::NodeMac { node, value } => {
                let count = world.nodes.len();
                world.nodes[usize::from(node) % count].mac[4] = value;
                world.route_epoch += 1;
            }
            Change::Mtu { port, mtu } => {
                let count = world.interfaces.len();
                world.interfaces[usize::from(port) % count].mtu = mtu;
                world.route_epoch += 1;
            }
            Change::OverlayMtu(mtu) => {
                world.overlay.mtu = mtu;
                world.route_epoch += 1;
            }
            Change::PodRange { node, present } => world.set_pod_range(node, present),
            Change::Preserve(preserve) => {
                for pool in &mut world.pools {
                    pool.preserve = preserve;
                }
            }
            Change::AddNodePort { v6, place } => world.add_node_port(v6, place),
            Change::RemoveNodePort { number, endpoints_stay } => {
                let keys = world.node_ports();
                if let Some(key) = keys.get(usize::from(number) % keys.len().max(1)) {
                    world.remove_frontend(*key, endpoints_stay);
                }
            }
            Change::Sources { frontend, list } => {
                if let Some(key) = key(frontend) {
                    world.set_sources(key, sources(key.0.is_ipv6(), list));
                }
            }
            Change::Affinity { frontend, ms } => {
                if let Some(frontend) = key(frontend).and_then(|key| world.frontends.get_mut(&key))
                {
                    frontend.rules.affinity_ms = (ms > 0).then_some(ms);
                }
            }
            Change::Balance { frontend, how } => {
                if let Some(frontend) = key(frontend).and_then(|key| world.frontends.get_mut(&key))
                {
                    let all =
                        [Balance::Consistent, Balance::LeastConnections, Balance::RandomOfTwo];
                    frontend.rules.balance = all[usize::from(how) % all.len()];
                }
            }
            Change::Locality { frontend, bits } => {
                if let Some(frontend) = key(frontend).and_then(|key| world.frontends.get_mut(&key))
                {
                    let [by_node, by_zone, node_only] = [1, 2, 4].map(|bit| bits & bit != 0);
                    frontend.rules.locality = Locality { by_node, by_zone, node_only };
                }
            }
            Change::Zone { node, zone } => {
                let count = world.nodes.len();
                match world.nodes.get_mut(usize::from(node) % (count + 1)) {
                    Some(node) => node.zone = zone,
                    None => world.zone = zone,
                }
            }
            Change::Weight { frontend, backend, weight } => {
                if let Some(key) = key(frontend) {
                    world.set_weight(key, backend.into(), weight);
                }
            }
            Change::Deny { pod, egress } => {
                self.policies_before.clone_from(&world.policies);
                let policy = Policy { rules: Vec::new(), otherwise: Verdict::Deny };
                let mut policies = world.policies.clone();
                policies.insert((pod, egress), policy);
                world.set_policies(policies);
            }
            Change::Restore => {
                world.set_policies(std::mem::take(&mut self.policies_before));
            }
            Change::Policy { v6, pod, egress, form } => {
                let pods = [0, 1, 2, 3, 5, 6, 7, 23];
                let pod = World::endpoint(v6, pods[usize::from(pod) % pods.len()]);
                let mut policies = world.policies.clone();
                match policy(v6, form) {
                    Some(policy) => policies.insert((pod, egress), policy),
                    None => policies.remove(&(pod, egress)),
                };
                world.set_policies(policies);
            }
            Change::PolicyEpoch => world.policy_epoch += 1,
            Change::RouteEpoch => world.route_epoch += 1,
        }
    }
}

/// Who may connect: everyone, or one of some lists.
fn sources(v6: bool, list: u8) -> Option<Vec<(IpAddr, u8)>> {
    let (all, net, one) = if v6 { (0, 64, 128) } else { (0, 24, 32) };
    let of = |network, last, len| (host(v6, network, last), len);
    match list % 7 {
        1 => Some(vec![of(Network::Uplink, 10, one), of(Network::Internet, 0, net)]),
        2 => Some(vec![of(Network::Uplink, 77, net), of(Network::Pods(0), 0, net)]),
        3 => Some(vec![of(Network::Tagged, 10, one - 1), of(Network::Internet, 5, one)]),
        4 => Some(vec![of(Network::Internet, 4, one - 1), of(Network::Pods(1), 5, one)]),
        5 => Some(Vec::new()),
        6 => Some(vec![of(Network::Uplink, 0, all)]),
        _ => None,
    }
}

/// What policies say of a pod: nothing, or some rules.
fn policy(v6: bool, form: u32) -> Option<Policy> {
    let (net, one) = if v6 { (64, 128) } else { (24, 32) };
    let of = |network, last, len| (host(v6, network, last), len);
    let peers = [
        of(Network::Internet, 0, net),
        of(Network::Uplink, 10, one),
        of(Network::Tagged, 10, one - 1),
        of(Network::Pods(0), 0, net),
        of(Network::Pods(1), 5, one),
        of(Network::Cluster, 8, one - 2),
        of(Network::Uplink, 0, 0),
    ];
    let ports: [&[(u8, u16, u16)]; 5] = [
        &[(TCP, 8_080, 8_080)],
        &[(TCP, 0, 8_442), (UDP, 53, 53), (UDP, 40_000, u16::MAX)],
        &[(UDP, 8_053, 8_053), (SCTP, 80, 8_080)],
        &[(SCTP, 0, u16::MAX)],
        &[(TCP, 8_081, u16::MAX), (UDP, 0, 80)],
    ];
    let bits = |at: u32, count: usize| (form >> at) as usize % count;
    let verdicts = [Verdict::Allow, Verdict::Allow, Verdict::Audit, Verdict::Deny];
    if bits(0, 8) < 4 {
        return None;
    }
    let rule = |at: u32| Rule {
        verdict: verdicts[bits(at, 4)],
        peer: peers.get(bits(at + 2, 8)).copied(),
        ports: ports.get(bits(at + 5, 16)).map(|ports| ports.to_vec()).unwrap_or_default(),
    };
    let mut rules: Vec<Rule> = (0..bits(3, 3) as u32).map(|n| rule(5 + n * 9)).collect();
    if bits(23, 2) == 0 {
        rules.push(Rule { verdict: Verdict::Allow, peer: None, ports: Vec::new() });
    }
    let otherwise = if bits(24, 3) == 0 { Verdict::Audit } else { Verdict::Deny };
    Some(Policy { rules, otherwise })
}
