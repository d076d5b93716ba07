//! Network policy as the oracle understands it: rules in order, looked at one
//! after the other for every packet, of a flow that there is too.

use super::flows::Flow;
use super::oracle::{Event, Oracle};
use super::parse::Packet;
use super::world::{SCTP, TCP, UDP, World, contains, home, octets};
use sluice_fastpath::DropReason;
use sluice_tables::RuleId;
use std::net::IpAddr;

/// What becomes of what a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Audit,
    Deny,
}

/// A rule of a pod's policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub verdict: Verdict,
    /// The other end: address and length of a prefix; `None`: everybody.
    pub peer: Option<(IpAddr, u8)>,
    /// Protocol, first and last port; none: everything.
    pub ports: Vec<(u8, u16, u16)>,
}

/// What policies say of a pod's traffic in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub rules: Vec<Rule>,
    /// What becomes of what no rule matches.
    pub otherwise: Verdict,
}

/// The numbers of the rules that decided: at the source, at the destination.
pub type Rules = [Option<u32>; 2];

/// The rules that everybody has, and the first one that is not such.
const ITSELF: u32 = RuleId::ITSELF.0;
const OWN_NODE: u32 = RuleId::OWN_NODE.0;
const FIRST: u32 = RuleId::FIRST;

/// Most rules that a pod has in a direction.
const RULES_MAX: u32 = 64;

/// Where the numbers of a pod's rules begin, counted from [`FIRST`] on: whatever
/// else changes, they stay.
pub fn first_rule(pod: &IpAddr, egress: bool) -> u32 {
    let last = octets(pod).last().copied().unwrap_or_default();
    let place = home(pod).unwrap_or_default() as u32 * 256 + u32::from(last);
    (place * 4 + u32::from(pod.is_ipv6()) * 2 + u32::from(egress)) * RULES_MAX
}

impl Rule {
    fn matches(&self, other: &IpAddr, protocol: u8, port: u16) -> bool {
        let has_ports = [TCP, UDP, SCTP].contains(&protocol);
        let in_any = self.ports.iter().any(|(of, first, last)| {
            has_ports && *of == protocol && *first <= port && port <= *last
        });
        self.peer.is_none_or(|(prefix, len)| contains(&prefix, len, other))
            && (self.ports.is_empty() || in_any)
    }
}

impl World {
    /// What the policies of one end say; `None` when there are none.
    fn asked(
        &self,
        (own, other): (&IpAddr, &IpAddr),
        egress: bool,
        (protocol, port): (u8, u16),
    ) -> Option<(Verdict, u32)> {
        let policy = self.policies.get(&(*own, egress))?;
        let mut number = FIRST + first_rule(own, egress);
        for rule in &policy.rules {
            if rule.matches(other, protocol, port) {
                return Some((rule.verdict, number));
            }
            number += 1;
        }
        Some(match self.excuse(own, other) {
            Some(rule) => (Verdict::Allow, rule),
            None => (policy.otherwise, number),
        })
    }

    /// A pod speaks with itself and with its own node whatever else is said.
    fn excuse(&self, pod: &IpAddr, other: &IpAddr) -> Option<u32> {
        let node = self.node_by_underlay(other);
        let is_own = node.is_some() && node == home(pod);
        match pod == other {
            true => Some(ITSELF),
            false => is_own.then_some(OWN_NODE),
        }
    }

    /// True for an address that policies speak of as a pod's.
    pub fn is_selected(&self, address: &IpAddr) -> bool {
        self.policies.keys().any(|(pod, _)| pod == address)
    }
}

impl Oracle {
    /// What policies say to a flow between the real ends.
    ///
    /// # Errors
    /// The reason to drop it.
    pub(super) fn allowed(
        &self,
        src: &IpAddr,
        dst: &IpAddr,
        port: (u8, u16),
    ) -> Result<Rules, DropReason> {
        let mut rules = [None; 2];
        let asked = [
            (self.world.asked((src, dst), true, port), DropReason::PolicyEgress),
            (self.world.asked((dst, src), false, port), DropReason::PolicyIngress),
        ];
        for (side, (said, reason)) in asked.into_iter().enumerate() {
            let Some((verdict, number)) = said else { continue };
            rules[side] = Some(number);
            if verdict == Verdict::Deny {
                return Err(reason);
            }
        }
        Ok(rules)
    }

    /// The same of a flow that there is.
    pub(super) fn still_allowed(&self, flow: &Flow) -> Result<Rules, DropReason> {
        let [original, reply] = &flow.tuples;
        self.allowed(&original.src, &reply.src, (original.protocol, reply.src_port))
    }

    /// Notes what is special about the rules that a flow passes by.
    pub(super) fn met_rules(&mut self, rules: Rules) {
        if rules.contains(&Some(OWN_NODE)) {
            self.met(Event::OwnNode);
        }
    }

    /// A packet of a flow's side is judged as the flow is now. False when it is
    /// dropped; what the server sends keeps the flow all the same.
    pub(super) fn judge_again(&mut self, (id, side): (u64, usize), packet: &Packet) -> bool {
        let flow = self.flows.get(id);
        let was_cut = flow.cut;
        match self.still_allowed(flow) {
            Ok(rules) => {
                let flow = self.flows.get_mut(id);
                (flow.rules, flow.cut) = (rules, false);
                if was_cut {
                    self.met(Event::Resumed);
                }
                self.met_rules(rules);
                true
            }
            Err(reason) => {
                let now_ms = self.now_ms;
                let flow = self.flows.get_mut(id);
                flow.cut = true;
                if side == 1 {
                    flow.seen_ms[0] = Some(now_ms);
                }
                self.met(if packet.told { Event::CutFragment } else { Event::Cut });
                self.drop(reason);
                false
            }
        }
    }
}
