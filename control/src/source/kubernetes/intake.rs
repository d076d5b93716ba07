//! What becomes of what watches bring: pure, so that it can be tested.

use super::raw::Raw;
use crate::diagnostic::{Diagnostic, Finding, Severity};
use crate::object::{Broken, Key, Kind, Object, decode_text};
use crate::source::Event;
use crate::validate;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use kube::runtime::watcher;
use std::collections::BTreeMap;
use std::hash::BuildHasher;

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
    /// A list is being delivered, or has been and waits for the other kinds.
    held: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Of UID and resource version.
    version: u64,
    /// The last list that had it.
    list: u32,
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

    /// Takes a snapshot, which is in force until the API has delivered.
    pub fn restore(&mut self, objects: Vec<Object>) -> Vec<Event> {
        self.state = State::FromSnapshot;
        let mut out = Vec::with_capacity(objects.len() + 1);
        for object in objects {
            let key = object.key();
            let metadata = object.metadata();
            let version = version_of(metadata.uid.as_deref(), metadata.resource_version.as_deref());
            let Some(kind) = self.kinds.get_mut(&key.kind) else { continue };
            kind.known.insert(key, Known { version, list: 0 });
            out.push(Event::Applied { object, origin: None });
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
                if progress.known.remove(&key).is_some() {
                    let out = if is_held { &mut progress.held } else { out };
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
        let known = Known { version, list: progress.list };
        let before = progress.known.insert(key.clone(), known);
        if before.is_some_and(|before| before.version == version) {
            return;
        }
        match decode(kind, raw.text.get()) {
            Ok(object) => {
                let out = if is_held { &mut progress.held } else { out };
                out.push(Event::Applied { object, origin: None });
                self.forget_refusal(&key);
            }
            Err(diagnostics) => {
                self.is_refused_new |= self.refused.get(&key) != Some(&diagnostics);
                self.refused.insert(key, diagnostics);
            }
        }
    }

    fn list_done(&mut self, kind: Kind, out: &mut Vec<Event>) {
        let Some(progress) = self.kinds.get_mut(&kind) else { return };
        let list = progress.list;
        let gone: Vec<Key> =
            progress.known.extract_if(|_, known| known.list != list).map(|(key, _)| key).collect();
        progress.is_complete = true;
        progress.held.extend(gone.iter().cloned().map(Event::Deleted));
        for key in &gone {
            self.forget_refusal(key);
        }
        match self.state {
            State::Synced => out.append(&mut self.kinds.entry(kind).or_default().held),
            _ if self.kinds.values().all(|progress| progress.is_complete) => {
                for progress in self.kinds.values_mut() {
                    out.append(&mut progress.held);
                }
                if self.state == State::Empty {
                    out.push(Event::Synced);
                }
                out.push(Event::Confirmed);
                self.state = State::Synced;
            }
            // Nothing is in force yet that could be contradicted.
            State::Empty => out.append(&mut self.kinds.entry(kind).or_default().held),
            State::FromSnapshot => {}
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
            said.push(Diagnostic::of_source(
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

/// Decodes and checks an object; without what nobody reads.
fn decode(kind: Kind, text: &str) -> Result<Object, Vec<Diagnostic>> {
    let (object, mut findings) = match decode_text(kind, text) {
        Ok(object) => (Some(object), Vec::new()),
        Err(Broken { errors, rest }) => {
            let finding = |error: crate::object::DecodeError| Finding {
                severity: Severity::Error,
                path: error.path,
                message: error.message,
                expected: error.expected,
            };
            (rest, errors.into_iter().map(finding).collect())
        }
    };
    if let Some(object) = &object {
        findings.extend(validate::refusals(object));
    }
    match object {
        Some(mut object) if findings.is_empty() => {
            strip(&mut object);
            Ok(object)
        }
        object => {
            let key = object.map(|object| object.key());
            let key = key.unwrap_or_else(|| key_in(kind, text));
            let at = |finding: &Finding| {
                let mut said = finding.at(&key, None);
                said.message.push_str("; its last good version stays in force");
                said
            };
            Err(findings.iter().map(at).collect())
        }
    }
}

fn key_in(kind: Kind, text: &str) -> Key {
    match serde_json::from_str::<Raw>(text) {
        Ok(raw) => Key::of(kind, &raw.metadata),
        Err(_) => Key::of(kind, &Default::default()),
    }
}

/// Drops what is large and not read.
fn strip(object: &mut Object) {
    object.metadata_mut().managed_fields = None;
    match object {
        Object::Node(node) => {
            if let Some(status) = &mut node.status {
                status.images = None;
            }
        }
        Object::Pod(pod) => {
            if let Some(spec) = &mut pod.spec {
                spec.volumes = None;
                for container in
                    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten())
                {
                    container.env = None;
                    container.volume_mounts = None;
                    container.command = None;
                    container.args = None;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
