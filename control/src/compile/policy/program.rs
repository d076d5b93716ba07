//! What a subject's policies say to one peer, for every port: the tiers in their
//! order, rule by rule, the first that matches.

use crate::cluster::Protocol;
use crate::cluster::network_policy::{Action, PortMatch, Ports, Tier};
use sluice_tables::RuleId;
use sluice_tables::policy::{Excuse, Outcome, PortKey, Span, Verdict};
use std::sync::Arc;

/// Named ports of pods: name, protocol, number; in order.
pub(super) type NamedPorts = Arc<[(Arc<str>, Protocol, u16)]>;

/// A rule that matches the peer.
#[derive(Clone, Debug)]
pub(super) struct Matching<'a> {
    pub(super) tier: Tier,
    pub(super) action: Action,
    pub(super) ports: Option<&'a [PortMatch]>,
    pub(super) id: RuleId,
    /// Its policy is only tried out.
    pub(super) is_audited: bool,
}

/// The policies that select the subject, as far as they matter for traffic that
/// no rule matches.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Isolation {
    /// The default denial of the first NetworkPolicy of all.
    pub(super) by_any: Option<RuleId>,
    /// The default denial of the first one that is not only tried out.
    pub(super) by_enforced: Option<RuleId>,
}

/// What is said to those for whom there is no room.
pub(super) const BEYOND: Span = Span { last: PortKey::LAST, outcome: Outcome::beyond() };

/// How one tier decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decided {
    action: Action,
    id: RuleId,
}

/// What all tiers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    is_denied: bool,
    id: RuleId,
    /// The admin tier has said so: it goes for a pod's own traffic, too.
    is_final: bool,
}

/// The spans of rules that are in the order of their tiers, priorities and names.
/// `named` are the named ports of the destination. In an audited namespace every
/// denial is only tried out, but those of the Admin tier: who may change a
/// Namespace may not switch off the cluster's policies.
pub(super) fn spans(
    rules: &[Matching<'_>],
    isolation: Isolation,
    named: &NamedPorts,
    is_audited: bool,
) -> Vec<Span> {
    let ranges: Vec<_> = rules.iter().map(|rule| ranges(rule.ports, named)).collect();
    let mut lasts: Vec<u32> = vec![PortKey::LAST.0];
    for (first, last) in ranges.iter().flatten() {
        lasts.push(*last);
        lasts.extend(first.checked_sub(1));
    }
    lasts.sort_unstable();
    lasts.dedup();
    let all = answers(rules, &ranges, &lasts, isolation.by_any, |_| true);
    let is_enforced = |rule: &Matching<'_>| {
        !rule.is_audited && (!is_audited || matches!(rule.tier, Tier::Admin(_)))
    };
    let by_enforced = isolation.by_enforced.filter(|_| !is_audited);
    let enforced = if by_enforced != isolation.by_any || !rules.iter().all(is_enforced) {
        answers(rules, &ranges, &lasts, by_enforced, is_enforced)
    } else {
        all.clone()
    };
    let mut spans: Vec<Span> = Vec::new();
    for ((last, all), enforced) in lasts.iter().zip(all).zip(enforced) {
        let span = Span { last: PortKey(*last), outcome: outcome(all, enforced) };
        match spans.last_mut() {
            Some(before) if before.outcome == span.outcome => before.last = span.last,
            _ => spans.push(span),
        }
    }
    spans
}

/// What becomes of traffic of which all policies together say `all`, and those
/// that are not only tried out say `enforced`.
fn outcome(all: Answer, enforced: Answer) -> Outcome {
    let excused = |answer: Answer| answer.is_denied && answer.is_final;
    let excuse = match (excused(all), excused(enforced)) {
        (false, _) => Excuse::Allow,
        (true, false) => Excuse::Audit,
        (true, true) => Excuse::None,
    };
    match (all.is_denied, enforced.is_denied) {
        (false, _) => Outcome::new(Verdict::Allow, all.id, Excuse::None),
        (true, false) => Outcome::new(Verdict::Audit, all.id, excuse),
        // Whoever is excused is told who else would deny it.
        (true, true) if excuse == Excuse::Audit => Outcome::new(Verdict::Deny, all.id, excuse),
        (true, true) => Outcome::new(Verdict::Deny, enforced.id, excuse),
    }
}

/// What the rules that count say to the ports up to each of `lasts`.
fn answers(
    rules: &[Matching<'_>],
    ranges: &[Vec<(u32, u32)>],
    lasts: &[u32],
    isolation: Option<RuleId>,
    counts: impl Fn(&Matching<'_>) -> bool,
) -> Vec<Answer> {
    let tier = |is_in: fn(Tier) -> bool| {
        let rules = rules.iter().zip(ranges);
        let rules = rules.filter(|(rule, _)| is_in(rule.tier) && counts(rule));
        first_matches(rules, lasts)
    };
    let admin = tier(|tier| matches!(tier, Tier::Admin(_)));
    let rest = match isolation {
        Some(_) => tier(|tier| tier == Tier::Namespaced),
        None => tier(|tier| matches!(tier, Tier::Baseline(_))),
    };
    let answer = |(admin, rest): (&Option<Decided>, &Option<Decided>)| match (admin, rest) {
        (Some(Decided { action: Action::Accept, id }), _) => {
            Answer { is_denied: false, id: *id, is_final: true }
        }
        (Some(Decided { action: Action::Deny, id }), _) => {
            Answer { is_denied: true, id: *id, is_final: true }
        }
        (_, Some(Decided { action: Action::Accept, id })) => {
            Answer { is_denied: false, id: *id, is_final: false }
        }
        (_, Some(Decided { action: Action::Deny, id })) => {
            Answer { is_denied: true, id: *id, is_final: false }
        }
        _ => Answer {
            is_denied: isolation.is_some(),
            id: isolation.unwrap_or(RuleId::NONE),
            is_final: false,
        },
    };
    admin.iter().zip(&rest).map(answer).collect()
}

/// For the ports up to each of `lasts`, the first rule that matches. Each is
/// decided once, however many rules there are.
fn first_matches<'a>(
    rules: impl Iterator<Item = (&'a Matching<'a>, &'a Vec<(u32, u32)>)>,
    lasts: &[u32],
) -> Vec<Option<Decided>> {
    let mut decided = vec![None; lasts.len()];
    // The next one from each on that is not decided, or a shorter way there.
    let mut next: Vec<usize> = (0..=lasts.len()).collect();
    for (rule, ranges) in rules {
        for (first, last) in ranges {
            let mut at = open_from(&mut next, lasts.partition_point(|end| end < first));
            while at < lasts.len() && lasts[at] <= *last {
                decided[at] = Some(Decided { action: rule.action, id: rule.id });
                next[at] = at + 1;
                at = open_from(&mut next, at + 1);
            }
        }
    }
    decided
}

fn open_from(next: &mut [usize], at: usize) -> usize {
    let mut end = at;
    while next[end] != end {
        end = next[end];
    }
    let mut step = at;
    while next[step] != end && step != end {
        step = std::mem::replace(&mut next[step], end);
    }
    end
}

/// First and last keys of what a rule's ports match.
fn ranges(ports: Option<&[PortMatch]>, named: &NamedPorts) -> Vec<(u32, u32)> {
    let Some(ports) = ports else { return vec![(0, PortKey::LAST.0)] };
    let key = |protocol: Protocol, port: u16| PortKey::of(protocol.number(), port).0;
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let mut ranges = Vec::new();
    for port in ports {
        let protocols = all.iter().filter(|one| port.protocol.is_none_or(|only| only == **one));
        for &protocol in protocols {
            match &port.ports {
                Ports::Any => ranges.push((key(protocol, 0), key(protocol, u16::MAX))),
                Ports::Range(first, last) => {
                    ranges.push((key(protocol, *first), key(protocol, *last)))
                }
                Ports::Named(name) => {
                    let fits =
                        |one: &&(Arc<str>, Protocol, u16)| one.0 == *name && one.1 == protocol;
                    let numbers = named.iter().filter(fits).map(|one| key(protocol, one.2));
                    ranges.extend(numbers.map(|key| (key, key)));
                }
            }
        }
    }
    ranges.retain(|(first, last)| first <= last);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACED: Isolation =
        Isolation { by_any: Some(RuleId(100)), by_enforced: Some(RuleId(100)) };

    fn tcp(first: u16, last: u16) -> PortMatch {
        PortMatch { protocol: Some(Protocol::Tcp), ports: Ports::Range(first, last) }
    }

    fn rule<'a>(
        tier: Tier,
        action: Action,
        ports: Option<&'a [PortMatch]>,
        id: u32,
    ) -> Matching<'a> {
        Matching { tier, action, ports, id: RuleId(id), is_audited: false }
    }

    fn ask(spans: &[Span], port: PortKey) -> (Verdict, RuleId) {
        assert_eq!(spans.last().unwrap().last, PortKey::LAST);
        let span = spans.iter().find(|span| port <= span.last).unwrap();
        (span.outcome.verdict(), span.outcome.rule())
    }

    #[test]
    fn the_union_of_rules_is_open_and_the_rest_denied() {
        let (web, high) = ([tcp(80, 80), tcp(443, 443)], [tcp(400, 65535)]);
        let rules = [
            rule(Tier::Namespaced, Action::Accept, Some(&web), 1),
            rule(Tier::Namespaced, Action::Accept, Some(&high), 2),
        ];
        let spans = spans(&rules, NAMESPACED, &NamedPorts::from([]), false);
        for (port, expected) in
            [(79, 100), (80, 1), (81, 100), (399, 100), (400, 2), (443, 1), (444, 2), (65535, 2)]
        {
            let verdict = if expected == 100 { Verdict::Deny } else { Verdict::Allow };
            assert_eq!(ask(&spans, PortKey::of(6, port)), (verdict, RuleId(expected)), "{port}");
        }
        assert_eq!(ask(&spans, PortKey::of(17, 80)).0, Verdict::Deny);
        assert_eq!(ask(&spans, PortKey::OTHER).0, Verdict::Deny);
    }

    #[test]
    fn tiers_come_in_their_order() {
        let (low, some) = ([tcp(0, 99)], [tcp(50, 60)]);
        let rules = [
            rule(Tier::Admin(1), Action::Pass, Some(&some), 1),
            rule(Tier::Admin(5), Action::Deny, Some(&low), 2),
            rule(Tier::Baseline(1), Action::Pass, Some(&some), 4),
            rule(Tier::Baseline(2), Action::Deny, None, 5),
        ];
        let open = spans(&rules, Isolation::default(), &NamedPorts::from([]), false);
        assert_eq!(ask(&open, PortKey::of(6, 49)), (Verdict::Deny, RuleId(2)));
        assert_eq!(ask(&open, PortKey::of(6, 55)), (Verdict::Allow, RuleId::NONE));
        assert_eq!(ask(&open, PortKey::of(6, 100)), (Verdict::Deny, RuleId(5)));
        let isolated = spans(&rules, NAMESPACED, &NamedPorts::from([]), false);
        assert_eq!(ask(&isolated, PortKey::of(6, 55)), (Verdict::Deny, RuleId(100)));
        // The admin tier's denial knows no excuse.
        let excuse = |port| isolated.iter().find(|s| port <= s.last).unwrap().outcome.excuse();
        assert_eq!(excuse(PortKey::of(6, 49)), Excuse::None);
        assert_eq!(excuse(PortKey::of(6, 55)), Excuse::Allow);
    }

    #[test]
    fn what_is_only_tried_out_passes() {
        let web = [tcp(80, 80)];
        let mut audited = rule(Tier::Namespaced, Action::Accept, Some(&web), 1);
        audited.is_audited = true;
        let only = Isolation { by_any: Some(RuleId(7)), by_enforced: None };
        let spans_of = |rules: &[Matching<'_>], isolation, all| {
            spans(rules, isolation, &NamedPorts::from([]), all)
        };
        let tried = spans_of(std::slice::from_ref(&audited), only, false);
        assert_eq!(ask(&tried, PortKey::of(6, 80)), (Verdict::Allow, RuleId(1)));
        assert_eq!(ask(&tried, PortKey::of(6, 81)), (Verdict::Audit, RuleId(7)));
        // One that is enforced goes on denying; what the audited one allows stays
        // open.
        let both = Isolation { by_any: Some(RuleId(7)), by_enforced: Some(RuleId(8)) };
        let mixed = spans_of(std::slice::from_ref(&audited), both, false);
        assert_eq!(ask(&mixed, PortKey::of(6, 80)), (Verdict::Allow, RuleId(1)));
        assert_eq!(ask(&mixed, PortKey::of(6, 81)), (Verdict::Deny, RuleId(8)));
        let namespace = spans_of(&[], NAMESPACED, true);
        assert_eq!(ask(&namespace, PortKey::OTHER), (Verdict::Audit, RuleId(100)));
    }

    #[test]
    fn a_namespace_that_is_only_tried_out_keeps_what_the_admin_tier_says() {
        let (low, web) = ([tcp(0, 99)], [tcp(80, 80)]);
        let admin = rule(Tier::Admin(1), Action::Deny, Some(&low), 1);
        let spans_of = |rules: &[Matching<'_>], isolation| {
            spans(rules, isolation, &NamedPorts::from([]), true)
        };
        let base = rule(Tier::Baseline(1), Action::Deny, None, 3);
        let open = spans_of(&[admin.clone(), base.clone()], Isolation::default());
        assert_eq!(ask(&open, PortKey::of(6, 80)), (Verdict::Deny, RuleId(1)));
        assert_eq!(ask(&open, PortKey::of(6, 100)), (Verdict::Audit, RuleId(3)));
        let own = rule(Tier::Namespaced, Action::Accept, Some(&web), 2);
        let isolated = spans_of(&[admin.clone(), own, base], NAMESPACED);
        assert_eq!(ask(&isolated, PortKey::of(6, 80)), (Verdict::Deny, RuleId(1)));
        assert_eq!(ask(&isolated, PortKey::of(6, 100)), (Verdict::Audit, RuleId(100)));
        // One that has the annotation itself.
        let tried = Matching { is_audited: true, ..admin };
        let tried = spans_of(&[tried], NAMESPACED);
        assert_eq!(ask(&tried, PortKey::of(6, 80)), (Verdict::Audit, RuleId(1)));
    }

    #[test]
    fn names_of_ports_are_those_of_the_destination() {
        let ports =
            [PortMatch { protocol: Some(Protocol::Tcp), ports: Ports::Named("http".into()) }];
        let any = [PortMatch { protocol: None, ports: Ports::Named("http".into()) }];
        let named: NamedPorts = NamedPorts::from([
            ("http".into(), Protocol::Tcp, 8080),
            ("http".into(), Protocol::Udp, 90),
        ]);
        for (ports, named, tcp, udp) in [
            (&ports, &named, true, false),
            (&any, &named, true, true),
            (&ports, &NamedPorts::from([]), false, false),
        ] {
            let rules = [rule(Tier::Namespaced, Action::Accept, Some(ports), 1)];
            let spans = spans(&rules, NAMESPACED, named, false);
            assert_eq!(ask(&spans, PortKey::of(6, 8080)).0 == Verdict::Allow, tcp);
            assert_eq!(ask(&spans, PortKey::of(17, 90)).0 == Verdict::Allow, udp);
            assert_eq!(ask(&spans, PortKey::of(6, 80)).0, Verdict::Deny);
        }
    }
}
