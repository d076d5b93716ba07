//! Pods, namespaces and nodes as policies see them.

use super::program::NamedPorts;
use super::subjects::SubjectKey;
use super::{AttributeId, Cluster, Direction, Name, Pod, PodNumber, Policies, PolicyNumber};
use crate::cluster::network_policy::{PodSelector, Selector};
use hashbrown::{HashMap, HashSet};
use sluice_tables::policy::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Pods by number.
#[derive(Debug, Default)]
pub(super) struct Pods {
    slots: Vec<Option<PolicyPod>>,
    free: Vec<PodNumber>,
    numbers: HashMap<Name, PodNumber>,
    by_namespace: HashMap<Arc<str>, BTreeSet<PodNumber>>,
    /// Namespaces whose policies are only tried out.
    audited: HashSet<Arc<str>>,
}

/// A pod that is not in its node's network.
#[derive(Debug)]
pub(super) struct PolicyPod {
    pub(super) name: Name,
    pub(super) pod: Arc<Pod>,
    /// What selects it, in order.
    pub(super) attributes: Vec<AttributeId>,
    pub(super) ingress: Subject,
    pub(super) egress: Subject,
}

impl Pods {
    pub(super) fn get(&self, number: PodNumber) -> Option<&PolicyPod> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = PodNumber> + '_ {
        self.numbers.values().copied()
    }

    /// The subject of a pod in a direction.
    pub(super) fn subject(&self, name: &Name, direction: Direction) -> Option<Subject> {
        let pod = self.get(*self.numbers.get(name)?)?;
        let subject = match direction {
            Direction::Ingress => pod.ingress,
            Direction::Egress => pod.egress,
        };
        subject.is_selected().then_some(subject)
    }

    /// What selects a pod, in order.
    pub(super) fn attributes(&self, name: &Name) -> &[AttributeId] {
        let pod = self.numbers.get(name).and_then(|number| self.get(*number));
        pod.map_or(&[], |pod| &pod.attributes)
    }

    /// An attribute is no more.
    pub(super) fn drop_attribute(&mut self, id: AttributeId, pods: &HashSet<PodNumber>) {
        for number in pods {
            if let Some(Some(pod)) = self.slots.get_mut(*number as usize) {
                pod.attributes.retain(|one| *one != id);
            }
        }
    }

    fn add(&mut self, name: &Name, pod: Arc<Pod>) -> PodNumber {
        let number = self.free.pop().unwrap_or(self.slots.len() as PodNumber);
        let pod = PolicyPod {
            name: name.clone(),
            pod,
            attributes: Vec::new(),
            ingress: Subject::NONE,
            egress: Subject::NONE,
        };
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = Some(pod),
            None => self.slots.push(Some(pod)),
        }
        self.numbers.insert(name.clone(), number);
        self.by_namespace.entry(name.namespace.clone()).or_default().insert(number);
        number
    }

    fn remove(&mut self, number: PodNumber) -> Option<PolicyPod> {
        let pod = self.slots.get_mut(number as usize)?.take()?;
        self.numbers.remove(&pod.name);
        if let Some(pods) = self.by_namespace.get_mut(&pod.name.namespace) {
            pods.remove(&number);
            if pods.is_empty() {
                self.by_namespace.remove(&pod.name.namespace);
            }
        }
        self.free.push(number);
        Some(pod)
    }
}

/// Nodes by number.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    numbers: HashMap<Arc<str>, u32>,
    slots: Vec<Option<PolicyNode>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct PolicyNode {
    labels: BTreeMap<String, String>,
    addresses: BTreeSet<IpAddr>,
    attributes: BTreeSet<AttributeId>,
}

impl Nodes {
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// What selects a node.
    pub(super) fn attributes(&self, number: u32) -> impl Iterator<Item = AttributeId> + '_ {
        let node = self.slots.get(number as usize).and_then(Option::as_ref);
        node.into_iter().flat_map(|node| node.attributes.iter().copied())
    }

    /// The addresses of the nodes that a new attribute selects.
    pub(super) fn add_attribute(&mut self, id: AttributeId, selector: &Selector) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for node in self.slots.iter_mut().flatten().filter(|node| selector.matches(&node.labels)) {
            node.attributes.insert(id);
            addresses.extend(&node.addresses);
        }
        addresses
    }

    /// The addresses of the nodes that an attribute has selected until now.
    pub(super) fn drop_attribute(&mut self, id: AttributeId) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for node in self.slots.iter_mut().flatten() {
            if node.attributes.remove(&id) {
                addresses.extend(&node.addresses);
            }
        }
        addresses
    }
}

impl Policies {
    /// A namespace has other labels, is new, or is gone.
    pub(super) fn set_namespace(&mut self, cluster: &Cluster, name: &Arc<str>) {
        let namespace = cluster.namespace(name);
        let labels = namespace.map(|namespace| Arc::new(namespace.labels.clone()));
        self.attributes.set_namespace(name, labels);
        let is_audited = namespace.is_some_and(|namespace| namespace.is_audited);
        if is_audited {
            self.pods.audited.insert(name.clone());
        } else {
            self.pods.audited.remove(name);
        }
        for number in self.pods.by_namespace.get(name).cloned().into_iter().flatten() {
            self.select(number);
        }
    }

    /// A node has other labels or addresses, is new, or is gone.
    pub(super) fn set_node(&mut self, cluster: &Cluster, name: &Arc<str>) {
        let node = cluster.node(name);
        let old = self.nodes.numbers.get(name).copied();
        let number = match (old, node) {
            (Some(number), _) => number,
            (None, None) => return,
            (None, Some(_)) => {
                let number = self.nodes.free.pop().unwrap_or(self.nodes.slots.len() as u32);
                if number as usize == self.nodes.slots.len() {
                    self.nodes.slots.push(None);
                }
                self.nodes.numbers.insert(name.clone(), number);
                // Pods may have come before their node.
                self.touch_pods_on(cluster, name);
                number
            }
        };
        let before = self.nodes.slots[number as usize].take();
        for addr in before.iter().flat_map(|node| &node.addresses) {
            self.addresses.remove_node(*addr, number);
            self.stale.addresses.insert(*addr);
        }
        let Some(node) = node else {
            self.nodes.numbers.remove(name);
            self.nodes.free.push(number);
            self.touch_pods_on(cluster, name);
            return;
        };
        let addresses: BTreeSet<IpAddr> = node.all_addresses.iter().copied().collect();
        for addr in &addresses {
            self.addresses.add_node(*addr, number);
            self.stale.addresses.insert(*addr);
        }
        let attributes = self.attributes.of_node(&node.labels);
        self.nodes.slots[number as usize] =
            Some(PolicyNode { labels: node.labels.clone(), addresses, attributes });
    }

    fn touch_pods_on(&mut self, cluster: &Cluster, node: &str) {
        for name in cluster.pods_on(node) {
            if let Some(number) = self.pods.numbers.get(name)
                && let Some(pod) = self.pods.get(*number)
            {
                self.stale.addresses.extend(pod.pod.ips.iter().map(|(_, addr)| *addr));
            }
        }
    }

    /// A pod has changed, is new, or is gone.
    pub(super) fn set_pod(&mut self, name: &Name, pod: Option<&Arc<Pod>>) {
        let pod = pod.filter(|pod| !pod.is_host_network);
        let old = self.pods.numbers.get(name).copied();
        let before = old.and_then(|number| self.pods.get(number)).map(|known| known.pod.clone());
        if let (Some(before), Some(now)) = (&before, pod) {
            let is_same = before.labels == now.labels
                && before.ips == now.ips
                && before.ports == now.ports
                && before.node == now.node
                && before.created == now.created;
            if is_same {
                return;
            }
        }
        if let (Some(number), Some(before)) = (old, &before) {
            for (_, addr) in &before.ips {
                self.addresses.remove_pod(*addr, before.created, name);
                self.stale.addresses.insert(*addr);
            }
            if pod.is_none() {
                self.forget_pod(number);
            }
        }
        let Some(pod) = pod else { return };
        let number = match old {
            Some(number) => {
                if let Some(Some(known)) = self.pods.slots.get_mut(number as usize) {
                    known.pod = pod.clone();
                }
                number
            }
            None => self.pods.add(name, pod.clone()),
        };
        for (_, addr) in &pod.ips {
            self.addresses.add_pod(*addr, pod.created, name, number);
            self.stale.addresses.insert(*addr);
        }
        self.select(number);
    }

    fn forget_pod(&mut self, number: PodNumber) {
        let Some(pod) = self.pods.remove(number) else { return };
        if !self.pods.by_namespace.contains_key(&pod.name.namespace) {
            self.attributes.forget_namespace(&pod.name.namespace);
        }
        self.stale.pods.remove(&number);
        for id in &pod.attributes {
            if let Some(attribute) = self.attributes.get_mut(*id) {
                attribute.pods.remove(&number);
            }
        }
        for subject in [pod.ingress, pod.egress] {
            self.subjects.release(subject);
        }
    }

    /// Finds out what selects a pod.
    fn select(&mut self, number: PodNumber) {
        let Some(Some(pod)) = self.pods.slots.get_mut(number as usize) else { return };
        self.stale.pods.insert(number);
        let namespace = &pod.name.namespace;
        self.attributes.ensure_namespace(namespace);
        let now = self.attributes.of_pod(namespace, &pod.pod.labels);
        if now == pod.attributes {
            return;
        }
        let before = std::mem::replace(&mut pod.attributes, now);
        for id in before.iter().filter(|id| pod.attributes.binary_search(id).is_err()) {
            if let Some(attribute) = self.attributes.get_mut(*id) {
                attribute.pods.remove(&number);
            }
        }
        for id in pod.attributes.iter().filter(|id| before.binary_search(id).is_err()) {
            if let Some(attribute) = self.attributes.get_mut(*id) {
                attribute.pods.insert(number);
            }
        }
    }

    /// Finds the pods that a new attribute selects.
    pub(super) fn find_pods(&mut self, id: AttributeId, selector: &PodSelector) {
        for namespace in self.attributes.namespaces_of(&selector.namespaces) {
            for number in self.pods.by_namespace.get(&namespace).into_iter().flatten() {
                if let Some(Some(pod)) = self.pods.slots.get_mut(*number as usize)
                    && selector.pods.matches(&pod.pod.labels)
                    && let Some(attribute) = self.attributes.get_mut(id)
                {
                    attribute.pods.insert(*number);
                    if let Err(at) = pod.attributes.binary_search(&id) {
                        pod.attributes.insert(at, id);
                    }
                    self.stale.pods.insert(*number);
                }
            }
        }
    }

    /// Finds out which policies select the pods that have changed.
    pub(super) fn write_pods(&mut self) {
        for number in std::mem::take(&mut self.stale.pods) {
            let Some(pod) = self.pods.get(number) else { continue };
            self.stale.addresses.extend(pod.pod.ips.iter().map(|(_, addr)| *addr));
            let keys = [Direction::Ingress, Direction::Egress]
                .map(|direction| self.subject_key(pod, direction));
            let [ingress, egress] = keys.map(|key| match key {
                Some(key) => {
                    let compiled = &self.compiled;
                    let make = |key: &SubjectKey| Policies::rules_of(compiled, key);
                    self.subjects.acquire(key, &mut self.attributes, make)
                }
                None => Subject::NONE,
            });
            let Some(Some(pod)) = self.pods.slots.get_mut(number as usize) else { continue };
            let before = (pod.ingress, pod.egress);
            (pod.ingress, pod.egress) = (ingress, egress);
            self.subjects.release(before.0);
            self.subjects.release(before.1);
        }
    }

    /// What selects a pod in a direction, if anything does.
    fn subject_key(&self, pod: &PolicyPod, direction: Direction) -> Option<SubjectKey> {
        let attributes = pod.attributes.iter().filter_map(|id| self.attributes.get(*id));
        let numbers = attributes.flat_map(|attribute| attribute.policies.iter().copied());
        let mut policies: Vec<PolicyNumber> = numbers
            .filter(|number| self.compiled(*number).is_some_and(|p| p.ways(direction).is_some()))
            .collect();
        if policies.is_empty() {
            return None;
        }
        policies
            .sort_by_key(|number| self.compiled(*number).map(|policy| (policy.tier, &policy.key)));
        let is_named = direction == Direction::Ingress
            && policies
                .iter()
                .filter_map(|number| self.compiled(*number)?.ways(direction))
                .any(|ways| ways.rules.iter().any(|rule| rule.is_named));
        Some(SubjectKey {
            direction,
            policies,
            ports: is_named.then(|| self.named_ports(&pod.pod)).flatten(),
            is_audited: self.pods.audited.contains(&pod.name.namespace),
        })
    }

    /// The ports of a pod that rules name, if it has any.
    pub(super) fn named_ports(&self, pod: &Pod) -> Option<NamedPorts> {
        if self.port_names.is_empty() {
            return None;
        }
        let named = pod.ports.iter().filter_map(|(name, protocol, number)| {
            let (name, _) = self.port_names.get_key_value(name.as_str())?;
            Some((name.clone(), *protocol, *number))
        });
        let mut named: Vec<_> = named.collect();
        named.sort_unstable();
        named.dedup();
        (!named.is_empty()).then(|| named.into())
    }
}
