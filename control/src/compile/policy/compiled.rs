use super::{AttributeId, Direction, subjects};
use crate::cluster::network_policy::{NetworkPolicy, Tier};
use crate::object::Key;
use sluice_tables::RuleId;
use std::sync::Arc;

/// One version of a policy.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) key: Key,
    pub(super) tier: Tier,
    pub(super) policy: Arc<NetworkPolicy>,
    pub(super) subject: AttributeId,
    /// Its rules by direction; `None` where it says nothing.
    pub(super) ingress: Option<Ways>,
    pub(super) egress: Option<Ways>,
}

/// What a policy says in one direction.
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) rules: Vec<subjects::Rule>,
    /// The number of its default denial, if it is a NetworkPolicy.
    pub(super) default: Option<RuleId>,
}

impl Compiled {
    pub(super) fn ways(&self, direction: Direction) -> Option<&Ways> {
        match direction {
            Direction::Ingress => self.ingress.as_ref(),
            Direction::Egress => self.egress.as_ref(),
        }
    }
}
