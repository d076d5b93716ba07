use super::request::{Family, L4Port, Request, Sharing};
use crate::object::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Who has which address.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    by_addr: BTreeMap<IpAddr, Tenancy>,
    by_sharing: BTreeMap<(Sharing, Family), Shared>,
}

/// Who has an address.
#[derive(Clone, Debug)]
struct Tenancy {
    /// The same for all; `None`: there is one tenant.
    sharing: Option<Sharing>,
    tenants: BTreeSet<Key>,
    ports: BTreeMap<L4Port, Key>,
}

/// The addresses that are open to who shares in one way.
#[derive(Clone, Debug, Default)]
struct Shared {
    addresses: BTreeSet<IpAddr>,
    /// On how many of them a port is used.
    ports: BTreeMap<L4Port, usize>,
}

/// Why an address cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// Who has it.
    pub(super) by: Key,
    /// The port in the way, if that is all.
    pub(super) port: Option<L4Port>,
}

impl Held {
    /// Why this request cannot have an address; `None` if it can. The owner of
    /// the request has it not.
    pub(super) fn conflict(&self, addr: IpAddr, request: &Request) -> Option<Conflict> {
        let tenancy = self.by_addr.get(&addr)?;
        if request.sharing.is_none() || tenancy.sharing != request.sharing {
            let by = tenancy.tenants.first()?.clone();
            return Some(Conflict { by, port: None });
        }
        let mut clashes = request.ports.iter().filter_map(|port| tenancy.ports.get_key_value(port));
        clashes.next().map(|(port, by)| Conflict { by: by.clone(), port: Some(*port) })
    }

    /// The addresses of one family that a request may share with those who have
    /// them, lowest first.
    pub(super) fn shareable<'a>(
        &'a self,
        request: &'a Request,
        family: Family,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        let shared = request.sharing.as_ref();
        let shared = shared.and_then(|sharing| self.by_sharing.get(&(sharing.clone(), family)));
        // The usual case without a look at each: all of them use one of the ports.
        let is_full = |shared: &&Shared| {
            let used = |port| shared.ports.get(port).copied().unwrap_or_default();
            request.ports.iter().any(|port| used(port) == shared.addresses.len())
        };
        let shared = shared.filter(|shared| !is_full(shared));
        let all = shared.into_iter().flat_map(|shared| shared.addresses.iter().copied());
        all.filter(|addr| self.conflict(*addr, request).is_none())
    }

    /// Gives an address to an owner; true if it was nobody's. There is no
    /// [`Conflict`].
    pub(super) fn add(&mut self, addr: IpAddr, owner: &Key, request: &Request) -> bool {
        let is_new = !self.by_addr.contains_key(&addr);
        let tenancy = self.by_addr.entry(addr).or_insert_with(|| Tenancy {
            sharing: request.sharing.clone(),
            tenants: BTreeSet::new(),
            ports: BTreeMap::new(),
        });
        tenancy.tenants.insert(owner.clone());
        if let Some(sharing) = &request.sharing {
            let key = (sharing.clone(), Family::of(addr));
            let shared = self.by_sharing.entry(key).or_default();
            shared.addresses.insert(addr);
            for port in &request.ports {
                tenancy.ports.insert(*port, owner.clone());
                *shared.ports.entry(*port).or_default() += 1;
            }
        }
        is_new
    }

    /// Takes an address from an owner; true if it is nobody's now.
    pub(super) fn remove(&mut self, addr: IpAddr, owner: &Key, request: &Request) -> bool {
        let Some(tenancy) = self.by_addr.get_mut(&addr) else { return false };
        tenancy.tenants.remove(owner);
        let is_empty = tenancy.tenants.is_empty();
        if let Some(sharing) = &request.sharing {
            let key = (sharing.clone(), Family::of(addr));
            let shared = self.by_sharing.entry(key.clone()).or_default();
            for port in &request.ports {
                tenancy.ports.remove(port);
                if let Some(count) = shared.ports.get_mut(port) {
                    *count -= 1;
                    if *count == 0 {
                        shared.ports.remove(port);
                    }
                }
            }
            if is_empty {
                shared.addresses.remove(&addr);
            }
            if shared.addresses.is_empty() {
                self.by_sharing.remove(&key);
            }
        }
        if is_empty {
            self.by_addr.remove(&addr);
        }
        is_empty
    }
}
