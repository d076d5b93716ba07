use super::{check_l4_port, check_protocol, is_port_name};
use crate::cluster::address;
use crate::diagnostic::Finding;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) fn refusals(service: &Service, findings: &mut Vec<Finding>) {
    let Some(spec) = &service.spec else {
        findings.push(Finding::error("spec", "is missing").expected("a mapping with `ports`"));
        return;
    };
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    if !matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName") {
        let message = format!("{kind:?} is no type of Service");
        let expected = "ClusterIP, NodePort, LoadBalancer or ExternalName";
        findings.push(Finding::error("spec.type", message).expected(expected));
    }
    let is_headless = spec.cluster_ip.as_deref() == Some("None");
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && kind != "ExternalName" && !is_headless {
        findings.push(Finding::error("spec.ports", "is missing").expected("at least one port"));
    }
    check_ports(ports, findings);
    check_node_ports(kind, ports, findings);
    check_policies(spec, findings);
    check_cluster_ips(spec, findings);
    check_families(spec, findings);
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    for (i, ip) in spec.external_ips.iter().flatten().enumerate() {
        check_ip(&format!("spec.externalIPs[{i}]"), ip, findings);
    }
    for (i, ingress) in ingress.iter().enumerate() {
        if let Some(ip) = ingress.ip.as_deref().filter(|ip| !ip.is_empty()) {
            check_ip(&format!("status.loadBalancer.ingress[{i}].ip"), ip, findings);
        }
    }
}

fn check_ports(ports: &[ServicePort], findings: &mut Vec<Finding>) {
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        check_l4_port(&format!("{path}.port"), port.port, findings);
        check_protocol(&format!("{path}.protocol"), port.protocol.as_deref(), findings);
        let name = port.name.as_deref().unwrap_or_default();
        let name_path = format!("{path}.name");
        if name.is_empty() && ports.len() > 1 {
            let finding = Finding::error(name_path, "is missing");
            findings.push(finding.expected("a name, since the Service has several ports"));
        } else if !names.insert(name) {
            let message = format!("another port of the Service is named {name:?}");
            findings.push(Finding::error(name_path, message).expected("a name of its own"));
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if !numbers.insert((port.port, protocol)) {
            let message = format!("the Service has port {} of {protocol} already", port.port);
            let finding = Finding::error(format!("{path}.port"), message);
            findings.push(finding.expected("each port and protocol once"));
        }
        let target_path = format!("{path}.targetPort");
        match &port.target_port {
            // The API fills a missing target port in.
            None | Some(IntOrString::Int(0)) => {}
            Some(IntOrString::Int(number)) => check_l4_port(&target_path, *number, findings),
            Some(IntOrString::String(name)) if is_port_name(name) => {}
            Some(IntOrString::String(name)) => {
                let message = format!("{name:?} is no valid port name");
                let expected = "a number, or 1 to 15 of a-z, 0-9 and `-` with at least one letter";
                findings.push(Finding::error(target_path, message).expected(expected));
            }
        }
    }
}

fn check_node_ports(kind: &str, ports: &[ServicePort], findings: &mut Vec<Finding>) {
    let mut numbers = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let Some(number) = port.node_port.filter(|number| *number != 0) else { continue };
        let path = format!("spec.ports[{i}].nodePort");
        check_l4_port(&path, number, findings);
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if !matches!(kind, "NodePort" | "LoadBalancer") {
            let finding = Finding::error(path, format!("a Service of type {kind} has none"));
            findings.push(finding.expected("type NodePort or LoadBalancer"));
        } else if !numbers.insert((number, protocol)) {
            let message = format!("the Service has node port {number} of {protocol} already");
            let finding = Finding::error(path, message);
            findings.push(finding.expected("each node port and protocol once"));
        }
    }
}

fn check_policies(spec: &ServiceSpec, findings: &mut Vec<Finding>) {
    for (path, value, expected) in [
        ("spec.sessionAffinity", &spec.session_affinity, ["None", "ClientIP"].as_slice()),
        ("spec.internalTrafficPolicy", &spec.internal_traffic_policy, &["Cluster", "Local"]),
        ("spec.externalTrafficPolicy", &spec.external_traffic_policy, &["Cluster", "Local"]),
        (
            "spec.ipFamilyPolicy",
            &spec.ip_family_policy,
            &["SingleStack", "PreferDualStack", "RequireDualStack"],
        ),
    ] {
        let Some(value) = value.as_deref().filter(|value| !expected.contains(value)) else {
            continue;
        };
        let finding = Finding::error(path, format!("{value:?} is unknown"));
        findings.push(finding.expected(expected.join(" or ")));
    }
    let config = spec.session_affinity_config.as_ref();
    let timeout = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    if let Some(seconds) = timeout.filter(|seconds| !(1..=86_400).contains(seconds)) {
        let path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        let finding = Finding::error(path, format!("{seconds} seconds cannot be"));
        findings.push(finding.expected("1 to 86400"));
    }
    if let Some(port) = spec.health_check_node_port.filter(|port| *port != 0) {
        check_l4_port("spec.healthCheckNodePort", port, findings);
    }
}

fn check_cluster_ips(spec: &ServiceSpec, findings: &mut Vec<Finding>) {
    let valid = |ip: &str| !matches!(ip, "" | "None");
    if let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| valid(ip)) {
        check_ip("spec.clusterIP", ip, findings);
    }
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    for (i, ip) in ips.iter().enumerate().filter(|(_, ip)| valid(ip)) {
        check_ip(&format!("spec.clusterIPs[{i}]"), ip, findings);
    }
    if let (Some(one), Some(first)) = (spec.cluster_ip.as_deref(), ips.first())
        && !one.is_empty()
        && one != first
    {
        let message = format!("{first:?} is not the same as `spec.clusterIP`");
        findings.push(Finding::error("spec.clusterIPs[0]", message).expected(format!("{one:?}")));
    }
    let families: Vec<bool> =
        ips.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.is_ipv6()).collect();
    if ips.len() > 2 || matches!(families[..], [a, b] if a == b) {
        let finding = Finding::error("spec.clusterIPs", "too many addresses of a family");
        findings.push(finding.expected("at most one IPv4 and one IPv6 address"));
    }
}

/// The families, and that the ClusterIPs are of them, in order.
fn check_families(spec: &ServiceSpec, findings: &mut Vec<Finding>) {
    let families = spec.ip_families.as_deref().unwrap_or_default();
    for (i, family) in families.iter().enumerate() {
        let path = format!("spec.ipFamilies[{i}]");
        if !matches!(family.as_str(), "IPv4" | "IPv6") {
            let message = format!("{family:?} is no family of addresses");
            findings.push(Finding::error(path, message).expected("IPv4 or IPv6"));
        } else if families[..i].contains(family) {
            let message = format!("{family} is there already");
            findings.push(Finding::error(path, message).expected("each family at most once"));
        }
    }
    let list = spec.cluster_ips.as_deref().unwrap_or_default();
    let one = spec.cluster_ip.as_slice();
    let ips = if list.is_empty() { one } else { list };
    for (i, (ip, family)) in ips.iter().zip(families).enumerate() {
        let Ok(addr) = ip.parse::<IpAddr>() else { continue };
        if matches!(family.as_str(), "IPv4" | "IPv6") && address::family(addr) != family {
            let path = match list {
                [] => "spec.clusterIP".to_owned(),
                _ => format!("spec.clusterIPs[{i}]"),
            };
            let message = format!("{ip} is an {} address", address::family(addr));
            let expected = format!("an {family} address, as `spec.ipFamilies[{i}]` says");
            findings.push(Finding::error(path, message).expected(expected));
        }
    }
}

fn check_ip(path: &str, ip: &str, findings: &mut Vec<Finding>) {
    if ip.parse::<IpAddr>().is_err() {
        let message = format!("{ip:?} is no IP address");
        findings.push(Finding::error(path, message).expected("an IPv4 or IPv6 address"));
    }
}
