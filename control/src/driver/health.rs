use crate::cluster::Cluster;
use crate::compile::HealthCheck;
use crate::diagnostic::{Diagnostic, Finding};
use crate::object::Kind;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What those are told who ask at the ports of `spec.healthCheckNodePort`, by
/// TCP port, and which of these ports cannot be served. Clones share.
#[derive(Clone, Debug, Default)]
pub struct HealthChecks {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    checks: Arc<BTreeMap<u16, HealthCheck>>,
    refusals: BTreeMap<u16, String>,
}

impl HealthChecks {
    /// The answers, as of the last change of the cluster.
    pub fn snapshot(&self) -> Arc<BTreeMap<u16, HealthCheck>> {
        self.with(|shared| shared.checks.clone())
    }

    /// Takes the answers. To be called after each change of them.
    pub fn update(&self, checks: BTreeMap<u16, HealthCheck>) {
        self.with(|shared| {
            if *shared.checks != checks {
                shared.checks = Arc::new(checks);
            }
        });
    }

    /// Takes why ports cannot be served, to be shown where a user looks.
    pub fn refuse(&self, refusals: BTreeMap<u16, String>) {
        self.with(|shared| shared.refusals = refusals);
    }

    /// Why ports cannot be served.
    pub fn refused(&self) -> BTreeMap<u16, String> {
        self.with(|shared| shared.refusals.clone())
    }

    /// How many ports of Services cannot be served.
    pub(super) fn refusals_len(&self) -> usize {
        self.with(|shared| {
            shared.refusals.keys().filter(|port| shared.checks.contains_key(port)).count()
        })
    }

    /// Why ports cannot be served, at the Services that have them.
    pub(super) fn refusals(&self, cluster: &Cluster) -> Vec<Diagnostic> {
        self.with(|shared| {
            let refused = shared.refusals.iter();
            let refused = refused.filter_map(|(port, why)| Some((shared.checks.get(port)?, why)));
            refused
                .map(|(check, why)| {
                    let key = check.service.key(Kind::Service);
                    let message = format!("is not answered: {why}");
                    let finding = Finding::warning("spec.healthCheckNodePort", message);
                    let finding = finding.expected("a TCP port that is free in the kernel");
                    finding.at(&key, cluster.origin(&key))
                })
                .collect()
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Shared) -> T) -> T {
        f(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
