use crate::adjacency::{Adjacencies, AdjacencyId};
use crate::affinity::Affinities;
use crate::answers::Answers;
use crate::counters::WorkerCounters;
use crate::events::{Events, Link};
use crate::fragments::Fragments;
use crate::local::LocalServices;
use crate::mesh::MeshEnd;
use crate::neighbor::{Held, Neighbors};
use crate::packet::{Ingress, Packet};
use crate::path_mtu::PathMtus;
use crate::random::Random;
use crate::reason::DropReason;
use crate::stages::error::{self, ErrorLimiter};
use crate::syn_gate::SynGate;
use crate::time::Nanos;
use crate::wire::ip::Ip;
use crate::worker::SHED_ALL;
use arrayvec::ArrayVec;
use sluice_io::{BURST, Frame, FrameCache, Port, PortId};
use sluice_tables::Tables;
use sluice_tables::record::Conflict;
use std::sync::Arc;

/// Claims to VIPs that wait until control listens.
const CONFLICTS_MAX: usize = 16;

/// What the stages of one worker share, the flows left out: those are borrowed
/// beside it, one family at a time.
pub struct Core {
    /// The worker's number.
    pub worker: usize,
    /// The time of this burst.
    pub now: Nanos,
    /// The time of this burst, as flow entries store it.
    pub now_ms: u32,
    /// The tables of this burst. Stages that read much borrow a clone instead.
    pub tables: Arc<Tables>,
    /// The ports, in the order of the configuration.
    pub ports: Vec<PortSlot>,
    /// Free frames.
    pub cache: FrameCache,
    /// Counters.
    pub counters: Arc<WorkerCounters>,
    /// Ways out.
    pub adjacencies: Adjacencies,
    /// Where clients went.
    pub affinities: Affinities,
    /// Neighbors.
    pub neighbors: Neighbors,
    /// Paths to nodes that carry less than configured.
    pub path_mtus: PathMtus,
    /// How long a neighbor counts as reachable, in nanoseconds.
    pub reachable_ns: u64,
    /// Probes without an answer until a neighbor has failed.
    pub probes_max: u8,
    /// Added to the tables' route epoch: changes when numbers of neighbors
    /// change their meaning.
    pub neighbor_epoch: u32,
    /// Datagrams of which not everything has come.
    pub fragments: Fragments,
    /// DNS answers that wait until control has learned from them.
    pub answers: Answers,
    /// Rings to the other workers.
    pub mesh: MeshEnd,
    /// Closed in a flood of SYNs.
    pub syn_gate: SynGate,
    /// Bounds errors sent.
    pub limiter: ErrorLimiter,
    /// Choices.
    pub(crate) random: Random,
    /// What ends here.
    pub local: LocalServices,
    /// Claims of others to VIPs of ours, not told to control yet. More than fit
    /// are only counted.
    pub conflicts: ArrayVec<Conflict, CONFLICTS_MAX>,
    /// What is told of single packets.
    pub events: Events,
    /// How many of [`SHED_ALL`] packets that would be forwarded are dropped, so that there is
    /// time and room for those that end here.
    pub shed: u32,
}

/// A port and what is to be sent by it.
pub struct PortSlot {
    /// The port.
    pub port: Box<dyn Port>,
    tx: ArrayVec<Frame, BURST>,
}

impl PortSlot {
    /// A port with nothing to send.
    pub fn new(port: Box<dyn Port>) -> Self {
        PortSlot { port, tx: ArrayVec::new() }
    }
}

impl Core {
    /// Whether a packet that would be forwarded is one of those that are shed.
    pub fn sheds(&mut self) -> bool {
        self.random.below(SHED_ALL) < self.shed
    }

    /// The epoch of routes and policy that a direction of a flow depends on, by
    /// where its packets come from and where they go: its ends are in these groups.
    /// All of them only count up: their sum changes with any.
    #[inline]
    pub fn epoch(&self, tables: &Tables, ingress: Ingress, way: AdjacencyId) -> u32 {
        let all = self.route_epoch(tables).wrapping_add(tables.policy_epoch);
        if !tables.has_policies {
            return all;
        }
        let from = ingress.policy_group();
        let to = self.adjacencies.row(way).map_or(0, |row| row.policy_group);
        all.wrapping_add(tables.policy_epochs[usize::from(from)])
            .wrapping_add(tables.policy_epochs[usize::from(to)])
    }

    /// The route epoch that ways out depend on.
    #[inline]
    pub fn route_epoch(&self, tables: &Tables) -> u32 {
        tables.route_epoch.wrapping_add(self.neighbor_epoch)
    }

    /// Drops a frame: one that is being received, or one on its way out whose data
    /// begins with its IP header.
    #[inline]
    pub fn drop(&mut self, mut frame: Frame, reason: DropReason) {
        self.counters.count_drop(reason);
        if self.events.is_on() {
            self.tell_dropped_frame(&mut frame, Link::Ip, reason);
        }
        self.cache.free(frame);
    }

    /// Drops a packet on its journey.
    #[inline]
    pub fn drop_packet<F: Ip>(&mut self, packet: Packet<F>, reason: DropReason) {
        self.counters.count_drop(reason);
        if self.events.is_on() {
            self.tell_dropped(&packet, reason);
        }
        self.cache.free(packet.frame);
    }

    /// Drops a packet that was to end here; its frame's data begins with its IP header.
    #[cold]
    pub fn drop_undelivered(&mut self, frame: Frame, ingress: Ingress, reason: DropReason) {
        self.counters.count_drop(reason);
        if self.events.is_on() {
            self.tell_undelivered(&frame, ingress, reason);
        }
        self.cache.free(frame);
    }

    /// Drops a frame of a port of which nothing is known yet.
    #[cold]
    pub fn refuse(&mut self, port: PortId, frame: Frame) {
        if self.events.is_on() {
            self.events.arrives(Ingress::port(port), &frame);
        }
        self.drop(frame, DropReason::NoRoute);
        self.events.all_arrived();
    }

    /// Drops a frame that is complete.
    #[cold]
    fn drop_complete(&mut self, mut frame: Frame, reason: DropReason) {
        self.counters.count_drop(reason);
        if self.events.is_on() {
            self.tell_dropped_frame(&mut frame, Link::Ethernet, reason);
        }
        self.cache.free(frame);
    }

    /// Ends a packet that was for the gateway.
    #[inline]
    pub fn consume(&mut self, frame: Frame) {
        self.counters.consumed.add(1);
        self.cache.free(frame);
    }

    /// Sends an IP packet by a way out, or makes it wait for its neighbor.
    #[inline(always)]
    pub fn transmit(&mut self, mut frame: Frame, way: AdjacencyId, tos: u8, entropy: u64) {
        let Some(row) = self.adjacencies.row_mut(way) else {
            return self.drop(frame, DropReason::NoRoute);
        };
        row.used = true;
        if !row.resolved {
            let neighbor = row.neighbor;
            return self.wait(Held { neighbor, adjacency: way, frame, tos, entropy });
        }
        let port = row.port;
        if !row.encapsulate(&mut frame, tos, entropy) {
            return self.drop(frame, DropReason::NoHeadroom);
        }
        self.send(port, frame);
    }

    /// Sends a complete frame by a port.
    #[inline(always)]
    pub fn send(&mut self, port: PortId, frame: Frame) {
        let Some(slot) = self.ports.get_mut(usize::from(port.0)) else {
            return self.drop_complete(frame, DropReason::NoRoute);
        };
        slot.tx.push(frame);
        if slot.tx.is_full() {
            self.flush_port(usize::from(port.0));
        }
    }

    /// Gives what is to be sent to the TX rings.
    #[inline]
    pub fn flush(&mut self) {
        for port in 0..self.ports.len() {
            if !self.ports[port].tx.is_empty() {
                self.flush_port(port);
            }
        }
    }

    #[inline(never)]
    fn flush_port(&mut self, port: usize) {
        let slot = &mut self.ports[port];
        let bytes = |frames: &[Frame]| frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
        let (packets, before) = (slot.tx.len(), bytes(&slot.tx));
        slot.port.tx(&mut self.cache, &mut slot.tx);
        let refused = slot.tx.len();
        let counters = &self.counters.ports[port];
        counters.tx_packets.add((packets - refused) as u64);
        counters.tx_bytes.add(before - bytes(&slot.tx));
        while let Some(frame) = self.ports[port].tx.pop() {
            self.drop_complete(frame, DropReason::TxRingFull);
        }
    }

    /// Makes a packet wait for its neighbor, which is asked for.
    #[cold]
    fn wait(&mut self, held: Held) {
        use crate::neighbor::State;
        let id = held.neighbor;
        if self.neighbors.get(id).state == State::Failed && !self.solicit(id) {
            return self.give_up(held);
        }
        if let Some(frame) = self.neighbors.hold(held) {
            self.drop(frame, DropReason::NeighborQueueFull);
        }
        self.count_held();
    }

    /// Publishes how many packets wait: for a neighbor, for a first fragment, or
    /// until control has learned from them.
    #[cold]
    pub fn count_held(&self) {
        let answers = self.answers.held();
        self.counters.answers_held.set(answers as u64);
        self.counters.held.set((self.neighbors.held() + self.fragments.held() + answers) as u64);
    }

    /// Drops a packet whose neighbor does not answer, and tells its sender.
    #[cold]
    pub(crate) fn give_up(&mut self, held: Held) {
        let by_tunnel = self.adjacencies.row(held.adjacency).is_none_or(|row| row.is_tunnel());
        if !by_tunnel {
            error::host_unreachable(self, &held.frame);
        }
        self.drop(held.frame, DropReason::NeighborUnreachable);
    }

    /// A free frame for a packet of the gateway's own; `None` (and it is
    /// simply not sent) when there is none.
    pub fn new_frame(&mut self) -> Option<Frame> {
        self.cache.alloc()
    }
}
