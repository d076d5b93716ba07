//! Less is forwarded for a while, where more comes than the worker has time for.
//! Connections that end here lose nothing to that.

use crate::core::Core;
use crate::packet::Packet;
use crate::wire::ip::{Ip, IpInfo};
use crate::wire::l4;
use sluice_tables::Tables;

/// Whether a packet that has come is shed before anything is looked up for it: one that
/// can be seen to go on to somebody else.
#[cold]
pub fn arriving<F: Ip>(core: &mut Core, tables: &Tables, ip: &IpInfo<F>) -> bool {
    let protocol = ip.header.protocol;
    let listener = (ip.dst, ip.header.l4.dst_port);
    matches!(protocol, l4::TCP | l4::UDP | l4::SCTP)
        && core.sheds()
        && !is_own::<F>(tables, &ip.dst)
        && !(protocol == l4::TCP && F::of(tables).listeners.contains_key(&listener))
}

/// Whether a packet is shed that its flow takes on to somebody else: one to an address of
/// the gateway's own, of which nothing else has told. What the gateway itself sends goes
/// to others.
#[cold]
pub fn forwarded<F: Ip>(core: &mut Core, tables: &Tables, packet: &Packet<F>) -> bool {
    is_own::<F>(tables, &packet.key.dst) && core.sheds()
}

fn is_own<F: Ip>(tables: &Tables, addr: &F::Addr) -> bool {
    F::of(tables).local.contains_key(addr)
}
