//! New flows, and packets that make none.

use crate::adjacency::AdjacencyId;
use crate::core::Core;
use crate::flow::{Entry, FlowTable, State};
use crate::journey::Verdict;
use crate::packet::{Ingress, Packet};
use crate::reason::DropReason;
use crate::stages::conntrack;
use crate::stages::service::Target;
use crate::stages::snat::Proposal;
use crate::wire::ip::Ip;
use sluice_tables::Tables;

/// Sends a packet that makes no flow on its way.
pub fn pass<F: Ip>(packet: &mut Packet<F>, way: AdjacencyId) -> Verdict {
    let key = packet.key;
    F::rewrite(packet.frame.data_mut(), key.src, key.dst, F::TTL_DELTA);
    Verdict::Forward(way)
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
    target: &Target<F>,
    way: AdjacencyId,
    source: Option<Proposal<F>>,
) -> Result<u32, DropReason> {
    let key = packet.key;
    let mut original = Entry {
        key,
        state: State::initial(packet.ip.l4.kind, packet.ip.l4.tcp_flags),
        new_src: key.src,
        new_src_port: key.src_port,
        new_dst: target.addr,
        new_dst_port: target.l4_port,
        adjacency: way,
        service: target.service,
        ingress: packet.ingress,
        policy_epoch: tables.policy_epoch,
        route_epoch: core.route_epoch(tables),
        service_epoch: tables.service_epoch(target.service),
        last_seen_ms: core.now_ms,
        ..Entry::free()
    };
    if let Some(source) = &source {
        original.new_src = source.reply.dst;
        original.new_src_port = source.reply.dst_port;
        original.bits |= Entry::<F>::SNAT;
    }
    if target.is_backend() {
        original.bits |= Entry::<F>::TRANSLATED;
    }
    (original.ip_delta, original.l4_delta) = conntrack::deltas(&original);
    let reply = reply_of(&original);
    let hashes = [packet.hash, table.hash(&reply.key)];
    if source.is_none() && table.contains(&reply.key, hashes[1]) {
        return Err(DropReason::FlowCollision);
    }
    let number = table.create(original, reply, hashes, target.backend, core.now_ms)?;
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
