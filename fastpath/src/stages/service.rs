//! Services: from a VIP's port to an endpoint, as kube-proxy does it
//! (kubernetes.io/docs/reference/networking/virtual-ips).

use crate::core::Core;
use crate::flow::{FlowTable, Key};
use crate::journey::Verdict;
use crate::packet::Packet;
use crate::reason::DropReason;
use crate::stages::{balance, error, steer};
use crate::wire::crc32c;
use crate::wire::ip::Ip;
use crate::wire::l4::{self, Kind, flags};
use crate::wire::sctp::Chunk;
use sluice_tables::{BackendId, BackendRef, FrontendKey, LocalAddress, ServiceId, Tables, VtepId};

/// What a destination turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination<F: Ip> {
    /// Somebody else's: routed as it is.
    Elsewhere,
    /// A Service: translated to this endpoint; and the milliseconds of its session
    /// affinity.
    Backend(ServiceId, BackendRef<F>, u32),
    /// The gateway itself answers: an echo request to it or to a VIP, or what L7 listens
    /// for.
    Here,
    /// Refused towards the sender, and dropped.
    Refused(DropReason),
    /// Dropped in silence.
    Dropped(DropReason),
}

/// Where a new flow goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<F: Ip> {
    /// The Service; [`ServiceId::NONE`] for what is routed as it is.
    pub service: ServiceId,
    /// Its endpoint; [`BackendId::NONE`] for what is routed as it is.
    pub backend: BackendId,
    /// The address that packets go to.
    pub addr: F::Addr,
    /// The port, or what a tuple has in its place.
    pub l4_port: u16,
    /// Milliseconds for which the client stays with the endpoint; 0: no longer than
    /// the flow.
    pub affinity_ms: u32,
}

impl<F: Ip> Target<F> {
    /// True for an endpoint of a Service.
    pub fn is_backend(&self) -> bool {
        self.service != ServiceId::NONE
    }
}

/// Finds out where a new flow goes. What is refused is answered.
///
/// # Errors
/// What becomes of the packet if it goes no further.
pub fn resolve<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
) -> Result<Target<F>, Verdict> {
    let destination = find(core, table, tables, packet);
    // Not answered: nobody may have sent it like this.
    if matches!(destination, Destination::Refused(_)) && is_corrupt(packet) {
        return Err(Verdict::Drop(DropReason::BadSctpChecksum));
    }
    let reason = match destination {
        Destination::Backend(service, BackendRef { id, addr, l4_port, .. }, affinity_ms) => {
            return Ok(Target { service, backend: id, addr, l4_port, affinity_ms });
        }
        Destination::Elsewhere => {
            let (addr, l4_port) = (packet.key.dst, packet.key.dst_port);
            let (service, backend) = (ServiceId::NONE, BackendId::NONE);
            return Ok(Target { service, backend, addr, l4_port, affinity_ms: 0 });
        }
        Destination::Here => return Err(Verdict::Local),
        Destination::Refused(reason) => reason,
        Destination::Dropped(reason) => return Err(Verdict::Drop(reason)),
    };
    error::refuse(core, tables, packet);
    Err(Verdict::Drop(reason))
}

/// TCP or SCTP that does not begin a connection, where only one that does may
/// pass.
fn is_stray<F: Ip>(packet: &Packet<F>) -> bool {
    match packet.ip.l4.kind {
        Kind::Tcp => packet.ip.l4.tcp_flags & (flags::SYN | flags::ACK) != flags::SYN,
        Kind::Sctp(chunk) => chunk != Chunk::Init,
        _ => false,
    }
}

/// SCTP whose checksum is wrong.
fn is_corrupt<F: Ip>(packet: &Packet<F>) -> bool {
    matches!(packet.ip.l4.kind, Kind::Sctp(_)) && !crc32c::is_right(packet.l4())
}

/// True for an address at which Services are reached: a VIP, or one of the
/// gateway's own, which has node ports.
#[inline]
pub fn is_service_address<F: Ip>(tables: &Tables, addr: &F::Addr) -> bool {
    let family = F::of(tables);
    family.vips.get(addr).is_some() || matches!(family.local.get(addr), Some(LocalAddress::Port(_)))
}

/// The node that a packet came from, if its source is the node's own tunnel device:
/// whoever sent it is hidden behind the node.
#[inline]
pub fn masquerading_node<F: Ip>(tables: &Tables, packet: &Packet<F>) -> Option<VtepId> {
    let sender = packet.ingress.vtep()?;
    (F::of(tables).tunnel_devices.get(&packet.key.src) == Some(&sender)).then_some(sender)
}

/// Finds out what a new flow's destination is.
fn find<F: Ip>(
    core: &mut Core,
    table: &FlowTable<F>,
    tables: &Tables,
    packet: &Packet<F>,
) -> Destination<F> {
    let key = &packet.key;
    let family = F::of(tables);
    let frontend = FrontendKey { addr: key.dst, l4_port: key.dst_port, protocol: key.protocol };
    let kind = packet.ip.l4.kind;
    if matches!(kind, Kind::Tcp | Kind::Udp | Kind::Sctp(_))
        && let Some(frontend) = family.frontends.get(&frontend)
    {
        if !balance::is_allowed(frontend, &key.src) {
            return Destination::Dropped(DropReason::SourceNotAllowed);
        }
        if frontend.backends.backends().is_empty() {
            return Destination::Refused(DropReason::NoBackend);
        }
        if is_stray(packet) {
            return Destination::Refused(DropReason::NoConnection);
        }
        // Not translated either, and a client that has not come is not remembered.
        if is_corrupt(packet) {
            return Destination::Dropped(DropReason::BadSctpChecksum);
        }
        return match balance::choose(core, table, tables, packet, frontend) {
            Ok(backend) => {
                let affinity_ms = frontend.rules.as_ref().and_then(|rules| rules.affinity_ms);
                Destination::Backend(frontend.service, backend, affinity_ms.unwrap_or(0))
            }
            Err(DropReason::NoBackend) => Destination::Refused(DropReason::NoBackend),
            Err(reason) => Destination::Dropped(reason),
        };
    }
    if !family.listeners.is_empty() && is_listened_for(tables, packet) {
        return Destination::Here;
    }
    if family.vips.get(&key.dst).is_some() {
        return here(kind, DropReason::VipPortUnused);
    }
    match family.local.get(&key.dst) {
        Some(LocalAddress::Snat) => match kind {
            Kind::Tcp | Kind::Sctp(_) => Destination::Refused(DropReason::NoConnection),
            Kind::EchoRequest => Destination::Here,
            Kind::IcmpError => Destination::Dropped(DropReason::IcmpErrorNoFlow),
            _ => Destination::Dropped(DropReason::NoSnatFlow),
        },
        Some(LocalAddress::Port(_)) => here(kind, DropReason::LocalPortUnused),
        Some(LocalAddress::Kernel(_)) => Destination::Dropped(DropReason::KernelAddress),
        None => Destination::Elsewhere,
    }
}

/// True for TCP to what L7 listens for, and for errors about what it has sent.
fn is_listened_for<F: Ip>(tables: &Tables, packet: &Packet<F>) -> bool {
    let listeners = &F::of(tables).listeners;
    let listens = |key: &Key<F>| listeners.contains_key(&(key.dst, key.dst_port));
    match packet.ip.l4.kind {
        Kind::Tcp => listens(&packet.key),
        Kind::IcmpError => steer::quoted_flow(packet).is_some_and(|key| {
            key.protocol == l4::TCP && key.dst == packet.key.dst && listens(&key)
        }),
        _ => false,
    }
}

/// An address that is ours, and no Service's port: never routed onwards.
fn here<F: Ip>(kind: Kind, unused: DropReason) -> Destination<F> {
    match kind {
        Kind::EchoRequest => Destination::Here,
        Kind::IcmpError => Destination::Dropped(DropReason::IcmpErrorNoFlow),
        Kind::Tcp | Kind::Udp | Kind::Sctp(_) => Destination::Refused(unused),
        _ => Destination::Dropped(unused),
    }
}
