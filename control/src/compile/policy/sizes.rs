use super::Policies;
use serde::{Deserialize, Serialize};
use sluice_tables::Tables;

/// How much has been compiled of policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySizes {
    /// Policies.
    pub policies: usize,
    /// Selectors, blocks and the like, each once.
    pub attributes: usize,
    /// Sets of policies that select pods.
    pub subjects: usize,
    /// What tells the peers of subjects apart, where rules name the same.
    pub classifiers: usize,
    /// What is said to the peers of subjects, where it is the same.
    pub programs: usize,
    /// Rules that decide something for a subject, each once for each.
    pub rules: usize,
    /// Sets of attributes that tell peers apart.
    pub peers: usize,
    /// Pages of rows.
    pub pages: usize,
    /// Bytes of rows, pages and ranges in the tables.
    pub bytes: usize,
}

impl Policies {
    /// How much there is, and in the tables.
    pub(in crate::compile) fn sizes(&self, tables: &Tables) -> PolicySizes {
        let v4 = tables.v4.blocks.memory_bytes() + tables.v4.clients.memory_bytes();
        let v6 = tables.v6.blocks.memory_bytes() + tables.v6.clients.memory_bytes();
        PolicySizes {
            bytes: tables.policy.memory_bytes() + v4 + v6,
            policies: self.numbers.len(),
            attributes: self.attributes.len(),
            subjects: self.subjects.len(),
            classifiers: self.subjects.classifiers_len(),
            programs: self.subjects.programs_len(),
            rules: self.rule_lists.len(),
            peers: self.peers.len(),
            pages: self.pages.len(),
        }
    }
}
