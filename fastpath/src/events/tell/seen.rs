//! What the bytes of a dropped frame say.

use crate::events::{Link, read};
use crate::packet::Ingress;
use crate::wire::ip::Ip;
use crate::wire::{ethernet, l4};
use sluice_io::Frame;
use sluice_tables::{FrontendKey, ServiceId, Tables, Tuple, V4, V6};

/// What is known of a dropped frame.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) ingress: Option<Ingress>,
    pub(super) came: Option<Tuple>,
    pub(super) leaves: Option<Tuple>,
    pub(super) link: Link,
    /// Bytes of the packet.
    pub(super) len: usize,
}

/// A frame that is dropped while it is received: `frame` is whole, and was taken
/// apart up to `at`. Within a tunnel packet, the inner packet is meant once it was
/// reached.
pub(super) fn arriving(tables: &Tables, frame: &Frame, ingress: Ingress, at: usize) -> Seen {
    let data = frame.data();
    let outer = read::framed(data);
    let is_inside = outer.is_some_and(|(_, start)| at > start) && is_ip_behind(data, at);
    let inner = data.get(at..).filter(|_| is_inside).and_then(read::tuple);
    let (came, ingress) = match (outer, inner) {
        (Some((outer, _)), Some(inner)) => {
            (Some(inner), node(tables, &outer).map_or(ingress, Ingress::tunnel))
        }
        (outer, _) => (outer.map(|(outer, _)| outer), ingress),
    };
    let start = if inner.is_some() { at } else { outer.map_or(0, |(_, start)| start) };
    let len = data.len() - start;
    Seen { ingress: Some(ingress), came, leaves: None, link: Link::Ethernet, len }
}

/// True when an EtherType of IP is right before `at`.
fn is_ip_behind(data: &[u8], at: usize) -> bool {
    let word = at.checked_sub(2).and_then(|from| data.get(from..at));
    let ethertype = word.map(|word| u16::from_be_bytes([word[0], word[1]]));
    matches!(ethertype, Some(ethernet::IPV4 | ethernet::IPV6))
}

/// A frame that is dropped on its way out, with its new addresses; in a tunnel, the
/// inner packet is meant.
pub(super) fn leaving(tables: &Tables, frame: &Frame, link: Link) -> Seen {
    let data = frame.data();
    let outer = match link {
        Link::Ethernet => read::framed(data),
        Link::Ip => read::tuple(data).map(|tuple| (tuple, 0)),
    };
    let inner = outer.and_then(|(outer, start)| {
        let vxlan = tables.local.vxlan.as_ref()?;
        let is_tunnel = outer.protocol == l4::UDP && outer.dst_port == vxlan.udp_port;
        let header_len = if outer.dst.is_ipv4() { 20 } else { 40 };
        let at = start + header_len + 8 + crate::wire::vxlan::HEADER_LEN;
        let (inner, inside) = data.get(at..).filter(|_| is_tunnel).and_then(read::framed)?;
        Some((inner, at + inside))
    });
    let found = inner.or(outer);
    Seen {
        ingress: None,
        came: None,
        leaves: found.map(|(tuple, _)| tuple),
        link,
        len: data.len() - found.map_or(0, |(_, start)| start),
    }
}

/// The node that has the source of a tunnel packet.
fn node(tables: &Tables, outer: &Tuple) -> Option<sluice_tables::VtepId> {
    fn of<F: Ip>(tables: &Tables, outer: &Tuple) -> Option<sluice_tables::VtepId> {
        F::of(tables).vteps_by_addr.get(&F::from_ip(outer.src)?).copied()
    }
    of::<V4>(tables, outer).or_else(|| of::<V6>(tables, outer))
}

/// The Service that a packet is addressed to.
pub(super) fn service(tables: &Tables, came: &Tuple) -> ServiceId {
    fn of<F: Ip>(tables: &Tables, came: &Tuple) -> Option<ServiceId> {
        let addr = F::from_ip(came.dst)?;
        let key = FrontendKey { addr, l4_port: came.dst_port, protocol: came.protocol };
        F::of(tables).frontends.get(&key).map(|frontend| frontend.service)
    }
    of::<V4>(tables, came).or_else(|| of::<V6>(tables, came)).unwrap_or(ServiceId::NONE)
}
