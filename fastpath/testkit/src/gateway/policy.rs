//! Policies as cases write them: rules of one pod and direction, in order. Their tables are made by
//! hand, every rule looked at for every peer and port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use sluice_tables::policy::{
    AddressRanges, Classifier, Excuse, Host, KnownAddress, LANES, Outcome, Page, PageClasses,
    PeerId, PortKey, Programs, Row, Rows, Span, Subject, Verdict,
};
use sluice_tables::{Family, RuleId, Tables, V4, V6};

use super::topology::Prefix;

/// Whose policies speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The destination's.
    Ingress,
    /// The source's.
    Egress,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What becomes of whom it matches.
    pub verdict: Verdict,
    /// The other end; `None`: everybody.
    pub peer: Option<Prefix>,
    /// Protocol, first and last port; none: all protocols and ports.
    pub ports: Vec<(u8, u16, u16)>,
}

/// What policies say to one pod's traffic in one direction: the first rule that matches decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The rules.
    pub rules: Vec<Rule>,
    /// What becomes of the rest: [`Verdict::Deny`] or [`Verdict::Audit`]. A pod's own node and the
    /// pod itself pass all the same.
    pub otherwise: Verdict,
}

/// Where nodes and pods are, as far as policies ask.
pub trait Places {
    /// The addresses of nodes, and the nodes' numbers.
    fn nodes(&self) -> Vec<(IpAddr, u32)>;

    /// The node of a pod's address.
    fn node_of(&self, pod: IpAddr) -> Option<u32>;

    /// Where the numbers of a pod's rules begin, counted from [`RuleId::FIRST`] on;
    /// `None`: after those of the pod before.
    fn first_rule(&self, _of: &(IpAddr, Direction)) -> Option<u32> {
        None
    }

    /// Addresses that are to running flows what other addresses are.
    fn lapsed(&self) -> Vec<(IpAddr, IpAddr)> {
        Vec::new()
    }
}

/// All policies.
pub type Policies = BTreeMap<(IpAddr, Direction), Policy>;

impl Rule {
    fn matches(&self, peer: &BTreeSet<Prefix>, port: PortKey) -> bool {
        let is_in = |(protocol, first, last): &(u8, u16, u16)| {
            (PortKey::of(*protocol, *first)..=PortKey::of(*protocol, *last)).contains(&port)
        };
        self.peer.is_none_or(|prefix| peer.contains(&prefix))
            && (self.ports.is_empty() || self.ports.iter().any(is_in))
    }
}

/// Writes policies into tables. Rules are numbered from [`RuleId::FIRST`] on, in the order of pods
/// and rules; what no rule matches is one more rule of each pod.
pub fn compile(policies: &Policies, places: &dyn Places, tables: &mut Tables) {
    if policies.is_empty() {
        return clear(tables);
    }
    let rules = policies.values().flat_map(|policy| &policy.rules);
    let prefixes: BTreeSet<Prefix> = rules.filter_map(|rule| rule.peer).collect();
    let mut peers = Peers { prefixes, sets: vec![BTreeSet::new()] };
    compile_family::<V4>(policies, places, &mut peers, tables);
    compile_family::<V6>(policies, places, &mut peers, tables);
    tables.policy = Rows::default();
    let mut first_rule = 0;
    for (subject, (of, policy)) in policies.iter().enumerate() {
        first_rule = places.first_rule(of).unwrap_or(first_rule);
        row(policy, first_rule, subject as u32, &peers, &mut tables.policy);
        first_rule += policy.rules.len() as u32 + 1;
    }
}

fn clear(tables: &mut Tables) {
    tables.policy = Rows::default();
    (tables.v4.known, tables.v4.lapsed, tables.v4.blocks) = Default::default();
    (tables.v6.known, tables.v6.lapsed, tables.v6.blocks) = Default::default();
    (tables.v4.clients, tables.v6.clients) = Default::default();
}

/// Peers are told apart by the prefixes that contain them.
struct Peers {
    prefixes: BTreeSet<Prefix>,
    sets: Vec<BTreeSet<Prefix>>,
}

impl Peers {
    fn of(&mut self, addr: IpAddr) -> PeerId {
        let of_addr = self.prefixes.iter().filter(|prefix| prefix.contains(addr));
        let set: BTreeSet<Prefix> = of_addr.copied().collect();
        let known = self.sets.iter().position(|known| *known == set);
        PeerId(known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        }) as u32)
    }
}

fn compile_family<F: Family>(
    policies: &Policies,
    places: &dyn Places,
    peers: &mut Peers,
    tables: &mut Tables,
) {
    let family = F::of_mut(tables);
    let of_family = |prefix: &&Prefix| F::from_ip(prefix.addr).is_some();
    let prefixes: Vec<Prefix> = peers.prefixes.iter().filter(of_family).copied().collect();
    let mut starts = BTreeSet::new();
    for prefix in &prefixes {
        let host_bits = u32::from(F::BITS - prefix.len);
        let host = 1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
        let first = bits(prefix.addr) & !host;
        let last = first | host;
        starts.insert(first);
        if last < u128::MAX >> (128 - u32::from(F::BITS)) {
            starts.insert(last + 1);
        }
    }
    let addr = |bits: u128| match F::IS_V4 {
        true => IpAddr::V4((bits as u32).into()),
        false => IpAddr::V6(bits.into()),
    };
    let starts = starts.into_iter().map(addr);
    let ranges = starts.filter_map(|start| Some((F::from_ip(start)?, peers.of(start))));
    family.blocks = Arc::new(AddressRanges::new(ranges.collect::<Vec<_>>()));
    // Rules name nothing but blocks here.
    family.clients = family.blocks.clone();
    family.known = Default::default();
    // Pods that are only told apart are among them.
    let nodes: BTreeMap<IpAddr, u32> = places.nodes().into_iter().collect();
    let single = prefixes.iter().filter(|prefix| prefix.len == F::BITS).map(|prefix| prefix.addr);
    let selected = policies.keys().map(|(pod, _)| *pod);
    for pod in single.chain(selected).chain(nodes.keys().copied()).collect::<BTreeSet<_>>() {
        let Some(addr) = F::from_ip(pod) else { continue };
        let subject = |direction| {
            let number = policies.keys().position(|key| *key == (pod, direction));
            number.map_or(Subject::NONE, |number| {
                let row = number as u32;
                Subject { row, classifiers: [2 * row, 2 * row + 1] }
            })
        };
        let (ingress, egress) = (subject(Direction::Ingress), subject(Direction::Egress));
        let of_pod = || places.node_of(pod).map_or(Host::UNKNOWN, Host::of_pod);
        let host = nodes.get(&pod).map_or_else(of_pod, |node| Host::of_node(*node));
        family.known.insert(addr, KnownAddress { ingress, egress, peer: peers.of(pod), host });
    }
    family.lapsed = Default::default();
    for (lapsed, other) in places.lapsed() {
        if let Some(addr) = F::from_ip(lapsed) {
            family.lapsed.insert(addr, peers.of(other));
        }
    }
}

fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_bits().into(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

fn row(policy: &Policy, first_rule: u32, subject: u32, peers: &Peers, rows: &mut Rows) {
    let mut programs: Vec<Vec<Span>> = Vec::new();
    let mut of_peers = Vec::new();
    for peer in &peers.sets {
        let spans = spans(policy, peer);
        let number = programs.iter().position(|known| *known == spans).unwrap_or_else(|| {
            programs.push(spans);
            programs.len() - 1
        });
        of_peers.push(number as u16);
    }
    let mut pages = Vec::new();
    for (number, of_peers) in of_peers.chunks(LANES).enumerate() {
        if of_peers.iter().all(|program| *program == of_peers[0]) {
            pages.push(PageClasses::Uniform(of_peers[0]));
            continue;
        }
        let mut page = Page::default();
        page.0[..of_peers.len()].copy_from_slice(of_peers);
        let pages_a_row = peers.sets.len().div_ceil(LANES);
        let id = subject * pages_a_row as u32 + number as u32;
        rows.pages.set(id, page);
        pages.push(PageClasses::Page(id));
    }
    // What would tell apart what many policies name tells nothing apart.
    let (narrow, wide) = (2 * subject, 2 * subject + 1);
    let content = |page| rows.pages.get(page).copied().unwrap_or_default();
    let classifier = Classifier::new(&pages, content);
    rows.set_classifier(narrow, classifier);
    rows.set_classifier(wide, Classifier::default());
    let programs = programs.iter().map(|program| &**program);
    rows.programs.set(subject, Programs::new(1, programs));
    rows.rows.set(subject, Row { programs: subject, first_rule });
}

/// What becomes of each port of a peer.
fn spans(policy: &Policy, peer: &BTreeSet<Prefix>) -> Vec<Span> {
    let mut lasts = BTreeSet::from([PortKey::LAST]);
    for (protocol, first, last) in policy.rules.iter().flat_map(|rule| &rule.ports) {
        lasts.insert(PortKey::of(*protocol, *last));
        let before = PortKey::of(*protocol, *first).0.checked_sub(1);
        lasts.extend(before.map(PortKey));
    }
    let outcome = |port: PortKey| {
        let at = policy.rules.iter().position(|rule| rule.matches(peer, port));
        let number = at.unwrap_or(policy.rules.len());
        let verdict = policy.rules.get(number).map_or(policy.otherwise, |rule| rule.verdict);
        let excuse = if at.is_none() { Excuse::Allow } else { Excuse::None };
        Outcome::new(verdict, RuleId(RuleId::FIRST + number as u32), excuse)
    };
    lasts.into_iter().map(|last| Span { last, outcome: outcome(last) }).collect()
}
