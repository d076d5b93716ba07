use crate::cluster::{Cluster, Protocol, Service, ServicePort};
use crate::compile::{Compiler, Half, Halves, ProgrammedPort};
use crate::object::Name;
use serde::{Deserialize, Serialize};
use sluice_tables::{BackendState, V4, V6};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.type`.
    pub kind: String,
    /// The addresses it is reached by, ClusterIPs first.
    pub vips: Vec<VipView>,
    /// Its ports that are reached by at least one address.
    pub ports: Vec<ServicePortView>,
}

/// A virtual IP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipView {
    /// The address.
    pub address: String,
    /// Whether ARP and ND requests for it are answered.
    pub announced: bool,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePortView {
    /// Its number in counters and flows.
    pub id: u32,
    /// Its name; empty if it is the only one.
    pub name: String,
    /// The port that clients address.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Endpoints that are ready, IPv4 and IPv6.
    pub ready: usize,
    /// Endpoints that terminate and still serve.
    pub draining: usize,
    /// Endpoints that are not ready.
    pub not_ready: usize,
}

/// One endpoint of one port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendView {
    /// Its number.
    pub id: u32,
    /// The Service, as `namespace/name`.
    pub service: String,
    /// The port that clients address.
    pub service_port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// `ready`, `draining` or `not ready`.
    pub state: String,
    /// Whether new flows may get it.
    pub in_rotation: bool,
    /// The pod behind it, of the Service's namespace.
    pub pod: Option<String>,
    /// The node that it is on.
    pub node: Option<String>,
}

/// All Services, in order.
pub(crate) fn services(cluster: &Cluster, compiler: &Compiler) -> Vec<ServiceView> {
    let services = cluster.services();
    services.map(|(name, service)| service_view(cluster, compiler, name, service)).collect()
}

fn service_view(
    cluster: &Cluster,
    compiler: &Compiler,
    name: &Name,
    service: &Service,
) -> ServiceView {
    let programmed = compiler.programmed(name);
    let is_ours = |addr: IpAddr| {
        programmed.iter().flat_map(|p| p.ports.values()).any(|port| has_vip(port, addr))
    };
    let mut vips: Vec<VipView> = Vec::new();
    for (addr, _) in service.vips().filter(|(addr, _)| is_ours(*addr)) {
        let announced = cluster.share(addr).is_some_and(|share| share.is_announced());
        let vip = VipView { address: addr.to_string(), announced };
        if !vips.contains(&vip) {
            vips.push(vip);
        }
    }
    let ports = programmed.into_iter().flat_map(|programmed| &programmed.ports);
    ServiceView {
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
        kind: service.kind.clone(),
        vips,
        ports: ports.map(|(key, port)| port_view(service, *key, port)).collect(),
    }
}

fn port_view(
    service: &Service,
    (port, protocol): (u16, Protocol),
    programmed: &ProgrammedPort,
) -> ServicePortView {
    let is_it = |p: &&ServicePort| p.port == port && p.protocol == protocol;
    let count = |state| count(&programmed.v4, state) + count(&programmed.v6, state);
    ServicePortView {
        id: programmed.id.0,
        name: service.ports.iter().find(is_it).map(|p| p.name.clone()).unwrap_or_default(),
        port,
        protocol: protocol.as_str().to_owned(),
        ready: count(BackendState::Ready),
        draining: count(BackendState::Draining),
        not_ready: count(BackendState::NotReady),
    }
}

fn has_vip(port: &ProgrammedPort, addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => port.v4.vips.contains(&addr.octets()),
        IpAddr::V6(addr) => port.v6.vips.contains(&addr.octets()),
    }
}

fn count<F: Halves>(half: &Half<F>, state: BackendState) -> usize {
    half.members.values().filter(|member| member.state == state).count()
}

/// All endpoints, in order of Service, port and address.
pub(crate) fn backends(cluster: &Cluster, compiler: &Compiler) -> Vec<BackendView> {
    let mut views = Vec::new();
    for (name, _) in cluster.services() {
        for (&(port, protocol), programmed) in
            compiler.programmed(name).into_iter().flat_map(|p| &p.ports)
        {
            let template = BackendView {
                id: 0,
                service: name.to_string(),
                service_port: port,
                protocol: protocol.as_str().to_owned(),
                address: String::new(),
                port: 0,
                state: String::new(),
                in_rotation: false,
                pod: None,
                node: None,
            };
            half_views::<V4>(programmed, &template, &mut views);
            half_views::<V6>(programmed, &template, &mut views);
        }
    }
    views
}

fn half_views<F: Halves>(
    port: &ProgrammedPort,
    template: &BackendView,
    views: &mut Vec<BackendView>,
) {
    let half = F::half(port);
    let rotation: BTreeSet<_> = half.rotation.backends().iter().map(|backend| backend.id).collect();
    views.extend(half.members.iter().map(|(&(addr, l4_port), member)| BackendView {
        id: member.id.0,
        address: F::to_ip(addr).to_string(),
        port: l4_port,
        state: state_text(member.state).to_owned(),
        in_rotation: rotation.contains(&member.id),
        pod: member.pod.as_deref().map(str::to_owned),
        node: member.node.as_deref().map(str::to_owned),
        ..template.clone()
    }));
}

fn state_text(state: BackendState) -> &'static str {
    match state {
        BackendState::Gone => "gone",
        BackendState::NotReady => "not ready",
        BackendState::Draining => "draining",
        BackendState::Ready => "ready",
    }
}
