use crate::cluster::{AddressKind, Cluster, Distribution, Protocol, Service, ServicePort};
use crate::compile::{Compiler, Half, Halves, Programmed, ProgrammedPort};
use crate::object::Name;
use serde::{Deserialize, Serialize};
use sluice_tables::{BackendState, Balance, V4, V6};
use std::collections::{BTreeMap, BTreeSet};
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
    /// The gateway's own addresses where it is reached by its node ports.
    pub node_addresses: Vec<String>,
    /// What it asks for.
    pub policies: PoliciesView,
    /// Its ports that are reached by at least one address.
    pub ports: Vec<ServicePortView>,
}

/// A virtual IP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipView {
    /// The address.
    pub address: String,
    /// `cluster`, `balancer` or `external`.
    pub kind: String,
    /// Whether ARP and ND requests for it are answered here.
    pub announced: bool,
}

/// What a Service asks for beyond addresses and ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoliciesView {
    /// The proxy it is meant for, if that is told. It has no address here if
    /// that is another one.
    pub proxy_name: Option<String>,
    /// How long a client goes where it went before, in seconds.
    pub affinity_s: Option<u32>,
    /// `consistent`, `least-connections` or `random-of-two`.
    pub balance: String,
    /// `spec.internalTrafficPolicy` is Local.
    pub internal_local: bool,
    /// `spec.externalTrafficPolicy` is Local.
    pub external_local: bool,
    /// `PreferSameZone` or `PreferSameNode`.
    pub distribution: Option<String>,
    /// Who may connect to load balancers' addresses; `None`: everyone.
    pub source_ranges: Option<Vec<String>>,
    /// The TCP port where somebody asks whether it has endpoints here.
    pub health_check_port: Option<u16>,
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
    /// The port that clients address at the gateway's own addresses.
    pub node_port: Option<u16>,
    /// `TCP`, `UDP` or `SCTP`.
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
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// `ready`, `draining` or `not ready`.
    pub state: String,
    /// Whether new flows may get it.
    pub in_rotation: bool,
    /// Its share of new flows, in proportion to the others' weights.
    pub weight: u16,
    /// The pod behind it, of the Service's namespace.
    pub pod: Option<String>,
    /// The node that it is on.
    pub node: Option<String>,
    /// The zone that it is in.
    pub zone: Option<String>,
    /// The nodes whose pods should use it.
    pub for_nodes: Vec<String>,
    /// The zones whose clients should use it.
    pub for_zones: Vec<String>,
}

/// All Services, in order.
pub(crate) fn services(cluster: &Cluster, compiler: &Compiler) -> Vec<ServiceView> {
    let services = cluster.services();
    services.map(|(name, service)| service_view(compiler, name, service)).collect()
}

fn service_view(compiler: &Compiler, name: &Name, service: &Service) -> ServiceView {
    let programmed = compiler.programmed(name);
    let fronts = programmed.map(fronts).unwrap_or_default();
    let mut vips: Vec<VipView> = Vec::new();
    for address in &service.addresses {
        let Some(kind) = fronts.get(&address.addr) else { continue };
        let announced = compiler.is_announced(address.addr);
        let kind = kind_text(*kind).to_owned();
        let vip = VipView { address: address.addr.to_string(), kind, announced };
        if !vips.contains(&vip) {
            vips.push(vip);
        }
    }
    let nodes = fronts.iter().filter(|(_, kind)| **kind == AddressKind::NodePort);
    let told: BTreeMap<_, _> =
        service.ports.iter().map(|port| ((port.port, port.protocol), port)).collect();
    let ports = programmed.into_iter().flat_map(|programmed| &programmed.ports);
    ServiceView {
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
        kind: service.kind.clone(),
        vips,
        node_addresses: nodes.map(|(addr, _)| addr.to_string()).collect(),
        policies: policies(service),
        ports: ports.map(|(key, port)| port_view(told.get(key).copied(), *key, port)).collect(),
    }
}

/// The addresses that a Service is reached by, and what they are.
fn fronts(programmed: &Programmed) -> BTreeMap<IpAddr, AddressKind> {
    let v4 = programmed.ports.values().flat_map(|port| &port.v4.fronts);
    let v6 = programmed.ports.values().flat_map(|port| &port.v6.fronts);
    let v4 = v4.map(|((addr, _), kind)| (IpAddr::from(*addr), *kind));
    v4.chain(v6.map(|((addr, _), kind)| (IpAddr::from(*addr), *kind))).collect()
}

fn policies(service: &Service) -> PoliciesView {
    let ranges = |nets: &Vec<ipnet::IpNet>| nets.iter().map(ToString::to_string).collect();
    PoliciesView {
        proxy_name: service.proxy_name.clone(),
        affinity_s: service.affinity_s,
        balance: match service.balance {
            Balance::Consistent => "consistent",
            Balance::LeastConnections => "least-connections",
            Balance::RandomOfTwo => "random-of-two",
        }
        .to_owned(),
        internal_local: service.is_internal_local,
        external_local: service.is_external_local,
        distribution: service.distribution.map(|distribution| {
            match distribution {
                Distribution::SameZone => "PreferSameZone",
                Distribution::SameNode => "PreferSameNode",
            }
            .to_owned()
        }),
        source_ranges: service.sources.as_ref().map(ranges),
        health_check_port: service.health_check_port(),
    }
}

fn port_view(
    told: Option<&ServicePort>,
    (port, protocol): (u16, Protocol),
    programmed: &ProgrammedPort,
) -> ServicePortView {
    let count = |state| count(&programmed.v4, state) + count(&programmed.v6, state);
    let v4 = programmed.v4.fronts.iter().map(|((_, port), kind)| (*port, *kind));
    let v6 = programmed.v6.fronts.iter().map(|((_, port), kind)| (*port, *kind));
    let node_port = v4.chain(v6).find(|(_, kind)| *kind == AddressKind::NodePort);
    ServicePortView {
        id: programmed.id.0,
        name: told.map(|port| port.name.clone()).unwrap_or_default(),
        port,
        node_port: node_port.map(|(port, _)| port),
        protocol: protocol.as_str().to_owned(),
        ready: count(BackendState::Ready),
        draining: count(BackendState::Draining),
        not_ready: count(BackendState::NotReady),
    }
}

fn kind_text(kind: AddressKind) -> &'static str {
    match kind {
        AddressKind::Cluster => "cluster",
        AddressKind::Balancer => "balancer",
        AddressKind::External => "external",
        AddressKind::NodePort => "node",
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
                weight: 0,
                pod: None,
                node: None,
                zone: None,
                for_nodes: Vec::new(),
                for_zones: Vec::new(),
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
    let sets = [&half.rotation].into_iter().chain(half.rules.sets());
    let rotation: BTreeSet<_> =
        sets.flat_map(|set| set.backends()).map(|backend| backend.id).collect();
    views.extend(half.members.iter().map(|(&(addr, l4_port), member)| BackendView {
        id: member.id.0,
        address: F::to_ip(addr).to_string(),
        port: l4_port,
        state: state_text(member.state).to_owned(),
        in_rotation: rotation.contains(&member.id),
        weight: member.weight,
        pod: member.pod.as_deref().map(str::to_owned),
        node: member.node.as_deref().map(str::to_owned),
        zone: member.zone.as_deref().map(str::to_owned),
        for_nodes: names(member.hints.iter().flat_map(|hints| &hints.nodes)),
        for_zones: names(member.hints.iter().flat_map(|hints| &hints.zones)),
        ..template.clone()
    }));
}

fn names<'a>(names: impl Iterator<Item = &'a std::sync::Arc<str>>) -> Vec<String> {
    names.map(|name| name.to_string()).collect()
}

fn state_text(state: BackendState) -> &'static str {
    match state {
        BackendState::Gone => "gone",
        BackendState::NotReady => "not ready",
        BackendState::Draining => "draining",
        BackendState::Ready => "ready",
    }
}
