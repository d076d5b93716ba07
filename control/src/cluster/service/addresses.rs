use super::{AddressKind, ServiceAddress};
use crate::cluster::address;
use crate::diagnostic::Finding;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServiceSpec};
use std::net::IpAddr;

pub(super) fn of_cluster(spec: &ServiceSpec, findings: &mut Vec<Finding>) -> Vec<ServiceAddress> {
    let list = spec.cluster_ips.as_deref().unwrap_or_default();
    let all: Vec<(String, &String)> = if list.is_empty() {
        spec.cluster_ip.iter().map(|ip| ("spec.clusterIP".to_owned(), ip)).collect()
    } else {
        list.iter().enumerate().map(|(i, ip)| (format!("spec.clusterIPs[{i}]"), ip)).collect()
    };
    usable(all.into_iter(), AddressKind::Cluster, findings)
}

/// `status.loadBalancer.ingress`.
pub(super) fn ingress(service: &Service) -> &[LoadBalancerIngress] {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default()
}

pub(super) fn of_balancers(service: &Service, findings: &mut Vec<Finding>) -> Vec<ServiceAddress> {
    let all = ingress(service)
        .iter()
        .enumerate()
        // With ipMode Proxy the load balancer answers itself (KEP-1860).
        .filter(|(_, ingress)| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|(i, ingress)| {
            Some((format!("status.loadBalancer.ingress[{i}].ip"), ingress.ip.as_ref()?))
        });
    usable(all, AddressKind::Balancer, findings)
}

/// `spec.externalIPs`, whether the Service may have them or not.
pub(super) fn external(spec: &ServiceSpec, findings: &mut Vec<Finding>) -> Vec<ServiceAddress> {
    let all = spec.external_ips.iter().flatten().enumerate();
    let all = all.map(|(i, ip)| (format!("spec.externalIPs[{i}]"), ip));
    usable(all, AddressKind::External, findings)
}

fn usable<'a>(
    all: impl Iterator<Item = (String, &'a String)>,
    kind: AddressKind,
    findings: &mut Vec<Finding>,
) -> Vec<ServiceAddress> {
    let mut good: Vec<ServiceAddress> = Vec::new();
    for (path, text) in all.filter(|(_, text)| !text.is_empty()) {
        let reason = match text.parse::<IpAddr>() {
            Err(_) => "no IP address",
            Ok(addr) => match address::unusable(addr) {
                Some(reason) => reason,
                None if good.iter().any(|other| other.addr == addr) => continue,
                None => {
                    good.push(ServiceAddress { addr, kind, path });
                    continue;
                }
            },
        };
        let message = format!("{text:?} is {reason}; the Service is not reached by it");
        findings.push(Finding::error(path, message).expected("a unicast address"));
    }
    good
}
