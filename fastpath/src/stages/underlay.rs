//! What routers of the underlay say of tunnel packets: that a path is smaller
//! than its node's tunnel is taken for (RFC 1191, RFC 8201). The sender of the
//! next inner packet that is too big is told by the gateway, as of any other.

use crate::adjacency::Target;
use crate::core::Core;
use crate::mesh::News;
use crate::path_mtu::PathNews;
use crate::stages::{icmp, route, sanity};
use crate::wire::ip::{Fragment, Ip, IpInfo};
use crate::wire::l4::{self, Kind};
use crate::wire::{be16, be32, vxlan};
use sluice_tables::{PortLocal, Tables};

const UDP_LEN: usize = 8;

/// Takes in an ICMP error to our VTEP address (the caller has checked that) that
/// says that a tunnel packet of ours was too big. False when it says something
/// else, or cannot be believed.
#[cold]
pub fn too_big<F: Ip>(
    core: &mut Core,
    tables: &Tables,
    port: &PortLocal,
    data: &[u8],
    ip: &IpInfo<F>,
) -> bool {
    let Some(news) = read(tables, port, data, ip) else { return false };
    if core.path_mtus.learn(news, core.now) {
        let lost = core.mesh.tell(News::Path(news));
        core.counters.neighbor_news_lost.add(lost);
        apply(core, tables, news.vtep);
    }
    true
}

/// Takes in what another worker has heard.
pub fn note(core: &mut Core, tables: &Tables, news: PathNews) {
    if core.path_mtus.learn(news, core.now) {
        apply(core, tables, news.vtep);
    }
}

/// Forgets what was heard too long ago, a node at a time.
pub fn age(core: &mut Core, tables: &Tables) {
    if let Some(vtep) = core.path_mtus.expire(core.now) {
        apply(core, tables, vtep);
    }
}

/// Gives a node's rows the MTU that its path has now.
fn apply(core: &mut Core, tables: &Tables, vtep: sluice_tables::VtepId) {
    for inner_v4 in [true, false] {
        let to = route::tunnel_end(tables, vtep, inner_v4);
        let path = to.and_then(|to| core.path_mtus.get(vtep, to));
        if let Some(id) = core.adjacencies.find(Target::Tunnel(vtep, inner_v4))
            && let Some(row) = core.adjacencies.row_mut(id)
        {
            row.set_path_mtu(path);
        }
    }
}

/// Reads Fragmentation Needed or Packet Too Big: by the underlay's port, its
/// checksum right, quoting so much of a packet from our VTEP to a node's that
/// the VXLAN header with our VNI is there. An MTU of 0 is of a router that is
/// older than RFC 1191, and teaches nothing.
fn read<F: Ip>(tables: &Tables, port: &PortLocal, data: &[u8], ip: &IpInfo<F>) -> Option<PathNews> {
    let vxlan = tables.local.vxlan.as_ref()?;
    let is_error = ip.header.l4.kind == Kind::IcmpError && ip.header.fragment == Fragment::Whole;
    if !is_error || port.id != vxlan.port || F::is_martian_source(&ip.src) {
        return None;
    }
    sanity::source_belongs::<F>(tables, crate::packet::Ingress::port(port.id), &ip.src).ok()?;
    let message = data.get(usize::from(ip.header.l4_offset)..)?;
    let mtu = match (F::IS_V4, message.first_chunk::<2>()?) {
        (true, [3, 4]) => be16(message, 6),
        (false, [2, _]) => be32(message, 4).min(u16::MAX.into()) as u16,
        _ => return None,
    };
    let quote = message.get(icmp::HEADER_LEN..)?;
    let quoted = F::quoted(quote)?;
    let udp = quote.get(quoted.l4_offset..)?;
    let vtep = *F::of(tables).vteps_by_addr.get(&quoted.dst)?;
    let is_ours = quoted.src == ip.dst
        && quoted.protocol == l4::UDP
        && udp.len() >= UDP_LEN + vxlan::HEADER_LEN
        && be16(udp, 2) == vxlan.udp_port
        && vxlan::parse(&udp[UDP_LEN..]) == Ok(vxlan.vni);
    let is_sound = icmp::is_sound::<F>(&ip.src, &ip.dst, message);
    (is_ours && is_sound && mtu > 0).then(|| PathNews { vtep, to: F::to_ip(quoted.dst), mtu })
}
