//! Domain names and the addresses that they have been seen to have.

use super::{AttributeId, Policies};
use crate::cluster::network_policy::{DomainName, Peer, Peers};
use crate::domain_names::Addresses;
use crate::object::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What is known of domain names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The addresses of each.
    by_name: BTreeMap<Arc<str>, Addresses>,
    /// The domain of the cluster's own names.
    cluster_domain: Arc<str>,
    /// The addresses of the API server.
    api_server: BTreeSet<IpAddr>,
}

impl DomainName {
    /// Whether it stands for a name, which is in lower case and without the final
    /// dot.
    pub fn matches(&self, name: &str) -> bool {
        match name.strip_suffix(&*self.name) {
            Some("") => !self.is_wildcard,
            Some(front) => self.is_wildcard && front.len() > 1 && front.ends_with('.'),
            None => false,
        }
    }
}

impl Names {
    /// Whether a name is one of the cluster's own.
    pub(super) fn is_of_cluster(&self, name: &str) -> bool {
        let below = name.strip_suffix(&*self.cluster_domain);
        below.is_some_and(|front| front.ends_with('.'))
    }

    /// Whether an address is the API server's.
    pub(super) fn is_api_server(&self, addr: IpAddr) -> bool {
        self.api_server.contains(&addr)
    }
}

impl Policies {
    /// Takes the addresses that a name has now; none: it is forgotten.
    pub(in crate::compile) fn set_name(&mut self, name: &str, addresses: Addresses) {
        let by_name = &mut self.names.by_name;
        let known = by_name.get_key_value(name).map(|(name, _)| name.clone());
        let name: Arc<str> = known.unwrap_or_else(|| name.into());
        let old = by_name.remove(&name).unwrap_or_default();
        if addresses != Addresses::default() {
            by_name.insert(name.clone(), addresses.clone());
        }
        if !self.is_active {
            return;
        }
        for addr in old.live.union(&old.lapsed) {
            self.addresses.remove_name(*addr, &name);
        }
        self.add_name(&name, &addresses);
        let differ = |old: &BTreeSet<IpAddr>, new| old ^ new;
        self.stale.addresses.extend(differ(&old.live, &addresses.live));
        self.stale.addresses.extend(differ(&old.lapsed, &addresses.lapsed));
    }

    fn add_name(&mut self, name: &Arc<str>, addresses: &Addresses) {
        for addr in &addresses.live {
            self.addresses.add_name(*addr, name);
        }
        for addr in &addresses.lapsed {
            self.addresses.add_lapsed(*addr, name);
        }
    }

    /// What of the policies asks for a name, as they write it; `None`: nothing does.
    /// Of several it is the one that asks for the fewest names.
    pub(in crate::compile) fn pattern_of(&self, name: &str) -> Option<String> {
        if !self.attributes.has_domains() {
            return None;
        }
        let id: AttributeId = self.attributes.of_name(name).first().copied()?;
        match &self.attributes.get(id)?.peer {
            Peer::Domain(domain) if domain.is_wildcard => Some(format!("*.{}", domain.name)),
            Peer::Domain(domain) => Some(domain.name.to_string()),
            _ => None,
        }
    }

    /// Whether a name may have an address, as far as pods, nodes and the API server
    /// are concerned: who names the outside opens none of them.
    pub(in crate::compile) fn may_be_named(&self, name: &str, addr: IpAddr) -> bool {
        self.addresses.may_be_named(&self.names, name, addr)
    }

    /// Whether a name is one of the cluster's own, which may have addresses of pods.
    pub(in crate::compile) fn is_of_cluster(&self, name: &str) -> bool {
        self.names.is_of_cluster(name)
    }

    /// Sets the domain of the cluster's own names.
    pub(in crate::compile) fn set_cluster_domain(&mut self, domain: &str) {
        if *self.names.cluster_domain != *domain {
            self.names.cluster_domain = domain.into();
            self.touch_names();
        }
    }

    /// Sets the addresses of the API server.
    pub(in crate::compile) fn set_api_server(&mut self, addresses: BTreeSet<IpAddr>) {
        let old = std::mem::replace(&mut self.names.api_server, addresses);
        self.stale.addresses.extend(&old ^ &self.names.api_server);
    }

    /// Puts all names where their addresses are.
    pub(super) fn add_names(&mut self) {
        let by_name = std::mem::take(&mut self.names.by_name);
        by_name.iter().for_each(|(name, addresses)| self.add_name(name, addresses));
        self.names.by_name = by_name;
        self.touch_names();
    }

    fn touch_names(&mut self) {
        let all = self.names.by_name.values().flat_map(|names| names.live.union(&names.lapsed));
        self.stale.addresses.extend(all);
    }

    /// The addresses of the names that a domain name stands for are another peer.
    pub(super) fn touch_names_of(&mut self, domain: &DomainName) {
        let named = self.names.by_name.iter().filter(|(name, _)| domain.matches(name));
        let addresses = named.flat_map(|(_, names)| names.live.union(&names.lapsed));
        self.stale.addresses.extend(addresses);
    }

    /// The policies that name peers by domain names, in order.
    pub(in crate::compile) fn with_domains(&self) -> impl Iterator<Item = &Key> {
        let is_domain = |peer: &Peer| matches!(peer, Peer::Domain(_));
        let names_any = move |peers: &Peers| match peers {
            Peers::Any => false,
            Peers::Of(peers) => peers.iter().any(is_domain),
        };
        let compiled = self.numbers.values().filter_map(|number| self.compiled(*number));
        let with = compiled.filter(move |compiled| {
            compiled.policy.egress.iter().flatten().any(|rule| names_any(&rule.peers))
        });
        with.map(|compiled| &compiled.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_whole_labels_below() {
        let name = |is_wildcard| DomainName { name: "kubernetes.io".into(), is_wildcard };
        for (asked, exact, below) in [
            ("kubernetes.io", true, false),
            ("www.kubernetes.io", false, true),
            ("latest.blog.kubernetes.io", false, true),
            ("my-kubernetes.io", false, false),
            (".kubernetes.io", false, false),
            ("io", false, false),
            ("wikipedia.org", false, false),
        ] {
            assert_eq!(name(false).matches(asked), exact, "{asked}");
            assert_eq!(name(true).matches(asked), below, "{asked}");
        }
    }
}
