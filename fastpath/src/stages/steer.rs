//! Whose flow it is: a pure function of the tuple and of slowly changing
//! tables, the same for both directions whatever NAT does.

use crate::core::Core;
use crate::flow::{Entry, Key};
use crate::journey::Verdict;
use crate::packet::Packet;
use crate::stages::{conntrack, icmp};
use crate::wire::be16;
use crate::wire::ip::{Ip, Quoted};
use crate::wire::l4::{self, Kind};
use sluice_tables::{LocalAddress, Tables};

/// Lets a packet go on whose flow is this worker's; that of an ICMP error is the
/// one that it speaks of. One that was handed over has been asked already.
///
/// # Errors
/// The handoff to the owner.
pub fn check<F: Ip>(
    core: &Core,
    tables: &Tables,
    packet: &Packet<F>,
    handed: bool,
) -> Result<(), Verdict> {
    if handed || core.mesh.workers() == 1 {
        return Ok(());
    }
    let owner = owner_of(tables, &quoted_flow(packet).unwrap_or(packet.key));
    if owner == core.worker { Ok(()) } else { Err(Verdict::Handoff(owner)) }
}

/// The flow that an ICMP error speaks of, by the tuple of packets that go the
/// error's way: the quoted packet's, seen from its other end. `None` for other
/// packets, and where nothing is quoted that can be told from others: ports of
/// TCP, UDP or SCTP (RFC 9260 section 3.1), the identifier of an echo.
pub fn quoted_flow<F: Ip>(packet: &Packet<F>) -> Option<Key<F>> {
    if packet.ip.l4.kind != Kind::IcmpError {
        return None;
    }
    let quote = packet.frame.data().get(usize::from(packet.ip.l4_offset) + icmp::HEADER_LEN..)?;
    let Quoted { src, dst, protocol, l4_offset } = F::quoted(quote)?;
    let header = quote.get(l4_offset..)?;
    let (src_port, dst_port) = if matches!(protocol, l4::TCP | l4::UDP | l4::SCTP) {
        let ports = header.first_chunk::<4>()?;
        (be16(ports, 0), be16(ports, 2))
    } else if protocol == F::ICMP {
        let echo = header.first_chunk::<6>()?;
        match l4::icmp_kind(F::IS_V4, echo[0]) {
            Kind::EchoRequest | Kind::EchoReply => (be16(echo, 4), be16(echo, 4)),
            _ => return None,
        }
    } else {
        return None;
    };
    Some(Key { src, dst, src_port, dst_port, protocol }.reversed())
}

/// True when a flow is still this worker's, whichever way its packets go: the
/// tables may have changed since it began.
pub fn is_own<F: Ip>(core: &Core, tables: &Tables, flow: &[Entry<F>; 2]) -> bool {
    let is_mine = |entry: &Entry<F>| owner_of(tables, &entry.key) == core.worker;
    // What the gateway sends itself is not steered.
    core.mesh.workers() == 1
        || is_mine(&flow[1]) && (conntrack::is_of_gateway(flow) || is_mine(&flow[0]))
}

/// The worker that owns the flow of a tuple.
///
/// A packet to the SNAT pool names its owner in the port. A flow to a VIP or a
/// node port goes by the client's endpoint; so does a flow with one end in the cluster and one
/// outside, since NAT leaves the outside end alone. The rest goes by both ends.
pub fn owner_of<F: Ip>(tables: &Tables, key: &Key<F>) -> usize {
    let family = F::of(tables);
    let source = (key.src.as_ref(), key.src_port);
    let destination = (key.dst.as_ref(), key.dst_port);
    let local = family.local.get(&key.dst);
    if local == Some(&LocalAddress::Snat) {
        return tables.owners.of_l4_port(key.dst_port);
    }
    if local.is_some() || family.vips.get(&key.dst).is_some() {
        return tables.owners.of_endpoint(source.0, source.1);
    }
    match (family.pod_node(&key.src).is_some(), family.pod_node(&key.dst).is_some()) {
        (false, true) => tables.owners.of_endpoint(source.0, source.1),
        (true, false) => tables.owners.of_endpoint(destination.0, destination.1),
        _ => tables.owners.of_pair(source, destination),
    }
}
