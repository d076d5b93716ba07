//! What rules and policies tell pods and addresses apart by: each selector,
//! block, set of nodes and domain name once, however many policies name it.

use super::classifiers::ClassifierNumber;
use super::{AttributeId, PodNumber};
use crate::cluster::network_policy::{
    DomainName, NamespaceSelector, Operator, Peer, PodSelector, Selector,
};
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One thing that an address has or has not.
#[derive(Debug)]
pub(super) struct Attribute {
    /// What it is; the subject of a policy is [`Peer::Pods`], too.
    pub(super) peer: Peer,
    /// How many policies and rules name it.
    uses: usize,
    /// How many of them are rules. Others need not be told apart by it when they
    /// are peers.
    peer_uses: usize,
    /// The policies whose subject it is.
    pub(super) policies: BTreeSet<super::PolicyNumber>,
    /// The pods that have it.
    pub(super) pods: HashSet<PodNumber>,
    /// The peers that have it: a bit each, by page.
    pub(super) lanes: BTreeMap<u32, u64>,
    /// The pages on which it has ever had a bit.
    pub(super) pages: BTreeSet<u32>,
    /// The classifiers of rules that name it.
    pub(super) classifiers: BTreeSet<ClassifierNumber>,
}

/// All attributes by number, and which of them a pod has.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    slots: Vec<Option<Attribute>>,
    free: Vec<AttributeId>,
    numbers: HashMap<Peer, AttributeId>,
    /// Selectors of pods by their selectors of namespaces.
    groups: HashMap<NamespaceSelector, Group>,
    /// For each namespace that is known, the groups whose labels it has.
    namespaces: HashMap<Arc<str>, Vec<NamespaceSelector>>,
    namespace_labels: HashMap<Arc<str>, Arc<BTreeMap<String, String>>>,
    /// Those that are known by their pods alone.
    implied: HashSet<Arc<str>>,
    /// Those that select nodes.
    of_nodes: BTreeSet<AttributeId>,
    /// How many are domain names.
    domains: usize,
}

/// Selectors of pods in the same namespaces, found by a label of the pod's.
#[derive(Debug, Default)]
struct Group {
    /// By a label that they require.
    by_label: HashMap<Arc<str>, HashMap<Arc<str>, Vec<AttributeId>>>,
    /// All others.
    others: Vec<AttributeId>,
    len: usize,
}

impl Attribute {
    /// How many rules name it.
    pub(super) fn peer_uses(&self) -> usize {
        self.peer_uses
    }
}

impl Attributes {
    pub(super) fn get(&self, id: AttributeId) -> Option<&Attribute> {
        self.slots.get(id as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: AttributeId) -> Option<&mut Attribute> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    /// Whether peers are told apart by it.
    pub(super) fn is_peer(&self, id: AttributeId) -> bool {
        self.get(id).is_some_and(|attribute| attribute.peer_uses > 0)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (AttributeId, &Attribute)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(id, slot)| Some((id as AttributeId, slot.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Another use of an attribute. Returns its number, whether it is new, and
    /// whether peers were not told apart by it before.
    pub(super) fn acquire(&mut self, peer: &Peer, is_peer: bool) -> (AttributeId, bool, bool) {
        let known = self.numbers.get(peer).copied();
        let id = known.unwrap_or_else(|| self.add(peer.clone()));
        let Some(attribute) = self.slots[id as usize].as_mut() else { return (id, false, false) };
        attribute.uses += 1;
        attribute.peer_uses += usize::from(is_peer);
        (id, known.is_none(), is_peer && attribute.peer_uses == 1)
    }

    /// One use less. Returns whether peers are no longer told apart by it; one
    /// without any use goes with [`Attributes::remove`].
    pub(super) fn release(&mut self, id: AttributeId, is_peer: bool) -> bool {
        let Some(attribute) = self.get_mut(id) else { return false };
        attribute.uses -= 1;
        attribute.peer_uses -= usize::from(is_peer);
        is_peer && attribute.peer_uses == 0
    }

    pub(super) fn is_used(&self, id: AttributeId) -> bool {
        self.get(id).is_some_and(|attribute| attribute.uses > 0)
    }

    fn add(&mut self, peer: Peer) -> AttributeId {
        let id = self.free.pop().unwrap_or(self.slots.len() as AttributeId);
        if let Peer::Pods(PodSelector { namespaces, pods }) = &peer {
            let group = match self.groups.get_mut(namespaces) {
                Some(group) => group,
                None => {
                    let labels = &self.namespace_labels;
                    for (namespace, groups) in &mut self.namespaces {
                        if has(namespaces, &labels[namespace]) {
                            groups.push(namespaces.clone());
                        }
                    }
                    self.groups.entry(namespaces.clone()).or_default()
                }
            };
            group.len += 1;
            group.each_place(pods, |place| place.push(id));
        }
        if matches!(peer, Peer::Nodes(_)) {
            self.of_nodes.insert(id);
        }
        self.domains += usize::from(matches!(peer, Peer::Domain(_)));
        let attribute = Attribute {
            peer: peer.clone(),
            uses: 0,
            peer_uses: 0,
            policies: BTreeSet::new(),
            pods: HashSet::new(),
            lanes: BTreeMap::new(),
            pages: BTreeSet::new(),
            classifiers: BTreeSet::new(),
        };
        self.numbers.insert(peer, id);
        match self.slots.get_mut(id as usize) {
            Some(slot) => *slot = Some(attribute),
            None => self.slots.push(Some(attribute)),
        }
        id
    }

    /// Forgets one that nobody uses, if nobody does.
    pub(super) fn remove(&mut self, id: AttributeId) -> Option<Attribute> {
        if self.is_used(id) {
            return None;
        }
        let attribute = self.slots.get_mut(id as usize)?.take()?;
        self.numbers.remove(&attribute.peer);
        self.of_nodes.remove(&id);
        self.domains -= usize::from(matches!(attribute.peer, Peer::Domain(_)));
        self.free.push(id);
        if let Peer::Pods(PodSelector { namespaces, pods }) = &attribute.peer
            && let Some(group) = self.groups.get_mut(namespaces)
        {
            group.len -= 1;
            group.each_place(pods, |place| place.retain(|one| *one != id));
            if group.len == 0 {
                self.groups.remove(namespaces);
                for groups in self.namespaces.values_mut() {
                    groups.retain(|one| one != namespaces);
                }
            }
        }
        Some(attribute)
    }

    /// Sets the labels of a namespace; `None`: it is not known any more.
    pub(super) fn set_namespace(
        &mut self,
        name: &Arc<str>,
        labels: Option<Arc<BTreeMap<String, String>>>,
    ) {
        self.implied.remove(name);
        let Some(labels) = labels else {
            self.namespaces.remove(name);
            self.namespace_labels.remove(name);
            return;
        };
        let groups = self.groups.keys().filter(|group| has(group, &labels)).cloned().collect();
        self.namespaces.insert(name.clone(), groups);
        self.namespace_labels.insert(name.clone(), labels);
    }

    /// Makes a namespace known that has pods, and nothing else that is known.
    pub(super) fn ensure_namespace(&mut self, name: &Arc<str>) {
        if !self.namespaces.contains_key(name) {
            let name_label = ("kubernetes.io/metadata.name".to_owned(), name.to_string());
            self.set_namespace(name, Some(Arc::new(BTreeMap::from([name_label]))));
            self.implied.insert(name.clone());
        }
    }

    /// Forgets a namespace whose last pod has gone, if nothing else is known of it.
    pub(super) fn forget_namespace(&mut self, name: &Arc<str>) {
        if self.implied.contains(name) {
            self.set_namespace(name, None);
        }
    }

    /// The attributes of a node with these labels.
    pub(super) fn of_node(&self, labels: &BTreeMap<String, String>) -> BTreeSet<AttributeId> {
        let selects = |id: &&AttributeId| match self.get(**id).map(|attribute| &attribute.peer) {
            Some(Peer::Nodes(selector)) => selector.matches(labels),
            _ => false,
        };
        self.of_nodes.iter().filter(selects).copied().collect()
    }

    /// Whether any is a domain name.
    pub(super) fn has_domains(&self) -> bool {
        self.domains > 0
    }

    /// The attributes of the addresses of a domain name: the name itself, and all
    /// names above it with a wildcard.
    pub(super) fn of_name(&self, name: &str) -> Vec<AttributeId> {
        let domain = |name: &str, is_wildcard| {
            let domain = DomainName { name: name.into(), is_wildcard };
            self.numbers.get(&Peer::Domain(domain)).copied()
        };
        let above = name.match_indices('.').filter_map(|(dot, _)| domain(&name[dot + 1..], true));
        domain(name, false).into_iter().chain(above).collect()
    }

    /// The attributes of a pod in a namespace that is known, in order.
    pub(super) fn of_pod(
        &self,
        namespace: &Arc<str>,
        labels: &BTreeMap<String, String>,
    ) -> Vec<AttributeId> {
        let own = NamespaceSelector::Named(namespace.clone());
        let mut found = Vec::new();
        for group in self.namespaces.get(namespace).into_iter().flatten().chain([&own]) {
            let Some(group) = self.groups.get(group) else { continue };
            let by_label = labels
                .iter()
                .filter_map(|(key, value)| group.by_label.get(key.as_str())?.get(value.as_str()));
            let candidates = by_label.flatten().chain(&group.others).copied();
            found.extend(candidates.filter(|id| self.selects(*id, labels)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether the labels of a pod are those that an attribute selects.
    fn selects(&self, id: AttributeId, labels: &BTreeMap<String, String>) -> bool {
        match self.get(id).map(|attribute| &attribute.peer) {
            Some(Peer::Pods(selector)) => selector.pods.matches(labels),
            _ => false,
        }
    }

    /// The namespaces that are known and that a selector selects.
    pub(super) fn namespaces_of(&self, selector: &NamespaceSelector) -> Vec<Arc<str>> {
        let named =
            |name: &Arc<str>| matches!(selector, NamespaceSelector::Named(one) if one == name);
        let is_in = |(name, labels): &(&Arc<str>, &Arc<BTreeMap<String, String>>)| {
            named(name) || has(selector, labels)
        };
        self.namespace_labels.iter().filter(is_in).map(|(name, _)| name.clone()).collect()
    }
}

/// Whether a namespace has the labels that a selector of labels asks for.
fn has(selector: &NamespaceSelector, labels: &BTreeMap<String, String>) -> bool {
    match selector {
        NamespaceSelector::Named(_) => false,
        NamespaceSelector::Labels(selector) => selector.matches(labels),
    }
}

impl Group {
    /// The lists in which a selector is looked for.
    fn each_place(&mut self, selector: &Selector, mut act: impl FnMut(&mut Vec<AttributeId>)) {
        for requirement in selector.requirements() {
            if let Operator::In(values) = &requirement.operator {
                for value in values {
                    let by_value = self.by_label.entry(requirement.key.clone()).or_default();
                    act(by_value.entry(value.clone()).or_default());
                    if by_value.get(value).is_some_and(Vec::is_empty) {
                        by_value.remove(value);
                    }
                }
                if self.by_label.get(&requirement.key).is_some_and(HashMap::is_empty) {
                    self.by_label.remove(&requirement.key);
                }
                return;
            }
        }
        act(&mut self.others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_only_pods_tell_of_goes_with_the_last_of_them() {
        let mut attributes = Attributes::default();
        let everywhere = NamespaceSelector::Labels(Selector::default());
        let (told, untold): (Arc<str>, Arc<str>) = ("told".into(), "untold".into());
        attributes.set_namespace(&told, Some(Arc::default()));
        for name in [&told, &untold] {
            attributes.ensure_namespace(name);
        }
        assert_eq!(attributes.namespaces_of(&everywhere).len(), 2);
        for name in [&told, &untold] {
            attributes.forget_namespace(name);
        }
        assert_eq!(attributes.namespaces_of(&everywhere), std::slice::from_ref(&told));
        attributes.ensure_namespace(&untold);
        attributes.set_namespace(&untold, Some(Arc::default()));
        attributes.forget_namespace(&untold);
        assert_eq!(attributes.namespaces_of(&everywhere).len(), 2);
        attributes.set_namespace(&untold, None);
        assert!(attributes.implied.is_empty() && attributes.namespaces.len() == 1);
    }
}
