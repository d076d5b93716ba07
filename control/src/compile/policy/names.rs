//! Domain names and the addresses that they have been seen to have.

use super::Policies;
use crate::cluster::network_policy::DomainName;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

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

impl Policies {
    /// Takes the addresses that a name has now; none: it is forgotten.
    pub(in crate::compile) fn set_name(&mut self, name: &str, addresses: BTreeSet<IpAddr>) {
        let known = self.names.get_key_value(name).map(|(name, _)| name.clone());
        let name: Arc<str> = known.unwrap_or_else(|| name.into());
        let old = if addresses.is_empty() {
            self.names.remove(&name)
        } else {
            self.names.insert(name.clone(), addresses)
        };
        if !self.is_active {
            return;
        }
        let old = old.unwrap_or_default();
        let new = self.names.get(&name).cloned().unwrap_or_default();
        for addr in old.difference(&new) {
            self.addresses.remove_name(*addr, &name);
            self.stale.addresses.insert(*addr);
        }
        for addr in new.difference(&old) {
            self.addresses.add_name(*addr, &name);
            self.stale.addresses.insert(*addr);
        }
    }

    /// Whether a policy names a peer that a name stands for.
    pub(in crate::compile) fn wants_name(&self, name: &str) -> bool {
        self.attributes.has_domains() && !self.attributes.of_name(name).is_empty()
    }

    /// Puts all names where their addresses are.
    pub(super) fn add_names(&mut self) {
        for (name, addresses) in &self.names {
            for addr in addresses {
                self.addresses.add_name(*addr, name);
                self.stale.addresses.insert(*addr);
            }
        }
    }

    /// The addresses of the names that a domain name stands for are another peer.
    pub(super) fn touch_names_of(&mut self, domain: &DomainName) {
        let named = self.names.iter().filter(|(name, _)| domain.matches(name));
        self.stale.addresses.extend(named.flat_map(|(_, addresses)| addresses));
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
