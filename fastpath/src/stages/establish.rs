//! New flows: the whole decision, made once.

use crate::core::Core;
use crate::flow::table::NO_ENTRY;
use crate::flow::{Entry, FlowTable, State};
use crate::journey::Verdict;
use crate::packet::{Ingress, Packet};
use crate::reason::DropReason;
use crate::stages::service::{self, Destination};
use crate::stages::{conntrack, error, route, sanity, snat, steer};
use crate::wire::ip::{Fragment, Ip};
use crate::wire::l4::{Kind, flags};
use sluice_tables::{BackendId, NatMode, ServiceId, Tables};

/// Decides about a packet without a flow, and makes one if it may go on.
pub fn establish<F: Ip>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    packet: &mut Packet<F>,
) -> Verdict {
    if let Err(reason) = sanity::check(tables, packet) {
        return Verdict::Drop(reason);
    }
    if packet.ip.fragment != Fragment::Whole {
        if may_need_nat(tables, packet) {
            return Verdict::Drop(DropReason::FragmentNotSupported);
        }
        return pass(core, tables, packet);
    }
    let (service, backend) = match service::find(tables, packet) {
        Destination::Backend(..) if is_stray_tcp(packet) => {
            return refuse(core, tables, packet, DropReason::NoConnection);
        }
        Destination::Backend(service, backend) => (service, Some(backend)),
        Destination::Elsewhere => (ServiceId::NONE, None),
        Destination::Here => return Verdict::Local,
        Destination::Refused(reason) => return refuse(core, tables, packet, reason),
        Destination::Dropped(reason) => return Verdict::Drop(reason),
    };
    if matches!(packet.ip.l4.kind, Kind::IcmpError | Kind::IcmpOther) {
        if is_about_translated(table, packet) {
            return Verdict::Drop(DropReason::IcmpErrorNeedsNat);
        }
        return pass(core, tables, packet);
    }
    if packet.ip.ttl <= 1 {
        error::time_exceeded(core, tables, packet);
        return Verdict::Drop(DropReason::TtlExceeded);
    }
    let key = packet.key;
    let (new_dst, new_dst_port) =
        backend.map_or((key.dst, key.dst_port), |backend| (backend.addr, backend.l4_port));
    let proposed = match backend {
        Some(_) if snat::is_needed::<F>(tables, &key.src, &new_dst) => {
            match snat::propose(core, table, tables, (new_dst, new_dst_port), key.protocol) {
                Ok(proposed) => Some(proposed),
                Err(reason) => return Verdict::Drop(reason),
            }
        }
        _ => None,
    };
    let way = match route::find::<F>(core, tables, &new_dst) {
        Ok(way) => way,
        Err(reason) => {
            error::unreachable(core, tables, packet);
            return Verdict::Drop(reason);
        }
    };
    if is_too_big(core, tables, packet, way) {
        return Verdict::Drop(DropReason::TooBig);
    }
    let mut original = Entry {
        key,
        state: State::initial(packet.ip.l4.kind, packet.ip.l4.tcp_flags),
        new_src: key.src,
        new_src_port: key.src_port,
        new_dst,
        new_dst_port,
        adjacency: way,
        service,
        ingress: packet.ingress,
        policy_epoch: tables.policy_epoch,
        route_epoch: core.route_epoch(tables),
        service_epoch: tables.service_epoch(service),
        last_seen_ms: core.now_ms,
        ..Entry::free()
    };
    if let Some(proposed) = proposed {
        match snat::allocate(core, table, tables, proposed) {
            Ok(chosen) => {
                original.new_src = chosen.reply.dst;
                original.new_src_port = chosen.reply.dst_port;
                original.bits |= Entry::<F>::SNAT;
            }
            Err(reason) => return Verdict::Drop(reason),
        }
    }
    if backend.is_some() {
        original.bits |= Entry::<F>::TRANSLATED;
    }
    (original.ip_delta, original.l4_delta) = conntrack::deltas(&original);
    let reply = reply_of(&original);
    let hashes = [packet.hash, table.hash(&reply.key)];
    if proposed.is_none() && table.contains(&reply.key, hashes[1]) {
        return Verdict::Drop(DropReason::FlowCollision);
    }
    let backend = backend.map_or(BackendId::NONE, |backend| backend.id);
    match table.create(original, reply, hashes, backend, core.now_ms) {
        Ok(number) => {
            core.counters.flows_created[F::INDEX].add(1);
            conntrack::forward(core, table, tables, packet, number)
        }
        Err(reason) => Verdict::Drop(reason),
    }
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

/// Routes a packet that belongs to no flow and makes none: fragments, ICMP
/// errors about flows that are not translated.
fn pass<F: Ip>(core: &mut Core, tables: &Tables, packet: &mut Packet<F>) -> Verdict {
    if packet.ip.ttl <= 1 {
        error::time_exceeded(core, tables, packet);
        return Verdict::Drop(DropReason::TtlExceeded);
    }
    let way = match route::find::<F>(core, tables, &packet.key.dst) {
        Ok(way) => way,
        Err(reason) => {
            error::unreachable(core, tables, packet);
            return Verdict::Drop(reason);
        }
    };
    if is_too_big(core, tables, packet, way) {
        return Verdict::Drop(DropReason::TooBig);
    }
    let key = packet.key;
    F::rewrite(packet.frame.data_mut(), key.src, key.dst, F::TTL_DELTA);
    Verdict::Forward(way)
}

/// True for a fragment of what is translated or may be. Only first fragments
/// have ports: where clients are preserved, everything from the overlay to the
/// outside may be a Service's reply.
fn may_need_nat<F: Ip>(tables: &Tables, packet: &Packet<F>) -> bool {
    let family = F::of(tables);
    let dst = &packet.key.dst;
    let may_be_reply = family.snat.mode == NatMode::Preserve
        && packet.ingress.vtep().is_some()
        && family.pod_node(dst).is_none();
    may_be_reply || family.vips.get(dst).is_some() || family.local.contains_key(dst)
}

/// True for an ICMP error about a flow that is translated: it would tell of an
/// address that its receiver knows nothing of.
fn is_about_translated<F: Ip>(table: &FlowTable<F>, packet: &Packet<F>) -> bool {
    let Some(key) = steer::quoted_flow(packet) else { return false };
    let number = table.find(&key, table.hash(&key), NO_ENTRY);
    number.is_some_and(|number| table.entry(number).is_translated())
}

/// True, and the sender told, when a packet fits neither the way nor may be
/// fragmented.
fn is_too_big<F: Ip>(core: &mut Core, tables: &Tables, packet: &Packet<F>, way: u32) -> bool {
    let Some(mtu) = core.adjacencies.row(way).map(|row| row.mtu) else { return false };
    let too_big = packet.ip.len > mtu && packet.ip.dont_fragment;
    if too_big {
        error::too_big(core, tables, packet, mtu);
    }
    too_big
}

fn refuse<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    packet: &Packet<F>,
    reason: DropReason,
) -> Verdict {
    error::refuse(core, tables, packet);
    Verdict::Drop(reason)
}

/// TCP that does not begin a connection, where only one that does may pass.
fn is_stray_tcp<F: Ip>(packet: &Packet<F>) -> bool {
    packet.ip.l4.kind == Kind::Tcp
        && packet.ip.l4.tcp_flags & (flags::SYN | flags::ACK) != flags::SYN
}
