//! What Services ask for beyond a choice by hash.

use super::halves::{Halves, Member};
use super::zones::Zones;
use crate::cluster::{AddressKind, Service};
use hashbrown::HashMap;
use ipnet::IpNet;
use sluice_tables::{
    BackendRef, BackendSet, BackendState, Balance, Family, FrontendRules, Locality, SourceRanges,
    V4, V6, VtepId, ZoneId,
};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

/// What a Service asks for on all of its ports.
#[derive(Debug, Default)]
pub(super) struct Asked {
    affinity_ms: Option<u32>,
    balance: Balance,
    is_internal_local: bool,
    sources_v4: Option<Arc<SourceRanges<V4>>>,
    sources_v6: Option<Arc<SourceRanges<V6>>>,
}

impl Asked {
    pub(super) fn of(service: &Service) -> Self {
        let sources = service.sources.as_ref();
        Asked {
            affinity_ms: service.affinity_s.map(|seconds| seconds.saturating_mul(1000)),
            balance: service.balance,
            is_internal_local: service.is_internal_local,
            sources_v4: sources.map(|nets| Arc::new(ranges(nets))),
            sources_v6: sources.map(|nets| Arc::new(ranges(nets))),
        }
    }
}

/// A family, seen from [`Asked`].
pub(super) trait Asking: Halves {
    /// Who may connect; `None`: everyone.
    fn sources(asked: &Asked) -> Option<&Arc<SourceRanges<Self>>>;
}

impl Asking for V4 {
    fn sources(asked: &Asked) -> Option<&Arc<SourceRanges<V4>>> {
        asked.sources_v4.as_ref()
    }
}

impl Asking for V6 {
    fn sources(asked: &Asked) -> Option<&Arc<SourceRanges<V6>>> {
        asked.sources_v6.as_ref()
    }
}

fn ranges<F: Family>(nets: &[IpNet]) -> SourceRanges<F> {
    SourceRanges::new(
        nets.iter().filter_map(|net| Some((F::from_ip(net.addr())?, net.prefix_len()))),
    )
}

/// The rules of one port, by what an address is to the Service.
#[derive(Debug, Default)]
pub struct Rules<F: Family> {
    cluster: Option<Arc<FrontendRules<F>>>,
    balancer: Option<Arc<FrontendRules<F>>>,
    /// External addresses and node ports.
    other: Option<Arc<FrontendRules<F>>>,
}

impl<F: Family> Rules<F> {
    /// Those of an address.
    pub fn of(&self, kind: AddressKind) -> Option<&Arc<FrontendRules<F>>> {
        match kind {
            AddressKind::Cluster => self.cluster.as_ref(),
            AddressKind::Balancer => self.balancer.as_ref(),
            AddressKind::External | AddressKind::NodePort => self.other.as_ref(),
        }
    }

    /// All sets of endpoints that are for some clients only.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<BackendSet<F>>> {
        let rules = [&self.cluster, &self.balancer, &self.other].into_iter().flatten();
        rules.flat_map(|rules| {
            rules.locality.by_node.values().chain(rules.locality.by_zone.values())
        })
    }
}

/// Where the nodes are.
pub(super) struct Places<'a> {
    pub(super) vteps: &'a BTreeMap<Arc<str>, VtepId>,
    pub(super) zones: &'a Zones,
}

/// What rules are made from, of one family of one port.
pub(super) struct Endpoints<'a, F: Family> {
    pub(super) members: &'a BTreeMap<(F::Addr, u16), Member>,
    pub(super) rotation: &'a Arc<BackendSet<F>>,
    /// The most endpoints of one set.
    pub(super) max: usize,
}

/// The rules of one family of one port. What is as before is shared with `old`.
pub(super) fn make<F: Asking>(
    asked: &Asked,
    endpoints: &Endpoints<'_, F>,
    places: &Places<'_>,
    old: &Rules<F>,
) -> Rules<F> {
    let old_locality = |rules: &Option<Arc<FrontendRules<F>>>| match rules {
        Some(rules) => rules.locality.clone(),
        None => Locality::default(),
    };
    let near = by_hints(endpoints, places, &old_locality(&old.other));
    let inside = match asked.is_internal_local {
        true => by_node(endpoints, places, &old_locality(&old.cluster)),
        false => near.clone(),
    };
    let rules = |sources: Option<&Arc<SourceRanges<F>>>, locality, old: &Option<_>| {
        let rules = FrontendRules {
            sources: sources.cloned(),
            affinity_ms: asked.affinity_ms,
            balance: asked.balance,
            locality,
        };
        if is_empty(&rules) {
            return None;
        }
        let same = old.as_ref().filter(|old: &&Arc<_>| is_same(old, &rules));
        Some(same.cloned().unwrap_or_else(|| Arc::new(rules)))
    };
    Rules {
        cluster: rules(None, inside, &old.cluster),
        balancer: rules(F::sources(asked), near.clone(), &old.balancer),
        other: rules(None, near, &old.other),
    }
}

fn is_empty<F: Family>(rules: &FrontendRules<F>) -> bool {
    let FrontendRules { sources, affinity_ms, balance, locality } = rules;
    sources.is_none()
        && affinity_ms.is_none()
        && *balance == Balance::Consistent
        && locality.by_node.is_empty()
        && locality.by_zone.is_empty()
        && !locality.node_only
}

fn is_same<F: Family>(a: &FrontendRules<F>, b: &FrontendRules<F>) -> bool {
    fn same<K: Eq + Hash, V>(a: &HashMap<K, Arc<V>>, b: &HashMap<K, Arc<V>>) -> bool {
        let is_in = |(key, set): (&K, &Arc<V>)| b.get(key).is_some_and(|b| Arc::ptr_eq(set, b));
        a.len() == b.len() && a.iter().all(is_in)
    }
    a.sources == b.sources
        && a.affinity_ms == b.affinity_ms
        && a.balance == b.balance
        && a.locality.node_only == b.locality.node_only
        && same(&a.locality.by_node, &b.locality.by_node)
        && same(&a.locality.by_zone, &b.locality.by_zone)
}

/// Whether the flows of clients that were let in must look again.
pub(super) fn is_tighter<F: Family>(
    old: Option<&Arc<FrontendRules<F>>>,
    new: Option<&Arc<FrontendRules<F>>>,
) -> bool {
    let new = new.and_then(|rules| rules.sources.as_ref());
    new.is_some() && old.and_then(|rules| rules.sources.as_ref()) != new
}

/// Endpoints by their nodes, for `spec.internalTrafficPolicy: Local`
/// (`CategorizeEndpoints` in kube-proxy's `pkg/proxy/topology.go`).
fn by_node<F: Family>(
    endpoints: &Endpoints<'_, F>,
    places: &Places<'_>,
    old: &Locality<F>,
) -> Locality<F> {
    let mut nodes: HashMap<VtepId, BTreeMap<(F::Addr, u16), Member>> = HashMap::new();
    for (key, member) in endpoints.members {
        let vtep = member.node.as_ref().and_then(|node| places.vteps.get(node));
        let Some(vtep) = vtep else { continue };
        nodes.entry(*vtep).or_default().insert(*key, member.clone());
    }
    let sets = nodes.into_iter().filter_map(|(vtep, members)| {
        let set = share(
            rotation::<F>(&members, endpoints.max),
            endpoints.rotation,
            old.by_node.get(&vtep),
        );
        (!set.backends().is_empty()).then_some((vtep, set))
    });
    Locality { by_node: sets.collect(), by_zone: HashMap::new(), node_only: true }
}

/// Endpoints by the nodes and zones that they should be used from. Hints count
/// only where all that are ready have them (`topologyModeFromHints` in
/// kube-proxy's `pkg/proxy/topology.go`).
fn by_hints<F: Family>(
    endpoints: &Endpoints<'_, F>,
    places: &Places<'_>,
    old: &Locality<F>,
) -> Locality<F> {
    let ready = || endpoints.members.iter().filter(|(_, m)| m.state == BackendState::Ready);
    let mut locality = Locality::default();
    if ready().all(|(_, m)| m.hints.as_ref().is_some_and(|hints| !hints.nodes.is_empty())) {
        let mut nodes: HashMap<VtepId, Vec<_>> = HashMap::new();
        for (key, member) in ready() {
            let hints = member.hints.iter().flat_map(|hints| &hints.nodes);
            for vtep in hints.filter_map(|node| places.vteps.get(node)) {
                nodes.entry(*vtep).or_default().push((*key, member));
            }
        }
        let sets = nodes.into_iter().map(|(vtep, members)| {
            (
                vtep,
                share(
                    refs::<F>(members, endpoints.max),
                    endpoints.rotation,
                    old.by_node.get(&vtep),
                ),
            )
        });
        locality.by_node = sets.collect();
    }
    if ready().all(|(_, m)| m.hints.as_ref().is_some_and(|hints| !hints.zones.is_empty())) {
        let mut zones: HashMap<ZoneId, Vec<_>> = HashMap::new();
        for (key, member) in ready() {
            let hints = member.hints.iter().flat_map(|hints| &hints.zones);
            for zone in hints.filter_map(|zone| places.zones.id(zone)) {
                zones.entry(zone).or_default().push((*key, member));
            }
        }
        let sets = zones.into_iter().map(|(zone, members)| {
            (
                zone,
                share(
                    refs::<F>(members, endpoints.max),
                    endpoints.rotation,
                    old.by_zone.get(&zone),
                ),
            )
        });
        locality.by_zone = sets.collect();
    }
    locality
}

/// A set of these endpoints: one that there is already, if it has just them.
fn share<F: Family>(
    refs: Vec<BackendRef<F>>,
    rotation: &Arc<BackendSet<F>>,
    old: Option<&Arc<BackendSet<F>>>,
) -> Arc<BackendSet<F>> {
    let mut there = old.into_iter().chain([rotation]);
    let same = there.find(|set| set.backends() == &*refs);
    same.cloned().unwrap_or_else(|| Arc::new(BackendSet::new(refs)))
}

/// The endpoints in rotation, so many at most: the ready ones; if there are none,
/// those that terminate and still serve (KEP-1669).
pub(super) fn rotation<F: Family>(
    members: &BTreeMap<(F::Addr, u16), Member>,
    max: usize,
) -> Vec<BackendRef<F>> {
    let of = |wanted: BackendState| {
        let members = members.iter().filter(|(_, member)| member.state == wanted);
        refs::<F>(members.map(|(key, member)| (*key, member)).collect(), max)
    };
    let ready = of(BackendState::Ready);
    if ready.is_empty() { of(BackendState::Draining) } else { ready }
}

/// Those that get new connections: all that have a weight, else all alike.
fn refs<F: Family>(mut members: Vec<((F::Addr, u16), &Member)>, max: usize) -> Vec<BackendRef<F>> {
    if members.iter().any(|(_, member)| member.weight > 0) {
        members.retain(|(_, member)| member.weight > 0);
    }
    // A hint that is given twice is one.
    members.dedup_by_key(|(key, _)| *key);
    let refs = members.into_iter().take(max).map(|((addr, l4_port), member)| BackendRef {
        id: member.id,
        addr,
        l4_port,
        weight: member.weight.max(1),
    });
    refs.collect()
}

/// Whether what a Service asks for depends on where nodes are.
pub(super) fn is_local(service: &Service, mut endpoints: impl Iterator<Item = bool>) -> bool {
    service.is_internal_local || service.distribution.is_some() || endpoints.any(|hinted| hinted)
}
