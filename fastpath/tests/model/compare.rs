//! What was expected against what was seen: frames, in order per next hop, and
//! counters, all of them, after every step.

use super::hosts::Hosts;
use super::oracle::{Content, Emit, Event, Oracle, Outcome, hex};
use super::parse;
use super::subject::Subject;
use super::wire;
use super::world::{Mac, World, octets};
use sluice_fastpath::DropReason;
use sluice_tables::record::NeighborRecord;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

/// Drops that depend on when a neighbor was last asked: they are counted
/// together, against the packets that did not come out.
const BY_NEIGHBOR: [DropReason; 2] =
    [DropReason::NeighborUnreachable, DropReason::NeighborQueueFull];

/// Everything expected and seen so far.
#[derive(Default)]
pub struct Ledger {
    /// Frames given to the subject.
    pub received: u64,
    /// Questions of the subject to neighbors.
    pub asked: u64,
    /// Answers to those, which it learns from.
    pub learned: u64,
    sent: u64,
    consumed: u64,
    originated: u64,
    resets_ignored: u64,
    /// Handshakes that began again.
    pub restarts: u64,
    /// Flows with another port of the client's own address.
    pub other_ports: u64,
    /// Half-open flows that gave way to new ones.
    pub gave_way: u64,
    pub events: BTreeSet<Event>,
    dropped: BTreeMap<DropReason, u64>,
    neighbor_drops: u64,
    /// What should leave, or waits to, by port and next hop.
    queues: BTreeMap<(u8, IpAddr), Queue>,
    /// Source ports of flows in tunnels.
    source_ports: BTreeMap<(u64, usize), u16>,
}

/// What should leave towards a next hop.
#[derive(Default)]
struct Queue {
    emits: VecDeque<Emit>,
    /// So many of them were dropped instead. With one worker those are taken
    /// out: the oldest; of two workers nobody knows whose.
    gone: usize,
}

impl Queue {
    fn len(&self) -> usize {
        self.emits.len() - self.gone
    }
}

/// A question of the gateway to a neighbor.
pub struct Question {
    pub target: IpAddr,
    pub asker: (Mac, IpAddr),
    /// It went to the MAC that the neighbor is known to have.
    pub to_one: bool,
}

impl Question {
    /// Reads a frame of the gateway; `None` when it is no question. One must
    /// be right in every byte.
    pub fn read(world: &World, port: u8, frame: &[u8]) -> Result<Option<Self>, String> {
        let interface = &world.interfaces[usize::from(port)];
        let link = parse::link(frame).map_err(|_| "a frame without a header".to_owned())?;
        let data = &frame[link.len..];
        let is_arp = link.ethertype == 0x0806 && data[7] == 1;
        let is_nd = link.ethertype == 0x86dd && data[6] == 58 && data[7] == 255 && data[40] == 135;
        if !is_arp && !is_nd {
            return Ok(None);
        }
        let address = |at: usize| -> IpAddr {
            match is_arp {
                true => <[u8; 4]>::try_from(&data[at..at + 4]).expect("four bytes").into(),
                false => <[u8; 16]>::try_from(&data[at..at + 16]).expect("sixteen bytes").into(),
            }
        };
        let target = address(if is_arp { 24 } else { 48 });
        let Some(asker) = world.port_address(port, &target) else {
            return Err(format!("asks for {target} without an address of its own"));
        };
        let (to, payload) = if is_arp {
            let broadcast = link.dst[0] & 1 == 1;
            let to = if broadcast { [0xff; 6] } else { link.dst };
            (to, wire::arp(true, (interface.mac, asker), ([0; 6], target)))
        } else {
            let (to, dst) =
                if link.dst[0] & 1 == 1 { group_of(&target) } else { (link.dst, target) };
            (to, wire::nd(135, 0, asker, dst, target, Some(interface.mac)))
        };
        let right = wire::ethernet(to, interface.mac, interface.vlan, link.ethertype, &payload);
        if right != frame {
            return Err(format!("asks by {} instead of {}", hex(frame), hex(&right)));
        }
        let to_one = link.dst[0] & 1 == 0;
        Ok(Some(Question { target, asker: (interface.mac, asker), to_one }))
    }
}

/// The solicited-node group of an address (RFC 4291 section 2.7.1).
fn group_of(address: &IpAddr) -> (Mac, IpAddr) {
    let [.., a, b, c] = octets(address)[..] else { unreachable!("addresses are longer") };
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    ([0x33, 0x33, 0xff, a, b, c], group.into())
}

impl Ledger {
    /// Notes what should come of a step.
    pub fn expect(&mut self, outcome: Outcome) {
        self.consumed += outcome.consumed;
        self.originated += outcome.originated;
        self.resets_ignored += outcome.resets_ignored;
        self.restarts += outcome.restarts;
        self.other_ports += outcome.other_ports;
        self.gave_way += outcome.gave_way;
        self.events.extend(outcome.events);
        for reason in outcome.drops {
            *self.dropped.entry(reason).or_default() += 1;
        }
        for emit in outcome.emits {
            self.queues.entry((emit.port, emit.next_hop)).or_default().emits.push_back(emit);
        }
    }

    /// Strikes off what the subject has sent. Returns what is left, with what is
    /// wrong with it unless [`Ledger::match_errors`] finds a reason.
    pub fn match_sent<'a>(
        &mut self,
        world: &World,
        hosts: &Hosts,
        sent: &'a [(u8, Vec<u8>)],
    ) -> Vec<(u8, &'a [u8], String)> {
        let mut left = Vec::new();
        for (port, frame) in sent {
            self.sent += 1;
            if let Err(why) = self.strike_off(world, hosts, *port, frame) {
                left.push((*port, &frame[..], why));
            }
        }
        left
    }

    /// What was sent beside what was expected tells senders that next hops did
    /// not answer: once for each of the packets that are `gone`, at most.
    pub fn match_errors(
        &mut self,
        oracle: &Oracle,
        hosts: &Hosts,
        sent: Vec<(u8, &[u8], String)>,
        gone: &[Emit],
    ) -> Result<(), String> {
        if sent.is_empty() {
            return Ok(());
        }
        let plain = gone.iter().filter_map(|emit| match &emit.content {
            Content::Ip { packet, tunnel: None, renumbered, .. } => Some((packet, *renumbered)),
            _ => None,
        });
        let mut lost: Vec<_> = plain.collect();
        for (port, frame, why) in sent {
            let Ok(link) = parse::link(frame) else { return Err(why) };
            let hop = hosts.by_mac(port, &link.dst);
            let at = lost.iter().position(|(packet, renumbered)| {
                let error = if *renumbered {
                    oracle.host_unreachable(&with_id_of_quote(packet, frame))
                } else {
                    oracle.host_unreachable(packet)
                };
                error.is_some_and(|error| {
                    (error.port, Some(error.next_hop)) == (port, hop)
                        && fits(&oracle.world, &error, link.dst, frame).is_some()
                })
            });
            lost.remove(at.ok_or(why)?);
            self.originated += 1;
        }
        Ok(())
    }

    fn strike_off(
        &mut self,
        world: &World,
        hosts: &Hosts,
        port: u8,
        frame: &[u8],
    ) -> Result<(), String> {
        let link = parse::link(frame).map_err(|_| "a frame without a header".to_owned())?;
        let own = self.queues.get_mut(&(port, IpAddr::from([0; 4])));
        if let Some(own) = own
            && matches!(own.emits.front(), Some(Emit { content: Content::Frame(right), .. }) if right == frame)
        {
            own.emits.pop_front();
            return Ok(());
        }
        let unexpected = || format!("port {port} sent {}, which nobody expects", hex(frame));
        let hop = hosts.by_mac(port, &link.dst).ok_or_else(unexpected)?;
        let others = self.others(port, hop);
        let Some(queue) = self.queues.get_mut(&(port, hop)) else {
            return Err(unexpected() + &others);
        };
        // Packets of one flow keep their order; two workers have one each for
        // the rest.
        for at in 0..queue.emits.len() {
            let emit = &queue.emits[at];
            let mut before = queue.emits.iter().take(at);
            let earlier =
                queue.gone == 0 && before.any(|e| e.flow.is_some() && e.flow == emit.flow);
            if let Some(source_port) = fits(world, emit, link.dst, frame)
                && !earlier
            {
                if let (Some(flow), Some(found)) = (emit.flow, source_port) {
                    let first = *self.source_ports.entry(flow).or_insert(found);
                    if first != found {
                        return Err(format!(
                            "a flow left its tunnel's source port {first} for {found}"
                        ));
                    }
                }
                queue.emits.remove(at);
                return Ok(());
            }
        }
        let right: Vec<_> = queue
            .emits
            .iter()
            .map(|emit| {
                let port = frame.get(34..36).map_or(0, |_| source_port_of(emit, frame));
                format!("\n  {} ({emit:?})", hex(&render(world, emit, link.dst, port)))
            })
            .collect();
        Err(format!(
            "port {port} sent to {hop}\n  {} instead of{}{others}",
            hex(frame),
            right.concat()
        ))
    }

    /// What is expected elsewhere, as text.
    fn others(&self, port: u8, hop: IpAddr) -> String {
        let elsewhere = self.queues.iter().filter(|(key, _)| **key != (port, hop));
        let texts = elsewhere.flat_map(|((port, hop), queue)| {
            queue
                .emits
                .iter()
                .map(move |emit| format!("\n  elsewhere: to {hop} by port {port}: {emit:?}"))
        });
        texts.collect()
    }

    /// What should have left and did not must wait for a neighbor that does
    /// not answer, or have been dropped for it: returns those packets (of two
    /// workers, those that may be among them).
    pub fn settle_waiting(
        &mut self,
        hosts: &Hosts,
        neighbors: &[(usize, NeighborRecord)],
        workers: usize,
    ) -> Result<Vec<Emit>, String> {
        let mut gone = Vec::new();
        for ((port, hop), queue) in &mut self.queues {
            if queue.len() == 0 {
                *queue = Queue::default();
                continue;
            }
            let waiting: usize = neighbors
                .iter()
                .filter(|(_, neighbor)| (neighbor.port.0, neighbor.addr) == (*port, *hop))
                .map(|(_, neighbor)| neighbor.waiting as usize)
                .sum();
            if hosts.answers(*port, hop).is_some() || waiting > queue.len() {
                return Err(format!("not sent to {hop} by port {port}: {:?}", queue.emits));
            }
            let dropped = queue.len() - waiting;
            self.neighbor_drops += dropped as u64;
            if workers == 1 || waiting == 0 {
                // Those that have waited longest give way.
                gone.extend(queue.emits.drain(..queue.emits.len() - waiting));
                queue.gone = 0;
            } else {
                if dropped > 0 {
                    gone.extend(queue.emits.iter().cloned());
                }
                queue.gone = queue.emits.len() - waiting;
            }
        }
        Ok(gone)
    }

    /// How many packets should have been dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(&reason).copied().unwrap_or(0)
    }

    /// The reasons that packets were dropped for.
    pub fn reasons(&self) -> BTreeSet<DropReason> {
        let by_neighbor = BY_NEIGHBOR.iter().filter(|_| self.neighbor_drops > 0);
        self.dropped.keys().chain(by_neighbor).copied().collect()
    }

    /// Every counter says what was expected.
    pub fn check_counts(&self, subject: &Subject, oracle: &Oracle) -> Result<(), String> {
        let check = |what: &str, is: u64, should: u64| {
            if is == should { Ok(()) } else { Err(format!("{what}: {is} instead of {should}")) }
        };
        for reason in DropReason::ALL.iter().filter(|reason| !BY_NEIGHBOR.contains(reason)) {
            check(reason.label(), subject.dropped(*reason), self.dropped(*reason))?;
        }
        let by_neighbor = BY_NEIGHBOR.iter().map(|reason| subject.dropped(*reason)).sum();
        check("dropped for neighbors", by_neighbor, self.neighbor_drops)?;
        let ports = |f: fn(&sluice_fastpath::counters::PortCounters) -> u64| {
            subject.count(|counters| counters.ports.iter().map(f).sum())
        };
        check("received", ports(|port| port.rx_packets.get()), self.received)?;
        check("sent", ports(|port| port.tx_packets.get()), self.sent + self.asked)?;
        let consumed = subject.count(|counters| counters.consumed.get());
        check("consumed", consumed, self.consumed + self.learned)?;
        let originated = subject.count(|counters| counters.originated.get());
        check("originated", originated, self.originated + self.asked)?;
        check("errors limited", subject.count(|counters| counters.errors_limited.get()), 0)?;
        let forgotten = subject.count(|counters| counters.affinities_forgotten.get());
        check("affinities forgotten", forgotten, 0)?;
        let lost = subject.count(|counters| counters.affinity_news_lost.get());
        check("news of affinities lost", lost, 0)?;
        let ignored = subject.count(|counters| counters.resets_ignored.get());
        check("resets ignored", ignored, self.resets_ignored)?;
        let waiting = self.queues.values().map(Queue::len).sum::<usize>();
        let waiting = (waiting + oracle.datagrams.waiting()) as u64;
        check("held", subject.count(|counters| counters.held.get()), waiting)?;
        let handed_in = subject.count(|counters| counters.handed_in.get());
        check("handed in", handed_in, subject.count(|counters| counters.handed_out.get()))?;
        for (service, should) in &oracle.services {
            let is = subject.service(*service);
            if is != *should {
                return Err(format!("service {service}: {is:?} instead of {should:?}"));
            }
        }
        Ok(())
    }
}

/// Whether a frame is the expected one; with it, its tunnel's source port.
fn fits(world: &World, emit: &Emit, mac: Mac, frame: &[u8]) -> Option<Option<u16>> {
    let Content::Ip { packet, tunnel, is_sound, renumbered } = &emit.content else { return None };
    if *renumbered {
        return fits(world, &with_id_of(emit, frame)?, mac, frame);
    }
    let source_port = source_port_of(emit, frame);
    // RFC 7348 section 5: the dynamic range.
    if tunnel.is_some() && source_port < 49_152 {
        return None;
    }
    let mut right = render(world, emit, mac, source_port);
    let mut frame = frame.to_vec();
    if !is_sound && right.len() == frame.len() {
        // A checksum that was wrong stays wrong by as much, 0 and 0xffff being
        // the same; and what vouches for an outer checksum then does not.
        for bytes in [&mut right, &mut frame] {
            blur(bytes, packet, tunnel.as_ref().map(|tunnel| tunnel.src));
        }
    }
    (right == frame).then(|| tunnel.as_ref().map(|_| source_port))
}

/// The expected packet with the identification that the subject gave it.
fn with_id_of(emit: &Emit, frame: &[u8]) -> Option<Emit> {
    let mut emit = emit.clone();
    let Content::Ip { packet, renumbered, .. } = &mut emit.content else { return None };
    *renumbered = false;
    let place = wire::id_place(packet)?;
    let at = frame.len().checked_sub(packet.len())?;
    let id = frame.get(at + place.start..at + place.end)?;
    wire::set_id(packet, id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte)));
    Some(emit)
}

/// A packet with the identification that an error in a frame quotes.
fn with_id_of_quote(packet: &[u8], frame: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let quoted = packet.len().min(if packet[0] >> 4 == 4 { 548 } else { 1184 });
    let at = frame.len().checked_sub(quoted);
    let id = wire::id_place(&packet).zip(at).and_then(|(place, at)| {
        let id = frame.get(at + place.start..at + place.end)?;
        Some(id.iter().fold(0, |id, byte| id << 8 | u32::from(*byte)))
    });
    if let Some(id) = id {
        wire::set_id(&mut packet, id);
    }
    packet
}

/// Makes representations of checksums alike that mean the same or nothing.
fn blur(frame: &mut [u8], packet: &[u8], tunnel: Option<IpAddr>) {
    let at = frame.len() - packet.len();
    if let Some(IpAddr::V6(_)) = tunnel {
        // Before the inner packet: Ethernet, VXLAN, the UDP checksum.
        frame[at - 24..at - 22].fill(0);
    }
    let parsed = if packet[0] >> 4 == 4 { parse::v4(packet) } else { parse::v6(packet) };
    let Ok(parsed) = parsed else { return };
    let field = match parsed.tuple.protocol {
        6 => 16,
        17 => 6,
        _ => 2,
    };
    if let Some(field) = frame.get_mut(at + parsed.l4 + field..at + parsed.l4 + field + 2)
        && *field == [0xff, 0xff]
    {
        field.fill(0);
    }
}

fn source_port_of(emit: &Emit, frame: &[u8]) -> u16 {
    let Content::Ip { packet, tunnel: Some(_), .. } = &emit.content else { return 0 };
    // Before the inner packet: Ethernet, VXLAN, UDP.
    let at = frame.len().saturating_sub(packet.len() + 14 + 8 + 8);
    frame.get(at..at + 2).map_or(0, |bytes| wire::be16(bytes, 0))
}

/// The expected frame towards a MAC.
fn render(world: &World, emit: &Emit, mac: Mac, source_port: u16) -> Vec<u8> {
    let interface = &world.interfaces[usize::from(emit.port)];
    match &emit.content {
        Content::Frame(frame) => frame.clone(),
        Content::Ip { packet, tunnel, .. } => {
            let packet = match tunnel {
                None => packet.clone(),
                Some(tunnel) => {
                    wire::Tunnel { src_port: source_port, ..tunnel.clone() }.wrap(packet)
                }
            };
            let ethertype = wire::ethertype(&packet);
            wire::ethernet(mac, interface.mac, interface.vlan, ethertype, &packet)
        }
    }
}
