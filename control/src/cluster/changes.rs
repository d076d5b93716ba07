use crate::object::{Key, Name};
use std::collections::BTreeSet;
use std::sync::Arc;

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
    /// Namespaces that have changed.
    pub namespaces: BTreeSet<Arc<str>>,
    /// Network policies that have changed, of both kinds.
    pub policies: BTreeSet<Key>,
    /// Ingresses that have changed.
    pub ingresses: BTreeSet<Name>,
    /// Certificates that have changed.
    pub secrets: BTreeSet<Name>,
    /// Ingresses may be of other classes.
    pub classes: bool,
}

impl Changes {
    /// True when nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.endpoints.is_empty()
            && self.pods.is_empty()
            && self.nodes.is_empty()
            && self.namespaces.is_empty()
            && self.policies.is_empty()
            && self.ingresses.is_empty()
            && self.secrets.is_empty()
            && !self.classes
    }
}
