//! From a destination to a way out: the route, and a row of headers that is made
//! when first needed.

use crate::adjacency::{self, Adjacency, AdjacencyId, Target};
use crate::core::Core;
use crate::neighbor::{NeighborId, Role};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::error;
use crate::wire::ethernet;
use crate::wire::ip::Ip;
use sluice_tables::{Ends, PortId, RouteTarget, Tables, V4, V6, VtepId};
use std::net::IpAddr;

/// Lets a packet go on that has a hop left to take; the sender of another is
/// told.
///
/// # Errors
/// `TtlExceeded`.
pub fn take_hop<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    packet: &Packet<F>,
) -> Result<(), DropReason> {
    if packet.ip.ttl > 1 {
        return Ok(());
    }
    error::time_exceeded(core, tables, packet);
    Err(DropReason::TtlExceeded)
}

/// The way out for a packet to `dst`. The sender is told where there is none, and
/// of the size of one that it does not fit and may not be fragmented for.
///
/// # Errors
/// The reason to drop it.
pub fn choose<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    packet: &Packet<F>,
    dst: &F::Addr,
) -> Result<AdjacencyId, DropReason> {
    let way = match find::<F>(core, tables, dst) {
        Ok(way) => way,
        Err(reason) => {
            error::unreachable(core, tables, packet);
            return Err(reason);
        }
    };
    match core.adjacencies.row(way) {
        Some(row) if packet.ip.len > row.mtu && packet.ip.dont_fragment => {
            let mtu = row.mtu;
            error::too_big(core, tables, packet, mtu);
            Err(DropReason::TooBig)
        }
        _ => Ok(way),
    }
}

/// The way out for a destination.
///
/// # Errors
/// The reason to drop packets that go there.
pub fn find<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    dst: &F::Addr,
) -> Result<AdjacencyId, DropReason> {
    match F::of(tables).route(dst) {
        Some(RouteTarget::Connected(port)) => {
            neighbor(core, tables, port, F::to_ip(*dst), Role::Host)
        }
        Some(RouteTarget::Via(port, next_hop)) => {
            neighbor(core, tables, port, F::to_ip(next_hop), Role::NextHop)
        }
        Some(RouteTarget::Tunnel(vtep)) => tunnel(core, tables, vtep, F::IS_V4),
        Some(RouteTarget::Blackhole) => Err(DropReason::Blackhole),
        None => Err(DropReason::NoRoute),
    }
}

/// The row of a neighbor.
fn neighbor(
    core: &mut Core,
    tables: &Tables,
    port: PortId,
    addr: IpAddr,
    role: Role,
) -> Result<AdjacencyId, DropReason> {
    let id = neighbor_number(core, port, addr, role)?;
    let epoch = core.route_epoch(tables);
    let target = Target::Neighbor(id);
    if let Some(row) = current(core, target, epoch) {
        return Ok(row);
    }
    let port = tables.port(port).ok_or(DropReason::NoRoute)?;
    let ethertype = if addr.is_ipv4() { ethernet::IPV4 } else { ethernet::IPV6 };
    Ok(install(core, target, Adjacency::ethernet(port, id, ethertype, epoch)))
}

/// The row of a node's tunnel, over the underlay that carries the family.
///
/// # Errors
/// The reason to drop packets that go there.
pub fn tunnel(
    core: &mut Core,
    tables: &Tables,
    vtep: VtepId,
    inner_v4: bool,
) -> Result<AdjacencyId, DropReason> {
    let epoch = core.route_epoch(tables);
    let target = Target::Tunnel(vtep, inner_v4);
    if let Some(row) = current(core, target, epoch) {
        return Ok(row);
    }
    let unreachable = DropReason::TunnelUnreachable;
    let local = tables.local.vxlan.as_ref().ok_or(unreachable)?;
    let peer = tables.vtep(vtep).ok_or(unreachable)?;
    let ethertype = if inner_v4 { ethernet::IPV4 } else { ethernet::IPV6 };
    let ends = local.ends(peer, inner_v4).ok_or(unreachable)?;
    let mut row = match ends {
        Ends::V4(own, to) => {
            let (port, id) = underlay::<V4>(core, tables, &to)?;
            let port = tables.port(port).ok_or(unreachable)?;
            Adjacency::vxlan::<V4>(port, id, local, peer, (own, to), ethertype, epoch)
        }
        Ends::V6(own, to) => {
            let (port, id) = underlay::<V6>(core, tables, &to)?;
            let port = tables.port(port).ok_or(unreachable)?;
            Adjacency::vxlan::<V6>(port, id, local, peer, (own, to), ethertype, epoch)
        }
    };
    row.policy_group = sluice_tables::policy_group(Some(vtep));
    row.set_path_mtu(core.path_mtus.get(vtep, ends.node()));
    Ok(install(core, target, row))
}

/// Largest inner IP packet that the tunnel to a node carries: known before its
/// next hop is.
pub fn tunnel_mtu(core: &Core, tables: &Tables, vtep: VtepId, inner_v4: bool) -> Option<u16> {
    let local = tables.local.vxlan.as_ref()?;
    let to = tunnel_end(tables, vtep, inner_v4)?;
    let configured = adjacency::tunnel_mtu(tables.port(local.port)?, local, to.is_ipv4());
    let path = core.path_mtus.get(vtep, to);
    Some(adjacency::limited_mtu(configured, path, to.is_ipv4(), inner_v4))
}

/// The underlay address that the tunnel to a node leads to, for inner packets of
/// IPv4 or IPv6.
pub fn tunnel_end(tables: &Tables, vtep: VtepId, inner_v4: bool) -> Option<IpAddr> {
    let local = tables.local.vxlan.as_ref()?;
    Some(local.ends(tables.vtep(vtep)?, inner_v4)?.node())
}

/// The neighbor that leads to an underlay address. A tunnel in a tunnel is no
/// way.
fn underlay<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    addr: &F::Addr,
) -> Result<(PortId, NeighborId), DropReason> {
    let (port, next_hop) = match F::of(tables).route(addr) {
        Some(RouteTarget::Connected(port)) => (port, *addr),
        Some(RouteTarget::Via(port, next_hop)) => (port, next_hop),
        _ => return Err(DropReason::TunnelUnreachable),
    };
    Ok((port, neighbor_number(core, port, F::to_ip(next_hop), Role::NextHop)?))
}

fn neighbor_number(
    core: &mut Core,
    port: PortId,
    addr: IpAddr,
    role: Role,
) -> Result<NeighborId, DropReason> {
    core.neighbors.find_or_add(port, addr, role, core.now).ok_or(DropReason::NeighborTableFull)
}

fn current(core: &Core, target: Target, epoch: u32) -> Option<AdjacencyId> {
    let id = core.adjacencies.find(target)?;
    (core.adjacencies.row(id)?.epoch == epoch).then_some(id)
}

/// Puts a row into place, with the neighbor's MAC if that is known already.
fn install(core: &mut Core, target: Target, mut row: Adjacency) -> AdjacencyId {
    let neighbor = row.neighbor;
    if let Some(mac) = core.neighbors.get(neighbor).mac {
        row.resolve(mac);
    }
    let id = core.adjacencies.put(target, row);
    let rows = &mut core.neighbors.get_mut(neighbor).rows;
    if !rows.contains(&id) {
        rows.push(id);
    }
    id
}

/// The gateway's address that speaks to whoever is reached by a way out: the
/// port's own (of the subnet of `dst`, if it is in one), or, through a tunnel,
/// the first of the SNAT pool, which the nodes route to the gateway.
pub fn source_address<F: Ip>(
    core: &Core,
    tables: &Tables,
    way: AdjacencyId,
    dst: &F::Addr,
) -> Option<F::Addr> {
    let row = core.adjacencies.row(way)?;
    if row.is_tunnel() {
        return F::of(tables).snat.addresses.first().copied();
    }
    port_address::<F>(tables, row.port, dst)
}

/// The gateway's address on a port: of the subnet of `dst`, else the first.
pub fn port_address<F: Ip>(tables: &Tables, port: PortId, dst: &F::Addr) -> Option<F::Addr> {
    let addresses = F::port_addresses(tables.port(port)?);
    let same_subnet =
        addresses.iter().find(|(addr, len)| crate::wire::ip::in_prefix::<F>(dst, addr, *len));
    same_subnet.or(addresses.first()).map(|(addr, _)| *addr)
}
