use crate::diagnostic::Findings;
use crate::object::{Key, Kind, Name, Object, Origin};
use sluice_config::OverlayMode;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Which addresses can be an endpoint's or a VIP.
pub mod address;
/// Calico's blocks and pools.
pub mod calico;
/// What has changed.
mod changes;
/// Who claims a VIP.
pub mod claims;
/// Ingresses.
pub mod ingress;
/// Namespaces.
pub mod namespace;
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
/// Certificates.
pub mod secret;
/// Services.
pub mod service;
/// EndpointSlices.
pub mod slice;

/// The endpoints of a Service, from its slices or its pods.
pub mod endpoints;

mod annotations;
mod excess;
mod labels;
mod lookups;
mod texts;
mod upkeep;

pub(crate) use annotations::PROXY_NAME;
pub use changes::Changes;
pub use claims::{Claims, Share};
pub use endpoints::{Endpoint, EndpointFrom, EndpointState, ServiceEndpoints};
pub use excess::ENDPOINTS_MAX;
pub use ingress::Ingress;
pub use namespace::Namespace;
pub use network_policy::NetworkPolicy;
pub use node::Node;
pub use node_ports::{NodePort, NodePorts};
pub use pod::Pod;
pub use policy::Policy;
pub use secret::Secret;
pub use service::{
    AddressKind, Distribution, Protocol, Service, ServiceAddress, ServicePort, TargetPort,
};
pub use slice::{Hints, Slice};

use calico::{Block, Blocks};
use ingress::{Classes, IngressClass};
use labels::LabelIndex;
use texts::Texts;

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
    namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    overlay: OverlayMode,
    network_policies: BTreeMap<Key, Arc<NetworkPolicy>>,
    classes: Classes,
    ingresses: BTreeMap<Name, Arc<Ingress>>,
    secrets: BTreeMap<Name, Arc<Secret>>,
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
            Object::Namespace(namespace) => {
                let namespace = Namespace::reduce(namespace, &mut findings);
                self.set_namespace(&key.name, Some(namespace));
            }
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
            Object::NetworkPolicy(policy) => {
                let reduced = network_policy::reduce(&key.namespace, policy, &mut findings);
                self.set_network_policy(&key, reduced, object);
            }
            Object::ClusterNetworkPolicy(policy) => {
                let reduced = network_policy::reduce_cluster(policy, &mut findings);
                self.set_network_policy(&key, reduced, object);
            }
            Object::IngressClass(class) => {
                let class = IngressClass::reduce(class, &mut findings);
                self.changes.classes |= self.classes.set(&key.name, Some(class));
            }
            Object::Ingress(ingress) => {
                let ingress = Ingress::reduce(&key.namespace, ingress);
                self.set_ingress(&key.to_name(), Some(ingress));
            }
            Object::Secret(secret) => {
                let name = key.to_name();
                let last = self.secrets.get(&name);
                let secret = Secret::read(&name, secret, last.map(|last| &**last));
                self.set_secret(&name, Some(secret));
            }
        }
        match origin {
            Some(origin) => drop(self.origins.insert(key.clone(), origin)),
            None => drop(self.origins.remove(&key)),
        }
        self.findings.set(key, findings);
    }

    /// Takes a network policy that cannot be understood, of which no good version
    /// is known: everything is denied to the pods that it selects, as far as
    /// `rest`, which has been decoded of it, tells. Other kinds are left alone.
    pub fn refuse(&mut self, key: &Key, rest: Option<&Object>) {
        if !key.kind.is_network_policy() {
            return;
        }
        self.set_policy_of(key, Some(network_policy::refused(key, rest)));
        self.origins.remove(key);
        self.findings.set(key.clone(), Vec::new());
    }

    /// Notes that an object stands elsewhere.
    pub fn move_to(&mut self, key: Key, origin: Origin) {
        self.origins.insert(key, origin);
    }

    /// Forgets an object.
    pub fn delete(&mut self, key: &Key) {
        match key.kind {
            Kind::Namespace => self.set_namespace(&key.name, None),
            Kind::Node => self.set_node(&key.name, None),
            Kind::Service => self.set_service(&key.to_name(), None),
            Kind::EndpointSlice => self.set_slice(&key.to_name(), None),
            Kind::Pod => self.set_pod(&key.to_name(), None),
            Kind::IpamBlock => self.set_block(&key.name, None),
            Kind::IpPool => drop(self.pools.remove(&key.name)),
            Kind::NetworkPolicy | Kind::ClusterNetworkPolicy => self.set_policy_of(key, None),
            Kind::IngressClass => self.changes.classes |= self.classes.set(&key.name, None),
            Kind::Ingress => self.set_ingress(&key.to_name(), None),
            Kind::Secret => self.set_secret(&key.to_name(), None),
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
            namespaces: self.namespaces.keys().cloned().collect(),
            policies: self.network_policies.keys().cloned().collect(),
            ingresses: self.ingresses.keys().cloned().collect(),
            secrets: self.secrets.keys().cloned().collect(),
            classes: true,
        }
    }
}
