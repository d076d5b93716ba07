//! Pods that the same policies select in one direction, and what is said to
//! whom: a row each.

use super::attributes::Attributes;
use super::classifiers::{Class, ClassifierKey, ClassifierNumber, Classifiers};
use super::pages::Pages;
use super::peers::Peers;
use super::program::{self, Isolation, Matching, NamedPorts};
use super::rule_lists::{self, Counted, RuleList, RuleLists};
use super::shared_programs::SharedPrograms;
use super::{AttributeId, Direction, PolicyNumber, SubjectNumber};
use crate::cluster::network_policy::{Action, PortMatch, Tier};
use crate::compile::ids::{Ids, Moment};
use hashbrown::HashMap;
use sluice_tables::RuleId;
use sluice_tables::policy::{Programs, Row, Rows, Span, Subject as InTables};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What so many rules name is told apart by a classifier of its own,
const WIDE: usize = 32;

/// unless that would make more pairs of classes than this, as far as can be told
/// beforehand.
const PAIRS_EXPECTED: usize = 1 << 12;

/// Most pairs of classes of a subject. Peers of others are denied.
const PAIRS_MAX: usize = 1 << 16;

/// Most rules and ports of rules that are looked at for a subject, those for each
/// pair of classes by themselves. Peers of pairs beyond are denied.
const WORK_MAX: usize = 1 << 24;

/// What selects a pod, and what else its rows depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SubjectKey {
    pub(super) direction: Direction,
    /// The policies that select it, in the order in which they are asked.
    pub(super) policies: Vec<PolicyNumber>,
    /// Its named ports, where rules towards it name some.
    pub(super) ports: Option<NamedPorts>,
    /// Its namespace is audited.
    pub(super) is_audited: bool,
}

/// A peer of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// Who has this matches,
    pub(super) attribute: AttributeId,
    /// unless he has one of these.
    pub(super) except: Vec<AttributeId>,
}

impl Term {
    /// All that it names.
    pub(super) fn attributes(&self) -> impl Iterator<Item = AttributeId> + '_ {
        [self.attribute].into_iter().chain(self.except.iter().copied())
    }
}

/// A rule of a policy, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) tier: Tier,
    pub(super) action: Action,
    /// Whom it matches; `None`: everybody.
    pub(super) peers: Option<Vec<Term>>,
    pub(super) ports: Option<Arc<[PortMatch]>>,
    pub(super) id: RuleId,
    pub(super) is_audited: bool,
    /// It names ports.
    pub(super) is_named: bool,
}

/// Everything about one subject.
#[derive(Debug)]
struct Subject {
    key: Arc<SubjectKey>,
    uses: usize,
    /// The rules of its policies, in order.
    rules: Vec<Rule>,
    isolation: Isolation,
    /// Rules for everybody, and rules by whom they match.
    for_all: Vec<u32>,
    by_attribute: BTreeMap<AttributeId, Vec<u32>>,
    /// Rules by what they match with exceptions: and by how many such peers.
    excepting: BTreeMap<AttributeId, BTreeMap<u32, u32>>,
    /// By what is excepted: rules, their peer, and what it matches.
    excepted: BTreeMap<AttributeId, Vec<(u32, u32, AttributeId)>>,
    /// What tells its peers apart: what few rules name, and what many do.
    classifiers: [ClassifierNumber; 2],
    /// What is said to each pair of classes, as far as classes were known.
    programs: Vec<Vec<Arc<[Span]>>>,
    /// Its row in the tables.
    row: Option<Row>,
    /// How much has been looked at for that.
    work: usize,
}

/// All subjects by number.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    slots: Vec<Option<Subject>>,
    free: BTreeSet<SubjectNumber>,
    numbers: HashMap<Arc<SubjectKey>, SubjectNumber>,
    unused: BTreeSet<SubjectNumber>,
    /// Made, and without a row yet.
    fresh: BTreeSet<SubjectNumber>,
    /// Those that have more peers to tell apart than there is room for.
    limited: BTreeSet<SubjectNumber>,
    classifiers: Classifiers,
    programs: SharedPrograms,
}

impl Subjects {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Classifiers that they share.
    pub(super) fn classifiers_len(&self) -> usize {
        self.classifiers.len()
    }

    /// What is said to them, each once.
    pub(super) fn programs_len(&self) -> usize {
        self.programs.len()
    }

    /// Those that have more peers to tell apart than there is room for.
    pub(super) fn limited(&self) -> impl Iterator<Item = &SubjectKey> {
        let key = |number: &SubjectNumber| self.slots[*number as usize].as_ref();
        self.limited.iter().filter_map(key).map(|subject| &*subject.key)
    }

    /// The policies that select a subject.
    pub(super) fn key(&self, id: InTables) -> Option<&SubjectKey> {
        self.slots.get(id.row as usize)?.as_ref().map(|subject| &*subject.key)
    }

    /// Another use of a subject; a new one, of the rules that `make` gives, if
    /// there is none like it.
    pub(super) fn acquire(
        &mut self,
        key: SubjectKey,
        attributes: &mut Attributes,
        make: impl FnOnce(&SubjectKey) -> (Vec<Rule>, Isolation),
    ) -> InTables {
        if let Some(&number) = self.numbers.get(&key)
            && let Some(subject) = &mut self.slots[number as usize]
        {
            subject.uses += 1;
            self.unused.remove(&number);
            return InTables { row: number, classifiers: subject.classifiers };
        }
        let number = self.free.pop_first().unwrap_or(self.slots.len() as SubjectNumber);
        let (rules, isolation) = make(&key);
        let key = Arc::new(key);
        let mut subject = Subject::new(key.clone(), rules, isolation);
        let is_wide = |id: &AttributeId| {
            attributes.get(*id).is_some_and(|attribute| attribute.peer_uses() >= WIDE)
        };
        let (mut wide, mut narrow): (Vec<_>, Vec<_>) =
            subject.named().into_iter().partition(is_wide);
        if (wide.len() + 1) * (narrow.len() + 1) > PAIRS_EXPECTED {
            narrow.append(&mut wide);
            narrow.sort_unstable();
        }
        let is_named =
            key.direction == Direction::Egress && subject.rules.iter().any(|rule| rule.is_named);
        let keys = [(narrow, is_named), (wide, false)];
        subject.classifiers = keys.map(|(names, is_named)| {
            let key = ClassifierKey { attributes: names, is_named };
            self.classifiers.acquire(key, number, attributes)
        });
        let in_tables = InTables { row: number, classifiers: subject.classifiers };
        self.fresh.insert(number);
        self.numbers.insert(key, number);
        match self.slots.get_mut(number as usize) {
            Some(slot) => *slot = Some(subject),
            None => self.slots.push(Some(subject)),
        }
        in_tables
    }

    /// One use less.
    pub(super) fn release(&mut self, id: InTables) {
        if let Some(Some(subject)) = self.slots.get_mut(id.row as usize) {
            subject.uses -= 1;
            if subject.uses == 0 {
                self.unused.insert(id.row);
            }
        }
    }

    /// Forgets the subjects without a use; whether rows are different by that.
    pub(super) fn collect(
        &mut self,
        attributes: &mut Attributes,
        pages: &mut Pages,
        (rows, lists): (&mut Rows, &mut RuleLists),
        at: Moment,
    ) -> bool {
        let mut is_written = false;
        for number in std::mem::take(&mut self.unused) {
            let Some(subject) = self.slots[number as usize].take() else { continue };
            for classifier in subject.classifiers {
                self.classifiers.release(classifier, number);
            }
            self.numbers.remove(&subject.key);
            self.limited.remove(&number);
            self.free.insert(number);
            self.fresh.remove(&number);
            if let Some(row) = subject.row {
                self.programs.release(row.programs, rows);
                lists.release(row.first_rule, at);
                rows.rows.set(number, Row::default());
                is_written = true;
            }
        }
        self.classifiers.collect(attributes, pages, rows) | is_written
    }

    /// Brings the rows up to date: those of new subjects, and those that depend
    /// on peers that are new. Whether any is different.
    pub(super) fn write(
        &mut self,
        attributes: &Attributes,
        peers: &mut Peers,
        pages: &mut Pages,
        (rows, lists): (&mut Rows, &mut RuleLists),
        (rules, at): (&Ids<Arc<str>>, Moment),
    ) -> bool {
        let mut changed = self.classifiers.write(attributes, peers, pages, rows);
        changed.stale.append(&mut self.fresh);
        let is_written = changed.is_written || !changed.stale.is_empty();
        for number in changed.stale {
            if let Some(Some(subject)) = self.slots.get_mut(number as usize) {
                let classes = subject.classifiers.map(|one| self.classifiers.classes(one));
                let is_full = subject.classifiers.iter().any(|one| self.classifiers.is_full(*one));
                if !subject.write(classes) || is_full {
                    self.limited.insert(number);
                }
                let (programs, first_rule) = subject.told(classes[1].len(), lists, rules, at);
                let programs = self.programs.acquire(programs, rows);
                let row = Row { programs, first_rule };
                if let Some(old) = subject.row.replace(row) {
                    self.programs.release(old.programs, rows);
                    lists.release(old.first_rule, at);
                }
                rows.rows.set(number, row);
            }
        }
        is_written
    }
}

impl Subject {
    fn new(key: Arc<SubjectKey>, rules: Vec<Rule>, isolation: Isolation) -> Self {
        let mut for_all = Vec::new();
        let mut by_attribute: BTreeMap<AttributeId, Vec<u32>> = BTreeMap::new();
        let mut excepting: BTreeMap<AttributeId, BTreeMap<u32, u32>> = BTreeMap::new();
        let mut excepted: BTreeMap<AttributeId, Vec<(u32, u32, AttributeId)>> = BTreeMap::new();
        for (number, rule) in (0..).zip(&rules) {
            let Some(terms) = &rule.peers else {
                for_all.push(number);
                continue;
            };
            for (term, Term { attribute, except }) in (0..).zip(terms) {
                if except.is_empty() {
                    let numbers = by_attribute.entry(*attribute).or_default();
                    if numbers.last() != Some(&number) {
                        numbers.push(number);
                    }
                    continue;
                }
                *excepting.entry(*attribute).or_default().entry(number).or_default() += 1;
                for id in except {
                    excepted.entry(*id).or_default().push((number, term, *attribute));
                }
            }
        }
        Subject {
            key,
            uses: 1,
            rules,
            isolation,
            for_all,
            by_attribute,
            excepting,
            excepted,
            classifiers: [0; 2],
            programs: Vec::new(),
            row: None,
            work: 0,
        }
    }

    /// What its rules name.
    fn named(&self) -> BTreeSet<AttributeId> {
        let with_exceptions = self.excepting.keys().chain(self.excepted.keys());
        self.by_attribute.keys().chain(with_exceptions).copied().collect()
    }

    /// Says something to the pairs of classes that are new; false: not to all,
    /// there are too many.
    fn write(&mut self, [narrow, wide]: [&[Arc<Class>]; 2]) -> bool {
        let mut programs = std::mem::take(&mut self.programs);
        let len = narrow.len().min(PAIRS_MAX / wide.len().max(1));
        let mut is_whole = len == narrow.len();
        programs.resize(len, Vec::new());
        for (first, programs) in narrow.iter().zip(&mut programs) {
            for second in wide.iter().skip(programs.len()) {
                let program = match self.work < WORK_MAX {
                    true => self.program(first, second),
                    false => Arc::new([program::BEYOND]),
                };
                programs.push(program);
            }
        }
        self.programs = programs;
        is_whole &= self.work < WORK_MAX;
        is_whole
    }

    /// What is said to all pairs of classes, as far as others may be told the same,
    /// and where its own rules begin.
    fn told(
        &self,
        classes: usize,
        lists: &mut RuleLists,
        rules: &Ids<Arc<str>>,
        at: Moment,
    ) -> (Programs, u32) {
        let mut counted = Counted::default();
        let mut programs: HashMap<&[Span], Vec<Span>> = HashMap::new();
        for program in self.programs.iter().flatten() {
            programs.entry(program).or_insert_with(|| counted.program(program));
        }
        let text = |rule: RuleId| rules.key(rule.0 - RuleId::FIRST).cloned().unwrap_or_default();
        let list: RuleList = counted.into_rules().into_iter().map(text).collect();
        let first_rule = lists.acquire(&list, at);
        if first_rule.is_none() {
            programs.iter_mut().for_each(|(spans, program)| *program = rule_lists::untold(spans));
        }
        let all = self.programs.iter().flatten().map(|program| &*programs[&**program]);
        (Programs::new(classes as u32, all), first_rule.unwrap_or(RuleLists::NOWHERE))
    }

    /// The rules that match a pair of classes, in order.
    fn matching(&self, first: &Class, second: &Class) -> BTreeSet<u32> {
        let named = || first.attributes.iter().chain(&second.attributes);
        let mut numbers: BTreeSet<u32> = self.for_all.iter().copied().collect();
        numbers.extend(named().filter_map(|id| self.by_attribute.get(id)).flatten());
        if self.excepting.is_empty() {
            return numbers;
        }
        let excepted: BTreeSet<_> =
            named().filter_map(|id| self.excepted.get(id)).flatten().collect();
        let mut gone: HashMap<(AttributeId, u32), u32> = HashMap::new();
        for (number, _, attribute) in excepted {
            *gone.entry((*attribute, *number)).or_default() += 1;
        }
        for id in named() {
            for (number, peers) in self.excepting.get(id).into_iter().flatten() {
                // One of its peers has nothing against this one.
                if gone.get(&(*id, *number)).is_none_or(|gone| gone < peers) {
                    numbers.insert(*number);
                }
            }
        }
        numbers
    }

    /// What is said to a pair of classes.
    fn program(&mut self, first: &Class, second: &Class) -> Arc<[Span]> {
        let numbers = self.matching(first, second);
        let ports =
            |number: &u32| self.rules[*number as usize].ports.as_ref().map_or(0, |p| p.len());
        let ports: usize = numbers.iter().map(ports).sum();
        let attributes = first.attributes.iter().chain(&second.attributes);
        let excepting = attributes.filter_map(|id| self.excepting.get(id)).map(BTreeMap::len);
        self.work += 1 + numbers.len() + ports + excepting.sum::<usize>();
        let matching = |number: &u32| {
            let rule = &self.rules[*number as usize];
            Matching {
                tier: rule.tier,
                action: rule.action,
                ports: rule.ports.as_deref(),
                id: rule.id,
                is_audited: rule.is_audited,
            }
        };
        let matching: Vec<_> = numbers.iter().map(matching).collect();
        let nothing = NamedPorts::from([]);
        let ports = first.ports.as_ref().or(self.key.ports.as_ref()).unwrap_or(&nothing);
        program::spans(&matching, self.isolation, ports, self.key.is_audited).into()
    }
}
