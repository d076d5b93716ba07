//! Connection tracking: a packet of a known flow is judged by what was decided
//! for the flow, unless the tables have changed since.

use crate::adjacency::HERE;
use crate::core::Core;
use crate::flow::{Direction, Entry, FlowTable, Key, State};
use crate::journey::Verdict;
use crate::packet::{Ingress, Packet};
use crate::reason::DropReason;
use crate::stages::policy::Denied;
use crate::stages::{
    answer, balance, error, mss, policy, route, sanity, sctp, service, shed, steer, tcp,
};
use crate::wire::ip::Ip;
use crate::wire::l4::{self, Kind, flags};
use crate::wire::{self, checksum, crc32c};
use sluice_tables::answer::DNS_PORT;
use sluice_tables::{BackendId, BackendState, FrontendKey, ServiceId, Tables};

/// What became of a flow that was looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revalidated {
    /// It goes on, and so does the packet.
    Keeps,
    /// It is no flow any more: the packet begins a new one.
    Ended,
    /// It goes on, this packet does not.
    Drop(DropReason),
}

/// Judges a packet by its flow; `None` when there is none (any more).
#[inline(always)]
pub fn replay<F: Ip>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    packet: &mut Packet<F>,
) -> Option<Verdict> {
    let number = table.find(&packet.key, packet.hash, packet.candidate)?;
    let entry = table.entry(number);
    if entry.epoch != core.epoch(tables, entry.ingress, entry.adjacency)
        || entry.service_epoch != tables.service_epoch(entry.service)
        || entry.ingress != packet.ingress
    {
        match revalidate(core, table, tables, packet, number) {
            Revalidated::Keeps => {}
            Revalidated::Ended => {
                end(core, table, number);
                return None;
            }
            Revalidated::Drop(reason) => return Some(Verdict::Drop(reason)),
        }
    }
    let entry = table.entry(number);
    let tcp_flags = packet.ip.l4.tcp_flags;
    let control = tcp_flags & (flags::SYN | flags::FIN | flags::RST) != 0;
    if control || !entry.state.is_steady() {
        match track(core, table, packet, number) {
            Revalidated::Keeps => {}
            Revalidated::Ended => {
                end(core, table, number);
                return None;
            }
            Revalidated::Drop(reason) => return Some(Verdict::Drop(reason)),
        }
    }
    // The port that the client asked: that of the endpoint may be another one.
    if tables.names_wanted
        && table.entry(number).new_src_port == DNS_PORT
        && answer::is_held(core, table, tables, packet, number)
    {
        return Some(Verdict::Hold);
    }
    Some(forward(core, table, tables, packet, number))
}

/// Sends a packet the way of its flow entry: rewritten, counted, or answered
/// with an error where it cannot go.
#[inline(always)]
pub fn forward<F: Ip>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    packet: &mut Packet<F>,
    number: u32,
) -> Verdict {
    let way = table.entry(number).adjacency;
    if way == HERE {
        return arrive(core, table, packet, number);
    }
    if core.shed != 0 && shed::forwarded(core, tables, packet) {
        return Verdict::Drop(DropReason::Overload);
    }
    if packet.ip.ttl <= 1 {
        error::time_exceeded(core, tables, packet);
        return Verdict::Drop(DropReason::TtlExceeded);
    }
    let Some(row) = core.adjacencies.row(way) else { return Verdict::Drop(DropReason::NoRoute) };
    if packet.ip.len > row.mtu && packet.ip.dont_fragment {
        let mtu = row.mtu;
        error::too_big(core, tables, packet, mtu);
        return Verdict::Drop(DropReason::TooBig);
    }
    let tcp_flags = packet.ip.l4.tcp_flags;
    if tcp_flags != 0 {
        if tcp_flags & flags::SYN != 0 {
            mss::clamp(core, tables, packet, way);
        }
        // A reset's acknowledgment is no promise of what comes next.
        if tcp_flags & (flags::ACK | flags::RST) == flags::ACK {
            let segment = &packet.frame.data()[usize::from(packet.ip.l4_offset)..];
            table.entry_mut(number).note_ack(wire::tcp::acknowledgment(segment));
        }
    }
    let entry = table.entry_mut(number);
    entry.last_seen_ms = core.now_ms;
    entry.packets = entry.packets.saturating_add(1);
    if entry.service != ServiceId::NONE {
        let counters = core.counters.service(entry.service);
        match FlowTable::<F>::direction(number) {
            Direction::Original => {
                counters.rx_packets.add(1);
                counters.rx_bytes.add(u64::from(packet.ip.len));
            }
            Direction::Reply => {
                counters.tx_packets.add(1);
                counters.tx_bytes.add(u64::from(packet.ip.len));
            }
        }
    }
    rewrite(packet, entry);
    Verdict::Forward(way)
}

/// Notes a packet of a connection of the gateway's own, which ends here.
#[inline(never)]
fn arrive<F: Ip>(
    core: &Core,
    table: &mut FlowTable<F>,
    packet: &mut Packet<F>,
    number: u32,
) -> Verdict {
    let entry = table.entry_mut(number);
    if packet.ip.l4.tcp_flags & (flags::ACK | flags::RST) == flags::ACK {
        let segment = &packet.frame.data()[usize::from(packet.ip.l4_offset)..];
        entry.note_ack(wire::tcp::acknowledgment(segment));
    }
    entry.last_seen_ms = core.now_ms;
    entry.packets = entry.packets.saturating_add(1);
    rewrite(packet, entry);
    Verdict::Local
}

/// True for a flow that the gateway has begun itself.
pub fn is_of_gateway<F: Ip>(flow: &[Entry<F>; 2]) -> bool {
    flow[0].ingress == Ingress::GATEWAY
}

/// Replaces addresses and ports, takes one hop, and mends the checksums.
#[inline(always)]
fn rewrite<F: Ip>(packet: &mut Packet<F>, entry: &Entry<F>) {
    let data = packet.frame.data_mut();
    F::rewrite(data, entry.new_src, entry.new_dst, entry.ip_delta);
    if !entry.is_translated() {
        return;
    }
    let l4 = &mut data[usize::from(packet.ip.l4_offset)..];
    match packet.ip.l4.kind {
        Kind::Tcp => {
            let Some(header) = l4.first_chunk_mut::<18>() else { return };
            header[..2].copy_from_slice(&entry.new_src_port.to_be_bytes());
            header[2..4].copy_from_slice(&entry.new_dst_port.to_be_bytes());
            checksum::apply(header, 16, entry.l4_delta);
        }
        Kind::Udp => {
            let Some(header) = l4.first_chunk_mut::<8>() else { return };
            header[..2].copy_from_slice(&entry.new_src_port.to_be_bytes());
            header[2..4].copy_from_slice(&entry.new_dst_port.to_be_bytes());
            checksum::apply_udp(header, entry.l4_delta);
        }
        // No addresses in its checksum, and no way to mend it for the ports alone
        // that is cheaper than a new one.
        Kind::Sctp(_) if entry.changes_ports() => {
            let Some(ports) = l4.first_chunk_mut::<4>() else { return };
            ports[..2].copy_from_slice(&entry.new_src_port.to_be_bytes());
            ports[2..].copy_from_slice(&entry.new_dst_port.to_be_bytes());
            crc32c::fill(l4);
        }
        _ => {}
    }
}

/// What the checksums gain by a translation: (IP header with its hop, transport).
pub fn deltas<F: Ip>(entry: &Entry<F>) -> (u16, u16) {
    let key = &entry.key;
    let addresses = F::address_delta([key.src, key.dst], [entry.new_src, entry.new_dst]);
    let ports = |src: u16, dst: u16| u64::from(src) + u64::from(dst);
    let old = checksum::fold(ports(key.src_port, key.dst_port));
    let new = checksum::fold(ports(entry.new_src_port, entry.new_dst_port));
    let l4 = checksum::add(addresses, checksum::add(!old, new));
    (checksum::add(addresses, F::TTL_DELTA), l4)
}

/// Follows the connection's state. The flow has ended when the packet begins a
/// new connection on the tuple of one that is over.
#[cold]
fn track<F: Ip>(
    core: &Core,
    table: &mut FlowTable<F>,
    packet: &Packet<F>,
    number: u32,
) -> Revalidated {
    match packet.ip.l4.kind {
        Kind::Tcp if !tcp::follow(core, table, packet, number) => return Revalidated::Ended,
        Kind::Sctp(chunk) => return sctp::follow(core, table, packet, chunk, number),
        Kind::Udp if FlowTable::<F>::direction(number) == Direction::Reply => {
            table.set_state(number, State::UdpStream, 0, core.now_ms);
        }
        _ => {}
    }
    Revalidated::Keeps
}

/// Judges a flow again: its tables have changed, or its packets come from
/// elsewhere. NAT and backend stay.
///
/// A flow that policies no longer allow is cut, and stays: each packet of either
/// direction finds it, and asks again. Were it removed, the next packet of its
/// server would begin a flow the other way round, which may be allowed. So it lives
/// on by what its server sends, and not by what its client does; and goes on if it
/// is allowed again in time.
#[cold]
fn revalidate<F: Ip>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
    number: u32,
) -> Revalidated {
    let entry = table.entry(number);
    // The first packet of a direction is no second look.
    core.counters.revalidated.add(u64::from(entry.packets != 0));
    let service = entry.service;
    let service_changed = entry.service_epoch != tables.service_epoch(service);
    if service_changed && !is_served(table, tables, number) {
        return Revalidated::Ended;
    }
    // Ownership depends on VIPs and pods' ranges: where it has changed, a flow
    // that stays would be on two workers.
    if !steer::is_own(core, tables, table.both(number)) {
        return Revalidated::Ended;
    }
    if let Err(reason) = sanity::source_belongs::<F>(tables, packet.ingress, &packet.key.src) {
        return Revalidated::Drop(reason);
    }
    match policy::of_flow(core, tables, packet, table.both(number)) {
        Ok(Some(rules)) => table.set_rules(number, rules),
        Ok(None) => {}
        Err(Denied { reason, rules }) => {
            let Entry { ingress, adjacency, .. } = table.both(number)[0];
            let epoch = core.epoch(tables, ingress, adjacency);
            table.set_cut(number, rules, reason, epoch);
            if FlowTable::<F>::direction(number) == Direction::Reply {
                table.keep(number, core.now_ms);
            }
            return Revalidated::Drop(reason);
        }
    }
    let is_reply = FlowTable::<F>::direction(number) == Direction::Reply;
    let way = if is_reply && is_of_gateway(table.both(number)) {
        HERE
    } else {
        let new_dst = table.entry(number).new_dst;
        match route::find::<F>(core, tables, &new_dst) {
            Ok(way) => way,
            Err(reason) => {
                error::unreachable(core, tables, packet);
                return Revalidated::Drop(reason);
            }
        }
    };
    // Before it counts as an answer.
    if sctp::is_corrupt(table.entry(number), packet) {
        return Revalidated::Drop(DropReason::BadSctpChecksum);
    }
    let epoch = core.epoch(tables, packet.ingress, way);
    let mut service_epoch = tables.service_epoch(service);
    if service_changed && !is_destination_of(tables, service, &table.both(number)[0].key) {
        // The address or port is another Service's by now. The connection goes
        // on, but who has the address is not told by its own Service's epoch.
        service_epoch = service_epoch.wrapping_sub(1);
    }
    let entry = table.entry_mut(number);
    entry.adjacency = way;
    entry.epoch = epoch;
    entry.service_epoch = service_epoch;
    entry.ingress = packet.ingress;
    if is_reply {
        table.answered(number);
    }
    Revalidated::Keeps
}

/// True when a flow's destination and endpoint are still what they were.
fn is_served<F: Ip>(table: &FlowTable<F>, tables: &Tables, number: u32) -> bool {
    let original = &table.both(number)[0];
    let is_vip = service::is_service_address::<F>(tables, &original.key.dst);
    // A destination that has become a VIP is translated from now on, one that is
    // none any more is not.
    if is_vip != (original.service != ServiceId::NONE) {
        return false;
    }
    !is_vip
        || may_connect(tables, &original.key)
            && !backend_is_lost(tables, table.backend(number), original.key.protocol)
}

/// True when a flow would go on if it were looked at again.
pub fn is_live<F: Ip>(core: &Core, table: &FlowTable<F>, tables: &Tables, number: u32) -> bool {
    is_served(table, tables, number) && steer::is_own(core, tables, table.both(number))
}

/// True when a flow's destination is its Service's, or nobody's and it has none.
fn is_destination_of<F: Ip>(tables: &Tables, service: ServiceId, original: &Key<F>) -> bool {
    let Key { dst, dst_port, protocol, .. } = *original;
    let frontend = FrontendKey { addr: dst, l4_port: dst_port, protocol };
    service == ServiceId::NONE
        || F::of(tables).frontends.get(&frontend).is_some_and(|found| found.service == service)
}

/// True when a flow's client may (still) connect to its destination.
fn may_connect<F: Ip>(tables: &Tables, original: &Key<F>) -> bool {
    let Key { src, dst, dst_port, protocol, .. } = *original;
    let frontend = FrontendKey { addr: dst, l4_port: dst_port, protocol };
    let frontend = F::of(tables).frontends.get(&frontend);
    frontend.is_none_or(|frontend| balance::is_allowed(frontend, &src))
}

/// True when a flow must leave its backend. UDP leaves one that no longer
/// serves; TCP and SCTP stay while the endpoint is known.
fn backend_is_lost(tables: &Tables, backend: BackendId, protocol: u8) -> bool {
    match tables.backends.get(backend.0) {
        BackendState::Ready | BackendState::Draining => false,
        BackendState::NotReady => protocol == l4::UDP,
        BackendState::Gone => true,
    }
}

/// Removes a flow.
pub fn end<F: Ip>(core: &Core, table: &mut FlowTable<F>, number: u32) {
    table.remove(number);
    core.counters.flows_removed[F::INDEX].add(1);
}
