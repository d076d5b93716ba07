//! Flows begin: which ones may, and how they are translated.

use super::reply_tuple;
use crate::model::compile;
use crate::model::errors::About;
use crate::model::flows::{Flow, Track, Translation, source_of};
use crate::model::oracle::{Choices, Event, Ingress, Oracle};
use crate::model::parse::{Kind, Packet, Part, Tuple};
use crate::model::services::Destination;
use crate::model::wire;
use crate::model::world::{Backend, family};
use sluice_fastpath::DropReason;
use std::net::IpAddr;

impl Oracle {
    /// A packet without a flow.
    pub(super) fn begin(
        &mut self,
        data: Vec<u8>,
        packet: &Packet,
        ingress: Ingress,
        choices: &dyn Choices,
    ) {
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
        let way = match self.way_of(&data, packet, ingress, &to.dst) {
            Ok(way) => way,
            Err(reason) => return self.drop(reason),
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
    pub(in crate::model) fn free_ports(&self, to: &Translation, protocol: u8) -> bool {
        let pool = &self.world.pools[family(&to.dst)];
        pool.addresses.iter().any(|address| {
            (pool.port_min..=pool.port_max).any(|port| {
                let to = Translation { src: *address, src_port: port, ..*to };
                self.flows.find(&reply_tuple(&to, protocol)).is_none()
            })
        })
    }
}
