//! One run: operations are carried out on subject and oracle, and compared.

use super::compare::{Ledger, Question};
use super::compile::compile;
use super::flows::{Flow, Translation};
use super::frames::{self, answer};
use super::hosts::Hosts;
use super::judge::is_served;
use super::ops::{self, Change, HostChange, L4, LinkKind, Op, SOMETIMES_VIP, Shape};
use super::oracle::{Choices, Ended, Event, Oracle};
use super::parse::Tuple;
use super::policy::{Policy, Rule, Verdict};
use super::subject::{FlowView, Subject};
use super::wire::{ACK, SYN};
use super::world::{
    Balance, Health, Locality, Network, SCTP, TCP, Target, UDP, UPLINK, Variant, World, home, host,
    router,
};
use sluice_fastpath::{DropReason, Nanos};
use sluice_io::{CHUNK_LEN, HEADROOM};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Time that passes with every operation: enough for the limit of errors to a
/// destination (50 a second) to stay out of the picture.
const STEP_MS: u64 = 25;

/// Subject, oracle, and what is known of both.
pub struct Run {
    variant: Variant,
    pub subject: Subject,
    pub oracle: Oracle,
    pub hosts: Hosts,
    pub ledger: Ledger,
    /// Neighbors known at the end of the last step, by worker.
    known: BTreeSet<(usize, u8, IpAddr)>,
    /// Flows that ended because the tables changed: their worker may still have
    /// them, to be dropped when it looks at them or in time.
    ghosts: Ended,
    /// Policies before everything to a pod was denied.
    policies_before: BTreeMap<(IpAddr, bool), Policy>,
    steps: u64,
}

/// What the oracle may ask, answered.
struct View<'a> {
    subject: &'a Subject,
    known: &'a BTreeSet<(usize, u8, IpAddr)>,
    /// The worker whose queue a frame came by.
    worker: usize,
    ghosts: &'a Ended,
    ledger: &'a Ledger,
}

impl View<'_> {
    /// A flow that ended and that a worker still has.
    fn ghost(&self, tuple: &Tuple, worker: usize) -> Option<FlowView> {
        let views = self.subject.flow(tuple).into_iter().map(|(view, _)| view);
        let mut there = views.filter(|view| view.worker == worker);
        there.find(|view| self.ghosts.contains_key(&(view.tuples, worker)))
    }
}

impl Choices for View<'_> {
    fn translation(&self, tuple: &Tuple, owner: usize) -> Option<Translation> {
        let flows = self.subject.flow(tuple);
        let (flow, side) = flows.iter().find(|(flow, _)| flow.worker == owner)?;
        let reply = flow.tuples[1];
        (*side == 0).then_some(Translation {
            src: reply.dst,
            src_port: reply.dst_port,
            dst: reply.src,
            dst_port: reply.src_port,
        })
    }

    fn lingers(&self, tuple: &Tuple, worker: usize) -> bool {
        self.ghost(tuple, worker).is_some()
    }

    fn lingers_translated(&self, tuple: &Tuple, worker: usize) -> bool {
        self.ghost(tuple, worker).is_some_and(|ghost| ghost.service.is_some())
    }

    fn lingering(&self, backend: u32, worker: usize) -> u64 {
        let of_backend = self.ghosts.iter().filter(|(_, ended)| **ended == Some(backend));
        let there = of_backend
            .filter(|((tuples, at), _)| *at == worker && self.ghost(&tuples[0], worker).is_some());
        there.count() as u64
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.subject.dropped(reason) - self.ledger.dropped(reason)
    }

    fn has(&self, flow: &Flow) -> bool {
        has(self.subject, flow)
    }

    fn knew(&self, port: u8, address: &IpAddr) -> bool {
        self.known.contains(&(self.worker, port, *address))
    }
}

impl Run {
    pub fn new(variant: Variant) -> Result<Self, String> {
        let mut run = Run {
            variant,
            subject: Subject::new(variant),
            oracle: Oracle::new(World::new(variant)),
            hosts: Hosts::new(),
            ledger: Ledger::default(),
            known: BTreeSet::new(),
            ghosts: Ended::new(),
            policies_before: BTreeMap::new(),
            steps: 0,
        };
        run.publish()?;
        Ok(run)
    }

    /// Carries out an operation; an error says where subject and oracle part.
    pub fn apply(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Packet { queue, v6, from, to, l4, shape } => {
                let (src_port, dst_port, protocol) = match *l4 {
                    L4::Tcp { src_port, dst_port, .. } => (src_port, dst_port, TCP),
                    L4::Udp { src_port, dst_port, .. } => (src_port, dst_port, UDP),
                    L4::Sctp { src_port, dst_port, .. } => (src_port, dst_port, SCTP),
                    _ => (0, 0, 0),
                };
                let (src, dst) = (host(*v6, from.0, from.1), host(*v6, to.0, to.1));
                let tuple = Tuple { src, dst, src_port, dst_port, protocol };
                self.send(*queue, &tuple, l4, shape, 1)
            }
            Op::Follow { queue, flow, side, flags, shape } => {
                match self.pick(*flow, *side, *flags) {
                    Some((tuple, l4)) => self.send(*queue, &tuple, &l4, shape, 1),
                    None => Ok(()),
                }
            }
            Op::Reopen { queue, flow, number, off, scales } => {
                self.reopen(*queue, *flow, (*number, *off), *scales)
            }
            Op::Again { queue, flow, frontend } => self.again(*queue, *flow, *frontend),
            Op::Return { queue, flow, src_port } => self.come_back(*queue, *flow, *src_port),
            Op::Cut { queue, flow, side, egress, form } => {
                self.cut(*queue, (*flow, *side), *egress, *form)
            }
            Op::Burst { queue, flow, side, count } => match self.pick(*flow, *side, ACK) {
                Some((tuple, l4)) => self.send(*queue, &tuple, &l4, &Shape::PLAIN, *count),
                None => Ok(()),
            },
            Op::Error { queue, flow, side, form, shape } => match self.pick(*flow, *side, 0) {
                Some((about, _)) => {
                    let tuple = Tuple { src_port: 0, dst_port: 0, protocol: 0, ..about };
                    self.send(*queue, &tuple, &L4::Error { about, form: *form }, shape, 1)
                }
                None => Ok(()),
            },
            Op::Datagram { queue, flow, side, id, form } => {
                let Some((tuple, l4)) = self.pick(*flow, *side, ACK) else { return Ok(()) };
                self.datagram(*queue, (&tuple, &l4), *id, *form)
            }
            Op::Link { queue, port, v6, kind, sender, target } => {
                self.link(*queue, *port, *v6, *kind, *sender, *target)
            }
            Op::Wait { ms, steps } => {
                for _ in 0..*steps {
                    self.subject.now.0 += ms * 1_000_000;
                    self.step(&[])?;
                }
                Ok(())
            }
            Op::Change(change) => self.change(*change),
            Op::Host { host, change } => self.change_host(*host, *change),
        }
    }

    /// The tuple and header of a packet of some flow.
    fn pick(&self, flow: u16, side: u8, flags: u8) -> Option<(Tuple, L4)> {
        let count = self.oracle.flows.len();
        let number = usize::from(flow) % count.max(1);
        // The newest first: those have a future.
        let (_, flow) = self.oracle.flows.iter().nth(count.checked_sub(number + 1)?)?;
        let tuple = flow.tuples[usize::from(side % 2)];
        let (src_port, dst_port) = (tuple.src_port, tuple.dst_port);
        let l4 = match tuple.protocol {
            TCP => L4::Tcp { src_port, dst_port, flags },
            UDP => L4::Udp { src_port, dst_port, checksum: true },
            SCTP => {
                L4::Sctp { src_port, dst_port, chunk: ops::chunk_of(flags, side), checksum: true }
            }
            1 | 58 => L4::Echo { request: side.is_multiple_of(2), id: src_port, zero: false },
            protocol => L4::Other { protocol },
        };
        Some((tuple, l4))
    }

    /// A SYN on the tuple of some flow, and a SYN-ACK.
    fn reopen(
        &mut self,
        queue: u8,
        flow: u16,
        (number, off): (u32, u32),
        scales: [Option<u8>; 2],
    ) -> Result<(), String> {
        let sides = [(0, SYN), (1, SYN | ACK)].map(|(side, flags)| self.pick(flow, side, flags));
        let [Some(syn), Some(answer)] = sides else { return Ok(()) };
        let numbers = [(number, 0), (7, number.wrapping_add(1).wrapping_add(off))];
        for (((tuple, l4), numbers), scale) in [syn, answer].iter().zip(numbers).zip(scales) {
            self.send(queue, tuple, l4, &Shape { numbers, scale, ..Shape::PLAIN }, 1)?;
        }
        Ok(())
    }

    /// A flow is cut, and is as before.
    fn cut(
        &mut self,
        queue: u8,
        (flow, side): (u16, u8),
        egress: bool,
        form: u8,
    ) -> Result<(), String> {
        if form % 8 == 4 {
            return self.relate(queue, flow, form / 8);
        }
        let Some((client, _)) = self.pick(flow, 0, ACK) else { return Ok(()) };
        let Some((server, _)) = self.pick(flow, 1, ACK) else { return Ok(()) };
        let Some((tuple, l4)) = self.pick(flow, side, ACK) else { return Ok(()) };
        let pod = if egress { client.src } else { server.src };
        let Some(node) = home(&pod) else { return Ok(()) };
        self.change(Change::Deny { pod, egress })?;
        match form % 4 {
            0 => self.send(queue, &tuple, &l4, &Shape::PLAIN, 1)?,
            1 => {
                let to = Tuple { src_port: 0, dst_port: 0, protocol: 0, ..tuple };
                let l4 = L4::Error { about: tuple, form: form / 4 };
                self.send(queue, &to, &l4, &Shape::PLAIN, 1)?;
            }
            2 => self.datagram(queue, (&tuple, &l4), 5, 4)?,
            _ => {
                let src = host(pod.is_ipv6(), Network::Cluster, 10 + node as u8);
                let (src_port, dst_port) = (3_000, 53);
                let tuple = Tuple { src, dst: pod, src_port, dst_port, protocol: UDP };
                let l4 = L4::Udp { src_port, dst_port, checksum: true };
                self.send(queue, &tuple, &l4, &Shape::PLAIN, 1)?;
            }
        }
        self.change(Change::Restore)?;
        self.send(queue, &tuple, &l4, &Shape::PLAIN, 1)
    }

    /// An ICMP error comes to the client of a flow that is not translated, while
    /// policies deny everything that goes that way by itself.
    fn relate(&mut self, queue: u8, flow: u16, form: u8) -> Result<(), String> {
        let flows = self.oracle.flows.iter().map(|(_, flow)| flow);
        let plain: Vec<_> = flows.filter(|flow| flow.service.is_none()).collect();
        let newest = plain.len().saturating_sub(1 + usize::from(flow) % 8);
        let Some(flow) = plain.get(newest) else { return Ok(()) };
        let about = flow.tuples[1];
        let (pod, egress) = match home(&about.dst) {
            Some(_) => (about.dst, false),
            None => (about.src, true),
        };
        self.change(Change::Deny { pod, egress })?;
        let tuple = Tuple { src_port: 0, dst_port: 0, protocol: 0, ..about };
        self.send(queue, &tuple, &L4::Error { about, form }, &Shape::PLAIN, 1)?;
        self.change(Change::Restore)
    }

    /// A packet in fragments.
    fn datagram(
        &mut self,
        queue: u8,
        (tuple, l4): (&Tuple, &L4),
        id: u8,
        form: u16,
    ) -> Result<(), String> {
        let frames = frames::fragments(&self.oracle.world, tuple, l4, id.into(), form);
        // One after the other: workers take turns within a step.
        frames.into_iter().zip(queue..).try_for_each(|((port, frame), queue)| {
            let worker = usize::from(queue) % self.subject.workers();
            self.step(&[(worker, port, frame)])
        })
    }

    /// A connection from the client's end of some flow to a port of a VIP of
    /// the same family, three times out of four of the same protocol: two such may
    /// meet at one endpoint.
    fn again(&mut self, queue: u8, flow: u16, frontend: u8) -> Result<(), String> {
        let Some((client, _)) = self.pick(flow, 0, 0) else { return Ok(()) };
        let v6 = client.src.is_ipv6();
        let of_any = frontend.is_multiple_of(4);
        let keys = self.oracle.world.frontends.keys();
        let keys: Vec<_> = keys
            .filter(|key| key.0.is_ipv6() == v6 && (of_any || key.2 == client.protocol))
            .collect();
        let at = usize::from(frontend) % keys.len().max(1);
        let Some(&&(dst, dst_port, protocol)) = keys.get(at) else { return Ok(()) };
        self.connect(queue, &Tuple { dst, dst_port, protocol, ..client })
    }

    /// A connection from another port of the client of some Service's flow.
    fn come_back(&mut self, queue: u8, flow: u16, src_port: u16) -> Result<(), String> {
        let flows = self.oracle.flows.iter().map(|(_, flow)| flow);
        let of_services: Vec<_> = flows.filter(|flow| flow.service.is_some()).collect();
        let at = usize::from(flow) % of_services.len().max(1);
        let Some(flow) = of_services.get(at) else { return Ok(()) };
        let tuple = Tuple { src_port, ..flow.tuples[0] };
        self.connect(queue, &tuple)
    }

    /// A connection begins.
    fn connect(&mut self, queue: u8, tuple: &Tuple) -> Result<(), String> {
        let Tuple { src_port, dst_port, protocol, .. } = *tuple;
        let l4 = match protocol {
            TCP => L4::Tcp { src_port, dst_port, flags: SYN },
            SCTP => L4::Sctp { src_port, dst_port, chunk: 1, checksum: true },
            _ => L4::Udp { src_port, dst_port, checksum: true },
        };
        self.send(queue, tuple, &l4, &Shape::PLAIN, 1)
    }

    fn send(
        &mut self,
        queue: u8,
        tuple: &Tuple,
        l4: &L4,
        shape: &Shape,
        count: u8,
    ) -> Result<(), String> {
        let worker = usize::from(queue) % self.subject.workers();
        let frontends = &self.oracle.world.frontends;
        let frontend = frontends.get(&(tuple.dst, tuple.dst_port, tuple.protocol));
        // What becomes of a packet must tell which endpoint was chosen for it: not
        // by the length of packets that its way carries, nor with others after it.
        let varies = frontend.is_some_and(|frontend| frontend.rules.vary());
        let payload_max = if varies { 64 } else { u16::MAX };
        let frames: Vec<_> = (0..count)
            .map(|number| {
                let payload = (shape.payload + u16::from(number)).min(payload_max);
                let shape = Shape { payload, ..*shape };
                let (port, frame) = frames::packet(&self.oracle.world, tuple, l4, &shape);
                (worker, port, frame)
            })
            // What is longer the port does not receive.
            .filter(|(_, _, frame)| frame.len() <= CHUNK_LEN - HEADROOM)
            .collect();
        if varies {
            return frames.chunks(1).try_for_each(|frame| self.step(frame));
        }
        self.step(&frames)
    }

    fn link(
        &mut self,
        queue: u8,
        port: u8,
        v6: bool,
        kind: LinkKind,
        sender: u8,
        target: (Network, u8),
    ) -> Result<(), String> {
        let network = [Network::Uplink, Network::Cluster, Network::Tagged][usize::from(port)];
        let sender = host(v6, network, sender);
        let mac = self.hosts.mac(port, &sender);
        let target = host(v6, target.0, target.1);
        let world = &self.oracle.world;
        let is_ours = world.own.contains_key(&target) || world.vips.contains_key(&target);
        if matches!(kind, LinkKind::FalseReply) && !is_ours {
            // Not false any more: it would be believed.
            return Ok(());
        }
        let frame = frames::link(&self.oracle.world, port, kind, (sender, mac), target);
        let worker = usize::from(queue) % self.subject.workers();
        self.step(&[(worker, port, frame)])
    }

    /// A neighbor is there, and says by which MAC.
    fn announce(&mut self, port: u8, address: IpAddr) -> Result<(), String> {
        // What waits is released by this, not by an answer before it.
        self.pass_time()?;
        self.speak(port, address)
    }

    /// [`Run::announce`] without a moment in between.
    fn speak(&mut self, port: u8, address: IpAddr) -> Result<(), String> {
        self.hosts.revive(port, &address);
        let mac = self.hosts.mac(port, &address);
        let frame =
            frames::link(&self.oracle.world, port, LinkKind::Reply, (address, mac), address);
        self.deliver(&[(0, port, frame)])
    }

    fn change_host(&mut self, number: u16, change: HostChange) -> Result<(), String> {
        // What timers send goes to the MACs of before.
        self.pass_time()?;
        let (port, address, neighbor) = self.hosts.nth(number);
        if neighbor.silent {
            return Ok(());
        }
        match change {
            HostChange::Dies => {
                neighbor.alive = false;
                return Ok(());
            }
            HostChange::Returns => {}
            // The dead change nothing.
            HostChange::NewMac if !neighbor.alive => return Ok(()),
            HostChange::NewMac => neighbor.macs = (neighbor.macs + 1) % 100,
        }
        self.speak(port, address)
    }

    fn change(&mut self, change: Change) -> Result<(), String> {
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
                    world.add_backend(key, endpoint % super::world::BACKENDS as u8);
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

    fn publish(&mut self) -> Result<(), String> {
        self.oracle.world.version += 1;
        self.subject.publish(&compile(&self.oracle.world));
        self.step(&[])
    }

    /// Time passes, frames arrive, and subject and oracle must agree.
    fn step(&mut self, frames: &[(usize, u8, Vec<u8>)]) -> Result<(), String> {
        self.pass_time()?;
        self.deliver(frames)
    }

    /// Timers alone: what expires does so before the next frames come.
    fn pass_time(&mut self) -> Result<(), String> {
        self.subject.now = Nanos(self.subject.now.0 + STEP_MS * 1_000_000);
        self.oracle.now_ms = self.subject.now.0 / 1_000_000;
        let sent = self.settle(0)?;
        self.expire()?;
        self.oracle.give_up_datagrams();
        self.ledger.expect(std::mem::take(&mut self.oracle.out));
        self.compare(&sent)
    }

    fn deliver(&mut self, frames: &[(usize, u8, Vec<u8>)]) -> Result<(), String> {
        for (worker, port, frame) in frames {
            self.subject.send(*worker, *port, frame);
        }
        let sent = self.settle(frames.len() as u64)?;
        for (worker, port, frame) in frames {
            let view = View {
                subject: &self.subject,
                known: &self.known,
                worker: *worker,
                ghosts: &self.ghosts,
                ledger: &self.ledger,
            };
            self.oracle.receive(*port, frame, &view);
        }
        if let Some(complaint) = self.oracle.complaint.take() {
            return Err(complaint);
        }
        if self.variant.workers > 1 {
            self.ghosts.append(&mut self.oracle.ended);
        }
        self.oracle.ended.clear();
        let outcome = std::mem::take(&mut self.oracle.out);
        let touched = outcome.touched.clone();
        for (_, flow) in self.oracle.flows.iter().filter(|(id, _)| touched.contains(id)) {
            // It may have begun again.
            self.ghosts.remove(&(flow.tuples, flow.worker));
        }
        self.ledger.expect(outcome);
        self.compare(&sent)?;
        for id in touched {
            self.check_flow(id)?;
        }
        self.steps += 1;
        if self.steps.is_multiple_of(64) { self.check_flows() } else { Ok(()) }
    }

    /// What was sent, what waits and what was counted is as expected.
    fn compare(&mut self, sent: &[(u8, Vec<u8>)]) -> Result<(), String> {
        let left = self.ledger.match_sent(&self.oracle.world, &self.hosts, sent);
        let neighbors = self.subject.neighbors();
        self.known = neighbors.iter().map(|(worker, n)| (*worker, n.port.0, n.addr)).collect();
        let waiting = self
            .ledger
            .settle_waiting(&self.hosts, &neighbors, self.variant.workers)
            .and_then(|gone| self.ledger.match_errors(&self.oracle, &self.hosts, left, &gone));
        let counts = self.ledger.check_counts(&self.subject, &self.oracle);
        match (waiting, counts) {
            (Ok(()), counts) => counts?,
            (Err(waiting), Ok(())) => return Err(waiting),
            (Err(waiting), Err(counts)) => return Err(format!("{counts}; {waiting}")),
        }
        self.subject.check_balance()
    }

    /// Polls the subject, neighbors answering its questions, until all is
    /// quiet. Returns what it sent beside questions.
    fn settle(&mut self, received: u64) -> Result<Vec<(u8, Vec<u8>)>, String> {
        self.ledger.received += received;
        let mut sent = Vec::new();
        loop {
            let frames = self.subject.settle()?;
            if frames.is_empty() {
                return Ok(sent);
            }
            for (_, port, frame) in frames {
                let Some(question) = Question::read(&self.oracle.world, port, &frame)? else {
                    sent.push((port, frame));
                    continue;
                };
                self.ledger.asked += 1;
                if let Some(mac) = self.hosts.answers(port, &question.target) {
                    let vlan = self.oracle.world.interfaces[usize::from(port)].vlan;
                    let frame = answer(question.target, mac, vlan, question.asker, question.to_one);
                    // ARP has no ports to spread by: NICs give it to the first
                    // queue, whoever asked.
                    self.subject.send(0, port, &frame);
                    self.ledger.received += 1;
                    self.ledger.learned += 1;
                }
            }
        }
    }

    /// Drops the oracle's flows that the subject has let expire. It may take
    /// a little over two ticks of its wheel for that, and not a moment less
    /// than the timeout.
    fn expire(&mut self) -> Result<(), String> {
        const LATE_MS: u64 = 2_200;
        let now_ms = self.oracle.now_ms;
        let mut gone = Vec::new();
        for (id, flow) in self.oracle.flows.iter() {
            let idle = flow.idle_ms(now_ms);
            let timeout = flow.timeout_ms();
            if idle < timeout {
                continue;
            }
            if !has(&self.subject, flow) {
                gone.push(id);
            } else if idle.min(now_ms - flow.changed_ms) > timeout + LATE_MS {
                return Err(format!("idle for {idle} ms and not expired: {flow:?}"));
            }
        }
        for id in gone {
            self.oracle.flows.remove(id);
        }
        Ok(())
    }

    /// The subject has a flow as the oracle has it.
    fn check_flow(&self, id: u64) -> Result<(), String> {
        let Some((_, flow)) = self.oracle.flows.iter().find(|(other, _)| *other == id) else {
            return Ok(());
        };
        let views = self.subject.flow(&flow.tuples[0]);
        let is_it = |view: &FlowView| view.tuples == flow.tuples && view.worker == flow.worker;
        let view = views.iter().find(|(view, _)| is_it(view));
        let Some((view, _)) = view else {
            return Err(format!("the subject lacks {flow:?}; it has {views:?}"));
        };
        let same = view.state == flow.track.label()
            && view.service == flow.service
            && view.is_cut == flow.cut
            && (flow.cut || view.rules == flow.rules)
            && view.backend == flow.backend;
        if same { Ok(()) } else { Err(format!("the subject has {view:?} instead of {flow:?}")) }
    }

    /// All flows are the same, and none is on two workers.
    pub fn check_flows(&mut self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for view in self.subject.flows() {
            if self.ghosts.contains_key(&(view.tuples, view.worker)) {
                continue;
            }
            let ours = self.oracle.flows.find(&view.tuples[0]);
            let is_ours =
                ours.is_some_and(|(id, _)| self.oracle.flows.get(id).tuples == view.tuples);
            let fresh =
                view.tuples.iter().collect::<BTreeSet<_>>().iter().all(|t| seen.insert(**t));
            if !(is_ours && fresh) {
                let what = if is_ours { "twice" } else { "which is unknown" };
                return Err(format!("the subject has {view:?} {what}"));
            }
        }
        let ids: Vec<_> = self.oracle.flows.iter().map(|(id, _)| id).collect();
        ids.into_iter().try_for_each(|id| {
            let flow = self.oracle.flows.get(id);
            let overdue = flow.idle_ms(self.oracle.now_ms) >= flow.timeout_ms();
            if overdue { Ok(()) } else { self.check_flow(id) }
        })
    }

    /// Ends the run: everything is given back. Returns what it met.
    pub fn finish(mut self) -> Result<Met, String> {
        self.check_flows()?;
        let handed = self.subject.count(|counters| counters.handed_out.get());
        let revalidated = self.subject.count(|counters| counters.revalidated.get());
        let resets_ignored = self.subject.count(|counters| counters.resets_ignored.get());
        let reasons = self.ledger.reasons();
        let Ledger { restarts, other_ports, gave_way, events, .. } = self.ledger;
        let met = Met {
            reasons,
            events,
            handed,
            revalidated,
            resets_ignored,
            restarts,
            other_ports,
            gave_way,
        };
        self.subject.close()?;
        Ok(met)
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

/// Whether the subject has a flow.
fn has(subject: &Subject, flow: &Flow) -> bool {
    let views = subject.flow(&flow.tuples[0]);
    views.iter().any(|(view, _)| view.tuples == flow.tuples && view.worker == flow.worker)
}

/// What a run met: a run that meets little tests little.
#[derive(Debug, Default)]
pub struct Met {
    pub reasons: BTreeSet<DropReason>,
    pub events: BTreeSet<Event>,
    /// Packets handed from worker to worker.
    pub handed: u64,
    /// Flows judged again.
    pub revalidated: u64,
    /// Resets outside of windows.
    pub resets_ignored: u64,
    /// Handshakes that began again on the tuple of a connection.
    pub restarts: u64,
    /// Flows with another port of the client's own address.
    pub other_ports: u64,
    /// Half-open flows that gave way to new ones.
    pub gave_way: u64,
}

impl Met {
    pub fn add(&mut self, other: Met) {
        self.reasons.extend(other.reasons);
        self.events.extend(other.events);
        self.handed += other.handed;
        self.revalidated += other.revalidated;
        self.resets_ignored += other.resets_ignored;
        self.restarts += other.restarts;
        self.other_ports += other.other_ports;
        self.gave_way += other.gave_way;
    }
}
