use super::*;
use crate::family::V4;

const POD: [u8; 4] = [10, 1, 0, 7];
const OTHER: [u8; 4] = [10, 1, 0, 8];
const NODE: [u8; 4] = [10, 10, 0, 1];
const FAR_NODE: [u8; 4] = [10, 10, 0, 2];

/// Both pods are on node 1; the first is denied everything, both ways.
fn tables(excuse: Excuse) -> Tables {
    let mut tables = Tables::empty(1);
    let denied = Outcome::new(Verdict::Deny, RuleId(9), excuse);
    let program: &[Span] = &[Span { last: PortKey::LAST, outcome: denied }];
    tables.policy.set_classifier(0, Classifier::default());
    tables.policy.programs.set(0, Programs::new(1, [program].into_iter()));
    tables.policy.rows.set(0, Row { programs: 0, first_rule: 0 });
    let free = KnownAddress {
        ingress: Subject::NONE,
        egress: Subject::NONE,
        peer: PeerId::OUTSIDE,
        host: Host::of_pod(1),
    };
    let [ingress, egress] = [Subject { row: 0, classifiers: [0; 2] }; 2];
    tables.v4.known.insert(POD, KnownAddress { ingress, egress, ..free });
    tables.v4.known.insert(OTHER, free);
    tables.v4.known.insert(NODE, KnownAddress { host: Host::of_node(1), ..free });
    tables.v4.known.insert(FAR_NODE, KnownAddress { host: Host::of_node(2), ..free });
    tables
}

fn ask(tables: &Tables, src: [u8; 4], dst: [u8; 4]) -> Judgment {
    judge::<V4>(tables, &src, &dst, PortKey::of(6, 80))
}

#[test]
fn without_policies_nobody_is_asked() {
    assert_eq!(ask(&Tables::empty(1), POD, OTHER), Judgment::UNASKED);
}

#[test]
fn both_ends_are_asked() {
    let tables = tables(Excuse::None);
    let to = ask(&tables, OTHER, POD);
    assert_eq!((to.egress.verdict(), to.ingress.verdict()), (Verdict::Allow, Verdict::Deny));
    assert_eq!(to.rules(), [RuleId::NONE, RuleId(9)]);
    let from = ask(&tables, POD, OTHER);
    assert_eq!((from.egress.verdict(), from.ingress.verdict()), (Verdict::Deny, Verdict::Allow));
    assert_eq!(ask(&tables, [192, 0, 2, 1], POD).rules(), [RuleId::NONE, RuleId(9)]);
    assert_eq!(ask(&tables, [192, 0, 2, 1], OTHER), Judgment::UNASKED);
    for node in [NODE, FAR_NODE] {
        assert_eq!(ask(&tables, node, POD).ingress.verdict(), Verdict::Deny);
    }
    assert_eq!(ask(&tables, POD, POD).egress.verdict(), Verdict::Deny);
}

#[test]
fn a_pod_speaks_with_itself_and_with_its_own_node() {
    let tables_allow = tables(Excuse::Allow);
    let own = ask(&tables_allow, POD, POD);
    assert_eq!(own.rules(), [RuleId::ITSELF; 2]);
    assert!(own.egress.is_allowed() && own.ingress.is_allowed());
    assert_eq!(ask(&tables_allow, NODE, POD).ingress.rule(), RuleId::OWN_NODE);
    assert!(ask(&tables_allow, POD, NODE).egress.is_allowed());
    assert_eq!(ask(&tables_allow, FAR_NODE, POD).ingress.verdict(), Verdict::Deny);
    assert_eq!(ask(&tables_allow, OTHER, POD).ingress.verdict(), Verdict::Deny);
    let audited = ask(&tables(Excuse::Audit), NODE, POD).ingress;
    assert_eq!((audited.verdict(), audited.rule()), (Verdict::Audit, RuleId(9)));
}

#[test]
fn a_pod_whose_node_is_not_known_has_no_own_node() {
    assert!(!Host::of_node(5).is_node_of(Host::UNKNOWN));
    assert!(!Host::UNKNOWN.is_node_of(Host::UNKNOWN));
    assert!(!Host::of_pod(5).is_node_of(Host::of_pod(5)));
    assert!(!Host::of_node(5).is_node_of(Host::of_node(5)));
    assert!(Host::of_node(5).is_node_of(Host::of_pod(5)));
}

#[test]
fn a_request_is_judged_by_its_client_and_by_whom_the_gateway_is_taken_for() {
    const POOL: [u8; 4] = [10, 244, 255, 1];
    let mut tables = tables(Excuse::None);
    let ask = |tables: &Tables, client: &str, dst: [u8; 4]| {
        let judgment = judge_request(tables, client.parse().unwrap(), (dst, 80).into());
        [judgment.egress.verdict(), judgment.ingress.verdict()]
    };
    // A second class, of peer 5 alone, that is let in.
    let mut page = Page::default();
    page.0[5] = 1;
    let classes = Classifier::new(&[PageClasses::Page(0)], |_| page);
    tables.policy.set_classifier(1, classes);
    let outcome = |verdict| Outcome::new(verdict, RuleId(9), Excuse::None);
    let spans = [Verdict::Deny, Verdict::Allow]
        .map(|verdict| [Span { last: PortKey::LAST, outcome: outcome(verdict) }]);
    let programs = spans.iter().map(|spans| &spans[..]);
    tables.policy.programs.set(1, Programs::new(1, programs));
    tables.policy.rows.set(1, Row { programs: 1, first_rule: 0 });
    let subject = Subject { row: 1, classifiers: [1, 0] };
    let pod = *tables.v4.known.get(&POD).unwrap();
    tables.v4.known.insert(POD, KnownAddress { ingress: subject, ..pod });
    let ranges = AddressRanges::new([([192, 0, 2, 0], PeerId(5)), ([192, 0, 3, 0], PeerId(0))]);
    tables.v4.clients = ranges.into();
    let v6 = AddressRanges::new([([0; 16], PeerId(5))]);
    tables.v6.clients = v6.into();
    let [allow, deny] = [Verdict::Allow, Verdict::Deny];
    assert_eq!(ask(&tables, "192.0.2.7", POD), [allow, allow]);
    assert_eq!(ask(&tables, "::ffff:192.0.2.7", POD), [allow, allow]);
    assert_eq!(ask(&tables, "192.0.3.7", POD), [allow, deny]);
    assert_eq!(ask(&tables, "::ffff:192.0.3.7", POD), [allow, deny]);
    assert_eq!(ask(&tables, "2001:db8::7", POD), [allow, allow], "of the other family");
    assert_eq!(ask(&tables, "192.0.3.7", OTHER), [allow, allow], "nobody selects it");
    // What selects the gateway is asked, too.
    tables.v4.snat = std::sync::Arc::new(crate::SnatPool {
        addresses: vec![POOL],
        ..crate::SnatPool::default()
    });
    let denied = Subject { row: 0, classifiers: [0; 2] };
    let free = *tables.v4.known.get(&OTHER).unwrap();
    tables.v4.known.insert(POOL, KnownAddress { egress: denied, ..free });
    assert_eq!(ask(&tables, "192.0.2.7", POD), [deny, allow]);
    assert_eq!(ask(&Tables::empty(1), "192.0.2.7", POD), [allow, allow]);
}
