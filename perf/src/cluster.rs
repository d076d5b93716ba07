use crate::site::{self, Family, OVERLAY_MAC, PORT_MACS, SERVICE_PORT, TARGET_PORT, VNI, Who};
use anyhow::{Context, Result};
use sluice_tables::{
    BackendId, BackendRef, BackendSet, BackendState, Carriage, Family as TableFamily, FamilyTables,
    Frontend, FrontendKey, Local, LocalAddress, NatMode, PortId, PortLocal, RouteTarget, Routes,
    ServiceId, SnatPool, Tables, V4, V6, Vip, Vtep, VtepId, Vxlan,
};
use std::net::IpAddr;
use std::sync::Arc;

/// TCP's number.
pub const TCP: u8 = 6;
/// UDP's number.
pub const UDP: u8 = 17;

/// How large a cluster is.
#[derive(Clone, Copy, Debug)]
pub struct Cluster {
    /// The family of everything in it.
    pub family: Family,
    /// Services, of one port each.
    pub services: u32,
    /// Endpoints of each.
    pub backends: u32,
    /// Nodes, over which the endpoints are spread evenly.
    pub nodes: u32,
    /// The IP protocol of every Service.
    pub protocol: u8,
    /// Network policies that its endpoints are in, and that let all of their
    /// traffic pass; they need the feature `scale`.
    pub policies: u32,
}

impl Cluster {
    /// 10 endpoints a Service on 100 nodes, over UDP.
    pub const fn new(family: Family, services: u32) -> Self {
        Cluster { family, services, backends: 10, nodes: 100, protocol: UDP, policies: 0 }
    }

    /// The node and the address of an endpoint, by its number in the cluster.
    pub fn backend(&self, backend: u32) -> (u32, IpAddr) {
        let node = backend % self.nodes;
        (node, Who::Pod(node, 2 + backend / self.nodes).addr(self.family))
    }

    /// The endpoint among a Service's that has an address.
    pub fn backend_of(&self, service: u32, addr: IpAddr) -> Option<u32> {
        let first = service * self.backends;
        (first..first + self.backends).find(|&backend| self.backend(backend).1 == addr)
    }

    /// The tables of a gateway of `workers` workers, as control compiles them.
    ///
    /// # Errors
    /// When an address is not of the cluster's family.
    pub fn tables(&self, workers: usize) -> Result<Tables> {
        let mut tables = Tables::empty(workers);
        tables.version = 1;
        tables.local = Arc::new(self.local()?);
        tables.vteps = Arc::new((0..self.nodes).map(|node| Some(self.vtep(node))).collect());
        for backend in 0..self.services * self.backends {
            tables.backends.set(backend, BackendState::Ready);
        }
        match self.family {
            Family::V4 => tables.v4 = self.half::<V4>()?,
            Family::V6 => tables.v6 = self.half::<V6>()?,
        }
        Ok(tables)
    }

    /// Puts the policies in force, if there are any.
    ///
    /// # Errors
    /// When an object cannot be decoded, or without the feature `scale`.
    pub fn police(&self, tables: &mut Tables) -> Result<()> {
        if self.policies == 0 {
            return Ok(());
        }
        let compiled = self.policed()?;
        tables.version += 1;
        tables.policy_epoch += 1;
        tables.has_policies = true;
        tables.policy = compiled.policy.clone();
        tables.v4.known = compiled.v4.known.clone();
        tables.v4.blocks = compiled.v4.blocks.clone();
        tables.v6.known = compiled.v6.known.clone();
        tables.v6.blocks = compiled.v6.blocks.clone();
        Ok(())
    }

    /// Tables with the policies alone, compiled by control.
    #[cfg(feature = "scale")]
    fn policed(&self) -> Result<Arc<Tables>> {
        let pods = self.services * self.backends;
        crate::scale::policies::Policed {
            pods,
            nodes: self.nodes,
            policies: self.policies,
            ..crate::scale::policies::Policed::LARGE
        }
        .tables()
    }

    #[cfg(not(feature = "scale"))]
    fn policed(&self) -> Result<Arc<Tables>> {
        anyhow::bail!("control compiles policies: build with the feature scale")
    }

    fn local(&self) -> Result<Local> {
        let port = |id: usize, who: Who| -> Result<PortLocal> {
            let (addr, len) = (who.addr(self.family), who.prefix_len(self.family));
            Ok(PortLocal {
                id: PortId(id as u8),
                name: format!("port{id}"),
                mac: PORT_MACS[id],
                mtu: 1500,
                vlan: None,
                announce_vips: id == site::UPLINK,
                v4: V4::from_ip(addr).map(|addr| (addr, len)).into_iter().collect(),
                v6: V6::from_ip(addr).map(|addr| (addr, len)).into_iter().collect(),
            })
        };
        let vtep = Who::GatewayCluster.addr(self.family);
        let vxlan = Vxlan {
            port: PortId(site::CLUSTER as u8),
            vni: VNI,
            udp_port: site::VXLAN_PORT,
            mac: OVERLAY_MAC,
            mtu: 1430,
            carriage: Carriage::Any,
            v4: V4::from_ip(vtep),
            v6: V6::from_ip(vtep),
        };
        let ports = vec![
            port(site::CLUSTER, Who::GatewayCluster)?,
            port(site::UPLINK, Who::GatewayUplink)?,
        ];
        Ok(Local { ports, vxlan: Some(vxlan) })
    }

    fn vtep(&self, node: u32) -> Vtep {
        let addr = Who::Node(node).addr(self.family);
        Vtep {
            name: format!("node{node}").into(),
            v4: V4::from_ip(addr),
            v6: V6::from_ip(addr),
            mac_v4: site::vtep_mac(node),
            mac_v6: site::vtep_mac(node),
        }
    }

    fn half<F: TableFamily>(&self) -> Result<FamilyTables<F>> {
        let mut half = FamilyTables::<F>::default();
        for service in 0..self.services {
            let vip = self.addr::<F>(Who::Vip(service))?;
            half.vips.insert(vip, Vip { announce: false });
            let key = FrontendKey { addr: vip, l4_port: SERVICE_PORT, protocol: self.protocol };
            half.frontends.insert(key, self.frontend(service, self.backends)?);
        }
        let cluster = PortId(site::CLUSTER as u8);
        let uplink = PortId(site::UPLINK as u8);
        let snat = (0..site::SNAT_ADDRESSES).map(|n| self.addr::<F>(Who::Snat(n)));
        let snat = snat.collect::<Result<Vec<_>>>()?;
        let mut local: hashbrown::HashMap<F::Addr, LocalAddress> =
            snat.iter().map(|addr| (*addr, LocalAddress::Snat)).collect();
        local.insert(self.addr::<F>(Who::GatewayCluster)?, LocalAddress::Port(cluster));
        local.insert(self.addr::<F>(Who::GatewayUplink)?, LocalAddress::Port(uplink));
        half.local = Arc::new(local);
        half.snat = Arc::new(SnatPool {
            mode: NatMode::Snat,
            addresses: snat,
            port_min: site::SNAT_PORTS.0,
            port_max: site::SNAT_PORTS.1,
        });
        let link = |who: Who, port| -> Result<_> {
            let target = RouteTarget::Connected(port);
            Ok((self.addr::<F>(who)?, who.prefix_len(self.family), target))
        };
        let mut routes = vec![
            (F::Addr::default(), 0, RouteTarget::Via(uplink, self.addr::<F>(Who::Router)?)),
            link(Who::GatewayCluster, cluster)?,
            link(Who::GatewayUplink, uplink)?,
        ];
        let mut vteps = hashbrown::HashMap::new();
        for node in 0..self.nodes {
            let pods = Who::Pod(node, 0);
            let target = RouteTarget::Tunnel(VtepId(node));
            routes.push((self.addr::<F>(pods)?, pods.prefix_len(self.family), target));
            vteps.insert(self.addr::<F>(Who::Node(node))?, VtepId(node));
        }
        half.routes = Arc::new(Routes::build(routes));
        half.vteps_by_addr = Arc::new(vteps);
        half.nodes_by_addr = half.vteps_by_addr.clone();
        Ok(half)
    }

    fn frontend<F: TableFamily>(&self, service: u32, backends: u32) -> Result<Frontend<F>> {
        let first = service * self.backends;
        let backend = |id: u32| -> Result<BackendRef<F>> {
            let addr = F::from_ip(self.backend(id).1).context("family")?;
            Ok(BackendRef { id: BackendId(id), addr, l4_port: TARGET_PORT, weight: 1 })
        };
        let backends = (first..first + backends).map(backend).collect::<Result<Vec<_>>>()?;
        let backends = Arc::new(BackendSet::new(backends));
        Ok(Frontend { service: ServiceId(service), backends, rules: None })
    }

    fn addr<F: TableFamily>(&self, who: Who) -> Result<F::Addr> {
        F::from_ip(who.addr(self.family)).context("family")
    }

    /// Changes one endpoint: takes a Service's last one out of rotation (it
    /// goes on serving the flows that it has), or puts it back.
    ///
    /// # Errors
    /// As [`Cluster::tables`].
    pub fn change(&self, tables: &mut Tables, service: u32, present: bool) -> Result<()> {
        tables.version += 1;
        let last = (service + 1) * self.backends - 1;
        let state = if present { BackendState::Ready } else { BackendState::Draining };
        tables.backends.set(last, state);
        tables.service_epochs[Tables::service_group(ServiceId(service))] += 1;
        let count = self.backends - u32::from(!present);
        match self.family {
            Family::V4 => self.replace(&mut tables.v4, service, count),
            Family::V6 => self.replace(&mut tables.v6, service, count),
        }
    }

    fn replace<F: TableFamily>(
        &self,
        half: &mut FamilyTables<F>,
        service: u32,
        count: u32,
    ) -> Result<()> {
        let addr = self.addr::<F>(Who::Vip(service))?;
        let key = FrontendKey { addr, l4_port: SERVICE_PORT, protocol: self.protocol };
        half.frontends.insert(key, self.frontend(service, count)?);
        Ok(())
    }
}
