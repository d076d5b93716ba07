//! What a port passes to the kernel, by its XDP program (`xdp/sluice_xdp.c`) or with DPDK by
//! itself: a worker never sees it, and neither does a probe's.

use super::frame::{Arrival, Entrance};
use super::tuple::{FlowTuple, Protocol};
use sluice_tables::{Family, LocalAddress, PortId, Tables, V4, V6, Vxlan};
use std::net::IpAddr;

/// True for a packet that comes by a port whose kernel receives it: to an address of
/// its kernel, and no VXLAN to a tunnel's end. Where the kernel has any address,
/// link-local ones are its too. What comes out of a tunnel is no longer asked about.
pub fn receives(tables: &Tables, tuple: &FlowTuple, arrival: &Arrival) -> bool {
    let Entrance::Port(port) = arrival.entrance else { return false };
    let Ok(port) = u8::try_from(port).map(PortId) else { return false };
    let is_kernel = match tuple.destination {
        IpAddr::V6(addr) if addr.is_unicast_link_local() => has_kernel_addresses(tables, port),
        addr => is_kernel_address(tables, port, addr),
    };
    let vxlan = tables.local.vxlan.as_ref().filter(|vxlan| vxlan.port == port);
    is_kernel && !vxlan.is_some_and(|vxlan| is_vxlan(vxlan, tuple))
}

fn is_vxlan(vxlan: &Vxlan, tuple: &FlowTuple) -> bool {
    let is_end = vxlan.v4.map(V4::to_ip) == Some(tuple.destination)
        || vxlan.v6.map(V6::to_ip) == Some(tuple.destination);
    is_end && tuple.protocol == Protocol::Udp && tuple.port == vxlan.udp_port
}

fn is_kernel_address(tables: &Tables, port: PortId, addr: IpAddr) -> bool {
    fn of<F: Family>(tables: &Tables, addr: IpAddr) -> Option<LocalAddress> {
        F::of(tables).local.get(&F::from_ip(addr)?).copied()
    }
    let found = of::<V4>(tables, addr).or_else(|| of::<V6>(tables, addr));
    found == Some(LocalAddress::Kernel(port))
}

fn has_kernel_addresses(tables: &Tables, port: PortId) -> bool {
    fn of<F: Family>(tables: &Tables, port: PortId) -> bool {
        F::of(tables).local.values().any(|local| *local == LocalAddress::Kernel(port))
    }
    of::<V4>(tables, port) || of::<V6>(tables, port)
}
