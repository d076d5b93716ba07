//! Source addresses and ports that bring the replies back to this gateway, and
//! to this worker.

use crate::core::Core;
use crate::flow::{FlowTable, Key};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::service::Target;
use crate::stages::steer;
use crate::wire::ip::Ip;
use crate::wire::l4::Kind;
use sluice_tables::{NatMode, SnatPool, Tables};

/// Random choices tried before the search in order.
const RANDOM_TRIES: usize = 16;
/// Ports looked at in order after that.
const SCAN: u32 = 1024;
/// Random choices until one brings replies to this worker: of 64 workers, four
/// in so many are its own.
const OWNER_TRIES: usize = 256;

/// Whether a client's address is replaced on the way to a server. Those of the
/// cluster always are, pods and nodes: a node would send the reply straight back
/// to them. So is everyone on the way to a server that is no pod: nothing routes
/// its replies here.
fn is_needed<F: Ip>(tables: &Tables, packet: &Packet<F>, server: &F::Addr) -> bool {
    let family = F::of(tables);
    family.snat.mode == NatMode::Snat
        || packet.ingress.vtep().is_some()
        || family.pod_node(server).is_none()
}

/// What a server may know a client by.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<F: Ip> {
    /// The number of the pool's address and port; `None` for the client's own
    /// address.
    choice: Option<u32>,
    /// The tuple of the replies.
    pub key: Key<F>,
    /// Its hash.
    pub hash: u64,
}

impl<F: Ip> Proposal<F> {
    /// True for an address of the pool.
    pub fn is_of_pool(&self) -> bool {
        self.choice.is_some()
    }
}

/// What the server of a packet may know its client by. Whether that is free is
/// told by [`allocate`]: the bucket that knows is asked for here, and other
/// work fits in between.
///
/// # Errors
/// `NoSnatAddress`, `SnatPortsExhausted`.
#[inline(always)]
pub fn propose<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
    target: &Target<F>,
) -> Result<Proposal<F>, DropReason> {
    let key = &packet.key;
    let server = (target.addr, target.l4_port);
    if target.is_backend() && is_needed(tables, packet, &target.addr) {
        return draw(core, table, tables, server, key.protocol);
    }
    let own = proposal(table, None, server, (key.src, key.src_port), key.protocol);
    table.prefetch_bucket(own.hash);
    Ok(own)
}

/// Draws an address and a port at random (RFC 6056 section 3.3.1), whose port
/// names this worker as the owner.
#[inline]
fn draw<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    server: (F::Addr, u16),
    protocol: u8,
) -> Result<Proposal<F>, DropReason> {
    let pool = &F::of(tables).snat;
    let count = pool.addresses.len() as u32;
    if count == 0 {
        return Err(DropReason::NoSnatAddress);
    }
    let ports = ports::<F>(pool);
    let choice = core.random.below(count * ports);
    let port = own_port(core, tables, pool.port_min, ports, choice % ports)
        .ok_or(DropReason::SnatPortsExhausted)?;
    let addr = pool.addresses[(choice / ports) as usize];
    let proposal = proposal(table, Some(choice), server, (addr, port), protocol);
    table.prefetch_bucket(proposal.hash);
    Ok(proposal)
}

/// The proposal, if its tuple is free, or another whose is. A port is taken per
/// destination: the same one serves many.
///
/// # Errors
/// `SnatPortsExhausted`, `FlowCollision`.
#[inline(always)]
pub fn allocate<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
    target: &Target<F>,
    proposed: Proposal<F>,
) -> Result<Proposal<F>, DropReason> {
    if !table.contains(&proposed.key, proposed.hash) {
        return Ok(proposed);
    }
    let Some(choice) = proposed.choice else {
        return another_port(core, table, tables, packet, &proposed.key);
    };
    search(core, table, tables, target, &proposed.key, choice).ok_or_else(|| {
        table.loads().of_service(target.service).snat_refused.up(1);
        DropReason::SnatPortsExhausted
    })
}

/// Another port of a client's own address: it has spoken from the same one to
/// the same server by another VIP, or without one. Random (RFC 6056), and one
/// whose replies come to this worker.
#[cold]
fn another_port<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
    taken: &Key<F>,
) -> Result<Proposal<F>, DropReason> {
    let pool = &F::of(tables).snat;
    // Other protocols have no port that could be another; 0 is none.
    if !matches!(packet.ip.l4.kind, Kind::Tcp | Kind::Udp) || pool.port_min == 0 {
        return Err(DropReason::FlowCollision);
    }
    let mut tries = 0;
    for _ in 0..OWNER_TRIES {
        let dst_port = pool.port_min + core.random.below(ports::<F>(pool)) as u16;
        let key = Key { dst_port, ..*taken };
        if core.mesh.workers() > 1 && steer::owner_of(tables, &key) != core.worker {
            continue;
        }
        let hash = table.hash(&key);
        if !table.contains(&key, hash) {
            return Ok(Proposal { choice: None, key, hash });
        }
        tries += 1;
        if tries == RANDOM_TRIES {
            break;
        }
    }
    Err(DropReason::FlowCollision)
}

/// Tries other random tuples, then many in order.
#[cold]
fn search<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    target: &Target<F>,
    taken: &Key<F>,
    choice: u32,
) -> Option<Proposal<F>> {
    // With every port in use there is none to search for.
    let capacity = core.counters.snat_capacity[F::INDEX].get();
    let load = table.loads().backend(target.backend);
    if load.is_some_and(|load| u64::from(load.snat.get()) >= capacity) {
        return None;
    }
    let Key { src, src_port, protocol, .. } = *taken;
    for _ in 1..RANDOM_TRIES {
        let next = draw(core, table, tables, (src, src_port), protocol).ok()?;
        if !table.contains(&next.key, next.hash) {
            return Some(next);
        }
    }
    let pool = &F::of(tables).snat;
    let ports = ports::<F>(pool);
    let all = pool.addresses.len() as u32 * ports;
    for step in 1..=SCAN.min(all) {
        let choice = (choice + step) % all;
        let port = pool.port_min + (choice % ports) as u16;
        if tables.owners.of_l4_port(port) != core.worker {
            continue;
        }
        let addr = pool.addresses[(choice / ports) as usize];
        let next = proposal(table, Some(choice), (src, src_port), (addr, port), protocol);
        if !table.contains(&next.key, next.hash) {
            return Some(next);
        }
    }
    None
}

fn proposal<F: Ip>(
    table: &FlowTable<F>,
    choice: Option<u32>,
    server: (F::Addr, u16),
    client: (F::Addr, u16),
    protocol: u8,
) -> Proposal<F> {
    let ((src, src_port), (dst, dst_port)) = (server, client);
    let key = Key { src, dst, src_port, dst_port, protocol };
    Proposal { choice, key, hash: table.hash(&key) }
}

/// Ports of each address of a pool.
fn ports<F: Ip>(pool: &SnatPool<F>) -> u32 {
    u32::from(pool.port_max.saturating_sub(pool.port_min)) + 1
}

/// The first port from `offset` on, wrapping, that names this worker; there is
/// one among any 256, unless there are more workers than slots.
fn own_port(core: &Core, tables: &Tables, min: u16, ports: u32, offset: u32) -> Option<u16> {
    (0..256)
        .map(|step| min + ((offset + step) % ports) as u16)
        .find(|&port| tables.owners.of_l4_port(port) == core.worker)
}

/// Flows to one server that a worker has addresses and ports for.
pub fn capacity<F: Ip>(tables: &Tables, worker: usize) -> u64 {
    let pool = &F::of(tables).snat;
    // Ports below a number whose low byte is a slot.
    let below = |port: u64, slot: u8| (port + 255 - u64::from(slot)) / 256;
    let own = (0..=u8::MAX).filter(|&slot| tables.owners.of_slot(slot) == worker).map(|slot| {
        below(u64::from(pool.port_max) + 1, slot) - below(u64::from(pool.port_min), slot)
    });
    pool.addresses.len() as u64 * own.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tables::V4;
    use std::sync::Arc;

    #[test]
    fn the_capacity_is_that_of_a_workers_own_ports() {
        for (port_min, port_max) in [(1024, 29_999), (2000, 2255), (2001, 2256), (1, u16::MAX)] {
            let mut tables = Tables::empty(3);
            let addresses = vec![[10, 0, 0, 1], [10, 0, 0, 2]];
            let pool = SnatPool { addresses, port_min, port_max, ..SnatPool::default() };
            tables.v4.snat = Arc::new(pool);
            for worker in 0..3 {
                let own = |port: &u16| tables.owners.of_l4_port(*port) == worker;
                let counted = (port_min..=port_max).filter(own).count() as u64 * 2;
                assert_eq!(capacity::<V4>(&tables, worker), counted, "{port_min}, {worker}");
            }
        }
    }
}
