//! From a file to its cases: paragraphs that begin with a comment.

use super::families::Family;

/// A case as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// Its first comment.
    pub(super) name: String,
    /// Where it begins.
    pub(super) line: usize,
    /// Whether it is told for IPv4 and runs for IPv6 as well.
    pub(super) both_families: bool,
    /// Its lines and their numbers; comments left out.
    pub(super) lines: Vec<(usize, String)>,
}

impl Case {
    /// The families that it runs for.
    pub(super) fn families(&self) -> &'static [Family] {
        if self.both_families { &[Family::V4, Family::V6] } else { &[Family::AsWritten] }
    }
}

/// The cases of a file. A paragraph of nothing but comments is about the file.
///
/// # Errors
/// The line, and what was expected there.
pub(super) fn read(text: &str) -> Result<Vec<Case>, (usize, String)> {
    let mut cases: Vec<Case> = Vec::new();
    let mut current: Option<Case> = None;
    for (i, line) in text.lines().enumerate() {
        let (number, line) = (i + 1, strip_comment(line).trim());
        let comment = text_of_comment(text.lines().nth(i).unwrap_or_default());
        match (&mut current, comment) {
            (None, Some(name)) => {
                let (name, lines) = (name.to_owned(), Vec::new());
                current = Some(Case { name, line: number, both_families: false, lines });
            }
            (None, None) if line.is_empty() => {}
            (None, None) => {
                let expected = "expected a comment that names the case";
                return Err((number, format!("{expected}, found `{line}`")));
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) if line.is_empty() => {
                cases.extend(current.take().filter(|case| !case.lines.is_empty()));
            }
            (Some(case), None) if line == "both families" => case.both_families = true,
            (Some(case), None) => case.lines.push((number, line.to_owned())),
        }
    }
    cases.extend(current.take().filter(|case| !case.lines.is_empty()));
    for (i, case) in cases.iter().enumerate() {
        if cases[..i].iter().any(|other| other.name == case.name) {
            return Err((case.line, format!("another case is called \"{}\" too", case.name)));
        }
    }
    Ok(cases)
}

/// What a line that is only a comment says.
fn text_of_comment(line: &str) -> Option<&str> {
    line.trim().strip_prefix('#').map(|text| text.trim().trim_end_matches('.'))
}

/// Cuts off ` # ...`, but not inside a text.
fn strip_comment(line: &str) -> &str {
    let mut in_text = false;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match c {
            '"' if before != '\\' => in_text = !in_text,
            '#' if !in_text && before.is_whitespace() => return &line[..at],
            _ => {}
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_cases() {
        let text = "# About the file.\n# More.\n\n# One.\n# Why.\nboth families\nsend p0: a # b\n\
                    send p0: data \"# c\"\n\n\n# Two.\nrun\n";
        let cases = read(text).unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!((cases[0].name.as_str(), cases[0].line), ("One", 4));
        assert!(cases[0].both_families && !cases[1].both_families);
        let line = |number, text: &str| (number, text.to_owned());
        assert_eq!(cases[0].lines, [line(7, "send p0: a"), line(8, "send p0: data \"# c\"")]);
        assert_eq!(cases[1].lines, [line(12, "run")]);
    }

    #[test]
    fn a_case_needs_a_name_of_its_own() {
        assert_eq!(read("run\n").unwrap_err().0, 1);
        assert_eq!(read("# A\nrun\n\n# A\nrun\n").unwrap_err().0, 4);
    }
}
