//! VIPs: who has an address, and what that means for it.

use super::epochs::Epochs;
use super::local::Statics;
use crate::cluster::{Cluster, Service, ServicePort};
use crate::diagnostic::Finding;
use crate::object::Name;
use sluice_tables::{Family, ServiceId, Tables, V4, V6, Vip};
use std::net::IpAddr;

fn path_of(is_balancer: bool) -> &'static str {
    if is_balancer { "status.loadBalancer.ingress" } else { "spec.clusterIP" }
}

/// The addresses that a Service may use at all; for the others, why not.
pub(super) fn usable(
    cluster: &Cluster,
    statics: &Statics,
    name: &Name,
    service: &Service,
    findings: &mut Vec<Finding>,
) -> Vec<IpAddr> {
    let mut vips = Vec::new();
    for (addr, is_balancer) in service.vips() {
        let refusal = if let Some(own) = statics.own(addr) {
            Some(format!("{addr} is {}", statics.describe(own)))
        } else {
            let owner = cluster.share(addr).and_then(|share| share.sole_owner());
            let other = owner.filter(|owner| *owner != name);
            other.map(|other| format!("{addr} is the ClusterIP of Service {other}"))
        };
        match refusal {
            Some(message) => {
                let message = format!("{message}; this Service is not reached by it");
                let finding = Finding::error(path_of(is_balancer), message);
                findings.push(finding.expected("an address that nobody else has"));
            }
            None if vips.contains(&addr) => {}
            None => vips.push(addr),
        }
    }
    vips
}

/// Of these, the addresses on which a port is the Service's own: load
/// balancers' addresses are shared port by port.
pub(super) fn of_port(
    cluster: &Cluster,
    name: &Name,
    vips: &[IpAddr],
    port: &ServicePort,
    findings: &mut Vec<Finding>,
) -> Vec<IpAddr> {
    let mut own = Vec::new();
    for &addr in vips {
        let share = cluster.share(addr);
        match share.and_then(|share| share.owner(port.port, port.protocol)) {
            Some(other) if other != name => {
                let message = format!(
                    "Service {other} has port {} of {} on {addr} already; this Service is not \
                     reached by it",
                    port.port,
                    port.protocol.as_str()
                );
                let finding = Finding::error(format!("spec.ports[{}].port", port.index), message);
                findings.push(finding.expected("a port that no other Service has there"));
            }
            _ => own.push(addr),
        }
    }
    own
}

/// Sets what the tables say of an address.
pub(super) fn put(
    cluster: &Cluster,
    statics: &Statics,
    addr: IpAddr,
    next: &mut Tables,
    epochs: &mut Epochs,
) {
    let share = cluster.share(addr).filter(|_| statics.own(addr).is_none());
    let vip = share.map(|share| Vip { announce: share.is_announced() });
    if let Some(addr) = V4::from_ip(addr) {
        put_in(&mut next.v4.vips, addr, vip, epochs);
    }
    if let Some(addr) = V6::from_ip(addr) {
        put_in(&mut next.v6.vips, addr, vip, epochs);
    }
}

fn put_in<A: Copy + Eq + std::hash::Hash>(
    vips: &mut sluice_tables::shards::ShardMap<A, Vip>,
    addr: A,
    vip: Option<Vip>,
    epochs: &mut Epochs,
) {
    let old = vips.get(&addr).copied();
    if old == vip {
        return;
    }
    match vip {
        Some(vip) => drop(vips.insert(addr, vip)),
        None => drop(vips.remove(&addr)),
    }
    if old.is_none() {
        // Flows to the address were routed; now they are the Service's.
        epochs.service(ServiceId::NONE);
    } else {
        epochs.changed();
    }
}
