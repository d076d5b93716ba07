use crate::diagnostic::{Finding, Findings};
use crate::object::{Key, Kind, Name, Object, Origin};
use ipnet::IpNet;
use sluice_config::OverlayMode;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Which addresses can be an endpoint's or a VIP.
pub mod address;
/// Calico's blocks and pools.
pub mod calico;
/// Who claims a VIP.
pub mod claims;
/// Network policies.
pub mod network_policy;
/// Nodes.
pub mod node;
/// Who claims a port at the gateway's own addresses.
pub mod node_ports;
/// Pods.
pub mod pod;
/// What the configuration says about which Services are served.
pub mod policy;
/// Services.
pub mod service;
/// EndpointSlices.
pub mod slice;

/// The endpoints of a Service, from its slices or its pods.
pub mod endpoints;

mod annotations;
mod excess;
mod labels;
mod texts;

pub(crate) use annotations::PROXY_NAME;
pub use claims::{Claims, Share};
pub use endpoints::{Endpoint, EndpointFrom, EndpointState, ServiceEndpoints};
pub use excess::ENDPOINTS_MAX;
pub use node::Node;
pub use node_ports::{NodePort, NodePorts};
pub use pod::Pod;
pub use policy::Policy;
pub use service::{
    AddressKind, Distribution, Protocol, Service, ServiceAddress, ServicePort, TargetPort,
};
pub use slice::{Hints, Slice};

use calico::{Block, Blocks};
use labels::LabelIndex;
use texts::Texts;

/// What has changed since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services that may have other ports or addresses, or endpoints.
    pub services: BTreeSet<Name>,
    /// Services that may have other endpoints, and nothing else.
    pub endpoints: BTreeSet<Name>,
    /// Pods that may stand elsewhere.
    pub pods: BTreeSet<Name>,
    /// Nodes that have changed.
    pub nodes: BTreeSet<Arc<str>>,
}

impl Changes {
    /// True when nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.endpoints.is_empty()
            && self.pods.is_empty()
            && self.nodes.is_empty()
    }
}

/// The objects of a cluster, reduced to what is needed.
#[derive(Debug, Default)]
pub struct Cluster {
    services: BTreeMap<Name, Arc<Service>>,
    slices: BTreeMap<Name, Arc<Slice>>,
    slices_by_service: BTreeMap<Name, BTreeSet<Name>>,
    pods: BTreeMap<Name, Arc<Pod>>,
    nodes: BTreeMap<Arc<str>, Arc<Node>>,
    blocks: Blocks,
    pools: BTreeSet<Arc<str>>,
    namespaces: BTreeSet<Arc<str>>,
    overlay: OverlayMode,
    network_policies: BTreeSet<Name>,
    labels: LabelIndex,
    pods_by_node: HashMap<Arc<str>, BTreeSet<Name>>,
    /// Pods that have a weight.
    weighted: BTreeSet<Name>,
    texts: Texts,
    policy: Policy,
    claims: Claims,
    node_ports: NodePorts,
    origins: BTreeMap<Key, Origin>,
    findings: Findings<Key>,
    changes: Changes,
}

impl Cluster {
    /// Sets which Services are served, and by which addresses.
    pub fn set_policy(&mut self, policy: Policy) {
        if self.policy == policy {
            return;
        }
        self.policy = policy;
        let services: Vec<_> = self
            .services
            .iter()
            .map(|(name, service)| (name.clone(), (**service).clone()))
            .collect();
        for (name, service) in services {
            self.set_service(&name, Some(service));
        }
    }

    /// Sets whose overlay the nodes are in. It is to be set before there are any.
    pub fn set_overlay(&mut self, overlay: OverlayMode) {
        self.overlay = overlay;
    }

    /// Takes a new or changed object.
    pub fn apply(&mut self, object: &Object, origin: Option<Origin>) {
        let key = object.key();
        let mut findings = Vec::new();
        match object {
            Object::Namespace(_) => drop(self.namespaces.insert(key.name.clone())),
            Object::Node(node) => {
                let mut node = Node::reduce(self.overlay, node, &mut findings);
                if self.overlay == OverlayMode::Calico {
                    node.set_blocks(self.blocks.of_node(&key.name));
                }
                self.set_node(&key.name, Some(node));
            }
            Object::Service(service) => {
                let service = Service::reduce(service, &mut findings);
                self.set_service(&key.to_name(), Some(service));
            }
            Object::EndpointSlice(slice) => {
                let mut slice = Slice::reduce(slice, &mut findings);
                for endpoint in &mut slice.endpoints {
                    self.texts.share(&mut endpoint.node);
                    self.texts.share(&mut endpoint.zone);
                }
                let name = key.to_name();
                if let Some(old) = self.slices.get(&name) {
                    slice.share(old);
                }
                self.set_slice(&name, Some(slice));
            }
            Object::Pod(pod) => {
                let mut pod = Pod::reduce(pod, &mut findings);
                self.texts.share(&mut pod.node);
                self.set_pod(&key.to_name(), Some(pod));
            }
            Object::IpamBlock(block) => self.set_block(&key.name, Some(Block::reduce(block))),
            Object::IpPool(pool) => {
                self.pools.insert(key.name.clone());
                let is_read = self.overlay == OverlayMode::Calico;
                findings.extend(is_read.then(|| calico::pool_findings(pool)).flatten());
            }
            Object::NetworkPolicy(_) => {
                self.network_policies.insert(key.to_name());
                let message = "is not enforced: Sluice has no network policy yet";
                let finding = Finding::warning("spec", message);
                findings.push(finding.expected("another policy engine in the cluster"));
            }
        }
        match origin {
            Some(origin) => drop(self.origins.insert(key.clone(), origin)),
            None => drop(self.origins.remove(&key)),
        }
        self.findings.set(key, findings);
    }

    /// Notes that an object stands elsewhere.
    pub fn move_to(&mut self, key: Key, origin: Origin) {
        self.origins.insert(key, origin);
    }

    /// Forgets an object.
    pub fn delete(&mut self, key: &Key) {
        match key.kind {
            Kind::Namespace => drop(self.namespaces.remove(&key.name)),
            Kind::Node => self.set_node(&key.name, None),
            Kind::Service => self.set_service(&key.to_name(), None),
            Kind::EndpointSlice => self.set_slice(&key.to_name(), None),
            Kind::Pod => self.set_pod(&key.to_name(), None),
            Kind::IpamBlock => self.set_block(&key.name, None),
            Kind::IpPool => drop(self.pools.remove(&key.name)),
            Kind::NetworkPolicy => drop(self.network_policies.remove(&key.to_name())),
        }
        self.origins.remove(key);
        self.findings.set(key.clone(), Vec::new());
    }

    /// What has changed since this was last called. It is one change: who has
    /// which address is decided here.
    pub fn take_changes(&mut self) -> Changes {
        self.claims.settle();
        self.node_ports.settle();
        std::mem::take(&mut self.changes)
    }

    /// Everything, as if all of it were new.
    pub fn everything(&self) -> Changes {
        Changes {
            services: self.services.keys().cloned().collect(),
            endpoints: BTreeSet::new(),
            pods: self.pods.keys().cloned().collect(),
            nodes: self.nodes.keys().cloned().collect(),
        }
    }

    fn set_node(&mut self, name: &Arc<str>, node: Option<Node>) {
        if set(&mut self.nodes, name, node).is_some() {
            self.changes.nodes.insert(name.clone());
        }
    }

    fn set_block(&mut self, name: &Arc<str>, block: Option<Option<Block>>) {
        for node in self.blocks.set(name, block) {
            if self.overlay == OverlayMode::Calico
                && let Some(known) = self.nodes.get(&node)
            {
                let mut changed = Node::clone(known);
                changed.set_blocks(self.blocks.of_node(&node));
                self.set_node(&node, Some(changed));
            }
        }
    }

    fn set_service(&mut self, name: &Name, mut service: Option<Service>) {
        if let Some(service) = &mut service {
            service.admit(&self.policy);
        }
        let Some(change) = set(&mut self.services, name, service) else { return };
        self.changes.services.insert(name.clone());
        if let Some(old) = &change.old {
            self.labels.remove_selector(name, &old.selector);
            self.changes.services.extend(self.claims.remove(name, old));
            self.changes.services.extend(self.node_ports.remove(name, old));
        }
        if let Some(new) = &change.new {
            self.labels.add_selector(name, &new.selector);
            self.changes.services.extend(self.claims.add(name, new));
            self.changes.services.extend(self.node_ports.add(name, new));
        }
    }

    fn set_slice(&mut self, name: &Name, slice: Option<Slice>) {
        let Some(change) = set(&mut self.slices, name, slice) else { return };
        for (slice, is_new) in [(change.old, false), (change.new, true)] {
            let Some(service) = slice.and_then(|slice| slice.service.clone()) else { continue };
            let service = Name { namespace: name.namespace.clone(), name: service };
            let slices = self.slices_by_service.entry(service.clone()).or_default();
            if is_new {
                slices.insert(name.clone());
            } else {
                slices.remove(name);
            }
            if slices.is_empty() {
                self.slices_by_service.remove(&service);
            }
            self.changes.endpoints.insert(service);
        }
    }

    fn set_pod(&mut self, name: &Name, pod: Option<Pod>) {
        let Some(change) = set(&mut self.pods, name, pod) else { return };
        self.changes.pods.insert(name.clone());
        // The weight of a pod counts for slices, too.
        let is_weighted = change.old.iter().chain(&change.new).any(|pod| pod.weight.is_some());
        for (pod, is_new) in [(change.old, false), (change.new, true)] {
            let Some(pod) = pod else { continue };
            if is_new {
                self.labels.add_pod(name, &pod.labels);
                if let Some(node) = &pod.node {
                    self.pods_by_node.entry(node.clone()).or_default().insert(name.clone());
                }
                if pod.weight.is_some() {
                    self.weighted.insert(name.clone());
                }
            } else {
                self.labels.remove_pod(name, &pod.labels);
                self.leave_node(name, &pod);
                self.weighted.remove(name);
            }
            for service in self.labels.services_of(&name.namespace, &pod.labels) {
                let selects = |s: &Arc<Service>| labels::matches(&s.selector, &pod.labels);
                if self.services.get(service).is_some_and(selects)
                    && (is_weighted || !self.slices_by_service.contains_key(service))
                {
                    self.changes.endpoints.insert(service.clone());
                }
            }
        }
    }

    fn leave_node(&mut self, name: &Name, pod: &Pod) {
        let Some(node) = &pod.node else { return };
        if let Some(pods) = self.pods_by_node.get_mut(node) {
            pods.remove(name);
            if pods.is_empty() {
                self.pods_by_node.remove(node);
            }
        }
    }

    /// The Services, in order.
    pub fn services(&self) -> impl Iterator<Item = (&Name, &Arc<Service>)> {
        self.services.iter()
    }

    /// One Service.
    pub fn service(&self, name: &Name) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Node>)> {
        self.nodes.iter()
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// One pod.
    pub fn pod(&self, name: &Name) -> Option<&Arc<Pod>> {
        self.pods.get(name)
    }

    /// The pods on a node, in order.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Name> {
        self.pods_by_node.get(node).into_iter().flatten()
    }

    /// Who has an address that Services claim, as of [`Cluster::take_changes`].
    pub fn share(&self, addr: IpAddr) -> Option<Share<'_>> {
        self.claims.share(addr)
    }

    /// The addresses in a range that Services claim, and a Service that has
    /// each, as of [`Cluster::take_changes`].
    pub fn claims_in(&self, net: &IpNet) -> impl Iterator<Item = (IpAddr, &Name)> {
        self.claims.in_range(net)
    }

    /// The Service that has a node port, as of [`Cluster::take_changes`].
    pub fn node_port_holder(&self, port: NodePort) -> Option<&Name> {
        self.node_ports.holder(port)
    }

    /// Addresses that Services claim, as of [`Cluster::take_changes`].
    pub fn claimed_len(&self) -> usize {
        self.claims.len()
    }

    /// Where an object was read.
    pub fn origin(&self, key: &Key) -> Option<&Origin> {
        self.origins.get(key)
    }

    /// What is wrong with objects by themselves.
    pub fn findings(&self) -> impl Iterator<Item = (&Key, &Finding)> {
        self.findings.iter()
    }

    /// The findings that there were not when this was last called.
    pub fn take_new_findings(&mut self) -> Vec<(Key, Finding)> {
        self.findings.take_new()
    }

    /// Objects by kind.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Namespace => self.namespaces.len(),
            Kind::Node => self.nodes.len(),
            Kind::Service => self.services.len(),
            Kind::EndpointSlice => self.slices.len(),
            Kind::Pod => self.pods.len(),
            Kind::IpamBlock => self.blocks.len(),
            Kind::IpPool => self.pools.len(),
            Kind::NetworkPolicy => self.network_policies.len(),
        }
    }

    /// The slices of a Service, in order.
    fn slices_of(&self, service: &Name) -> impl Iterator<Item = (&Name, &Arc<Slice>)> {
        let names = self.slices_by_service.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get_key_value(name))
    }

    /// The pods that a selector selects, in order.
    fn selected<'a>(
        &'a self,
        namespace: &Arc<str>,
        selector: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a Name, &'a Arc<Pod>)> {
        let names = self.labels.candidates(namespace, selector).into_iter().flatten();
        names
            .filter_map(|name| self.pods.get_key_value(name))
            .filter(|(_, pod)| labels::matches(selector, &pod.labels))
    }
}

/// What became of one entry.
struct Change<T> {
    old: Option<Arc<T>>,
    new: Option<Arc<T>>,
}

/// Sets or removes a value; `None` if it was the same already.
fn set<K: Ord + Clone, T: PartialEq>(
    map: &mut BTreeMap<K, Arc<T>>,
    key: &K,
    value: Option<T>,
) -> Option<Change<T>> {
    if map.get(key).map(|old| &**old) == value.as_ref() {
        return None;
    }
    let new = value.map(Arc::new);
    let old = match &new {
        Some(new) => map.insert(key.clone(), new.clone()),
        None => map.remove(key),
    };
    Some(Change { old, new })
}
