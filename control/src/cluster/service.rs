use super::policy::Policy;
use crate::diagnostic::Finding;
use ipnet::IpNet;
use k8s_openapi::api::core::v1;
use sluice_tables::Balance;
use std::collections::BTreeMap;
use std::net::IpAddr;

mod addresses;
mod policies;
mod reduce;

/// A transport protocol of Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The protocol of this name in Kubernetes, where no name means TCP.
    pub fn of(name: Option<&str>) -> Option<Protocol> {
        match name {
            None | Some("TCP") => Some(Protocol::Tcp),
            Some("UDP") => Some(Protocol::Udp),
            Some("SCTP") => Some(Protocol::Sctp),
            Some(_) => None,
        }
    }

    /// The IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    /// The name in Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        }
    }
}

/// The port of a Service that a packet is sent on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The same number on every pod.
    Number(u16),
    /// The container port of this name, pod by pod.
    Name(String),
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its index in `spec.ports`.
    pub index: usize,
    /// Its name; empty if it is the only one.
    pub name: String,
    /// The port that clients address.
    pub port: u16,
    /// The port that clients address at the gateway's own addresses.
    pub node_port: Option<u16>,
    /// The protocol.
    pub protocol: Protocol,
    /// The pods' port.
    pub target: TargetPort,
}

/// What an address is to a Service. Of claims that are first seen together,
/// the first kind has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// `spec.clusterIPs`.
    Cluster,
    /// One of `status.loadBalancer.ingress`.
    Balancer,
    /// One of `spec.externalIPs`.
    External,
    /// An address of the gateway's own, at a node port.
    NodePort,
}

/// An address of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddress {
    /// The address.
    pub addr: IpAddr,
    /// What it is to the Service.
    pub kind: AddressKind,
    /// Its path in the manifest.
    pub path: String,
}

/// Which endpoints a client prefers (`spec.trafficDistribution`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Those in its zone.
    SameZone,
    /// Those on its node, then those in its zone.
    SameNode,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `spec.type`.
    pub kind: String,
    /// When it was made, in seconds since 1970; where two Services that are new
    /// claim one address, the older one has it.
    pub created: Option<i64>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Labels of its pods; empty: its endpoints come from elsewhere.
    pub selector: BTreeMap<String, String>,
    /// The addresses that it asks for.
    told: Vec<ServiceAddress>,
    /// Those of them that it may have, those inside the cluster first.
    pub addresses: Vec<ServiceAddress>,
    /// The proxy that it is meant for.
    pub proxy_name: Option<String>,
    /// It is marked as headless, whatever else it says.
    is_headless: bool,
    /// It is served here: it is meant for no other proxy.
    pub is_ours: bool,
    /// Families of endpoints that it has: IPv4, IPv6.
    pub families: [bool; 2],
    /// Whether pods count as ready whatever they say.
    pub publish_not_ready: bool,
    /// How long a client goes where it went before, in seconds
    /// (`spec.sessionAffinity`).
    pub affinity_s: Option<u32>,
    /// How endpoints are chosen.
    pub balance: Balance,
    /// Which endpoints a client prefers, where no slices say so.
    pub distribution: Option<Distribution>,
    /// `spec.internalTrafficPolicy` is Local.
    pub is_internal_local: bool,
    /// `spec.externalTrafficPolicy` is Local.
    pub is_external_local: bool,
    /// Who may connect to its load balancer's addresses; `None`: everyone.
    pub sources: Option<Vec<IpNet>>,
    /// `spec.healthCheckNodePort`.
    health_check_port: Option<u16>,
}

impl Service {
    /// Reduces a Service; what is left out becomes a finding. It has no address
    /// before [`Service::admit`].
    pub fn reduce(service: &v1::Service, findings: &mut Vec<Finding>) -> Self {
        reduce::reduce(service, findings)
    }

    /// Decides by the configuration what it may have.
    pub(super) fn admit(&mut self, policy: &Policy) {
        self.is_ours = !self.is_headless && policy.serves(self.proxy_name.as_deref());
        let told = self.told.iter().filter(|_| self.is_ours);
        self.addresses = told.filter(|address| policy.admits(address)).cloned().collect();
    }

    /// The addresses that it asks for and may not have, while it is served.
    pub fn unadmitted(&self) -> impl Iterator<Item = &ServiceAddress> {
        let told = self.told.iter().filter(|_| self.is_ours);
        told.filter(|address| !self.addresses.contains(address))
    }

    /// All its addresses: (address, whether it is for the outside).
    pub fn vips(&self) -> impl Iterator<Item = (IpAddr, bool)> {
        self.addresses.iter().map(|address| (address.addr, address.kind != AddressKind::Cluster))
    }

    /// Its ports that have a node port: the port, and that.
    pub fn node_ports(&self) -> impl Iterator<Item = (&ServicePort, u16)> {
        let ports = self.ports.iter().filter(|_| self.is_ours);
        ports.filter_map(|port| Some((port, port.node_port?)))
    }

    /// The TCP port where somebody asks whether it has endpoints here.
    pub fn health_check_port(&self) -> Option<u16> {
        self.health_check_port.filter(|_| self.is_ours)
    }
}
