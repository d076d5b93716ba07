//! Packets of the gateway's own.

use super::judge_one;
use crate::core::Core;
use crate::flow::{FlowTable, Flows, Key};
use crate::fragments::FragmentFamily;
use crate::local::LocalPacket;
use crate::mesh::Handed;
use crate::packet::{Ingress, Packet};
use crate::stages::output;
use crate::wire::l4::{Kind, L4};
use sluice_io::Frame;
use sluice_tables::{LocalAddress, Tables};

/// Sends a packet of the gateway's own. One of a connection that it has opened goes the
/// way of the connection's flow, which begins with it: tracked, asked about, routed.
pub fn originate(core: &mut Core, flows: &mut Flows, tables: &Tables, frame: Frame) {
    match frame.data().first().map(|byte| byte >> 4) {
        Some(4) => originate_of(core, &mut flows.v4, tables, frame),
        Some(6) => originate_of(core, &mut flows.v6, tables, frame),
        _ => core.cache.free(frame),
    }
}

fn originate_of<F: FragmentFamily>(
    core: &mut Core,
    table: &mut FlowTable<F>,
    tables: &Tables,
    frame: Frame,
) where
    Packet<F>: Into<Handed> + Into<LocalPacket>,
{
    let Ok(ip) = F::parse(frame.data()) else { return core.cache.free(frame) };
    let stands_in = F::of(tables).local.get(&ip.src) == Some(&LocalAddress::Snat);
    if !stands_in || ip.header.l4.kind != Kind::Tcp {
        return output::originate(core, tables, frame);
    }
    core.counters.originated.add(1);
    let L4 { src_port, dst_port, .. } = ip.header.l4;
    let protocol = ip.header.protocol;
    let key = Key { src: ip.src, dst: ip.dst, src_port, dst_port, protocol };
    let hash = table.hash(&key);
    let ingress = Ingress::GATEWAY;
    let candidate = table.suggest(hash);
    let packet = Packet { key, ip: ip.header, ingress, candidate, datagram: None, hash, frame };
    // The address that it has from the pool brings its answers here.
    judge_one(core, table, tables, packet, true);
}
