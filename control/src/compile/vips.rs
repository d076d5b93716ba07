//! VIPs: who has an address, and what that means for it.

use super::Compiler;
use super::epochs::Epochs;
use super::local::Statics;
use super::taken::Taken;
use crate::announce::Announce;
use crate::cluster::{AddressKind, Cluster, Service, ServiceAddress, ServicePort};
use crate::diagnostic::Finding;
use crate::object::Name;
use ipnet::IpNet;
use sluice_tables::{Family, ServiceId, Tables, V4, V6, Vip};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The addresses of Services that are in force.
#[derive(Clone, Copy)]
pub(super) struct InForce<'a> {
    cluster: &'a Cluster,
    statics: &'a Statics,
    /// Those in the last tables.
    vips: &'a BTreeSet<IpAddr>,
}

impl<'a> InForce<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        statics: &'a Statics,
        vips: &'a BTreeSet<IpAddr>,
    ) -> Self {
        InForce { cluster, statics, vips }
    }

    /// The Service that has an address, and goes on to have it.
    pub(super) fn holder(self, addr: IpAddr) -> Option<&'a Name> {
        self.claimant(addr).filter(|_| self.vips.contains(&addr))
    }

    /// The Service that claims an address which a Service can have, in force or
    /// not.
    pub(super) fn claimant(self, addr: IpAddr) -> Option<&'a Name> {
        let is_usable = self.statics.holder(addr).is_none();
        self.cluster.share(addr).filter(|_| is_usable)?.holder()
    }

    /// The first claimed address in a range, and its Service.
    pub(super) fn first_claim_in(self, net: &IpNet) -> Option<(IpAddr, &'a Name)> {
        let mut claims = self.cluster.claims_in(net);
        claims.find(|(addr, _)| self.statics.holder(*addr).is_none())
    }

    /// The first address in force in a range, and its Service.
    pub(super) fn first_in(self, net: &IpNet) -> Option<(IpAddr, &'a Name)> {
        let vips = self.vips.range(net.network()..=net.broadcast());
        vips.copied().find_map(|addr| Some((addr, self.holder(addr)?)))
    }
}

/// The addresses that a Service may use at all, and what they are to it; for
/// the others, why not.
pub(super) fn usable(
    cluster: &Cluster,
    statics: &Statics,
    taken: &Taken,
    name: &Name,
    service: &Service,
    findings: &mut Vec<Finding>,
) -> Vec<(IpAddr, AddressKind)> {
    let mut vips: Vec<(IpAddr, AddressKind)> = Vec::new();
    for ServiceAddress { addr, kind, path } in &service.addresses {
        let what = refusal(statics, taken, *addr).or_else(|| {
            let share = cluster.share(*addr)?;
            if let Some(other) = share.sole_owner().filter(|owner| *owner != name) {
                return Some(format!("the ClusterIP of Service {other}"));
            }
            let sharers = share.sharers().filter(|_| *kind == AddressKind::Cluster)?;
            let other = sharers.first().filter(|_| !sharers.contains(name))?;
            Some(match share.kind_of(other) {
                Some(AddressKind::External) => format!("an external address of Service {other}"),
                _ => format!("a load balancer's address of Service {other}"),
            })
        });
        match what {
            Some(what) => {
                let message = format!("{addr} is {what}; this Service is not reached by it");
                let finding = Finding::error(path, message);
                findings.push(finding.expected("an address that nobody else has"));
            }
            // What it is first counts.
            None if vips.iter().any(|(other, _)| other == addr) => {}
            None => vips.push((*addr, *kind)),
        }
    }
    for ServiceAddress { addr, path, .. } in service.unadmitted() {
        let message = format!(
            "{addr} is in none of `services.external_ips` of the configuration; this Service is \
             not reached by it"
        );
        let finding = Finding::warning(path, message);
        findings.push(finding.expected("an address that the configuration lets Services have"));
    }
    vips
}

/// What an address is that no Service can have; in words.
fn refusal(statics: &Statics, taken: &Taken, addr: IpAddr) -> Option<String> {
    statics.holder(addr).or_else(|| taken.by_node(addr))
}

/// Of these, the addresses on which a port is the Service's own: addresses for
/// the outside are shared port by port.
pub(super) fn of_port(
    cluster: &Cluster,
    name: &Name,
    vips: &[(IpAddr, AddressKind)],
    port: &ServicePort,
    findings: &mut Vec<Finding>,
) -> Vec<(IpAddr, AddressKind)> {
    let mut own = Vec::new();
    for &(addr, kind) in vips {
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
            _ => own.push((addr, kind)),
        }
    }
    own
}

impl Compiler {
    /// Notes that a Service has lost an address, which may be another's by now:
    /// its connections go on, and depend on what becomes of the address.
    pub(super) fn note_former(&mut self, addr: IpAddr, service: ServiceId) {
        if self.vips.contains(&addr) {
            self.former.entry(addr).or_default().insert(Tables::service_group(service));
        }
    }

    /// Sets what the tables say of an address: one of Services, or where Ingresses are served.
    pub(super) fn put_vip(
        &mut self,
        cluster: &Cluster,
        addr: IpAddr,
        next: &mut Tables,
        epochs: &mut Epochs,
    ) {
        let is_free = refusal(&self.statics, &self.taken, addr).is_none();
        let share = cluster.share(addr).filter(|_| is_free);
        let is_held = self.announce.holds(addr);
        let vip = share.map(|share| Vip { announce: is_held && share.is_announced() });
        let is_ingress = self.statics.is_ingress(addr);
        let vip = if is_ingress { Some(Vip { announce: is_held }) } else { vip };
        if vip.is_some() {
            self.vips.insert(addr);
        } else {
            self.vips.remove(&addr);
        }
        if vip.is_none() {
            // Whoever has a connection to it of then must look again, too.
            for group in self.former.remove(&addr).unwrap_or_default() {
                epochs.group(group);
            }
        }
        let mut begins = false;
        if let Some(addr) = V4::from_ip(addr) {
            begins |= put_in(&mut next.v4.vips, addr, vip, epochs);
        }
        if let Some(addr) = V6::from_ip(addr) {
            begins |= put_in(&mut next.v6.vips, addr, vip, epochs);
        }
        if begins {
            self.announced.insert(addr);
        }
    }

    /// Sets which VIPs the gateway announces, from the next
    /// [`Compiler::compile`] on.
    pub fn set_announce(&mut self, announce: Announce) {
        self.announce_next = Some(announce);
    }

    /// Whether the last tables say that a VIP is announced.
    pub fn is_announced(&self, addr: IpAddr) -> bool {
        let v4 = V4::from_ip(addr).and_then(|addr| self.tables.v4.vips.get(&addr));
        let v6 = V6::from_ip(addr).and_then(|addr| self.tables.v6.vips.get(&addr));
        v4.or(v6).is_some_and(|vip| vip.announce)
    }

    /// The VIPs that the last [`Compiler::compile`] began to announce.
    pub fn announced(&self) -> &BTreeSet<IpAddr> {
        &self.announced
    }

    /// Looks at the VIPs of which it has changed whether they are announced
    /// here, and at no others.
    pub(super) fn compile_announce(
        &mut self,
        cluster: &Cluster,
        next: &mut Tables,
        epochs: &mut Epochs,
    ) {
        let Some(announce) = self.announce_next.take() else { return };
        let before = std::mem::replace(&mut self.announce, announce);
        let differs = |vip: &&IpAddr| before.holds(**vip) != announce.holds(**vip);
        let changed: Vec<IpAddr> = self.vips.iter().filter(differs).copied().collect();
        for vip in changed {
            self.put_vip(cluster, vip, next, epochs);
        }
    }
}

/// Sets what a table says of an address; true if it begins to be announced.
fn put_in<A: Copy + Eq + std::hash::Hash>(
    vips: &mut sluice_tables::shards::ShardMap<A, Vip>,
    addr: A,
    vip: Option<Vip>,
    epochs: &mut Epochs,
) -> bool {
    let old = vips.get(&addr).copied();
    if old == vip {
        return false;
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
    let is_announced = |vip: Option<Vip>| vip.is_some_and(|vip| vip.announce);
    is_announced(vip) && !is_announced(old)
}
