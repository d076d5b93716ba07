//! The certificates of hosts.

use super::Setup;
use crate::cluster::Cluster;
use crate::compile::ingress::Ingresses;
use crate::object::Name;
use sluice_tables::http_routes::Host;
use sluice_tables::l7::{Certificate, Certificates};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which hosts have certificates, and which.
#[derive(Debug, Default)]
pub(super) struct Certified {
    table: Arc<Certificates>,
    /// Hosts that Ingresses want one for, whether it is there or not.
    hosts: BTreeSet<Host>,
}

impl Certified {
    /// The certificates for HTTPS.
    pub(super) fn table(&self) -> &Arc<Certificates> {
        &self.table
    }

    /// Whether a host is one that an Ingress wants a certificate for. While that is missing,
    /// nothing of what is meant to be encrypted goes in clear.
    pub(super) fn is_to_have(&self, host: &Host) -> bool {
        if self.hosts.contains(host) {
            return true;
        }
        let Host::Exact(name) = host else { return false };
        let suffix = name.find('.').map(|at| Host::OneLabel(name[at..].into()));
        suffix.is_some_and(|suffix| self.hosts.contains(&suffix))
    }

    /// Looks at some hosts, or at all. `None`: nothing is different; else the hosts that are to
    /// have one by an Ingress and were not, or the other way round.
    pub(super) fn update(
        &mut self,
        ingresses: &Ingresses,
        cluster: &Cluster,
        setup: &Setup,
        only: Option<&BTreeSet<Host>>,
    ) -> Option<BTreeSet<Host>> {
        let of = |name: &Name| cluster.secret(name)?.certificate.clone();
        let default = setup.default_certificate.as_ref().and_then(of);
        let (mut table, all);
        let hosts = match only {
            Some(hosts) => {
                table = Certificates::clone(&self.table);
                hosts
            }
            None => {
                table = Certificates { default: default.clone(), ..Certificates::default() };
                let certified = ingresses.certificates().map(|(host, _)| host);
                all = certified.chain(&self.hosts).cloned().collect();
                &all
            }
        };
        let mut others = BTreeSet::new();
        for host in hosts {
            let certificate = ingresses.certificate(host);
            let own = certificate.and_then(|of| of.secret.as_ref()).and_then(of);
            let is_other = match certificate.is_some() {
                true => self.hosts.insert(host.clone()),
                false => self.hosts.remove(host),
            };
            if is_other {
                others.insert(host.clone());
            }
            match (host, own) {
                (Host::Any, own) => table.default = own.or_else(|| default.clone()),
                (Host::Exact(name), Some(own)) => drop(table.exact.insert(name.clone(), own)),
                (Host::Exact(name), None) => drop(table.exact.remove(name)),
                (Host::OneLabel(suffix) | Host::Labels(suffix), Some(own)) => {
                    table.wildcards.insert(suffix.clone(), own);
                }
                (Host::OneLabel(suffix) | Host::Labels(suffix), None) => {
                    table.wildcards.remove(suffix);
                }
            }
        }
        if others.is_empty() && is_same(&table, &self.table) {
            return None;
        }
        self.table = Arc::new(table);
        Some(others)
    }
}

fn is_same(one: &Certificates, other: &Certificates) -> bool {
    let is_one = |a: Option<&Arc<Certificate>>, b: Option<&Arc<Certificate>>| match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    };
    let mut exact = one.exact.iter();
    let mut wildcards = one.wildcards.iter();
    one.exact.len() == other.exact.len()
        && one.wildcards.len() == other.wildcards.len()
        && exact.all(|(name, of)| is_one(Some(of), other.exact.get(name)))
        && wildcards.all(|(name, of)| is_one(Some(of), other.wildcards.get(name)))
        && is_one(one.default.as_ref(), other.default.as_ref())
}
