//! What a `counters` line says: every count that is not zero.

use crate::gateway::Counts;
use crate::packet::{Bindings, Value};

use super::step::number;

/// Compares `counts` with the line `text`: `NAME N`, `NAME LOW..HIGH`, `NAME $name` or
/// `NAME $name:LOW..HIGH`, separated by commas. What it does not name must be zero.
///
/// # Errors
/// What differs, and the line as it would have to be; an entry that cannot be read.
pub(super) fn check(text: &str, counts: &Counts, bindings: &mut Bindings) -> Result<(), String> {
    let mut agreed = Counts::default();
    let mut differences = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, value) = entry
            .split_once(' ')
            .ok_or_else(|| format!("expected `NAME COUNT`, found `{entry}`"))?;
        let (value, found) = (value.trim(), counts.get(name));
        agreed.set(name, found)?;
        if !holds(value, found, bindings)? {
            differences.push(format!("{name}: expected {value}, is {found}"));
        }
    }
    differences.extend(counts.differences(&agreed));
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!("{}\ncounters: {counts}", differences.join("\n")))
}

fn holds(value: &str, found: u64, bindings: &mut Bindings) -> Result<bool, String> {
    let Some(capture) = value.strip_prefix('$') else {
        let (low, high) = value.split_once("..").unwrap_or((value, value));
        return Ok((number(low)?..=number(high)?).contains(&found));
    };
    let (name, within) = capture.split_once(':').unwrap_or((capture, ""));
    if let Some(bound) = bindings.get(name) {
        return Ok(*bound == Value::Num(found));
    }
    let fits = within.is_empty() || holds(within, found, bindings)?;
    if fits {
        bindings.set(name, Value::Num(found));
    }
    Ok(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        let mut counts = Counts::default();
        counts.set("rx", 3).unwrap();
        counts.set("tx", 2).unwrap();
        counts.set("drop.no_route", 2).unwrap();
        counts
    }

    #[test]
    fn every_count_must_be_named() {
        let mut bindings = Bindings::new();
        let mut check = |text: &str| check(text, &counts(), &mut bindings);
        check("rx 3, tx 2, drop.no_route 2").unwrap();
        check("rx 1..3, tx $n:1..9, drop.no_route $n, held 0").unwrap();
        assert_eq!(
            check("rx 4, tx 2, held 1").unwrap_err(),
            "rx: expected 4, is 3\nheld: expected 1, is 0\ndrop.no_route: expected 0, is 2\n\
             counters: rx 3, tx 2, drop.no_route 2"
        );
        assert!(check("rx $n, tx 2, drop.no_route 2").is_err());
        for text in ["rx", "rx three", "rx 3, drop.nothing 1", "lost 1"] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}
