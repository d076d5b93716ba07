use super::{Entry, Fresh, hash_of};
use crate::diagnostic::{Diagnostic, Finding, Severity};
use crate::object::{Key, Places};
use crate::source::manifests::document::{self, Denial, Item};
use crate::source::refused::DENIED;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Most objects that one message names.
const KEPT_NAMES_MAX: usize = 3;

/// What one file says.
#[derive(Debug)]
pub(super) struct File {
    documents: Vec<Part>,
    /// The objects that count, last good versions of broken ones included.
    pub(super) entries: BTreeMap<Key, Entry>,
    /// Objects of [`File::entries`] that are there only because the file had
    /// them before.
    kept: BTreeSet<Key>,
    /// Objects that stand twice: the second one's place, the first one's line.
    twice: Vec<(Key, Entry, u32)>,
}

/// One document.
#[derive(Clone, Debug)]
struct Part {
    text_hash: u64,
    lines_before: u32,
    outcomes: Arc<Vec<Outcome>>,
}

/// What one object of a document turned out to be, without the object itself.
#[derive(Debug)]
enum Outcome {
    Object { key: Key, hash: u64, places: Arc<Places>, warnings: Vec<Diagnostic> },
    OtherKind { kind: String, warning: Option<Diagnostic> },
    Refused { key: Option<Key>, denials: Vec<Denial>, diagnostics: Vec<Diagnostic> },
}

impl File {
    /// Reads a file. Documents that are as in `old` are not decoded again;
    /// what is decoded goes to `fresh`.
    pub(super) fn read(name: &Arc<str>, text: &str, old: Option<&File>, fresh: &mut Fresh) -> File {
        let known: HashMap<u64, &Part> = old
            .iter()
            .flat_map(|file| &file.documents)
            .map(|part| (part.text_hash, part))
            .collect();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let documents = document::split(text)
            .into_iter()
            .map(|(lines_before, text)| {
                let text_hash = hash_of(text);
                match known.get(&text_hash) {
                    Some(part) => Part { lines_before, ..(*part).clone() },
                    None => Part {
                        text_hash,
                        lines_before,
                        outcomes: Arc::new(decode(text, name, fresh)),
                    },
                }
            })
            .collect();
        let mut file =
            File { documents, entries: BTreeMap::new(), kept: BTreeSet::new(), twice: Vec::new() };
        file.collect();
        if let Some(old) = old {
            file.keep_last_good(old);
        }
        file
    }

    fn collect(&mut self) {
        for part in &self.documents {
            for outcome in part.outcomes.iter() {
                let Outcome::Object { key, hash, places, .. } = outcome else { continue };
                let entry =
                    Entry { hash: *hash, lines_before: part.lines_before, places: places.clone() };
                match self.entries.get(key) {
                    Some(first) => {
                        let line = first.lines_before + first.places.locate("").line;
                        self.twice.push((key.clone(), entry, line));
                    }
                    None => drop(self.entries.insert(key.clone(), entry)),
                }
            }
        }
    }

    /// An object whose document is broken stays as it was. If it cannot be told
    /// which object a broken document is about, all that are missing stay.
    fn keep_last_good(&mut self, old: &File) {
        let refused: Vec<Option<&Key>> = self
            .outcomes()
            .filter_map(|(_, outcome)| match outcome {
                Outcome::Refused { key, .. } => Some(key.as_ref()),
                _ => None,
            })
            .collect();
        let kept: Vec<(Key, Entry)> = old
            .entries
            .iter()
            .filter(|(key, _)| !self.entries.contains_key(*key))
            .filter(|(key, _)| refused.iter().any(|refused| refused.is_none_or(|r| r == *key)))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        for (key, entry) in kept {
            self.kept.insert(key.clone());
            self.entries.insert(key, entry);
        }
    }

    fn outcomes(&self) -> impl Iterator<Item = (&Part, &Outcome)> {
        self.documents.iter().flat_map(|part| part.outcomes.iter().map(move |o| (part, o)))
    }

    /// The kinds of its objects that are of no use here.
    pub(super) fn other_kinds(&self) -> impl Iterator<Item = &str> {
        self.outcomes().filter_map(|(_, outcome)| match outcome {
            Outcome::OtherKind { kind, warning: None } => Some(kind.as_str()),
            _ => None,
        })
    }

    /// The network policies that it may have and that cannot be understood, and
    /// where they stand in it. Their names are empty where they are not told.
    pub(super) fn denials(&self) -> impl Iterator<Item = (&Denial, String)> {
        self.documents.iter().enumerate().flat_map(|(i, part)| {
            let outcomes = part.outcomes.iter();
            let denials = outcomes.flat_map(|outcome| self.denials_of(outcome)).enumerate();
            denials.map(move |(j, denial)| {
                let more = if j > 0 { format!(" ({})", j + 1) } else { String::new() };
                (denial, format!("document {}{more}", i + 1))
            })
        })
    }

    fn denials_of<'a>(&'a self, outcome: &'a Outcome) -> impl Iterator<Item = &'a Denial> {
        let denials = match outcome {
            Outcome::Refused { denials, .. } => denials.as_slice(),
            _ => &[],
        };
        // Without a name, it may be another version of one that stays.
        let is_kept = |key: &Key| {
            let is_like = |k: &&Key| k.kind == key.kind && k.namespace == key.namespace;
            key.name.is_empty() && self.kept.iter().any(|kept| is_like(&kept))
        };
        denials.iter().filter(move |denial| !is_kept(&denial.key))
    }

    /// Whether its text alone counts.
    #[cfg(test)]
    pub(super) fn keeps_nothing(&self) -> bool {
        self.kept.is_empty()
    }

    /// An object that its text has.
    pub(super) fn good(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key).filter(|_| !self.kept.contains(key))
    }

    /// Adds what is wrong with it. `owner` tells which file's version of an
    /// object is in force.
    pub(super) fn findings<'a>(
        &self,
        name: &Arc<str>,
        owner: &dyn Fn(&Key) -> Option<&'a Arc<str>>,
        all: &mut Vec<Diagnostic>,
    ) {
        for (part, outcome) in self.outcomes() {
            let at_place = |diagnostic: &Diagnostic| Diagnostic {
                file: Some(name.to_string()),
                line: diagnostic.line.map(|line| line + part.lines_before),
                ..diagnostic.clone()
            };
            let (key, diagnostics) = match outcome {
                Outcome::Object { warnings, .. } => {
                    all.extend(warnings.iter().map(at_place));
                    continue;
                }
                Outcome::OtherKind { warning, .. } => {
                    all.extend(warning.iter().map(at_place));
                    continue;
                }
                Outcome::Refused { key, diagnostics, .. } => (key, diagnostics),
            };
            let is_denied = self.denials_of(outcome).any(|denial| owner(&denial.key).is_none());
            let consequence = match key {
                Some(key) if self.kept.contains(key) => match owner(key) {
                    Some(other) if other != name => format!("that of {other} stays in force"),
                    _ => "its last good version stays in force".to_owned(),
                },
                Some(_) if is_denied => DENIED.to_owned(),
                Some(_) => "the object is ignored".to_owned(),
                None => match names(self.kept.iter().filter(|key| owner(key) == Some(name))) {
                    names if names.is_empty() && is_denied => DENIED.to_owned(),
                    names if names.is_empty() => "this document is ignored".to_owned(),
                    names => {
                        let more = if is_denied { format!("; {DENIED}") } else { String::new() };
                        format!("what the file had before stays in force: {names}{more}")
                    }
                },
            };
            all.extend(diagnostics.iter().map(at_place).map(|mut diagnostic| {
                if diagnostic.severity == Severity::Error {
                    diagnostic.message.push_str(&format!("; {consequence}"));
                }
                diagnostic
            }));
        }
        for (key, entry, line) in &self.twice {
            let message = format!("line {line} has the same object; this one is ignored");
            let finding = Finding::error("", message).expected("each object in one place");
            all.push(finding.at(key, Some(&entry.origin(name))));
        }
    }
}

/// The first of some objects, and how many more there are.
fn names<'a>(keys: impl Iterator<Item = &'a Key>) -> String {
    let mut names: Vec<_> = keys.map(Key::to_string).collect();
    let more = names.len().saturating_sub(KEPT_NAMES_MAX);
    names.truncate(KEPT_NAMES_MAX);
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}

fn decode(text: &str, name: &Arc<str>, fresh: &mut Fresh) -> Vec<Outcome> {
    let outcome = |item| match item {
        Item::Object { key, object, hash, places, warnings } => {
            fresh.objects.insert((name.clone(), key.clone(), hash), object);
            Outcome::Object { key, hash, places, warnings }
        }
        Item::OtherKind { kind, warning } => Outcome::OtherKind { kind, warning },
        Item::Refused { key, denials, diagnostics } => {
            Outcome::Refused { key, denials, diagnostics }
        }
    };
    let items = document::decode(text, name, fresh.has_ingresses);
    items.into_iter().map(outcome).collect()
}
