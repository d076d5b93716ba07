use crate::object::{Key, Origin};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
}

impl Finding {
    /// An error.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Error,
            path: path.into(),
            message: message.into(),
            expected: None,
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
    version: u64,
}

impl<S, T> Default for Findings<S, T> {
    fn default() -> Self {
        Findings { by_subject: BTreeMap::new(), version: 0 }
    }
}

impl<S: Ord, T: PartialEq> Findings<S, T> {
    /// Sets what was found about a subject.
    pub fn set(&mut self, subject: S, findings: Vec<T>) {
        let old = self.by_subject.get(&subject).map(Vec::as_slice).unwrap_or_default();
        if old == findings {
            return;
        }
        self.version += 1;
        if findings.is_empty() {
            self.by_subject.remove(&subject);
        } else {
            self.by_subject.insert(subject, findings);
        }
    }

    /// All findings, in the order of the subjects.
    pub fn iter(&self) -> impl Iterator<Item = (&S, &T)> {
        self.by_subject.iter().flat_map(|(subject, all)| all.iter().map(move |one| (subject, one)))
    }

    /// Counts the changes.
    pub fn version(&self) -> u64 {
        self.version
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
    /// About the source as a whole.
    pub fn of_source(severity: Severity, message: impl Into<String>) -> Self {
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
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let expected = self.expected.as_ref().map(|expected| format!("; expected {expected}"));
        format!("{path}{}{}", self.message, expected.unwrap_or_default())
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
