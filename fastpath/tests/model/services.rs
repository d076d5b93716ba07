//! What Services ask for, as the oracle grants it: who may connect, which
//! endpoints are near, where a client went before, who has the fewest flows.

use super::compile::{self, By};
use super::flows::Translation;
use super::judge::{begins, reply_tuple};
use super::oracle::{Choices, Event, Ingress, Oracle};
use super::parse::{Kind, Packet, Tuple};
use super::wire;
use super::world::{Backend, Balance, Frontend, Own, family};
use sluice_fastpath::DropReason;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a destination is.
pub(super) enum Destination {
    Elsewhere,
    /// A Service, by one of these endpoints: the subject's choice where they are
    /// several.
    Service(u32, Vec<Backend>),
    Here,
    Refused(DropReason),
    Dropped(DropReason),
}

/// Where clients of Service ports went last.
pub type Visits = BTreeMap<(u32, IpAddr), Visit>;

/// Where a client went last, as far as that is known.
#[derive(Clone, Debug)]
pub struct Visit {
    /// One of these, by address and port.
    endpoints: Vec<(IpAddr, u16)>,
    at_ms: u64,
    /// The worker that sent it there, and how long it remembers that.
    worker: usize,
    timeout_ms: u32,
    /// How long others do, who are told 16 times in that time: at least and at
    /// most, since the time may have changed.
    others_ms: [u32; 2],
}

/// Whether a worker remembers a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Sure,
    Vague,
    Gone,
}

impl Visit {
    fn memory(&self, worker: usize, now_ms: u64) -> Memory {
        let idle = now_ms - self.at_ms;
        let [least, most] = if worker == self.worker {
            [self.timeout_ms; 2]
        } else {
            let [shortest, longest] = self.others_ms;
            [shortest - shortest / 16, longest]
        };
        if idle < least.into() {
            Memory::Sure
        } else if idle < most.into() {
            Memory::Vague
        } else {
            Memory::Gone
        }
    }
}

fn ends(backend: &Backend) -> (IpAddr, u16) {
    (backend.address, backend.port)
}

impl Oracle {
    /// Where a packet without a flow goes.
    pub(super) fn destination(
        &mut self,
        data: &[u8],
        packet: &Packet,
        ingress: Ingress,
        choices: &dyn Choices,
    ) -> Destination {
        let tuple = &packet.tuple;
        let is_port = matches!(packet.kind, Kind::Tcp | Kind::Udp | Kind::Sctp);
        let frontend = self.world.frontends.get(&(tuple.dst, tuple.dst_port, tuple.protocol));
        if let Some(frontend) = frontend.filter(|_| is_port).cloned() {
            return self.service(data, packet, ingress, &frontend, choices);
        }
        let here = |unused| match packet.kind {
            Kind::EchoRequest => Destination::Here,
            Kind::IcmpError => Destination::Dropped(DropReason::IcmpErrorNoFlow),
            Kind::Tcp | Kind::Udp | Kind::Sctp => Destination::Refused(unused),
            _ => Destination::Dropped(unused),
        };
        if self.world.vips.contains_key(&tuple.dst) {
            return here(DropReason::VipPortUnused);
        }
        match self.world.own.get(&tuple.dst) {
            None => Destination::Elsewhere,
            Some(Own::Port(_)) => {
                if is_port && self.world.frontends.keys().any(|key| key.0 == tuple.dst) {
                    self.met(Event::PortBesideNodePort);
                }
                here(DropReason::LocalPortUnused)
            }
            Some(Own::Kernel(_)) => Destination::Dropped(DropReason::KernelAddress),
            Some(Own::Snat) => match packet.kind {
                Kind::EchoRequest => Destination::Here,
                Kind::IcmpError => Destination::Dropped(DropReason::IcmpErrorNoFlow),
                Kind::Tcp | Kind::Sctp => Destination::Refused(DropReason::NoConnection),
                _ => Destination::Dropped(DropReason::NoSnatFlow),
            },
        }
    }

    fn service(
        &mut self,
        data: &[u8],
        packet: &Packet,
        ingress: Ingress,
        frontend: &Frontend,
        choices: &dyn Choices,
    ) -> Destination {
        if !frontend.rules.allow(&packet.tuple.src) {
            return Destination::Dropped(DropReason::SourceNotAllowed);
        }
        let rotation = self.world.rotation(frontend);
        if rotation.is_empty() {
            return Destination::Refused(DropReason::NoBackend);
        }
        if [Kind::Tcp, Kind::Sctp].contains(&packet.kind) && !begins(packet) {
            return Destination::Refused(DropReason::NoConnection);
        }
        if packet.kind == Kind::Sctp && !wire::has_right_crc(&data[packet.l4..]) {
            return Destination::Dropped(DropReason::BadSctpChecksum);
        }
        match self.near(frontend, rotation, ingress) {
            None => Destination::Dropped(DropReason::NoLocalEndpoint),
            Some(near) => {
                let candidates = self.candidates(frontend, &near, &packet.tuple, choices);
                Destination::Service(frontend.service, candidates)
            }
        }
    }

    /// The endpoints that are nearest to whoever sent something.
    fn near(
        &mut self,
        frontend: &Frontend,
        rotation: Vec<Backend>,
        ingress: Ingress,
    ) -> Option<Vec<Backend>> {
        let locality = frontend.rules.locality;
        if let Ingress::Node(node) = ingress
            && locality.by_node
        {
            let near = self.world.on_node(&rotation, node);
            if !near.is_empty() {
                self.met(Event::NearNode);
                return Some(near);
            }
        }
        if locality.node_only {
            return None;
        }
        let (zone, event) = match ingress {
            Ingress::Node(node) => (self.world.nodes[node].zone, Event::NearZoneOfNode),
            Ingress::Port(_) => (self.world.zone, Event::NearZoneOfGateway),
        };
        let near = self.world.in_zone(&rotation, zone);
        if !locality.by_zone || near.is_empty() {
            return Some(rotation);
        }
        if near.len() < rotation.len() {
            self.met(event);
        }
        Some(near)
    }

    /// The endpoints that a connection may get, of those that are near.
    fn candidates(
        &mut self,
        frontend: &Frontend,
        near: &[Backend],
        tuple: &Tuple,
        choices: &dyn Choices,
    ) -> Vec<Backend> {
        let worker = compile::owner(&self.world, tuple);
        let balance = frontend.rules.balance;
        if frontend.rules.affinity_ms.is_none() {
            return self.balanced(balance, near, By::Connection(tuple), worker, choices);
        }
        let client = (frontend.service, tuple.src);
        let fresh = self.balanced(balance, near, By::Client(tuple), worker, choices);
        let Some(visit) = self.visits.get(&client).cloned() else {
            return fresh;
        };
        let is_near = |end: &(IpAddr, u16)| near.iter().any(|backend| ends(backend) == *end);
        let memory = visit.memory(worker, self.now_ms);
        let went_there = |backend: &&Backend| visit.endpoints.contains(&ends(backend));
        let mut candidates: Vec<Backend> = near.iter().filter(went_there).copied().collect();
        let matters = !candidates.is_empty()
            && visit.endpoints.len() == 1
            && !fresh.iter().any(|backend| ends(backend) == visit.endpoints[0]);
        match memory {
            Memory::Gone if matters => self.met(Event::AffinityOver),
            Memory::Sure if candidates.is_empty() => self.met(Event::AffinityMoved),
            Memory::Sure if matters && visit.worker != worker => {
                self.met(Event::AffinityOfOtherWorker);
            }
            Memory::Sure if matters => self.met(Event::AffinityKept),
            _ => {}
        }
        if memory == Memory::Gone {
            candidates.clear();
        }
        if memory != Memory::Sure || !visit.endpoints.iter().all(is_near) {
            let others = fresh.iter().filter(|fresh| !candidates.contains(fresh)).copied();
            let others: Vec<Backend> = others.collect();
            candidates.extend(others);
        }
        candidates
    }

    /// Remembers where the client of a flow that has begun went.
    pub(super) fn remember(&mut self, tuple: &Tuple, choice: &Backend, worker: usize) {
        let key = (tuple.dst, tuple.dst_port, tuple.protocol);
        let Some(frontend) = self.world.frontends.get(&key) else { return };
        let (service, Some(timeout_ms)) = (frontend.service, frontend.rules.affinity_ms) else {
            return;
        };
        let endpoints = vec![ends(choice)];
        let before = self.visits.get(&(service, tuple.src)).filter(|before| {
            before.endpoints == endpoints && before.memory(usize::MAX, self.now_ms) != Memory::Gone
        });
        let [shortest, longest] = before.map_or([timeout_ms; 2], |before| before.others_ms);
        let others_ms = [shortest.min(timeout_ms), longest.max(timeout_ms)];
        let visit = Visit { endpoints, at_ms: self.now_ms, worker, timeout_ms, others_ms };
        self.visits.insert((service, tuple.src), visit);
    }

    /// The endpoint that a connection got, of those that it might get; `None`
    /// when it is none of them.
    pub(super) fn chosen(
        &mut self,
        (packet, ingress): (&Packet, Ingress),
        candidates: &[Backend],
        got: Option<&Translation>,
        choices: &dyn Choices,
    ) -> Option<Backend> {
        let is_it = |candidate: &&Backend| match got {
            Some(got) => ends(candidate) == (got.dst, got.dst_port),
            None if candidates.len() == 1 => true,
            // What became of the packet tells, and of the answer to it.
            None => self.fate((packet, ingress), candidate, choices).is_some_and(|why| {
                let answer = self.way(&packet.tuple.src).err();
                choices.dropped(why) == 1 + u64::from(answer == Some(why))
            }),
        };
        let those: Vec<Backend> = candidates.iter().filter(is_it).copied().collect();
        those.first().copied()
    }

    /// Why a connection to an endpoint cannot begin.
    fn fate(
        &self,
        (packet, ingress): (&Packet, Ingress),
        backend: &Backend,
        choices: &dyn Choices,
    ) -> Option<DropReason> {
        let tuple = &packet.tuple;
        if let Err(reason) = self.way(&backend.address) {
            return Some(reason);
        }
        let worker = compile::owner(&self.world, tuple);
        let mut to = Translation::none(tuple);
        (to.dst, to.dst_port) = ends(backend);
        if self.is_masked(ingress, &to.dst) {
            let is_short = !self.free_ports(&to, tuple.protocol);
            return is_short.then_some(DropReason::SnatPortsExhausted);
        }
        let reply = reply_tuple(&to, tuple.protocol);
        let found = self.flows.find(&reply);
        let is_taken = found.is_some_and(|(id, _)| self.flows.get(id).worker == worker);
        (is_taken || choices.lingers(&reply, worker)).then_some(DropReason::FlowCollision)
    }

    /// Whether an address of the pool stands for a Service's client: unless
    /// clients are preserved and replies come back here all the same, since only a
    /// pod's node sends those to an outside client our way.
    pub(super) fn is_masked(&self, ingress: Ingress, to: &IpAddr) -> bool {
        let returns = matches!(ingress, Ingress::Port(_)) && self.world.pod_node(to).is_some();
        !(self.world.pools[family(to)].preserve && returns)
    }

    fn balanced(
        &mut self,
        how: Balance,
        near: &[Backend],
        by: By<'_>,
        worker: usize,
        choices: &dyn Choices,
    ) -> Vec<Backend> {
        match how {
            Balance::Consistent => {
                let choice = compile::choose(near, by);
                // Comparing a few is cheap.
                if near.len() <= 16 && near.iter().any(|backend| backend.weight > 1) {
                    let even: Vec<_> =
                        near.iter().map(|backend| Backend { weight: 1, ..*backend }).collect();
                    if compile::choose(&even, by).id != choice.id {
                        self.met(Event::Weighted);
                    }
                }
                vec![choice]
            }
            Balance::LeastConnections => {
                let least = self.least_loaded(near, worker, choices);
                if least.len() < near.len() {
                    self.met(Event::LeastConnections);
                }
                least
            }
            Balance::RandomOfTwo => {
                if near.len() > 1 {
                    self.met(Event::RandomOfTwo);
                }
                near.to_vec()
            }
        }
    }

    /// Those with the fewest flows of a worker in proportion to their weights.
    /// What ended and lingers may be counted, or not.
    fn least_loaded(&self, near: &[Backend], worker: usize, choices: &dyn Choices) -> Vec<Backend> {
        let counts: Vec<[u64; 2]> = near
            .iter()
            .map(|backend| {
                let flows = self.flows.iter().map(|(_, flow)| flow);
                let own = flows.filter(|f| f.worker == worker && f.backend == Some(backend.id));
                let count = 1 + own.count() as u64;
                [count, count + choices.lingering(backend.id, worker)]
            })
            .collect();
        let may_be_least = |at: &usize| {
            near.iter().zip(&counts).all(|(other, count)| {
                counts[*at][0] * u64::from(other.weight) <= count[1] * u64::from(near[*at].weight)
            })
        };
        (0..near.len()).filter(may_be_least).map(|at| near[at]).collect()
    }
}
