//! Calico's blocks and pools, and who has which block.

use crate::diagnostic::Finding;
use crate::object::{IpPool, IpamBlock};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A block of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its addresses.
    pub net: IpNet,
    /// The node that has it.
    pub node: Arc<str>,
}

impl Block {
    /// Reduces a block; `None` for one that no node has.
    pub(super) fn reduce(block: &IpamBlock) -> Option<Self> {
        let spec = &block.spec;
        let node = spec.affinity.as_deref()?.strip_prefix("host:")?;
        let net = spec.cidr.parse::<IpNet>().ok()?.trunc();
        (!spec.deleted).then(|| Block { net, node: node.into() })
    }
}

/// The blocks, by node as well.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    by_name: BTreeMap<Arc<str>, Option<Block>>,
    by_node: BTreeMap<Arc<str>, BTreeSet<(IpNet, Arc<str>)>>,
}

impl Blocks {
    /// Sets a block (`Some(None)`: one without a node) or removes it; the nodes that
    /// have others than before.
    pub(super) fn set(&mut self, name: &Arc<str>, block: Option<Option<Block>>) -> Vec<Arc<str>> {
        let old = match &block {
            Some(block) => self.by_name.insert(name.clone(), block.clone()),
            None => self.by_name.remove(name),
        };
        let (old, new) = (old.flatten(), block.flatten());
        if old == new {
            return Vec::new();
        }
        if let Some(old) = &old
            && let Some(of_node) = self.by_node.get_mut(&old.node)
        {
            of_node.remove(&(old.net, name.clone()));
            if of_node.is_empty() {
                self.by_node.remove(&old.node);
            }
        }
        if let Some(new) = &new {
            let of_node = self.by_node.entry(new.node.clone()).or_default();
            of_node.insert((new.net, name.clone()));
        }
        old.into_iter().chain(new).map(|block| block.node).collect()
    }

    /// A node's ranges, in order, each with what it is called in findings about the node.
    pub(super) fn of_node(&self, node: &str) -> Vec<(String, IpNet)> {
        let blocks = self.by_node.get(node).into_iter().flatten();
        blocks.map(|(net, name)| (format!("IPAMBlock {name}"), *net)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// What is wrong with a pool for the sake of its pods.
pub(super) fn pool_findings(pool: &IpPool) -> Option<Finding> {
    let spec = &pool.spec;
    let is_of_pods =
        spec.allowed_uses.is_empty() || spec.allowed_uses.iter().any(|use_| use_ == "Workload");
    let message = match spec.vxlan_mode.as_deref() {
        Some("Always") => return None,
        _ if !is_of_pods => return None,
        Some("CrossSubnet") => {
            "nodes in the subnet of the gateway answer without VXLAN: their pods are unreachable"
        }
        _ => "its pods are not reached by VXLAN, and so not at all",
    };
    Some(Finding::warning("spec.vxlanMode", message).expected("`Always`"))
}
