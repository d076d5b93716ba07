//! Reading typed values out of the tree, with every failure reported and none hiding another.

mod fields;

mod values;

mod net;

mod suggest;

use std::path::{Path, PathBuf};

pub(crate) use self::fields::{Field, Fields};
pub(crate) use self::net::{
    address_range, host_address, interface_address, kernel_address, listen_address, mac_address,
    not_a_host, pool_prefix, route_prefix, socket_address,
};
pub use self::suggest::closest;
pub(crate) use self::values::{
    boolean, choice, integer, integer_because, is_label, is_subdomain, label, list, path,
    power_of_two, seconds, text,
};
use crate::diagnostic::{Diagnostic, Errors, Location, Severity};
use crate::yaml::Span;

/// Most findings that are kept; the rest is counted.
const FINDINGS_MAX: usize = 200;

/// Characters of a key that a path repeats: only unknown keys are longer.
const PATH_KEY_MAX: usize = 60;

/// Characters of a source line that are shown, and how many of them before the place.
const WINDOW: usize = 120;
const WINDOW_BEFORE: usize = 60;

/// Proof that an error was reported: a value is missing for a reason that the user gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported(());

/// A place in the text and the key path of what stands there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spot {
    pub span: Span,
    pub path: String,
}

impl Spot {
    /// A place that belongs to no key.
    pub(crate) fn whole(span: Span) -> Self {
        Self { span, path: String::new() }
    }

    /// The value of a key of the mapping here.
    pub(crate) fn key(&self, name: &str, span: Span) -> Self {
        let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let name: String = name.chars().take(PATH_KEY_MAX).map(printable).collect();
        let separator = if self.path.is_empty() { "" } else { "." };
        Self { span, path: format!("{}{separator}{name}", self.path) }
    }

    /// An element of the list here.
    pub(crate) fn element(&self, index: usize, span: Span) -> Self {
        Self { span, path: format!("{}[{index}]", self.path) }
    }

    /// The path and line, to refer to this place from another message.
    pub(crate) fn refer(&self) -> String {
        format!("`{}` (line {})", self.path, self.span.line)
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Located<T> {
    pub value: T,
    pub spot: Spot,
}

/// The text being read and what was found wrong so far.
pub(crate) struct Reader<'t> {
    file: &'t str,
    folder: &'t Path,
    text: &'t str,
    findings: Vec<(usize, Diagnostic)>,
    errors: usize,
    left_out: usize,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(file: &'t str, folder: &'t Path, text: &'t str) -> Self {
        Self { file, folder, text, findings: Vec::new(), errors: 0, left_out: 0 }
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// A path of the file, taken from the file's folder if it is relative.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Reports an error.
    pub(crate) fn error<'e>(
        &mut self,
        spot: &Spot,
        message: impl Into<String>,
        expected: impl Into<Option<&'e str>>,
    ) -> Reported {
        self.error_with_help(spot, message, expected, None)
    }

    /// Reports an error with a guess at how to mend it.
    pub(crate) fn error_with_help<'e>(
        &mut self,
        spot: &Spot,
        message: impl Into<String>,
        expected: impl Into<Option<&'e str>>,
        help: Option<String>,
    ) -> Reported {
        self.errors += 1;
        let expected = expected.into().map(str::to_owned);
        self.push(Severity::Error, spot, message.into(), expected, help);
        Reported(())
    }

    /// Reports a warning.
    pub(crate) fn warn(&mut self, spot: &Spot, message: impl Into<String>, help: &str) {
        self.push(Severity::Warning, spot, message.into(), None, Some(help.to_owned()));
    }

    fn push(
        &mut self,
        severity: Severity,
        spot: &Spot,
        message: String,
        expected: Option<String>,
        help: Option<String>,
    ) {
        if self.findings.len() >= FINDINGS_MAX {
            self.left_out += 1;
            return;
        }
        let diagnostic = Diagnostic {
            severity,
            file: self.file.to_owned(),
            location: Some(locate(self.text, spot.span)),
            path: spot.path.clone(),
            message,
            expected,
            help,
        };
        self.findings.push((spot.span.start, diagnostic));
    }

    /// The value and the warnings, or everything that was found, in the order of the file.
    pub(crate) fn finish<T>(
        mut self,
        value: Result<T, Reported>,
    ) -> Result<(T, Vec<Diagnostic>), Errors> {
        self.findings.sort_by_key(|(start, _)| *start);
        let mut diagnostics: Vec<_> = self.findings.into_iter().map(|(_, found)| found).collect();
        match value {
            Ok(value) if self.errors == 0 => Ok((value, diagnostics)),
            _ => {
                if self.left_out > 0 {
                    let message = format!("{} more findings are not shown", self.left_out);
                    diagnostics.push(Diagnostic::of_file(self.file, message));
                }
                Err(Errors { diagnostics })
            }
        }
    }
}

/// The line around a place. Total: an offset that is no character boundary is moved.
pub(crate) fn locate(text: &str, span: Span) -> Location {
    let start = text.floor_char_boundary(span.start);
    let end = text.floor_char_boundary(span.end).max(start);
    let (before, after) = text.split_at(start);
    let line_start = before.rfind(['\n', '\r']).map_or(0, |at| at + 1);
    let line_end = after.find(['\n', '\r']).map_or(text.len(), |at| start + at);
    let prefix = before[line_start..].chars().count();
    let marked = text[start..end.min(line_end)].chars().count();
    let fits = text[line_start..line_end].chars().nth(WINDOW).is_none();
    let skip = if fits { 0 } else { prefix.saturating_sub(WINDOW_BEFORE) };
    let printable = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let line = text[line_start..line_end].chars().skip(skip).take(WINDOW);
    let source_line: String = line.map(printable).collect();
    Location {
        line: span.line,
        column: prefix + 1,
        caret_start: prefix - skip,
        caret_len: marked.min(WINDOW.saturating_sub(prefix - skip)).max(1),
        source_line: source_line.trim_end().to_owned(),
    }
}
