//! One run: operations are carried out on subject and oracle, and compared.

use super::compare::Ledger;
use super::compile::compile;
use super::frames;
use super::hosts::Hosts;
use super::ops::{self, Change, HostChange, L4, LinkKind, Op, Shape};
use super::oracle::{Ended, Event, Oracle};
use super::parse::Tuple;
use super::policy::Policy;
use super::subject::Subject;
use super::wire::{ACK, SYN};
use super::world::{Network, SCTP, TCP, UDP, Variant, World, home, host};
use sluice_fastpath::{DropReason, Nanos};
use sluice_io::{CHUNK_LEN, HEADROOM};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use view::View;

mod agree;
mod change;
mod view;

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
