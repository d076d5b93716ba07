//! Services: frontends, endpoints and their states.

use super::epochs::Epochs;
use super::ids::{Ids, Moment};
use super::{BackendKey, Compiler, PortKey, Subject, vips};
use crate::cluster::{Cluster, Endpoint, EndpointState, Protocol, Service};
use crate::diagnostic::Finding;
use crate::object::{Key, Kind, Name};
use sluice_tables::paged::Paged;
use sluice_tables::{
    BackendId, BackendRef, BackendSet, BackendState, Family, Frontend, FrontendKey, ServiceId,
    Tables, V4, V6,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

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

/// One family's half of [`ProgrammedPort`].
#[derive(Debug)]
pub struct Half<F: Family> {
    /// Its VIPs.
    pub vips: BTreeSet<F::Addr>,
    /// Its endpoints by address and port, in rotation or not.
    pub members: BTreeMap<(F::Addr, u16), Member>,
    /// Those in rotation.
    pub rotation: Arc<BackendSet<F>>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: BackendId,
    /// What the tables say of it.
    pub state: BackendState,
    /// The pod behind it.
    pub pod: Option<Arc<str>>,
    /// The node that it is on.
    pub node: Option<Arc<str>>,
}

impl<F: Family> Default for Half<F> {
    fn default() -> Self {
        Half { vips: BTreeSet::new(), members: BTreeMap::new(), rotation: Arc::default() }
    }
}

/// A family, seen from [`ProgrammedPort`].
pub trait Halves: Family {
    /// This family's half.
    fn half(port: &ProgrammedPort) -> &Half<Self>;
    /// This family's half, to be changed.
    fn half_mut(port: &mut ProgrammedPort) -> &mut Half<Self>;
}

impl Halves for V4 {
    fn half(port: &ProgrammedPort) -> &Half<V4> {
        &port.v4
    }
    fn half_mut(port: &mut ProgrammedPort) -> &mut Half<V4> {
        &mut port.v4
    }
}

impl Halves for V6 {
    fn half(port: &ProgrammedPort) -> &Half<V6> {
        &port.v6
    }
    fn half_mut(port: &mut ProgrammedPort) -> &mut Half<V6> {
        &mut port.v6
    }
}

/// What the tables should say of one port.
#[derive(Debug)]
struct Wanted {
    vips: Vec<IpAddr>,
    endpoints: BTreeMap<(IpAddr, u16), Endpoint>,
}

/// What is needed to change the tables of one port.
struct Change<'a> {
    key: (u16, Protocol),
    backend_ids: &'a mut Ids<BackendKey>,
    next: &'a mut Tables,
    epochs: &'a mut Epochs,
    at: Moment,
}

impl Compiler {
    pub(super) fn compile_services(
        &mut self,
        cluster: &Cluster,
        names: &BTreeSet<Name>,
        next: &mut Tables,
        epochs: &mut Epochs,
        at: Moment,
    ) {
        let mut addresses = BTreeSet::new();
        for name in names {
            addresses.extend(cluster.service(name).iter().flat_map(|s| s.vips()).map(|(a, _)| a));
            addresses.extend(self.services.get(name).iter().flat_map(|s| &s.claimed));
        }
        // Who has an address decides whether it can be an endpoint.
        let mut names = names.clone();
        for addr in addresses {
            self.put_vip(cluster, addr, next, epochs);
            let first = (addr, Name::new("", ""));
            let with_target = self.targets.range(first..).take_while(|(a, _)| *a == addr);
            names.extend(with_target.map(|(_, name)| name.clone()));
        }
        for name in &names {
            let mut findings = Vec::new();
            let mut targets = BTreeSet::new();
            let service = cluster.service(name);
            let wanted = service.map_or_else(BTreeMap::new, |service| {
                self.wanted(cluster, name, service, &mut targets, &mut findings)
            });
            let mut claims = service.iter().flat_map(|service| service.vips());
            if claims.any(|(addr, _)| self.taken.by_node(addr).is_some()) {
                self.blocked.insert(name.clone());
            } else {
                self.blocked.remove(name);
            }
            let claimed = service.iter().flat_map(|s| s.vips()).map(|(addr, _)| addr).collect();
            self.set_targets(name, &targets);
            self.program(name, wanted, (claimed, targets), next, epochs, at);
            self.findings.set(Subject::Service(name.clone()), findings);
        }
    }

    /// Keeps which Services have an endpoint of an address.
    fn set_targets(&mut self, name: &Name, targets: &BTreeSet<IpAddr>) {
        if let Some(before) = self.services.get(name) {
            for addr in before.targets.difference(targets) {
                self.targets.remove(&(*addr, name.clone()));
            }
        }
        self.targets.extend(targets.iter().map(|addr| (*addr, name.clone())));
    }

    /// Whose an address is that no endpoint can have therefore; in words.
    /// Kubernetes refuses ClusterIPs there, too.
    fn refuse_endpoint(&self, cluster: &Cluster, addr: IpAddr) -> Option<String> {
        if let Some(local) = self.statics.own(addr) {
            return Some(self.statics.describe(local));
        }
        let service = cluster.share(addr).filter(|_| self.vips.contains(&addr))?.holder()?;
        Some(format!("an address of Service {service}"))
    }

    fn wanted(
        &self,
        cluster: &Cluster,
        name: &Name,
        service: &Service,
        targets: &mut BTreeSet<IpAddr>,
        findings: &mut Vec<(Key, Finding)>,
    ) -> BTreeMap<(u16, Protocol), Wanted> {
        let mut own = Vec::new();
        let (statics, taken) = (&self.statics, &self.taken);
        let vips = vips::usable(cluster, statics, taken, name, service, &mut own);
        if vips.is_empty() {
            findings.extend(own.into_iter().map(|f| (name.key(Kind::Service), f)));
            return BTreeMap::new();
        }
        let mut endpoints = cluster.endpoints(name, service);
        own.append(&mut endpoints.findings);
        let mut refused = BTreeSet::new();
        let mut wanted = BTreeMap::new();
        for (port, mut endpoints) in service.ports.iter().zip(endpoints.ports) {
            endpoints.retain(|(addr, _), endpoint| {
                targets.insert(*addr);
                let Some(what) = self.refuse_endpoint(cluster, *addr) else { return true };
                let (key, path) = endpoint.from.place();
                let message = format!("{addr} is {what}; this endpoint is left out");
                refused.insert((key, Finding::error(path, message).expected("a pod's address")));
                false
            });
            if endpoints.len() > BackendSet::<V4>::BACKENDS_MAX {
                let message = format!(
                    "has {} endpoints; {} of them are used",
                    endpoints.len(),
                    BackendSet::<V4>::BACKENDS_MAX
                );
                own.push(Finding::warning(format!("spec.ports[{}]", port.index), message));
            }
            let vips = vips::of_port(cluster, name, &vips, port, &mut own);
            if !vips.is_empty() {
                wanted.insert((port.port, port.protocol), Wanted { vips, endpoints });
            }
        }
        findings.extend(own.into_iter().map(|f| (name.key(Kind::Service), f)));
        findings.extend(refused);
        wanted
    }

    /// Makes the tables of a Service as wanted, and keeps what it claims and
    /// the addresses of its endpoints.
    fn program(
        &mut self,
        name: &Name,
        mut wanted: BTreeMap<(u16, Protocol), Wanted>,
        (claimed, targets): (BTreeSet<IpAddr>, BTreeSet<IpAddr>),
        next: &mut Tables,
        epochs: &mut Epochs,
        at: Moment,
    ) {
        let mut programmed = self.services.remove(name).unwrap_or_default();
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
        programmed.ports.retain(|key, port| {
            let backend_ids = &mut self.backend_ids;
            let mut change =
                Change { key: *key, backend_ids, next: &mut *next, epochs: &mut *epochs, at };
            let wanted = wanted.remove(key);
            change.half::<V4>(port, wanted.as_ref());
            change.half::<V6>(port, wanted.as_ref());
            if wanted.is_none() {
                self.service_ids.free(port.id.0, at);
                self.renamed.push(port.id);
                epochs.service(port.id);
            }
            wanted.is_some()
        });
        (programmed.claimed, programmed.targets) = (claimed, targets);
        if !(programmed.ports.is_empty() && programmed.claimed.is_empty()) {
            self.services.insert(name.clone(), programmed);
        }
    }
}

impl Change<'_> {
    /// Changes one family's half of a port.
    fn half<F: Halves>(&mut self, port: &mut ProgrammedPort, wanted: Option<&Wanted>) {
        let service = port.id;
        let half = F::half_mut(port);
        let vips: BTreeSet<F::Addr> =
            wanted.iter().flat_map(|w| &w.vips).copied().filter_map(F::from_ip).collect();
        // Without an address of this family there is nothing to choose from.
        let endpoints = wanted.filter(|_| !vips.is_empty()).map(|w| &w.endpoints);
        self.members(service, half, endpoints);
        let refs = rotation::<F>(&half.members);
        let is_same = half.rotation.backends() == &*refs;
        if !is_same {
            half.rotation = Arc::new(BackendSet::new(refs));
        }
        let frontends = &mut F::of_mut(self.next).frontends;
        let key = |addr: F::Addr| FrontendKey::<F> {
            addr,
            l4_port: self.key.0,
            protocol: self.key.1.number(),
        };
        for &addr in half.vips.difference(&vips) {
            // It may be another Service's by now.
            if frontends.get(&key(addr)).is_some_and(|frontend| frontend.service == service) {
                frontends.remove(&key(addr));
            }
            self.epochs.service(service);
        }
        for &addr in &vips {
            let is_there = frontends.get(&key(addr)).is_some_and(|f| f.service == service);
            if !(is_same && is_there) {
                let frontend = Frontend { service, backends: half.rotation.clone(), rules: None };
                frontends.insert(key(addr), frontend);
                self.epochs.changed();
            }
        }
        half.vips = vips;
    }

    /// Changes the endpoints of one half, and what is known of their states.
    fn members<F: Family>(
        &mut self,
        service: ServiceId,
        half: &mut Half<F>,
        endpoints: Option<&BTreeMap<(IpAddr, u16), Endpoint>>,
    ) {
        let mut old = std::mem::take(&mut half.members);
        for (&(addr, l4_port), endpoint) in endpoints.into_iter().flatten() {
            let Some(family_addr) = F::from_ip(addr) else { continue };
            let state = state_of(endpoint.state);
            let before = old.remove(&(family_addr, l4_port));
            let id = match &before {
                Some(member) => member.id,
                None => {
                    let key = BackendKey { service, addr, l4_port };
                    BackendId(self.backend_ids.give(&key, self.at))
                }
            };
            self.state(service, id, before.map(|m| m.state), state);
            let (pod, node) = (endpoint.pod.clone(), endpoint.node.clone());
            half.members.insert((family_addr, l4_port), Member { id, state, pod, node });
        }
        for member in old.into_values() {
            self.state(service, member.id, Some(member.state), BackendState::Gone);
            self.backend_ids.free(member.id.0, self.at);
        }
    }

    fn state(
        &mut self,
        service: ServiceId,
        id: BackendId,
        before: Option<BackendState>,
        now: BackendState,
    ) {
        let backends: &mut Paged<BackendState> = &mut self.next.backends;
        backends.set(id.0, now);
        match before {
            Some(before) if rank(now) < rank(before) => self.epochs.service(service),
            Some(before) if before == now => {}
            _ => self.epochs.changed(),
        }
    }
}

fn state_of(state: EndpointState) -> BackendState {
    match state {
        EndpointState::NotReady => BackendState::NotReady,
        EndpointState::Draining => BackendState::Draining,
        EndpointState::Ready => BackendState::Ready,
    }
}

/// Higher is better.
fn rank(state: BackendState) -> u8 {
    match state {
        BackendState::Gone => 0,
        BackendState::NotReady => 1,
        BackendState::Draining => 2,
        BackendState::Ready => 3,
    }
}

/// The endpoints in rotation: the ready ones; if there are none, those that
/// terminate and still serve (KEP-1669).
fn rotation<F: Family>(members: &BTreeMap<(F::Addr, u16), Member>) -> Vec<BackendRef<F>> {
    let of = |wanted: BackendState| -> Vec<BackendRef<F>> {
        let members = members.iter().filter(|(_, member)| member.state == wanted);
        let refs =
            members.map(|(&(addr, l4_port), m)| BackendRef { id: m.id, addr, l4_port, weight: 1 });
        refs.take(BackendSet::<F>::BACKENDS_MAX).collect()
    };
    let ready = of(BackendState::Ready);
    if ready.is_empty() { of(BackendState::Draining) } else { ready }
}
