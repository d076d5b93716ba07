use crate::core::Core;
use crate::flow::table::{FlowFamily, NO_ENTRY};
use crate::flow::{Flows, Key};
use crate::packet::{Ingress, Packet};
use crate::reason::DropReason;
use crate::stages::{decap, link, shed, underlay};
use crate::wire::ethernet;
use crate::wire::ip::{Fragment, IpInfo};
use crate::wire::l4;
use arrayvec::ArrayVec;
use sluice_io::{BURST, Frame};
use sluice_tables::{PortLocal, Tables, V4, V6};

/// The IP packets of a burst, by family; the order within a flow is kept.
/// Packets are made in their place here: moving one costs as much as parsing it.
#[derive(Default)]
pub struct Arrivals {
    /// IPv4.
    pub v4: ArrayVec<Packet<V4>, BURST>,
    /// IPv6.
    pub v6: ArrayVec<Packet<V6>, BURST>,
}

/// A family's half of [`Arrivals`].
pub trait ArrivedFamily: FlowFamily {
    /// The family's packets.
    fn list(arrivals: &mut Arrivals) -> &mut ArrayVec<Packet<Self>, BURST>;
}

impl ArrivedFamily for V4 {
    #[inline]
    fn list(arrivals: &mut Arrivals) -> &mut ArrayVec<Packet<V4>, BURST> {
        &mut arrivals.v4
    }
}

impl ArrivedFamily for V6 {
    #[inline]
    fn list(arrivals: &mut Arrivals) -> &mut ArrayVec<Packet<V6>, BURST> {
        &mut arrivals.v6
    }
}

/// Takes a frame of a port apart, down to the IP packet that matters: the inner
/// one, if it came through the overlay. What goes on is put into `arrivals`,
/// its flow's bucket on its way from memory; what does not ends here: answered,
/// learned from, or dropped.
#[inline]
pub fn receive(
    core: &mut Core,
    flows: &Flows,
    tables: &Tables,
    port: &PortLocal,
    mut frame: Frame,
    arrivals: &mut Arrivals,
) {
    let header = match ethernet::parse(frame.data()) {
        Ok(header) => header,
        Err(reason) => return dropped(core, frame, reason),
    };
    if header.vlan != port.vlan {
        return dropped(core, frame, DropReason::WrongVlan);
    }
    let multicast = ethernet::is_multicast(&header.dst);
    if !multicast && header.dst != port.mac {
        return dropped(core, frame, DropReason::NotOurMac);
    }
    if !frame.pull_head(header.len) {
        return dropped(core, frame, DropReason::Truncated);
    }
    match header.ethertype {
        ethernet::IPV4 => ip::<V4>(core, flows, tables, port, frame, multicast, arrivals),
        ethernet::IPV6 => ip::<V6>(core, flows, tables, port, frame, multicast, arrivals),
        ethernet::ARP => link::arp(core, tables, port, frame),
        _ => dropped(core, frame, DropReason::UnknownEthertype),
    }
}

#[inline]
fn ip<F: ArrivedFamily>(
    core: &mut Core,
    flows: &Flows,
    tables: &Tables,
    port: &PortLocal,
    mut frame: Frame,
    multicast: bool,
    arrivals: &mut Arrivals,
) {
    let mut ip = IpInfo::default();
    if let Err(reason) = F::parse_into(frame.data(), &mut ip) {
        return dropped(core, frame, reason);
    }
    // What follows the packet is Ethernet padding.
    frame.truncate(usize::from(ip.header.len));
    if F::vtep_address(&tables.local) == Some(ip.dst)
        && ip.header.protocol == l4::UDP
        && !multicast
        && decap::is_tunnel(tables, port, &ip)
    {
        return decap::decap::<F>(core, flows, tables, frame, &ip, arrivals);
    }
    if ip.header.protocol == F::ICMP
        && !multicast
        && F::vtep_address(&tables.local) == Some(ip.dst)
        && underlay::too_big(core, tables, port, frame.data(), &ip)
    {
        return core.consume(frame);
    }
    if !F::IS_V4 && ip.header.protocol == F::ICMP && ip.header.fragment == Fragment::Whole {
        match link::nd::<F>(core, tables, port, frame, &ip) {
            Some(returned) => frame = returned,
            None => return,
        }
    }
    if multicast || F::is_multicast(&ip.dst) {
        return dropped(core, frame, DropReason::Multicast);
    }
    arrived(core, flows, tables, frame, ip, Ingress::port(port.id), arrivals);
}

/// Puts the packet of a frame whose data begins with the IP header `ip` among
/// the arrivals.
#[inline(always)]
pub(super) fn arrived<F: ArrivedFamily>(
    core: &mut Core,
    flows: &Flows,
    tables: &Tables,
    frame: Frame,
    ip: IpInfo<F>,
    ingress: Ingress,
    arrivals: &mut Arrivals,
) {
    if core.shed != 0 && shed::arriving(core, tables, &ip) {
        return dropped(core, frame, DropReason::Overload);
    }
    let key = Key {
        src: ip.src,
        dst: ip.dst,
        src_port: ip.header.l4.src_port,
        dst_port: ip.header.l4.dst_port,
        protocol: ip.header.protocol,
    };
    let table = F::table(flows);
    let hash = table.hash(&key);
    table.prefetch_bucket(hash);
    F::list(arrivals).push(Packet {
        frame,
        ip: ip.header,
        key,
        hash,
        ingress,
        candidate: NO_ENTRY,
        datagram: None,
    });
}

#[cold]
pub(super) fn dropped(core: &mut Core, frame: Frame, reason: DropReason) {
    core.drop(frame, reason);
}
