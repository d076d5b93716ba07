//! New flows, and packets that make none.

use crate::adjacency::AdjacencyId;
use crate::core::Core;
use crate::flow::table::Admitted;
use crate::flow::{Aside, Entry, FlowTable, State};
use crate::journey::Verdict;
use crate::packet::{Ingress, Packet};
use crate::reason::DropReason;
use crate::stages::policy::Rules;
use crate::stages::service::Target;
use crate::stages::snat::Proposal;
use crate::stages::{conntrack, sctp, tcp};
use crate::wire::ip::Ip;
use sluice_tables::Tables;

/// Sends a packet that makes no flow on its way.
pub fn pass<F: Ip>(packet: &mut Packet<F>, way: AdjacencyId) -> Verdict {
    let key = packet.key;
    F::rewrite(packet.frame.data_mut(), key.src, key.dst, F::TTL_DELTA);
    Verdict::Forward(way)
}

/// Everything that was decided about a new flow.
#[derive(Clone, Copy, Debug)]
pub struct Decision<F: Ip> {
    /// Where it goes.
    pub target: Target<F>,
    /// The rules of policies that let it pass.
    pub rules: Rules,
    /// The way there.
    pub way: AdjacencyId,
    /// What its replies will look like.
    pub replies: Proposal<F>,
    /// That it may begin.
    pub admitted: Admitted,
}

/// Makes a flow of everything that was decided. Returns its original direction's
/// number.
///
/// # Errors
/// Why there can be none.
pub fn create<F: Ip>(
    core: &Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
    decision: &Decision<F>,
) -> Result<u32, DropReason> {
    let key = packet.key;
    let Decision { target, rules, way, replies, admitted } = decision;
    let mut original = Entry {
        key,
        state: State::initial(packet.ip.l4.kind, packet.ip.l4.tcp_flags),
        new_src: replies.key.dst,
        new_src_port: replies.key.dst_port,
        new_dst: target.addr,
        new_dst_port: target.l4_port,
        adjacency: *way,
        service: target.service,
        ingress: packet.ingress,
        epoch: core.epoch(tables, packet.ingress, *way),
        service_epoch: tables.service_epoch(target.service),
        last_seen_ms: core.now_ms,
        ..Entry::free()
    };
    if replies.is_of_pool() {
        original.bits |= Entry::<F>::SNAT;
    }
    if target.is_backend() || original.new_src_port != key.src_port {
        original.bits |= Entry::<F>::TRANSLATED;
    }
    (original.ip_delta, original.l4_delta) = conntrack::deltas(&original);
    let mut reply = reply_of(&original);
    sctp::begin(packet, &mut original, &mut reply);
    let (handshake, admitted, rules) = (tcp::begin(packet), *admitted, *rules);
    let aside = Aside { backend: target.backend, handshake, admitted, rules, cut: None };
    let hashes = [packet.hash, replies.hash];
    let number = table.create(original, reply, hashes, aside, core.now_ms)?;
    core.counters.flows_created[F::INDEX].add(1);
    Ok(number)
}

/// The other direction: it takes back what the original one did. Its way is
/// found with its first packet, which finds its epochs stale.
fn reply_of<F: Ip>(original: &Entry<F>) -> Entry<F> {
    let mut reply = Entry {
        state: original.state,
        bits: original.bits,
        new_src: original.key.dst,
        new_src_port: original.key.dst_port,
        new_dst: original.key.src,
        new_dst_port: original.key.src_port,
        service: original.service,
        ingress: Ingress::UNSEEN,
        service_epoch: original.service_epoch,
        last_seen_ms: original.last_seen_ms,
        ..Entry::free()
    };
    reply.key.src = original.new_dst;
    reply.key.dst = original.new_src;
    reply.key.src_port = original.new_dst_port;
    reply.key.dst_port = original.new_src_port;
    reply.key.protocol = original.key.protocol;
    (reply.ip_delta, reply.l4_delta) = conntrack::deltas(&reply);
    reply
}
