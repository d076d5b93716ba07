use crate::compile::Compiler;
use sluice_tables::ServiceId;
use std::sync::{Arc, PoisonError, RwLock};

/// What a number in counters and flows stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLabel {
    /// The Service's namespace.
    pub namespace: Arc<str>,
    /// The Service's name.
    pub name: Arc<str>,
    /// The port that clients address.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
}

/// Labels by number; `None`: the number is not in use.
type Labels = Arc<Vec<Option<ServiceLabel>>>;

/// The names of Services by their numbers, for metrics. Clones share.
#[derive(Clone, Debug, Default)]
pub struct ServiceNames {
    labels: Arc<RwLock<Labels>>,
}

impl ServiceNames {
    /// All names, by number, as of the last publication.
    pub fn snapshot(&self) -> Arc<Vec<Option<ServiceLabel>>> {
        self.labels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One name.
    pub fn get(&self, id: ServiceId) -> Option<ServiceLabel> {
        self.snapshot().get(id.0 as usize).cloned().flatten()
    }

    pub(super) fn update(&self, compiler: &Compiler) {
        let mut labels: Vec<Option<ServiceLabel>> = Vec::new();
        for (id, key) in compiler.service_ports() {
            labels.resize(id.0 as usize, None);
            labels.push(Some(ServiceLabel {
                namespace: key.service.namespace.clone(),
                name: key.service.name.clone(),
                port: key.port,
                protocol: key.protocol.as_str(),
            }));
        }
        if *self.snapshot() != labels {
            *self.labels.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(labels);
        }
    }
}
