use crate::family::{Family, V4, V6};
use crate::hash::endpoint;
use crate::ids::{PortId, ServiceId, VtepId, ZoneId};
use crate::l7::{L7, ListenerId};
use crate::local::{Local, LocalAddress, PortLocal, SnatPool, Vip};
use crate::paged::Paged;
use crate::policy::{AddressRanges, KnownAddress, PeerId, Rows};
use crate::route::{RouteTarget, Routes, Vtep};
use crate::service::{BackendState, Frontend, FrontendKey, SourceRanges};
use crate::shards::ShardMap;
use hashbrown::HashMap;
use std::sync::Arc;

/// Groups of Services that share an epoch: a change of one Service makes the
/// flows of one group in so many look at their backend again. They are 16 KiB,
/// which stay near a worker; with 64 groups, 100 changes a second made a million
/// busy flows look again so often that a packet cost half as much again.
pub const SERVICE_EPOCHS: usize = 4096;

/// Groups of addresses that share an epoch of policy: those on one node in so
/// many, and all that are on none. A pod that comes, goes or is selected by others
/// makes the flows of its group be asked about again, and no others.
pub const POLICY_EPOCHS: usize = 256;

/// One immutable view of everything that workers look up. Cloning it copies
/// pointers; see the crate's documentation.
#[derive(Clone)]
pub struct Tables {
    /// Counts publications, from 1.
    pub version: u64,
    /// Changes when any flow may be judged differently by policy.
    pub policy_epoch: u32,
    /// Per group of addresses ([`policy_group`]): changes when a flow of one of them
    /// may be judged differently by policy.
    pub policy_epochs: Box<[u32; POLICY_EPOCHS]>,
    /// Changes when a flow may be routed differently.
    pub route_epoch: u32,
    /// Per group of Services: changes when a backend's state changes. The extra
    /// last one is for flows without a Service: it changes when an address
    /// becomes a VIP.
    pub service_epochs: Box<[u32; SERVICE_EPOCHS + 1]>,
    /// What belongs to the gateway.
    pub local: Arc<Local>,
    /// Tunnel endpoints by [`VtepId`]; `None` where a node has gone.
    pub vteps: Arc<Vec<Option<Vtep>>>,
    /// Zones of nodes, by [`VtepId`]; nodes beyond its end have none.
    pub zones: Arc<Vec<ZoneId>>,
    /// The zone of the gateway: of every client that is no pod.
    pub zone: ZoneId,
    /// Endpoint states by [`crate::BackendId`].
    pub backends: Paged<BackendState>,
    /// There are policies: [`Tables::policy_epochs`] count.
    pub has_policies: bool,
    /// What policies say; by subject and peer.
    pub policy: Rows,
    /// Whether policies name peers by domain names: answers of DNS servers are
    /// held until their addresses are known to every worker.
    pub names_wanted: bool,
    /// What ends here and goes on as requests.
    pub l7: L7,
    /// Which worker owns which slot.
    pub owners: OwnerMap,
    /// IPv4.
    pub v4: FamilyTables<V4>,
    /// IPv6.
    pub v6: FamilyTables<V6>,
}

/// The group of addresses that are on a node that has a tunnel, or on none:
/// index into [`Tables::policy_epochs`].
#[inline]
pub fn policy_group(node: Option<VtepId>) -> u8 {
    node.map_or(0, |VtepId(node)| 0x80 | node as u8)
}

/// One family's half of [`Tables`].
#[derive(Clone)]
pub struct FamilyTables<F: Family> {
    /// Service ports by VIP, port and protocol.
    pub frontends: ShardMap<FrontendKey<F>, Frontend<F>>,
    /// All VIPs.
    pub vips: ShardMap<F::Addr, Vip>,
    /// The gateway's own addresses.
    pub local: Arc<HashMap<F::Addr, LocalAddress>>,
    /// What is listened for by L7 at TCP ports of VIPs and of the gateway's own addresses,
    /// unless a Service has the port.
    pub listeners: Arc<HashMap<(F::Addr, u16), ListenerId>>,
    /// Routes of prefixes, ranges of nodes' pods included; see
    /// [`FamilyTables::route`].
    pub routes: Arc<Routes<F>>,
    /// Routes of single addresses, which come before those of prefixes: pods
    /// outside of their nodes' ranges, of which each comes and goes by itself.
    pub hosts: ShardMap<F::Addr, RouteTarget<F>>,
    /// Addresses that stand in for clients.
    pub snat: Arc<SnatPool<F>>,
    /// Tunnel endpoints by underlay address.
    pub vteps_by_addr: Arc<HashMap<F::Addr, VtepId>>,
    /// Nodes that have a tunnel, by each of their addresses; those of tunnel
    /// endpoints are among them. The underlay may have another family.
    pub nodes_by_addr: Arc<HashMap<F::Addr, VtepId>>,
    /// Nodes by the inner address of their tunnel device: a node that masquerades
    /// hides its pods behind it.
    pub tunnel_devices: Arc<HashMap<F::Addr, VtepId>>,
    /// What pods and nodes are to policies; none while there are no policies.
    pub known: ShardMap<F::Addr, KnownAddress>,
    /// What every other address is to policies.
    pub blocks: Arc<AddressRanges<F>>,
    /// What the gateway is to policies where it sends on what a client has asked it for, by
    /// the client's address: the pod that it is taken for, but in the client's blocks.
    pub clients: Arc<AddressRanges<F>>,
    /// What addresses that a domain name has lost are to flows that run: as if it
    /// had them still.
    pub lapsed: ShardMap<F::Addr, PeerId>,
    /// The servers whose DNS answers are believed.
    pub dns_servers: Arc<SourceRanges<F>>,
}

impl<F: Family> Default for FamilyTables<F> {
    fn default() -> Self {
        FamilyTables {
            frontends: ShardMap::default(),
            vips: ShardMap::default(),
            local: Arc::default(),
            listeners: Arc::default(),
            routes: Arc::default(),
            hosts: ShardMap::default(),
            snat: Arc::default(),
            vteps_by_addr: Arc::default(),
            nodes_by_addr: Arc::default(),
            tunnel_devices: Arc::default(),
            known: ShardMap::default(),
            blocks: Arc::default(),
            clients: Arc::default(),
            lapsed: ShardMap::default(),
            dns_servers: Arc::default(),
        }
    }
}

impl<F: Family> FamilyTables<F> {
    /// Where packets to an address go.
    #[inline]
    pub fn route(&self, addr: &F::Addr) -> Option<RouteTarget<F>> {
        // Most clusters have none.
        if !self.hosts.is_empty()
            && let Some(target) = self.hosts.get(addr)
        {
            return Some(*target);
        }
        self.routes.lookup(addr)
    }

    /// Lays together what is looked up for new flows ([`ShardMap::lay_together`]).
    pub fn lay_together(&mut self) {
        self.frontends.lay_together();
        self.vips.lay_together();
        self.hosts.lay_together();
        self.known.lay_together();
    }

    /// All routes: prefix address, prefix length in bits, target. Of equal
    /// prefixes the last one counts.
    pub fn all_routes(&self) -> impl Iterator<Item = (F::Addr, u8, RouteTarget<F>)> {
        let len = (size_of::<F::Addr>() * 8) as u8;
        let hosts = self.hosts.iter().map(move |(addr, target)| (*addr, len, *target));
        self.routes.iter().copied().chain(hosts)
    }

    /// Whether the DNS answers of a server are believed.
    #[inline]
    pub fn believes(&self, server: &F::Addr) -> bool {
        self.dns_servers.contains(server)
    }

    /// The node that has a pod address; `None` for every other address.
    #[inline]
    pub fn pod_node(&self, addr: &F::Addr) -> Option<VtepId> {
        match self.route(addr) {
            Some(RouteTarget::Tunnel(vtep)) => Some(vtep),
            _ => None,
        }
    }
}

impl Tables {
    /// Tables of a gateway that knows nothing of a cluster yet.
    pub fn empty(workers: usize) -> Self {
        Tables {
            version: 0,
            policy_epoch: 1,
            policy_epochs: Box::new([0; POLICY_EPOCHS]),
            route_epoch: 1,
            service_epochs: Box::new([1; SERVICE_EPOCHS + 1]),
            local: Arc::default(),
            vteps: Arc::default(),
            zones: Arc::default(),
            zone: ZoneId::NONE,
            backends: Paged::default(),
            has_policies: false,
            policy: Rows::default(),
            names_wanted: false,
            l7: L7::default(),
            owners: OwnerMap::even(workers),
            v4: FamilyTables::default(),
            v6: FamilyTables::default(),
        }
    }

    /// The port of a number.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&PortLocal> {
        self.local.ports.get(usize::from(id.0))
    }

    /// The tunnel endpoint of a number, if its node still exists.
    #[inline]
    pub fn vtep(&self, id: VtepId) -> Option<&Vtep> {
        self.vteps.get(id.0 as usize)?.as_ref()
    }

    /// The zone of a node, or of the gateway.
    #[inline]
    pub fn zone_of(&self, node: Option<VtepId>) -> ZoneId {
        match node {
            Some(node) => self.zones.get(node.0 as usize).copied().unwrap_or(ZoneId::NONE),
            None => self.zone,
        }
    }

    /// Index of the epoch that a Service's flows depend on.
    #[inline]
    pub fn service_group(service: ServiceId) -> usize {
        if service == ServiceId::NONE {
            SERVICE_EPOCHS
        } else {
            service.0 as usize % SERVICE_EPOCHS
        }
    }

    /// The epoch that a Service's flows depend on.
    #[inline]
    pub fn service_epoch(&self, service: ServiceId) -> u32 {
        self.service_epochs[Self::service_group(service)]
    }
}

/// Which worker owns which of 256 slots. A SNAT port (or ICMP id) names its
/// slot in its low byte; other flows hash to one. Changing the number of
/// workers moves slots, not the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerMap {
    slots: Box<[u8; 256]>,
    seed: u64,
}

impl OwnerMap {
    /// Slots spread evenly over `workers` (1 to 256).
    pub fn even(workers: usize) -> Self {
        let workers = workers.clamp(1, 256);
        OwnerMap { slots: Box::new(std::array::from_fn(|slot| (slot % workers) as u8)), seed: 0 }
    }

    /// The same map with a random seed, so that senders cannot aim at a worker.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The owner of a slot.
    #[inline]
    pub fn of_slot(&self, slot: u8) -> usize {
        usize::from(self.slots[usize::from(slot)])
    }

    /// The owner of a SNAT port or ICMP id.
    #[inline]
    pub fn of_l4_port(&self, l4_port: u16) -> usize {
        self.of_slot(l4_port as u8)
    }

    /// The owner of the flows of one endpoint (address and port).
    #[inline]
    pub fn of_endpoint(&self, addr: &[u8], l4_port: u16) -> usize {
        self.of_slot((endpoint(self.seed, addr, l4_port) >> 24) as u8)
    }

    /// The owner of a flow between two endpoints, the same for both directions.
    #[inline]
    pub fn of_pair(&self, a: (&[u8], u16), b: (&[u8], u16)) -> usize {
        let both = endpoint(self.seed, a.0, a.1) ^ endpoint(self.seed, b.0, b.1);
        self.of_slot((both >> 24) as u8)
    }
}
