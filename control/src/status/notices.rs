//! From what is found about objects to the Events at them.

use super::board::{Notice, NoticeKind};
use super::events::NOTE_MAX;
use crate::diagnostic::{Finding, Reason, Severity};
use crate::object::Key;
use std::collections::BTreeMap;

/// What stands between two findings of one note.
const SEPARATOR: &str = " | ";

/// The Events of what is newly found: each error, and each warning that has a reason of
/// its own. Annotations that are not supported are many at a time, and an object has few
/// Events: those of one object share one, as far as it holds them.
pub fn of(found: &[(Key, Finding)]) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut shared: BTreeMap<&Key, Vec<String>> = BTreeMap::new();
    for (key, finding) in found {
        let is_shown = finding.severity == Severity::Error || finding.reason != Reason::Invalid;
        match finding.reason {
            Reason::UnsupportedAnnotation => shared.entry(key).or_default().push(finding.note()),
            reason if is_shown => notices.push(warning(key, reason, finding.note())),
            _ => {}
        }
    }
    for (key, notes) in shared {
        let notes = joined(notes).into_iter();
        notices.extend(notes.map(|note| warning(key, Reason::UnsupportedAnnotation, note)));
    }
    notices
}

fn warning(key: &Key, reason: Reason, note: String) -> Notice {
    let reason = reason.as_str().to_owned();
    Notice { key: key.clone(), kind: NoticeKind::Warning, reason, note }
}

/// As few notes as hold all of them.
fn joined(notes: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for note in notes {
        match joined.last_mut() {
            Some(last) if last.len() + SEPARATOR.len() + note.len() <= NOTE_MAX => {
                last.push_str(SEPARATOR);
                last.push_str(&note);
            }
            _ => joined.push(note),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Kind, Name};

    fn key(name: &str) -> Key {
        Name::new("shop", name).key(Kind::Ingress)
    }

    #[test]
    fn errors_and_warnings_with_a_reason_are_shown() {
        let found = [
            (key("a"), Finding::error("spec", "is wrong").expected("right")),
            (key("a"), Finding::warning("spec", "is odd")),
            (key("b"), Finding::warning("spec", "is taken").reason(Reason::Contradiction)),
        ];
        let shown: Vec<_> = of(&found).into_iter().map(|of| (of.key, of.reason, of.note)).collect();
        assert_eq!(
            shown,
            [
                (key("a"), "Invalid".to_owned(), "spec: is wrong; expected right".to_owned()),
                (key("b"), "Contradiction".to_owned(), "spec: is taken".to_owned()),
            ]
        );
    }

    #[test]
    fn each_annotation_that_is_not_supported_is_named_in_few_events() {
        let finding = |number: usize| {
            let path = format!("metadata.annotations[\"x/{number}\"]");
            Finding::warning(path, "is not supported; it is ignored")
                .reason(Reason::UnsupportedAnnotation)
        };
        let found: Vec<_> = (10..42).map(|number| (key("a"), finding(number))).collect();
        let other = (key("b"), finding(7));
        let notices = of(&[&found[..], &[other]].concat());
        assert_eq!(notices.iter().filter(|of| of.key == key("b")).count(), 1);
        let notices: Vec<_> = notices.into_iter().filter(|of| of.key == key("a")).collect();
        assert_eq!(notices.len(), 3);
        assert!(notices.iter().all(|of| of.note.len() <= NOTE_MAX));
        let all: String = notices.into_iter().map(|of| of.note).collect();
        (10..42).for_each(|number| assert!(all.contains(&format!("x/{number}")), "{number}"));
    }
}
