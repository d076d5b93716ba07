//! MSS clamping: a connection through a tunnel is told the tunnel's size in its
//! handshake, so that its segments fit from the start.

use crate::adjacency::AdjacencyId;
use crate::core::Core;
use crate::packet::Packet;
use crate::stages::route;
use crate::wire::ip::Ip;
use crate::wire::l4::Kind;
use crate::wire::tcp;
use sluice_tables::Tables;

/// Lowers the MSS option of a SYN (or SYN-ACK) to what fits every tunnel that
/// the connection crosses.
#[cold]
pub fn clamp<F: Ip>(core: &Core, tables: &Tables, packet: &mut Packet<F>, way: AdjacencyId) {
    if packet.ip.l4.kind != Kind::Tcp {
        return;
    }
    // Where the packet came from is where its answers go.
    let back =
        packet.ingress.vtep().and_then(|vtep| route::tunnel_mtu(core, tables, vtep, F::IS_V4));
    let there = core.adjacencies.row(way).filter(|row| row.is_tunnel()).map(|row| row.mtu);
    let Some(mtu) = back.into_iter().chain(there).min() else { return };
    let mss_max = mtu.saturating_sub((F::HEADER_LEN + tcp::HEADER_LEN) as u16);
    tcp::lower_mss(&mut packet.frame.data_mut()[usize::from(packet.ip.l4_offset)..], mss_max);
}
