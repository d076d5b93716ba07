//! What tells peers apart, for rules that name the same ones: one classifier,
//! however many subjects have such rules.

use super::attributes::Attributes;
use super::pages::Pages;
use super::peers::{self, Peers};
use super::program::NamedPorts;
use super::{AttributeId, SubjectNumber};
use hashbrown::HashMap;
use sluice_tables::policy::{Classifier, LANES, Page, PageClasses, PeerId, Rows};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) type ClassifierNumber = u32;

/// The class of peers for which there was no number: no row has it.
const BEYOND: u16 = u16::MAX;

/// What a classifier tells peers apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct ClassifierKey {
    /// What the rules name, in order.
    pub(super) attributes: Vec<AttributeId>,
    /// The rules name ports of peers.
    pub(super) is_named: bool,
}

/// Peers that are the same to a classifier: those that have the same of what it
/// names. The first class of each has nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Class {
    pub(super) attributes: Vec<AttributeId>,
    pub(super) ports: Option<NamedPorts>,
}

#[derive(Debug)]
struct Slot {
    key: Arc<ClassifierKey>,
    uses: usize,
    /// The subjects that use it.
    subjects: BTreeSet<SubjectNumber>,
    pages: Vec<PageClasses>,
    classes: Vec<Arc<Class>>,
    numbers: HashMap<Arc<Class>, u16>,
    /// There was no number left for a class.
    is_full: bool,
}

/// What has come of bringing classifiers up to date.
#[derive(Debug)]
pub(super) struct Written {
    /// The subjects whose classifiers have more classes than before.
    pub(super) stale: BTreeSet<SubjectNumber>,
    /// Any classifier is different.
    pub(super) is_written: bool,
}

/// All classifiers by number.
#[derive(Debug, Default)]
pub(super) struct Classifiers {
    slots: Vec<Option<Slot>>,
    free: BTreeSet<ClassifierNumber>,
    numbers: HashMap<Arc<ClassifierKey>, ClassifierNumber>,
    /// Made, and not written yet.
    fresh: BTreeSet<ClassifierNumber>,
    unused: BTreeSet<ClassifierNumber>,
    /// Those that tell peers apart by their ports.
    named: BTreeSet<ClassifierNumber>,
}

impl Classifiers {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The classes of a classifier, in the order of their numbers.
    pub(super) fn classes(&self, number: ClassifierNumber) -> &[Arc<Class>] {
        self.slots[number as usize].as_ref().map_or(&[], |slot| &slot.classes)
    }

    /// Whether there are more classes than numbers.
    pub(super) fn is_full(&self, number: ClassifierNumber) -> bool {
        self.slots[number as usize].as_ref().is_some_and(|slot| slot.is_full)
    }

    /// A subject uses a classifier; a new one if there is none like it.
    pub(super) fn acquire(
        &mut self,
        key: ClassifierKey,
        subject: SubjectNumber,
        attributes: &mut Attributes,
    ) -> ClassifierNumber {
        let number = match self.numbers.get(&key) {
            Some(&number) => number,
            None => self.add(key, attributes),
        };
        self.unused.remove(&number);
        if let Some(slot) = &mut self.slots[number as usize] {
            slot.uses += 1;
            slot.subjects.insert(subject);
        }
        number
    }

    fn add(&mut self, key: ClassifierKey, attributes: &mut Attributes) -> ClassifierNumber {
        let number = self.free.pop_first().unwrap_or(self.slots.len() as ClassifierNumber);
        for id in &key.attributes {
            if let Some(attribute) = attributes.get_mut(*id) {
                attribute.classifiers.insert(number);
            }
        }
        if key.is_named {
            self.named.insert(number);
        }
        let key = Arc::new(key);
        let nothing: Arc<Class> = Arc::default();
        let slot = Some(Slot {
            key: key.clone(),
            uses: 0,
            subjects: BTreeSet::new(),
            pages: Vec::new(),
            classes: vec![nothing.clone()],
            numbers: HashMap::from([(nothing, 0)]),
            is_full: false,
        });
        match self.slots.get_mut(number as usize) {
            Some(place) => *place = slot,
            None => self.slots.push(slot),
        }
        self.numbers.insert(key, number);
        self.fresh.insert(number);
        number
    }

    /// A subject no longer uses a classifier.
    pub(super) fn release(&mut self, number: ClassifierNumber, subject: SubjectNumber) {
        if let Some(Some(slot)) = self.slots.get_mut(number as usize) {
            slot.uses -= 1;
            slot.subjects.remove(&subject);
            if slot.uses == 0 {
                self.unused.insert(number);
            }
        }
    }

    /// Forgets the classifiers without a use; whether rows are different by that.
    pub(super) fn collect(
        &mut self,
        attributes: &mut Attributes,
        pages: &mut Pages,
        rows: &mut Rows,
    ) -> bool {
        let mut is_written = false;
        for number in std::mem::take(&mut self.unused) {
            let Some(slot) = self.slots[number as usize].take() else { continue };
            for id in &slot.key.attributes {
                if let Some(attribute) = attributes.get_mut(*id) {
                    attribute.classifiers.remove(&number);
                }
            }
            slot.pages.iter().for_each(|page| release(*page, pages));
            self.named.remove(&number);
            self.numbers.remove(&slot.key);
            self.free.insert(number);
            if !self.fresh.remove(&number) {
                rows.set_classifier(number, Classifier::default());
                is_written = true;
            }
        }
        is_written
    }

    /// Brings classifiers up to date: those that are new, and those that tell
    /// apart peers that are new.
    pub(super) fn write(
        &mut self,
        attributes: &Attributes,
        peers: &mut Peers,
        pages: &mut Pages,
        rows: &mut Rows,
    ) -> Written {
        let fresh = std::mem::take(&mut self.fresh);
        let came = peers.take_fresh();
        let mut stale: BTreeMap<ClassifierNumber, Vec<PeerId>> = BTreeMap::new();
        let mut on_page: HashMap<u32, BTreeSet<ClassifierNumber>> = HashMap::new();
        for &peer in &came {
            let (page, _) = peers::place(peer.0);
            let numbers = on_page.entry(page).or_insert_with(|| {
                let on_page = peers.on_page(page).filter_map(|id| attributes.get(id));
                let on_page = on_page.flat_map(|attribute| attribute.classifiers.iter().copied());
                on_page.chain(self.named.iter().copied()).collect()
            });
            for number in numbers.difference(&fresh) {
                stale.entry(*number).or_default().push(peer);
            }
        }
        let mut written = Written { stale: BTreeSet::new(), is_written: !fresh.is_empty() };
        for (number, changed) in stale {
            if let Some(Some(slot)) = self.slots.get_mut(number as usize) {
                let before = (slot.classes.len(), slot.is_full);
                let mut is_different = false;
                for &peer in &changed {
                    is_different |= slot.add(peer, peers, pages);
                }
                if is_different {
                    rows.set_classifier(number, slot.in_tables(pages));
                    written.is_written = true;
                }
                if (slot.classes.len(), slot.is_full) != before {
                    written.stale.extend(&slot.subjects);
                }
            }
        }
        for number in fresh {
            if let Some(Some(slot)) = self.slots.get_mut(number as usize) {
                slot.fill(attributes, peers, pages);
                rows.set_classifier(number, slot.in_tables(pages));
                written.stale.extend(&slot.subjects);
            }
        }
        written
    }
}

fn release(classes: PageClasses, pages: &mut Pages) {
    if let PageClasses::Page(page) = classes {
        pages.release(page);
    }
}

impl Slot {
    fn in_tables(&self, pages: &Pages) -> Classifier {
        Classifier::new(&self.pages, |page| pages.content(page))
    }

    /// Finds the class of a peer that is new; whether something is different.
    fn add(&mut self, peer: PeerId, peers: &Peers, pages: &mut Pages) -> bool {
        let Some(key) = peers.key(peer) else { return false };
        let mut class = Class::default();
        let mut named = self.key.attributes.iter().peekable();
        for id in &key.attributes {
            while named.next_if(|one| *one < id).is_some() {}
            if named.next_if_eq(&id).is_some() {
                class.attributes.push(*id);
            }
        }
        if self.key.is_named {
            class.ports.clone_from(&key.ports);
        }
        let class = self.number(class);
        let (page, bit) = peers::place(peer.0);
        let at = page as usize;
        let old = self.pages.get(at).copied().unwrap_or(PageClasses::Uniform(0));
        let lane = bit.trailing_zeros() as usize;
        let new = match old {
            PageClasses::Uniform(all) if all == class => return false,
            PageClasses::Uniform(_) if peers.lanes(page) == bit => PageClasses::Uniform(class),
            PageClasses::Uniform(all) => {
                let mut content = Page([all; LANES]);
                content.0[lane] = class;
                PageClasses::Page(pages.acquire(content))
            }
            PageClasses::Page(number) => {
                let mut content = pages.content(number);
                if content.0[lane] == class {
                    return false;
                }
                content.0[lane] = class;
                PageClasses::Page(pages.acquire(content))
            }
        };
        if at >= self.pages.len() {
            self.pages.resize(at + 1, PageClasses::Uniform(0));
        }
        release(std::mem::replace(&mut self.pages[at], new), pages);
        true
    }

    /// Looks at every page on which there is something of what it names.
    fn fill(&mut self, attributes: &Attributes, peers: &Peers, pages: &mut Pages) {
        let mut on_page: BTreeMap<u32, Vec<(AttributeId, u64)>> = BTreeMap::new();
        if self.key.is_named {
            on_page.extend((0..peers.page_count()).map(|page| (page, Vec::new())));
        }
        for id in &self.key.attributes {
            for (page, lanes) in attributes.get(*id).into_iter().flat_map(|named| &named.lanes) {
                on_page.entry(*page).or_default().push((*id, *lanes));
            }
        }
        for (page, named) in on_page {
            let classes = self.classify(page, &named, peers, pages);
            if classes != PageClasses::Uniform(0) {
                self.pages.resize(page as usize, PageClasses::Uniform(0));
                self.pages.push(classes);
            }
        }
    }

    /// The classes of the peers on a page, some of which have something that is
    /// named; the page of them is in use once more.
    fn classify(
        &mut self,
        page: u32,
        named: &[(AttributeId, u64)],
        peers: &Peers,
        pages: &mut Pages,
    ) -> PageClasses {
        let mut groups: Vec<(u64, Class)> = vec![(peers.lanes(page), Class::default())];
        for &(id, have) in named {
            for at in 0..groups.len() {
                let (lanes, class) = &mut groups[at];
                let (with, without) = (*lanes & have, *lanes & !have);
                if with == 0 {
                    continue;
                }
                let before = (without != 0).then(|| (without, class.clone()));
                *lanes = with;
                class.attributes.push(id);
                groups.extend(before);
            }
        }
        if self.key.is_named {
            groups = groups.into_iter().flat_map(|group| by_ports(page, group, peers)).collect();
        }
        if let [(_, class)] = &mut groups[..] {
            return PageClasses::Uniform(self.number(std::mem::take(class)));
        }
        let mut content = Page::default();
        for (mut lanes, class) in groups {
            let class = self.number(class);
            while lanes != 0 {
                content.0[lanes.trailing_zeros() as usize] = class;
                lanes &= lanes - 1;
            }
        }
        PageClasses::Page(pages.acquire(content))
    }

    /// The number of a class. Those for which no number is left share the one that
    /// no row says anything to but no.
    fn number(&mut self, class: Class) -> u16 {
        if let Some(&number) = self.numbers.get(&class) {
            return number;
        }
        let number = match u16::try_from(self.classes.len()) {
            Ok(number) if number < BEYOND => number,
            _ => {
                self.is_full = true;
                return BEYOND;
            }
        };
        let class = Arc::new(class);
        self.classes.push(class.clone());
        self.numbers.insert(class, number);
        number
    }
}

/// A group of peers on a page, by their ports.
fn by_ports(page: u32, (mut lanes, class): (u64, Class), peers: &Peers) -> Vec<(u64, Class)> {
    if lanes == 0 {
        return vec![(lanes, class)];
    }
    let mut groups: Vec<(u64, Class)> = Vec::new();
    while lanes != 0 {
        let lane = lanes.trailing_zeros();
        lanes &= lanes - 1;
        let ports = peers.ports(PeerId(page * LANES as u32 + lane));
        match groups.iter_mut().find(|(_, class)| class.ports.as_ref() == ports) {
            Some((group, _)) => *group |= 1 << lane,
            None => groups.push((1 << lane, Class { ports: ports.cloned(), ..class.clone() })),
        }
    }
    groups
}
