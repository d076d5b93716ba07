use crate::object::{Key, Origin};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that was asked for is not in force.
    Error,
    /// In force, but probably not what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        })
    }
}

/// What Events call a finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Something is wrong. Only errors become Events.
    #[default]
    Invalid,
    /// An annotation that is not supported.
    UnsupportedAnnotation,
    /// Another object says otherwise, and counts.
    Contradiction,
}

impl Reason {
    /// The reason of the Event.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Invalid => "Invalid",
            Reason::UnsupportedAnnotation => "UnsupportedAnnotation",
            Reason::Contradiction => "Contradiction",
        }
    }
}

/// Something about an object, before it is known where the object stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Key path inside the object, such as `spec.ports[0].targetPort`.
    pub path: String,
    /// What was found, and what goes on without it.
    pub message: String,
    /// What was expected.
    pub expected: Option<String>,
    /// What Events call it.
    pub reason: Reason,
}

impl Finding {
    /// An error.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Error,
            path: path.into(),
            message: message.into(),
            expected: None,
            reason: Reason::Invalid,
        }
    }

    /// A warning.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, ..Finding::error(path, message) }
    }

    /// The same, with what was expected.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// The same, as Events call it.
    pub fn reason(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// The text without the object, for those who look at that.
    pub fn note(&self) -> String {
        note(&self.path, &self.message, self.expected.as_deref())
    }

    /// The same with its place.
    pub fn at(&self, key: &Key, origin: Option<&Origin>) -> Diagnostic {
        let place = origin.map(|origin| origin.locate(&self.path));
        Diagnostic {
            severity: self.severity,
            file: origin.map(|origin| origin.file.to_string()),
            line: place.map(|place| place.0),
            column: place.map(|place| place.1),
            object: Some(key.to_string()),
            path: self.path.clone(),
            message: self.message.clone(),
            expected: self.expected.clone(),
        }
    }
}

/// The findings of many subjects, such as objects.
#[derive(Clone, Debug)]
pub struct Findings<S, T = Finding> {
    by_subject: BTreeMap<S, Vec<T>>,
    /// The subjects that have changed since [`Findings::take_new`], and what
    /// was found about them before.
    before: BTreeMap<S, Vec<T>>,
}

impl<S, T> Default for Findings<S, T> {
    fn default() -> Self {
        Findings { by_subject: BTreeMap::new(), before: BTreeMap::new() }
    }
}

impl<S: Ord + Clone, T: Ord + Clone> Findings<S, T> {
    /// Sets what was found about a subject.
    pub fn set(&mut self, subject: S, findings: Vec<T>) {
        let old = self.by_subject.get(&subject).map(Vec::as_slice).unwrap_or_default();
        if old == findings {
            return;
        }
        let old = match findings.is_empty() {
            true => self.by_subject.remove(&subject),
            false => self.by_subject.insert(subject.clone(), findings),
        };
        self.before.entry(subject).or_insert(old.unwrap_or_default());
    }

    /// What is found now and was not when this was last called. It looks only
    /// at subjects that have changed.
    pub fn take_new(&mut self) -> Vec<(S, T)> {
        let mut new = Vec::new();
        for (subject, before) in std::mem::take(&mut self.before) {
            let before: BTreeSet<T> = before.into_iter().collect();
            let now = self.by_subject.get(&subject).into_iter().flatten();
            let is_new = now.filter(|finding| !before.contains(finding));
            new.extend(is_new.map(|finding| (subject.clone(), finding.clone())));
        }
        new
    }

    /// All findings, in the order of the subjects.
    pub fn iter(&self) -> impl Iterator<Item = (&S, &T)> {
        self.by_subject.iter().flat_map(|(subject, all)| all.iter().map(move |one| (subject, one)))
    }
}

/// A finding with its place. Prints as `file:line:column: severity: object:
/// path: message`, and what was expected on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the folder of manifests.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column in characters, from 1.
    pub column: Option<u32>,
    /// The object, such as `Service shop/web`.
    pub object: Option<String>,
    /// Key path inside the object; empty for the object as a whole.
    pub path: String,
    /// What was found, and what goes on without it.
    pub message: String,
    /// What was expected.
    pub expected: Option<String>,
}

impl Diagnostic {
    /// About no object, and nothing in a file.
    pub fn general(severity: Severity, message: impl Into<String>) -> Self {
        Diagnostic {
            severity,
            file: None,
            line: None,
            column: None,
            object: None,
            path: String::new(),
            message: message.into(),
            expected: None,
        }
    }

    /// The text without the place and the object, for those who look at that.
    pub fn note(&self) -> String {
        note(&self.path, &self.message, self.expected.as_deref())
    }

    /// Orders by file, place, then text: a stable order for people and tests.
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        let key = |d: &Self| (d.file.clone(), d.line, d.column, d.object.clone());
        key(self)
            .cmp(&key(other))
            .then_with(|| self.path.cmp(&other.path))
            .then_with(|| self.message.cmp(&other.message))
    }
}

fn note(path: &str, message: &str, expected: Option<&str>) -> String {
    let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let expected = expected.map(|expected| format!("; expected {expected}"));
    format!("{path}{message}{}", expected.unwrap_or_default())
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            if let Some(line) = self.line {
                write!(f, ":{line}:{}", self.column.unwrap_or(1))?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}: ", self.severity)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "\n    expected {expected}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_once_and_what_came_and_went_never() {
        let mut findings: Findings<u8, &str> = Findings::default();
        findings.set(1, vec!["a", "b"]);
        findings.set(2, vec!["c"]);
        assert_eq!(findings.take_new(), [(1, "a"), (1, "b"), (2, "c")]);
        assert!(findings.take_new().is_empty());
        findings.set(1, vec!["b", "d"]);
        findings.set(2, vec![]);
        findings.set(3, vec!["e"]);
        findings.set(3, vec![]);
        assert_eq!(findings.take_new(), [(1, "d")]);
        // Gone in between, and back before anybody has looked.
        findings.set(1, vec![]);
        findings.set(1, vec!["b", "d"]);
        assert!(findings.take_new().is_empty());
        assert_eq!(findings.iter().count(), 2);
    }
}
