//! The oracle's journey: flows, Services, NAT, routes.

use super::compile;
use super::flows::{Heard, Translation};
use super::oracle::{Choices, Content, Event, Ingress, Oracle, Way};
use super::parse::{Kind, Packet, Part, Tuple};
use super::wire::{self, ACK, SYN};
use super::world::{Health, UDP, World};
use sluice_fastpath::DropReason;
use std::net::IpAddr;
use translate::translate;

mod begin;
mod sane;
mod translate;

pub(super) use sane::is_martian;

impl Oracle {
    /// Judges an IP packet.
    pub(super) fn judge(
        &mut self,
        data: Vec<u8>,
        packet: Packet,
        ingress: Ingress,
        choices: &dyn Choices,
    ) {
        if packet.part != Part::Whole && self.is_followed(&packet, ingress) {
            return self.assemble(data, packet, ingress, choices);
        }
        self.judge_known(data, packet, ingress, choices);
    }

    /// Judges a packet that is whole, a fragment whose ports are known, or one of
    /// nobody's flow.
    pub(super) fn judge_known(
        &mut self,
        data: Vec<u8>,
        packet: Packet,
        ingress: Ingress,
        choices: &dyn Choices,
    ) {
        let has_ports = packet.part == Part::Whole || packet.told;
        let tracked = has_ports && !matches!(packet.kind, Kind::IcmpError | Kind::IcmpOther);
        if tracked
            && let Some((id, side)) = self.flows.find(&packet.tuple)
            && self.follow(&data, &packet, ingress, id, side)
        {
            return;
        }
        self.begin(data, &packet, ingress, choices);
    }

    /// A packet follows its flow. False when there is no flow (any more): it
    /// may not go on, or this begins another connection on the tuple of one that
    /// is over.
    fn follow(
        &mut self,
        data: &[u8],
        packet: &Packet,
        ingress: Ingress,
        id: u64,
        side: usize,
    ) -> bool {
        let flow = self.flows.get(id);
        let tuples = flow.tuples;
        let is_served = is_served(&self.world, &tuples, flow.backend, flow.worker);
        self.met_by(&tuples[0], packet, is_served);
        if !is_served {
            self.end(id);
            return false;
        }
        if let Err(reason) = self.source_belongs(&packet.tuple.src, ingress) {
            self.drop(reason);
            return true;
        }
        self.out.touched.insert(id);
        if !self.judge_again((id, side), packet) {
            return true;
        }
        let dst = self.flows.get(id).translation(side).dst;
        let way = match self.way_of(data, packet, ingress, &dst) {
            Ok(way) => way,
            Err(reason) => {
                self.drop(reason);
                return true;
            }
        };
        let changes_ports = {
            let to = self.flows.get(id).translation(side);
            (to.src_port, to.dst_port) != (packet.tuple.src_port, packet.tuple.dst_port)
        };
        if packet.kind == Kind::Sctp && changes_ports && !wire::has_right_crc(&data[packet.l4..]) {
            self.drop(DropReason::BadSctpChecksum);
            return true;
        }
        let flow = self.flows.get(id);
        // Where nothing is translated either side of TCP may connect again.
        let may_begin = side == 0
            || packet.kind == Kind::Tcp
                && flow.translation(0) == Translation::none(&flow.tuples[0]);
        if may_begin && begins(packet) && flow.track.is_over() {
            self.end(id);
            return false;
        }
        let now_ms = self.now_ms;
        let flow = self.flows.get_mut(id);
        let before = flow.track.label();
        flow.answered |= side == 1;
        flow.settle();
        // A later fragment says nothing of the connection.
        if packet.part != Part::Later {
            match flow.track.follow(packet, side) {
                Heard::ResetIgnored => self.out.resets_ignored += 1,
                Heard::Restarted => self.out.restarts += 1,
                Heard::Nothing => {}
            }
        }
        flow.settle();
        if flow.track.label() != before {
            flow.changed_ms = now_ms;
        }
        self.forward(data.to_vec(), packet, ingress, way, (id, side));
        true
    }

    /// Notes what is special about a packet of a flow that goes on or ends.
    fn met_by(&mut self, original: &Tuple, packet: &Packet, goes_on: bool) {
        let Tuple { src, dst, dst_port, protocol, .. } = *original;
        let frontend = self.world.frontends.get(&(dst, dst_port, protocol));
        let is_foreign = frontend.is_some_and(|frontend| !frontend.rules.allow(&src));
        let is_gone = frontend.is_none();
        if is_foreign && !goes_on {
            self.met(Event::SourceEnded);
        }
        if !self.world.is_port_address(&dst) {
            return;
        }
        match (is_gone, goes_on) {
            (true, true) => self.met(Event::NodePortOutlived),
            (true, false) => self.met(Event::NodePortEnded),
            (false, true) if packet.part == Part::Later => self.met(Event::NodePortFragment),
            _ => {}
        }
    }

    fn end(&mut self, id: u64) {
        let flow = self.flows.get(id);
        self.ended.insert((flow.tuples, flow.worker), flow.backend);
        self.flows.remove(id);
    }

    /// A packet of a flow goes its way, translated.
    fn forward(
        &mut self,
        mut data: Vec<u8>,
        packet: &Packet,
        ingress: Ingress,
        way: Way,
        (id, side): (u64, usize),
    ) {
        if let Some(reason) = self.cannot_go(&data, packet, ingress, way) {
            return self.drop(reason);
        }
        let now_ms = self.now_ms;
        let flow = self.flows.get_mut(id);
        flow.seen_ms[side] = Some(now_ms);
        flow.track.acknowledge(packet, side);
        let translation = flow.translation(side);
        if let Some(service) = flow.service {
            let count = self.services.entry(service).or_default();
            count.packets[side] += 1;
            count.bytes[side] += packet.len as u64;
        }
        let is_sound = translate(&mut data, packet, &translation) && packet.part == Part::Whole;
        let stands_for_others = translation.src != packet.tuple.src;
        if packet.kind == Kind::Tcp && packet.flags & SYN != 0 {
            self.clamp(&mut data, packet, ingress, way);
        }
        let is_cut = packet.tuple.src.is_ipv4() && data.len() > way.mtu;
        let renumbered = stands_for_others && (packet.told || is_cut);
        let before = self.out.emits.len();
        self.emit_in_pieces(data, way, is_sound, Some((id, side)));
        for emit in &mut self.out.emits[before..] {
            if let Content::Ip { renumbered: expected, .. } = &mut emit.content {
                *expected = renumbered;
            }
        }
    }

    /// The way of a packet to where it is to go; if there is none, the sender is told.
    fn way_of(
        &mut self,
        data: &[u8],
        packet: &Packet,
        ingress: Ingress,
        dst: &IpAddr,
    ) -> Result<Way, DropReason> {
        self.way(dst).inspect_err(|_| self.answer_unreachable(data, packet, ingress))
    }

    /// Why a packet ends before its way out, the sender told.
    pub(super) fn cannot_go(
        &mut self,
        data: &[u8],
        packet: &Packet,
        ingress: Ingress,
        way: Way,
    ) -> Option<DropReason> {
        if packet.ttl <= 1 {
            self.answer_time_exceeded(data, packet, ingress);
            return Some(DropReason::TtlExceeded);
        }
        if packet.len > way.mtu && packet.dont_fragment {
            self.answer_too_big(data, packet, ingress, way.mtu);
            return Some(DropReason::TooBig);
        }
        None
    }

    /// A packet that belongs to no flow and makes none.
    fn pass(&mut self, mut data: Vec<u8>, packet: &Packet, ingress: Ingress) {
        if packet.ttl <= 1 {
            self.answer_time_exceeded(&data, packet, ingress);
            return self.drop(DropReason::TtlExceeded);
        }
        let way = match self.way_of(&data, packet, ingress, &packet.tuple.dst) {
            Ok(way) => way,
            Err(reason) => return self.drop(reason),
        };
        if let Some(reason) = self.cannot_go(&data, packet, ingress, way) {
            return self.drop(reason);
        }
        let same = Translation::none(&packet.tuple);
        // Parts of packets have no checksum that could be judged.
        let is_sound = translate(&mut data, packet, &same) && packet.part == Part::Whole;
        self.emit_in_pieces(data, way, is_sound, None);
    }
}

/// Whether a flow of a worker may go on: its destination is what it was, its
/// client may connect to that, its endpoint serves, and both directions are still
/// that worker's.
pub(super) fn is_served(
    world: &World,
    tuples: &[Tuple; 2],
    backend: Option<u32>,
    worker: usize,
) -> bool {
    let Tuple { src, dst, dst_port, protocol, .. } = tuples[0];
    let is_vip = world.is_service_address(&dst);
    let frontend = world.frontends.get(&(dst, dst_port, protocol));
    if frontend.is_some_and(|frontend| !frontend.rules.allow(&src)) {
        return false;
    }
    let serves = match backend.map(|backend| world.health[backend as usize]) {
        None => !is_vip,
        Some(Health::Ready | Health::Draining) => is_vip,
        // TCP and SCTP stay while the endpoint is known.
        Some(Health::NotReady) => is_vip && protocol != UDP,
        Some(Health::Gone) => false,
    };
    serves && tuples.iter().all(|tuple| compile::owner(world, tuple) == worker)
}

/// True for what begins a connection: a SYN, an INIT.
pub(super) fn begins(packet: &Packet) -> bool {
    match packet.kind {
        Kind::Tcp => packet.flags & (SYN | ACK) == SYN,
        Kind::Sctp => packet.chunk == 1,
        _ => false,
    }
}

/// The tuple that a reply to a translated packet has.
pub(super) fn reply_tuple(to: &Translation, protocol: u8) -> Tuple {
    Tuple { src: to.dst, dst: to.src, src_port: to.dst_port, dst_port: to.src_port, protocol }
}
