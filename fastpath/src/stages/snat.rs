//! Source addresses and ports that bring the replies back to this gateway, and
//! to this worker.

use crate::core::Core;
use crate::flow::{FlowTable, Key};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::service::Target;
use crate::wire::ip::Ip;
use sluice_tables::{NatMode, SnatPool, Tables};

/// Random choices tried before the search in order.
const RANDOM_TRIES: usize = 16;
/// Ports looked at in order after that.
const SCAN: u32 = 1024;

/// Whether a client's address is replaced on the way to a server. Pods always
/// are: their node would send the reply straight back to them. So is everyone
/// on the way to a server that is no pod: nothing routes its replies here.
fn is_needed<F: Ip>(tables: &Tables, client: &F::Addr, server: &F::Addr) -> bool {
    let family = F::of(tables);
    family.snat.mode == NatMode::Snat
        || family.pod_node(client).is_some()
        || family.pod_node(server).is_none()
}

/// What stands in for a client towards one server.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<F: Ip> {
    choice: u32,
    /// The tuple of the replies.
    pub reply: Key<F>,
    /// Its hash.
    pub hash: u64,
}

/// What may stand in for a packet's client, if anything has to. Whether it is
/// free is told by [`allocate`]: the bucket that knows is asked for here, and
/// other work fits in between.
///
/// # Errors
/// `NoSnatAddress`, `SnatPortsExhausted`.
#[inline]
pub fn propose<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
    target: &Target<F>,
) -> Result<Option<Proposal<F>>, DropReason> {
    let key = &packet.key;
    if !target.is_backend() || !is_needed::<F>(tables, &key.src, &target.addr) {
        return Ok(None);
    }
    draw(core, table, tables, (target.addr, target.l4_port), key.protocol).map(Some)
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
    let proposal = proposal(table, choice, server, (addr, port), protocol);
    table.prefetch_bucket(proposal.hash);
    Ok(proposal)
}

/// The proposal, if its tuple is free, or another whose is. A port is taken per
/// destination: the same one serves many.
///
/// # Errors
/// `SnatPortsExhausted`.
#[inline]
pub fn allocate<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    proposed: Option<Proposal<F>>,
) -> Result<Option<Proposal<F>>, DropReason> {
    match proposed {
        Some(taken) if table.contains(&taken.reply, taken.hash) => {
            search(core, table, tables, taken).map(Some)
        }
        free => Ok(free),
    }
}

/// Tries other random tuples, then many in order.
#[cold]
fn search<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    proposed: Proposal<F>,
) -> Result<Proposal<F>, DropReason> {
    let Key { src, src_port, protocol, .. } = proposed.reply;
    for _ in 1..RANDOM_TRIES {
        let next = draw(core, table, tables, (src, src_port), protocol)?;
        if !table.contains(&next.reply, next.hash) {
            return Ok(next);
        }
    }
    let pool = &F::of(tables).snat;
    let ports = ports::<F>(pool);
    let all = pool.addresses.len() as u32 * ports;
    for step in 1..=SCAN.min(all) {
        let choice = (proposed.choice + step) % all;
        let port = pool.port_min + (choice % ports) as u16;
        if tables.owners.of_l4_port(port) != core.worker {
            continue;
        }
        let addr = pool.addresses[(choice / ports) as usize];
        let next = proposal(table, choice, (src, src_port), (addr, port), protocol);
        if !table.contains(&next.reply, next.hash) {
            return Ok(next);
        }
    }
    Err(DropReason::SnatPortsExhausted)
}

fn proposal<F: Ip>(
    table: &FlowTable<F>,
    choice: u32,
    server: (F::Addr, u16),
    client: (F::Addr, u16),
    protocol: u8,
) -> Proposal<F> {
    let ((src, src_port), (dst, dst_port)) = (server, client);
    let reply = Key { src, dst, src_port, dst_port, protocol };
    Proposal { choice, reply, hash: table.hash(&reply) }
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
