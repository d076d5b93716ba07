//! What becomes of what watches bring: pure, so that it can be tested.

use super::raw::Raw;
use crate::diagnostic::{Diagnostic, Severity};
use crate::object::{Key, Kind, Object};
use crate::source::Event;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use kube::runtime::watcher;
use std::collections::BTreeMap;
use std::hash::BuildHasher;

mod decode;

use decode::decode;

/// Most diagnostics about objects; the rest is counted.
const DIAGNOSTICS_MAX: usize = 1000;

/// Turns the events of the watches of all kinds into those of a source.
///
/// A list that is delivered again is swapped in whole, when its last object is
/// there; until then what was before stays. Nothing is synced before each kind
/// has been delivered once.
#[derive(Debug)]
pub struct Intake {
    kinds: BTreeMap<Kind, Progress>,
    /// What is wrong with objects that cannot be used.
    refused: BTreeMap<Key, Vec<Diagnostic>>,
    is_refused_new: bool,
    state: State,
}

/// How far the whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is in force: objects can be passed on as they come.
    Empty,
    /// A snapshot is in force, until each kind has been delivered.
    FromSnapshot,
    /// What the API says is in force.
    Synced,
}

/// One kind.
#[derive(Debug, Default)]
struct Progress {
    known: HashMap<Key, Known, FixedState>,
    /// Counts the lists.
    list: u32,
    /// All objects have been delivered once.
    is_complete: bool,
    /// What a list that is being delivered brings, or one that has been and
    /// waits for the other kinds: for each object, what was last.
    held: BTreeMap<Key, Held>,
}

#[derive(Debug)]
enum Held {
    Applied(Object),
    /// Of a network policy, [`Event::Refused`].
    Refused(Option<Object>),
    /// Only of an object that has been passed on: so no more is held than there is.
    Deleted,
}

/// What has been passed on of an object last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    Nothing,
    Refused,
    Good,
}

/// A network policy of which no good version is known.
#[derive(Clone, Debug)]
pub struct RefusedPolicy {
    /// Its key.
    pub key: Key,
    /// What of it can be understood.
    pub rest: Option<Object>,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Of UID and resource version.
    version: u64,
    /// The last list that had it.
    list: u32,
    passed: Passed,
}

impl Progress {
    /// Passes on what is held, in the order of the keys.
    fn release(&mut self, out: &mut Vec<Event>) {
        for (key, held) in std::mem::take(&mut self.held) {
            let (passed, event) = match held {
                Held::Applied(object) => (Passed::Good, Event::Applied { object, origin: None }),
                Held::Refused(rest) => (Passed::Refused, Event::Refused { key: key.clone(), rest }),
                Held::Deleted => (Passed::Nothing, Event::Deleted(key.clone())),
            };
            // What is gone may be back in a form that cannot be used.
            if let Some(known) = self.known.get_mut(&key) {
                known.passed = passed;
            }
            out.push(event);
        }
    }

    /// Holds that an object is gone; if nobody has been told of it, nobody need
    /// be told that.
    fn hold_deleted(&mut self, key: Key, passed: Passed) {
        if passed != Passed::Nothing {
            self.held.insert(key, Held::Deleted);
        } else {
            self.held.remove(&key);
        }
    }
}

impl Intake {
    /// For these kinds.
    pub fn new(kinds: &[Kind]) -> Self {
        Intake {
            kinds: kinds.iter().map(|kind| (*kind, Progress::default())).collect(),
            refused: BTreeMap::new(),
            is_refused_new: false,
            state: State::Empty,
        }
    }

    /// Takes a snapshot, which is in force until the API has delivered. What
    /// the API has delivered by now is newer: the snapshot has a say only in
    /// kinds that are not complete, and there only about objects that have not
    /// come. If the API has delivered everything, it has none.
    pub fn restore(&mut self, objects: Vec<Object>, refused: Vec<RefusedPolicy>) -> Vec<Event> {
        if self.state != State::Empty {
            return Vec::new();
        }
        self.state = State::FromSnapshot;
        let mut out = Vec::with_capacity(objects.len() + 1);
        for object in objects {
            let key = object.key();
            let Some(kind) = self.kinds.get_mut(&key.kind) else { continue };
            if kind.is_complete || kind.known.contains_key(&key) {
                continue;
            }
            let metadata = object.metadata();
            let version = version_of(metadata.uid.as_deref(), metadata.resource_version.as_deref());
            // Of no list: the one under way takes it away, unless it has it too.
            kind.known.insert(key, Known { version, list: 0, passed: Passed::Good });
            out.push(Event::Applied { object, origin: None });
        }
        for RefusedPolicy { key, rest, diagnostics } in refused {
            let Some(kind) = self.kinds.get_mut(&key.kind) else { continue };
            if kind.is_complete || kind.known.contains_key(&key) {
                continue;
            }
            // Of no version: it is looked at again when it comes.
            let version = version_of(None, None);
            kind.known.insert(key.clone(), Known { version, list: 0, passed: Passed::Refused });
            self.is_refused_new = true;
            self.refused.insert(key.clone(), diagnostics);
            out.push(Event::Refused { key, rest });
        }
        out.push(Event::Synced);
        out
    }

    /// Takes an event of a watch; appends to `out` what it means.
    pub fn take(&mut self, kind: Kind, event: watcher::Event<Raw>, out: &mut Vec<Event>) {
        match event {
            watcher::Event::Init => {
                let Some(progress) = self.kinds.get_mut(&kind) else { return };
                // What a list that broke off has held stays: it was true, and
                // what follows comes after it.
                progress.list += 1;
            }
            watcher::Event::InitApply(raw) => {
                let is_held = self.state != State::Empty;
                self.apply(kind, &raw, is_held, out);
            }
            watcher::Event::InitDone => self.list_done(kind, out),
            watcher::Event::Apply(raw) => {
                let is_held = self.state == State::FromSnapshot;
                self.apply(kind, &raw, is_held, out);
            }
            watcher::Event::Delete(raw) => {
                let is_held = self.state == State::FromSnapshot;
                let key = Key::of(kind, &raw.metadata);
                self.forget_refusal(&key);
                let Some(progress) = self.kinds.get_mut(&kind) else { return };
                let Some(known) = progress.known.remove(&key) else { return };
                if is_held {
                    progress.hold_deleted(key, known.passed);
                } else {
                    out.push(Event::Deleted(key));
                }
            }
        }
    }

    fn apply(&mut self, kind: Kind, raw: &Raw, is_held: bool, out: &mut Vec<Event>) {
        let key = Key::of(kind, &raw.metadata);
        let metadata = &raw.metadata;
        let version = version_of(metadata.uid.as_deref(), metadata.resource_version.as_deref());
        let Some(progress) = self.kinds.get_mut(&kind) else { return };
        let before = progress.known.get(&key).copied();
        let held = progress.held.get(&key);
        // Gone and back while it was held: it has been in force all the time.
        let passed = match held {
            Some(Held::Deleted) => Passed::Good,
            _ => before.map_or(Passed::Nothing, |before| before.passed),
        };
        let has_good = match held {
            Some(held) => matches!(held, Held::Applied(_)),
            None => passed == Passed::Good,
        };
        let known = Known { version, list: progress.list, passed };
        let known = progress.known.entry(key.clone()).insert(known).into_mut();
        if before.is_some_and(|before| before.version == version) {
            return;
        }
        match decode(kind, raw.text.get()) {
            Ok(object) if is_held => {
                progress.held.insert(key.clone(), Held::Applied(object));
                self.forget_refusal(&key);
            }
            Ok(object) => {
                known.passed = Passed::Good;
                out.push(Event::Applied { object, origin: None });
                self.forget_refusal(&key);
            }
            Err(refusal) => {
                let is_denied = kind.is_network_policy() && !has_good;
                let diagnostics = refusal.diagnostics(is_denied);
                self.is_refused_new |= self.refused.get(&key) != Some(&diagnostics);
                self.refused.insert(key.clone(), diagnostics);
                if is_denied && is_held {
                    progress.held.insert(key, Held::Refused(refusal.rest));
                } else if is_denied {
                    known.passed = Passed::Refused;
                    out.push(Event::Refused { key, rest: refusal.rest });
                }
            }
        }
    }

    fn list_done(&mut self, kind: Kind, out: &mut Vec<Event>) {
        let Some(progress) = self.kinds.get_mut(&kind) else { return };
        let list = progress.list;
        let gone: Vec<(Key, Known)> =
            progress.known.extract_if(|_, known| known.list != list).collect();
        progress.is_complete = true;
        for (key, known) in gone {
            self.is_refused_new |= self.refused.remove(&key).is_some();
            progress.hold_deleted(key, known.passed);
        }
        match self.state {
            // As long as nothing is in force, nothing could be contradicted.
            State::Empty | State::Synced => progress.release(out),
            State::FromSnapshot => {}
        }
        if self.state != State::Synced && self.kinds.values().all(|kind| kind.is_complete) {
            self.kinds.values_mut().for_each(|kind| kind.release(out));
            if self.state == State::Empty {
                out.push(Event::Synced);
            }
            out.push(Event::Confirmed);
            self.state = State::Synced;
        }
    }

    fn forget_refusal(&mut self, key: &Key) {
        self.is_refused_new |= self.refused.remove(key).is_some();
    }

    /// Whether what the API says is in force.
    pub fn is_synced(&self) -> bool {
        self.state == State::Synced
    }

    /// Whether each kind has been delivered once, by name.
    pub fn complete(&self) -> impl Iterator<Item = (Kind, bool)> {
        self.kinds.iter().map(|(kind, progress)| (*kind, progress.is_complete))
    }

    /// What is wrong with an object that cannot be used.
    pub fn refused(&self, key: &Key) -> &[Diagnostic] {
        self.refused.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Objects that cannot be used.
    pub fn refused_len(&self) -> usize {
        self.refused.len()
    }

    /// Whether other objects are refused than when this was last asked.
    pub fn take_refused_new(&mut self) -> bool {
        std::mem::take(&mut self.is_refused_new)
    }

    /// What is wrong with objects that cannot be used.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let all = self.refused.values().flatten();
        let mut said: Vec<_> = all.clone().take(DIAGNOSTICS_MAX).cloned().collect();
        let rest = all.count() - said.len();
        if rest > 0 {
            said.push(Diagnostic::general(
                Severity::Error,
                format!("{rest} more findings about objects that cannot be used"),
            ));
        }
        said
    }
}

/// A number for a version of an object.
fn version_of(uid: Option<&str>, resource_version: Option<&str>) -> u64 {
    FixedState::default().hash_one((uid, resource_version))
}

#[cfg(test)]
mod tests;
