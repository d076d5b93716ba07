use super::service::{Protocol, Service};
use crate::object::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// One Service's claim on an address. Ordered so that the first one has it: a
/// ClusterIP before a load balancer's address, then by age, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    is_balancer: bool,
    /// Services without a creation time come after those with one.
    created: i64,
    service: Name,
}

/// Who claims which address.
#[derive(Debug, Default)]
pub struct Claims {
    by_addr: BTreeMap<IpAddr, BTreeMap<Claim, Arc<Service>>>,
}

/// The claims on one address.
#[derive(Clone, Copy, Debug)]
pub struct Share<'a> {
    claims: &'a BTreeMap<Claim, Arc<Service>>,
}

impl Claims {
    /// Adds the claims of a Service; returns the other Services that claim the
    /// same addresses.
    pub fn add(&mut self, name: &Name, service: &Arc<Service>) -> BTreeSet<Name> {
        for (addr, is_balancer) in service.vips() {
            let claims = self.by_addr.entry(addr).or_default();
            claims.insert(Claim::of(name, service, is_balancer), service.clone());
        }
        self.others(name, service)
    }

    /// Removes the claims of a Service; returns the other Services that claim
    /// the same addresses.
    pub fn remove(&mut self, name: &Name, service: &Arc<Service>) -> BTreeSet<Name> {
        let others = self.others(name, service);
        for (addr, is_balancer) in service.vips() {
            if let Some(claims) = self.by_addr.get_mut(&addr) {
                claims.remove(&Claim::of(name, service, is_balancer));
                if claims.is_empty() {
                    self.by_addr.remove(&addr);
                }
            }
        }
        others
    }

    fn others(&self, name: &Name, service: &Service) -> BTreeSet<Name> {
        service
            .vips()
            .filter_map(|(addr, _)| self.by_addr.get(&addr))
            .flat_map(BTreeMap::keys)
            .map(|claim| claim.service.clone())
            .filter(|other| other != name)
            .collect()
    }

    /// The claims on an address, if there are any.
    pub fn share(&self, addr: IpAddr) -> Option<Share<'_>> {
        self.by_addr.get(&addr).map(|claims| Share { claims })
    }

    /// All claimed addresses, in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_addr.keys().copied()
    }
}

impl Claim {
    fn of(name: &Name, service: &Service, is_balancer: bool) -> Self {
        let created = service.created.unwrap_or(i64::MAX);
        Claim { is_balancer, created, service: name.clone() }
    }
}

impl<'a> Share<'a> {
    /// The Service that has the address to itself, since it is its ClusterIP.
    /// Load balancers' addresses are shared.
    pub fn sole_owner(self) -> Option<&'a Name> {
        let first = self.claims.keys().next()?;
        (!first.is_balancer).then_some(&first.service)
    }

    /// The Service that a port of the address belongs to.
    pub fn owner(self, port: u16, protocol: Protocol) -> Option<&'a Name> {
        if let Some(owner) = self.sole_owner() {
            return Some(owner);
        }
        let has = |service: &Service| {
            service.ports.iter().any(|p| p.port == port && p.protocol == protocol)
        };
        self.claims.iter().find(|(_, service)| has(service)).map(|(claim, _)| &claim.service)
    }

    /// Whether the address is for the outside.
    pub fn is_announced(self) -> bool {
        let owner = self.sole_owner();
        self.claims.keys().any(|c| c.is_balancer && owner.is_none_or(|owner| *owner == c.service))
    }
}
