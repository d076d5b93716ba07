use super::{Protocol, Service, ServiceAddress, ServicePort, TargetPort, addresses, policies};
use crate::cluster::annotations::{HEADLESS, PROXY_NAME, label};
use crate::diagnostic::Finding;
use k8s_openapi::api::core::v1::{self, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(super) fn reduce(service: &v1::Service, findings: &mut Vec<Finding>) -> Service {
    let spec = service.spec.clone().unwrap_or_default();
    let kind = spec.type_.clone().unwrap_or_else(|| "ClusterIP".to_owned());
    let is_external_name = kind == "ExternalName";
    let is_headless = spec.cluster_ip.as_deref() == Some("None")
        || spec.cluster_ips.iter().flatten().any(|ip| ip == "None");
    let mut told = if is_headless || is_external_name {
        Vec::new()
    } else {
        addresses::of_cluster(&spec, findings)
    };
    let families = families(&spec, &told);
    let is_balancer = kind == "LoadBalancer";
    if is_balancer {
        told.extend(addresses::of_balancers(service, findings));
    }
    if !is_headless && !is_external_name {
        told.extend(addresses::external(&spec, findings));
    }
    let has_node_ports = (is_balancer || kind == "NodePort") && !is_headless;
    let ports = ports(&spec, has_node_ports, findings);
    let is_at_nodes = ports.iter().any(|port| port.node_port.is_some());
    if told.is_empty() && !is_at_nodes && !is_headless && !is_external_name {
        let message = "has no address; nothing is forwarded to it";
        let expected = "`spec.clusterIP`, or `status.loadBalancer.ingress` of a LoadBalancer";
        findings.push(Finding::warning("spec.clusterIP", message).expected(expected));
    } else if is_balancer && addresses::ingress(service).is_empty() {
        let message = match is_at_nodes {
            true => "is empty; the Service is reached from outside at its node ports only",
            false => "is empty; the Service is not reached from outside",
        };
        let finding = Finding::warning("status.loadBalancer", message);
        findings.push(finding.expected("`ingress` with an address, as a load balancer sets it"));
    }
    crate::status::facts::check(service, findings);
    let metadata = &service.metadata;
    let is_external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let health_check_port = spec.health_check_node_port.filter(|_| is_balancer);
    Service {
        created: metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()),
        ports,
        families,
        told,
        addresses: Vec::new(),
        proxy_name: label(metadata, PROXY_NAME).map(str::to_owned),
        is_headless: label(metadata, HEADLESS).is_some(),
        is_ours: false,
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        affinity_s: policies::affinity_s(&spec),
        balance: policies::balance(metadata, findings),
        distribution: policies::distribution(&spec, findings),
        is_internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        is_external_local,
        sources: policies::sources(&spec, findings).filter(|_| is_balancer),
        health_check_port: health_check_port
            .filter(|_| is_external_local)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0),
        selector: spec.selector.unwrap_or_default(),
        kind,
    }
}

fn ports(
    spec: &ServiceSpec,
    has_node_ports: bool,
    findings: &mut Vec<Finding>,
) -> Vec<ServicePort> {
    let mut ports = Vec::new();
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let Some(protocol) = Protocol::of(port.protocol.as_deref()) else {
            let found = port.protocol.as_deref().unwrap_or_default();
            let message = format!("{found} is not forwarded; the other ports are");
            let path = format!("spec.ports[{index}].protocol");
            findings.push(Finding::warning(path, message).expected("TCP, UDP or SCTP"));
            continue;
        };
        let Ok(number) = u16::try_from(port.port) else { continue };
        let l4_port = |number: i32| u16::try_from(number).ok().filter(|number| *number != 0);
        let target = match &port.target_port {
            Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
            Some(IntOrString::Int(target)) => {
                TargetPort::Number(l4_port(*target).unwrap_or(number))
            }
            None => TargetPort::Number(number),
        };
        let name = port.name.clone().unwrap_or_default();
        let node_port = port.node_port.filter(|_| has_node_ports).and_then(l4_port);
        ports.push(ServicePort { index, name, port: number, node_port, protocol, target });
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
