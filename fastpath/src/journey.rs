//! The journey of a packet. [`judge`] is every stage in order, from conntrack
//! on; [`receive`] has taken the frame apart before. The rest moves packets
//! through in bursts, so that the memory of all of them is on its way before
//! the first is judged.

use crate::core::Core;
use crate::events::Fate;
use crate::flow::table::{NO_ENTRY, prefetch};
use crate::flow::{FlowTable, Flows};
use crate::fragments::FragmentFamily;
use crate::local::{self, LocalContext, LocalPacket};
use crate::mesh::Handed;
use crate::packet::{Ingress, Packet};
use crate::reason::DropReason;
use crate::stages::establish::Decision;
use crate::stages::receive::{Arrivals, ArrivedFamily, receive};
use crate::stages::{
    ahead, answer, balance, conntrack, establish, fragment, icmp, output, policy, route, sanity,
    service, snat, steer,
};
use crate::wire::ip::{Fragment, Ip};
use crate::wire::l4::{Kind, flags};
use arrayvec::ArrayVec;
use sluice_io::{BURST, RxBurst};
use sluice_tables::{PortLocal, Tables, V4, V6};

mod held;
mod originate;

pub use held::{run_overdue, run_released};
pub use originate::originate;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes out by this adjacency (or waits for its neighbor).
    Forward(u32),
    /// It is dropped.
    Drop(DropReason),
    /// Another worker owns its flow.
    Handoff(usize),
    /// It ends here.
    Local,
    /// It waits until control has learned from it.
    Hold,
}

impl From<DropReason> for Verdict {
    fn from(reason: DropReason) -> Self {
        Verdict::Drop(reason)
    }
}

/// Judges one packet: each stage lets it go on, or says what becomes of it
/// (`Err`, that is: here its journey ends).
#[inline(always)]
fn judge<F: Ip>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    packet: &mut Packet<F>,
    handed: bool,
) -> Result<Verdict, Verdict> {
    let tracked = is_tracked(packet);
    // A flow is looked up before its owner is: only the owner has it.
    if tracked && let Some(verdict) = conntrack::replay(core, table, tables, packet) {
        return Ok(verdict);
    }
    steer::check(core, tables, packet, handed)?;
    sanity::check(tables, packet)?;
    let related = !tracked && icmp::relate(core, table, tables, packet)?;
    fragment::check(tables, packet)?;
    if core.syn_gate.is_closed() && is_syn(packet) && !core.syn_gate.admits(packet.hash) {
        return Err(DropReason::SynGated.into());
    }
    let source = table.source(&packet.key.src, packet.ingress.vtep().is_some());
    let target = service::resolve(core, table, tables, packet)?;
    if target.is_backend()
        && let Some(node) = service::masquerading_node(tables, packet)
    {
        core.counters.masqueraded.count(node);
    }
    sanity::tunnel_belongs(tables, packet, (&target.addr, target.l4_port))?;
    // The bucket that it asks for is looked at after policy has spoken.
    let proposal = match tracked {
        true => Some(snat::propose(core, table, tables, packet, &target)),
        false => None,
    };
    let rules = match related {
        true => policy::UNASKED,
        false => policy::check(core, tables, packet, &target)?,
    };
    route::take_hop(core, tables, packet)?;
    let Some(proposal) = proposal else {
        let way = route::choose(core, tables, packet, &target.addr)?;
        return Ok(establish::pass(packet, way));
    };
    let admitted = match packet.ingress == Ingress::GATEWAY {
        true => table.admit_own(source),
        false => table.admit(source, target.service, core.now_ms)?,
    };
    let proposal = proposal?;
    let way = route::choose(core, tables, packet, &target.addr)?;
    let replies = snat::allocate(core, table, tables, packet, &target, proposal)?;
    let decision = Decision { target, rules, way, replies, admitted };
    let number = establish::create(core, table, tables, packet, &decision)?;
    if core.events.sample() != 0 {
        core.tell_begun(table, number, packet.hash);
    }
    if target.affinity_ms != 0 {
        balance::remember(core, &packet.key.src, &target);
    }
    Ok(conntrack::forward(core, table, tables, packet, number))
}

/// Whether a packet can belong to a flow.
#[inline]
fn is_tracked<F: Ip>(packet: &Packet<F>) -> bool {
    (packet.ip.fragment == Fragment::Whole || packet.datagram.is_some())
        && !matches!(packet.ip.l4.kind, Kind::IcmpError | Kind::IcmpOther)
}

/// Whether a packet asks for a TCP connection.
#[inline]
fn is_syn<F: Ip>(packet: &Packet<F>) -> bool {
    packet.ip.l4.kind == Kind::Tcp
        && packet.ip.l4.tcp_flags & (flags::SYN | flags::ACK) == flags::SYN
}

/// Takes a burst of a port through the journey.
pub fn run(
    core: &mut Core,
    flows: &mut Flows,
    tables: &Tables,
    port: &PortLocal,
    burst: &mut RxBurst,
) {
    let mut arrivals = Arrivals::default();
    for frame in burst.iter() {
        frame.prefetch();
    }
    let is_noted = core.events.is_on();
    for frame in burst.drain(..) {
        if is_noted {
            core.events.arrives(Ingress::port(port.id), &frame);
        }
        receive(core, flows, tables, port, frame, &mut arrivals);
    }
    if is_noted {
        core.events.all_arrived();
    }
    forward(core, flows, tables, &mut arrivals.v4, false);
    forward(core, flows, tables, &mut arrivals.v6, false);
}

/// Takes packets that other workers handed over through the rest of the
/// journey; up to a burst. Returns how many there were.
pub fn run_handed(core: &mut Core, flows: &mut Flows, tables: &Tables, turn: usize) -> usize {
    let mut arrivals = Arrivals::default();
    let received = core.mesh.receive(turn, BURST, |handed| match handed {
        Handed::V4(packet) => {
            // Its headers are near the core that has received it.
            packet.frame.prefetch_to_write();
            flows.v4.prefetch_bucket(packet.hash);
            arrivals.v4.push(packet);
        }
        Handed::V6(packet) => {
            packet.frame.prefetch_to_write();
            flows.v6.prefetch_bucket(packet.hash);
            arrivals.v6.push(packet);
        }
    });
    core.counters.handed_in.add(received as u64);
    forward(core, flows, tables, &mut arrivals.v4, true);
    forward(core, flows, tables, &mut arrivals.v6, true);
    received
}

/// Judges the packets of one family and carries the verdicts out.
fn forward<F: FragmentFamily + ArrivedFamily>(
    core: &mut Core,
    flows: &mut Flows,
    tables: &Tables,
    packets: &mut ArrayVec<Packet<F>, BURST>,
    handed: bool,
) where
    Packet<F>: Into<Handed> + Into<LocalPacket>,
{
    let table = F::flows(flows);
    let mut has_fragments = false;
    for packet in packets.iter_mut() {
        packet.candidate = table.suggest(packet.hash);
        if packet.ingress.vtep().is_none() {
            packet.frame.prefetch_headroom();
        }
        has_fragments |= packet.ip.fragment != Fragment::Whole;
    }
    if core.syn_gate.is_closed() {
        prefetch_gate(core, packets);
    } else {
        ahead::fetch(tables, packets);
    }
    if has_fragments || core.events.is_capturing() {
        return forward_mixed(core, table, tables, packets, handed);
    }
    for mut packet in packets.drain(..) {
        let (Ok(verdict) | Err(verdict)) = judge(core, table, tables, &mut packet, handed);
        carry_out(core, packet, verdict);
    }
}

/// Asks the processor to load what the closed gate knows of new packets.
#[cold]
fn prefetch_gate<F: Ip>(core: &Core, packets: &[Packet<F>]) {
    for packet in packets.iter().filter(|packet| packet.candidate == NO_ENTRY) {
        prefetch(core.syn_gate.line(packet.hash));
    }
}

/// [`forward`] for packets some of which are fragments, or are copied.
#[cold]
fn forward_mixed<F: FragmentFamily>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    packets: &mut ArrayVec<Packet<F>, BURST>,
    handed: bool,
) where
    Packet<F>: Into<Handed> + Into<LocalPacket>,
{
    for packet in packets.drain(..) {
        match packet.ip.fragment {
            Fragment::Whole => judge_one(core, table, tables, packet, handed),
            _ => run_fragment(core, table, tables, packet, handed),
        }
    }
}

/// Carries a verdict out.
#[inline(always)]
fn carry_out<F: Ip>(core: &mut Core, packet: Packet<F>, verdict: Verdict)
where
    Packet<F>: Into<Handed> + Into<LocalPacket>,
{
    match verdict {
        Verdict::Forward(way) => {
            output::forward::<F>(core, packet.frame, way, packet.ip.tos, packet.hash);
        }
        Verdict::Drop(reason) => core.drop_packet(packet, reason),
        Verdict::Handoff(owner) => hand_over(core, owner, packet),
        Verdict::Hold => answer::hold(core, packet),
        Verdict::Local => {
            let ingress = packet.ingress;
            let path_mtu = local::path_mtu(core, &packet);
            let mut context = LocalContext { now: core.now, cache: &mut core.cache, path_mtu };
            match core.local.deliver(packet.into(), &mut context) {
                Ok(()) => core.counters.consumed.add(1),
                Err(frame) => core.drop_undelivered(frame, ingress, DropReason::LocalQueueFull),
            }
        }
    }
}

/// Takes a fragment through the rest of the journey. Where its
/// ports matter they are found out first, at the worker that all of its datagram meets at;
/// from there each fragment goes the way of whole packets, to the worker that owns
/// the flow.
#[cold]
fn run_fragment<F: FragmentFamily>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    packet: Packet<F>,
    handed: bool,
) where
    Packet<F>: Into<Handed> + Into<LocalPacket>,
{
    if packet.datagram.is_some() || !fragment::is_followed(tables, &packet) {
        return judge_one(core, table, tables, packet, handed);
    }
    if !handed && core.mesh.workers() > 1 {
        let owner = fragment::owner(tables, &packet);
        if owner != core.worker {
            return hand_over(core, owner, packet);
        }
    }
    let Some((first, mut behind)) = fragment::admit(core, table, tables, packet) else { return };
    judge_one(core, table, tables, first, false);
    while let Some(packet) = fragment::next(core, table, &mut behind) {
        judge_one(core, table, tables, packet, false);
    }
}

/// Judges a packet, a fragment, one beside fragments or one that may be copied, and
/// carries the verdict out.
fn judge_one<F: FragmentFamily>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    mut packet: Packet<F>,
    handed: bool,
) where
    Packet<F>: Into<Handed> + Into<LocalPacket>,
{
    if core.events.is_capturing() {
        core.keep_as_it_came(&packet);
    }
    let (Ok(verdict) | Err(verdict)) = judge(core, table, tables, &mut packet, handed);
    if matches!(verdict, Verdict::Forward(_)) {
        fragment::renumber(&mut packet);
    }
    carry_out_seen(core, packet, verdict);
}

/// Carries the verdict of a packet out that may be copied.
fn carry_out_seen<F: Ip>(core: &mut Core, packet: Packet<F>, verdict: Verdict)
where
    Packet<F>: Into<Handed> + Into<LocalPacket>,
{
    if core.events.is_capturing() {
        match verdict {
            Verdict::Forward(_) => core.capture_passed(&packet, Fate::Forwarded),
            Verdict::Local => core.capture_passed(&packet, Fate::Local),
            // Told of where it is dropped, by the owner of its flow, or when it
            // goes on.
            Verdict::Drop(_) | Verdict::Handoff(_) | Verdict::Hold => {}
        }
    }
    carry_out(core, packet, verdict);
    if core.events.is_capturing() {
        core.events.forget_as_it_came();
    }
}

fn hand_over<F: Ip>(core: &mut Core, owner: usize, packet: Packet<F>)
where
    Packet<F>: Into<Handed>,
{
    match core.mesh.send(owner, packet.into()) {
        Ok(()) => core.counters.handed_out.add(1),
        Err(Handed::V4(packet)) => core.drop_packet(packet, DropReason::HandoffRingFull),
        Err(Handed::V6(packet)) => core.drop_packet(packet, DropReason::HandoffRingFull),
    }
}

impl From<Packet<V4>> for Handed {
    fn from(packet: Packet<V4>) -> Self {
        Handed::V4(packet)
    }
}

impl From<Packet<V6>> for Handed {
    fn from(packet: Packet<V6>) -> Self {
        Handed::V6(packet)
    }
}

impl From<Packet<V4>> for LocalPacket {
    fn from(packet: Packet<V4>) -> Self {
        LocalPacket::V4(packet)
    }
}

impl From<Packet<V6>> for LocalPacket {
    fn from(packet: Packet<V6>) -> Self {
        LocalPacket::V6(packet)
    }
}
