//! Golden cases: stories of packets in text files, run against a gateway in memory.
//!
//! The README of this crate describes the language.

mod counts;
mod directives;
mod families;
mod file;
mod network;
mod policy;
mod run;
mod step;

use std::fmt;
use std::path::{Path, PathBuf};

use file::Case;

/// A case that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// The case, with its family if it is run for both.
    pub case: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: in \"{}\"", self.file.display(), self.line, self.case)?;
        self.message.lines().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// What came of running cases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Cases that passed, each family counted.
    pub passed: usize,
    /// Those that did not.
    pub failures: Vec<Failure>,
}

/// Runs every `*.case` file of `folder`, in order of names; `filter` picks the cases whose file or
/// name contains it.
///
/// # Errors
/// The file or folder that cannot be read.
pub fn run_folder(folder: &Path, filter: &str) -> Result<Report, String> {
    let unreadable = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| unreadable(folder, e))? {
        let path = entry.map_err(|e| unreadable(folder, e))?.path();
        if path.extension().is_some_and(|extension| extension == "case") {
            files.push(path);
        }
    }
    files.sort();
    let mut report = Report::default();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|e| unreadable(&file, e))?;
        let one = run_text(&file, &text, filter);
        report.passed += one.passed;
        report.failures.extend(one.failures);
    }
    Ok(report)
}

/// Runs the cases in `text`, which stands in `file`.
pub fn run_text(file: &Path, text: &str, filter: &str) -> Report {
    let mut report = Report::default();
    let mut fail = |line: usize, case: &str, message: String| {
        let (file, case) = (file.to_owned(), case.to_owned());
        report.failures.push(Failure { file, line, case, message });
    };
    let cases = match file::read(text) {
        Ok(cases) => cases,
        Err((line, message)) => {
            fail(line, "", message);
            return report;
        }
    };
    let picked =
        |case: &Case| case.name.contains(filter) || file.to_string_lossy().contains(filter);
    let mut passed = 0;
    for case in cases.iter().filter(|case| picked(case)) {
        for family in case.families() {
            match run::run(case, *family) {
                Ok(()) => passed += 1,
                Err((line, message)) => fail(line, &family.title(case), message),
            }
        }
    }
    report.passed = passed;
    report
}
