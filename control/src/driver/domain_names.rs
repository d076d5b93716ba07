//! What domain names stand for: learned from DNS answers, which go on when every
//! worker knows it.

use super::Control;
use crate::domain_names::{ADDRESSES_MAX, DomainNames, Reading, Unread, message};
use crate::publish::{HeldAnswer, Histogram};
use crate::view::{DomainNameView, NamesMetrics};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Names, and the answers that wait for them.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: DomainNames,
    /// The version of the tables that knows all that has been learned; `None`: the
    /// next one.
    known_by: Option<u64>,
    /// Answers that wait for a version, in the order of the versions; `None`: for
    /// the next one.
    waiting: VecDeque<Waiting>,
    counts: Counts,
    held: Histogram,
}

#[derive(Debug)]
struct Waiting {
    answer: HeldAnswer,
    taken: Duration,
    version: Option<u64>,
}

/// What has become of answers.
#[derive(Debug, Default)]
struct Counts {
    learned: u64,
    known: u64,
    unwanted: u64,
    unread: BTreeMap<Unread, u64>,
    /// Addresses that found no room.
    left_out: u64,
    /// Addresses that no name may have, or not this one.
    refused: u64,
    /// Names that made room for others.
    given_up: u64,
}

impl Control {
    /// Takes the answers that workers hold; true if there is something new, which
    /// is to be published.
    pub(super) fn take_answers(&mut self, now: Duration) -> bool {
        let mut is_new = false;
        for (worker, answer) in self.publisher.take_answers() {
            let version = match message::read(&answer.message) {
                Ok(reading) => {
                    let learned = self.learn(&reading, now);
                    is_new |= learned == Some(true);
                    learned.map(|_| self.domain_names.known_by)
                }
                Err(unread) => {
                    *self.domain_names.counts.unread.entry(unread).or_default() += 1;
                    None
                }
            };
            match version {
                // Whoever nobody asks about waits for nobody.
                None => self.publisher.release(worker, answer.id, answer.message),
                Some(version) => {
                    let answer = (worker, answer);
                    self.domain_names.waiting.push_back(Waiting { answer, taken: now, version });
                }
            }
        }
        if is_new {
            self.event_at.get_or_insert(now);
        }
        is_new
    }

    /// Learns what an answer says of names that policies name; whether any of it is
    /// new, or `None` if none of the names is theirs.
    fn learn<'a>(&mut self, reading: &'a Reading, now: Duration) -> Option<bool> {
        let pattern = |name: &'a String| Some((name, self.compiler.pattern_of(name)?));
        let wanted: Vec<(&'a String, String)> = reading.names.iter().filter_map(pattern).collect();
        let Names { names, counts, known_by, .. } = &mut self.domain_names;
        if wanted.is_empty() {
            counts.unwanted += 1;
            return None;
        }
        let mut is_new = false;
        let mut changed = BTreeSet::new();
        for (name, pattern) in wanted {
            let may_have = |addr: &IpAddr| self.compiler.may_have(name, *addr);
            let mut addresses = reading.addresses.clone();
            addresses.retain(|addr, _| may_have(addr));
            counts.refused += (reading.addresses.len() - addresses.len()) as u64;
            let learned = names.learn(now, name, &pattern, &addresses);
            counts.left_out += learned.left_out as u64;
            counts.given_up += learned.given_up.len() as u64;
            is_new |= learned.is_new;
            changed.extend(learned.given_up);
            changed.extend(learned.is_new.then(|| name.as_str().into()));
        }
        for name in changed {
            self.compiler.set_name(&name, names.addresses(&name));
        }
        if is_new {
            counts.learned += 1;
            *known_by = None;
        } else {
            counts.known += 1;
        }
        Some(is_new)
    }

    /// The tables of the compiler know all that has been learned.
    pub(super) fn note_names(&mut self) {
        let version = self.compiler.tables().version;
        let Names { known_by, waiting, .. } = &mut self.domain_names;
        known_by.get_or_insert(version);
        for waiting in waiting.iter_mut().rev() {
            if waiting.version.is_some() {
                break;
            }
            waiting.version = Some(version);
        }
    }

    /// Releases the answers whose addresses are live on every worker.
    pub(super) fn release_answers(&mut self, now: Duration) {
        let live = self.publisher.live();
        while let Some(waiting) = self
            .domain_names
            .waiting
            .pop_front_if(|waiting| waiting.version.is_some_and(|version| version <= live))
        {
            let (worker, answer) = waiting.answer;
            self.domain_names.held.record(now.saturating_sub(waiting.taken));
            self.publisher.release(worker, answer.id, answer.message);
        }
    }

    /// Ends what names have whose time is over: it lapses, and is forgotten later.
    pub(super) fn expire_names(&mut self, now: Duration) {
        for name in self.domain_names.names.expire(now) {
            self.compiler.set_name(&name, self.domain_names.names.addresses(&name));
            self.event_at.get_or_insert(now);
        }
    }

    /// All names that are known.
    pub(super) fn names_view(&self) -> Vec<DomainNameView> {
        let now = self.clock.now();
        let names = self.domain_names.names.iter();
        names
            .map(|(name, addresses)| DomainNameView {
                name: name.to_owned(),
                wanted: self.compiler.pattern_of(name).is_some(),
                addresses: addresses
                    .iter()
                    .take(ADDRESSES_MAX)
                    .map(|(addr, until)| (addr.to_string(), until.saturating_sub(now).as_secs()))
                    .collect(),
            })
            .collect()
    }

    pub(super) fn names_metrics(&self) -> NamesMetrics {
        let Names { names, waiting, counts, held, .. } = &self.domain_names;
        let lapsed_len = names.lapsed_len();
        let (names, addresses) = names.len();
        let unread = |cause: &Unread| counts.unread.get(cause).copied().unwrap_or(0);
        let results =
            [("learned", counts.learned), ("known", counts.known), ("unwanted", counts.unwanted)];
        let unread = Unread::ALL.iter().map(|cause| (cause.as_str(), unread(cause)));
        NamesMetrics {
            names,
            addresses,
            answers: results
                .into_iter()
                .chain(unread)
                .map(|(result, count)| (result.to_owned(), count))
                .collect(),
            lapsed: lapsed_len,
            addresses_left_out: counts.left_out,
            addresses_refused: counts.refused,
            given_up: counts.given_up,
            waiting: waiting.len(),
            held: held.clone(),
        }
    }
}
