//! What the files say, which of it is in force, and what is wrong with it.

use super::document::{self, Item};
use super::folder::Change;
use crate::diagnostic::{Diagnostic, Finding, Severity};
use crate::object::{Key, Object, Origin, Places};
use crate::source::Event;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

mod file;

use file::File;

/// One object of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Hash of the object's content.
    hash: u64,
    lines_before: u32,
    places: Arc<Places>,
}

impl Entry {
    fn origin(&self, file: &Arc<str>) -> Origin {
        let places = self.places.clone();
        Origin { file: file.clone(), lines_before: self.lines_before, places }
    }
}

/// All files, and which object comes from which.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Ingresses are read, and what belongs to them.
    has_ingresses: bool,
    files: BTreeMap<Arc<str>, File>,
    /// Files and folders that cannot be read, and why.
    unreadable: BTreeMap<Arc<str>, String>,
    /// Files that are being written, and what becomes of them.
    held: BTreeMap<Arc<str>, String>,
    /// The files that have an object. The one whose object is in force counts;
    /// at first, that is the first in path order.
    owners: HashMap<Key, BTreeSet<Arc<str>>>,
    /// Objects that more than one file has.
    contested: BTreeSet<Key>,
    /// Objects in force that no file has a good version of.
    stale: BTreeSet<Key>,
    /// The files that have a network policy that cannot be understood. Names are
    /// empty where they are not told.
    refusing: HashMap<Key, BTreeSet<Arc<str>>>,
    /// What has been sent of network policies of which no good version is known,
    /// by the keys under which it was sent.
    refused: HashMap<Key, BTreeMap<Key, Option<Object>>>,
    /// What has been sent: the file and its entry.
    in_force: HashMap<Key, (Arc<str>, Entry)>,
    /// What has been sent.
    diagnostics: Vec<Diagnostic>,
    is_reported: bool,
}

/// Objects that were decoded in this update, by file, key and hash: a file may
/// have a key twice.
#[derive(Debug)]
struct Fresh {
    objects: HashMap<(Arc<str>, Key, u64), Object>,
    has_ingresses: bool,
}

impl Store {
    /// Reads Ingresses, too.
    pub(super) fn with_ingresses() -> Self {
        Store { has_ingresses: true, ..Store::default() }
    }

    /// Takes changes of files and returns what they mean. `load` reads a file
    /// again, where an object is needed that was not in force before.
    pub(super) fn update(
        &mut self,
        changes: Vec<Change>,
        load: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<Event> {
        if changes.is_empty() && self.is_reported {
            return Vec::new();
        }
        let mut fresh = Fresh { objects: HashMap::new(), has_ingresses: self.has_ingresses };
        let mut touched = BTreeSet::new();
        for change in changes {
            match change {
                Change::Read(name, text) => {
                    self.can_be_read(&name);
                    let old = self.files.remove(&name);
                    let file = File::read(&name, &text, old.as_ref(), &mut fresh);
                    self.replace(&name, old, Some(file), &mut touched);
                }
                Change::Unreadable(name, reason) => {
                    self.held.remove(&name);
                    self.unreadable.insert(name, reason);
                }
                Change::Held(name, reason) => {
                    self.unreadable.remove(&name);
                    self.held.insert(name, reason);
                }
                Change::Readable(name) => self.can_be_read(&name),
                Change::Gone(name) => {
                    self.can_be_read(&name);
                    let old = self.files.remove(&name);
                    self.replace(&name, old, None, &mut touched);
                }
            }
        }
        let mut events = Vec::new();
        for key in &touched {
            self.settle(key, &mut fresh, load, &mut events);
        }
        let diagnostics = self.findings();
        if diagnostics != self.diagnostics || !self.is_reported {
            self.is_reported = true;
            self.diagnostics.clone_from(&diagnostics);
            events.push(Event::Diagnostics(diagnostics));
        }
        events
    }

    fn can_be_read(&mut self, name: &Arc<str>) {
        self.unreadable.remove(name);
        self.held.remove(name);
    }

    fn replace(
        &mut self,
        name: &Arc<str>,
        old: Option<File>,
        new: Option<File>,
        touched: &mut BTreeSet<Key>,
    ) {
        for key in old.iter().flat_map(File::denials).map(|(denial, _)| &denial.key) {
            if let Some(files) = self.refusing.get_mut(key) {
                files.remove(name);
            }
            touched.insert(key.clone());
        }
        for key in old.iter().flat_map(|file| file.entries.keys()) {
            if let Some(owners) = self.owners.get_mut(key) {
                owners.remove(name);
            }
            touched.insert(key.clone());
        }
        if let Some(new) = new {
            for key in new.denials().map(|(denial, _)| &denial.key) {
                self.refusing.entry(key.clone()).or_default().insert(name.clone());
                touched.insert(key.clone());
            }
            for key in new.entries.keys() {
                self.owners.entry(key.clone()).or_default().insert(name.clone());
                touched.insert(key.clone());
            }
            self.files.insert(name.clone(), new);
        }
    }

    /// Sends what is needed so that the right file's version is in force: that
    /// of the file whose object is in force already, as long as it has one.
    fn settle(
        &mut self,
        key: &Key,
        fresh: &mut Fresh,
        load: &dyn Fn(&str) -> Option<String>,
        events: &mut Vec<Event>,
    ) {
        let owners = self.owners.get(key).cloned().unwrap_or_default();
        if owners.len() > 1 {
            self.contested.insert(key.clone());
        } else {
            self.contested.remove(key);
        }
        self.stale.remove(key);
        if owners.is_empty() {
            self.owners.remove(key);
            let was_there = self.in_force.remove(key).is_some();
            return self.refuse(key, was_there, events);
        }
        let current = self.in_force.get(key);
        let owner = current.map(|(file, _)| file).filter(|file| owners.contains(*file)).cloned();
        let candidates = owner.map_or(owners, |owner| BTreeSet::from([owner]));
        for name in candidates {
            let Some(entry) = self.files.get(&name).and_then(|file| file.entries.get(key)) else {
                continue;
            };
            let origin = entry.origin(&name);
            let event = match current {
                Some((file, old)) if *file == name && old == entry => return,
                Some((_, old)) if old.hash == entry.hash => {
                    Some(Event::Moved { key: key.clone(), origin })
                }
                _ => {
                    let object = fresh.objects.remove(&(name.clone(), key.clone(), entry.hash));
                    let again = || decode_again(&load(&name)?, &name, key, entry.hash);
                    let object = object.or_else(again);
                    object.map(|object| Event::Applied { object, origin: Some(origin) })
                }
            };
            // None: a last good version that is no longer in its file and was
            // not in force, or a file that has changed meanwhile and is read
            // soon.
            if let Some(event) = event {
                events.push(event);
                let entry = (name.clone(), entry.clone());
                self.in_force.insert(key.clone(), entry);
                let refused = self.refused.remove(key).unwrap_or_default();
                let others = refused.into_keys().filter(|refused| refused != key);
                events.extend(others.map(Event::Deleted));
                return;
            }
        }
        if self.in_force.contains_key(key) {
            self.stale.insert(key.clone());
            return;
        }
        self.refuse(key, false, events);
    }

    /// Sends what is needed of an object of which no good version is known.
    /// `was_there`: one was, until now.
    fn refuse(&mut self, key: &Key, was_there: bool, events: &mut Vec<Event>) {
        let wanted = self.denials(key);
        let sent = self.refused.remove(key).unwrap_or_default();
        let mut gone: BTreeSet<&Key> = sent.keys().collect();
        gone.extend(was_there.then_some(key));
        let gone = gone.into_iter().filter(|key| !wanted.contains_key(*key));
        events.extend(gone.cloned().map(Event::Deleted));
        let new = wanted.iter().filter(|(key, rest)| sent.get(*key) != Some(*rest));
        events
            .extend(new.map(|(key, rest)| Event::Refused { key: key.clone(), rest: rest.clone() }));
        if !wanted.is_empty() {
            self.refused.insert(key.clone(), wanted);
        } else if self.refusing.get(key).is_some_and(BTreeSet::is_empty) {
            self.refusing.remove(key);
        }
    }

    /// What files deny because of a network policy that they have broken, by keys
    /// of their own: the first one keeps the policy's, others, and those without a
    /// name, are told by where they stand.
    fn denials(&self, key: &Key) -> BTreeMap<Key, Option<Object>> {
        let mut all = BTreeMap::new();
        for name in self.refusing.get(key).into_iter().flatten() {
            let denials = self.files.get(name).into_iter().flat_map(File::denials);
            for (denial, place) in denials.filter(|(denial, _)| denial.key == *key) {
                let own: Arc<str> = match &*key.name {
                    "" => format!("({name} {place})").into(),
                    _ if all.is_empty() => key.name.clone(),
                    of => format!("{of} ({name} {place})").into(),
                };
                let rest = denial.rest.as_deref().cloned();
                all.insert(Key { name: own, ..key.clone() }, rest);
            }
        }
        all
    }

    fn findings(&self) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = Vec::new();
        for (path, reason) in &self.unreadable {
            let message = format!("cannot be read: {reason}; what was read before stays in force");
            all.push(of_file(path, Severity::Error, message));
        }
        for (path, reason) in &self.held {
            all.push(of_file(path, Severity::Warning, reason.clone()));
        }
        for (name, file) in &self.files {
            let owner = |key: &Key| self.in_force.get(key).map(|(file, _)| file);
            file.findings(name, &owner, &mut all);
        }
        for key in &self.contested {
            self.contest(key, &mut all);
        }
        for key in &self.stale {
            let Some((file, _)) = self.in_force.get(key) else { continue };
            let message = format!("no file has a good version; what {file} had stays in force");
            all.push(Finding::error("", message).at(key, None));
        }
        all.extend(self.other_kinds());
        all.sort_by(Diagnostic::order);
        all
    }

    /// The same object in several files.
    fn contest(&self, key: &Key, all: &mut Vec<Diagnostic>) {
        let Some((winner, entry)) = self.in_force.get(key) else { return };
        let line = entry.origin(winner).locate("").0;
        for other in self.owners.get(key).into_iter().flatten().filter(|name| *name != winner) {
            // Of what is broken there, more is said elsewhere.
            let Some(entry) = self.files.get(other).and_then(|file| file.good(key)) else {
                continue;
            };
            let message = format!(
                "{winner}:{line} has the same object, which is in force; this one is ignored"
            );
            let finding = Finding::error("", message).expected("each object in one place");
            all.push(finding.at(key, Some(&entry.origin(other))));
        }
    }

    fn other_kinds(&self) -> Option<Diagnostic> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for kind in self.files.values().flat_map(File::other_kinds) {
            *counts.entry(kind).or_default() += 1;
        }
        let total: usize = counts.values().sum();
        if total == 0 {
            return None;
        }
        let list: Vec<_> = counts.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
        let message = format!("objects of other kinds are not used: {}", list.join(", "));
        Some(Diagnostic::general(Severity::Info, message))
    }
}

/// A diagnostic about a file or folder as a whole.
fn of_file(path: &str, severity: Severity, message: String) -> Diagnostic {
    let file = if path.is_empty() { "." } else { path };
    Diagnostic { file: Some(file.to_owned()), ..Diagnostic::general(severity, message) }
}

fn decode_again(text: &str, name: &Arc<str>, key: &Key, hash: u64) -> Option<Object> {
    // It was an object of use when it was first read.
    let parts = document::split(text).into_iter();
    let mut items = parts.flat_map(|(_, part)| document::decode(part, name, true));
    items.find_map(|item| match item {
        Item::Object { key: k, object, hash: h, .. } if k == *key && h == hash => Some(object),
        _ => None,
    })
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
