use super::address;
use crate::diagnostic::Finding;
use k8s_openapi::api::core::v1::{self, LoadBalancerIngress, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A transport protocol of Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The protocol of this name in Kubernetes, where no name means TCP.
    pub fn of(name: Option<&str>) -> Option<Protocol> {
        match name {
            None | Some("TCP") => Some(Protocol::Tcp),
            Some("UDP") => Some(Protocol::Udp),
            Some(_) => None,
        }
    }

    /// The IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    /// The name in Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
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
    /// The protocol.
    pub protocol: Protocol,
    /// The pods' port.
    pub target: TargetPort,
}

/// An address of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddress {
    /// The address.
    pub addr: IpAddr,
    /// It is for the outside: one of `status.loadBalancer.ingress`.
    pub is_balancer: bool,
    /// Its path in the manifest.
    pub path: String,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `spec.type`.
    pub kind: String,
    /// When it was made, in seconds since 1970; where two Services that are new
    /// claim one address, the older one has it.
    pub created: Option<i64>,
    /// Its ports of protocols that are understood.
    pub ports: Vec<ServicePort>,
    /// Labels of its pods; empty: its endpoints come from elsewhere.
    pub selector: BTreeMap<String, String>,
    /// Its addresses, those inside the cluster first.
    pub addresses: Vec<ServiceAddress>,
    /// Families of endpoints that it has: IPv4, IPv6.
    pub families: [bool; 2],
    /// Whether pods count as ready whatever they say.
    pub publish_not_ready: bool,
}

impl Service {
    /// Reduces a Service; what is left out becomes a finding.
    pub fn reduce(service: &v1::Service, findings: &mut Vec<Finding>) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let kind = spec.type_.clone().unwrap_or_else(|| "ClusterIP".to_owned());
        let is_external_name = kind == "ExternalName";
        let is_headless = spec.cluster_ip.as_deref() == Some("None")
            || spec.cluster_ips.iter().flatten().any(|ip| ip == "None");
        let mut addresses =
            if is_headless || is_external_name { Vec::new() } else { cluster_ips(&spec, findings) };
        let families = families(&spec, &addresses);
        let is_balancer = kind == "LoadBalancer";
        if is_balancer {
            addresses.extend(balancer_ips(service, findings));
        }
        if addresses.is_empty() && !is_headless && !is_external_name {
            let message = "has no address; nothing is forwarded to it";
            let expected = "`spec.clusterIP`, or `status.loadBalancer.ingress` of a LoadBalancer";
            findings.push(Finding::warning("spec.clusterIP", message).expected(expected));
        } else if is_balancer && ingress(service).is_empty() {
            let message = "is empty; the Service is not reached from outside";
            let finding = Finding::warning("status.loadBalancer", message);
            findings
                .push(finding.expected("`ingress` with an address, as a load balancer sets it"));
        }
        if !is_headless && !is_external_name {
            warn_of_unsupported(&spec, findings);
        }
        let metadata = &service.metadata;
        Service {
            created: metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()),
            ports: ports(&spec, findings),
            families,
            selector: spec.selector.unwrap_or_default(),
            addresses,
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
            kind,
        }
    }

    /// All its addresses: (address, whether it is for the outside).
    pub fn vips(&self) -> impl Iterator<Item = (IpAddr, bool)> {
        self.addresses.iter().map(|address| (address.addr, address.is_balancer))
    }
}

fn cluster_ips(spec: &ServiceSpec, findings: &mut Vec<Finding>) -> Vec<ServiceAddress> {
    let list = spec.cluster_ips.as_deref().unwrap_or_default();
    let all: Vec<(String, &String)> = if list.is_empty() {
        spec.cluster_ip.iter().map(|ip| ("spec.clusterIP".to_owned(), ip)).collect()
    } else {
        list.iter().enumerate().map(|(i, ip)| (format!("spec.clusterIPs[{i}]"), ip)).collect()
    };
    usable(all.into_iter().filter(|(_, ip)| !ip.is_empty()), false, findings)
}

fn ingress(service: &v1::Service) -> &[LoadBalancerIngress] {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default()
}

fn balancer_ips(service: &v1::Service, findings: &mut Vec<Finding>) -> Vec<ServiceAddress> {
    let all = ingress(service)
        .iter()
        .enumerate()
        // With ipMode Proxy the load balancer answers itself (KEP-1860).
        .filter(|(_, ingress)| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|(i, ingress)| {
            Some((format!("status.loadBalancer.ingress[{i}].ip"), ingress.ip.as_ref()?))
        });
    usable(all.filter(|(_, ip)| !ip.is_empty()), true, findings)
}

fn usable<'a>(
    all: impl Iterator<Item = (String, &'a String)>,
    is_balancer: bool,
    findings: &mut Vec<Finding>,
) -> Vec<ServiceAddress> {
    let mut good: Vec<ServiceAddress> = Vec::new();
    for (path, text) in all {
        let reason = match text.parse::<IpAddr>() {
            Err(_) => "no IP address",
            Ok(addr) => match address::unusable(addr) {
                Some(reason) => reason,
                None if good.iter().any(|other| other.addr == addr) => continue,
                None => {
                    good.push(ServiceAddress { addr, is_balancer, path });
                    continue;
                }
            },
        };
        let message = format!("{text:?} is {reason}; the Service is not reached by it");
        findings.push(Finding::error(path, message).expected("a unicast address"));
    }
    good
}

fn ports(spec: &ServiceSpec, findings: &mut Vec<Finding>) -> Vec<ServicePort> {
    let mut ports = Vec::new();
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let Some(protocol) = Protocol::of(port.protocol.as_deref()) else {
            let found = port.protocol.as_deref().unwrap_or_default();
            let message = format!("{found} is not forwarded; the other ports are");
            let path = format!("spec.ports[{index}].protocol");
            findings.push(Finding::warning(path, message).expected("TCP or UDP"));
            continue;
        };
        let Ok(number) = u16::try_from(port.port) else { continue };
        let target = match &port.target_port {
            Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
            Some(IntOrString::Int(target)) => TargetPort::Number(
                u16::try_from(*target).ok().filter(|t| *t != 0).unwrap_or(number),
            ),
            None => TargetPort::Number(number),
        };
        let name = port.name.clone().unwrap_or_default();
        ports.push(ServicePort { index, name, port: number, protocol, target });
    }
    ports
}

/// `spec.ipFamilies`, else those of the ClusterIPs, else both.
fn families(spec: &ServiceSpec, cluster_ips: &[ServiceAddress]) -> [bool; 2] {
    let told = spec.ip_families.as_deref().unwrap_or_default();
    let families = if told.is_empty() {
        let some = |is_ipv4| cluster_ips.iter().any(|ip| ip.addr.is_ipv4() == is_ipv4);
        [some(true), some(false)]
    } else {
        [told.iter().any(|f| f == "IPv4"), told.iter().any(|f| f == "IPv6")]
    };
    if families == [false, false] { [true, true] } else { families }
}

/// Fields that ask for what is not done.
fn warn_of_unsupported(spec: &ServiceSpec, findings: &mut Vec<Finding>) {
    let is = |field: &Option<String>, value: &str| field.as_deref() == Some(value);
    let some = |field: &Option<Vec<String>>| field.as_ref().is_some_and(|list| !list.is_empty());
    let table = [
        (is(&spec.session_affinity, "ClientIP"), "sessionAffinity", "each connection is balanced"),
        (is(&spec.external_traffic_policy, "Local"), "externalTrafficPolicy", "all nodes are used"),
        (is(&spec.internal_traffic_policy, "Local"), "internalTrafficPolicy", "all nodes are used"),
        (some(&spec.external_ips), "externalIPs", "they are not served"),
        (
            some(&spec.load_balancer_source_ranges),
            "loadBalancerSourceRanges",
            "all sources may connect",
        ),
    ];
    for (found, field, consequence) in table {
        if found {
            let message = format!("is not supported yet: {consequence}");
            findings.push(Finding::warning(format!("spec.{field}"), message));
        }
    }
    if is(&spec.type_, "NodePort") {
        let message = "node ports are not supported yet: only the ClusterIP is served";
        findings.push(Finding::warning("spec.type", message));
    }
}
