use crate::object::Name;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// One label in one namespace.
type Label = (Arc<str>, String, String);

/// Finds the pods of a selector and the selectors of a pod without looking at
/// all of them.
#[derive(Debug, Default)]
pub(super) struct LabelIndex {
    /// Pods by each of their labels.
    pods: HashMap<Label, BTreeSet<Name>>,
    /// Services by the first label of their selector.
    services: HashMap<Label, BTreeSet<Name>>,
}

/// Whether a selector selects these labels. An empty selector selects nothing
/// (a Service without one has its endpoints from elsewhere).
pub(super) fn matches(
    selector: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> bool {
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

impl LabelIndex {
    pub(super) fn add_pod(&mut self, name: &Name, labels: &BTreeMap<String, String>) {
        for label in all(&name.namespace, labels) {
            self.pods.entry(label).or_default().insert(name.clone());
        }
    }

    pub(super) fn remove_pod(&mut self, name: &Name, labels: &BTreeMap<String, String>) {
        for label in all(&name.namespace, labels) {
            remove(&mut self.pods, label, name);
        }
    }

    pub(super) fn add_selector(&mut self, name: &Name, selector: &BTreeMap<String, String>) {
        if let Some(label) = all(&name.namespace, selector).next() {
            self.services.entry(label).or_default().insert(name.clone());
        }
    }

    pub(super) fn remove_selector(&mut self, name: &Name, selector: &BTreeMap<String, String>) {
        if let Some(label) = all(&name.namespace, selector).next() {
            remove(&mut self.services, label, name);
        }
    }

    /// Services that may select a pod with these labels.
    pub(super) fn services_of(
        &self,
        namespace: &Arc<str>,
        labels: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = &Name> {
        all(namespace, labels).filter_map(|label| self.services.get(&label)).flatten()
    }

    /// Pods that a selector may select: those with its rarest label.
    pub(super) fn candidates(
        &self,
        namespace: &Arc<str>,
        selector: &BTreeMap<String, String>,
    ) -> Option<&BTreeSet<Name>> {
        let sets: Option<Vec<_>> =
            all(namespace, selector).map(|label| self.pods.get(&label)).collect();
        sets?.into_iter().min_by_key(|pods| pods.len())
    }
}

fn all(namespace: &Arc<str>, labels: &BTreeMap<String, String>) -> impl Iterator<Item = Label> {
    labels.iter().map(|(key, value)| (namespace.clone(), key.clone(), value.clone()))
}

fn remove(map: &mut HashMap<Label, BTreeSet<Name>>, label: Label, name: &Name) {
    if let Some(names) = map.get_mut(&label) {
        names.remove(name);
        if names.is_empty() {
            map.remove(&label);
        }
    }
}
