//! The oracle's journey: flows, Services, NAT, routes.

use super::compile;
use super::errors::About;
use super::flows::{Flow, Heard, Track, Translation, source_of};
use super::oracle::{Choices, Content, Event, Ingress, Oracle, Way};
use super::parse::{Kind, Packet, Part, Tuple, tcp_option};
use super::services::Destination;
use super::wire::{self, ACK, SYN};
use super::world::{Backend, Health, SCTP, TCP, UDP, World, family, octets};
use sluice_fastpath::DropReason;
use std::net::IpAddr;

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
        let way = match self.way(&self.flows.get(id).translation(side).dst) {
            Ok(way) => way,
            Err(reason) => {
                self.answer_unreachable(data, packet, ingress);
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

    /// Whether addresses may be where they are.
    pub(super) fn sane(&self, packet: &Packet, ingress: Ingress) -> Result<(), DropReason> {
        let (src, dst) = (packet.tuple.src, packet.tuple.dst);
        if is_martian(&src) || src.is_multicast() || is_martian(&dst) {
            return Err(DropReason::Martian);
        }
        if self.world.is_subnet_edge(&src) || self.world.is_subnet_edge(&dst) {
            return Err(DropReason::Martian);
        }
        self.source_belongs(&src, ingress)?;
        if src == dst {
            return Err(DropReason::Martian);
        }
        let is_tunnel = packet.tuple.protocol == super::world::UDP
            && packet.tuple.dst_port == self.world.overlay.udp_port
            && self.is_node(&dst);
        match is_tunnel && !self.is_node(&src) {
            true => Err(DropReason::ForeignTunnel),
            false => Ok(()),
        }
    }

    /// A packet without a flow.
    fn begin(&mut self, data: Vec<u8>, packet: &Packet, ingress: Ingress, choices: &dyn Choices) {
        if let Err(reason) = self.sane(packet, ingress) {
            return self.drop(reason);
        }
        if packet.part != Part::Whole && !packet.told {
            return self.pass(data, packet, ingress);
        }
        let is_echo_here = packet.kind == Kind::EchoRequest && self.belongs_here(&packet.tuple.dst);
        if packet.part == Part::Later && !is_echo_here {
            return self.drop(DropReason::FragmentNoFlow);
        }
        let related = match self.relate(&data, packet, ingress, choices) {
            About::Ended => return,
            About::Flow => true,
            About::Nothing => false,
        };
        let destination = self.destination(&data, packet, ingress, choices);
        if packet.kind == Kind::Sctp
            && matches!(destination, Destination::Refused(_))
            && !wire::has_right_crc(&data[packet.l4..])
        {
            return self.drop(DropReason::BadSctpChecksum);
        }
        let service = match destination {
            Destination::Dropped(reason) => return self.drop(reason),
            Destination::Refused(reason) => {
                self.refuse(&data, packet, ingress);
                return self.drop(reason);
            }
            Destination::Here => return self.answer_echo(&data, packet),
            Destination::Service(service, candidates) => Some((service, candidates)),
            Destination::Elsewhere => None,
        };
        if matches!(packet.kind, Kind::IcmpError | Kind::IcmpOther) {
            let Tuple { src, dst, protocol, .. } = packet.tuple;
            return match self.allowed(&src, &dst, (protocol, 0)) {
                Err(reason) if !related => self.drop(reason),
                said => {
                    if said.is_err() {
                        self.met(Event::Related);
                    }
                    self.pass(data, packet, ingress);
                }
            };
        }
        let service = match self.permitted(packet, service, choices) {
            Ok(service) => service,
            Err(reason) => return self.drop(reason),
        };
        if packet.ttl <= 1 {
            self.answer_time_exceeded(&data, packet, ingress);
            return self.drop(DropReason::TtlExceeded);
        }
        self.new_flow(data, packet, ingress, service, choices);
    }

    fn new_flow(
        &mut self,
        data: Vec<u8>,
        packet: &Packet,
        ingress: Ingress,
        service: Option<(u32, Vec<Backend>)>,
        choices: &dyn Choices,
    ) {
        let tuple = packet.tuple;
        let worker = compile::owner(&self.world, &tuple);
        let to_service = service.as_ref().map(|(service, _)| *service);
        let source = source_of(&tuple.src, matches!(ingress, Ingress::Node(_)));
        if let Err(reason) = self.admit((&tuple.src, &source), to_service, choices) {
            return self.drop(reason);
        }
        // What the subject chose, if it made a flow.
        let got = choices.translation(&tuple, worker);
        let mut to = Translation::none(&tuple);
        let mut chosen = None;
        if let Some((_, candidates)) = &service {
            let of = (packet, ingress);
            let Some(choice) = self.chosen(of, candidates, got.as_ref(), choices) else {
                let why = format!("{tuple:?} became {got:?} instead of one of {candidates:?}");
                return self.complain(why);
            };
            (to.dst, to.dst_port) = (choice.address, choice.port);
            chosen = Some(choice);
        }
        let way = match self.way(&to.dst) {
            Ok(way) => way,
            Err(reason) => {
                self.answer_unreachable(&data, packet, ingress);
                return self.drop(reason);
            }
        };
        if let Some(reason) = self.cannot_go(&data, packet, ingress, way) {
            return self.drop(reason);
        }
        let pool = self.world.pools[family(&tuple.src)].clone();
        let snat = service.is_some() && self.is_masked(ingress, &to.dst);
        if snat {
            let Some(got) = got else {
                if self.free_ports(&to, tuple.protocol) {
                    self.complain(format!("{tuple:?} got no port, though some are free"));
                }
                return self.drop(DropReason::SnatPortsExhausted);
            };
            let legal = pool.addresses.contains(&got.src)
                && (pool.port_min..=pool.port_max).contains(&got.src_port);
            if !legal {
                return self
                    .complain(format!("{tuple:?} became {got:?}, which is not of the pool"));
            }
            (to.src, to.src_port) = (got.src, got.src_port);
        }
        let mut reply = reply_tuple(&to, tuple.protocol);
        let mut clashes = self.is_taken(&reply, worker);
        if !snat && let Some(got) = got.filter(|got| got.src_port != to.src_port) {
            // Another port of the client's own address, which is free and whose
            // replies come to the same worker.
            let why = clashes || choices.lingers(&reply, worker);
            to.src_port = got.src_port;
            reply = reply_tuple(&to, tuple.protocol);
            clashes = self.is_taken(&reply, worker);
            let legal = got.src == to.src
                && (pool.port_min..=pool.port_max).contains(&got.src_port)
                && compile::owner(&self.world, &reply) == worker;
            if !(why && legal) || clashes {
                return self.complain(format!("{tuple:?} became {got:?}"));
            }
            self.out.other_ports += 1;
        }
        if clashes || got.is_none() && choices.lingers(&reply, worker) {
            let has_ports = matches!(packet.kind, Kind::Tcp | Kind::Udp);
            if snat || has_ports && pool.port_max - pool.port_min > 100 {
                self.complain(format!("{tuple:?} got {to:?}, which another flow has"));
            }
            return self.drop(DropReason::FlowCollision);
        }
        let rules = match self.allowed(&tuple.src, &to.dst, (tuple.protocol, to.dst_port)) {
            Ok(rules) => rules,
            Err(reason) => {
                return self.complain(format!("{tuple:?} passed in spite of {reason:?}"));
            }
        };
        self.met_rules(rules);
        let id = self.flows.add(Flow {
            tuples: [tuple, reply],
            rules,
            cut: false,
            track: Track::begin(packet),
            service: to_service,
            backend: chosen.map(|choice| choice.id),
            source,
            worker,
            answered: false,
            half_open: true,
            seen_ms: [None, None],
            changed_ms: self.now_ms,
        });
        if let Some(choice) = chosen {
            self.remember(&tuple, &choice, worker);
        }
        self.out.touched.insert(id);
        if self.world.is_port_address(&tuple.dst) {
            self.met(Event::NodePort);
        }
        self.forward(data, packet, ingress, way, (id, 0));
    }

    /// The endpoints that policies let a new flow go to, of those that it may get.
    ///
    /// # Errors
    /// The reason to drop it.
    fn permitted(
        &mut self,
        packet: &Packet,
        service: Option<(u32, Vec<Backend>)>,
        choices: &dyn Choices,
    ) -> Result<Option<(u32, Vec<Backend>)>, DropReason> {
        let Tuple { src, dst, dst_port, protocol, .. } = packet.tuple;
        let Some((service, candidates)) = service else {
            self.allowed(&src, &dst, (protocol, dst_port))?;
            return Ok(None);
        };
        let worker = compile::owner(&self.world, &packet.tuple);
        let began = choices.translation(&packet.tuple, worker).is_some();
        let mut permitted = Vec::new();
        for candidate in candidates {
            match self.allowed(&src, &candidate.address, (protocol, candidate.port)) {
                Ok(_) => permitted.push(candidate),
                // Which one it was to be is told by what became of it.
                Err(reason) if !began && choices.dropped(reason) > 0 => return Err(reason),
                Err(_) => {}
            }
        }
        Ok(Some((service, permitted)))
    }

    /// Whether another flow of a source to a Service may begin.
    fn admit(
        &mut self,
        (src, source): (&IpAddr, &[u8]),
        service: Option<u32>,
        choices: &dyn Choices,
    ) -> Result<(), DropReason> {
        let Some(limits) = self.world.limits else { return Ok(()) };
        let of_source: Vec<_> =
            self.flows.iter().filter(|(_, flow)| flow.source == source).collect();
        let half_open = |flows: &[(u64, &Flow)]| {
            flows.iter().filter(|(_, flow)| flow.half_open).map(|(id, _)| *id).collect::<Vec<_>>()
        };
        if of_source.len() >= limits.source[0] || half_open(&of_source).len() >= limits.source[1] {
            return Err(DropReason::FlowSourceLimit);
        }
        if service.is_none() {
            return Ok(());
        }
        let of_service: Vec<_> =
            self.flows.iter().filter(|(_, flow)| flow.service == service).collect();
        if of_service.len() >= limits.service[0] {
            return Err(DropReason::FlowServiceLimit);
        }
        let half_open = half_open(&of_service);
        if half_open.len() < limits.service[1] {
            return Ok(());
        }
        // Which one gives way is the subject's choice, if it finds one.
        let gone = half_open.into_iter().find(|id| !choices.has(self.flows.get(*id)));
        match gone {
            Some(id) => {
                self.flows.remove(id);
                self.out.gave_way += 1;
                Ok(())
            }
            // It looks at 16 places, of those that were ever used.
            None if self.flows.most(family(src)) <= 16 => {
                self.complain(format!("no flow of Service {service:?} gave way"));
                Ok(())
            }
            None => Err(DropReason::FlowServiceLimit),
        }
    }

    /// Whether a worker has a flow with this tuple. Another's, which the tables
    /// have made this one's since, is not looked at, and ends.
    fn is_taken(&mut self, tuple: &Tuple, worker: usize) -> bool {
        let Some((id, _)) = self.flows.find(tuple) else { return false };
        let is_own = self.flows.get(id).worker == worker;
        if !is_own {
            self.end(id);
        }
        is_own
    }

    /// Whether a pool has a port left towards a server.
    pub(super) fn free_ports(&self, to: &Translation, protocol: u8) -> bool {
        let pool = &self.world.pools[family(&to.dst)];
        pool.addresses.iter().any(|address| {
            (pool.port_min..=pool.port_max).any(|port| {
                let to = Translation { src: *address, src_port: port, ..*to };
                self.flows.find(&reply_tuple(&to, protocol)).is_none()
            })
        })
    }

    /// A packet that belongs to no flow and makes none.
    fn pass(&mut self, mut data: Vec<u8>, packet: &Packet, ingress: Ingress) {
        if packet.ttl <= 1 {
            self.answer_time_exceeded(&data, packet, ingress);
            return self.drop(DropReason::TtlExceeded);
        }
        let way = match self.way(&packet.tuple.dst) {
            Ok(way) => way,
            Err(reason) => {
                self.answer_unreachable(&data, packet, ingress);
                return self.drop(reason);
            }
        };
        if let Some(reason) = self.cannot_go(&data, packet, ingress, way) {
            return self.drop(reason);
        }
        let same = Translation::none(&packet.tuple);
        // Parts of packets have no checksum that could be judged.
        let is_sound = translate(&mut data, packet, &same) && packet.part == Part::Whole;
        self.emit_in_pieces(data, way, is_sound, None);
    }

    /// Whether a source may come from where it came.
    fn source_belongs(&self, src: &IpAddr, ingress: Ingress) -> Result<(), DropReason> {
        if self.world.own.contains_key(src) || self.world.vips.contains_key(src) {
            return Err(DropReason::SpoofedOwnAddress);
        }
        match (ingress, self.world.pod_node(src)) {
            // Nodes are on the underlay's port.
            (Ingress::Port(port), None) if port != 1 && self.is_node(src) => {
                Err(DropReason::SpoofedNode)
            }
            (Ingress::Port(_), None) => Ok(()),
            (Ingress::Port(_), Some(_)) => Err(DropReason::SpoofedPod),
            (Ingress::Node(sender), Some(node)) if sender == node => Ok(()),
            (Ingress::Node(sender), _) if self.world.node_by_underlay(src) == Some(sender) => {
                Ok(())
            }
            (Ingress::Node(_), _) => Err(DropReason::WrongVtep),
        }
    }

    /// Whether an address is a node's that there is a tunnel to.
    fn is_node(&self, address: &IpAddr) -> bool {
        self.world.node_by_underlay(address).is_some()
    }

    /// Lowers the MSS option of a SYN to what every tunnel on the connection's
    /// way carries, there and back.
    fn clamp(&self, data: &mut [u8], packet: &Packet, ingress: Ingress, way: Way) {
        let onwards = way.tunnel.map(|_| way.mtu);
        // Where the packet came from is where its answers go.
        let back = match ingress {
            Ingress::Node(node) => self.tunnel_way(node).ok(),
            Ingress::Port(_) => None,
        };
        let Some(mtu) = onwards.into_iter().chain(back.map(|way| way.mtu)).min() else { return };
        let headers = if packet.tuple.src.is_ipv4() { 20 } else { 40 } + 20;
        let most = (mtu - headers) as u16;
        let (src, dst) = addresses(data);
        let segment = &mut data[packet.l4..];
        let Some(before) = wire::segment_sum(&src, &dst, TCP, segment) else { return };
        if let Some(at) = tcp_option(segment, 2, 4)
            && wire::be16(segment, at) > most
        {
            segment[at..at + 2].copy_from_slice(&most.to_be_bytes());
            wire::set_checksum(&src, &dst, TCP, segment, before);
        }
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

fn addresses(data: &[u8]) -> (IpAddr, IpAddr) {
    let (len, at) = if data[0] >> 4 == 4 { (4, 12) } else { (16, 8) };
    let address = |at: usize| match len {
        4 => IpAddr::from(<[u8; 4]>::try_from(&data[at..at + 4]).expect("four bytes")),
        _ => IpAddr::from(<[u8; 16]>::try_from(&data[at..at + 16]).expect("sixteen bytes")),
    };
    (address(at), address(at + len))
}

/// Replaces addresses and ports, takes one hop, and computes every checksum
/// anew; a transport checksum that was wrong stays wrong by as much. Returns
/// whether it was right.
fn translate(data: &mut [u8], packet: &Packet, to: &Translation) -> bool {
    let tuple = &packet.tuple;
    let has_transport = packet.part != Part::Later;
    let before = has_transport
        .then(|| wire::segment_sum(&tuple.src, &tuple.dst, tuple.protocol, &data[packet.l4..]))
        .flatten();
    let same = (to.src, to.src_port, to.dst, to.dst_port)
        == (tuple.src, tuple.src_port, tuple.dst, tuple.dst_port);
    let ttl_at = if tuple.src.is_ipv4() { 8 } else { 7 };
    data[ttl_at] -= 1;
    if !same {
        let addresses = [octets(&to.src), octets(&to.dst)].concat();
        let at = if tuple.src.is_ipv4() { 12 } else { 8 };
        data[at..at + addresses.len()].copy_from_slice(&addresses);
        let segment = &mut data[packet.l4..];
        if has_transport {
            segment[..2].copy_from_slice(&to.src_port.to_be_bytes());
            segment[2..4].copy_from_slice(&to.dst_port.to_be_bytes());
        }
        if let Some(before) = before {
            wire::set_checksum(&to.src, &to.dst, tuple.protocol, segment, before);
        }
        let changes_ports = (to.src_port, to.dst_port) != (tuple.src_port, tuple.dst_port);
        if has_transport && tuple.protocol == SCTP && changes_ports {
            wire::set_crc(segment);
        }
    }
    if tuple.src.is_ipv4() {
        wire::fix_v4_header(data);
    }
    before.is_none_or(|sum| sum == 0xffff)
}

/// Addresses that nobody has here (RFC 6890): this network, loopback, reserved
/// with broadcast, link-local, IPv4 in IPv6.
pub(super) fn is_martian(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            first == 0 || first == 127 || first >= 240 || v4.is_link_local()
        }
        IpAddr::V6(v6) => {
            let high = u128::from(*v6) >> 32;
            high == 0 || high == 0xffff || v6.is_unicast_link_local()
        }
    }
}
