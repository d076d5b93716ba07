//! What can be asked of a compiler.

use super::{BackendKey, Compiler, Direction, PolicySizes, PortKey, Programmed};
use crate::diagnostic::Finding;
use crate::object::{Key, Name};
use sluice_tables::{BackendId, RuleId, ServiceId, Tables, VtepId};
use std::sync::Arc;

impl Compiler {
    /// The tables of the last [`Compiler::compile`].
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The same, to be kept.
    pub fn shared_tables(&self) -> Arc<Tables> {
        self.tables.clone()
    }

    /// What is wrong with objects together: with each other, or with the
    /// configuration.
    pub fn findings(&self) -> impl Iterator<Item = &(Key, Finding)> {
        self.findings.iter().map(|(_, finding)| finding)
    }

    /// What is in the tables of a Service.
    pub fn programmed(&self, service: &Name) -> Option<&Programmed> {
        self.services.get(service)
    }

    /// What a Service's number stands for, or has stood for until lately.
    pub fn port_of(&self, id: ServiceId) -> Option<&PortKey> {
        self.service_ids.key(id.0)
    }

    /// What an endpoint's number stands for, or has stood for until lately.
    pub fn backend_of(&self, id: BackendId) -> Option<&BackendKey> {
        self.backend_ids.key(id.0)
    }

    /// The Service port that has a number now.
    pub fn service_port(&self, id: ServiceId) -> Option<&PortKey> {
        self.service_ids.used(id.0)
    }

    /// The numbers of Service ports that the last [`Compiler::compile`] has
    /// given or freed.
    pub fn renamed(&self) -> &[ServiceId] {
        &self.renamed
    }

    /// All Service ports that have numbers, in the order of the numbers.
    pub fn service_ports(&self) -> impl Iterator<Item = (ServiceId, &PortKey)> {
        self.service_ids.iter().map(|(id, key)| (ServiceId(id), key))
    }

    /// The number of a node's tunnel endpoint.
    pub fn vtep_of(&self, node: &str) -> Option<VtepId> {
        self.nodes.vtep_of(node)
    }

    /// What a rule's number stands for, or has stood for until lately.
    pub fn rule_of(&self, id: RuleId) -> Option<Arc<str>> {
        self.policies.rule(id)
    }

    /// The policies that select a pod in a direction, in the order in which they
    /// are asked.
    pub fn policies_of(&self, pod: &Name, direction: Direction) -> Vec<Key> {
        self.policies.of_pod(pod, direction)
    }

    /// What of the policies asks for a domain name, as they write it: of several the
    /// one that asks for the fewest names; `None`: nothing does. The name as in
    /// [`Compiler::set_name`].
    pub fn pattern_of(&self, name: &str) -> Option<String> {
        self.policies.pattern_of(name)
    }

    /// How much has been compiled of policies.
    pub fn policy_sizes(&self) -> PolicySizes {
        self.policies.sizes(&self.tables)
    }

    /// Numbers in quarantine: of Services, endpoints and tunnel endpoints.
    pub fn quarantined(&self) -> [usize; 3] {
        [
            self.service_ids.quarantined(),
            self.backend_ids.quarantined(),
            self.vtep_ids.quarantined(),
        ]
    }
}
