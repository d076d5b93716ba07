//! Connection tracking: a packet of a known flow is judged by what was decided
//! for the flow, unless the tables have changed since.

use crate::core::Core;
use crate::flow::state::{next_sctp, next_tcp};
use crate::flow::{Direction, Entry, FlowTable, Key, State};
use crate::journey::Verdict;
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::{error, mss, route, sanity, steer};
use crate::wire::ip::Ip;
use crate::wire::l4::{self, Kind, flags};
use crate::wire::sctp::Chunk;
use crate::wire::{checksum, crc32c};
use sluice_tables::{BackendId, BackendState, FrontendKey, ServiceId, Tables};

/// What became of a flow that was looked at again.
enum Revalidated {
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
    if entry.route_epoch != core.route_epoch(tables)
        || entry.policy_epoch != tables.policy_epoch
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
    if packet.ip.l4.tcp_flags & flags::SYN != 0 {
        mss::clamp(core, tables, packet, way);
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
            // No checksum stays none (RFC 768); one that comes out as 0 is sent
            // as 0xffff, which is the same number.
            if header[6..8] != [0, 0] {
                checksum::apply(header, 6, entry.l4_delta);
                if header[6..8] == [0, 0] {
                    header[6..8].copy_from_slice(&[0xff, 0xff]);
                }
            }
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
/// new connection on the tuple of one that is over (RFC 9293 section 3.6.1).
#[cold]
fn track<F: Ip>(
    core: &Core,
    table: &mut FlowTable<F>,
    packet: &Packet<F>,
    number: u32,
) -> Revalidated {
    let entry = table.entry(number);
    let from_client = FlowTable::<F>::direction(number) == Direction::Original;
    let tcp_flags = packet.ip.l4.tcp_flags;
    let (state, fins) = (entry.state, entry.bits & Entry::<F>::FINS);
    let (next, next_fins) = match packet.ip.l4.kind {
        Kind::Tcp => {
            let is_over = matches!(state, State::TimeWait | State::Close | State::LastAck);
            if is_over && from_client && tcp_flags & (flags::SYN | flags::ACK) == flags::SYN {
                return Revalidated::Ended;
            }
            next_tcp(state, fins, tcp_flags, from_client)
        }
        Kind::Sctp(chunk) => {
            // What arrived corrupt must not leave with a checksum that is right.
            if entry.changes_ports() && !crc32c::is_right(packet.l4()) {
                return Revalidated::Drop(DropReason::BadSctpChecksum);
            }
            let is_over = matches!(state, State::SctpClosed | State::SctpShutdown);
            if is_over && from_client && chunk == Chunk::Init {
                return Revalidated::Ended;
            }
            (next_sctp(state, chunk, from_client), 0)
        }
        Kind::Udp if !from_client => (State::UdpStream, 0),
        _ => (state, fins),
    };
    if (next, next_fins) != (state, fins) {
        table.set_state(number, next, next_fins, core.now_ms);
    }
    Revalidated::Keeps
}

/// Judges a flow again: its tables have changed, or its packets come from
/// elsewhere. NAT and backend stay.
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
    let (service, protocol) = (entry.service, entry.key.protocol);
    let flow = table.both(number);
    let service_changed = entry.service_epoch != tables.service_epoch(service);
    if service_changed {
        let is_vip = F::of(tables).vips.get(&flow[0].key.dst).is_some();
        // A destination that has become a VIP is translated from now on, one
        // that is none any more is not.
        if is_vip != (service != ServiceId::NONE) {
            return Revalidated::Ended;
        }
        if is_vip && backend_is_lost(tables, table.backend(number), protocol) {
            return Revalidated::Ended;
        }
    }
    // Ownership depends on VIPs and pods' ranges: where it has changed, a flow
    // that stays would be on two workers.
    if !steer::is_own(core, tables, flow) {
        return Revalidated::Ended;
    }
    if let Err(reason) = sanity::source_belongs::<F>(tables, packet.ingress, &packet.key.src) {
        return Revalidated::Drop(reason);
    }
    let new_dst = table.entry(number).new_dst;
    let way = match route::find::<F>(core, tables, &new_dst) {
        Ok(way) => way,
        Err(reason) => {
            error::unreachable(core, tables, packet);
            return Revalidated::Drop(reason);
        }
    };
    let route_epoch = core.route_epoch(tables);
    let mut service_epoch = tables.service_epoch(service);
    if service_changed && !is_destination_of(tables, service, &table.both(number)[0].key) {
        // The address or port is another Service's by now. The connection goes
        // on, but who has the address is not told by its own Service's epoch.
        service_epoch = service_epoch.wrapping_sub(1);
    }
    let entry = table.entry_mut(number);
    entry.adjacency = way;
    entry.route_epoch = route_epoch;
    entry.policy_epoch = tables.policy_epoch;
    entry.service_epoch = service_epoch;
    entry.ingress = packet.ingress;
    Revalidated::Keeps
}

/// True when a flow's destination is its Service's, or nobody's and it has none.
fn is_destination_of<F: Ip>(tables: &Tables, service: ServiceId, original: &Key<F>) -> bool {
    let Key { dst, dst_port, protocol, .. } = *original;
    let frontend = FrontendKey { addr: dst, l4_port: dst_port, protocol };
    service == ServiceId::NONE
        || F::of(tables).frontends.get(&frontend).is_some_and(|found| found.service == service)
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
