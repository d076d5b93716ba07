use super::*;
use crate::policy::{LANES, PageClasses};

fn outcome(rule: u32) -> Outcome {
    Outcome::new(Verdict::Allow, RuleId(rule), Excuse::None)
}

fn span(last: PortKey, rule: u32) -> Span {
    Span { last, outcome: outcome(rule) }
}

/// A row with programs of its own.
fn set(rows: &mut Rows, number: u32, programs: Programs) {
    rows.programs.set(number, programs);
    rows.rows.set(number, Row { programs: number, first_rule: 0 });
}

/// Peer 67 is of class 1, peer 68 of class 2, peers from 128 to 191 of class 1,
/// and all others of class 0; and by another classifier those of its third page.
fn classified() -> Rows {
    let mut rows = Rows::default();
    let mut page = [0; LANES];
    page[3] = 1;
    page[4] = 2;
    let page = Page(page);
    rows.pages.set(5, page);
    let uniform = PageClasses::Uniform;
    for (number, pages) in [
        (8, vec![uniform(0), PageClasses::Page(5), uniform(1), uniform(0)]),
        (9, vec![uniform(0); 4]),
        (10, vec![uniform(0), uniform(0), uniform(1)]),
    ] {
        rows.set_classifier(number, Classifier::new(&pages, |_| page));
    }
    rows
}

fn tells_peers_and_ports_apart(spans: u16, is_distant: bool) {
    let mut rows = classified();
    let all = [span(PortKey::LAST, 10)];
    let http = PortKey::of(6, 79);
    let web = [span(http, 20), span(PortKey::of(6, 80), 21), span(PortKey::LAST, 22)];
    let ports = 0..spans - 1;
    let mut many: Vec<_> =
        ports.map(|i| span(PortKey::of(6, i * 10), u32::from(i) + 100)).collect();
    many.push(span(PortKey::LAST, 99));
    let programs: [&[Span]; 3] = [&all, &web, &many];
    set(&mut rows, 7, Programs::new(1, programs.into_iter()));
    // The same the other way round, and both.
    set(&mut rows, 8, Programs::new(3, programs.into_iter()));
    let pairs = programs.iter().flat_map(|program| [*program, &all[..]]);
    set(&mut rows, 9, Programs::new(2, pairs));
    for row in 7..10 {
        assert_eq!(rows.programs.get(row).unwrap().distant > 0, is_distant);
    }
    let subject = |row, classifiers| Subject { row, classifiers };
    let ask = |peer, port| rows.outcome(&subject(7, [8, 9]), PeerId(peer), port).rule().0;
    for peer in [0, 63, 64, 66, 127, 192, 5000] {
        assert_eq!(ask(peer, PortKey::of(6, 80)), 10, "{peer}");
    }
    for peer in [67, 128, 191] {
        assert_eq!(ask(peer, PortKey::of(6, 0)), 20);
        assert_eq!(ask(peer, PortKey::of(6, 79)), 20);
        assert_eq!(ask(peer, PortKey::of(6, 80)), 21);
        assert_eq!(ask(peer, PortKey::of(17, 80)), 22);
        assert_eq!(ask(peer, PortKey::OTHER), 22);
    }
    for port in 0..1100_u16 {
        let expected = match port.div_ceil(10) {
            at if at < spans - 1 => u32::from(at) + 100,
            _ => 99,
        };
        assert_eq!(ask(68, PortKey::of(6, port)), expected, "{port} of {spans} spans");
    }
    for peer in [3, 67, 68, 150] {
        let port = PortKey::of(6, 80);
        let [one, other, both] = [subject(7, [8, 9]), subject(8, [9, 8]), subject(9, [8, 10])]
            .map(|subject| rows.outcome(&subject, PeerId(peer), port));
        assert_eq!(one, other);
        assert_eq!(both.rule().0, if peer == 150 { 10 } else { one.rule().0 });
    }
}

#[test]
fn a_row_tells_peers_and_ports_apart() {
    for (spans, is_distant) in
        [(1, false), (2, false), (7, false), (8, false), (9, true), (16, true), (101, true)]
    {
        tells_peers_and_ports_apart(spans, is_distant);
    }
}

#[test]
fn many_pairs_of_classes_are_told_apart() {
    let uniform: Vec<_> = (0..30).map(PageClasses::Uniform).collect();
    for second in [1, 3, 4, 29] {
        for first in [1, 26, 30] {
            let mut rows = classified();
            let classifier = |count| Classifier::new(&uniform[..count], |_| Page::default());
            rows.set_classifier(0, classifier(first as usize));
            rows.set_classifier(1, classifier(second as usize));
            // Of several pairs the same.
            let said =
                |pair| [span(PortKey::of(6, 80), pair / 2), span(PortKey::LAST, 10_000 + pair)];
            let programs: Vec<_> = (0..first * second).map(said).collect();
            set(&mut rows, 0, Programs::new(second, programs.iter().map(|program| &program[..])));
            for peer in 0..40 {
                let class = |count| if peer < count { peer } else { 0 };
                let pair = class(first) * second + class(second);
                let subject = Subject { row: 0, classifiers: [0, 1] };
                let ask = |port| rows.outcome(&subject, PeerId(peer * 64), port).rule().0;
                assert_eq!(ask(PortKey::of(6, 80)), pair / 2, "{peer} of {first} x {second}");
                assert_eq!(ask(PortKey::of(17, 80)), 10_000 + pair);
            }
            // A class for which there is no room.
            let classes = [PageClasses::Uniform(u16::MAX), PageClasses::Uniform(first as u16)];
            rows.set_classifier(0, Classifier::new(&classes, |_| Page::default()));
            for peer in [0, 64] {
                let subject = Subject { row: 0, classifiers: [0, 1] };
                let outcome = rows.outcome(&subject, PeerId(peer), PortKey::OTHER);
                let beyond = (Verdict::Deny, RuleId::BEYOND);
                assert_eq!((outcome.verdict(), outcome.rule()), beyond, "{first} x {second}");
            }
        }
    }
}

#[test]
fn rows_share_what_is_said_and_have_rules_of_their_own() {
    let mut rows = classified();
    let program: &[Span] =
        &[span(PortKey::of(6, 80), RuleId::FIRST), span(PortKey::LAST, RuleId::BEYOND.0)];
    rows.programs.set(3, Programs::new(1, [program].into_iter()));
    for (number, first_rule) in [(0, 0), (1, 500)] {
        rows.rows.set(number, Row { programs: 3, first_rule });
        let subject = Subject { row: number, classifiers: [10, 10] };
        let ask = |port| rows.outcome(&subject, PeerId(0), port).rule();
        assert_eq!(ask(PortKey::of(6, 80)), RuleId(RuleId::FIRST + first_rule));
        assert_eq!(ask(PortKey::OTHER), RuleId::BEYOND);
    }
}

#[test]
fn who_has_no_row_is_denied_everything() {
    let rows = classified();
    for rows in [&rows, &Rows::default()] {
        for number in [0, 99] {
            let subject = Subject { row: number, classifiers: [8, 9] };
            let nobody = rows.outcome(&subject, PeerId(0), PortKey::OTHER);
            assert_eq!(nobody.verdict(), Verdict::Deny);
        }
    }
}
