//! One family's half of one port of a Service: frontends, endpoints and their
//! states.

use super::BackendKey;
use super::epochs::Epochs;
use super::ids::{Ids, Moment};
use super::rules::{self, Asked, Asking, Endpoints, Places, Rules};
use super::services::{ProgrammedPort, Wanted};
use crate::cluster::{AddressKind, Endpoint, EndpointState, Hints, Protocol};
use sluice_tables::paged::Paged;
use sluice_tables::{
    BackendId, BackendSet, BackendState, Family, Frontend, FrontendKey, FrontendRules, ServiceId,
    Tables, V4, V6,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// One family's half of [`ProgrammedPort`].
#[derive(Debug)]
pub struct Half<F: Family> {
    /// The addresses and ports that it is reached by, and what they are.
    pub fronts: BTreeMap<(F::Addr, u16), AddressKind>,
    /// Its endpoints by address and port, in rotation or not.
    pub members: BTreeMap<(F::Addr, u16), Member>,
    /// Those in rotation.
    pub rotation: Arc<BackendSet<F>>,
    /// What it asks for beyond a choice by hash.
    pub rules: Rules<F>,
    /// The most endpoints in rotation.
    max: usize,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: BackendId,
    /// What the tables say of it.
    pub state: BackendState,
    /// Its share of new connections; 0: none while others have some.
    pub weight: u16,
    /// The pod behind it.
    pub pod: Option<Arc<str>>,
    /// The node that it is on.
    pub node: Option<Arc<str>>,
    /// The zone that it is in.
    pub zone: Option<Arc<str>>,
    /// Who should use it, if anybody more than others.
    pub hints: Option<Arc<Hints>>,
}

impl Member {
    fn new(id: BackendId) -> Self {
        Member {
            id,
            state: BackendState::Gone,
            weight: 0,
            pod: None,
            node: None,
            zone: None,
            hints: None,
        }
    }

    /// Becomes as an endpoint is; true if it was not. What is the same already is not even read.
    fn take(&mut self, endpoint: &Endpoint<'_>) -> bool {
        fn set<T: ?Sized>(to: &mut Option<Arc<T>>, from: Option<&Arc<T>>) -> bool {
            let is_same = match (&to, from) {
                (Some(to), Some(from)) => Arc::ptr_eq(to, from),
                (to, from) => to.is_none() && from.is_none(),
            };
            if !is_same {
                *to = from.cloned();
            }
            !is_same
        }
        let now = (state_of(endpoint.state), endpoint.weight);
        let before = std::mem::replace(&mut self.state, now.0);
        let mut is_new = (before, std::mem::replace(&mut self.weight, now.1)) != now;
        is_new |= set(&mut self.pod, endpoint.pod);
        is_new |= set(&mut self.node, endpoint.node);
        is_new |= set(&mut self.zone, endpoint.zone);
        is_new | set(&mut self.hints, endpoint.hints.as_ref())
    }
}

impl<F: Family> Default for Half<F> {
    fn default() -> Self {
        Half {
            fronts: BTreeMap::new(),
            members: BTreeMap::new(),
            rotation: Arc::default(),
            rules: Rules::default(),
            max: 0,
        }
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

/// What is needed to change the tables of one port.
pub(super) struct Change<'a> {
    pub(super) protocol: Protocol,
    pub(super) asked: &'a Asked,
    pub(super) places: &'a Places<'a>,
    pub(super) backend_ids: &'a mut Ids<BackendKey>,
    pub(super) next: &'a mut Tables,
    pub(super) epochs: &'a mut Epochs,
    /// Addresses that the port has lost.
    pub(super) lost: &'a mut Vec<IpAddr>,
    pub(super) at: Moment,
}

impl Change<'_> {
    /// Changes one family's half of a port.
    pub(super) fn half<F: Asking>(
        &mut self,
        port: &mut ProgrammedPort,
        wanted: Option<&Wanted<'_>>,
    ) {
        let service = port.id;
        let half = F::half_mut(port);
        let fronts: BTreeMap<(F::Addr, u16), AddressKind> = wanted
            .iter()
            .flat_map(|wanted| &wanted.fronts)
            .filter_map(|(addr, l4_port, kind)| Some(((F::from_ip(*addr)?, *l4_port), *kind)))
            .collect();
        // Without an address of this family there is nothing to choose from.
        let endpoints = wanted.filter(|_| !fronts.is_empty()).map(|w| &w.endpoints);
        let is_new = self.members(service, half, endpoints);
        let max = wanted.map_or(0, |wanted| wanted.endpoints_max);
        if is_new || half.max != max {
            half.max = max;
            let refs = rules::rotation::<F>(&half.members, max);
            if half.rotation.backends() != &*refs {
                half.rotation = Arc::new(BackendSet::new(refs));
            }
        }
        half.rules = if fronts.is_empty() {
            Rules::default()
        } else {
            let endpoints = Endpoints { members: &half.members, rotation: &half.rotation, max };
            rules::make::<F>(self.asked, &endpoints, self.places, &half.rules)
        };
        let protocol = self.protocol.number();
        let key = |(addr, l4_port)| FrontendKey::<F> { addr, l4_port, protocol };
        let frontends = &mut F::of_mut(self.next).frontends;
        for at in half.fronts.keys().filter(|at| !fronts.contains_key(at)) {
            // It may be another Service's by now.
            if frontends.get(&key(*at)).is_some_and(|frontend| frontend.service == service) {
                frontends.remove(&key(*at));
            }
            self.epochs.service(service);
            self.lost.push(F::to_ip(at.0));
        }
        for (at, kind) in &fronts {
            let rules = half.rules.of(*kind);
            let old = frontends.get(&key(*at)).filter(|frontend| frontend.service == service);
            let is_same = old.is_some_and(|old| {
                Arc::ptr_eq(&old.backends, &half.rotation) && is_same(old.rules.as_ref(), rules)
            });
            if is_same {
                continue;
            }
            if old.is_some_and(|old| rules::is_tighter(old.rules.as_ref(), rules)) {
                self.epochs.service(service);
            }
            let backends = half.rotation.clone();
            frontends.insert(key(*at), Frontend { service, backends, rules: rules.cloned() });
            self.epochs.changed();
        }
        half.fronts = fronts;
    }

    /// Changes the endpoints of one half, and what is known of their states; true
    /// if any is another than before.
    fn members<F: Family>(
        &mut self,
        service: ServiceId,
        half: &mut Half<F>,
        endpoints: Option<&BTreeMap<(IpAddr, u16), Endpoint<'_>>>,
    ) -> bool {
        let wanted = endpoints.into_iter().flatten().filter_map(|((addr, l4_port), endpoint)| {
            Some(((F::from_ip(*addr)?, *l4_port), endpoint))
        });
        // Both are in the same order.
        if wanted.clone().map(|(at, _)| at).eq(half.members.keys().copied()) {
            let mut is_new = false;
            for ((_, endpoint), member) in wanted.zip(half.members.values_mut()) {
                let before = Some(member.state);
                is_new |= member.take(endpoint);
                self.state(service, member.id, before, member.state);
            }
            return is_new;
        }
        let mut old = std::mem::take(&mut half.members);
        for (at @ (addr, l4_port), endpoint) in wanted {
            let kept = old.remove(&at);
            let before = kept.as_ref().map(|member| member.state);
            let mut member = kept.unwrap_or_else(|| {
                let key = BackendKey { service, addr: F::to_ip(addr), l4_port };
                Member::new(BackendId(self.backend_ids.give(&key, self.at)))
            });
            member.take(endpoint);
            self.state(service, member.id, before, member.state);
            half.members.insert(at, member);
        }
        for member in old.into_values() {
            self.state(service, member.id, Some(member.state), BackendState::Gone);
            self.backend_ids.free(member.id.0, self.at);
        }
        true
    }

    fn state(
        &mut self,
        service: ServiceId,
        id: BackendId,
        before: Option<BackendState>,
        now: BackendState,
    ) {
        if before == Some(now) {
            return;
        }
        let backends: &mut Paged<BackendState> = &mut self.next.backends;
        backends.set(id.0, now);
        match before {
            Some(before) if rank(now) < rank(before) => self.epochs.service(service),
            _ => self.epochs.changed(),
        }
    }
}

fn is_same<F: Family>(
    old: Option<&Arc<FrontendRules<F>>>,
    new: Option<&Arc<FrontendRules<F>>>,
) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (old, new) => old.is_none() && new.is_none(),
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
