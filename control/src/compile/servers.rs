//! Servers of the cluster's own that policies on domain names depend on: DNS servers,
//! whose answers are believed, and the API server, which no name opens.

use super::epochs::Epochs;
use super::local::prefix;
use super::{Compiler, Subject};
use crate::cluster::{Changes, Cluster};
use crate::diagnostic::Finding;
use crate::object::Name;
use sluice_tables::{Family, SourceRanges, Tables, V4, V6};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

impl Compiler {
    /// Finds out who the servers are, where the endpoints of their Services have
    /// changed.
    pub(super) fn compile_servers(
        &mut self,
        cluster: &Cluster,
        changes: &Changes,
        is_reset: bool,
        next: &mut Tables,
        epochs: &mut Epochs,
    ) {
        let is_changed = |name: &Name| {
            is_reset || changes.services.contains(name) || changes.endpoints.contains(name)
        };
        let api_server = Name::new("default", "kubernetes");
        if is_changed(&api_server) {
            self.policies.set_api_server(endpoints(cluster, &api_server));
        }
        if is_reset || self.statics.dns_services.iter().any(is_changed) {
            let services = self.statics.dns_services.iter();
            let servers = services.flat_map(|name| endpoints(cluster, name)).collect();
            self.put_dns_servers::<V4>(&servers, next, epochs);
            self.put_dns_servers::<V6>(&servers, next, epochs);
        }
    }

    fn put_dns_servers<F: Family>(
        &self,
        servers: &BTreeSet<IpAddr>,
        next: &mut Tables,
        epochs: &mut Epochs,
    ) {
        let host = |addr: &IpAddr| Some((F::from_ip(*addr)?, F::BITS));
        let told = self.statics.dns_servers.iter().filter_map(prefix::<F>);
        let believed = SourceRanges::new(servers.iter().filter_map(host).chain(told));
        let family = F::of_mut(next);
        if *family.dns_servers != believed {
            family.dns_servers = Arc::new(believed);
            epochs.changed();
        }
    }

    /// Says so where policies name domain names and nobody's answers are believed.
    pub(super) fn warn_of_no_dns_server(&mut self, next: &Tables) {
        let is_any = !next.v4.dns_servers.is_empty() || !next.v6.dns_servers.is_empty();
        let key = match next.names_wanted && !is_any {
            true => self.policies.with_domains().next(),
            false => None,
        };
        let finding = key.map(|key| {
            let services = self.statics.dns_services.iter();
            let services: Vec<String> = services.map(Name::to_string).collect();
            let lacking = match &services[..] {
                [] => "`policy.dns_services` and `policy.dns_servers` are empty".to_owned(),
                services => format!("there are no endpoints of Service {}", services.join(", ")),
            };
            let message = format!(
                "no DNS server is believed: {lacking}; domain names of this and other policies \
                 match nothing"
            );
            let expected = "the Service of the cluster's DNS in `policy.dns_services`, or the \
                            servers in `policy.dns_servers`";
            (key.clone(), Finding::warning("spec.egress", message).expected(expected))
        });
        self.findings.set(Subject::DnsServers, finding.into_iter().collect());
    }

    /// Whether a domain name, as in [`Compiler::set_name`], may have an address. The
    /// gateway's own, those of Services, nodes, next hops and the API server no name
    /// has; those of pods the cluster's own names have: a policy that accepts a domain
    /// outside opens nothing inside, whatever its owner answers.
    pub fn may_have(&self, name: &str, addr: IpAddr) -> bool {
        let is_pod = match addr {
            IpAddr::V4(addr) => self.tables.v4.pod_node(&addr.octets()).is_some(),
            IpAddr::V6(addr) => self.tables.v6.pod_node(&addr.octets()).is_some(),
        };
        let is_node = match addr {
            IpAddr::V4(addr) => self.tables.v4.nodes_by_addr.contains_key(&addr.octets()),
            IpAddr::V6(addr) => self.tables.v6.nodes_by_addr.contains_key(&addr.octets()),
        };
        let is_inside = is_pod || self.statics.pod_cidrs.iter().any(|net| net.contains(&addr));
        !is_node
            && self.statics.holder(addr).is_none()
            && !self.vips.contains(&addr)
            && !self.statics.service_cidrs.iter().any(|net| net.contains(&addr))
            && (!is_inside || self.policies.is_of_cluster(name))
            && self.policies.may_be_named(name, addr)
    }
}

/// The addresses of a Service's endpoints, ready or not.
fn endpoints(cluster: &Cluster, name: &Name) -> BTreeSet<IpAddr> {
    let Some(service) = cluster.service(name) else { return BTreeSet::new() };
    let ports = cluster.endpoints(name, service).ports;
    ports.iter().flat_map(|port| port.keys()).map(|(addr, _)| *addr).collect()
}
