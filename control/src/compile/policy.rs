//! From network policies to rows of who may speak with whom
//! ([`sluice_tables::policy`]).
//!
//! ```text
//!  policies -> attributes (selectors, blocks, nodes, names: each once)
//!  pods, namespaces, nodes -> attributes that each address has
//!  attributes -> subjects (which policies select it), peers (what rules match it)
//!  subjects x peers -> programs: verdict and rule for each port
//! ```
//!
//! A change touches the pods whose attributes it changes, and the rows that
//! depend on a peer that is new. Without policies there is nothing of all this.

use super::Moment;
use super::epochs::Epochs;
use super::ids::{self, Ids};
use crate::cluster::network_policy::{NetworkPolicy, Peer, Peers as PolicyPeers, Ports, Tier};
use crate::cluster::{Changes, Cluster, Pod};
use crate::diagnostic::Finding;
use crate::object::{Key, Name};
use hashbrown::HashMap;
use sluice_tables::policy::{PeerId, Rows};
use sluice_tables::{FamilyTables, RuleId, Tables};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

mod addresses;
mod attributes;
mod blocks;
mod classifiers;
mod clients;
mod compiled;
mod names;
mod pages;
mod peers;
mod pods;
mod program;
mod ranges;
mod rule_lists;
mod rules;
mod shared_programs;
mod sizes;
mod subjects;

use addresses::Addresses;
use attributes::Attributes;
use blocks::Blocks;
use clients::Clients;
use compiled::{Compiled, Ways};
use names::Names;
use pages::Pages;
use peers::Peers;
use pods::{Nodes, Pods};
use rule_lists::RuleLists;
use subjects::Subjects;

pub use sizes::PolicySizes;

type AttributeId = u32;
type PodNumber = u32;
type PolicyNumber = u32;
type SubjectNumber = u32;

/// Most findings about policies at a time.
const FINDINGS_MAX: usize = 32;

/// Which way traffic goes, seen from the pod that a policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Towards it.
    Ingress,
    /// Away from it.
    Egress,
}

impl Direction {
    /// Both, in the order in which rules of flows are told: of the source, of the
    /// destination.
    pub const ALL: [Direction; 2] = [Direction::Egress, Direction::Ingress];

    /// The name of its field in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }
}

/// Everything that has been compiled of policies.
#[derive(Debug)]
pub(super) struct Policies {
    is_active: bool,
    attributes: Attributes,
    peers: Peers,
    subjects: Subjects,
    pages: Pages,
    compiled: Vec<Option<Compiled>>,
    free: Vec<PolicyNumber>,
    numbers: BTreeMap<Key, PolicyNumber>,
    pods: Pods,
    nodes: Nodes,
    addresses: Addresses,
    blocks: Blocks,
    /// The peers of ranges of addresses, IPv4 and IPv6.
    range_peers: [Vec<PeerId>; 2],
    clients: Clients,
    /// Names of ports that rules use, and how many do.
    port_names: HashMap<Arc<str>, usize>,
    /// Rules of policies. In the tables they have numbers by row.
    rules: Ids<Arc<str>>,
    rule_lists: RuleLists,
    /// Domain names and their addresses.
    names: Names,
    /// What the gateway's own connections are of.
    gateway: Option<(Name, Arc<Pod>)>,
    /// That is another one than what the addresses say.
    is_gateway_new: bool,
    stale: Stale,
}

/// What has to be looked at again in this turn.
#[derive(Debug, Default)]
struct Stale {
    pods: BTreeSet<PodNumber>,
    addresses: BTreeSet<IpAddr>,
    blocks: bool,
    /// Attributes that may have lost their last use.
    attributes: BTreeSet<AttributeId>,
    policies: Vec<PolicyNumber>,
}

impl Policies {
    pub(super) fn new(quarantine: Duration) -> Self {
        Policies {
            is_active: false,
            attributes: Attributes::default(),
            peers: Peers::default(),
            subjects: Subjects::default(),
            pages: Pages::default(),
            compiled: Vec::new(),
            free: Vec::new(),
            numbers: BTreeMap::new(),
            pods: Pods::default(),
            nodes: Nodes::default(),
            addresses: Addresses::default(),
            blocks: Blocks::default(),
            range_peers: [const { Vec::new() }; 2],
            clients: Clients::default(),
            port_names: HashMap::new(),
            rules: Ids::new(Duration::ZERO),
            rule_lists: RuleLists::new(quarantine),
            names: Names::default(),
            gateway: None,
            is_gateway_new: false,
            stale: Stale::default(),
        }
    }

    pub(super) fn rule_ids(&mut self) -> &mut dyn ids::Quarantined {
        &mut self.rule_lists
    }

    /// What a rule's number stands for, or has stood for until lately.
    pub(super) fn rule(&self, id: RuleId) -> Option<Arc<str>> {
        match id {
            RuleId::NONE => None,
            id if id.0 < RuleId::FIRST => fixed(id),
            id => self.rule_lists.rule(id),
        }
    }

    /// The rules that have got numbers since this was last called, and what each
    /// stands for.
    pub(super) fn take_renamed(&mut self) -> Vec<(RuleId, Arc<str>)> {
        self.rule_lists.take_renamed()
    }

    /// The policies that select a pod in a direction, in the order in which they
    /// are asked.
    pub(super) fn of_pod(&self, pod: &Name, direction: Direction) -> Vec<Key> {
        let subject = self.pods.subject(pod, direction);
        let key = subject.and_then(|subject| self.subjects.key(subject));
        let numbers = key.map(|key| key.policies.as_slice()).unwrap_or_default();
        let compiled = numbers.iter().filter_map(|number| self.compiled(*number));
        compiled.map(|compiled| compiled.key.clone()).collect()
    }

    /// What policies ask for and do not get: the first of them that select somebody
    /// for whom there is not room enough.
    pub(super) fn findings(&self) -> Vec<(Key, Finding)> {
        let first = |key: &subjects::SubjectKey| self.compiled(*key.policies.first()?);
        let limited = self.subjects.limited().take(FINDINGS_MAX);
        let of = |key: &subjects::SubjectKey| {
            let policy = first(key)?.key.clone();
            let (direction, others) = (key.direction.as_str(), key.policies.len() - 1);
            let message = format!(
                "the rules of this policy and of {others} others that select the same pods tell \
                 too many kinds of peers apart: those beyond are denied"
            );
            let finding = Finding::error(format!("spec.{direction}"), message);
            Some((policy, finding.expected("fewer rules and peers for the same pods")))
        };
        limited.filter_map(of).collect()
    }

    fn compiled(&self, number: PolicyNumber) -> Option<&Compiled> {
        self.compiled.get(number as usize)?.as_ref()
    }

    /// Sets the pod that policies take the gateway for, where it opens connections itself:
    /// its addresses are those of the SNAT pool, since what it sends for others is judged
    /// by their own.
    pub(super) fn set_gateway(&mut self, gateway: Option<(Name, Pod)>) {
        let gateway = gateway.map(|(name, pod)| (name, Arc::new(pod)));
        if self.gateway == gateway {
            return;
        }
        if let Some((name, _)) = &self.gateway {
            let name = name.clone();
            self.set_pod(&name, None);
        }
        (self.gateway, self.is_gateway_new) = (gateway, true);
    }

    /// Brings `next` up to date.
    pub(super) fn update(
        &mut self,
        cluster: &Cluster,
        changes: &Changes,
        next: &mut Tables,
        epochs: &mut Epochs,
        at: Moment,
    ) {
        if cluster.network_policies().next().is_none() {
            if self.deactivate(next, at) {
                epochs.policy();
            }
            return;
        }
        let everything;
        let changes = if self.is_active {
            changes
        } else {
            self.is_active = true;
            // Even if nothing else is different: there may be no pod and no node yet.
            next.has_policies = true;
            epochs.changed();
            everything = cluster.everything();
            self.add_names();
            self.is_gateway_new = true;
            &everything
        };
        for name in &changes.namespaces {
            self.set_namespace(cluster, name);
        }
        for name in &changes.nodes {
            self.set_node(cluster, name);
        }
        for key in &changes.policies {
            self.set_policy(key, cluster.network_policy(key), at);
        }
        for name in &changes.pods {
            self.set_pod(name, cluster.pod(name));
        }
        if std::mem::take(&mut self.is_gateway_new)
            && let Some((name, pod)) = self.gateway.clone()
        {
            self.set_pod(&name, Some(&pod));
        }
        self.drop_attributes();
        // Others may have lost or got a block.
        let are_ranges_new = self.write_ranges(next);
        if are_ranges_new {
            epochs.policy();
        }
        self.write_clients(are_ranges_new, next, epochs);
        self.write_pods();
        self.write_addresses(next, epochs);
        let mut is_written = self.collect(&mut next.policy, at);
        let Policies { attributes, peers, pages, rule_lists, rules, .. } = self;
        let tables = (&mut next.policy, rule_lists);
        is_written |= self.subjects.write(attributes, peers, pages, tables, (rules, at));
        is_written |= self.pages.write(&mut next.policy.pages);
        let names_wanted = self.attributes.has_domains();
        is_written |= std::mem::replace(&mut next.names_wanted, names_wanted) != names_wanted;
        // No flow is told by them before an address is: but they are in these
        // tables, and nowhere else.
        if is_written {
            epochs.changed();
        }
    }

    /// Forgets everything: there is no policy any more.
    fn deactivate(&mut self, next: &mut Tables, at: Moment) -> bool {
        if !std::mem::take(&mut self.is_active) {
            return false;
        }
        let compiled = std::mem::take(&mut self.compiled);
        compiled.iter().flatten().for_each(|compiled| self.free_rules(compiled, None, at));
        self.rule_lists.release_all(at);
        let rules = std::mem::replace(&mut self.rules, Ids::new(Duration::ZERO));
        let rule_lists = std::mem::replace(&mut self.rule_lists, RuleLists::new(Duration::ZERO));
        let names = std::mem::take(&mut self.names);
        let gateway = self.gateway.take();
        *self = Policies { rules, rule_lists, names, gateway, ..Policies::new(Duration::ZERO) };
        next.policy = Rows::default();
        next.has_policies = false;
        next.names_wanted = false;
        forget(&mut next.v4);
        forget(&mut next.v6);
        true
    }

    /// Gives up what has no use any more, at the end of a turn; whether rows are
    /// different by that.
    fn collect(&mut self, rows: &mut Rows, at: Moment) -> bool {
        let Policies { attributes, pages, rule_lists, .. } = self;
        let is_written = self.subjects.collect(attributes, pages, (rows, rule_lists), at);
        self.peers.collect(&mut self.attributes);
        for number in std::mem::take(&mut self.stale.policies) {
            self.compiled[number as usize] = None;
            self.free.push(number);
        }
        is_written
    }
}

/// The rules that are no policy's.
const FIXED: [RuleId; 4] = [RuleId::ITSELF, RuleId::OWN_NODE, RuleId::BEYOND, RuleId::UNTOLD];

fn fixed_rules() -> impl Iterator<Item = (RuleId, Arc<str>)> {
    FIXED.into_iter().filter_map(|id| Some((id, fixed(id)?)))
}

/// What a rule is that is no policy's.
fn fixed(id: RuleId) -> Option<Arc<str>> {
    match id {
        RuleId::ITSELF => Some("a pod may speak with itself".into()),
        RuleId::OWN_NODE => Some("a pod may speak with its own node".into()),
        RuleId::BEYOND => Some("policies tell too many kinds of peers apart".into()),
        RuleId::UNTOLD => Some("one of more rules than can be told apart".into()),
        _ => None,
    }
}

fn forget<F: sluice_tables::Family>(family: &mut FamilyTables<F>) {
    family.known = Default::default();
    family.lapsed = Default::default();
    family.blocks = Arc::default();
    family.clients = Arc::default();
}
