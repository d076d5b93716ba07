use super::{Options, PathMatch, Pattern};
use crate::diagnostic::Finding;
use regex::{Regex, RegexBuilder};
use sluice_tables::http_routes::{Path, Rewrite};

/// Most bytes that a compiled pattern may have.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// How deep groups of a pattern may lie in each other.
const PATTERN_DEPTH_MAX: u32 = 64;

/// The paths that a path of a type is for. `None`: none; why becomes a finding.
pub(super) fn reduce(
    at: &str,
    kind: &str,
    text: &str,
    options: &Options,
    findings: &mut Vec<Finding>,
) -> Option<PathMatch> {
    let at = format!("{at}.path");
    // The API server refuses others.
    if !text.starts_with('/') && (kind, text) != ("ImplementationSpecific", "") {
        return None;
    }
    let matched = match (kind, text) {
        // The API server takes nothing for all.
        ("ImplementationSpecific", "") => PathMatch::Prefix("".into()),
        ("ImplementationSpecific", _) if options.has_patterns => pattern(&at, text, findings)?,
        ("ImplementationSpecific" | "Prefix", _) => {
            let path = literal(&at, kind, text, findings)?;
            PathMatch::Prefix(path.trim_end_matches('/').into())
        }
        ("Exact", _) => PathMatch::Exact(literal(&at, kind, text, findings)?.into()),
        _ => return None,
    };
    let regex = match &matched {
        PathMatch::Pattern(pattern) => Some(&pattern.regex),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
    };
    check_groups(&at, regex, options, findings);
    Some(matched)
}

/// What is of any case, and at the beginning of a path.
fn pattern(at: &str, text: &str, findings: &mut Vec<Finding>) -> Option<PathMatch> {
    let built = RegexBuilder::new(&format!("(?i)^(?:{text})"))
        .size_limit(PATTERN_BYTES_MAX)
        .nest_limit(PATTERN_DEPTH_MAX)
        .build();
    // By itself, so that nothing closes the group around it.
    let alone = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
    match alone.and(built) {
        Ok(regex) => Some(PathMatch::Pattern(Pattern { text: text.into(), regex })),
        Err(error) => {
            let why = match error {
                regex::Error::CompiledTooBig(bytes) => format!("takes more than {bytes} bytes"),
                // The last line says what is wrong; those before show where.
                error => error.to_string().lines().last().unwrap_or_default().to_owned(),
            };
            let why = why.trim_start_matches("error: ");
            let message = format!("{text:?} is no pattern: {why}; the path is left out");
            let expected = "a regular expression (docs.rs/regex, \"Syntax\")";
            findings.push(Finding::error(at, message).expected(expected));
            None
        }
    }
}

/// A path as requests have it.
fn literal(at: &str, kind: &str, text: &str, findings: &mut Vec<Finding>) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~!$&'()*+,;=:@%".contains(c);
    if let Some(bad) = text.chars().find(|c| !is_allowed(*c)) {
        let message = format!("{text:?} has {bad:?}, which is in no path; it is left out");
        let expected = "a path (RFC 3986 section 3.3), other characters percent-encoded; \
                        for a pattern, type ImplementationSpecific and the annotation use-regex";
        findings.push(Finding::error(at, message).expected(expected));
        return None;
    }
    let Some(path) = Path::normal(text) else {
        let message = format!("{text:?} is the path of no request; it is left out");
        let expected = "percent signs with two digits, and no `..` that leads out of the root";
        findings.push(Finding::error(at, message).expected(expected));
        return None;
    };
    if text.contains(['*', '(']) {
        let message = format!("{text:?} is taken as it is by path type {kind}");
        let expected = "for a pattern, type ImplementationSpecific and the annotation use-regex";
        findings.push(Finding::warning(at, message).expected(expected));
    }
    Some(path.into_owned())
}

/// That the target of a rewrite names groups which a pattern has not.
pub(super) fn check_groups(
    at: &str,
    regex: Option<&Regex>,
    options: &Options,
    findings: &mut Vec<Finding>,
) {
    let Some(target) = options.rewrite_target.as_deref() else { return };
    let Ok(rewrite) = Rewrite::new(regex.cloned(), target) else { return };
    if let Some(group) = rewrite.missing().min() {
        let message = format!("has no group for `${group}` of the target {target:?}: it is empty");
        let expected = "as many groups as the annotation rewrite-target names";
        findings.push(Finding::warning(at, message).expected(expected));
    }
}
