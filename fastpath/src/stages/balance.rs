//! Which endpoint gets a new connection of a Service that asks for more than a
//! choice by hash.

use crate::affinity::Client;
use crate::core::Core;
use crate::flow::{FlowTable, Key};
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::service::Target;
use crate::wire::ip::Ip;
use sluice_tables::{
    BackendRef, BackendSet, Balance, Frontend, FrontendRules, Locality, Tables, hash,
};

/// Endpoints looked at for the one with the fewest flows.
const LOOKED_AT_MAX: usize = 64;

/// Whether a client may connect at all (`spec.loadBalancerSourceRanges`).
#[inline]
pub fn is_allowed<F: Ip>(frontend: &Frontend<F>, client: &F::Addr) -> bool {
    let rules = frontend.rules.as_deref();
    rules.and_then(|rules| rules.sources.as_deref()).is_none_or(|ranges| ranges.contains(client))
}

/// The endpoint for a connection that this packet begins, by a frontend that has
/// endpoints.
///
/// # Errors
/// `NoLocalEndpoint`, `NoBackend`.
#[inline]
pub fn choose<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
    frontend: &Frontend<F>,
) -> Result<BackendRef<F>, DropReason> {
    let key = &packet.key;
    if let Some(rules) = &frontend.rules {
        return by_rules(core, table, tables, packet, (frontend, rules));
    }
    frontend.backends.choose(hash_of(key)).copied().ok_or(DropReason::NoBackend)
}

/// The hash that chooses an endpoint for a connection.
#[inline]
pub fn hash_of<F: Ip>(key: &Key<F>) -> u64 {
    let Key { src, dst, src_port, dst_port, protocol } = key;
    hash::connection(src.as_ref(), *src_port, dst.as_ref(), *dst_port, *protocol)
}

fn by_rules<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
    (frontend, rules): (&Frontend<F>, &FrontendRules<F>),
) -> Result<BackendRef<F>, DropReason> {
    let key = &packet.key;
    let near = nearest(tables, packet, frontend, &rules.locality)?;
    if rules.affinity_ms.is_none() {
        let hash = hash_of(key);
        return balance(core, table, near, rules.balance, hash).ok_or(DropReason::NoBackend);
    }
    let client = Client::new(frontend.service, F::to_ip(key.src));
    let known = core.affinities.find(&client, core.now).and_then(|visit| {
        let (addr, l4_port) = visit.endpoint();
        near.find(&F::from_ip(addr)?, l4_port).copied()
    });
    match known {
        Some(backend) => Ok(backend),
        None => {
            // By the client alone, so that workers agree before they are told.
            let hash = hash::connection(key.src.as_ref(), 0, &[], 0, 0);
            balance(core, table, near, rules.balance, hash).ok_or(DropReason::NoBackend)
        }
    }
}

/// Remembers where the client of a flow that has begun went, for a Service with
/// session affinity, and tells the other workers.
#[cold]
pub fn remember<F: Ip>(core: &mut Core, client: &F::Addr, target: &Target<F>) {
    let client = Client::new(target.service, F::to_ip(*client));
    let endpoint = (F::to_ip(target.addr), target.l4_port);
    let (news, forgets) = core.affinities.remember(client, endpoint, core.now, target.affinity_ms);
    core.counters.affinities_forgotten.add(u64::from(forgets));
    if let Some(visit) = news {
        let lost = core.mesh.tell_of_visit(visit);
        core.counters.affinity_news_lost.add(lost);
    }
}

/// The endpoints that are nearest to a client.
fn nearest<'a, F: Ip>(
    tables: &Tables,
    packet: &Packet<F>,
    frontend: &'a Frontend<F>,
    locality: &'a Locality<F>,
) -> Result<&'a BackendSet<F>, DropReason> {
    let node = packet.ingress.vtep();
    if let Some(set) = node.and_then(|node| locality.by_node.get(&node)) {
        return Ok(set);
    }
    if locality.node_only {
        return Err(DropReason::NoLocalEndpoint);
    }
    Ok(locality.by_zone.get(&tables.zone_of(node)).unwrap_or(&frontend.backends))
}

fn balance<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    set: &BackendSet<F>,
    how: Balance,
    hash: u64,
) -> Option<BackendRef<F>> {
    match how {
        // Without counts nobody could be told to have fewer.
        _ if !is_counted(table, set) => set.choose(hash).copied(),
        Balance::Consistent => set.choose(hash).copied(),
        Balance::LeastConnections => {
            let all = set.backends();
            // Where many have equally few, nobody is the first for everyone.
            let start = core.random.below(all.len().max(1) as u32) as usize;
            let looked_at = all[start..].iter().chain(&all[..start]).take(LOOKED_AT_MAX);
            looked_at.min_by_key(|backend| load(table, backend)).copied()
        }
        Balance::RandomOfTwo => {
            let [one, two] = [core.random.next(), core.random.next()].map(|hash| set.choose(hash));
            one.into_iter().chain(two).min_by_key(|backend| load(table, backend)).copied()
        }
    }
}

/// True when the flows of all endpoints are counted one by one: numbers are
/// bounded, and the largest one tells for all that are looked at.
fn is_counted<F: Ip>(table: &FlowTable<F>, set: &BackendSet<F>) -> bool {
    let looked_at = set.backends().iter().take(LOOKED_AT_MAX);
    looked_at.map(|backend| backend.id).max().is_none_or(|id| table.loads().backend(id).is_some())
}

/// Flows of an endpoint in proportion to its weight, the new one included.
fn load<F: Ip>(table: &FlowTable<F>, backend: &BackendRef<F>) -> u64 {
    let flows = u64::from(table.connections(backend.id)) + 1;
    (flows << 16) / u64::from(backend.weight.max(1))
}
