//! Which endpoint gets a new connection of a Service that asks for more than a
//! choice by hash.

use crate::affinity::Client;
use crate::core::Core;
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::wire::ip::Ip;
use sluice_tables::{BackendRef, BackendSet, Frontend, FrontendRules, Locality, Tables, hash};

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
    tables: &Tables,
    packet: &Packet<F>,
    frontend: &Frontend<F>,
) -> Result<BackendRef<F>, DropReason> {
    let key = &packet.key;
    if let Some(rules) = &frontend.rules {
        return by_rules(core, tables, packet, (frontend, rules));
    }
    let hash = hash::connection(
        key.src.as_ref(),
        key.src_port,
        key.dst.as_ref(),
        key.dst_port,
        key.protocol,
    );
    frontend.backends.choose(hash).copied().ok_or(DropReason::NoBackend)
}

fn by_rules<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    packet: &Packet<F>,
    (frontend, rules): (&Frontend<F>, &FrontendRules<F>),
) -> Result<BackendRef<F>, DropReason> {
    let key = &packet.key;
    let near = nearest(tables, packet, frontend, &rules.locality)?;
    let Some(timeout_ms) = rules.affinity_ms else {
        let hash = hash::connection(
            key.src.as_ref(),
            key.src_port,
            key.dst.as_ref(),
            key.dst_port,
            key.protocol,
        );
        return near.choose(hash).copied().ok_or(DropReason::NoBackend);
    };
    let client = Client::new(frontend.service, F::to_ip(key.src));
    let known = core.affinities.find(&client, core.now).and_then(|visit| {
        let (addr, l4_port) = visit.endpoint();
        near.find(&F::from_ip(addr)?, l4_port).copied()
    });
    let chosen = match known {
        Some(backend) => backend,
        None => {
            // By the client alone, so that workers agree before they are told.
            let hash = hash::connection(key.src.as_ref(), 0, &[], 0, 0);
            near.choose(hash).copied().ok_or(DropReason::NoBackend)?
        }
    };
    let endpoint = (F::to_ip(chosen.addr), chosen.l4_port);
    let (news, forgets) = core.affinities.remember(client, endpoint, core.now, timeout_ms);
    core.counters.affinities_forgotten.add(u64::from(forgets));
    if let Some(visit) = news {
        let lost = core.mesh.tell_of_visit(visit);
        core.counters.affinity_news_lost.add(lost);
    }
    Ok(chosen)
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
