//! Services: from a VIP's port to an endpoint, as kube-proxy does it
//! (kubernetes.io/docs/reference/networking/virtual-ips).

use crate::packet::Packet;
use crate::reason::DropReason;
use crate::wire::ip::Ip;
use crate::wire::l4::Kind;
use sluice_tables::{BackendRef, FrontendKey, LocalAddress, ServiceId, Tables, hash};

/// What a destination turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<F: Ip> {
    /// Somebody else's: routed as it is.
    Elsewhere,
    /// A Service: translated to this endpoint.
    Backend(ServiceId, BackendRef<F>),
    /// The gateway itself answers: an echo request to it or to a VIP.
    Here,
    /// Refused towards the sender, and dropped.
    Refused(DropReason),
    /// Dropped in silence.
    Dropped(DropReason),
}

/// Finds out what a new flow's destination is.
pub fn find<F: Ip>(tables: &Tables, packet: &Packet<F>) -> Destination<F> {
    let key = &packet.key;
    let family = F::of(tables);
    let frontend = FrontendKey { addr: key.dst, l4_port: key.dst_port, protocol: key.protocol };
    let kind = packet.ip.l4.kind;
    if matches!(kind, Kind::Tcp | Kind::Udp)
        && let Some(frontend) = family.frontends.get(&frontend)
    {
        let hash = hash::connection(
            key.src.as_ref(),
            key.src_port,
            key.dst.as_ref(),
            key.dst_port,
            key.protocol,
        );
        return match frontend.backends.choose(hash) {
            Some(backend) => Destination::Backend(frontend.service, *backend),
            None => Destination::Refused(DropReason::NoBackend),
        };
    }
    if family.vips.get(&key.dst).is_some() {
        return here(kind, DropReason::VipPortUnused);
    }
    match family.local.get(&key.dst) {
        Some(LocalAddress::Snat) => match kind {
            Kind::Tcp => Destination::Refused(DropReason::NoConnection),
            Kind::EchoRequest => Destination::Here,
            Kind::IcmpError => Destination::Dropped(DropReason::IcmpErrorNeedsNat),
            _ => Destination::Dropped(DropReason::NoSnatFlow),
        },
        Some(LocalAddress::Port(_)) => here(kind, DropReason::LocalPortUnused),
        Some(LocalAddress::Kernel(_)) => Destination::Dropped(DropReason::KernelAddress),
        None => Destination::Elsewhere,
    }
}

/// An address that is ours, and no Service's port: never routed onwards.
fn here<F: Ip>(kind: Kind, unused: DropReason) -> Destination<F> {
    match kind {
        Kind::EchoRequest => Destination::Here,
        Kind::IcmpError => Destination::Dropped(DropReason::IcmpErrorNeedsNat),
        Kind::Tcp | Kind::Udp => Destination::Refused(unused),
        _ => Destination::Dropped(unused),
    }
}
