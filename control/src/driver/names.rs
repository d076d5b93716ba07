use crate::compile::{Compiler, PortKey};
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
    /// `TCP`, `UDP` or `SCTP`.
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

    /// Takes what the last tables of `compiler` have named anew. To be called
    /// for all of them.
    pub fn update(&self, compiler: &Compiler) {
        if compiler.renamed().is_empty() {
            return;
        }
        let mut labels = self.labels.write().unwrap_or_else(PoisonError::into_inner);
        let labels = Arc::make_mut(&mut labels);
        for &id in compiler.renamed() {
            let index = id.0 as usize;
            if labels.len() <= index {
                labels.resize(index + 1, None);
            }
            labels[index] = compiler.service_port(id).map(ServiceLabel::of);
        }
        let used = labels.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        labels.truncate(used);
    }
}

impl ServiceLabel {
    pub(crate) fn of(key: &PortKey) -> Self {
        ServiceLabel {
            namespace: key.service.namespace.clone(),
            name: key.service.name.clone(),
            port: key.port,
            protocol: key.protocol.as_str(),
        }
    }
}
