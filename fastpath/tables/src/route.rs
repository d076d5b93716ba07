use crate::family::Family;
use crate::ids::{PortId, VtepId};
use crate::lpm::Lpm;
use std::sync::Arc;

/// Where a route sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTarget<F: Family> {
    /// The destination itself is a neighbor on this port.
    Connected(PortId),
    /// A neighbor on this port forwards it.
    Via(PortId, F::Addr),
    /// A node behind the overlay has it: a pod of the cluster.
    Tunnel(VtepId),
    /// Nobody has it: dropped with a reason.
    Blackhole,
}

/// The routes of one family.
#[derive(Clone, Debug, Default)]
pub struct Routes<F: Family> {
    lpm: Lpm,
    list: Vec<(F::Addr, u8, RouteTarget<F>)>,
}

impl<F: Family> Routes<F> {
    /// Compiles routes of (prefix address, prefix length in bits, target). Of
    /// equal prefixes the last one wins.
    pub fn build(list: Vec<(F::Addr, u8, RouteTarget<F>)>) -> Self {
        let lpm = Lpm::build(
            list.iter().enumerate().map(|(i, (addr, len, _))| (addr.as_ref(), *len, i as u32)),
        );
        Routes { lpm, list }
    }

    /// The target of the longest prefix that contains `addr`.
    #[inline]
    pub fn lookup(&self, addr: &F::Addr) -> Option<RouteTarget<F>> {
        let index = self.lpm.lookup(addr.as_ref())?;
        self.list.get(index as usize).map(|route| route.2)
    }

    /// All routes, as built.
    pub fn iter(&self) -> impl Iterator<Item = &(F::Addr, u8, RouteTarget<F>)> {
        self.list.iter()
    }
}

/// A node's tunnel endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vtep {
    /// The node's name.
    pub name: Arc<str>,
    /// Its underlay address of IPv4, if it has one.
    pub v4: Option<[u8; 4]>,
    /// Its underlay address of IPv6, if it has one.
    pub v6: Option<[u8; 16]>,
    /// The MAC of its VXLAN device over IPv4: the inner destination MAC.
    pub mac_v4: [u8; 6],
    /// The MAC of its VXLAN device over IPv6, which may be another device.
    pub mac_v6: [u8; 6],
}
