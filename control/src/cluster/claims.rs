use super::service::{AddressKind, Protocol, Service};
use crate::object::Name;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// One Service's claim on an address. Of claims that are first seen together,
/// the first one in this order has it: a ClusterIP before a load balancer's
/// address before an external one, then by age, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    kind: AddressKind,
    /// Services without a creation time come after those with one.
    created: i64,
    service: Name,
}

/// Who claims which address, and who has it. Who has an address keeps it while
/// it claims it: a new object never takes down one that is in force.
#[derive(Debug, Default)]
pub struct Claims {
    by_addr: BTreeMap<IpAddr, Claimed>,
    /// Addresses whose claims have changed since [`Claims::settle`].
    unsettled: BTreeSet<IpAddr>,
}

/// The claims on one address.
#[derive(Debug, Default)]
struct Claimed {
    claims: BTreeMap<Claim, Arc<Service>>,
    holder: Option<Holder>,
}

/// Who has an address.
#[derive(Debug)]
enum Holder {
    /// One Service: it is its ClusterIP.
    Sole(Name),
    /// Those for whom it is for the outside: each port is one's of them.
    Shared { services: BTreeSet<Name>, ports: BTreeMap<(u16, Protocol), Name> },
}

/// Who has an address, as a question.
#[derive(Clone, Copy, Debug)]
pub struct Share<'a> {
    holder: &'a Holder,
    claims: &'a BTreeMap<Claim, Arc<Service>>,
}

impl Claims {
    /// Adds the claims of a Service; returns the other Services that claim the
    /// same addresses.
    pub fn add(&mut self, name: &Name, service: &Arc<Service>) -> BTreeSet<Name> {
        for address in &service.addresses {
            let claimed = self.by_addr.entry(address.addr).or_default();
            claimed.claims.insert(Claim::of(name, service, address.kind), service.clone());
            self.unsettled.insert(address.addr);
        }
        self.others(name, service)
    }

    /// Removes the claims of a Service; returns the other Services that claim
    /// the same addresses.
    pub fn remove(&mut self, name: &Name, service: &Arc<Service>) -> BTreeSet<Name> {
        let others = self.others(name, service);
        for address in &service.addresses {
            if let Some(claimed) = self.by_addr.get_mut(&address.addr) {
                claimed.claims.remove(&Claim::of(name, service, address.kind));
                self.unsettled.insert(address.addr);
            }
        }
        others
    }

    /// The claimed addresses in a range, and a Service that has each, as of the
    /// last [`Claims::settle`].
    pub fn in_range(&self, net: &IpNet) -> impl Iterator<Item = (IpAddr, &Name)> {
        let claimed = self.by_addr.range(net.network()..=net.broadcast());
        claimed.filter_map(|(addr, _)| Some((*addr, self.share(*addr)?.holder()?)))
    }

    /// Addresses that are claimed.
    pub fn len(&self) -> usize {
        self.by_addr.len()
    }

    /// True when no address is claimed.
    pub fn is_empty(&self) -> bool {
        self.by_addr.is_empty()
    }

    /// Decides who has the addresses whose claims have changed. What came and
    /// went in between counts as one change.
    pub fn settle(&mut self) {
        for addr in std::mem::take(&mut self.unsettled) {
            let Some(claimed) = self.by_addr.get_mut(&addr) else { continue };
            if claimed.claims.is_empty() {
                self.by_addr.remove(&addr);
            } else {
                claimed.holder = claimed.next_holder();
            }
        }
    }

    fn others(&self, name: &Name, service: &Service) -> BTreeSet<Name> {
        service
            .vips()
            .filter_map(|(addr, _)| self.by_addr.get(&addr))
            .flat_map(|claimed| claimed.claims.keys())
            .map(|claim| claim.service.clone())
            .filter(|other| other != name)
            .collect()
    }

    /// Who has an address, as of the last [`Claims::settle`].
    pub fn share(&self, addr: IpAddr) -> Option<Share<'_>> {
        let claimed = self.by_addr.get(&addr)?;
        Some(Share { holder: claimed.holder.as_ref()?, claims: &claimed.claims })
    }
}

impl Claim {
    fn of(name: &Name, service: &Service, kind: AddressKind) -> Self {
        let created = service.created.unwrap_or(i64::MAX);
        Claim { kind, created, service: name.clone() }
    }

    /// The address is for the outside.
    fn is_outside(&self) -> bool {
        self.kind != AddressKind::Cluster
    }
}

impl Claimed {
    fn next_holder(&mut self) -> Option<Holder> {
        let of = |is_outside: bool| {
            let claims = self.claims.keys().filter(move |claim| claim.is_outside() == is_outside);
            claims.map(|claim| claim.service.clone()).collect::<BTreeSet<_>>()
        };
        let (cluster, outside) = (of(false), of(true));
        let (before, ports_before) = match self.holder.take() {
            Some(Holder::Sole(name)) if cluster.contains(&name) => {
                return Some(Holder::Sole(name));
            }
            Some(Holder::Sole(name)) => (BTreeSet::from([name]), BTreeMap::new()),
            Some(Holder::Shared { services, ports }) => (services, ports),
            None => Default::default(),
        };
        let first = self.claims.keys().next().filter(|claim| !claim.is_outside());
        if let Some(first) = first
            && before.intersection(&outside).all(|staying| *staying == first.service)
        {
            return Some(Holder::Sole(first.service.clone()));
        }
        let mut ports = BTreeMap::new();
        for (claim, service) in self.claims.iter().filter(|(claim, _)| claim.is_outside()) {
            for port in &service.ports {
                let owner = ports.entry((port.port, port.protocol));
                let owner = owner.or_insert_with(|| claim.service.clone());
                // Who has had the port goes before who claims it first.
                if ports_before.get(&(port.port, port.protocol)) == Some(&claim.service) {
                    owner.clone_from(&claim.service);
                }
            }
        }
        Some(Holder::Shared { services: outside, ports })
    }
}

impl<'a> Share<'a> {
    /// The Service that has the address to itself, since it is its ClusterIP.
    /// Addresses for the outside are shared.
    pub fn sole_owner(self) -> Option<&'a Name> {
        match self.holder {
            Holder::Sole(name) => Some(name),
            Holder::Shared { .. } => None,
        }
    }

    /// The Services that have the address together, for the outside.
    pub fn sharers(self) -> Option<&'a BTreeSet<Name>> {
        match self.holder {
            Holder::Sole(_) => None,
            Holder::Shared { services, .. } => Some(services),
        }
    }

    /// A Service that has the address: the only one, or the first by name.
    pub fn holder(self) -> Option<&'a Name> {
        self.sole_owner().or_else(|| self.sharers()?.first())
    }

    /// The Service that a port of the address belongs to.
    pub fn owner(self, port: u16, protocol: Protocol) -> Option<&'a Name> {
        match self.holder {
            Holder::Sole(name) => Some(name),
            Holder::Shared { ports, .. } => ports.get(&(port, protocol)),
        }
    }

    /// What the address is to a Service that claims it.
    pub fn kind_of(self, service: &Name) -> Option<AddressKind> {
        self.claims.keys().find(|claim| claim.service == *service).map(|claim| claim.kind)
    }

    /// Whether the address is for the outside.
    pub fn is_announced(self) -> bool {
        let owner = self.sole_owner();
        self.claims.keys().any(|c| c.is_outside() && owner.is_none_or(|owner| *owner == c.service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use crate::object::{Kind, decode};
    use serde_json::json;

    const ADDR: &str = "198.51.100.1";

    /// Applies a Service with the address as ClusterIP or for the outside.
    fn apply(cluster: &mut Cluster, name: &str, is_balancer: bool, ports: &[u16]) {
        let ports: Vec<_> =
            ports.iter().map(|p| json!({"name": format!("p{p}"), "port": p})).collect();
        let object = if is_balancer {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                   "spec": {"type": "LoadBalancer", "ports": ports},
                   "status": {"loadBalancer": {"ingress": [{"ip": ADDR}]}}})
        } else {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                   "spec": {"clusterIP": ADDR, "ports": ports}})
        };
        cluster.apply(&decode(Kind::Service, &object).unwrap(), None);
    }

    fn delete(cluster: &mut Cluster, name: &str) {
        cluster.delete(&Name::new("default", name).key(Kind::Service));
    }

    /// Who has ports 80 and 81.
    fn owners(cluster: &mut Cluster) -> [String; 2] {
        cluster.take_changes();
        let share = cluster.share(ADDR.parse().unwrap());
        [80, 81].map(|port| {
            let owner = share.and_then(|share| share.owner(port, Protocol::Tcp));
            owner.map_or_else(|| "-".to_owned(), |name| name.name.to_string())
        })
    }

    #[test]
    fn who_has_an_address_keeps_it() {
        let mut cluster = Cluster::default();
        apply(&mut cluster, "m", false, &[80]);
        assert_eq!(owners(&mut cluster), ["m", "m"]);
        apply(&mut cluster, "a", false, &[80]);
        apply(&mut cluster, "b", true, &[80]);
        assert_eq!(owners(&mut cluster), ["m", "m"]);
        // Written anew in one change, it is the same.
        delete(&mut cluster, "m");
        apply(&mut cluster, "m", false, &[80, 81]);
        assert_eq!(owners(&mut cluster), ["m", "m"]);
        delete(&mut cluster, "m");
        assert_eq!(owners(&mut cluster), ["a", "a"]);
        delete(&mut cluster, "a");
        assert_eq!(owners(&mut cluster), ["b", "-"]);
        delete(&mut cluster, "b");
        assert_eq!(owners(&mut cluster), ["-", "-"]);
    }

    #[test]
    fn who_has_a_port_keeps_it() {
        let mut cluster = Cluster::default();
        apply(&mut cluster, "c", true, &[80]);
        apply(&mut cluster, "d", true, &[80, 81]);
        assert_eq!(owners(&mut cluster), ["c", "d"], "seen together: by name");
        apply(&mut cluster, "c", true, &[80, 81]);
        assert_eq!(owners(&mut cluster), ["c", "d"]);
        // A ClusterIP does not take a live load balancer's address.
        apply(&mut cluster, "a", false, &[80]);
        apply(&mut cluster, "b", true, &[80]);
        assert_eq!(owners(&mut cluster), ["c", "d"]);
        delete(&mut cluster, "d");
        assert_eq!(owners(&mut cluster), ["c", "c"]);
        delete(&mut cluster, "c");
        assert_eq!(owners(&mut cluster), ["b", "-"], "it has had the address longer than a");
        delete(&mut cluster, "b");
        assert_eq!(owners(&mut cluster), ["a", "a"]);
    }
}
