//! What is kept of each object, and what is different when it changes.

use super::calico::Block;
use super::{
    Cluster, Ingress, Namespace, NetworkPolicy, Node, Pod, Secret, Service, Slice, labels,
    network_policy,
};
use crate::object::{Key, Name, Object};
use sluice_config::OverlayMode;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Cluster {
    pub(super) fn set_node(&mut self, name: &Arc<str>, node: Option<Node>) {
        if set(&mut self.nodes, name, node).is_some() {
            self.changes.nodes.insert(name.clone());
        }
    }

    pub(super) fn set_namespace(&mut self, name: &Arc<str>, namespace: Option<Namespace>) {
        if set(&mut self.namespaces, name, namespace).is_some() {
            self.changes.namespaces.insert(name.clone());
        }
    }

    /// Sets a policy to what it was reduced to. One that Kubernetes would not
    /// accept, which no source passes on, counts as refused.
    pub(super) fn set_network_policy(
        &mut self,
        key: &Key,
        policy: Option<NetworkPolicy>,
        object: &Object,
    ) {
        let policy = policy.unwrap_or_else(|| network_policy::refused(key, Some(object)));
        self.set_policy_of(key, Some(policy));
    }

    pub(super) fn set_policy_of(&mut self, key: &Key, policy: Option<NetworkPolicy>) {
        if set(&mut self.network_policies, key, policy).is_some() {
            self.changes.policies.insert(key.clone());
        }
    }

    pub(super) fn set_ingress(&mut self, name: &Name, ingress: Option<Ingress>) {
        if set(&mut self.ingresses, name, ingress).is_some() {
            self.changes.ingresses.insert(name.clone());
        }
    }

    pub(super) fn set_secret(&mut self, name: &Name, secret: Option<Secret>) {
        if set(&mut self.secrets, name, secret).is_some() {
            self.changes.secrets.insert(name.clone());
        }
    }

    pub(super) fn set_block(&mut self, name: &Arc<str>, block: Option<Option<Block>>) {
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

    pub(super) fn set_service(&mut self, name: &Name, mut service: Option<Service>) {
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

    pub(super) fn set_slice(&mut self, name: &Name, slice: Option<Slice>) {
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

    pub(super) fn set_pod(&mut self, name: &Name, pod: Option<Pod>) {
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
