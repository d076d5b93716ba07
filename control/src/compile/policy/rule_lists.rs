//! Numbers for the rules that a row's programs tell of. In the programs, rules are
//! counted from the first one that is told of, so that the same policies in many
//! namespaces are the same programs; where a row's rules begin is its own.

use super::super::ids::{Ids, Moment, Quarantined};
use hashbrown::HashMap;
use sluice_tables::RuleId;
use sluice_tables::policy::{Outcome, Span};
use std::sync::Arc;
use std::time::Duration;

/// What rules stand for, in the order in which programs count them.
pub(super) type RuleList = Arc<[Arc<str>]>;

/// Numbers are given out in segments of so many.
const SEGMENT: u32 = 1 << 16;

/// A segment less than there are numbers: [`RuleId::NONE`] and those below
/// [`RuleId::FIRST`] are none.
const SEGMENTS_MAX: usize = (Outcome::RULES_MAX / SEGMENT) as usize;

/// Most rules of a list. Those beyond are [`RuleId::UNTOLD`].
pub(super) const RULES_MAX: usize = SEGMENT as usize;

/// Sizes of lists: powers of two.
const SIZES: usize = SEGMENT.ilog2() as usize + 1;

/// Lists and the numbers of their rules: the same ones for a list as long as it is
/// used, and after that until it is certain that no flow remembers them.
#[derive(Debug)]
pub(super) struct RuleLists {
    /// Lists by size, numbered by themselves.
    sizes: [OfSize; SIZES],
    /// Which size the numbers of a segment are for, and how many segments of that
    /// size there were before.
    segments: Vec<(usize, u32)>,
    uses: HashMap<u32, usize>,
    /// Rules that have got numbers since this was last taken.
    renamed: Vec<(RuleId, Arc<str>)>,
}

#[derive(Debug)]
struct OfSize {
    lists: Ids<RuleList>,
    segments: Vec<u32>,
}

impl Quarantined for RuleLists {
    fn set_quarantine(&mut self, quarantine: Duration) {
        self.sizes.iter_mut().for_each(|size| size.lists.set_quarantine(quarantine));
    }
}

impl RuleLists {
    /// Where the rules of a row begin that have no numbers: there is no list.
    pub(super) const NOWHERE: u32 = u32::MAX;

    pub(super) fn new(quarantine: Duration) -> Self {
        let of_size = |_| OfSize { lists: Ids::new(quarantine), segments: Vec::new() };
        RuleLists {
            sizes: std::array::from_fn(of_size),
            segments: Vec::new(),
            uses: HashMap::new(),
            renamed: super::fixed_rules().collect(),
        }
    }

    /// Rules of all lists that are used.
    pub(super) fn len(&self) -> usize {
        let list = |(size, number, _): (usize, u32, usize)| self.sizes[size].lists.key(number);
        let used = self.uses.keys().filter_map(|first| list(self.find(*first)?));
        used.map(|list| list.len()).sum()
    }

    /// Another use of a list: where its numbers begin, counted from
    /// [`RuleId::FIRST`]; `None` when there are none left.
    pub(super) fn acquire(&mut self, list: &RuleList, at: Moment) -> Option<u32> {
        let size = size_of_list(list);
        let of_size = &mut self.sizes[size];
        let end = match self.segments.len() < SEGMENTS_MAX {
            true => u32::MAX,
            false => (of_size.segments.len() << (SIZES - 1 - size)) as u32,
        };
        let number = of_size.lists.give_below(end, list, at)?;
        let (segment, place) = place(size, number);
        if segment == of_size.segments.len() {
            of_size.segments.push(self.segments.len() as u32);
            self.segments.push((size, segment as u32));
        }
        let first = of_size.segments[segment] * SEGMENT + place;
        let uses = self.uses.entry(first).or_default();
        *uses += 1;
        if *uses == 1 {
            let numbers = (first + RuleId::FIRST..).map(RuleId);
            self.renamed.extend(numbers.zip(list.iter().cloned()));
        }
        Some(first)
    }

    /// One use less.
    pub(super) fn release(&mut self, first: u32, at: Moment) {
        let Some(uses) = self.uses.get_mut(&first) else { return };
        *uses -= 1;
        if *uses == 0 {
            self.uses.remove(&first);
            if let Some((size, number, _)) = self.find(first) {
                self.sizes[size].lists.free(number, at);
            }
        }
    }

    /// No list is used any more.
    pub(super) fn release_all(&mut self, at: Moment) {
        for (first, _) in std::mem::take(&mut self.uses) {
            if let Some((size, number, _)) = self.find(first) {
                self.sizes[size].lists.free(number, at);
            }
        }
    }

    /// What a rule's number stands for, or has stood for until lately.
    pub(super) fn rule(&self, id: RuleId) -> Option<Arc<str>> {
        let (size, number, at) = self.find(id.0.checked_sub(RuleId::FIRST)?)?;
        self.sizes[size].lists.key(number)?.get(at).cloned()
    }

    /// The rules that have got numbers since this was last called.
    pub(super) fn take_renamed(&mut self) -> Vec<(RuleId, Arc<str>)> {
        std::mem::take(&mut self.renamed)
    }

    /// The size of the list that a number is of, the list's own number, and which of
    /// its rules it is.
    fn find(&self, number: u32) -> Option<(usize, u32, usize)> {
        let (size, before) = *self.segments.get((number / SEGMENT) as usize)?;
        let place = number % SEGMENT;
        let list = (before * SEGMENT + place) >> size;
        Some((size, list, (place & ((1 << size) - 1)) as usize))
    }
}

/// The power of two that holds a list.
fn size_of_list(list: &RuleList) -> usize {
    list.len().next_power_of_two().ilog2() as usize
}

/// Which of the segments of its size a list is in, and where in it it begins.
fn place(size: usize, list: u32) -> (usize, u32) {
    let a_segment = SEGMENT >> size;
    ((list / a_segment) as usize, (list % a_segment) << size)
}

/// Counts rules, in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Counted {
    numbers: HashMap<RuleId, RuleId>,
    rules: Vec<RuleId>,
}

impl Counted {
    /// A program with the rules' numbers among those that have been counted.
    pub(super) fn program(&mut self, spans: &[Span]) -> Vec<Span> {
        let counted = |span: &Span| Span { outcome: self.outcome(span.outcome), ..*span };
        spans.iter().map(counted).collect()
    }

    fn outcome(&mut self, outcome: Outcome) -> Outcome {
        let rule = outcome.rule();
        if rule == RuleId::NONE || rule.0 < RuleId::FIRST {
            return outcome;
        }
        let number = match self.numbers.get(&rule) {
            Some(number) => *number,
            None if self.rules.len() == RULES_MAX => RuleId::UNTOLD,
            None => {
                let number = RuleId(RuleId::FIRST + self.rules.len() as u32);
                self.rules.push(rule);
                self.numbers.insert(rule, number);
                number
            }
        };
        Outcome::new(outcome.verdict(), number, outcome.excuse())
    }

    /// The rules, as they were counted.
    pub(super) fn into_rules(self) -> Vec<RuleId> {
        self.rules
    }
}

/// A program whose rules have no numbers.
pub(super) fn untold(spans: &[Span]) -> Vec<Span> {
    let untold = |span: &Span| {
        let Span { last, outcome } = *span;
        let rule = match outcome.rule() {
            RuleId::NONE => RuleId::NONE,
            rule if rule.0 < RuleId::FIRST => rule,
            _ => RuleId::UNTOLD,
        };
        Span { last, outcome: Outcome::new(outcome.verdict(), rule, outcome.excuse()) }
    };
    spans.iter().map(untold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_tables::policy::{Excuse, PortKey, Verdict};

    fn at(seconds: u64) -> Moment {
        Moment { now: Duration::from_secs(seconds), live: seconds, version: seconds }
    }

    fn list(name: &str, len: usize) -> RuleList {
        (0..len).map(|i| format!("{name}[{i}]").into()).collect()
    }

    #[test]
    fn every_rule_of_every_list_has_a_number_of_its_own() {
        let mut lists = RuleLists::new(Duration::from_secs(300));
        assert!(lists.take_renamed().iter().all(|(id, _)| id.0 < RuleId::FIRST));
        let mut taken: HashMap<u32, Arc<str>> = HashMap::new();
        for (n, len) in [0, 1, 2, 3, 4, 5, 31, 33, 1000, 65_536, 40_000, 65_536, 1, 2]
            .into_iter()
            .cycle()
            .take(100)
            .enumerate()
        {
            let list = list(&format!("l{n}"), len);
            let first = lists.acquire(&list, at(0)).unwrap();
            for (number, text) in (first..).zip(list.iter()) {
                assert!(taken.insert(number, text.clone()).is_none(), "{number} of {len}");
                assert!(number + RuleId::FIRST < Outcome::RULES_MAX);
            }
        }
        for (number, text) in &taken {
            assert_eq!(lists.rule(RuleId(number + RuleId::FIRST)).as_ref(), Some(text));
        }
        let renamed = lists.take_renamed();
        assert_eq!(renamed.len(), taken.len());
        assert!(renamed.iter().all(|(id, text)| taken[&(id.0 - RuleId::FIRST)] == *text));
        assert_eq!(lists.rule(RuleId::BEYOND), None);
        assert_eq!(lists.rule(RuleId(Outcome::RULES_MAX - 1)), None);
    }

    #[test]
    fn a_list_keeps_its_numbers_while_it_is_used_and_while_flows_remember_it() {
        let mut lists = RuleLists::new(Duration::from_secs(300));
        let (one, other) = (list("one", 3), list("other", 4));
        let first = lists.acquire(&one, at(1)).unwrap();
        assert_eq!(lists.acquire(&one, at(1)), Some(first));
        lists.release(first, at(2));
        assert_ne!(lists.acquire(&other, at(1000)), Some(first), "it is used still");
        lists.release(first, at(2000));
        assert_eq!(lists.rule(RuleId(first + RuleId::FIRST + 2)).as_deref(), Some("one[2]"));
        assert_ne!(lists.acquire(&list("third", 3), at(2299)), Some(first));
        assert_eq!(lists.acquire(&list("fourth", 4), at(2300)), Some(first));
        assert_eq!(lists.rule(RuleId(first + RuleId::FIRST + 3)).as_deref(), Some("fourth[3]"));
        assert_eq!(lists.len(), 4 + 3 + 4);
        lists.release_all(at(2400));
        assert_eq!(lists.len(), 0);
        assert_eq!(lists.acquire(&list("fourth", 4), at(2401)), Some(first));
    }

    #[test]
    fn when_there_are_no_numbers_left_there_is_none() {
        let mut lists = RuleLists::new(Duration::from_secs(300));
        let lists_of = |n: usize| -> RuleList {
            let text: Arc<str> = format!("{n}").into();
            std::iter::repeat_n(text, RULES_MAX / 2 + 1).collect()
        };
        // The names are those of small lists: what is full is a matter of segments.
        lists.segments = vec![(0, 0); SEGMENTS_MAX - 1];
        let last = lists.acquire(&lists_of(0), at(0));
        assert_eq!(last, Some((SEGMENTS_MAX as u32 - 1) * SEGMENT));
        assert_eq!(lists.acquire(&lists_of(1), at(0)), None);
        assert_eq!(lists.acquire(&lists_of(0), at(0)), last);
        lists.release(last.unwrap(), at(1));
        lists.release(last.unwrap(), at(1));
        assert_eq!(lists.acquire(&lists_of(1), at(301)), last);
    }

    #[test]
    fn rules_are_counted_as_they_come() {
        let span = |last, rule| Span {
            last: PortKey(last),
            outcome: Outcome::new(Verdict::Audit, RuleId(rule), Excuse::Allow),
        };
        let fixed = RuleId::BEYOND.0;
        let mut counted = Counted::default();
        let first = RuleId::FIRST;
        let rules = |spans: &[Span]| spans.iter().map(|s| s.outcome.rule().0).collect::<Vec<_>>();
        let program = counted.program(&[span(1, 70), span(2, 50), span(3, fixed), span(4, 70)]);
        assert_eq!(rules(&program), [first, first + 1, fixed, first]);
        assert!(program.iter().all(|s| s.outcome.excuse() == Excuse::Allow));
        let program = counted.program(&[span(1, 60), span(2, 50)]);
        assert_eq!(rules(&program), [first + 2, first + 1]);
        assert_eq!(counted.into_rules(), [RuleId(70), RuleId(50), RuleId(60)]);
        let program = untold(&[span(1, 70), span(3, fixed)]);
        assert_eq!(rules(&program), [RuleId::UNTOLD.0, fixed]);
    }
}
