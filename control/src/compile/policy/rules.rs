//! Policies as they come and go.

use super::subjects::{Rule, SubjectKey, Term};
use super::{
    AttributeId, Compiled, Direction, Moment, NetworkPolicy, Peer, Policies, PolicyNumber,
    PolicyPeers, Ports, Tier, Ways,
};
use crate::cluster::network_policy::{self, Block};
use crate::compile::policy::program::Isolation;
use crate::object::Key;
use ipnet::IpNet;
use sluice_tables::RuleId;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Policies {
    /// Takes a new version of a policy, or that it is gone.
    pub(super) fn set_policy(
        &mut self,
        key: &Key,
        policy: Option<&Arc<NetworkPolicy>>,
        at: Moment,
    ) {
        let old = self.numbers.get(key).copied();
        let known = old.and_then(|number| self.compiled(number));
        if known.map(|known| &known.policy) == policy {
            return;
        }
        let new = policy.map(|policy| self.compile(key, policy, at));
        if let Some(number) = old {
            self.numbers.remove(key);
            self.leave(number, new.as_ref(), at);
        }
        if let Some(compiled) = new {
            let number = self.free.pop().unwrap_or(self.compiled.len() as PolicyNumber);
            if let Some(subject) = self.attributes.get_mut(compiled.subject) {
                subject.policies.insert(number);
                self.stale.pods.extend(&subject.pods);
            }
            match self.compiled.get_mut(number as usize) {
                Some(slot) => *slot = Some(compiled),
                None => self.compiled.push(Some(compiled)),
            }
            self.numbers.insert(key.clone(), number);
        }
    }

    fn compile(&mut self, key: &Key, policy: &Arc<NetworkPolicy>, at: Moment) -> Compiled {
        let subject = self.acquire(&Peer::Pods(policy.subject.clone()), false);
        let mut ways = |direction: Direction, rules: Option<&Vec<network_policy::Rule>>| {
            let rules = rules?;
            let default = (policy.tier == Tier::Namespaced).then(|| {
                let text = format!("{key} default deny {}", direction.as_str());
                self.rule_id(refusal(key, policy).unwrap_or(text).into(), at)
            });
            let rules = rules.iter().enumerate();
            let rules = rules.map(|(i, rule)| self.rule_of(key, policy, direction, (i, rule), at));
            Some(Ways { rules: rules.collect(), default })
        };
        Compiled {
            key: key.clone(),
            tier: policy.tier,
            subject,
            ingress: ways(Direction::Ingress, policy.ingress.as_ref()),
            egress: ways(Direction::Egress, policy.egress.as_ref()),
            policy: policy.clone(),
        }
    }

    fn rule_of(
        &mut self,
        key: &Key,
        policy: &NetworkPolicy,
        direction: Direction,
        (i, rule): (usize, &network_policy::Rule),
        at: Moment,
    ) -> Rule {
        let name = rule.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
        let text = format!("{key} {}[{i}]{name}", direction.as_str());
        let text = refusal(key, policy).unwrap_or(text);
        let names = port_names(rule);
        for name in &names {
            let uses = self.port_names.entry(name.clone()).or_default();
            *uses += 1;
            if *uses == 1 {
                self.stale.pods.extend(self.pods.numbers());
            }
        }
        let peers = match &rule.peers {
            PolicyPeers::Any => None,
            PolicyPeers::Of(peers) => Some(peers.iter().map(|peer| self.term_of(peer)).collect()),
        };
        Rule {
            tier: policy.tier,
            action: rule.action,
            peers,
            ports: rule.ports.as_deref().map(Into::into),
            id: self.rule_id(text.into(), at),
            is_audited: policy.is_audited,
            is_named: !names.is_empty(),
        }
    }

    /// What a peer of a rule is told by. A block and its exceptions are blocks of
    /// their own: as one thing, blocks with exceptions would overlap as they please,
    /// and the sets of those that contain an address had no bound.
    fn term_of(&mut self, peer: &Peer) -> Term {
        let Peer::Block(Block { net, except }) = peer else {
            return Term { attribute: self.acquire(peer, true), except: Vec::new() };
        };
        let mut acquire =
            |net: &IpNet| self.acquire(&Peer::Block(Block { net: *net, except: Vec::new() }), true);
        Term { attribute: acquire(net), except: except.iter().map(acquire).collect() }
    }

    fn rule_id(&mut self, text: Arc<str>, at: Moment) -> RuleId {
        RuleId(self.rules.give(&text, at) + RuleId::FIRST)
    }

    /// A policy goes, or another version of it comes. Its number stays taken
    /// until the end of the turn.
    fn leave(&mut self, number: PolicyNumber, new: Option<&Compiled>, at: Moment) {
        let Some(compiled) = self.compiled[number as usize].take() else { return };
        self.free_rules(&compiled, new, at);
        if let Some(subject) = self.attributes.get_mut(compiled.subject) {
            subject.policies.remove(&number);
            self.stale.pods.extend(&subject.pods);
        }
        self.release(compiled.subject, false);
        for ways in [&compiled.ingress, &compiled.egress].into_iter().flatten() {
            for term in ways.rules.iter().flat_map(|rule| rule.peers.iter().flatten()) {
                term.attributes().for_each(|id| self.release(id, true));
            }
        }
        let policy = compiled.policy.clone();
        for rule in [&policy.ingress, &policy.egress].into_iter().flatten().flatten() {
            for name in port_names(rule) {
                if let Some(uses) = self.port_names.get_mut(&name) {
                    *uses -= 1;
                    if *uses == 0 {
                        self.port_names.remove(&name);
                        self.stale.pods.extend(self.pods.numbers());
                    }
                }
            }
        }
        self.stale.policies.push(number);
    }

    /// Frees the numbers of rules that a policy's next version does not have.
    pub(super) fn free_rules(&mut self, old: &Compiled, new: Option<&Compiled>, at: Moment) {
        let kept: BTreeSet<RuleId> = new.into_iter().flat_map(ids_of).collect();
        for RuleId(id) in ids_of(old).filter(|id| !kept.contains(id)) {
            self.rules.free(id - RuleId::FIRST, at);
        }
    }

    /// A use of an attribute. Pods and nodes that have a new one are found.
    fn acquire(&mut self, peer: &Peer, is_peer: bool) -> AttributeId {
        let (id, is_new, is_first) = self.attributes.acquire(peer, is_peer);
        if is_new {
            match peer {
                Peer::Pods(selector) => self.find_pods(id, selector),
                Peer::Block(_) => self.stale.blocks = true,
                Peer::Nodes(selector) => {
                    self.stale.addresses.extend(self.nodes.add_attribute(id, selector));
                }
                Peer::Domain(domain) => self.touch_names_of(domain),
            }
        }
        if is_first && let Some(attribute) = self.attributes.get(id) {
            self.stale.pods.extend(&attribute.pods);
        }
        id
    }

    fn release(&mut self, id: AttributeId, is_peer: bool) {
        if self.attributes.release(id, is_peer)
            && let Some(attribute) = self.attributes.get(id)
        {
            self.stale.pods.extend(&attribute.pods);
        }
        self.stale.attributes.insert(id);
    }

    /// Forgets the attributes that nobody uses any more.
    pub(super) fn drop_attributes(&mut self) {
        for id in std::mem::take(&mut self.stale.attributes) {
            let Some(attribute) = self.attributes.remove(id) else { continue };
            self.peers.forget(id, &attribute.pages);
            self.pods.drop_attribute(id, &attribute.pods);
            match &attribute.peer {
                Peer::Block(_) => self.stale.blocks = true,
                Peer::Nodes(_) => self.stale.addresses.extend(self.nodes.drop_attribute(id)),
                Peer::Domain(domain) => self.touch_names_of(domain),
                Peer::Pods(_) => {}
            }
        }
    }

    /// The rules of a subject, in the order in which they are asked, and what
    /// becomes of traffic that none matches.
    pub(super) fn rules_of(
        compiled: &[Option<Compiled>],
        key: &SubjectKey,
    ) -> (Vec<Rule>, Isolation) {
        let mut rules = Vec::new();
        let mut isolation = Isolation::default();
        for number in &key.policies {
            let Some(policy) = compiled.get(*number as usize).and_then(Option::as_ref) else {
                continue;
            };
            let Some(ways) = policy.ways(key.direction) else { continue };
            rules.extend(ways.rules.iter().cloned());
            isolation.by_any = isolation.by_any.or(ways.default);
            if !policy.policy.is_audited {
                isolation.by_enforced = isolation.by_enforced.or(ways.default);
            }
        }
        (rules, isolation)
    }
}

/// What stands for the rules of a policy that was refused, which it has not.
fn refusal(key: &Key, policy: &NetworkPolicy) -> Option<String> {
    policy.is_refused.then(|| format!("{key} (refused: everything is denied)"))
}

fn ids_of(compiled: &Compiled) -> impl Iterator<Item = RuleId> + '_ {
    let ways = [&compiled.ingress, &compiled.egress].into_iter().flatten();
    ways.flat_map(|ways| ways.rules.iter().map(|rule| rule.id).chain(ways.default))
}

/// The names of ports that a rule uses.
fn port_names(rule: &network_policy::Rule) -> Vec<Arc<str>> {
    let named = rule.ports.iter().flatten().filter_map(|port| match &port.ports {
        Ports::Named(name) => Some(name.clone()),
        Ports::Any | Ports::Range(..) => None,
    });
    named.collect()
}
