//! Node ports: ports at the gateway's own addresses.

use super::local::Statics;
use crate::cluster::{Cluster, NodePort, Protocol, Service, ServicePort};
use crate::diagnostic::Finding;
use crate::object::Name;
use sluice_tables::Vxlan;
use std::net::IpAddr;

/// The addresses that serve node ports of a Service: those of its families.
pub(super) fn addresses(
    statics: &Statics,
    service: &Service,
    findings: &mut Vec<Finding>,
) -> Vec<IpAddr> {
    let Some((first, _)) = service.node_ports().next() else { return Vec::new() };
    let [v4, v6] = service.families;
    let all = statics.node_ports.iter().copied();
    let addresses: Vec<_> = all.filter(|addr| if addr.is_ipv4() { v4 } else { v6 }).collect();
    if addresses.is_empty() {
        let families = match service.families {
            [true, false] => "IPv4 ",
            [false, true] => "IPv6 ",
            _ => "",
        };
        let message = format!(
            "the gateway has no {families}address that serves node ports; the Service is not \
             reached by them"
        );
        let path = format!("spec.ports[{}].nodePort", first.index);
        let expected = "an address of a port in `services.node_port_addresses`";
        findings.push(Finding::warning(path, message).expected(expected));
    }
    addresses
}

/// Of these, the addresses on which a node port is the Service's own.
pub(super) fn of_port(
    cluster: &Cluster,
    statics: &Statics,
    name: &Name,
    addresses: &[IpAddr],
    port: &ServicePort,
    findings: &mut Vec<Finding>,
) -> Vec<(IpAddr, u16)> {
    let Some(number) = port.node_port.filter(|_| !addresses.is_empty()) else { return Vec::new() };
    let path = || format!("spec.ports[{}].nodePort", port.index);
    let protocol = port.protocol;
    match cluster.node_port_holder(NodePort::Service(number, protocol)) {
        Some(other) if other != name => {
            let message = format!(
                "Service {other} has node port {number} of {} already; this Service is not \
                 reached by it",
                protocol.as_str()
            );
            let finding = Finding::error(path(), message);
            findings.push(finding.expected("a node port that no other Service has"));
            return Vec::new();
        }
        _ => {}
    }
    let mut own = Vec::new();
    for &addr in addresses {
        if statics.vxlan().is_some_and(|vxlan| is_tunnels(vxlan, addr, number, protocol)) {
            let message = format!(
                "port {number} of UDP on {addr} is the tunnel's; this Service is not reached by it"
            );
            let finding = Finding::error(path(), message);
            findings.push(finding.expected("a port that is not `overlay.vxlan.udp_port`"));
        } else {
            own.push((addr, number));
        }
    }
    own
}

/// Whether tunnel packets come to a port.
fn is_tunnels(vxlan: &Vxlan, addr: IpAddr, l4_port: u16, protocol: Protocol) -> bool {
    let is_end = match addr {
        IpAddr::V4(addr) => vxlan.v4 == Some(addr.octets()),
        IpAddr::V6(addr) => vxlan.v6 == Some(addr.octets()),
    };
    is_end && l4_port == vxlan.udp_port && protocol == Protocol::Udp
}
