//! `SERVICES.md` says what proves each meaning of a Service. Here is proof that
//! what it names is there.

use std::fs;
use std::path::{Path, PathBuf};

/// Meanings in the table, at least: a table that is not read has none.
const ROWS_MIN: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[test]
fn every_meaning_has_its_proof_and_its_source() {
    let table = read(&root().join("fastpath/tests/SERVICES.md")).unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| meaning |"))
        .collect();
    assert!(rows.len() >= ROWS_MIN, "{} rows", rows.len());
    let wrong: Vec<String> = rows
        .into_iter()
        .filter_map(|row| judge(row).err().map(|why| format!("{why}, in\n{row}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn judge(row: &str) -> Result<(), String> {
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let &[_, proofs, _] = &cells[..] else {
        return Err(format!("{} cells instead of 3", cells.len()));
    };
    if cells.iter().any(|cell| cell.len() < 3) {
        return Err("an empty cell".to_owned());
    }
    let mut families = Vec::new();
    for proof in proofs.split("<br>") {
        families.extend(find(proof)?);
    }
    let is_one_only = |one: Family| !families.is_empty() && families.iter().all(|of| *of == one);
    if is_one_only(Family::V4) || is_one_only(Family::V6) {
        return Err("golden cases of one family only".to_owned());
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// Looks for what a proof names; of a golden case of the fast path, the families
/// that it is told for.
fn find(proof: &str) -> Result<Vec<Family>, String> {
    let words: Vec<&str> = proof.split('`').collect();
    match words[..] {
        // A title may have such marks too.
        ["", file, ..] if file.ends_with(".case") => golden_case(file, &proof[file.len() + 2..]),
        ["control ", name, ""] => {
            let cases = root().join("control/tests/cases");
            for end in ["yaml", "expected"] {
                read(&cases.join(format!("{name}.{end}")))?;
            }
            Ok(Vec::new())
        }
        ["", file, " ", function, ""] => test_function(file, function),
        _ => Err(format!("`{proof}` names nothing")),
    }
}

/// Exactly one case of the file has a first comment that begins so.
fn golden_case(file: &str, title: &str) -> Result<Vec<Family>, String> {
    let title = title.strip_prefix(": ").ok_or_else(|| format!("no title after {file}"))?;
    let text = read(&root().join("fastpath/tests/cases").join(file))?;
    let of_title: Vec<&str> =
        text.split("\n\n").filter(|case| first_comment(case).starts_with(title)).collect();
    let &[case] = &of_title[..] else {
        return Err(format!("{} cases of {file} begin with \"{title}\"", of_title.len()));
    };
    let steps = || case.lines().filter(|line| !line.starts_with('#'));
    if steps().next().is_none() {
        return Err(format!("\"{title}\" is no case"));
    }
    let has = |words: &str| steps().any(|line| line.contains(words));
    let both = has("both families");
    let v6 = (both || has(": ip6 ")).then_some(Family::V6);
    let v4 = (both || has(": ip ")).then_some(Family::V4);
    Ok(v4.into_iter().chain(v6).collect())
}

/// The lines of the first comment, as one.
fn first_comment(case: &str) -> String {
    let lines = case.trim_start().lines().map_while(|line| line.strip_prefix('#'));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

fn test_function(file: &str, function: &str) -> Result<Vec<Family>, String> {
    let text = read(&root().join(file))?;
    let head = format!("fn {function}(");
    let mut lines = text.lines().map(str::trim);
    let mut is_test = false;
    lines
        .any(|line| {
            let is_it = is_test && line.starts_with(&head);
            is_test = line == "#[test]" || is_test && line.starts_with("#[");
            is_it
        })
        .then(Vec::new)
        .ok_or_else(|| format!("no test `{function}` in {file}"))
}

#[test]
fn what_is_not_there_is_missed() {
    for (row, why) in [
        ("| a | `services.case`: UDP to a VIP goes the same way | b c |", "an empty cell"),
        ("| meaning | `services.case`: Nobody tells this | source |", "0 cases of"),
        ("| meaning | `services.case`: A | source |", "cases of services.case begin with"),
        ("| meaning | `services.case`: UDP over IPv4 without | source |", "one family only"),
        ("| meaning | control `nothing-of-the-kind` | source |", "nothing-of-the-kind.yaml"),
        ("| meaning | `fastpath/tests/services_table.rs` `judge` | source |", "no test `judge`"),
        ("| meaning | by inspection | source |", "names nothing"),
        ("| meaning | control `slices` |", "2 cells"),
    ] {
        let said = judge(row).unwrap_err();
        assert!(said.contains(why), "{said:?} instead of {why:?}");
    }
}
