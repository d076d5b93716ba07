//! Services: what they ask for, and what they get.

use super::epochs::Epochs;
use super::halves::{Change, Half};
use super::ids::Moment;
use super::rules::{self, Asked, Places};
use super::{Compiler, PortKey, Subject, local, node_ports, vips};
use crate::cluster::{AddressKind, Cluster, Endpoint, NodePort, Protocol, Service};
use crate::diagnostic::Finding;
use crate::object::{Key, Kind, Name};
use sluice_tables::service::COMPARED_MAX;
use sluice_tables::{BackendSet, Family, ServiceId, Tables, V4, V6};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Ports of one Service that may have any number of endpoints: more than
/// [`COMPARED_MAX`] take a table of 200 kB at least.
const TABLES_MAX: usize = 1024;

/// Most findings about one Service; the rest is counted.
const FINDINGS_MAX: usize = 100;

/// What is in the tables of one Service: its ports that have an address.
#[derive(Debug, Default)]
pub struct Programmed {
    /// All addresses that it claims, even if it has none of them, or no port
    /// that is forwarded.
    claimed: BTreeSet<IpAddr>,
    /// The addresses of its endpoints, even of those that are left out.
    targets: BTreeSet<IpAddr>,
    /// By port and protocol.
    pub ports: BTreeMap<(u16, Protocol), ProgrammedPort>,
}

/// What is in the tables of one port.
#[derive(Debug)]
pub struct ProgrammedPort {
    /// Its number.
    pub id: ServiceId,
    /// IPv4.
    pub v4: Half<V4>,
    /// IPv6.
    pub v6: Half<V6>,
}

/// What the tables should say of one port.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The addresses and ports that it is reached by, and what they are.
    pub(super) fronts: Vec<(IpAddr, u16, AddressKind)>,
    pub(super) endpoints: BTreeMap<(IpAddr, u16), Endpoint<'a>>,
    /// The most of them in rotation, of each family.
    pub(super) endpoints_max: usize,
}

impl Compiler {
    /// Compiles these Services, those whose endpoints depend on what addresses
    /// they have, and those that have nothing new but `endpoints`; all of them are
    /// returned.
    pub(super) fn compile_services(
        &mut self,
        cluster: &Cluster,
        mut names: BTreeSet<Name>,
        endpoints: BTreeSet<Name>,
        next: &mut Tables,
        epochs: &mut Epochs,
        at: Moment,
    ) -> BTreeSet<Name> {
        let mut addresses = BTreeSet::new();
        for name in &names {
            addresses.extend(cluster.service(name).iter().flat_map(|s| s.vips()).map(|(a, _)| a));
            addresses.extend(self.services.get(name).iter().flat_map(|s| &s.claimed));
        }
        // Who has an address decides whether it can be an endpoint.
        for addr in addresses {
            self.put_vip(cluster, addr, next, epochs);
            names.extend(self.with_target(addr));
        }
        names.extend(endpoints);
        for name in &names {
            let mut findings = Vec::new();
            let mut targets = BTreeSet::new();
            let service = cluster.service(name);
            let wanted = service.map_or_else(BTreeMap::new, |service| {
                self.wanted(cluster, name, service, next, &mut targets, &mut findings)
            });
            let mut claims = service.iter().flat_map(|service| service.vips());
            if claims.any(|(addr, _)| self.taken.by_node(addr).is_some()) {
                self.blocked.insert(name.clone());
            } else {
                self.blocked.remove(name);
            }
            let claimed = service.iter().flat_map(|s| s.vips()).map(|(addr, _)| addr).collect();
            self.set_targets(name, &targets);
            self.note_local(name, service.map(|service| &**service), &wanted);
            let asked = service.map_or_else(Asked::default, |service| Asked::of(service));
            self.program(name, (wanted, &asked), (claimed, targets), next, epochs, at);
            limit(name, &mut findings);
            self.findings.set(Subject::Service(name.clone()), findings);
        }
        names
    }

    /// The Services that have an endpoint of an address.
    pub(super) fn with_target(&self, addr: IpAddr) -> impl Iterator<Item = Name> {
        let first = (addr, Name::new("", ""));
        let targets = self.targets.range(first..).take_while(move |(a, _)| *a == addr);
        targets.map(|(_, name)| name.clone())
    }

    /// The Services that have an endpoint at an address that is a node's in one
    /// of the tables only.
    pub(super) fn at_other_nodes(&self, next: &Tables) -> BTreeSet<Name> {
        let v4 = other_nodes::<V4>(&self.tables, next);
        let addresses = v4.into_iter().chain(other_nodes::<V6>(&self.tables, next));
        addresses.flat_map(|addr| self.with_target(addr)).collect()
    }

    /// Keeps which Services have an endpoint of an address.
    fn set_targets(&mut self, name: &Name, targets: &BTreeSet<IpAddr>) {
        let none = BTreeSet::new();
        let before = self.services.get(name).map_or(&none, |before| &before.targets);
        for addr in before.difference(targets) {
            self.targets.remove(&(*addr, name.clone()));
        }
        for addr in targets.difference(before) {
            self.targets.insert((*addr, name.clone()));
        }
    }

    /// Whose an address is that no endpoint can have therefore; in words.
    /// Kubernetes refuses ClusterIPs there, too.
    ///
    /// Nor is it where a node takes tunnel packets: those of outside clients
    /// would come with the gateway's address. The node's kernel listens at all
    /// of its addresses.
    pub(super) fn refuse_endpoint(
        &self,
        cluster: &Cluster,
        (addr, l4_port): (IpAddr, u16),
        protocol: Protocol,
        next: &Tables,
    ) -> Option<String> {
        if let Some(local) = self.statics.own(addr) {
            return Some(self.statics.describe(local));
        }
        if self.statics.is_ingress(addr) {
            return Some(local::INGRESS.to_owned());
        }
        let udp_port = self.statics.vxlan().map(|vxlan| vxlan.udp_port);
        if protocol == Protocol::Udp && udp_port == Some(l4_port) && is_node(next, addr) {
            return Some(format!("a node's address, and UDP port {l4_port} is for its tunnel"));
        }
        let service = cluster.share(addr).filter(|_| self.vips.contains(&addr))?.holder()?;
        Some(format!("an address of Service {service}"))
    }

    fn wanted<'a>(
        &self,
        cluster: &'a Cluster,
        name: &Name,
        service: &'a Service,
        next: &Tables,
        targets: &mut BTreeSet<IpAddr>,
        findings: &mut Vec<(Key, Finding)>,
    ) -> BTreeMap<(u16, Protocol), Wanted<'a>> {
        let mut own = Vec::new();
        let (statics, taken) = (&self.statics, &self.taken);
        let vips = vips::usable(cluster, statics, taken, name, service, &mut own);
        let nodes = node_ports::addresses(statics, service, &mut own);
        self.warn(cluster, name, service, &mut own);
        if vips.is_empty() && nodes.is_empty() {
            findings.extend(own.into_iter().map(|f| (name.key(Kind::Service), f)));
            return BTreeMap::new();
        }
        let mut endpoints = cluster.endpoints(name, service);
        own.append(&mut endpoints.findings);
        let mut refused = BTreeSet::new();
        let mut wanted = BTreeMap::new();
        for (port, mut endpoints) in service.ports.iter().zip(endpoints.ports) {
            endpoints.retain(|at @ (addr, _), endpoint| {
                targets.insert(*addr);
                let what = self.refuse_endpoint(cluster, *at, port.protocol, next);
                let Some(what) = what else { return true };
                let (key, path) = endpoint.from.place();
                let message = format!("{addr} is {what}; this endpoint is left out");
                refused.insert((key, Finding::error(path, message).expected("a pod's address")));
                false
            });
            let endpoints_max = match wanted.len() {
                0..TABLES_MAX => BackendSet::<V4>::BACKENDS_MAX,
                _ => COMPARED_MAX,
            };
            let v4 = endpoints.keys().filter(|(addr, _)| addr.is_ipv4()).count();
            let most = v4.max(endpoints.len() - v4);
            if most > endpoints_max {
                let message = format!("has {most} endpoints; {endpoints_max} of them are used");
                own.push(Finding::warning(format!("spec.ports[{}]", port.index), message));
            }
            let vips = vips::of_port(cluster, name, &vips, port, &mut own);
            let vips = vips.into_iter().map(|(addr, kind)| (addr, port.port, kind));
            let nodes = node_ports::of_port(cluster, statics, name, &nodes, port, &mut own);
            let nodes = nodes.into_iter().map(|(addr, port)| (addr, port, AddressKind::NodePort));
            let fronts: Vec<_> = vips.chain(nodes).collect();
            if !fronts.is_empty() {
                wanted.insert(
                    (port.port, port.protocol),
                    Wanted { fronts, endpoints, endpoints_max },
                );
            }
        }
        findings.extend(own.into_iter().map(|f| (name.key(Kind::Service), f)));
        findings.extend(refused);
        wanted
    }

    /// Says what of a Service as a whole is not as it asks for.
    fn warn(&self, cluster: &Cluster, name: &Name, service: &Service, own: &mut Vec<Finding>) {
        let is_outside = service.vips().any(|(_, is_outside)| is_outside)
            || service.node_ports().next().is_some();
        if service.is_external_local && is_outside && !self.statics.preserves_clients() {
            let message = "behaves as Cluster: the addresses of clients are replaced, as \
                           `snat.mode` of the configuration says";
            let finding = Finding::warning("spec.externalTrafficPolicy", message);
            own.push(finding.expected("`snat.mode: preserve`, and nodes that route replies here"));
        }
        let port = service.health_check_port();
        let holder = port.and_then(|port| cluster.node_port_holder(NodePort::HealthCheck(port)));
        if let (Some(port), Some(other)) = (port, holder.filter(|holder| *holder != name)) {
            let message = format!("Service {other} has health check port {port} already");
            let finding = Finding::error("spec.healthCheckNodePort", message);
            own.push(finding.expected("a port that no other Service has"));
        }
    }

    /// Keeps which Services depend on where nodes are.
    fn note_local(
        &mut self,
        name: &Name,
        service: Option<&Service>,
        wanted: &BTreeMap<(u16, Protocol), Wanted<'_>>,
    ) {
        let endpoints = wanted.values().flat_map(|wanted| wanted.endpoints.values());
        let hinted = endpoints.map(|endpoint| endpoint.hints.is_some());
        if service.is_some_and(|service| rules::is_local(service, hinted)) {
            self.local.insert(name.clone());
        } else {
            self.local.remove(name);
        }
    }

    /// Makes the tables of a Service as wanted, and keeps what it claims and
    /// the addresses of its endpoints.
    fn program(
        &mut self,
        name: &Name,
        (mut wanted, asked): (BTreeMap<(u16, Protocol), Wanted<'_>>, &Asked),
        (claimed, targets): (BTreeSet<IpAddr>, BTreeSet<IpAddr>),
        next: &mut Tables,
        epochs: &mut Epochs,
        at: Moment,
    ) {
        let mut programmed = self.services.get_mut(name).map(std::mem::take).unwrap_or_default();
        for key in wanted.keys() {
            if !programmed.ports.contains_key(key) {
                let port_key = PortKey { service: name.clone(), port: key.0, protocol: key.1 };
                let id = ServiceId(self.service_ids.give(&port_key, at));
                self.renamed.push(id);
                let port = ProgrammedPort { id, v4: Half::default(), v6: Half::default() };
                programmed.ports.insert(*key, port);
                // The name is new, even if no packet can notice.
                epochs.changed();
            }
        }
        let mut former = Vec::new();
        programmed.ports.retain(|key, port| {
            let mut lost = Vec::new();
            let mut change = Change {
                protocol: key.1,
                asked,
                places: &Places { vteps: self.nodes.vteps(), zones: &self.zones },
                backend_ids: &mut self.backend_ids,
                next: &mut *next,
                epochs: &mut *epochs,
                lost: &mut lost,
                at,
            };
            let wanted = wanted.remove(key);
            change.half::<V4>(port, wanted.as_ref());
            change.half::<V6>(port, wanted.as_ref());
            former.extend(lost.into_iter().map(|addr| (addr, port.id)));
            if wanted.is_none() {
                self.service_ids.free(port.id.0, at);
                self.renamed.push(port.id);
                epochs.service(port.id);
            }
            wanted.is_some()
        });
        for (addr, service) in former {
            self.note_former(addr, service);
        }
        (programmed.claimed, programmed.targets) = (claimed, targets);
        if programmed.ports.is_empty() && programmed.claimed.is_empty() {
            self.services.remove(name);
        } else if let Some(kept) = self.services.get_mut(name) {
            *kept = programmed;
        } else {
            self.services.insert(name.clone(), programmed);
        }
    }
}

/// Whether an address is that of a node that has a tunnel.
fn is_node(tables: &Tables, addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => tables.v4.nodes_by_addr.contains_key(&addr.octets()),
        IpAddr::V6(addr) => tables.v6.nodes_by_addr.contains_key(&addr.octets()),
    }
}

/// The addresses that are a node's in one of the tables only.
fn other_nodes<F: Family>(old: &Tables, new: &Tables) -> Vec<IpAddr> {
    let (old, new) = (&F::of(old).nodes_by_addr, &F::of(new).nodes_by_addr);
    if Arc::ptr_eq(old, new) {
        return Vec::new();
    }
    let gone = old.keys().filter(|addr| !new.contains_key(*addr));
    let come = new.keys().filter(|addr| !old.contains_key(*addr));
    gone.chain(come).map(|addr| F::to_ip(*addr)).collect()
}

/// Leaves the first findings about a Service and counts the others.
fn limit(name: &Name, findings: &mut Vec<(Key, Finding)>) {
    let more = findings.len().saturating_sub(FINDINGS_MAX);
    if more > 0 {
        findings.truncate(FINDINGS_MAX);
        let finding = Finding::error("", format!("{more} more findings are not shown"));
        findings.push((name.key(Kind::Service), finding));
    }
}
