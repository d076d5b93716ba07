//! What is wrong with a configuration file, where, and what was expected instead.

use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not do what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The source line (a window of it where the line is long).
    pub source_line: String,
    /// Characters of `source_line` before the caret.
    pub caret_start: usize,
    /// Number of carets, at least 1.
    pub caret_len: usize,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// File name as given.
    pub file: String,
    /// Where; `None` if the file could not be read at all.
    pub location: Option<Location>,
    /// Key path such as `ports[1].addresses[0]`; empty for the file as a whole.
    pub path: String,
    /// What was found.
    pub message: String,
    /// What was expected.
    pub expected: Option<String>,
    /// How to mend it, where a guess is likely right.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error of the file as a whole.
    pub(crate) fn of_file(file: &str, message: String) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            location: None,
            path: String::new(),
            message,
            expected: None,
            help: None,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(location) = &self.location {
            write!(f, ":{}:{}", location.line, location.column)?;
        }
        write!(f, ": {}: ", self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "\n    expected {expected}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n    help: {help}")?;
        }
        if let Some(Location { line, source_line, caret_start, caret_len, .. }) = &self.location {
            let number = line.to_string();
            let (margin, indent) = (" ".repeat(number.len()), " ".repeat(*caret_start));
            let carets = "^".repeat((*caret_len).max(1));
            write!(f, "\n    {number} | {source_line}\n    {margin} | {indent}{carets}")?;
        }
        Ok(())
    }
}

/// Every finding of a file that cannot be used: at least one error, and the warnings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The findings in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
