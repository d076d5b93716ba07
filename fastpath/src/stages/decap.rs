//! Decapsulation (RFC 7348). The sender must be a node of the cluster; whether
//! the inner source belongs to that node is judged with the flow.

use crate::core::Core;
use crate::flow::Flows;
use crate::packet::Ingress;
use crate::reason::DropReason;
use crate::stages::receive::{Arrivals, ArrivedFamily, arrived, dropped};
use crate::wire::ip::{Fragment, Ip, IpInfo};
use crate::wire::{ethernet, vxlan};
use sluice_io::Frame;
use sluice_tables::{PortLocal, Tables, V4, V6, VtepId};

const UDP_LEN: usize = 8;

/// True for UDP to our VTEP's port by the underlay's (the caller has checked the
/// address): whoever sends it from elsewhere, a node's address as its source,
/// is no node.
#[inline]
pub fn is_tunnel<F: Ip>(tables: &Tables, port: &PortLocal, ip: &IpInfo<F>) -> bool {
    let Some(vxlan) = &tables.local.vxlan else { return false };
    let is_vxlan = ip.header.l4.dst_port == vxlan.udp_port || ip.header.fragment != Fragment::Whole;
    is_vxlan && vxlan.port == port.id
}

/// Takes the inner packet out of a tunnel packet.
#[inline]
pub fn decap<F: Ip>(
    core: &mut Core,
    flows: &Flows,
    tables: &Tables,
    mut frame: Frame,
    outer: &IpInfo<F>,
    arrivals: &mut Arrivals,
) {
    match open(tables, &mut frame, outer) {
        Ok((vtep, ethernet::IPV4)) => {
            inner::<V4>(core, flows, tables, frame, vtep, outer.header.tos, arrivals)
        }
        Ok((vtep, _)) => inner::<V6>(core, flows, tables, frame, vtep, outer.header.tos, arrivals),
        Err(reason) => dropped(core, frame, reason),
    }
}

/// Checks the headers down to the inner Ethernet header and pulls them.
/// Returns the sending node and the inner EtherType, IPv4 or IPv6.
#[inline]
fn open<F: Ip>(
    tables: &Tables,
    frame: &mut Frame,
    outer: &IpInfo<F>,
) -> Result<(VtepId, u16), DropReason> {
    let Some(local) = &tables.local.vxlan else { return Err(DropReason::LocalPortUnused) };
    if outer.header.fragment != Fragment::Whole {
        return Err(DropReason::TunnelFragment);
    }
    let udp = usize::from(outer.header.l4_offset);
    let end = udp + usize::from(crate::wire::be16(frame.data(), udp + 4));
    frame.truncate(end);
    if !frame.pull_head(udp + UDP_LEN) {
        return Err(DropReason::Truncated);
    }
    if vxlan::parse(frame.data())? != local.vni {
        return Err(DropReason::WrongVni);
    }
    let Some(&vtep) = F::of(tables).vteps_by_addr.get(&outer.src) else {
        return Err(DropReason::UnknownVtep);
    };
    if !frame.pull_head(vxlan::HEADER_LEN) {
        return Err(DropReason::Truncated);
    }
    let inner = ethernet::parse(frame.data())?;
    let is_ip = inner.ethertype == ethernet::IPV4 || inner.ethertype == ethernet::IPV6;
    if inner.dst != local.mac || inner.vlan.is_some() || !is_ip || !frame.pull_head(inner.len) {
        return Err(DropReason::BadInnerFrame);
    }
    Ok((vtep, inner.ethertype))
}

#[inline]
fn inner<F: ArrivedFamily>(
    core: &mut Core,
    flows: &Flows,
    tables: &Tables,
    mut frame: Frame,
    vtep: VtepId,
    outer_tos: u8,
    arrivals: &mut Arrivals,
) {
    let mut ip = IpInfo::default();
    if let Err(reason) = F::parse_into(frame.data(), &mut ip) {
        return dropped(core, frame, reason);
    }
    frame.truncate(usize::from(ip.header.len));
    if outer_tos & 3 != 0 {
        match combine_ecn(ip.header.tos, outer_tos) {
            Some(tos) if tos != ip.header.tos => {
                F::set_tos(frame.data_mut(), tos);
                ip.header.tos = tos;
            }
            Some(_) => {}
            None => return dropped(core, frame, DropReason::EcnNotCapable),
        }
    }
    if F::is_multicast(&ip.dst) {
        return dropped(core, frame, DropReason::Multicast);
    }
    arrived(core, flows, tables, frame, ip, Ingress::tunnel(vtep), arrivals);
}

/// The inner type of service after decapsulation (RFC 6040 section 4.2,
/// figure 4); `None` where the packet must be dropped. DSCP stays the inner
/// one (RFC 2983, pipe model).
#[inline]
fn combine_ecn(inner: u8, outer: u8) -> Option<u8> {
    const NOT_ECT: u8 = 0;
    const ECT_1: u8 = 1;
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    let ecn = match (inner & 3, outer & 3) {
        (NOT_ECT, CE) => return None,
        (NOT_ECT, _) => NOT_ECT,
        (_, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    Some(inner & !3 | ecn)
}

#[cfg(test)]
mod tests {
    use super::combine_ecn;

    #[test]
    fn congestion_is_combined_as_rfc_6040_figure_4_says() {
        // Rows: inner not-ECT, ECT(0), ECT(1), CE. Columns: outer likewise.
        let order = [0, 2, 1, 3];
        let table = [
            [Some(0), Some(0), Some(0), None],
            [Some(2), Some(2), Some(1), Some(3)],
            [Some(1), Some(1), Some(1), Some(3)],
            [Some(3), Some(3), Some(3), Some(3)],
        ];
        for (row, inner) in order.into_iter().enumerate() {
            for (column, outer) in order.into_iter().enumerate() {
                let combined = combine_ecn(0xb8 | inner, 0x20 | outer);
                assert_eq!(combined, table[row][column].map(|ecn: u8| 0xb8 | ecn));
            }
        }
    }
}
